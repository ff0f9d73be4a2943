"""Does a quarter of an hour of judging tell the truth? Draws of 60 judgements, as `expertune judge` draws them.

    python bench/judging.py RUN ... --store DIR    # finished runs and their store, which has the vectors

The held-out questions of a set act as the log: they are drawn as the tool draws them, and the set's judgements answer
instead of a person. Each draw gives the tool's estimate of tuned minus base and its 95 % interval; what is true is the
difference over all held-out questions. A uniform draw of the same log is set beside it.

Writes bench/results/judging.json: bias, spread and coverage for 60 judgements, the mean width of the interval for other
numbers, and how many judgements each kind of draw needs for the width that the tool's draw has at 60.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expertune import config, data
from expertune.commands.judge.panel import first_answers
from expertune.evaluate import sampling
from expertune.evaluate.statistics import bootstrap_interval
from expertune.models.cache import ItemCache
from expertune.pipeline.store import Store
from expertune.records import Role

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from origin import machine  # noqa: E402

JUDGED = 60
DRAWS = 200
NUMBERS = (20, 40, 60, 80, 100, 120, 150, 200)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Log:
    """A set whose held-out questions act as the log: difference and answer of each, and the chances to draw it."""

    name: str
    texts: tuple[str, ...]
    differences: Floats
    answers: tuple[str, ...]
    chances: dict[str, Floats]


def log_of(run: Path, cache: ItemCache) -> Log:
    """Return the held-out questions of a finished run's domain, and how its models rank them."""
    settings = config.read(run / "config.toml")
    files = data.Files(settings.data)
    right: dict[str, tuple[str, ...]] = {}
    for judged in files.judged:
        if judged.role is Role.DOMAIN:
            for query in judged.queries:
                right[query.text] = tuple(sorted(name for name, grade in judged.qrels[query.id].items() if grade >= 1))
    texts = tuple(right)
    firsts = first_answers(settings, files.train, texts, tuned=run / "model", cache=cache)
    names = [document.id for document in firsts.documents]

    def gains(top: NDArray[np.int64]) -> Floats:
        rows = zip(top.tolist(), right.values(), strict=True)
        return np.array([sampling.ndcg([names[at] for at in row], relevant) for row, relevant in rows])

    apart = sampling.spread(firsts.tops["base"], firsts.rivals, tuple(firsts.tops.values()))
    return Log(
        name=files.layout.name,
        texts=texts,
        differences=gains(firsts.tops["tuned"]) - gains(firsts.tops["base"]),
        answers=tuple("+".join(names) for names in right.values()),
        chances={
            "tool": sampling.chances(apart),
            "uniform": np.full(len(texts), 1 / len(texts)),
        },
    )


def drawn(log: Log, kind: str, number: int, draw: int) -> tuple[Sequence[int], Floats]:
    """Return the rows that a draw asks first, and their weights."""
    chances = log.chances[kind]
    keys = sampling.keys(log.texts, chances, drawing=1 + draw)
    order = np.argsort(keys, kind="stable")
    rows = order[:number].tolist()
    following = float(keys[order[number]]) if number < len(order) else inf
    return rows, sampling.weights([sampling.Drawn(1, float(chances[row]), following) for row in rows])


def measured(log: Log, kind: str, number: int, draws: int) -> dict[str, float]:
    """Return what many draws of one kind and number give, in points of nDCG@10."""
    truth = float(log.differences.mean())
    found = []
    for draw in range(draws):
        rows, weights = drawn(log, kind, number, draw)
        found.append(bootstrap_interval(log.differences[rows], weights=weights, seed=draw))
    means, lows, highs = (np.array([getattr(item, name) for item in found]) for name in ("mean", "low", "high"))
    figures = {
        "bias": 100 * (means.mean() - truth),
        "standard_error_of_bias": 100 * means.std(ddof=1) / np.sqrt(draws),
        "spread": 100 * means.std(ddof=1),
        "width": 100 * (highs - lows).mean(),
        "coverage": np.mean((lows <= truth) & (truth <= highs)),
        "better": np.mean(lows > 0),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def needed(widths: dict[int, float], width: float) -> float | None:
    """Return how many judgements have this width, between the numbers that were tried; None: more than these."""
    numbers = sorted(widths)
    if width < widths[numbers[-1]]:
        return None
    falling = np.minimum.accumulate([widths[number] for number in numbers])
    return round(float(np.interp(-width, -falling, numbers)), 1)


def results(log: Log, draws: int) -> dict[str, Any]:
    """Return the figures of one set."""
    numbers = [number for number in NUMBERS if number < len(log.texts)]
    kinds = {kind: {number: measured(log, kind, number, draws) for number in numbers} for kind in log.chances}
    widths = {kind: {number: row["width"] for number, row in rows.items()} for kind, rows in kinds.items()}
    target = widths["tool"][JUDGED]
    return {
        "questions": len(log.texts),
        "answers": len(set(log.answers)),
        "truth": round(100 * float(log.differences.mean()), 4),
        "draws": draws,
        "judgements": kinds,
        "width_of_the_tool_at_60": target,
        "needed_for_that_width": {kind: needed(rows, target) for kind, rows in widths.items()},
    }


def main() -> None:
    reader = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    reader.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of finished runs")
    reader.add_argument("--store", type=Path, required=True, help="the store of these runs")
    reader.add_argument("--draws", type=int, default=DRAWS)
    reader.add_argument("--out", type=Path, default=HERE / "results" / "judging.json")
    options = reader.parse_args()
    cache = Store(options.store).items
    sets = {}
    for run in options.runs:
        log = log_of(run, cache)
        sets[log.name] = results(log, options.draws)
        for kind, rows in sets[log.name]["judgements"].items():
            print(log.name, kind, rows[JUDGED], sets[log.name]["needed_for_that_width"][kind])
    options.out.write_text(json.dumps({"machine": machine(), "sets": sets}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
