"""Choose how far to move from the base to the tuned model, from validation data only. Never sees test data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from expertune.config import SelectSection, TrainSection
from expertune.evaluate.statistics import standard_error
from expertune.records import (
    METRIC,
    Candidate,
    Dataset,
    JudgedSet,
    Measurement,
    Provenance,
    Query,
    Questions,
    Role,
    Selection,
)

VERSION = 3
"""Raise when the same measurements lead to another choice, so that no older one is reused."""

STANDARD_ERRORS = 2.0
"""How far behind the best a factor counts as equal to it.

One is the usual rule. But a validation question of a small set is mostly the only one of its answer, so that tuning
without it hardly helps it: within one, noise moved every third choice away from a better prior.
"""


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers of the questions to tune on and of those kept for choosing; disjoint, ascending."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def fold(questions: Questions, section: SelectSection, *, seed: int = 0) -> Fold:
    """Split questions for choosing: a share of the user's own questions and the same share of the written ones.

    Pieces of answers are tuned on only: nobody asks like that, so they tell nothing about how far to go.

    A set too small to give up two questions is validated on its own training questions: then the choice leans on the
    general probe, and the report says so.
    """
    generator = np.random.default_rng(seed)
    kept: list[int] = []
    for provenances in ((Provenance.PAIR, Provenance.JUDGED), (Provenance.SYNTHETIC,)):
        rows = [row for row, item in enumerate(questions.items) if item.provenance in provenances]
        kept.extend(generator.permutation(rows)[: round(section.validation * len(rows))].tolist())
    rows_all = np.arange(len(questions.items))
    if len(kept) < 2:
        return Fold(train=rows_all, validation=rows_all)
    validation = np.array(sorted(kept), dtype=np.int64)
    return Fold(train=np.setdiff1d(rows_all, validation), validation=validation)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to tune that is weighed: on which labels, in which mode, for how many steps."""

    strategy: str
    mode: str
    steps: int

    @property
    def tuning(self) -> str:
        """Name of its tuning: tied and query mode differ in what documents are encoded with, so they share one."""
        return f"{self.strategy}-{'full' if self.mode == 'full' else 'query'}-{self.steps}"


def settings(strategy: str, section: TrainSection, choice: SelectSection) -> tuple[Setting, ...]:
    """Return every combination of what is to be weighed, the configured one first."""
    strategies = dict.fromkeys((strategy, *choice.strategies))
    modes = dict.fromkeys((section.mode, *choice.modes))
    steps = dict.fromkeys((section.steps, *choice.steps))
    return tuple(Setting(*each) for each in product(strategies, modes, steps))


@dataclass(frozen=True, slots=True)
class Trial:
    """One model that could be kept: how it was tuned and its interpolation factor, measured on validation data."""

    factor: float
    setting: Setting
    domain: Measurement
    general: Measurement


def choose(trials: Sequence[Trial], section: SelectSection) -> Selection:
    """Return the factor nearest to `section.prior` that is as good as the best allowed one.

    Allowed is what loses at most `section.general_tolerance` on the general probe, give or take a standard error: the
    probe is small, and a limit without that forbids harmless models by chance. Of these the best in domain sets the
    mark, and of all within two standard errors of it (paired by question and clustered by answer) the one nearest to
    the prior is kept. A prior of 0 prefers the base: then only a gain of more than that moves away from it. Questions
    of a single answer tell nothing: they keep the base.

    `trials` hold every candidate, the base (factor 0) among them. Where several settings were weighed, the first of
    those whose factor is as near to the prior is kept: another one has to be better by two standard errors.
    """
    base = next(trial for trial in trials if trial.factor == 0.0)
    candidates = [_candidate(trial, base) for trial in trials]
    allowed = [
        (trial, item)
        for trial, item in zip(trials, candidates, strict=True)
        if item.general_difference + item.general_standard_error >= -section.general_tolerance
    ]
    best_trial, best = max(allowed, key=lambda pair: pair[1].domain)
    prior = section.prior if len(set(base.domain.clusters)) > 1 else 0.0
    near = [item for trial, item in allowed if _as_good(best_trial, trial)]
    item = min(near, key=lambda candidate: (abs(candidate.factor - prior), candidate.factor))
    if item.factor == 0.0:
        why = (
            f"keep the base: the best candidate gains {100 * best.domain_difference:+z.1f} points of nDCG@10 on "
            f"validation questions (standard error {100 * best.domain_standard_error:.1f})"
        )
        return _selection(candidates, item, why)
    several = len({trial.setting for trial in trials}) > 1
    how = f" on {item.strategy} labels in {item.mode} mode, {item.step} steps" if several else ""
    why = (
        f"factor {item.factor:g}{how}, the nearest to {prior:g} that is as good as the best within two standard "
        f"errors, gains {100 * item.domain_difference:+z.1f} points of nDCG@10 on validation questions (standard error "
        f"{100 * item.domain_standard_error:.1f}) and {100 * item.general_difference:+z.1f} on the general probe"
    )
    return _selection(candidates, item, why)


def _selection(candidates: Sequence[Candidate], chosen: Candidate, why: str) -> Selection:
    marked = tuple(replace(item, chosen=item is chosen) for item in candidates)
    return Selection(factor=chosen.factor, step=chosen.step, candidates=marked, why=why)


def _candidate(trial: Trial, base: Trial) -> Candidate:
    domain, domain_error = _difference(trial.domain, base.domain)
    general, general_error = _difference(trial.general, base.general)
    return Candidate(
        factor=trial.factor,
        strategy=trial.setting.strategy,
        mode=trial.setting.mode,
        step=trial.setting.steps,
        domain=trial.domain.mean(METRIC),
        general=trial.general.mean(METRIC),
        domain_difference=domain,
        domain_standard_error=domain_error,
        general_difference=general,
        general_standard_error=general_error,
    )


def _as_good(best: Trial, other: Trial) -> bool:
    behind, error = _difference(best.domain, other.domain)
    return behind <= STANDARD_ERRORS * error


def _difference(first: Measurement, second: Measurement) -> tuple[float, float]:
    """Return the mean paired difference and its cluster-robust standard error (clusters: answers)."""
    values = first.values[METRIC] - second.values[METRIC]
    return float(values.mean()), standard_error(values, first.clusters)


def validation_set(dataset: Dataset, questions: Questions, rows: NDArray[np.int64]) -> JudgedSet:
    """Return training questions as a judged set, so that they are measured like any other.

    Questions with the same text are one query, relevant for the answers of all of them. The user's own questions are
    few but sure, generated ones many but guesses, so each kind has half a say: own questions are repeated for it, whole
    rounds of them. Standard errors are clustered by answer, so a repeated question is no new evidence.
    """
    relevant: dict[str, dict[str, int]] = {}
    own: dict[str, None] = {}
    for row in rows:
        item = questions.items[int(row)]
        relevant.setdefault(item.text, {}).update(dict.fromkeys(item.document_ids, 1))
        if item.labelled:
            own.setdefault(item.text)
    rounds = max(1, round((len(relevant) - len(own)) / len(own))) if own else 1
    texts = [*relevant, *(rounds - 1) * [*own]]
    queries = tuple(Query(id=f"v{number}", text=text) for number, text in enumerate(texts))
    return JudgedSet(
        dataset=dataset.name,
        split="validation",
        role=Role.DOMAIN,
        documents=dataset.documents,
        queries=queries,
        qrels={query.id: relevant[query.text] for query in queries},
    )
