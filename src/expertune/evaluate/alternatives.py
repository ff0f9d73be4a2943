"""Measure what a user could take instead of the tuned model: other models, other indexes, and search by words.

All of it is ranked exactly, on the same held-out questions. This module does not know how a model is loaded, cached or
tuned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.stats import rankdata

from expertune.evaluate.ranking import BLOCK_BYTES, DECIMALS, judged_queries, rank_scores
from expertune.evaluate.stage import compare, measurement
from expertune.evaluate.statistics import stratified_interval
from expertune.records import (
    METRIC,
    Alternative,
    Alternatives,
    Document,
    FloatArray,
    IndexWork,
    JudgedSet,
    Measurement,
    Progress,
    Report,
    ignore_progress,
)

VERSION = 3
"""Raise when the same ways to search lead to other figures."""

Search = Callable[[Sequence[str]], FloatArray]
"""Gives scores `[n, D]` of n questions; higher is better."""

FUSION_RANK = 60
"""How much the first ranks stand out in a fusion; the value of its authors, and of the search engines that offer it."""

TIMED = 20
"""Questions that each model is timed with, one by one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one question costs: see `Alternative` for the units."""

    dimensions: int
    megabytes: float
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Way:
    """One way to search: `prepare` makes an index of documents and returns what searches it. See `Alternative`.

    `extra` counts dimensions of the index beyond the model's, and `base` says how `train.base` would call the model.
    """

    model: str
    holds: str
    work: IndexWork
    prepare: Callable[[Sequence[Document]], Search]
    tuned: bool = False
    extra: int = 0
    base: str = ""


def alternatives(
    ways: Sequence[Way],
    judged: Sequence[JudgedSet],
    costs: Mapping[str, Cost],
    report: Report = ignore_progress,
    *,
    seed: int = 0,
    left_one_out: bool = False,
) -> Alternatives:
    """Measure every way on every judged set and compare it with the first way.

    Args:
        ways: The first is the reference.
        judged: Held-out sets of the domain, at least one.
        costs: Of each model, by its name.
        report: Told of every way.
        seed: Seed of resampling.
        left_one_out: Only noted: the questions are labelled ones.

    Raises:
        DataError: a set has nothing to measure.
    """
    measured: list[list[Measurement]] = []
    for way in ways:
        report(Progress("alternatives", len(measured), len(ways), f"{way.model}, {way.holds}"))
        measured.append([measure_way(way, item) for item in judged])
    report(Progress("alternatives", len(ways), len(ways)))
    reference, *others = (
        _compared(way, own, measured[0], costs[way.model], seed) for way, own in zip(ways, measured, strict=True)
    )
    questions = sum(len(item.query_ids) for item in measured[0])
    return Alternatives(reference, tuple(others), questions, left_one_out)


def fused(first: Search, second: Search) -> Search:
    """Join two searches by reciprocal rank fusion: the sum of 1 / (60 + rank), scaled so that first in both is 1.

    Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods". Equal scores share the best of their ranks. A document that the second gives 0, as words do where none is
    shared, was not found by it and gets nothing from it.
    """

    def search(questions: Sequence[str]) -> FloatArray:
        both = first(questions), second(questions)
        parts = [(FUSION_RANK + 1) / (FUSION_RANK + rankdata(-np.round(s, DECIMALS), "min", axis=1)) for s in both]
        return np.asarray((parts[0] + np.where(both[1] > 0, parts[1], 0.0)) / 2, dtype=np.float32)

    return search


def milliseconds(models: Mapping[str, Callable[[Sequence[str]], object]], questions: Sequence[str]) -> dict[str, float]:
    """Return the median milliseconds that each model takes for one question.

    The models take turns at every question, so that whatever else the machine does slows all of them alike. The first
    question of each is not counted: it loads the model.

    Args:
        models: By name, what encodes or searches questions without remembering them.
        questions: At least one; the first `TIMED` are used.
    """
    for ask in models.values():
        ask(questions[:1])
    taken: dict[str, list[float]] = {name: [] for name in models}
    for question in questions[:TIMED]:
        for name, ask in models.items():
            started = time.perf_counter()
            ask([question])
            taken[name].append(1000 * (time.perf_counter() - started))
    return {name: median(times) for name, times in taken.items()}


def measure_way(way: Way, judged: JudgedSet) -> Measurement:
    """Measure one way to search on one judged set, question by question."""
    texts = list(judged_queries(judged)[0].values())
    return measurement(
        rank_scores(_rows(way.prepare(judged.documents), texts, len(judged.documents)), judged), judged, way.model
    )


def _rows(search: Search, texts: Sequence[str], documents: int) -> Iterator[FloatArray]:
    """Yield the scores `[D]` of one question after the other, computed a block of questions at a time."""
    step = max(1, BLOCK_BYTES // (4 * documents))
    for start in range(0, len(texts), step):
        yield from np.round(search(texts[start : start + step]), DECIMALS)


def _compared(
    way: Way, measured: Sequence[Measurement], reference: Sequence[Measurement], cost: Cost, seed: int
) -> Alternative:
    pairs = list(zip(reference, measured, strict=True))
    differences = [
        (own.values[METRIC] - theirs.values[METRIC], own.clusters, own.weights or None) for theirs, own in pairs
    ]
    interval = stratified_interval(differences, seed=seed)
    low, high = (-1.0, 1.0) if interval.too_few else (interval.low, interval.high)
    return Alternative(
        model=way.model,
        holds=way.holds,
        work=way.work,
        tuned=way.tuned,
        hit1=_hit(measured, 1),
        hit3=_hit(measured, 3),
        ndcg=float(np.mean([item.mean(METRIC) for item in measured])),
        difference=interval.mean,
        low=low,
        high=high,
        sets=tuple(row for pair in pairs for row in compare(*pair, seed=seed) if row.metric == METRIC),
        dimensions=cost.dimensions + way.extra,
        megabytes=cost.megabytes,
        milliseconds=cost.milliseconds,
        base=way.base,
    )


def _hit(measured: Sequence[Measurement], most: int) -> float:
    """Return the weighted share of the questions of all sets with a right answer among the first `most`."""
    found = np.concatenate([item.hits(most) for item in measured])
    weights = np.concatenate([item.weights or np.ones(len(item.query_ids)) for item in measured])
    return float(np.average(found, weights=weights))
