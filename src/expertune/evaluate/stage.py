"""Measure models on held-out questions and compare a tuned one with its base.

Metrics come from ir-measures and mean what trec_eval, and so MTEB, mean by them. Every query counts for
which the judgements name at least one relevant document, also where a model finds none of them (0); queries
without any relevant document are left out, because no ranking could be right or wrong for them.

Rankings come from `ranking.py`, tests from `statistics.py`, the verdict from `verdict.py`. This module does
not know how a model is loaded, cached or tuned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from expertune.config import EvaluateSection
from expertune.errors import DataError
from expertune.evaluate.ranking import Encoder, Ranking, judged_queries, rank, similarities
from expertune.evaluate.statistics import bootstrap_interval, detectable_difference, randomisation_test
from expertune.evaluate.verdict import METRIC, adjusted, verdict
from expertune.records import (
    PLAIN_INDEX,
    Comparison,
    Evaluation,
    FloatArray,
    JudgedSet,
    Measurement,
    PanelDiagnostics,
    Progress,
    Report,
    Role,
    Separation,
    ignore_progress,
)

__all__ = [
    "METRIC",
    "METRICS",
    "Encoder",
    "Ranking",
    "Remembering",
    "compare",
    "evaluate",
    "measure",
    "rank",
    "separation",
    "verdict",
]

METRICS = {METRIC: "nDCG@10", "map@10": "AP@10", "mrr@10": "RR@10", "recall@10": "R@10"}
"""Our names of the metrics, and what ir-measures calls them."""

MOST_PAIRS = 2_000_000
"""Irrelevant pairs that a separation looks at; beyond it takes a uniform sample and weights it up."""

BINS = 60


def measure(encoder: Encoder, judged: JudgedSet, model: str) -> Measurement:
    """Measure one model on one judged set, query by query; see `rank` for errors."""
    ranking = rank(encoder, judged)
    _, relevant = judged_queries(judged)
    return Measurement(
        dataset=judged.dataset,
        split=judged.split,
        role=judged.role,
        model=model,
        query_ids=ranking.query_ids,
        clusters=tuple("+".join(ids) for ids in relevant.values()),
        values=_metric_values(ranking, judged.qrels),
        ranks=ranking.first,
        top=tuple(ids[:5] for ids in ranking.documents),
        ties=ranking.ties,
    )


def separation(encoder: Encoder, judged: JudgedSet, model: str, *, seed: int = 0) -> Separation:
    """Measure how far the cosines of relevant and irrelevant (query, document) pairs lie apart.

    Every pair of a judged query and a document counts; pairs nobody judged count as irrelevant. Beyond
    `MOST_PAIRS` irrelevant pairs a uniform sample stands for them, weighted so that `prevalence` and
    `auprc` are still those of all pairs. The histograms' edges span this model's own cosines: what counts
    is the overlap, not the scale.

    Raises:
        DataError: no query has a relevant document in the corpus, or there are no irrelevant pairs.
        PluginError: the encoder broke its contract.
    """
    from scipy.stats import ks_2samp
    from sklearn.metrics import average_precision_score, roc_auc_score

    relevant, irrelevant, pairs = _pair_scores(encoder, judged, np.random.default_rng(seed))
    if not len(relevant) or not len(irrelevant):
        raise DataError("expected relevant and irrelevant pairs of held-out questions and documents", place=judged.name)
    truth = np.repeat([1, 0], [len(relevant), len(irrelevant)])
    scores = np.concatenate([relevant, irrelevant])
    weights = np.repeat([1.0, (pairs - len(relevant)) / len(irrelevant)], [len(relevant), len(irrelevant)])
    low, high = float(scores.min()), float(scores.max())
    edges = np.linspace(low, high if high > low else low + 1e-3, BINS + 1)
    with np.errstate(divide="ignore"):  # what SciPy makes of one pair on each side, for a p that nobody reads
        ks = float(ks_2samp(relevant, irrelevant, method="asymp").statistic)
    near, _ = np.histogram(relevant, bins=edges, density=True)
    far, _ = np.histogram(irrelevant, bins=edges, density=True)
    return Separation(
        dataset=judged.dataset,
        split=judged.split,
        model=model,
        auprc=float(average_precision_score(truth, scores, sample_weight=weights)),
        prevalence=len(relevant) / pairs,
        auroc=float(roc_auc_score(truth, scores)),
        ks=ks,
        overlap=float(np.sum(np.minimum(near, far) * np.diff(edges))),
        edges=tuple(edges.tolist()),
        relevant=tuple(near.tolist()),
        irrelevant=tuple(far.tolist()),
    )


def compare(base: Measurement, tuned: Measurement, section: EvaluateSection) -> tuple[Comparison, ...]:
    """Compare two models on one judged set, query by query, for every metric.

    Raises:
        ValueError: the two were not measured on the same queries of the same set.
    """
    if (base.dataset, base.split, base.query_ids) != (tuned.dataset, tuned.split, tuned.query_ids):
        raise ValueError(f"{base.dataset}/{base.split} and {tuned.dataset}/{tuned.split} are not the same queries")
    return tuple(_compare(metric, base, tuned, section) for metric in METRICS)


def evaluate(
    encoders: Mapping[str, Encoder],
    judged_sets: Sequence[JudgedSet],
    section: EvaluateSection,
    report: Report = ignore_progress,
    *,
    panel: PanelDiagnostics | None = None,
    plain: Sequence[JudgedSet] = (),
) -> Evaluation:
    """Measure every model on every judged set alike, compare "tuned" with "base", and give the verdict.

    Args:
        encoders: Models by name; "base" and "tuned" must be among them.
        judged_sets: Held-out sets; only those with the domain role get separations.
        section: Confidence, resamples, tolerance and seed.
        report: Told after every measured set.
        panel: What is known of the labels that were tuned on, for the verdict's signs of failure.
        plain: Sets of `judged_sets` with their answers as they are, where those are expanded: "base" is measured on
            them as well, as `PLAIN_INDEX`.

    Raises:
        KeyError: "base" or "tuned" is missing.
        DataError: a set has nothing to measure.
        PluginError: an encoder broke its contract.
    """
    measured: dict[tuple[str, str], Measurement] = {}
    separations: list[Separation] = []
    total = len(encoders) * len(judged_sets) + len(plain)
    for model, encoder in encoders.items():
        remembering = Remembering(encoder)
        for judged in judged_sets:
            measured[model, judged.name] = measure(remembering, judged, model)
            if judged.role is Role.DOMAIN:
                separations.append(separation(remembering, judged, model, seed=section.seed))
            report(Progress("evaluate", len(measured), total, f"{model} on {judged.name}"))
    for judged in plain:
        measured[PLAIN_INDEX, judged.name] = measure(encoders["base"], judged, PLAIN_INDEX)
        report(Progress("evaluate", len(measured), total, f"{PLAIN_INDEX}, on {judged.name}"))

    def compared(base: str, tuned: str, sets: Sequence[JudgedSet]) -> tuple[Comparison, ...]:
        pairs = [(measured[base, judged.name], measured[tuned, judged.name]) for judged in sets]
        return adjusted([row for pair in pairs for row in compare(*pair, section)], section)

    comparisons = compared("base", "tuned", judged_sets)
    indexing = compared(PLAIN_INDEX, "base", plain)
    measurements = tuple(measured.values())
    decision = verdict(comparisons, measurements, separations, section, panel=panel, indexing=indexing)
    overall = compared(PLAIN_INDEX, "tuned", plain)
    return Evaluation(measurements, tuple(separations), comparisons, decision, indexing=indexing, overall=overall)


class Remembering:
    """Keep the last vectors of each side: ranking, separation and splits of one corpus ask for the same."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._queries: tuple[tuple[str, ...], FloatArray] | None = None
        self._documents: tuple[tuple[str, ...], FloatArray] | None = None

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, as the encoder does."""
        key = tuple(texts)
        if self._queries is None or self._queries[0] != key:
            self._queries = key, self._encoder.encode_queries(texts)
        return self._queries[1]

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, as the encoder does."""
        key = tuple(texts)
        if self._documents is None or self._documents[0] != key:
            self._documents = key, self._encoder.encode_documents(texts)
        return self._documents[1]


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
    measures = {ir_measures.parse_measure(theirs): ours for ours, theirs in METRICS.items()}
    values = {ours: np.zeros(len(row)) for ours in METRICS}
    for result in ir_measures.iter_calc(list(measures), judgements, run):
        values[measures[result.measure]][row[result.query_id]] = result.value
    return values


def _pair_scores(
    encoder: Encoder, judged: JudgedSet, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray, int]:
    """Return cosines of relevant and of (a sample of) irrelevant pairs, and the number of all pairs."""
    texts, relevant = judged_queries(judged)
    width = len(judged.documents)
    pairs = len(texts) * width
    column = {document.id: index for index, document in enumerate(judged.documents)}
    wanted = None
    if pairs > MOST_PAIRS:
        # Distinct uniform draws; dropping the few repeats is far cheaper than drawing without replacement.
        wanted = np.unique(generator.integers(0, pairs, MOST_PAIRS))
    near: list[FloatArray] = []
    far: list[FloatArray] = []
    for row, (query_id, similarity) in enumerate(zip(texts, similarities(encoder, judged, texts), strict=True)):
        mask = np.zeros(width, dtype=bool)
        mask[[column[document_id] for document_id in relevant[query_id] if document_id in column]] = True
        near.append(similarity[mask])
        if wanted is None:
            far.append(similarity[~mask])
        else:
            start, stop = np.searchsorted(wanted, [row * width, (row + 1) * width])
            drawn = wanted[start:stop] - row * width
            far.append(similarity[drawn[~mask[drawn]]])
    if not near:
        return np.zeros(0, np.float32), np.zeros(0, np.float32), pairs
    return np.concatenate(near), np.concatenate(far), pairs


def _compare(metric: str, base: Measurement, tuned: Measurement, section: EvaluateSection) -> Comparison:
    differences = tuned.values[metric] - base.values[metric]
    interval = bootstrap_interval(
        differences,
        base.clusters,
        confidence=section.confidence,
        resamples=section.resamples,
        seed=section.seed,
    )
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
        p=randomisation_test(differences, base.clusters, draws=section.resamples, seed=section.seed),
        queries=len(base.query_ids),
        detectable=detectable_difference(differences, base.clusters, alpha=1 - section.confidence),
    )
