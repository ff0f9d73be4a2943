"""Measure models on held-out questions and compare a tuned one with its base.

Metrics come from ir-measures and mean what trec_eval, and so MTEB, mean by them. Every query counts for
which the judgements name at least one relevant document, also where a model finds none of them (0); queries
without any relevant document are left out, because no ranking could be right or wrong for them.

Rankings come from `ranking.py`, tests from `statistics.py`, the verdict from `verdict.py`. This module does
not know how a model is loaded, cached or tuned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from expertune.evaluate.ranking import Encoder, Ranking, answers_name, judged_queries, rank
from expertune.evaluate.separation import separation
from expertune.evaluate.statistics import bootstrap_interval, detectable_difference, randomisation_test
from expertune.evaluate.verdict import adjusted, verdict
from expertune.records import (
    METRICS,
    PLAIN_INDEX,
    Basis,
    Comparison,
    CrossValidation,
    Evaluation,
    JudgedSet,
    Measurement,
    PanelDiagnostics,
    Progress,
    Report,
    Role,
    Separation,
    ignore_progress,
)

IR_MEASURES = dict(zip(METRICS, ("nDCG@10", "AP@10", "RR@10", "R@10"), strict=True))
"""What ir-measures calls our metrics."""

SHOWN = 5
"""First documents of every question that a measurement keeps, for people to look at."""


def evaluate(
    encoders: Mapping[str, Encoder],
    judged_sets: Sequence[JudgedSet],
    report: Report = ignore_progress,
    *,
    tolerance: float,
    seed: int = 0,
    panel: PanelDiagnostics | None = None,
    plain: Sequence[JudgedSet] = (),
    own: CrossValidation | None = None,
) -> Evaluation:
    """Measure every model on every judged set alike, compare "tuned" with "base", and give the verdict.

    Args:
        encoders: Models by name; "base" and "tuned" must be among them.
        judged_sets: Held-out sets; only those with the domain role get separations.
        report: Told after every measured set.
        tolerance: Mean loss of nDCG@10 on general sets that the verdict allows, in [0, 1].
        seed: Seed of resampling.
        panel: What is known of the labels that were tuned on, for the verdict's diagnostics.
        plain: Sets of `judged_sets` with their answers as they are, where those are expanded: "base" is measured on
            them as well, as `PLAIN_INDEX`.
        own: The estimate from the labelled questions, where no domain set is among `judged_sets`.

    Raises:
        KeyError: "base" or "tuned" is missing.
        DataError: a set has nothing to measure.
        PluginError: an encoder broke its contract.
    """
    measured: dict[tuple[str, str], Measurement] = {}
    separations: list[Separation] = []
    total = len(encoders) * len(judged_sets) + len(plain)
    for model, encoder in encoders.items():
        for judged in judged_sets:
            measured[model, judged.name] = measure(encoder, judged, model)
            if judged.role is Role.DOMAIN:
                separations.append(separation(encoder, judged, model, seed=seed))
            report(Progress("evaluate", len(measured), total, f"{model} on {judged.name}"))
    for judged in plain:
        measured[PLAIN_INDEX, judged.name] = measure(encoders["base"], judged, PLAIN_INDEX)
        report(Progress("evaluate", len(measured), total, f"{PLAIN_INDEX}, on {judged.name}"))

    def compared(base: str, tuned: str, sets: Sequence[JudgedSet]) -> tuple[Comparison, ...]:
        pairs = [(measured[base, judged.name], measured[tuned, judged.name]) for judged in sets]
        return adjusted([row for pair in pairs for row in compare(*pair, seed=seed)])

    comparisons, indexing = compared("base", "tuned", judged_sets), compared(PLAIN_INDEX, "base", plain)
    measurements = tuple(measured.values())
    return Evaluation(
        measurements=measurements,
        separations=tuple(separations),
        comparisons=comparisons,
        verdict=verdict(
            # Of all left-out questions: the two kinds of them are parts of it, not further sets.
            (*comparisons, *(row for row in own.comparisons if row.split == own.base.split)) if own else comparisons,
            (*measurements, own.base, own.tuned) if own else measurements,
            separations,
            tolerance=tolerance,
            seed=seed,
            panel=panel,
            indexing=indexing,
            basis=Basis.OWN if own else Basis.HELD_OUT,
        ),
        indexing=indexing,
        overall=compared(PLAIN_INDEX, "tuned", plain),
        own=own,
    )


def measure(encoder: Encoder, judged: JudgedSet, model: str) -> Measurement:
    """Measure one model on one judged set, query by query; see `rank` for errors."""
    return measurement(rank(encoder, judged), judged, model)


def measurement(ranking: Ranking, judged: JudgedSet, model: str) -> Measurement:
    """Return the metrics of a ranking of a judged set's queries."""
    _, relevant = judged_queries(judged)
    drawn = {query.id: query.weight for query in judged.queries if query.weight is not None}
    return Measurement(
        dataset=judged.dataset,
        split=judged.split,
        role=judged.role,
        model=model,
        query_ids=ranking.query_ids,
        clusters=tuple(name if name in drawn else answers_name(ids) for name, ids in relevant.items()),
        values=_metric_values(ranking, judged.qrels),
        ranks=ranking.first,
        top=tuple(ids[:SHOWN] for ids in ranking.documents),
        ties=ranking.ties,
        weights=tuple(drawn.get(name, 1.0) for name in ranking.query_ids) if drawn else (),
    )


def measured_by_both(
    judged: Iterable[JudgedSet], measurements: Iterable[Measurement]
) -> Iterator[tuple[JudgedSet, Measurement, Measurement]]:
    """Yield each set of the domain with what "base" and "tuned" were measured at; a set that lacks one is left out."""
    measured = {(item.dataset, item.split, item.model): item for item in measurements}
    for item in judged:
        base, tuned = (measured.get((item.dataset, item.split, model)) for model in ("base", "tuned"))
        if item.role is Role.DOMAIN and base is not None and tuned is not None:
            yield item, base, tuned


def compare(base: Measurement, tuned: Measurement, *, seed: int = 0) -> tuple[Comparison, ...]:
    """Compare two models on one judged set, query by query, for every metric.

    Raises:
        ValueError: the two were not measured on the same queries of the same set.
    """
    if (base.dataset, base.split, base.query_ids) != (tuned.dataset, tuned.split, tuned.query_ids):
        raise ValueError(f"{base.dataset}/{base.split} and {tuned.dataset}/{tuned.split} are not the same queries")
    return tuple(_compare(metric, base, tuned, seed) for metric in METRICS)


def _compare(metric: str, base: Measurement, tuned: Measurement, seed: int) -> Comparison:
    differences = tuned.values[metric] - base.values[metric]
    weights = base.weights or None
    interval = bootstrap_interval(differences, base.clusters, weights=weights, seed=seed)
    return Comparison(
        dataset=base.dataset,
        split=base.split,
        role=base.role,
        metric=metric,
        base=base.mean(metric),
        tuned=tuned.mean(metric),
        difference=interval.mean,
        low=interval.low,
        high=interval.high,
        p=randomisation_test(differences, base.clusters, weights=weights, seed=seed),
        queries=len(base.query_ids),
        detectable=detectable_difference(differences, base.clusters, weights=weights),
        answers=interval.clusters,
    )


def _metric_values(ranking: Ranking, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, NDArray[np.float64]]:
    """Return per-query metric values, computed by ir-measures.

    It is given the rank instead of the cosine: strictly falling scores leave it no tie to break by document
    id.
    """
    import ir_measures

    row = {query_id: index for index, query_id in enumerate(ranking.query_ids)}
    run = {
        query_id: {document_id: float(-place) for place, document_id in enumerate(ids)}
        for query_id, ids in zip(ranking.query_ids, ranking.documents, strict=True)
        if ids
    }
    judgements = {query_id: dict(qrels[query_id]) for query_id in ranking.query_ids}
    measures = {ir_measures.parse_measure(theirs): ours for ours, theirs in IR_MEASURES.items()}
    values = {ours: np.zeros(len(row)) for ours in METRICS}
    for result in ir_measures.iter_calc(list(measures), judgements, run):
        values[measures[result.measure]][row[result.query_id]] = result.value
    return values
