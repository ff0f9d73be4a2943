"""Merge the panel's scores with the hard labels. Definitions and origins of every strategy: `docs/design.md`.

Those in `SIMILARITIES` give similarities in [0, 1], which `as_distribution` makes one distribution a question of;
`mixed` gives distributions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from expertune.label.hard_labels import rows_to_one
from expertune.records import FloatArray

Doubles = NDArray[np.float64]

TEMPERATURE = 0.05
"""At which similarities become distributions: sentence encoders put a right answer about 0.05 to 0.2 above others."""

SOFT_2_HARD_WEIGHT = 0.5
"""Weight of the hard label in soft-2; the source does not give one, so both halves count the same."""

VERSION = 2
"""Of `SIMILARITIES`: raised when the same scores give other similarities."""

_ROUNDING = 1e-3
"""How far a cosine may lie outside of [-1, 1] by the rounding of half precision."""

_MERGED_AT_ONCE = 2**22
"""Scores that are weighed together: some tens of megabytes of doubles."""


@dataclass(frozen=True, slots=True)
class PanelScores:
    """What a strategy looks at: raw (`on_one_scale`) and calibrated scores `[Q, D, K]`, hard labels `[Q, D]`."""

    raw: FloatArray
    calibrated: FloatArray
    hard: FloatArray


def _soft_1(panel: PanelScores) -> FloatArray:
    return _unit(np.nanmean(panel.raw, axis=2))


def _soft_2(panel: PanelScores) -> FloatArray:
    weight = np.float32(SOFT_2_HARD_WEIGHT)
    return weight * panel.hard + (np.float32(1.0) - weight) * _soft_1(panel)


def _soft_3(panel: PanelScores) -> FloatArray:
    return _unit(np.where(panel.hard > 0, np.nanmax(panel.raw, axis=2), np.nanmin(panel.raw, axis=2)))


def _median(panel: PanelScores) -> FloatArray:
    return _unit(np.nanmedian(panel.raw, axis=2))


def _trimmed(panel: PanelScores) -> FloatArray:
    """Mean without the lowest and the highest eighth of the experts (at least one each where three or more scored)."""
    share = max(0.125, 1.01 / panel.raw.shape[2]) if panel.raw.shape[2] > 2 else 0.0
    means = stats.mstats.trimmed_mean(np.ma.masked_invalid(panel.raw), (share, share), axis=2)
    return _unit(np.ma.filled(means, np.nan))


def _calibrated(panel: PanelScores) -> FloatArray:
    """Mean of the calibrated scores, mapped to [0, 1] by the normal distribution function."""
    means = weighted_mean(panel.calibrated, np.full(panel.calibrated.shape[2], 1.0))
    result: FloatArray = stats.norm.cdf(means - 2.0).astype(np.float32)
    return result


SIMILARITIES: dict[str, Callable[[PanelScores], FloatArray]] = {
    "hard": lambda panel: panel.hard,
    "soft-1": _soft_1,
    "soft-2": _soft_2,
    "soft-3": _soft_3,
    "median": _median,
    "trimmed": _trimmed,
    "calibrated": _calibrated,
}


def on_one_scale(raw: FloatArray) -> FloatArray:
    """Return scores `[Q, D, K]` in which every expert stays within [-1, 1], so that none drowns the others.

    An expert that leaves that range (BM25, log-likelihoods) is brought to [0, 1], its lowest score to 0 and its highest
    to 1. Similarities that stay within it are on one scale already: they do not change.
    """
    low, high = np.nanmin(raw, axis=(0, 1)), np.nanmax(raw, axis=(0, 1))
    outside = (low < -1.0 - _ROUNDING) | (high > 1.0 + _ROUNDING)
    if not outside.any():
        return raw
    return np.where(outside, (raw - low) / np.where(high > low, high - low, 1.0), raw).astype(np.float32)


def similarity(strategy: str, panel: PanelScores) -> FloatArray:
    """Return similarities `[Q, D]` in [0, 1] by one of `SIMILARITIES`."""
    return SIMILARITIES[strategy](panel)


def similarity_distribution(strategy: str, panel: PanelScores, active: NDArray[np.bool_]) -> FloatArray:
    """Return the same as one distribution a question over the active documents; hard labels need no temperature."""
    if strategy == "hard":
        return rows_to_one(panel.hard)
    return softmax_over(similarity(strategy, panel) / TEMPERATURE, active)


def mixed(soft: FloatArray, hard: FloatArray, hard_weight: FloatArray) -> FloatArray:
    """Return soft and hard distributions `[Q, D]` mixed, the hard one by its weight in each question `[Q]`."""
    weight = hard_weight.astype(np.float32)[:, None]
    return (np.float32(1.0) - weight) * soft + weight * rows_to_one(hard)


def weighted_mean(calibrated: FloatArray, weights: Doubles) -> FloatArray:
    """Return the weighted mean over experts `[Q, D]`, over those that scored the pair; 0 where none did."""
    questions, documents, experts = calibrated.shape
    result = np.empty((questions, documents), dtype=np.float32)
    # Some questions at a time: weights are doubles, and a whole matrix of them is eight times what is returned.
    step = max(1, _MERGED_AT_ONCE // max(1, documents * experts))
    for start in range(0, questions, step):
        block = calibrated[start : start + step]
        total = np.where(np.isnan(block), 0.0, weights).sum(axis=2)
        sums = np.nansum(block * weights, axis=2)
        result[start : start + step] = np.divide(sums, total, out=np.zeros_like(sums), where=total > 1e-9)
    return result


def softmax_over(logits: FloatArray, active: NDArray[np.bool_]) -> FloatArray:
    """Return row distributions over the active columns; exactly 0 elsewhere."""
    result: FloatArray = special.softmax(np.where(active, logits, -np.inf), axis=1).astype(np.float32)
    return result


def _unit(values: FloatArray) -> FloatArray:
    """Clip to the range of a label, [0, 1]; a pair nobody scored counts as irrelevant."""
    return np.clip(np.nan_to_num(values), 0.0, 1.0).astype(np.float32)
