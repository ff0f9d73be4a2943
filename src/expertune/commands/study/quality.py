"""Rank answers by merged scores and say how well: what can be learned of a panel in seconds, before any tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from expertune.commands.study.lab import Lab
from expertune.config import LabelSection
from expertune.label.stage import calibrate, weigh
from expertune.records import FloatArray

DEPTH = 10
FUSION = 60
"""The constant of reciprocal rank fusion (Cormack et al. 2009)."""

Floats = NDArray[np.float64]


def ndcg_rows(scores: Floats, right: NDArray[np.bool_]) -> Floats:
    """Return nDCG@10 `[Q]` in [0, 1] of scores `[Q, D]` with every right answer worth the same.

    Equal scores share the places they take, as if their order were drawn; a row without a right answer is NaN.
    """
    depth = min(DEPTH, scores.shape[1])
    gains = np.concatenate([1 / np.log2(np.arange(2, depth + 2)), np.zeros(scores.shape[1] - depth)])
    reached = np.concatenate([[0.0], np.cumsum(gains)])
    cut = -np.partition(-scores, depth - 1, axis=1)[:, depth - 1]
    found = np.zeros(len(scores))
    for row in range(len(scores)):
        for column in np.flatnonzero(right[row] & (scores[row] >= cut[row])):
            above = int(np.sum(scores[row] > scores[row, column]))
            alike = int(np.sum(scores[row] == scores[row, column]))
            found[row] += (reached[above + alike] - reached[above]) / alike
    ideal = reached[np.minimum(right.sum(axis=1), depth)]
    shares: Floats = np.divide(found, ideal, out=np.full(len(found), np.nan), where=ideal > 0)
    return shares


class Panel:
    """A panel's scores of the user's own and of the held-out questions, raw and calibrated alike.

    Weights are always learned from the user's own questions; held-out ones are only ranked.
    """

    def __init__(self, lab: Lab, section: LabelSection) -> None:
        own, asked = np.asarray(lab.scores.values)[lab.known], lab.asked
        self.experts = lab.scores.experts
        self.hard = lab.hard[lab.known]
        self.right = asked.right
        self._shrinkage = section.shrinkage
        values = np.concatenate([own, np.asarray(asked.scores.values)])
        hard = np.concatenate([self.hard, np.zeros(asked.right.shape, np.float32)])
        known = np.arange(len(values)) < len(own)
        calibrated = calibrate(values, hard, known, method=section.calibration)
        self._raw = values[len(own) :]
        self._own, self._calibrated = calibrated[: len(own)], calibrated[len(own) :]
        lowest = np.nan_to_num(self._calibrated, nan=-np.inf)
        self._fused = 1 / (FUSION + rankdata(-lowest, axis=1))

    def weights(self, experts: Sequence[int]) -> Floats:
        """Return the weights `[k]` that some experts of the panel would get, summing to 1."""
        names = tuple(self.experts[index] for index in experts)
        panel, _ = weigh(names, self._own[:, :, list(experts)], self.hard, shrinkage=self._shrinkage)
        return np.array([expert.weight for expert in panel])

    def known_quality(self, experts: Sequence[int]) -> float:
        """Return nDCG@10 of the weighted merge on the user's own questions: what may choose a panel."""
        merged = _weighted(self._own[:, :, list(experts)], self.weights(experts))
        return float(np.nanmean(ndcg_rows(merged, self.hard > 0)))

    def held_out(self, experts: Sequence[int], aggregation: str) -> Floats:
        """Return nDCG@10 `[Q]` of held-out questions by one aggregation of some experts' scores."""
        columns = list(experts)
        if aggregation == "weighted":
            merged = _weighted(self._calibrated[:, :, columns], self.weights(experts))
        elif aggregation == "rank fusion":
            merged = self._fused[:, :, columns].sum(axis=2)
        else:
            calibrated = aggregation in CALIBRATED
            merged = AGGREGATIONS[aggregation]((self._calibrated if calibrated else self._raw)[:, :, columns])
        return ndcg_rows(np.nan_to_num(merged, nan=-np.inf), self.right)


def _weighted(values: FloatArray, weights: Floats) -> Floats:
    scored = ~np.isnan(values)
    total = (scored * weights).sum(axis=2)
    merged: Floats = np.divide(
        np.nansum(values * weights, axis=2),
        total,
        out=np.zeros(total.shape),
        where=total > 0,
    )
    return merged


def _trimmed(values: FloatArray) -> Floats:
    if values.shape[2] < 3:
        return np.asarray(np.nanmean(values, axis=2))
    return np.asarray(np.nanmean(np.sort(values, axis=2)[:, :, 1:-1], axis=2))


AGGREGATIONS: dict[str, Callable[[FloatArray], Floats]] = {
    "mean": lambda values: np.asarray(np.nanmean(values, axis=2)),
    "median": lambda values: np.asarray(np.nanmedian(values, axis=2)),
    "trimmed": _trimmed,
    "max": lambda values: np.asarray(np.nanmax(values, axis=2)),
    "calibrated": lambda values: np.asarray(np.nanmean(values, axis=2)),
}
CALIBRATED = frozenset({"max", "calibrated"})
"""Those that look at calibrated scores: raw ones lie on other scales, and the largest is that of one expert."""
EVERY = (*AGGREGATIONS, "weighted", "rank fusion")
