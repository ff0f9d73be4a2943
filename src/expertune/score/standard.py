"""Bring scores to one scale, leaving out what was not scored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def standardised(values: NDArray[Any], axis: int | None) -> NDArray[np.float64]:
    """Return z-scores along an axis (None: over all), float64.

    They are NaN where not scored, and 0 where nothing varies beyond rounding.
    """
    scored = ~np.isnan(values)
    counts = np.maximum(scored.sum(axis=axis, keepdims=True), 1)
    filled = np.where(scored, values, 0.0).astype(np.float64)
    centred = np.where(scored, filled - filled.sum(axis=axis, keepdims=True) / counts, 0.0)
    spread = np.sqrt((centred**2).sum(axis=axis, keepdims=True) / counts)
    varies = spread > 1e-9 * (1.0 + np.abs(filled).max(axis=axis, keepdims=True, initial=0.0))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=varies)
    return np.where(scored, scaled, np.nan)
