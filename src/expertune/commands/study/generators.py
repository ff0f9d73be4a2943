"""How much does each generator and each kind of question add? Each is left out once, and used alone once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expertune.commands.study.lab import STEPS, Lab, Point
from expertune.commands.study.result import Study, in_points, points, spelled
from expertune.evaluate.statistics import Interval
from expertune.records import Role

SEEDS = 2


@dataclass(frozen=True, slots=True)
class Group:
    """The generated questions `rows` of one generator or one kind."""

    by: str
    name: str
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Added:
    """What one group adds, in the domain and in general.

    `last` is the gain of all questions over all without the group, `alone` that of the user's own with the group over
    the base.
    """

    group: Group
    last: Interval
    last_general: Interval
    alone: Interval
    alone_general: Interval


def study(lab: Lab) -> Study:
    """Tune on everything, on the user's own questions, and for each group without it and with it alone."""
    own, everything = np.flatnonzero(lab.known), np.arange(len(lab.known))
    whole, bare = _points(lab, everything), _points(lab, own)
    found = [_added(lab, group, own, everything, whole) for group in groups(lab)]
    found.sort(key=lambda item: (item.group.by, -item.last.mean))
    reference = {
        name: {str(role): lab.gain(reached, role) for role in (Role.DOMAIN, Role.GENERAL)}
        for name, reached in (("all questions", whole), ("own questions only", bare))
    }
    return Study(
        name="generators",
        question="How much does each generator and each kind of question add to the result?",
        answers=_answers(found, reference["all questions"]["domain"], reference["own questions only"]["domain"]),
        columns=("group", "questions", "adds to the rest", "low", "high", "general", "alone", "low", "high", "general"),
        rows=tuple(_row(item) for item in found),
        figures={
            "steps": lab.steps(STEPS),
            "seeds": len(lab.seeds(SEEDS)),
            "references": reference,
            "removed": dict(lab.questions.removed),
            "groups": [
                {
                    "by": item.group.by,
                    "name": item.group.name,
                    "questions": len(item.group.rows),
                    "adds": {"domain": item.last, "general": item.last_general},
                    "alone": {"domain": item.alone, "general": item.alone_general},
                }
                for item in found
            ],
        },
    )


def groups(lab: Lab) -> list[Group]:
    """Return the generated questions by kind, and by generator where there are several."""
    made = [(row, item) for row, item in enumerate(lab.questions.items) if not item.labelled]
    found = []
    for by, label in (("generator", "source"), ("kind", "kind")):
        names = sorted(Counter(getattr(item, label) for _, item in made))
        if len(names) < 2:
            continue
        for name in names:
            rows = [row for row, item in made if getattr(item, label) == name]
            found.append(Group(by, name, np.array(rows, dtype=np.int64)))
    return found


def _points(lab: Lab, rows: NDArray[np.int64]) -> list[Point]:
    """Tune on some questions, all of the way, with several seeds."""
    questions, labels = lab.labels(lab.config.label, rows=rows)
    pieces = lab.repeated(questions, labels, seeds=lab.seeds(SEEDS), factors=(1.0,), steps=lab.steps(STEPS))
    return [piece.at(1.0) for piece in pieces]


def _added(lab: Lab, group: Group, own: NDArray[np.int64], everything: NDArray[np.int64], whole: list[Point]) -> Added:
    without = _points(lab, np.setdiff1d(everything, group.rows))
    alone = _points(lab, np.union1d(own, group.rows))
    return Added(
        group,
        last=lab.gain(whole, Role.DOMAIN, over=without),
        last_general=lab.gain(whole, Role.GENERAL, over=without),
        alone=lab.gain(alone, Role.DOMAIN),
        alone_general=lab.gain(alone, Role.GENERAL),
    )


def _row(item: Added) -> tuple[str | int | float, ...]:
    return (
        f"{item.group.by} {item.group.name}",
        len(item.group.rows),
        *in_points(item.last),
        points(item.last_general.mean),
        *in_points(item.alone),
        points(item.alone_general.mean),
    )


def _answers(found: list[Added], whole: Interval, own: Interval) -> tuple[str, ...]:
    answers = [
        f"All questions gain {spelled(whole)} points in the domain ({whole.outcome}), the user's own alone "
        f"{spelled(own)} ({own.outcome})."
    ]
    for by in dict.fromkeys(item.group.by for item in found):
        ranked = [item for item in found if item.group.by == by]
        best, last = ranked[0], ranked[-1]
        answers.append(
            f"Of the {by}s, leaving out {best.group.name} costs most: it adds {spelled(best.last)} points to the "
            f"rest ({best.last.outcome}); {last.group.name} adds least: {spelled(last.last)} ({last.last.outcome})."
        )
    if not found:
        answers.append("There is one generator and one kind only, so nothing can be left out.")
    return tuple(answers)
