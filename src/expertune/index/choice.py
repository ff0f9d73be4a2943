"""Choose how much questions weigh in an index, from labelled questions of training alone. Never sees test data.

Every labelled question is asked twice, and is in no index while it is asked: once with its answer left without any
question of its own, as an answer added later is; once with the answer's other questions, where it has some. One that
has no other is then counted as an answer with questions that help nothing, so that a bonus for answers without
questions costs what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expertune.index.layouts import Mixing, Vectors
from expertune.records import FloatArray

WEIGHTS = (0.0, 0.2, 0.35, 0.5)
BONUSES = (0.0, 0.02, 0.04, 0.06)
PREFERRED = (0.35, 0.02)
"""What is weighed, and what is kept where validation cannot tell.

Set on development sets: docs/findings/index-layouts.md has the figures."""

STANDARD_ERRORS = 2.0
"""How far behind the best a mixing counts as equal to it, as in the choice of the interpolation weight."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Labelled questions asked of the index without them: similarities `[M, D]`, -inf where no question is left.

    `answer` to each answer; `others` to the best of its other own questions; `relevant` `[M, D]`.
    """

    answer: FloatArray
    others: FloatArray
    relevant: NDArray[np.bool_]


def choose(vectors: Vectors, asked: FloatArray, untouched: FloatArray | None = None) -> Mixing:
    """Return the mixing nearest to the preferred one that validation cannot tell from the best.

    Args:
        vectors: What the index is made of.
        asked: The questions of `vectors` `[M, d]` as the query side that will search encodes them.
        untouched: The same by a query side that was not tuned on them, which ranks them as it would new ones; default:
            `asked`.
    """
    if not vectors.owns.any():
        return Mixing(*PREFERRED)
    surplus = _surplus(_ask(vectors, asked))
    weighed = _ask(vectors, asked if untouched is None else untouched)
    choices = dict(_validated(weighed, _surplus(weighed)))
    best = max(choices.values(), key=lambda values: float(values.mean()))
    as_good = [pair for pair, values in choices.items() if _as_good(best, values)]
    weight, bonus = min(as_good, key=lambda pair: (_distance(pair), pair))
    return Mixing(weight, surplus, bonus)


def _ask(vectors: Vectors, asked: FloatArray) -> _Asked:
    similarity = asked @ vectors.questions.T
    np.fill_diagonal(similarity, -np.inf)
    return _Asked(asked @ vectors.answers.T, best_question(similarity, vectors.owns), vectors.owns.T)


def best_question(similarity: FloatArray, owns: NDArray[np.bool_]) -> FloatArray:
    """Return `[Q, D]` the largest similarity `[Q, M]` to a document's own questions, -inf where it has none."""
    best = np.full((len(similarity), len(owns)), -np.inf, dtype=np.float32)
    for document in np.flatnonzero(owns.any(axis=1)):
        best[:, document] = similarity[:, owns[document]].max(axis=1)
    return best


def _surplus(asked: _Asked) -> float:
    """Return how much nearer questions lie to other answers' questions than to those answers, on average."""
    known = np.isfinite(asked.others) & ~asked.relevant
    return float((asked.others[known] - asked.answer[known]).mean()) if known.any() else 0.0


def _validated(asked: _Asked, surplus: float) -> Iterator[tuple[tuple[float, float], NDArray[np.float64]]]:
    """Yield each weight and bonus with nDCG@10 of every question `[M]`, the mean of the two times it is asked."""
    alone = np.where(asked.relevant, -np.inf, asked.others)
    helpless = asked.relevant & ~np.isfinite(asked.others)
    for weight in WEIGHTS:
        for bonus in BONUSES:
            mixing = Mixing(weight, surplus, bonus)
            new = _ndcg(mixed(asked.answer, alone, mixing), asked.relevant)
            seen = np.where(helpless, asked.answer, mixed(asked.answer, asked.others, mixing))
            yield (weight, bonus), (new + _ndcg(seen, asked.relevant)) / 2


def mixed(answer: FloatArray, question: FloatArray, mixing: Mixing) -> FloatArray:
    """Return the scores `[Q, D]` of the layout `MIXED`; `question` is -inf where an answer has none."""
    has = np.isfinite(question)
    levelled = np.where(has, question, 0) - mixing.surplus
    return np.where(has, (1 - mixing.weight) * answer + mixing.weight * levelled, answer + mixing.bonus)


def _ndcg(scores: FloatArray, relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return nDCG@10 `[Q]` of binary relevance, for questions with a relevant document each."""
    depth = min(10, scores.shape[1])
    order = np.argsort(-np.round(scores, 6), axis=1, kind="stable")[:, :depth]
    discount = 1 / np.log2(np.arange(2, depth + 2))
    gain = np.take_along_axis(relevant, order, axis=1) @ discount
    ideal = np.cumsum(discount)[np.minimum(relevant.sum(axis=1), depth) - 1]
    return np.asarray(gain / ideal, dtype=np.float64)


def _as_good(best: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    """Tell whether values are within the standard errors of the best, paired by question."""
    difference = best - values
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
    return bool(difference.mean() <= STANDARD_ERRORS * error)


def _distance(pair: tuple[float, float]) -> float:
    """Return how many steps of the grids a weight and a bonus are away from the preferred ones."""
    steps = (WEIGHTS.index(pair[0]) - WEIGHTS.index(PREFERRED[0]), BONUSES.index(pair[1]) - BONUSES.index(PREFERRED[1]))
    return float(np.hypot(*steps))
