"""Pick the documents that a question is judged against where the corpus is too large for all. Knows no expert or file.

What a question keeps: the documents it is meant to lead to, the union of the experts' best, and of the others every
n-th by the panel's mean opinion, so that the whole range of scores is there and not only its top.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from expertune.records import FloatArray
from expertune.score.standard import standardised


def pick(
    scores: FloatArray, positives: Sequence[Sequence[int]], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return ascending document columns `[n, count]` for n questions, each column once.

    Half of the places, shared evenly among the experts, are for their best documents; all if `count` is that large.

    Args:
        scores: `[n, D, K]`, NaN where not scored.
        positives: Columns that must be kept, at most half of `count` for each question.
        count: How many to keep, at most D.
        generator: Of the offset from which every n-th document is taken.
    """
    rows = [_of_question(scores[row], own, count, float(generator.random())) for row, own in enumerate(positives)]
    return np.stack(rows) if rows else np.zeros((0, count), dtype=np.int64)


def _of_question(scores: FloatArray, own: Sequence[int], count: int, offset: float) -> NDArray[np.int64]:
    documents, experts = scores.shape
    if count >= documents:
        return np.arange(documents)
    best_first = np.nan_to_num(-scores.T, nan=np.inf)
    best = max(1, count // (2 * experts))
    chosen = np.zeros(documents, dtype=np.bool_)
    chosen[np.argpartition(best_first, min(best, documents - 1), axis=1)[:, :best]] = True
    chosen[np.asarray(own, dtype=np.int64)] = True
    kept, rest = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    wanted = count - len(kept)
    ordered = rest[_stable_order(-_panel_mean(scores)[rest])]
    places = np.floor((np.arange(wanted) + offset) * len(rest) / max(wanted, 1)).astype(np.int64)
    return np.sort(np.concatenate([kept, ordered[places]])).astype(np.int64)


def _stable_order(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order of values, equal ones as they came: what is several times faster is only right without any."""
    order = np.argsort(values)
    ascending = values[order]
    return np.argsort(values, kind="stable") if np.any(ascending[1:] == ascending[:-1]) else order


def _panel_mean(scores: FloatArray) -> NDArray[np.float64]:
    """Return the mean over experts of their standardised scores `[D]`; unscored pairs count as average."""
    mean: NDArray[np.float64] = np.nan_to_num(standardised(scores, axis=0)).mean(axis=1)
    return mean
