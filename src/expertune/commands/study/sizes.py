"""How few labelled questions are enough: tune on random subsets, with and without the other questions."""

from __future__ import annotations

import numpy as np

from expertune.commands.study.lab import KEPT, Lab, Rows, at
from expertune.commands.study.result import Study, in_points, rounded, spelled
from expertune.evaluate.statistics import Interval

SIZES = (5, 10, 26, 50, 100)
STEPS = 40
"""Fewer steps than a run takes: sizes are compared with each other, and there are many tunings."""

SEEDS = 5


def study(lab: Lab) -> Study:
    """Tune on as many subsets of each size as there are seeds, with the other training questions and without them.

    Experts read answers alone: what they would read with an answer is its labelled questions, also those left out.
    """
    most, seeds = len(lab.labelled), lab.seeds(SEEDS)
    steps = min(STEPS, lab.config.train.steps)
    sizes = [size for size in SIZES if size < most] + [most]
    found: dict[tuple[bool, int], dict[str, Interval]] = {}
    for augmented in (True, False):
        for size in sizes:
            subsets = [lab.labels(rows=subset(lab, size, seed, augmented=augmented), plain=True) for seed in seeds]
            tunings = [
                lab.tuned(labelled, seeds=[seed], steps=steps)[0] for labelled, seed in zip(subsets, seeds, strict=True)
            ]
            found[augmented, size] = lab.gains(at(tunings))
    return Study(
        name="sizes",
        question="How small may the set of labelled questions be?",
        answers=tuple(
            _smallest(said, {size: found[augmented, size]["domain"] for size in sizes})
            for said, augmented in (("With all other questions", True), ("With labelled questions only", False))
        ),
        columns=("labelled", "questions", "domain gain", "low", "high", "general gain"),
        rows=tuple(
            (
                size,
                "with all others" if augmented else "labelled only",
                *in_points(gains["domain"]),
                rounded(gains["general"].mean),
            )
            for (augmented, size), gains in found.items()
        ),
        figures={
            "steps": steps,
            "weight": KEPT,
            "seeds": len(seeds),
            "sizes": [{"pairs": size, "augmented": more, **gains} for (more, size), gains in found.items()],
        },
    )


def subset(lab: Lab, size: int, seed: int, *, augmented: bool) -> Rows:
    """Draw rows of some labelled questions and, if augmented, take all that are not labelled along."""
    chosen = np.random.default_rng(seed).permutation(lab.labelled)[:size]
    others = np.setdiff1d(np.arange(len(lab.questions.items)), lab.labelled) if augmented else lab.labelled[:0]
    return np.union1d(chosen, others).astype(np.int64)


def _smallest(said: str, gains: dict[int, Interval]) -> str:
    size = next((size for size, gain in gains.items() if gain.low > 0), None)
    if size is None:
        most = max(gains)
        return f"{said}, no size gains significantly; all {most}: {spelled(gains[most])}."
    return f"{said}, {size} labelled questions are the smallest set that helps: {spelled(gains[size])}."
