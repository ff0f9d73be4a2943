"""Bring the scores of all experts to one scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from expertune.records import FloatArray
from expertune.score.standard import standardised

Labelled = NDArray[np.bool_]
Doubles = NDArray[np.float64]


def calibrate(values: FloatArray, hard: FloatArray, labelled: Labelled, *, method: str) -> FloatArray:
    """Bring every expert to one scale, per question where the method is relative.

    Args:
        values: `[Q, D, K]` raw scores, NaN where not scored.
        hard: `[Q, D]` in {0, 1}; only isotonic uses it, and only in rows of labelled questions.
        labelled: `[Q]`, True for labelled questions.
        method: zscore (per question, unit variance), rank (per question, normal scores), percentile (min-max
            between the 1st and 99th percentile of the expert, then z-score of the expert) or isotonic (log-odds of
            relevance).

    Returns:
        float32 `[Q, D, K]`; a pair that an expert did not score stays NaN. An expert that gives one value to every
        document of a question tells nothing about it: 0.
    """
    calibrated = np.empty(values.shape, dtype=np.float32)
    for k in range(values.shape[2]):
        calibrated[:, :, k] = _METHODS[method](values[:, :, k], hard, labelled)
    return calibrated


def _zscore(values: FloatArray, hard: FloatArray, labelled: Labelled) -> Doubles:  # noqa: ARG001
    return standardised(values, axis=1)


def _rank(values: FloatArray, hard: FloatArray, labelled: Labelled) -> Doubles:  # noqa: ARG001
    ranks = stats.rankdata(values, axis=1, nan_policy="omit")
    scored = np.sum(~np.isnan(values), axis=1, keepdims=True)
    return standardised(stats.norm.ppf((ranks - 0.5) / np.maximum(scored, 1)), axis=1)


def _percentile(values: FloatArray, hard: FloatArray, labelled: Labelled) -> Doubles:  # noqa: ARG001
    low, high = np.nanpercentile(values, [1, 99])
    return standardised(np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0), axis=None)


def _isotonic(values: FloatArray, hard: FloatArray, labelled: Labelled) -> Doubles:
    from sklearn.isotonic import IsotonicRegression

    standard = standardised(values, axis=1)
    scored = ~np.isnan(standard[labelled])
    x, y = standard[labelled][scored], hard[labelled][scored]
    if len(np.unique(y)) < 2:
        return standard
    floor = 0.5 / len(y)
    fitted = IsotonicRegression(y_min=floor, y_max=1.0 - floor, out_of_bounds="clip").fit(x, y)
    # A step function ties whole ranges of scores; a little of the z-score keeps the expert's order inside a step.
    odds = special.logit(fitted.predict(np.nan_to_num(standard).ravel())).reshape(standard.shape) + 0.1 * standard
    return standardised(np.where(np.isnan(standard), np.nan, odds), axis=None)


_METHODS: dict[str, Callable[[FloatArray, FloatArray, Labelled], Doubles]] = {
    "zscore": _zscore,
    "rank": _rank,
    "percentile": _percentile,
    "isotonic": _isotonic,
}
