"""How many experts, which ones, and how are they best merged? Four against eight by name."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from expertune.commands.study.lab import Lab
from expertune.commands.study.quality import EVERY, Floats, Panel
from expertune.commands.study.result import Study, points, spelled
from expertune.evaluate.statistics import Interval, bootstrap_interval
from expertune.records import Role

FEW = 4
TUNED = ("weighted", "anchored")
"""Strategies that panels are compared by in tuning: the panel alone, and with the hard labels beside it."""


def study(lab: Lab) -> Study:
    """Rank every panel and aggregation by what they make of held-out questions, then tune with few, many and one."""
    panel = Panel(lab, lab.config.label)
    everyone = tuple(range(len(panel.experts)))
    order = _greedy(panel, everyone)
    sizes = {size: _of_size(panel, everyone, size, order) for size in range(1, len(everyone) + 1)}
    merged = {name: panel.held_out(everyone, name) for name in EVERY}
    few = tuple(sorted(order[:FEW]))
    chosen = {"one": (order[0],), "few": few, "all": everyone}
    each = {
        (few_or_all, name): float(np.nanmean(panel.held_out(chosen[few_or_all], name)))
        for few_or_all in ("few", "all")
        for name in EVERY
    }
    cheap = _difference(lab, panel.held_out(few, "weighted"), merged["weighted"])
    tuned = _tuned(lab, chosen)
    seconds = dict(zip(panel.experts, lab.scores.seconds, strict=False))
    rows = tuple(
        (
            size,
            ", ".join(panel.experts[index] for index in found["greedy"]),
            points(found["greedy_held_out"]),
            points(found["mean"]),
            points(found["lowest"]),
            points(found["highest"]),
            round(
                sum(seconds.get(panel.experts[index], 0.0) for index in found["greedy"]),
                1,
            ),
        )
        for size, found in sizes.items()
    )
    best = max(merged, key=lambda name: float(np.nanmean(merged[name])))
    named = len(few), len(everyone)
    answers = []
    answers.append(
        f"As retrievers of held-out questions {named[0]} experts (chosen on the user's own questions) differ from all "
        f"{named[1]} by {spelled(cheap)} points of nDCG@10: {cheap.outcome}."
    )
    answers.append(
        f"Of the aggregations over all experts {best} ranks best ({points(float(np.nanmean(merged[best])))}), a plain "
        f"mean reaches {points(float(np.nanmean(merged['mean'])))}."
    )
    for strategy, interval in tuned["few_minus_all"].items():
        answers.append(
            f"Tuned on {strategy} labels, {named[0]} experts against {named[1]} change held-out nDCG@10 by "
            f"{spelled(interval)}: {interval.outcome}."
        )
    return Study(
        name="experts",
        question="How do the number, the choice and the merging of experts affect the labels and the tuned model?",
        answers=tuple(answers),
        columns=(
            "experts",
            "greedy choice",
            "it",
            "mean of all panels",
            "lowest",
            "highest",
            "seconds to score",
        ),
        rows=rows,
        figures={
            "by_size": sizes,
            "aggregations": {f"{key[0]} {key[1]}": value for key, value in each.items()},
            "alone": {panel.experts[index]: float(np.nanmean(panel.held_out([index], "mean"))) for index in everyone},
            "left_out": _changes(panel, everyone, without=True),
            "added_to_the_best": _changes(panel, (order[0],), without=False),
            "pairs": {
                " + ".join(panel.experts[index] for index in pair): float(np.nanmean(panel.held_out(pair, "weighted")))
                for pair in combinations(everyone, 2)
            },
            "few_against_all": cheap,
            "few": [panel.experts[index] for index in few],
            "seconds": seconds,
            "tuned": tuned,
        },
    )


def _greedy(panel: Panel, everyone: tuple[int, ...]) -> list[int]:
    """Return the experts in the order in which each next one helps most on the user's own questions."""
    order: list[int] = []
    while len(order) < len(everyone):
        rest = [index for index in everyone if index not in order]
        order.append(max(rest, key=lambda index: panel.known_quality([*order, index])))
    return order


def _of_size(panel: Panel, everyone: tuple[int, ...], size: int, order: list[int]) -> dict[str, Any]:
    """Return what all panels of a size reach on held-out questions, and the greedy one."""
    reached = [float(np.nanmean(panel.held_out(some, "weighted"))) for some in combinations(everyone, size)]
    greedy = sorted(order[:size])
    return {
        "panels": len(reached),
        "mean": float(np.mean(reached)),
        "lowest": min(reached),
        "highest": max(reached),
        "greedy": greedy,
        "greedy_held_out": float(np.nanmean(panel.held_out(greedy, "weighted"))),
    }


def _changes(panel: Panel, start: tuple[int, ...], *, without: bool) -> dict[str, float]:
    """Return how the merge changes when each expert is left out of the start, or each other one added to it."""
    before = float(np.nanmean(panel.held_out(start, "weighted")))
    found = {}
    for index, name in enumerate(panel.experts):
        if (index in start) != without or (without and len(start) == 1):
            continue
        some = [other for other in start if other != index] if without else [*start, index]
        found[name] = float(np.nanmean(panel.held_out(some, "weighted"))) - before
    return found


def _difference(lab: Lab, left: Floats, right: Floats) -> Interval:
    return bootstrap_interval(left - right, lab.asked.clusters, seed=lab.config.run.seed)


def _tuned(lab: Lab, panels: dict[str, tuple[int, ...]]) -> dict[str, dict[str, Interval]]:
    """Tune with each panel and strategy; gains over the base, and the few against all."""
    gains: dict[str, Interval] = {}
    against: dict[str, Interval] = {}
    for strategy in TUNED:
        section = lab.config.label.model_copy(update={"strategy": strategy})
        made = {}
        for name, experts in panels.items():
            pieces = lab.repeated(*lab.labels(section, experts=experts), seeds=lab.seeds(2))
            made[name] = [piece.at(1.0) for piece in pieces]
            for role in (Role.DOMAIN, Role.GENERAL):
                gains[f"{strategy}, {name}, {role}"] = lab.gain(made[name], role)
        against[strategy] = lab.gain(made["few"], Role.DOMAIN, over=made["all"])
    return {"gains": gains, "few_minus_all": against}
