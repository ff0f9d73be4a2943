"""Measure what the base gains by an index of questions + answer (`data.expand`) alone, before any tuning.

    python bench/expansion.py sofmattress_faq covidfaq_jhu
    python bench/expansion.py sofmattress_faq --train-split train --most 1 3 5 1000

Prints one row a domain test split, number of questions before an answer and metric nDCG@10 x 100, and keeps
bench/results/expansion.json. Held-out questions, and training questions that mean the same, are left out as in a run.
Rows of other calls stay in the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sets
from expertune.config import from_mapping
from expertune.data.expansion import Expansion
from expertune.evaluate.stage import compare, measure
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.pipeline.run import Run, Stage
from expertune.records import METRIC, Role

HERE = Path(__file__).parent
ROOT = HERE.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--most", nargs="+", type=int, default=[1], help="values of data.expand")
    parser.add_argument("--train-split", default="", help="labelled questions that count as own ones, too")
    parser.add_argument("--base", default="all-minilm-l6-v2")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "expansion.json")
    given = parser.parse_args()
    rows = json.loads(given.out.read_text(encoding="utf-8"))["rows"] if given.out.exists() else []
    print(f"{'set':34}{'train split':14}{'expand':>7}{'plain':>8}{'expanded':>10}{'change':>8}  95 % interval")
    for name in given.sets:
        for row in measured(given, name):
            shown = (
                f"{row['set']:34}{row['train_split']:14}{row['expand']:>7}{row['plain']:>8.1f}{row['expanded']:>10.1f}"
            )
            print(f"{shown}{row['difference']:>+8.1f}  {row['low']:+.1f} to {row['high']:+.1f}", flush=True)
            rows = [other for other in rows if key(other) != key(row)] + [row]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"rows": sorted(rows, key=key)}, indent=1) + "\n", encoding="utf-8")


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["base"], row["set"], row["train_split"], row["expand"]


def measured(given: argparse.Namespace, name: str) -> Iterator[dict[str, Any]]:
    kept = ROOT / "runs" / "expansion"
    config = from_mapping(
        {
            "run": {"out": str(kept / name), "store": str(kept / "store")},
            "data": {"path": str(sets.folder(name, given.data_root)), "train_split": given.train_split},
            "augment": {"per_answer": 0, "spans": 0},
            "score": {"experts": ["bm25"]},
            "train": {"base": given.base},
        }
    )
    run = Run(config)
    found = run.execute(until=Stage.AUGMENT)  # up to here, what repeats a held-out question is gone
    expert = sentence_encoder(given.base)
    encoder = CachedEncoder("base", expert, cache=run.store.items)
    for judged in (item for item in found.judged if item.role is Role.DOMAIN):
        plain = measure(encoder, judged, "plain")
        for most in given.most:
            own = Expansion.of(found.dataset.questions, most)
            expanded = measure(encoder, own.judged(judged), "expanded")
            (row,) = (row for row in compare(plain, expanded) if row.metric == METRIC)
            figures = {"plain": row.base, "expanded": row.tuned, "difference": row.difference}
            figures |= {"low": row.low, "high": row.high}
            yield {
                "base": given.base,
                "set": judged.name,
                "train_split": given.train_split,
                "expand": most,
                "answers": len(judged.documents),
                "with_questions": len(own.questions),
                "queries": row.queries,
                **{name: round(100 * value, 2) for name, value in figures.items()},
            }


if __name__ == "__main__":
    main()
