"""Turn paired measurements into one answer: what is known of the tuned model, and what to do.

The domain and general sets are pooled each on their own: every set counts the same, and the interval comes
from resampling the answers inside each. This module does not know models, rankings or how a metric is
computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from expertune.evaluate import diagnostics
from expertune.evaluate.diagnostics import as_change, as_points
from expertune.evaluate.statistics import CONFIDENCE, Interval, Stratum, detectable_from, stratified_interval
from expertune.records import (
    METRIC,
    TOO_FEW_ANSWERS,
    Basis,
    Comparison,
    Hits,
    Measurement,
    Outcome,
    PanelDiagnostics,
    Role,
    Separation,
    Verdict,
)

VERSION = 6
"""Raise when the same measurements lead to another verdict, or to other words."""

REACH = 0.5
"""A gain is likely where its interval reaches less than this share of the gain below zero.

On sets that are not tiny this is the 80 % interval above zero, told from the 95 % interval that people see. To keep the
base is a decision as well, and a mistake where tuning helped; `bench/verdict.py` measures how often either is made.
"""

SINGLE_SET = 3.0
"""How many times the tolerance a single general set may lose."""


_ONLY_LIKELY = {Outcome.BETTER: Outcome.LIKELY_BETTER, Outcome.WORSE: Outcome.LIKELY_WORSE}


@dataclass(frozen=True, slots=True)
class Pool:
    """The macro average over the sets of one role.

    `shown` is its difference with the interval at `CONFIDENCE`; `detectable` is what the sets would have shown (80 %
    power), `each` the difference of every set.
    """

    base: float
    tuned: float
    shown: Interval
    detectable: float
    questions: int
    each: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Tuned minus base."""
        return self.shown.mean

    @property
    def outcome(self) -> Outcome:
        """What the difference and its interval say, by the one rule; too few answers show nothing, at most likely."""
        found = read(self.shown.mean, self.shown.low, self.shown.high)
        return _ONLY_LIKELY.get(found, found) if self.shown.too_few else found


def read(difference: float, low: float, high: float) -> Outcome:
    """Say what a difference with its interval at `CONFIDENCE` shows. The one rule: nothing else decides.

    An interval that leaves out zero shows a difference. One that reaches less than `REACH` times the difference beyond
    zero makes it likely.
    """
    if low > 0:
        return Outcome.BETTER
    if high < 0:
        return Outcome.WORSE
    if low > -REACH * difference:
        return Outcome.LIKELY_BETTER
    return Outcome.LIKELY_WORSE if high < -REACH * difference else Outcome.NOT_SHOWN


def verdict(
    comparisons: Sequence[Comparison],
    measurements: Sequence[Measurement],
    separations: Sequence[Separation],
    *,
    tolerance: float,
    seed: int = 0,
    panel: PanelDiagnostics | None = None,
    indexing: Sequence[Comparison] = (),
    basis: Basis = Basis.HELD_OUT,
) -> Verdict:
    """Say whether the tuned model is better in its domain, did not suffer elsewhere, and should be shipped.

    Ship if the pooled domain difference is better or likely better (see `read`), unless general sets lost more than the
    tolerance on average and are worse or likely worse, a domain set is significantly worse, or a general set lost
    `SINGLE_SET` times the tolerance significantly. Single sets are significant at `CONFIDENCE` after
    Benjamini-Hochberg over the sets of their role. Without held-out questions nothing is decided.

    Args:
        comparisons: Of "tuned" with "base"; those of other metrics than nDCG@10 are ignored.
        measurements: Of the models "base" and "tuned" on the same sets.
        separations: Of the domain sets; only the tuned model's are read.
        tolerance: Mean loss of nDCG@10 on general sets that is allowed, in [0, 1].
        seed: Seed of the resampling.
        panel: What is known of the labels that were tuned on, for the diagnostics; it decides nothing.
        indexing: Of the base on an index of question + answer with the base on one of answers; as `panel`.
        basis: Which questions the domain was measured on; without any it is `Basis.NONE`, whatever is given.
    """
    domain, general = (_pool(measurements, role, seed) for role in (Role.DOMAIN, Role.GENERAL))
    basis = basis if domain else Basis.NONE
    allowed = {Role.DOMAIN: 0.0, Role.GENERAL: SINGLE_SET * tolerance}
    worse = [
        row
        for row in adjusted([row for row in comparisons if row.metric == METRIC])
        if row.adjusted <= row.level and -row.difference > allowed[row.role]
    ]
    suffers = (Outcome.WORSE, Outcome.LIKELY_WORSE)
    lost = general is not None and general.outcome in suffers and -general.difference > tolerance
    gained = domain is not None and domain.outcome in (Outcome.BETTER, Outcome.LIKELY_BETTER)
    ship = gained and not worse and not lost if basis is Basis.HELD_OUT else None
    found = count_hits(_pairs(measurements, Role.DOMAIN)) if domain else None
    changes = {str(role): pool.each for role, pool in ((Role.DOMAIN, domain), (Role.GENERAL, general)) if pool}
    fell = domain is not None and domain.shown.outcome == "worse"
    return Verdict(
        domain=domain.outcome if domain else Outcome.NOT_MEASURED,
        general=general.outcome if general else Outcome.NOT_MEASURED,
        ship=ship,
        headline=_headline(found, basis),
        action=_action(domain, basis, ship=ship),
        why=_why(domain, general, tolerance, worse=worse, lost=lost),
        diagnostics=(
            *diagnostics.of_changes(changes, tolerance, domain_fell=fell),
            *diagnostics.of_separations(separations),
            *(diagnostics.of_labels(panel) if panel else ()),
            *diagnostics.of_index(indexing),
        ),
        basis=basis,
        hits=found,
        certainty=_certainty(domain) if domain else "",
    )


def count_hits(pairs: Sequence[tuple[Measurement, Measurement]]) -> Hits:
    """Count the questions of (base, tuned) pairs that find a right answer first and among the first three."""

    def counted(most: int) -> tuple[int, int]:
        before, after = (sum(int(both[side].hits(most).sum()) for both in pairs) for side in (0, 1))
        return before, after

    return Hits(
        questions=sum(len(base.query_ids) for base, _ in pairs),
        first=counted(1),
        three=counted(3),
        gained=sum(int((tuned.hits(1) & ~base.hits(1)).sum()) for base, tuned in pairs),
        lost=sum(int((base.hits(1) & ~tuned.hits(1)).sum()) for base, tuned in pairs),
    )


def adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons, in order, with p adjusted by Benjamini-Hochberg over the sets of one role and metric."""
    from scipy.stats import false_discovery_control

    def family(index: int) -> tuple[str, str]:
        return comparisons[index].role, comparisons[index].metric

    rows = list(comparisons)
    for _, group in groupby(sorted(range(len(rows)), key=family), key=family):
        members = list(group)
        for index, p in zip(members, false_discovery_control([rows[index].p for index in members]), strict=True):
            rows[index] = replace(rows[index], adjusted=float(p), level=1 - CONFIDENCE)
    return tuple(rows)


def _pool(measurements: Iterable[Measurement], role: Role, seed: int) -> Pool | None:
    """Pool the sets of one role; None where there is no set.

    A set about a single answer has no spread to resample; it is left out unless all are like that.
    """
    pairs = _pairs(measurements, role)
    pairs = [pair for pair in pairs if len(set(pair[0].clusters)) > 1] or pairs
    if not pairs:
        return None
    strata: list[Stratum] = [
        (tuned.values[METRIC] - base.values[METRIC], base.clusters, base.weights or None) for base, tuned in pairs
    ]
    shown = stratified_interval(strata, confidence=CONFIDENCE, seed=seed)
    return Pool(
        base=float(np.mean([base.mean(METRIC) for base, _ in pairs])),
        tuned=float(np.mean([tuned.mean(METRIC) for _, tuned in pairs])),
        shown=shown,
        detectable=detectable_from(shown.standard_error, shown.clusters - len(strata)),
        questions=sum(len(base.query_ids) for base, _ in pairs),
        each=tuple(tuned.mean(METRIC) - base.mean(METRIC) for base, tuned in pairs),
    )


def _pairs(measurements: Iterable[Measurement], role: Role) -> list[tuple[Measurement, Measurement]]:
    """Return base and tuned side by side, for every set of a role."""
    of_role = [measurement for measurement in measurements if measurement.role is role]
    after = {(item.dataset, item.split): item for item in of_role if item.model == "tuned"}
    return [(item, after[item.dataset, item.split]) for item in of_role if item.model == "base"]


# --- saying it in plain sentences, in points of nDCG@10 x 100 ------------------------------------------------------


def _headline(found: Hits | None, basis: Basis) -> str:
    if found is None:
        return "Not measured: there are no held-out questions to compare the two models on."
    asked = f"{found.questions} of your own" if basis is Basis.OWN else f"{found.questions}"
    return f"Right answer first: {found.first[0]} of {asked} questions before tuning, {found.first[1]} after."


def _action(domain: Pool | None, basis: Basis, *, ship: bool | None) -> str:
    """Say the one thing to do."""
    keep = "Keep the model you tuned from (the base)"
    if domain is None:
        return "Collect questions that users asked, with their right answers; until then compare both models by hand."
    outcome = domain.outcome
    if basis is Basis.OWN:
        if outcome in (Outcome.BETTER, Outcome.LIKELY_BETTER):
            return "Try the tuned model beside the base, and collect questions that users asked: only they can tell."
        if outcome is Outcome.NOT_SHOWN:
            return "Compare both models by hand, and collect questions that users asked: your own cannot tell."
        return f"{keep}, and collect questions that users asked: only they can tell."
    if ship:
        if outcome is Outcome.BETTER:
            return "Use the tuned model."
        return "Use the tuned model, and be ready to go back: the gain is likely, but not shown."
    if outcome is Outcome.NOT_SHOWN:
        return f"{keep}, or add held-out questions and run again: these are too few to tell."
    return f"{keep}."


_SHOWN = {
    Outcome.LIKELY_BETTER: " A gain is likely, but no difference is shown.",
    Outcome.LIKELY_WORSE: " A loss is likely, but no difference is shown.",
    Outcome.NOT_SHOWN: " No difference is shown.",
}


def _certainty(domain: Pool) -> str:
    """Say how the ranking score changed, and how far other questions would move that, in words of no statistics."""
    text = (
        f"The ranking score (nDCG@10, at best 100) went from {as_points(domain.base)} to {as_points(domain.tuned)}: "
        f"{as_change(domain.difference)}"
    )
    if domain.shown.too_few:
        answers = "a single answer" if domain.shown.clusters == 1 else f"{domain.shown.clusters} answers"
        text += f". The questions are about {answers}, too few to say how other questions would change that."
    else:
        text += f", and with other questions like these probably {_ends(domain.shown)}."
    return text + _SHOWN.get(domain.outcome, "")


def _why(
    domain: Pool | None, general: Pool | None, tolerance: float, *, worse: Sequence[Comparison], lost: bool
) -> str:
    if domain is None:
        return f"Nothing of the domain was measured; {_general(general, tolerance, lost=lost)}."
    moves = "rises" if domain.difference > 0 else "falls"
    if domain.outcome is Outcome.NOT_SHOWN:
        moves = "goes"
    text = (
        f"nDCG@10 in the domain {moves} from {as_points(domain.base)} to {as_points(domain.tuned)} points "
        f"({as_change(domain.difference)}, {_around(domain)}); {_general(general, tolerance, lost=lost)}."
    )
    if domain.outcome not in (Outcome.BETTER, Outcome.WORSE):
        text += f" No difference is shown: {_detectable(domain)}."
    if domain.outcome in (Outcome.LIKELY_BETTER, Outcome.LIKELY_WORSE) and not domain.shown.too_few:
        text += f" But the interval reaches less than half of the {_change(domain)} beyond zero, which makes it likely."
    elif domain.outcome in (Outcome.LIKELY_BETTER, Outcome.LIKELY_WORSE):
        text += f" But these answers agree on the {_change(domain)}, which makes it likely."
    if worse:
        text += f" {' and '.join(f'{row.name} falls by {as_points(-row.difference)} points' for row in worse)}"
        text += ", significantly on its own." if len(worse) == 1 else ", each significantly on its own."
    return text


def _around(domain: Pool) -> str:
    if domain.shown.too_few:
        return f"{domain.questions} questions, {TOO_FEW_ANSWERS}: {domain.shown.clusters}"
    return f"{CONFIDENCE * 100:g} % interval {_ends(domain.shown)}, {domain.questions} questions"


def _change(domain: Pool) -> str:
    return "gain" if domain.difference > 0 else "loss"


def _detectable(domain: Pool) -> str:
    if domain.detectable == 0.0:
        return "the two models rank alike"
    return f"the smallest one that these questions would have shown is {as_points(domain.detectable)} points"


def _general(general: Pool | None, tolerance: float, *, lost: bool) -> str:
    if general is None:
        return "general ability was not measured"
    moves = "falls" if general.difference < 0 else "rises"
    text = f"general ability {moves} by {as_points(abs(general.difference))} points ({_ends(general.shown)})"
    if lost:
        return f"{text}, more than the {as_points(tolerance)} allowed"
    # That no loss was shown says little where the sets are too small to show the loss that matters.
    if general.shown.low < -tolerance:
        suffers = general.outcome in (Outcome.WORSE, Outcome.LIKELY_WORSE)
        known = "a small loss" if suffers else "no loss is shown"
        return (
            f"{text}: {known}, but the general questions are too few to exclude one of more than the "
            f"{as_points(tolerance)} that the run allows. That matters only if you use the model for other texts too"
        )
    return text


def _ends(interval: Interval) -> str:
    return f"{as_change(interval.low)} to {as_change(interval.high)}"
