"""What each generator and each kind of question adds: each is left out once, and used alone once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expertune.commands.study.lab import STEPS, Lab, Point, Rows, at
from expertune.commands.study.result import Study, in_points, rounded, spelled
from expertune.evaluate.statistics import Interval

Gains = dict[str, Interval]
SEEDS = 2


@dataclass(frozen=True, slots=True)
class Group:
    """The questions of one generator or kind: what they add to all the rest, and alone to the labelled questions."""

    by: str
    name: str
    questions: int
    adds: Gains
    alone: Gains


def study(lab: Lab) -> Study:
    """Tune on everything, on the labelled questions, and for each group without it and with it alone."""
    everything = np.arange(len(lab.questions.items))
    whole, bare = _points(lab, everything), _points(lab, lab.labelled)
    references = {"all questions": lab.gains(whole), "labelled questions only": lab.gains(bare)}
    found = [
        Group(
            by,
            name,
            len(rows),
            adds=lab.gains(whole, over=_points(lab, np.setdiff1d(everything, rows))),
            alone=lab.gains(_points(lab, np.union1d(lab.labelled, rows))),
        )
        for (by, name), rows in groups(lab).items()
    ]
    found.sort(key=lambda group: (group.by, -group.adds["domain"].mean))
    answers = [f"{name}: {spelled(gains['domain'])}, in the domain." for name, gains in references.items()]
    for by in dict.fromkeys(group.by for group in found):
        best, *_, least = [group for group in found if group.by == by]
        answers.append(
            f"Of the {by}s, {best.name} adds most to the rest: {spelled(best.adds['domain'])}; {least.name} adds "
            f"least: {spelled(least.adds['domain'])}."
        )
    return Study(
        name="generators",
        question="How much does each generator and each kind of question add to the result?",
        answers=tuple(answers),
        columns=("group", "questions", "adds to the rest", "low", "high", "general", "alone", "low", "high", "general"),
        rows=tuple(
            (f"{group.by} {group.name}", group.questions, *_cells(group.adds), *_cells(group.alone)) for group in found
        ),
        figures={
            "steps": min(STEPS, lab.config.train.steps),
            "seeds": len(lab.seeds(SEEDS)),
            "references": references,
            "removed": dict(lab.questions.removed),
            "groups": found,
        },
    )


def groups(lab: Lab) -> dict[tuple[str, str], Rows]:
    """Return the rows of questions nobody asked by generator and by kind, where there are several of these."""
    others = [(row, item) for row, item in enumerate(lab.questions.items) if not item.labelled]
    found: dict[tuple[str, str], Rows] = {}
    for by, attribute in (("generator", "source"), ("kind", "kind")):
        names = sorted({getattr(item, attribute) for _, item in others})
        for name in names if len(names) > 1 else ():
            rows = [row for row, item in others if getattr(item, attribute) == name]
            found[by, name] = np.array(rows, dtype=np.int64)
    return found


def _points(lab: Lab, rows: Rows) -> list[Point]:
    """Tune on some questions with several seeds."""
    steps = min(STEPS, lab.config.train.steps)
    return at(lab.tuned(lab.labels(rows=rows), seeds=lab.seeds(SEEDS), steps=steps))


def _cells(gains: Gains) -> tuple[float, ...]:
    return (*in_points(gains["domain"]), rounded(gains["general"].mean))
