"""How few question-answer pairs are enough, with and without generated questions?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expertune.commands.study.lab import Lab
from expertune.commands.study.result import Study, in_points, points, spelled
from expertune.evaluate.statistics import Interval
from expertune.records import METRIC, Role

SIZES = (5, 10, 26, 50, 100)
STEPS = 40
"""Fewer steps than a run takes: sizes are compared with each other, and there are many tunings."""

SEEDS = 5


@dataclass(frozen=True, slots=True)
class Reached:
    """What some pairs gain over the base, all of the way (`domain`, `general`) and halfway, in [-1, 1]."""

    pairs: int
    augmented: bool
    domain: Interval
    general: Interval
    halfway: Interval


def study(lab: Lab) -> Study:
    """Tune on random subsets of the user's own pairs; generated questions are those for the same answers."""
    pairs = np.flatnonzero(lab.known)
    sizes = [size for size in SIZES if size < len(pairs)] + [len(pairs)]
    found = [_reached(lab, pairs, size, augmented=augmented) for augmented in (True, False) for size in sizes]
    everything = next(item for item in found if item.augmented and item.pairs == len(pairs))
    return Study(
        name="sizes",
        question="How small may the set of question-answer pairs be?",
        answers=(
            _smallest("With generated questions", [item for item in found if item.augmented]),
            _smallest("With the user's own questions only", [item for item in found if not item.augmented]),
            f"All {len(pairs)} pairs with generated questions: {spelled(everything.domain)}, "
            f"{everything.domain.outcome}.",
        ),
        columns=("pairs", "questions", "domain gain", "low", "high", "general gain"),
        rows=tuple(
            (
                item.pairs,
                "with generated" if item.augmented else "own only",
                *in_points(item.domain),
                points(item.general.mean),
            )
            for item in found
        ),
        figures={
            "steps": lab.steps(STEPS),
            "seeds": len(lab.seeds(SEEDS)),
            "base": {f"{item.dataset}/{item.split}": item.mean(METRIC) for item in lab.base.measurements},
            "sizes": found,
        },
    )


def _reached(lab: Lab, pairs: NDArray[np.int64], size: int, *, augmented: bool) -> Reached:
    """Tune on as many subsets of one size as there are seeds."""
    pieces = []
    for seed in lab.seeds(SEEDS):
        questions, labels = lab.labels(lab.config.label, rows=_rows(lab, pairs, size, seed, augmented=augmented))
        pieces += lab.repeated(questions, labels, seeds=[seed], steps=lab.steps(STEPS))
    full, half = ([piece.at(factor) for piece in pieces] for factor in (1.0, 0.5))
    return Reached(
        size, augmented, lab.gain(full, Role.DOMAIN), lab.gain(full, Role.GENERAL), lab.gain(half, Role.DOMAIN)
    )


def _smallest(said: str, found: list[Reached]) -> str:
    helped = next((item for item in found if item.domain.low > 0), None)
    if helped is None:
        return f"{said}, no number of pairs showed a gain on held-out questions."
    return f"{said}, {helped.pairs} pairs are the smallest set that helps: {spelled(helped.domain)} points."


def _rows(lab: Lab, pairs: NDArray[np.int64], size: int, seed: int, *, augmented: bool) -> NDArray[np.int64]:
    """Draw some of the user's own questions and, where wanted, take the generated ones for their answers along."""
    chosen = np.sort(np.random.default_rng(seed).permutation(pairs)[:size])
    if not augmented:
        return chosen
    answers = (lab.hard[chosen] > 0).any(axis=0)
    along = ~lab.known & ((lab.hard > 0) & answers).any(axis=1)
    return np.sort(np.concatenate([chosen, np.flatnonzero(along)]))
