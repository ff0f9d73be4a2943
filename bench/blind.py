"""Do held-out questions flatter the gain by deciding what is left out of training? The same run, blind to half of them.

    python bench/blind.py sofmattress_faq covidfaq_jhu                # about four tunings a set
    python bench/blind.py banking77_faq --count                       # only count what leaves training; tunes nothing

A run leaves out of training what nearly repeats a held-out question, so those questions have a say in what is trained
on. Here a second run knows half of them only: what nearly repeats one of the others stays in training. Both models are
judged on those others. Where the run that looked is ahead, looking flatters; where it is behind, it costs.

The halves are drawn by answer and split. Writes bench/results/blind.json; rows of other calls stay in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expertune import data
from expertune.data import HeldOut
from expertune.evaluate.stage import measure
from expertune.evaluate.statistics import seeds_interval
from expertune.pipeline.keeper import Kept
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.records import METRIC, Dataset, JudgedSet, Role

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from origin import origin  # noqa: E402
from sets import DATA, ROOT, configured  # noqa: E402

RESULT = HERE / "results" / "blind.json"


@dataclass
class Blind(Run):
    """A run whose check for near copies knows none of the hidden questions.

    Args:
        hidden: Texts of the held-out questions that it does not know.
    """

    hidden: frozenset[str] = frozenset()

    def _load(self) -> tuple[data.Loaded, Kept[Dataset]]:
        loaded, _ = super()._load()
        held_out = HeldOut.of(text for text in loaded.held_out.texts if text not in self.hidden)
        dataset = held_out.apart(loaded.train)
        key = self.context.keeper.key("blind", loaded.fingerprint, sorted(held_out.wording))
        return replace(loaded, held_out=held_out), Kept(dataset, key)


def half(judged: JudgedSet, seed: int) -> JudgedSet:
    """Return the questions about a random half of the answers of a judged set."""
    answers = sorted({"+".join(sorted(found)) for found in judged.qrels.values()})
    kept = set(np.random.default_rng(seed).permutation(answers)[: len(answers) // 2].tolist())
    queries = tuple(query for query in judged.queries if "+".join(sorted(judged.qrels[query.id])) in kept)
    return replace(judged, queries=queries, qrels={query.id: judged.qrels[query.id] for query in queries})


def removed(looking: RunResult, blind: RunResult) -> dict[str, Any]:
    """Return how many questions of each kind only the run that looked left out, and what all were."""
    assert looking.questions
    assert blind.questions
    kept = {item.text for item in looking.questions.items}
    gone = [item for item in blind.questions.items if item.text not in kept]
    count = Counter(str(item.provenance) for item in gone)
    trained = Counter(str(item.provenance) for item in blind.questions.items)
    return {"only_looking_left_out": dict(count), "blind_trained_on": dict(trained)}


def gains(run: Run, result: RunResult, judged: Sequence[JudgedSet]) -> dict[str, dict[str, Any]]:
    """Return per-question gains of a run's model over the base and their answers, by split."""
    assert result.model
    encoders = run.context.base_and_tuned(result.model)
    pairs = [(item.split, *(measure(encoder, item, name) for name, encoder in encoders.items())) for item in judged]
    return {
        split: {"values": second.values[METRIC] - first.values[METRIC], "clusters": first.clusters}
        for split, first, second in pairs
    }


def interval(values: Sequence[Any], clusters: Sequence[str]) -> dict[str, float]:
    """Return mean and 95 % interval in points of nDCG@10 x 100."""
    found = seeds_interval(np.stack(values), clusters)
    return {name: round(100 * getattr(found, name), 2) for name in ("mean", "low", "high")} | {
        "answers": found.clusters
    }


def measured(given: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Return what leaves training and, unless only that is asked for, both gains on the hidden half."""
    config = configured(given, name, seed)
    looking = Run(config)
    judged = [item for item in looking.execute(until=Stage.LOAD).judged if item.role is Role.DOMAIN]
    hidden = [half(item, seed) for item in judged]
    unknown = {(item.split, query.id) for item in hidden for query in item.queries}
    known = {query.text for item in judged for query in item.queries if (item.split, query.id) not in unknown}
    texts = frozenset(query.text for item in hidden for query in item.queries) - known
    blind = Blind(config, hidden=texts)
    until = Stage.AUGMENT if given.count else Stage.TRAIN
    results = [run.execute(until=until) for run in (looking, blind)]
    row = {"set": name, "log": bool(config.data.log), "seed": seed, "hidden_questions": len(texts)}
    row |= removed(*results)
    if given.count or not row["only_looking_left_out"]:
        return row
    first, second = (gains(run, result, hidden) for run, result in zip((looking, blind), results, strict=True))
    return row | {
        split: {
            "looking": interval([first[split]["values"]], first[split]["clusters"]),
            "blind": interval([second[split]["values"]], first[split]["clusters"]),
            "looking_minus_blind": interval(
                [first[split]["values"] - second[split]["values"]], first[split]["clusters"]
            ),
        }
        for split in first
    }


def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell one row of the file from another."""
    return tuple(row[name] for name in ("set", "log", "seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--no-log", action="store_true", help="without the search log, whose near copies leave too")
    parser.add_argument("--count", action="store_true", help="only say what leaves training")
    parser.add_argument("--data-root", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "blind")
    parser.add_argument("--store", type=Path, help="default: WORK/store")
    given = parser.parse_args()
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"] if RESULT.exists() else []
    for name in given.sets:
        for seed in given.seeds:
            row = measured(given, name, seed)
            print(json.dumps(row), flush=True)
            if given.count:
                continue
            rows = sorted([other for other in rows if place(other) != place(row)] + [row], key=place)
            RESULT.write_text(json.dumps({**origin(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
