"""What should an expert read: the answer, its labelled questions before it, or the two judged apart and mixed?

    python bench/reading.py sofmattress_faq covidfaq_jhu banking77_faq shop

Every embedding expert ranks the answers for the held-out questions of a set in each way of reading, and so does the
plain mean of all of them, each brought to mean 0 and deviation 1 over the answers. No model is tuned and no search log
is read: this looks at the labels alone. Writes bench/results/reading.json, nDCG@10 x 100; other sets stay in the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import sets
from expertune.config import from_mapping
from expertune.evaluate.ranking import DECIMALS, judged_queries, rank_scores
from expertune.evaluate.stage import measurement
from expertune.index import layouts_of
from expertune.models import hardware
from expertune.pipeline.alternatives import Panel
from expertune.pipeline.run import Run, Stage
from expertune.records import METRIC, FloatArray, JudgedSet, Role
from origin import origin

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "reading.json"
BOTH = ("question + answer", "answers and questions")
"""Ways of reading whose mean is one more way."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--work", type=Path, default=sets.ROOT / "runs" / "reading")
    parser.add_argument("--store", type=Path, help="default: WORK/store")
    given = parser.parse_args()
    hardware.use_machine(1, offline=True)
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    for name in given.sets:
        rows = [row for row in rows if row["set"] != name]
        for row in measured(given, name):
            rows.append(row)
            ways = "  ".join(f"{way} {value:.1f}" for way, value in row["ndcg"].items())
            print(f"{name:16}{row['split']:12}{row['expert']:42}{ways}", flush=True)
        RESULTS.write_text(json.dumps({**origin(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


def measured(given: argparse.Namespace, name: str) -> Iterator[dict[str, Any]]:
    """Yield a row for every held-out set and expert, and for all experts together."""
    values = {
        "run": {"out": str(given.work / name), "store": str(given.store or given.work / "store"), "threads": 1},
        "data": {"path": str(sets.folder(name, given.data_root))},
    }
    run = Run(from_mapping(values))
    result = run.execute(until=Stage.AUGMENT)
    assert result.questions is not None
    asked, answers = ([item.text for item in items] for items in (result.questions.items, result.dataset.documents))
    panel = Panel.of(run.config, asked, answers, cache=run.store.items)
    encoders = {run.context.base_name: run.context.base, **{model.name: model.encoder for model in panel.models}}
    for judged in (item for item in result.judged if item.role is Role.DOMAIN):
        texts = list(judged_queries(judged)[0].values())
        together: dict[str, FloatArray] = {}
        for expert, encoder in encoders.items():
            layouts = layouts_of(encoder, result.dataset, documents=judged.documents, base=encoder)
            queries = encoder.encode_queries(texts)
            ways = with_both({str(layout): alike(index.scores(queries)) for layout, index in layouts.items()})
            together = {way: scores + together.get(way, 0) for way, scores in ways.items()}
            yield row(name, judged, expert, ways)
        yield row(name, judged, "all, plain mean", together)


def alike(scores: FloatArray) -> FloatArray:
    """Bring scores `[Q, D]` to mean 0 and deviation 1 over the answers, as the panel's members are compared."""
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def with_both(ways: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Add the mean of the text that holds both and of the two judged apart."""
    return {**ways, " and ".join(("joined", "mixed")): np.mean([ways[way] for way in BOTH], axis=0)}


def row(name: str, judged: JudgedSet, expert: str, ways: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Return nDCG@10 x 100 of one expert in each way of reading."""
    found = {
        way: measurement(rank_scores(np.round(scores, DECIMALS), judged), judged, way).mean(METRIC)
        for way, scores in ways.items()
    }
    ndcg = {way: round(100 * value, 2) for way, value in found.items()}
    return {"set": name, "split": judged.split, "expert": expert, "ndcg": ndcg}


if __name__ == "__main__":
    main()
