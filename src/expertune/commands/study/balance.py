"""Where does a task's gain begin to cost general ability: over factor, steps, hard mix, mode and labels?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from expertune.commands.study.lab import FACTORS, Lab
from expertune.commands.study.result import Study, in_points, spelled
from expertune.config import Mode, TrainSection
from expertune.evaluate.statistics import Interval
from expertune.records import Questions, Role, SoftLabels

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
STRATEGIES = ("soft-1", "soft-2", "soft-3")


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the frontier: domain and general gain over the base, in [-1, 1]."""

    varied: str
    value: str
    factor: float
    domain: Interval
    general: Interval


def study(lab: Lab) -> Study:
    """Tune once for every value of one setting at a time, all others being the config's, and find the knee."""
    usual = lab.labels(lab.config.label)
    steps = lab.config.train.steps
    found: list[Setting] = []
    for count in dict.fromkeys((max(1, steps // 4), max(1, steps // 2), steps, 2 * steps)):
        found += _settings(lab, "steps", str(count), usual, {"steps": count})
    for mix in MIXES:
        section = lab.config.label.model_copy(update={"strategy": "anchored", "hard_mix": mix})
        found += _settings(lab, "hard mix", f"{mix:g}", lab.labels(section), {})
    for strategy in STRATEGIES:
        section = lab.config.label.model_copy(update={"strategy": strategy})
        found += _settings(lab, "labels", strategy, lab.labels(section), {})
    for mode in dict.fromkeys((lab.config.train.mode, *get_args(Mode))):
        found += _settings(lab, "mode", mode, usual, {"mode": mode})
    own = [item for item in found if item.varied == "mode" and item.value == lab.config.train.mode]
    knee, front = knee_of(own), frontier(found)
    answers = [
        f"Along the interpolation factor the knee lies at {knee.factor:g}: domain {spelled(knee.domain)}, general "
        f"{spelled(knee.general)} points; all of the way, domain {spelled(own[-1].domain)}, general "
        f"{spelled(own[-1].general)}."
        if knee
        else "Along the interpolation factor there is no knee: no point gains in the domain.",
        "Not beaten on both sides by any other setting: "
        + "; ".join(f"{item.varied} {item.value} at {item.factor:g}" for item in front)
        + ".",
    ]
    return Study(
        name="balance",
        question="How much task gain for how much general ability, and what moves along that line?",
        answers=tuple(answers),
        columns=(
            "varied",
            "value",
            "factor",
            "domain gain",
            "low",
            "high",
            "general gain",
            "low",
            "high",
            "frontier",
        ),
        rows=tuple(
            (
                item.varied,
                item.value,
                item.factor,
                *in_points(item.domain),
                *in_points(item.general),
                "yes" if item in front else "",
            )
            for item in found
        ),
        figures={
            "knee_factor": knee.factor if knee else None,
            "seeds": len(lab.seeds(1)),
        },
    )


def _settings(
    lab: Lab,
    varied: str,
    value: str,
    labelled: tuple[Questions, SoftLabels],
    changes: dict[str, object],
) -> list[Setting]:
    section = TrainSection.model_validate({**lab.config.train.model_dump(), **changes})
    changed = {key: getattr(section, key) for key in changes}
    pieces = lab.repeated(*labelled, seeds=lab.seeds(1), **changed)
    return [
        Setting(
            varied,
            value,
            factor,
            lab.gain([piece.at(factor) for piece in pieces], Role.DOMAIN),
            lab.gain([piece.at(factor) for piece in pieces], Role.GENERAL),
        )
        for factor in FACTORS
    ]


def frontier(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings that gain in the domain and that no other one beats in domain and general alike."""

    def beaten(item: Setting) -> bool:
        return any(
            other.domain.mean >= item.domain.mean
            and other.general.mean >= item.general.mean
            and (other.domain.mean > item.domain.mean or other.general.mean > item.general.mean)
            for other in settings
        )

    return [item for item in settings if item.domain.mean > 0 and not beaten(item)]


def knee_of(path: Sequence[Setting]) -> Setting | None:
    """Return where a path from the base (0, 0) bends most: farthest above the straight line to its last point.

    Both gains are scaled to the path's own range (Satopaa et al. 2011). None where the last point gains nothing; the
    last point where the path never rises above the line, because then going on costs no more than it did before.
    """
    last = path[-1]
    if last.domain.mean <= 0:
        return None
    cost = -last.general.mean

    def height(item: Setting) -> float:
        spent = -item.general.mean / cost if cost > 0 else item.factor / last.factor
        return item.domain.mean / last.domain.mean - spent

    best = max(path, key=height)
    return best if height(best) > 1e-9 else last
