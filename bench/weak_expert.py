"""Add an expert that knows nothing to the panel, and see how far the targets move.

    python bench/weak_expert.py sofmattress_faq covidfaq_jhu stackfaq --set run.store=runs/quality/store

One expert scores at random (three seeds), another is the first of the panel (mpnet, its best here) upside down. How far
targets move is the total variation of each question's distribution over the answers, between 0 (not at all) and 1, mean
and largest. Soft-1 stands beside the default, because a plain mean has no way to tell who is weak. Writes
bench/results/weak-expert.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sets
from expertune.config import PluginSpec, Strategy, assignment, from_mapping, overlaid
from expertune.label.stage import label
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.records import Scores

HERE = Path(__file__).parent
ROOT = HERE.parent
STRATEGIES: tuple[Strategy, ...] = ("mixed", "soft-1")
SEEDS = range(3)

Weak = tuple[str, NDArray[np.float32]]


def main() -> None:
    """Look at every set, print a line each and write all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", help="folders of the shared data")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    rows = []
    for name in given.sets:
        values = {
            "run": {"out": str(ROOT / "runs" / "weak-expert" / name)},
            "data": {"path": str(sets.folder(name, given.data_root))},
        }
        config = from_mapping(overlaid(values, [assignment(change) for change in given.changes]))
        found = Run(config).execute(until=Stage.SCORE)
        base = PluginSpec(model=config.train.base).label
        assert found.scores
        weak = _weak(found.scores)
        for strategy in STRATEGIES:
            section = config.label.model_copy(update={"strategy": strategy})
            for row in added(found, weak, section, base):
                rows.append({"set": name, "labels": strategy, **row})
                print(json.dumps(rows[-1]), flush=True)
    (HERE / "results" / "weak-expert.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def added(found: RunResult, weak: Sequence[Weak], section: Any, base: str) -> list[dict[str, Any]]:
    """Return a row for each weak expert: its weight, and how far the targets move when it joins."""
    assert found.questions
    assert found.scores
    before = label(found.dataset, found.questions, found.scores, section, base=base)
    rows = []
    for kind, values in weak:
        after = label(found.dataset, found.questions, joined(found.scores, values), section, base=base)
        moved = np.abs(after.targets - before.targets).sum(axis=1) / 2
        rows.append(
            {
                "added": kind,
                "weight": round(after.panel[-1].weight, 4),
                "moved": round(float(moved.mean()), 4),
                "most": round(float(moved.max()), 4),
            }
        )
    return rows


def joined(scores: Scores, values: NDArray[np.float32], *, name: str = "weak") -> Scores:
    """Return the scores with those of one more expert, `[Q, D, 1]`."""
    return Scores((*scores.experts, name), np.concatenate([scores.values, values], axis=2))


def _weak(scores: Scores) -> list[Weak]:
    """Return what experts are called that know nothing, or the opposite, and what they say, `[Q, D, 1]`."""
    values = np.asarray(scores.values)
    shape = (*values.shape[:2], 1)
    random = [(f"random, seed {seed}", np.random.default_rng(seed).random(shape, dtype=np.float32)) for seed in SEEDS]
    return [*random, ("the first expert upside down", -values[:, :, :1])]


if __name__ == "__main__":
    main()
