"""How few question-answer pairs are enough, with and without generated questions?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expertune.evaluate import METRIC
from expertune.records import Role
from expertune.statistics import Interval
from expertune.study.lab import Lab, Point
from expertune.study.result import Study, points, read, spelled

SIZES = (5, 10, 26, 50, 100)
STEPS = 40
"""Fewer steps than a run takes: sizes are compared with each other, and there are many tunings."""


def study(lab: Lab) -> Study:
    """Tune on random subsets of the user's own pairs; generated questions are those for the same answers."""
    steps = min(STEPS, lab.config.train.steps)
    pairs = np.flatnonzero(lab.known)
    sizes = [size for size in SIZES if size < len(pairs)] + [len(pairs)]
    rows, figures = [], []
    smallest: dict[bool, tuple[int, Interval]] = {}
    for augmented in (True, False):
        for size in sizes:
            full: list[Point] = []
            half: list[Point] = []
            for seed in lab.seeds(5):
                chosen = _rows(lab, pairs, size, seed, augmented=augmented)
                questions, labels = lab.labels(lab.config.label, rows=chosen)
                section = lab.config.train.model_copy(update={"steps": steps, "seed": seed})
                piece = lab.tune(questions, labels, section)
                half.append(piece.at(0.5))
                full.append(piece.at(1.0))
            domain, general = lab.gain(full, Role.DOMAIN), lab.gain(full, Role.GENERAL)
            halfway = lab.gain(half, Role.DOMAIN)
            kind = "with generated" if augmented else "own only"
            rows.append(
                (
                    size,
                    kind,
                    points(domain.mean),
                    points(domain.low),
                    points(domain.high),
                    points(general.mean),
                )
            )
            figures.append(
                {
                    "pairs": size,
                    "augmented": augmented,
                    "domain": domain,
                    "general": general,
                    "halfway": halfway,
                }
            )
            if domain.low > 0:
                smallest.setdefault(augmented, (size, domain))
            last = domain
        if augmented:
            whole = last
    answers = []
    for augmented, said in (
        (True, "With generated questions"),
        (False, "With the user's own questions only"),
    ):
        if augmented in smallest:
            size, interval = smallest[augmented]
            answers.append(f"{said}, {size} pairs are the smallest set that helps: {spelled(interval)} points.")
        else:
            answers.append(f"{said}, no number of pairs showed a gain on held-out questions.")
    answers.append(f"All {len(pairs)} pairs with generated questions: {spelled(whole)}, {read(whole)}.")
    return Study(
        name="sizes",
        question="How small may the set of question-answer pairs be?",
        answers=tuple(answers),
        columns=("pairs", "questions", "domain gain", "low", "high", "general gain"),
        rows=tuple(rows),
        figures={
            "steps": steps,
            "seeds": len(lab.seeds(5)),
            "base": _level(lab),
            "sizes": figures,
        },
    )


def _rows(lab: Lab, pairs: NDArray[np.int64], size: int, seed: int, *, augmented: bool) -> NDArray[np.int64]:
    """Draw some of the user's own questions and, where wanted, take the generated ones for their answers along."""
    chosen = np.sort(np.random.default_rng(seed).permutation(pairs)[:size])
    if not augmented:
        return chosen
    answers = (lab.hard[chosen] > 0).any(axis=0)
    along = ~lab.known & ((lab.hard > 0) & answers).any(axis=1)
    return np.sort(np.concatenate([chosen, np.flatnonzero(along)]))


def _level(lab: Lab) -> dict[str, float]:
    return {f"{item.dataset}/{item.split}": item.mean(METRIC) for item in lab.base.measurements}
