"""Turn paired measurements into one answer: better, worse or no evidence, and whether to ship it.

The domain and general sets are pooled each on their own: every set counts the same, and the interval comes
from resampling the answers inside each. This module does not know models, rankings or how a metric is
computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from expertune.config import EvaluateSection
from expertune.evaluate.statistics import Interval, benjamini_hochberg, detectable_from, stratified_interval
from expertune.records import Comparison, Measurement, PanelDiagnostics, Role, Separation, Verdict

METRIC = "ndcg@10"
"""The one metric that decides; choosing among several after the fact would be choosing the answer."""

LEAST_AUROC = 0.6
LEAST_KS = 0.2
"""Below either, relevant and irrelevant pairs hardly lie apart."""

LEAST_AGREEMENT = 0.15
"""Mean rank correlation of two experts below which their mean is mostly noise."""

LEAST_FOUND = 0.25
"""nDCG@10 on the user's own questions that base or best expert reaches wherever answers belong to their questions.

Shuffled answers end at chance: 0.22 with 21 answers, 0.06 with 77.
"""

MOST_UNTRACED = 0.25
"""Share of generated questions that no expert leads back to their answer, above which they are mostly noise too."""

SINGLE_SET = 3.0
"""How many times the tolerance a single general set may lose."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """The macro average over the sets of one role.

    `shown` is its difference at `confidence`, `likely` the same at `ship_confidence`; `detectable` is what the sets
    would have shown (80 % power).
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
    section: EvaluateSection,
    *,
    panel: PanelDiagnostics | None = None,
    indexing: Sequence[Comparison] = (),
) -> Verdict:
    """Say whether the tuned model is better in its domain, did not suffer elsewhere, and should be shipped.

    What was shown and what to do are two questions. Better or worse is said at `confidence`. To keep the base is a
    decision as well, and a mistake where tuning helped; so shipping is decided at `ship_confidence`. How often either
    mistake is made is measured by `bench/verdict.py`.

    Ship only if the pooled domain interval lies above zero, general sets have not lost more than the tolerance on
    average with an interval below zero (both at `ship_confidence`), no domain split is significantly worse, and no
    general set has significantly lost three times the tolerance. Significance of single sets is at `confidence` after
    Benjamini-Hochberg over the sets of their role.

    Args:
        comparisons: Of "tuned" with "base"; those of other metrics than nDCG@10 are ignored.
        measurements: Of the models "base" and "tuned" on the same sets.
        separations: Of the domain sets; only the tuned model's are read.
        section: Both confidences, resamples, tolerance and seed.
        panel: What is known of the labels that were tuned on; it names signs of failure and decides nothing.
        indexing: Of the base on an index of question + answer with the base on one of answers; as `panel`.
    """
    domain = _pool(measurements, Role.DOMAIN, section)
    general = _pool(measurements, Role.GENERAL, section)
    worse_splits = _significant_losses(comparisons, Role.DOMAIN, 0.0, section)
    worse_sets = _significant_losses(comparisons, Role.GENERAL, SINGLE_SET * section.general_tolerance, section)
    general_lost = (
        general is not None and general.likely.outcome == "worse" and -general.difference > section.general_tolerance
    )
    ship = domain is not None and domain.likely.outcome == "better" and not (worse_splits or worse_sets or general_lost)
    return Verdict(
        domain=domain.shown.outcome if domain else "no evidence",
        general=general.shown.outcome if general else "no evidence",
        ship=ship,
        why=_why(domain, general, (*worse_splits, *worse_sets), general_lost, ship, section),
        diagnostics=(
            *_diagnostics(domain, general, separations, section),
            *(_label_diagnostics(panel) if panel else ()),
            *_index_diagnostics(indexing),
        ),
    )


def adjusted(comparisons: Sequence[Comparison], section: EvaluateSection) -> tuple[Comparison, ...]:
    """Return the comparisons, in order, with p adjusted by Benjamini-Hochberg over the sets of one role and metric."""
    level = 1 - section.confidence
    made: dict[int, Comparison] = {}

    def family(index: int) -> tuple[str, str]:
        return comparisons[index].role, comparisons[index].metric

    for _, group in groupby(sorted(range(len(comparisons)), key=family), key=family):
        rows = list(group)
        for row, p in zip(rows, benjamini_hochberg([comparisons[row].p for row in rows]), strict=True):
            made[row] = replace(comparisons[row], adjusted=float(p), level=level)
    return tuple(made[row] for row in range(len(comparisons)))


def _differences(measurements: Iterable[Measurement], role: Role) -> list[tuple[Measurement, Measurement]]:
    """Pair base and tuned measurements of the same set."""
    of_role = [measurement for measurement in measurements if measurement.role is role]
    tuned = {(item.dataset, item.split): item for item in of_role if item.model == "tuned"}
    return [(item, tuned[item.dataset, item.split]) for item in of_role if item.model == "base"]


def _pool(measurements: Sequence[Measurement], role: Role, section: EvaluateSection) -> _Pool | None:
    """Pool the sets of one role; None where there is no set.

    A set about a single answer has no spread to resample; it is left out unless all are like that.
    """
    pairs = _differences(measurements, role)
    pairs = [pair for pair in pairs if len(set(pair[0].clusters)) > 1] or pairs
    if not pairs:
        return None
    strata: list[tuple[NDArray[np.float64], tuple[str, ...]]] = [
        (tuned.values[METRIC] - base.values[METRIC], base.clusters) for base, tuned in pairs
    ]
    shown, likely = (
        stratified_interval(strata, confidence=confidence, resamples=section.resamples, seed=section.seed)
        for confidence in (section.confidence, section.ship_confidence)
    )
    freedom = shown.clusters - len(strata)
    return _Pool(
        base=float(np.mean([base.mean(METRIC) for base, _ in pairs])),
        tuned=float(np.mean([tuned.mean(METRIC) for _, tuned in pairs])),
        shown=shown,
        likely=likely,
        detectable=detectable_from(shown.standard_error, freedom, alpha=1 - section.confidence),
        questions=sum(len(base.query_ids) for base, _ in pairs),
        each=tuple(float(np.mean(differences)) for differences, _ in strata),
    )


def _significant_losses(
    comparisons: Sequence[Comparison], role: Role, allowed: float, section: EvaluateSection
) -> tuple[Comparison, ...]:
    """Return the sets of one role that lost more than `allowed`, significantly after Benjamini-Hochberg."""
    own = [item for item in comparisons if item.role is role and item.metric == METRIC]
    return tuple(item for item in adjusted(own, section) if item.adjusted <= item.level and -item.difference > allowed)


def _why(
    domain: _Pool | None,
    general: _Pool | None,
    worse: Sequence[Comparison],
    general_lost: bool,
    ship: bool,
    section: EvaluateSection,
) -> str:
    """Say it in one or two plain sentences, in points of nDCG@10 x 100."""
    decision = "ship it" if ship else "do not ship it"
    if domain is None:
        return f"No held-out questions of the domain were given, so nothing can be said: {decision}."
    moves = "rises" if domain.difference > 0 else "falls"
    if domain.shown.outcome == "no evidence":
        moves = "goes"
    text = (
        f"Domain nDCG@10 {moves} from {_points(domain.base)} to {_points(domain.tuned)} "
        f"({_signed(domain.difference)}, {section.confidence * 100:.3g} % interval {_signed(domain.shown.low)} to "
        f"{_signed(domain.shown.high)}, {domain.questions} questions)"
    )
    text += f"; {_general(general, general_lost, section)}: {decision}."
    if domain.shown.outcome == "no evidence":
        text += " This is no evidence of a change: "
        if domain.detectable == 0.0:
            text += "the two models rank alike."
        else:
            text += f"the smallest difference these questions would have shown is {_points(domain.detectable)} points."
        if ship:
            text += (
                f" But the {section.ship_confidence * 100:.3g} % interval ({_signed(domain.likely.low)} to "
                f"{_signed(domain.likely.high)}) lies above zero, which is enough to choose by."
            )
    if worse:
        named = " and ".join(
            f"{item.dataset}/{item.split} falls by {_points(-item.difference)} points" for item in worse
        )
        text += f" On its own, {named}, which is significant."
    return text


def _general(general: _Pool | None, lost: bool, section: EvaluateSection) -> str:
    if general is None:
        return "general ability was not measured"
    moves = "falls" if general.difference < 0 else "rises"
    interval = f"{_signed(general.shown.low)} to {_signed(general.shown.high)}"
    text = f"general {moves} by {_points(abs(general.difference))} ({interval})"
    allowed = _points(section.general_tolerance)
    if lost:
        return f"{text}, more than the {allowed} allowed"
    # That no loss was shown says little where the sets are too small to show the loss that matters.
    if general.shown.low < -section.general_tolerance:
        return f"{text}, which does not rule out a loss of more than {allowed}"
    return text


def _diagnostics(
    domain: _Pool | None,
    general: _Pool | None,
    separations: Sequence[Separation],
    section: EvaluateSection,
) -> Iterable[str]:
    """Yield the known signs of a failed tuning, each as a sentence."""
    if domain and general and domain.shown.outcome == "worse" and general.difference > 0:
        yield (
            f"Held-out domain questions fall by {_points(-domain.difference)} points while general sets "
            f"rise by {_points(general.difference)}: the training questions are probably unlike real ones."
        )
    for name, pool in (("domain", domain), ("general", general)):
        if pool is None or len(pool.each) < 2:
            continue
        spread, mean = float(np.std(pool.each, ddof=1)), float(np.mean(pool.each))
        # Around a mean of nothing any spread is more than twice the mean, so it must matter by itself as
        # well.
        if spread > 2 * abs(mean) and spread > section.general_tolerance:
            yield (
                f"The change differs widely between the {name} sets: its standard deviation is "
                f"{_points(spread)} points, its mean {_signed(mean)}."
            )
    for item in separations:
        if item.model == "tuned" and (item.auroc < LEAST_AUROC or item.ks < LEAST_KS):
            yield (
                f"Relevant and irrelevant pairs of {item.dataset}/{item.split} hardly lie apart: AUROC "
                f"{item.auroc:.2f}, Kolmogorov-Smirnov distance {item.ks:.2f}."
            )


def _label_diagnostics(panel: PanelDiagnostics) -> Iterable[str]:
    """Yield the signs that the labels themselves are poor. Comparisons with NaN are false: unknown is no sign."""
    if panel.agreement < LEAST_AGREEMENT:
        yield (
            f"The experts disagree: two of them rank the answers to a question with a mean correlation of "
            f"{panel.agreement:.2f}, so that their common opinion is mostly chance."
        )
    if panel.base < LEAST_FOUND and not panel.best >= LEAST_FOUND:
        yield (
            f"Neither the base nor any expert finds the answers of the user's own questions (nDCG@10 "
            f"{_points(max(panel.base, panel.best))} at most): look whether each stands beside its own question."
        )
    elif panel.best < panel.base:
        yield (
            f"The base ranks the user's own questions better (nDCG@10 {_points(panel.base)}) than any other expert "
            f"({panel.best_expert}: {_points(panel.best)}): the panel has little to teach it."
        )
    if panel.untraced > MOST_UNTRACED:
        yield (
            f"No expert can trace {panel.untraced:.0%} of the generated questions back to their answer (among its "
            f"first {panel.top}): they may ask about something else."
        )


def _index_diagnostics(indexing: Sequence[Comparison]) -> Iterable[str]:
    """Yield the sets on which the base finds less where answers are expanded: no verdict on tuning tells of it."""
    for row in indexing:
        if row.metric == METRIC and row.outcome == "worse":
            yield (
                f"Indexing question + answer costs {row.dataset}/{row.split} {_points(-row.difference)} points before "
                f"any tuning: among answers with a question of their own, those without are found less easily."
            )


def _points(value: float) -> str:
    return f"{value * 100:.1f}"


def _signed(value: float) -> str:
    return f"{value * 100:+z.1f}"
