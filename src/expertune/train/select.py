"""Choose how far to move from the base to the tuned model, from validation data only. Never sees test data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expertune.evaluate.statistics import standard_error
from expertune.records import (
    METRIC,
    Candidate,
    Document,
    JudgedSet,
    Measurement,
    Query,
    Question,
    Questions,
    Role,
    Selection,
)

VERSION = 7
"""Raise when the same measurements lead to another choice, so that no older one is reused."""

INTERPOLATION_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What is weighed between base (0) and tuned (1): validation questions cannot tell finer steps apart."""

VALIDATION_SHARE = 0.2
"""Share of the labelled and of the synthetic questions kept for choosing; the model is tuned again on all of them."""

FEWEST = 20
"""Questions that must be left out for a choice to be made by them.

Fewer have standard errors of 2 to 10 points: in forty tunings of four sets they moved the choice away from the
preferred weight once. Without them one tuning does where two were.
"""

STANDARD_ERRORS = 2.0
"""How far behind the best an interpolation weight counts as equal to it, and what loss on validation counts as shown.

One is the usual rule. But a validation question of a small set is mostly the only one of its answer, so that tuning
without it hardly helps it: within one, noise moved every third choice away from a better preferred weight. Losses of
1.0 and 1.6 standard errors on validation were gains of 5 to 12 points on held-out questions.
"""


_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers of the questions to tune on and of those kept for choosing, ascending; disjoint unless `learned`."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]

    @property
    def learned(self) -> bool:
        """Whether what is chosen by is tuned on as well."""
        return bool(np.isin(self.validation, self.train).any())


def fold(questions: Questions, *, fewest: int, seed: int = 0) -> Fold:
    """Split questions for choosing: the same share of the labelled and of the synthetic ones.

    Spans of answers and questions of a search log are tuned on only: nobody asks like the ones, and nobody knows the
    answers of the others, so they tell nothing about how far to go.

    A set too small to give up `fewest` questions is validated on those that it is tuned on.
    """
    generator = np.random.default_rng(seed)
    able: list[int] = []
    validation: list[int] = []
    for labelled in (True, False):
        rows = [
            row
            for row, item in enumerate(questions.items)
            if item.labelled is labelled and not item.span and not item.logged
        ]
        able.extend(rows)
        validation.extend(generator.permutation(rows)[: left_out(len(rows))].tolist())
    rows_all = np.arange(len(questions.items))
    if len(validation) < fewest:
        return Fold(train=rows_all, validation=np.array(sorted(able), dtype=np.int64) if able else rows_all)
    kept = np.array(sorted(validation), dtype=np.int64)
    return Fold(train=np.setdiff1d(rows_all, kept), validation=kept)


def apart(questions: Questions, rows: NDArray[np.int64], copies: Sequence[bool]) -> NDArray[np.int64]:
    """Return the rows that may be trained on where some labelled questions are left out, ascending.

    What repeats one of them goes, and synthetic questions about their answers: a generator was shown the question.
    Spans stay, for they are cut from the answer, and every answer of the index has some.

    Args:
        questions: Of the run.
        rows: Those that are left out.
        copies: `[Q]`, True where a question repeats one of those by words or meaning.
    """
    answers = {document_id for row in rows for document_id in questions.items[int(row)].document_ids}
    made_from = [item.synthetic and not answers.isdisjoint(item.document_ids) for item in questions.items]
    kept = ~(np.array(copies, dtype=np.bool_) | np.array(made_from, dtype=np.bool_))
    return np.setdiff1d(np.flatnonzero(kept), rows)


def left_out(*kinds: int) -> int:
    """Return how many questions validate, of so many of each kind."""
    return sum(round(VALIDATION_SHARE * count) for count in kinds)


@dataclass(frozen=True, slots=True)
class Trial:
    """One model that could be kept, measured on validation questions and on the general dev set."""

    interpolation_weight: float
    domain: Measurement
    general: Measurement


def choose(trials: Sequence[Trial], *, left_out: int, preferred_weight: float, general_tolerance: float) -> Selection:
    """Return the interpolation weight nearest to the preferred one that is as good as the best allowed one.

    Allowed is what loses at most `general_tolerance` on the general dev set, give or take a standard error: that set is
    small, and a limit without it forbids harmless models by chance. A loss of two standard errors or more on the
    validation questions is not allowed either: the preferred weight must not outvote what they show. Of the allowed
    ones the best in the domain sets the mark, and of all within two standard errors of it (paired by question and
    clustered by answer) the one nearest to `preferred_weight` is kept. A preferred weight of 0 prefers the base: then
    only a gain of more than that moves away from it. Questions of a single answer tell nothing: they keep the base.

    `left_out` says how many questions the tuning did not see. 0: it was tuned on the validation questions, so that only
    a loss on them tells something, and of the allowed ones the nearest to the preferred weight is kept.

    `trials` hold every candidate, the base (weight 0) among them.
    """
    base = next(trial for trial in trials if trial.interpolation_weight == 0.0)
    candidates = [_candidate(trial, base) for trial in trials]
    allowed = [
        (trial, item)
        for trial, item in zip(trials, candidates, strict=True)
        if item.general_difference + item.general_standard_error >= -general_tolerance and not _loses(item)
    ]
    best_trial, best = max(allowed, key=lambda pair: pair[1].domain)
    preferred = preferred_weight if len(set(base.domain.clusters)) > 1 else 0.0
    as_good = [item for trial, item in allowed if not left_out or _as_good(best_trial, trial)]
    weight = min((item.interpolation_weight for item in as_good), key=lambda value: (abs(value - preferred), value))
    marked = tuple(replace(item, chosen=item.interpolation_weight == weight) for item in candidates)
    chosen = next(item for item in marked if item.chosen)
    if not weight:
        why = _reason_to_keep_the_base(best)
    else:
        why = _reason(chosen, preferred) if left_out else _reason_without_validation(chosen, preferred)
    return Selection(weight, marked, why, left_out)


def _reason_without_validation(chosen: Candidate, preferred: float) -> str:
    return (
        f"interpolation weight {chosen.interpolation_weight:g}, the nearest to {preferred:g} that the general dev set "
        f"allows ({100 * chosen.general_difference:+z.1f} points of nDCG@10): all questions were tuned on, because "
        f"fewer than {FEWEST} could be left out to choose by"
    )


def _reason(chosen: Candidate, preferred: float) -> str:
    return (
        f"interpolation weight {chosen.interpolation_weight:g}, the nearest to {preferred:g} that is as good as the "
        f"best within two standard errors, gains {100 * chosen.domain_difference:+z.1f} points of nDCG@10 on "
        f"validation questions (standard error {100 * chosen.domain_standard_error:.1f}) and "
        f"{100 * chosen.general_difference:+z.1f} on the general dev set"
    )


def _reason_to_keep_the_base(best: Candidate) -> str:
    if best.interpolation_weight == 0:
        return "keep the base: nothing else gains, or it loses too much on the general dev set or on your questions"
    return (
        f"keep the base: the best candidate gains {100 * best.domain_difference:+z.1f} points of nDCG@10 on "
        f"validation questions (standard error {100 * best.domain_standard_error:.1f})"
    )


def _candidate(trial: Trial, base: Trial) -> Candidate:
    domain, domain_error = _difference(trial.domain, base.domain)
    general, general_error = _difference(trial.general, base.general)
    return Candidate(
        interpolation_weight=trial.interpolation_weight,
        domain=trial.domain.mean(METRIC),
        general=trial.general.mean(METRIC),
        domain_difference=domain,
        domain_standard_error=domain_error,
        general_difference=general,
        general_standard_error=general_error,
    )


def _loses(item: Candidate) -> bool:
    """Tell whether the validation questions speak against a candidate, beyond their noise."""
    return (
        item.domain_difference < 0
        and item.domain_difference <= -STANDARD_ERRORS * item.domain_standard_error + _ROUNDING
    )


def _as_good(best: Trial, other: Trial) -> bool:
    behind, error = _difference(best.domain, other.domain)
    return behind <= STANDARD_ERRORS * error


def _difference(first: Measurement, second: Measurement) -> tuple[float, float]:
    """Return the mean paired difference and its cluster-robust standard error (clusters: answers)."""
    values = first.values[METRIC] - second.values[METRIC]
    return float(values.mean()), standard_error(values, first.clusters)


def validation_set(name: str, documents: Sequence[Document], questions: Sequence[Question]) -> JudgedSet:
    """Return training questions as a judged set of the dataset `name`, so that they are measured like any other.

    Questions with the same text are one query, relevant for the answers of all of them. Labelled questions are few but
    sure, synthetic ones many but guesses, so each kind has half a say: labelled questions are repeated for it, whole
    rounds of them. Standard errors are clustered by answer, so a repeated question is no new evidence.
    """
    relevant: dict[str, dict[str, int]] = {}
    for item in questions:
        relevant.setdefault(item.text, {}).update(dict.fromkeys(item.document_ids, 1))
    labelled = [*dict.fromkeys(item.text for item in questions if item.labelled)]
    rounds = max(1, round((len(relevant) - len(labelled)) / len(labelled))) if labelled else 1
    texts = [*relevant, *(rounds - 1) * labelled]
    queries = tuple(Query(id=f"v{number}", text=text) for number, text in enumerate(texts))
    return JudgedSet(
        dataset=name,
        split="validation",
        role=Role.DOMAIN,
        documents=tuple(documents),
        queries=queries,
        qrels={query.id: relevant[query.text] for query in queries},
    )
