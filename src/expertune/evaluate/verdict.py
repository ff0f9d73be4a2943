"""Turn paired measurements into one answer: better, worse or no evidence, and whether to ship the tuned model.

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
from expertune.evaluate.diagnostics import points, signed
from expertune.evaluate.statistics import CONFIDENCE, Interval, Stratum, detectable_from, stratified_interval
from expertune.records import METRIC, Comparison, Measurement, PanelDiagnostics, Role, Separation, Verdict

DECISION_CONFIDENCE = 0.8
"""Coverage of the intervals that decide. To keep the base is a decision as well, and a mistake where tuning helped;
`bench/verdict.py` measures how often either mistake is made."""

SINGLE_SET = 3.0
"""How many times the tolerance a single general set may lose."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The macro average over the sets of one role.

    `shown` is its difference at `CONFIDENCE`, `likely` the same at `DECISION_CONFIDENCE`; `detectable` is what the
    sets would have shown (80 % power), `each` the difference of every set.
    """

    base: float
    tuned: float
    shown: Interval
    likely: Interval
    detectable: float
    questions: int
    each: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Tuned minus base."""
        return self.shown.mean


def verdict(
    comparisons: Sequence[Comparison],
    measurements: Sequence[Measurement],
    separations: Sequence[Separation],
    *,
    tolerance: float,
    seed: int = 0,
    panel: PanelDiagnostics | None = None,
    indexing: Sequence[Comparison] = (),
) -> Verdict:
    """Say whether the tuned model is better in its domain, did not suffer elsewhere, and should be shipped.

    What was shown and what to do are two questions: better or worse is said at `CONFIDENCE`, shipping is decided at
    `DECISION_CONFIDENCE`. Ship if the pooled domain interval lies above zero, unless general sets lost more than the
    tolerance on average with an interval below zero, a domain set is significantly worse, or a general set lost
    `SINGLE_SET` times the tolerance significantly. Single sets are significant at `CONFIDENCE` after
    Benjamini-Hochberg over the sets of their role.

    Args:
        comparisons: Of "tuned" with "base"; those of other metrics than nDCG@10 are ignored.
        measurements: Of the models "base" and "tuned" on the same sets.
        separations: Of the domain sets; only the tuned model's are read.
        tolerance: Mean loss of nDCG@10 on general sets that is allowed, in [0, 1].
        seed: Seed of the resampling.
        panel: What is known of the labels that were tuned on, for the diagnostics; it decides nothing.
        indexing: Of the base on an index of question + answer with the base on one of answers; as `panel`.
    """
    domain, general = (_pool(measurements, role, seed) for role in (Role.DOMAIN, Role.GENERAL))
    allowed = {Role.DOMAIN: 0.0, Role.GENERAL: SINGLE_SET * tolerance}
    worse = [
        row
        for row in adjusted([row for row in comparisons if row.metric == METRIC])
        if row.adjusted <= row.level and -row.difference > allowed[row.role]
    ]
    general_lost = general is not None and general.likely.outcome == "worse" and -general.difference > tolerance
    ship = domain is not None and domain.likely.outcome == "better" and not worse and not general_lost
    changes = {str(role): pool.each for role, pool in ((Role.DOMAIN, domain), (Role.GENERAL, general)) if pool}
    fell = domain is not None and domain.shown.outcome == "worse"
    return Verdict(
        domain=domain.shown.outcome if domain else "no evidence",
        general=general.shown.outcome if general else "no evidence",
        ship=ship,
        why=_why(domain, general, tolerance, worse=worse, general_lost=general_lost, ship=ship),
        diagnostics=(
            *diagnostics.of_changes(changes, tolerance, domain_fell=fell),
            *diagnostics.of_separations(separations),
            *(diagnostics.of_labels(panel) if panel else ()),
            *diagnostics.of_index(indexing),
        ),
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
    of_role = [measurement for measurement in measurements if measurement.role is role]
    after = {(item.dataset, item.split): item for item in of_role if item.model == "tuned"}
    pairs = [(item, after[item.dataset, item.split]) for item in of_role if item.model == "base"]
    pairs = [pair for pair in pairs if len(set(pair[0].clusters)) > 1] or pairs
    if not pairs:
        return None
    strata: list[Stratum] = [
        (tuned.values[METRIC] - base.values[METRIC], base.clusters, base.weights or None) for base, tuned in pairs
    ]
    shown, likely = (
        stratified_interval(strata, confidence=confidence, seed=seed)
        for confidence in (CONFIDENCE, DECISION_CONFIDENCE)
    )
    return Pool(
        base=float(np.mean([base.mean(METRIC) for base, _ in pairs])),
        tuned=float(np.mean([tuned.mean(METRIC) for _, tuned in pairs])),
        shown=shown,
        likely=likely,
        detectable=detectable_from(shown.standard_error, shown.clusters - len(strata)),
        questions=sum(len(base.query_ids) for base, _ in pairs),
        each=tuple(tuned.mean(METRIC) - base.mean(METRIC) for base, tuned in pairs),
    )


# --- saying it in plain sentences, in points of nDCG@10 x 100 ------------------------------------------------------


def _why(
    domain: Pool | None,
    general: Pool | None,
    tolerance: float,
    *,
    worse: Sequence[Comparison],
    general_lost: bool,
    ship: bool,
) -> str:
    if domain is None:
        return "No held-out questions of the domain were given, so nothing can be said."
    moves = "rises" if domain.difference > 0 else "falls"
    if domain.shown.outcome == "no evidence":
        moves = "goes"
    text = (
        f"nDCG@10 in the domain {moves} from {points(domain.base)} to {points(domain.tuned)} points "
        f"({signed(domain.difference)}, {CONFIDENCE * 100:g} % interval {_ends(domain.shown)}, "
        f"{domain.questions} questions); {_general(general, tolerance, lost=general_lost)}."
    )
    if domain.shown.outcome == "no evidence":
        text += f" No difference is shown: {_detectable(domain)}."
        if ship:
            interval = f"{DECISION_CONFIDENCE * 100:g} % interval ({_ends(domain.likely)})"
            text += f" But the {interval} lies above zero, which is above the decision threshold."
    if worse:
        text += f" {' and '.join(f'{row.name} falls by {points(-row.difference)} points' for row in worse)}"
        text += ", significantly on its own." if len(worse) == 1 else ", each significantly on its own."
    return text


def _detectable(domain: Pool) -> str:
    if domain.detectable == 0.0:
        return "the two models rank alike"
    return f"the smallest one that these questions would have shown is {points(domain.detectable)} points"


def _general(general: Pool | None, tolerance: float, *, lost: bool) -> str:
    if general is None:
        return "general ability was not measured"
    moves = "falls" if general.difference < 0 else "rises"
    text = f"general ability {moves} by {points(abs(general.difference))} points ({_ends(general.shown)})"
    if lost:
        return f"{text}, more than the {points(tolerance)} allowed"
    # That no loss was shown says little where the sets are too small to show the loss that matters.
    if general.shown.low < -tolerance:
        return f"{text}, which does not rule out a loss of more than {points(tolerance)}"
    return text


def _ends(interval: Interval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"
