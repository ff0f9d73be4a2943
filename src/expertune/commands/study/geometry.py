"""Does tuning change the shape of the vectors' cloud, does the kind of label matter, and does it go with gain?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from expertune.commands.study.lab import Lab, Point
from expertune.commands.study.result import Study
from expertune.config import Strategy
from expertune.evaluate.geometry import covariance_spectrum, geometry
from expertune.evaluate.statistics import Interval
from expertune.records import FloatArray, JudgedSet, Role

STRATEGIES: tuple[Strategy, ...] = ("hard", "soft-1", "soft-2", "weighted", "anchored")
SHOWN = ("hard", "soft-1", "anchored")
MEASURES = (
    "mean_cosine",
    "iso_score",
    "effective_rank",
    "top_share",
    "uniformity",
    "alignment",
)
COMPARED = (0.5, 1.0)
"""Factors at which a change of the cloud is set beside a gain."""

GROUPS = 12
"""Parts of a corpus that are left out in turn. A bootstrap would repeat vectors, and two equal ones have cosine 1."""


def study(lab: Lab) -> Study:
    """Measure clouds of held-out questions before and after tuning with each kind of label, on every corpus."""
    corpora = _corpora(lab)
    before = {name: _measures(lab, lab.base, judged) for name, judged in corpora.items()}
    rows: list[tuple[object, ...]] = []
    changes: dict[str, dict[str, dict[str, Interval]]] = {}
    runs = []
    strategies = dict.fromkeys((*STRATEGIES, lab.config.label.strategy))
    for strategy in strategies:
        section = lab.config.label.model_copy(update={"strategy": strategy})
        pieces = lab.repeated(*lab.labels(section), seeds=lab.seeds(2))
        for number, piece in enumerate(pieces):
            runs += [_run(lab, strategy, number, piece.at(factor), corpora, before) for factor in COMPARED]
        if strategy in SHOWN:
            changes[strategy] = {name: _change(lab, pieces[0].at(1.0), judged) for name, judged in corpora.items()}
            rows += [
                (
                    strategy,
                    name,
                    measure,
                    *(round(value, 4) for value in (before[name][measure], c.mean, c.low, c.high)),
                )
                for name, measures in changes[strategy].items()
                for measure, c in measures.items()
            ]
    together = {measure: _together(runs, measure) for measure in MEASURES}
    domain = next(iter(corpora))
    answers = []
    for name, found in changes.items():
        iso, cosine = found[domain]["iso_score"], found[domain]["mean_cosine"]
        answers.append(
            f"{name} labels change IsoScore of {domain} by {_spelled(iso)} from {before[domain]['iso_score']:.3f} "
            f"and the mean cosine of random pairs by {_spelled(cosine)} from {before[domain]['mean_cosine']:.3f}."
        )
    link = together["iso_score"]
    answers.append(
        f"Over {len(runs)} tuned models the change of IsoScore goes with the domain gain by a rank correlation of "
        f"{link.mean:.2f} ({link.low:.2f} to {link.high:.2f} over tunings): {_linked(link)}."
    )
    return Study(
        name="geometry",
        question="Do soft labels reduce anisotropy, by how much, and does it go with better retrieval?",
        answers=tuple(answers),
        columns=("labels", "corpus", "measure", "base", "change", "low", "high"),
        rows=tuple(rows),
        figures={
            "base": before,
            "base_spectra": {
                name: covariance_spectrum(lab.base.vectors[lab.rows_of(judged)])[:50]
                for name, judged in corpora.items()
            },
            "changes": changes,
            "runs": runs,
            "correlation_with_domain_gain": together,
        },
    )


def _corpora(lab: Lab) -> dict[str, JudgedSet]:
    """Return every judged set with enough questions to have a shape, the domain first."""
    return {judged.name: judged for judged in lab.basis.judged if len(judged.queries) >= 2 * GROUPS}


def _measures(lab: Lab, point: Point, judged: JudgedSet, kept: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Return every measure of the cloud of a set's questions (default: all of them)."""
    rows, answers = np.array(lab.rows_of(judged)), _answers(lab, judged)
    if kept is not None:
        rows, answers = rows[kept], answers[kept]
    vectors = np.asarray(point.vectors)[rows]
    found = geometry(vectors, positives=(vectors, answers))
    return {measure: float(getattr(found, measure)) for measure in MEASURES}


def _answers(lab: Lab, judged: JudgedSet) -> FloatArray:
    """Return the base's vector of one right answer for each question; in query mode that is the tuned model's too."""
    text = {document.id: document.text for document in judged.documents}
    first = []
    for query in judged.queries:
        right = [document for document, grade in sorted(judged.qrels[query.id].items()) if grade >= 1]
        first.append(text[right[0]])
    return lab.base_encoder.encode_documents(first)


def _change(lab: Lab, point: Point, judged: JudgedSet) -> dict[str, Interval]:
    """Return by how much each measure differs from the base's, with its interval over other questions."""

    def change(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        after, before = _measures(lab, point, judged, kept), _measures(lab, lab.base, judged, kept)
        return np.array([after[measure] - before[measure] for measure in MEASURES])

    return dict(zip(MEASURES, jackknife(change, len(judged.queries)), strict=True))


def jackknife(
    value: Callable[[NDArray[np.bool_]], NDArray[np.float64]], count: int, *, seed: int = 0
) -> list[Interval]:
    """Return statistics `[M]` of `count` items, each with its 95 % interval, by leaving out a group of items at a time.

    `value` takes which items to keep `[count]`.
    """
    from scipy import stats

    group = np.random.default_rng(seed).permutation(count) % GROUPS
    whole = value(np.ones(count, dtype=bool))
    left = np.stack([value(group != number) for number in range(GROUPS)])
    errors = np.sqrt((GROUPS - 1) / GROUPS * np.sum((left - left.mean(axis=0)) ** 2, axis=0))
    reach = float(stats.t.ppf(0.975, GROUPS - 1))
    return [
        Interval(float(mean), float(mean - reach * error), float(mean + reach * error), float(error), GROUPS)
        for mean, error in zip(whole, errors, strict=True)
    ]


def _run(
    lab: Lab,
    strategy: str,
    seed: int,
    point: Point,
    corpora: Mapping[str, JudgedSet],
    before: Mapping[str, Mapping[str, float]],
) -> dict[str, object]:
    """Return one tuned model's gain and the change of each measure, mean over the domain's corpora."""
    own = [name for name, judged in corpora.items() if judged.role is Role.DOMAIN] or list(corpora)
    after = {name: _measures(lab, point, corpora[name]) for name in own}
    changed = {measure: float(np.mean([after[n][measure] - before[n][measure] for n in own])) for measure in MEASURES}
    return {
        "labels": strategy,
        "seed": seed,
        "factor": point.factor,
        "domain": lab.gain([point], Role.DOMAIN).mean,
        "general": lab.gain([point], Role.GENERAL).mean,
        **changed,
    }


def _together(runs: list[dict[str, object]], measure: str, *, resamples: int = 1000) -> Interval:
    """Return the rank correlation of a measure's change with the domain gain, its interval over tunings."""
    from expertune.evaluate.sts import spearman

    gains = np.array([float(str(run["domain"])) for run in runs])
    changed = np.array([float(str(run[measure])) for run in runs])
    tuning = np.array([f"{run['labels']} {run['seed']}" for run in runs])
    names = np.unique(tuning)
    members = {name: np.flatnonzero(tuning == name) for name in names}
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(resamples):
        rows = np.concatenate([members[name] for name in generator.choice(names, len(names))])
        drawn.append(spearman(changed[rows], gains[rows]))
    # Tunings that all gain the same, or change nothing, have no correlation.
    known = [value for value in drawn if not np.isnan(value)] or [float("nan")]
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(spearman(changed, gains), float(low), float(high), float(np.std(known)), len(names))


def _spelled(interval: Interval) -> str:
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def _linked(interval: Interval) -> str:
    return {
        "better": "rounder clouds go with gain",
        "worse": "narrower clouds go with gain",
    }.get(interval.outcome, "no evidence that they go together")
