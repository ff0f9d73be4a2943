"""Draw the questions of a log whose judgements tell two models apart soonest, and weight them back. Knows no files.

The estimator. A question is drawn with a chance that mixes two parts: a uniform one, and one that grows with how far
the models' rankings lie apart. For the difference of two models, the best chance of a question is proportional to the
root of its expected squared difference (Sawade, Landwehr and Scheffer 2012, "Active comparison of prediction models").
The right answers, which that expectation is over, are not known yet: each model's first answers stand for them. The
uniform part keeps every weight below 1 / `UNIFORM` times that of a uniform draw, however wrong this guess is (a
defensive mixture, Hesterberg 1995).

Questions are drawn without replacement: each gets the key E / chance, where E is exponential, and they are asked in the
order of their keys. Whoever stops after any number of questions has seen those with a key below that of the next one,
the threshold t; given t, a question was seen with probability 1 - exp(-chance * t). Sums weighted by one over that are
unbiased for every number (bottom-k sketches with rank conditioning, Cohen and Kaplan 2007; priority sampling, Duffield,
Lund and Thorup 2007). Means divide by the sum of the weights (Hájek 1971), which costs a bias of order 1 / n and much
less spread. So no plan for how many are judged is needed, and a session can end at any time.

Where the models change on the way, a new drawing begins over the same log. Each drawing gives an unbiased estimate of
its own, in which what was judged before counts as known; the weights are those of the estimates' average, each as heavy
as it has judgements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray

from expertune.evaluate.statistics import CONFIDENCE, POWER

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

UNIFORM = 0.5
"""Share of the uniform part. A half costs at most 1.4 times the standard error of the better of both parts alone."""

DEPTH = 10
"""Answers of each model that count: those that nDCG@10 sees."""

WORTH_SHOWING = 0.03
"""Difference of nDCG@10 that the judgements should show: 3 points."""

FEW = 12
"""Below this many judgements their own spread says less about how many are needed than the models' rankings do."""

_DISCOUNTS = 1.0 / np.log2(np.arange(DEPTH) + 2.0)


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a judged question was drawn: by which drawing, with which chance, and the key of the next one (inf: none)."""

    drawing: int
    chance: float
    next_key: float


def ndcg(first: Sequence[str], relevant: Sequence[str]) -> float:
    """Return nDCG@10 in [0, 1] of a model's first answers (ids, best first) where all relevant ones are alike."""
    if not relevant:
        raise ValueError("expected at least one relevant answer")
    gained = sum(_DISCOUNTS[rank] for rank, name in enumerate(first[:DEPTH]) if name in relevant)
    return float(gained / _DISCOUNTS[: len(relevant)].sum())


def spread(base: Rows, rivals: Sequence[Rows], panel: Sequence[Rows]) -> Floats:
    """Return how far rankings lie apart: the root of the expected squared difference of nDCG@10 `[Q]`, in [0, 1].

    Args:
        base: First documents (by number, best first) of the base for each question `[Q, at most 10]`.
        rivals: The same of the models it is compared with; their squares are averaged.
        panel: The same of every model that has a say in which answer may be right: each gives its n-th answer 1 / n².
    """
    found = np.zeros(len(base))
    for row in range(len(base)):
        chance: dict[int, float] = {}
        for top in panel:
            for rank, document in enumerate(top[row].tolist(), start=1):
                chance[document] = chance.get(document, 0.0) + rank**-2.0
        before = _gains(base[row])
        squares = 0.0
        for rival in rivals:
            after = _gains(rival[row])
            squares += sum(
                chance.get(document, 0.0) * (after.get(document, 0.0) - before.get(document, 0.0)) ** 2
                for document in before.keys() | after.keys()
            )
        found[row] = np.sqrt(squares / (len(rivals) * sum(chance.values())))
    return found


def _gains(top: Rows) -> dict[int, float]:
    """Return nDCG@10 by document if it alone were right."""
    return dict(zip(top[:DEPTH].tolist(), _DISCOUNTS.tolist(), strict=False))


def chances(apart: Floats, *, uniform: float = UNIFORM) -> Floats:
    """Return the chance of each question `[Q]`, all together 1, from how far its rankings lie apart."""
    count, total = len(apart), float(apart.sum())
    if not total:
        return np.full(count, 1.0 / count)
    return uniform / count + (1.0 - uniform) * apart / total


def keys(texts: Sequence[str], chance: Floats, *, drawing: int = 1) -> Floats:
    """Return the key of each question `[Q]`: the smallest is asked first.

    The random number of a question is a hash of its text and the drawing's number, so that two people with the same
    log are asked the same questions in the same order.
    """
    exponential = [-np.log(lot(text, drawing)) for text in texts]
    values: Floats = np.array(exponential) / chance
    return values


def lot(text: str, drawing: int = 0) -> float:
    """Return a number in (0, 1) that depends on text and drawing only."""
    number = int.from_bytes(blake2b(f"{drawing}\0{text}".encode(), digest_size=8).digest(), "big")
    return (number + 0.5) / 2.0**64


def weights(drawn: Sequence[Drawn]) -> Floats:
    """Return the weight of each judged question `[n]`, on average 1, in the order of their drawings.

    Only judged questions belong here; those that were drawn and skipped are as if they were not in the log.

    Raises:
        ValueError: drawings are not in ascending order.
    """
    numbers = [item.drawing for item in drawn]
    if numbers != sorted(numbers):
        raise ValueError("expected judgements in the order of their drawings")
    total = np.zeros(len(drawn))
    for number in dict.fromkeys(numbers):
        own = [item for item in drawn if item.drawing == number]
        threshold = max(item.next_key for item in own)
        each = np.array([
            0.0 if item.drawing > number
            else 1.0 if item.drawing < number or threshold == inf
            else 1.0 / -np.expm1(-item.chance * threshold)
            for item in drawn
        ])  # fmt: skip
        total += len(own) * each
    return total * (len(drawn) / total.sum()) if len(drawn) else total


def planned(apart: Floats, chance: Floats, *, difference: float = WORTH_SHOWING) -> int:
    """Return how many judgements should show a difference, going by the models' rankings alone.

    The variance of the weighted mean of n draws is about the mean of apart² / (Q chance), over n.
    """
    variance = float(np.mean(apart**2 / (len(apart) * chance)))
    return max(FEW, ceil(_normal_multiple() ** 2 * variance / difference**2))


def needed(judged: int, detectable: float, *, difference: float = WORTH_SHOWING) -> int:
    """Return how many judgements should show a difference, where so many would have shown `detectable`.

    What can be shown shrinks with the root of the number of judgements.
    """
    return ceil(judged * (detectable / difference) ** 2)


def _normal_multiple() -> float:
    """Return how many standard errors a true difference must have to be shown with 80 % power."""
    from scipy import stats

    return float(stats.norm.ppf((1 + CONFIDENCE) / 2) + stats.norm.ppf(POWER))
