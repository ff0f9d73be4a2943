"""Measure what tuning gives on each layout of an index: for seen, unseen and new answers, and on general sets.

    python bench/layouts.py sofmattress_faq covidfaq_jhu banking77_faq stackfaq --seeds 0 1 2 --general cranfield
    python bench/layouts.py covidfaq_jhu --seeds 0 1 2 --no-log
    python bench/layouts.py covidfaq_jhu --base all-mpnet-base-v2 --tune-only      # measured by a later call

Each set is tuned twice with each seed: as a run does; and with the answers that test_unseen asks for taken out of
everything, as if they were written after tuning. They come back at test time ("added later"). How much questions weigh
in an index is chosen on training questions alone, as `expertune.index` does. Where there is a qrels/train.tsv, its
questions are the search log, without their labels. Writes bench/results/layouts.json: a row has the mean over seeds of
nDCG@10 x 100 and of its difference to the base's index of answers, with an interval over seeds and questions; the
averages are plain means over the sets. Rows of other sets, bases and logs stay in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expertune import data
from expertune.config import TrainSection
from expertune.evaluate.ranking import DECIMALS, Encoder, judged_queries, rank_scores
from expertune.evaluate.stage import measure, measurement
from expertune.evaluate.statistics import seeds_interval
from expertune.index import Index, Layout, layouts_of
from expertune.pipeline.keeper import Kept
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.records import METRIC, Dataset, JudgedSet, Measurement, Role

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from origin import origin  # noqa: E402
from sets import DATA, configured  # noqa: E402

ROOT = HERE.parent
UNSEEN = "test_unseen"
COMMON = ("base", "set", "log", "answers", "model", "layout")
"""What tells one row from another."""

Key = tuple[Any, ...]


class WithoutNewAnswers(Run):
    """A run that knows nothing of the answers that test_unseen asks for."""

    def _load(self) -> tuple[data.Loaded, Kept[Dataset]]:
        loaded, dataset = super()._load()
        new = {found for judged in loaded.judged if judged.split == UNSEEN for found in asked_for(judged)}
        known = tuple(document for document in dataset.value.documents if document.id not in new)
        key = self.context.keeper.key("without new answers", dataset.key, sorted(new))
        return loaded, Kept(replace(dataset.value, documents=known), key)


def asked_for(judged: JudgedSet) -> set[str]:
    """Return the ids of the documents that the questions of a judged set lead to."""
    return {document_id for ids in judged_queries(judged)[1].values() for document_id in ids}


@dataclass(frozen=True, slots=True)
class Found:
    """One model on one layout of one judged set with one seed: differences to the base's index of answers `[Q]`."""

    key: Key
    seed: int
    ndcg: float
    differences: NDArray[np.float64]
    clusters: tuple[str, ...]
    more: Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--no-log", action="store_true")
    parser.add_argument("--base", default=TrainSection().base)
    parser.add_argument("--general", nargs="*", default=[], help="folders of the data root")
    parser.add_argument("--data-root", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "layouts")
    parser.add_argument("--store", type=Path, help="default: WORK/store")
    parser.add_argument("--tune-only", action="store_true", help="leave the models in the store and measure nothing")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "layouts.json")
    given = parser.parse_args()
    kept = json.loads(given.out.read_text(encoding="utf-8"))["rows"] if given.out.exists() else []
    for name in given.sets:
        found = [item for seed in given.seeds for item in measured(given, name, seed)]
        rows = merged(found)
        kept = [other for other in kept if key(other) not in {key(row) for row in rows}] + rows
        for row in rows:
            print(shown(row), flush=True)
        if not given.tune_only:
            given.out.write_text(json.dumps(described(sorted(kept, key=key)), indent=1) + "\n", encoding="utf-8")


def described(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows, and their averages over sets, with what they were measured on."""
    return {**origin(), "averages": averages(rows), "rows": rows}


def averages(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the plain mean over sets of the tuned model's differences; sets are independent of each other."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["model"] == "tuned":
            groups.setdefault(tuple(row[name] for name in COMMON if name != "set"), []).append(row)
    return [
        {
            **dict(zip((name for name in COMMON if name != "set"), group, strict=True)),
            "sets": [row["set"] for row in members],
            "difference": round(float(np.mean([row["difference"] for row in members])), 2),
            "standard_error": round(
                float(np.sqrt(np.sum(np.square([row["standard_error"] for row in members])))) / len(members), 2
            ),
        }
        for group, members in groups.items()
    ]


def merged(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Return a row for each key: the mean over its seeds, with the package's interval over seeds and questions."""
    groups: dict[Key, list[Found]] = {}
    for item in found:
        groups.setdefault(item.key, []).append(item)
    rows = []
    for group, items in groups.items():
        interval = seeds_interval([item.differences for item in items], items[0].clusters)
        ends = {} if interval.too_few else {"low": points(interval.low), "high": points(interval.high)}
        rows.append(
            {
                **dict(zip(COMMON, group, strict=True)),
                "seeds": [item.seed for item in items],
                "queries": len(items[0].clusters),
                "clusters": interval.clusters,
                "ndcg": points(float(np.mean([item.ndcg for item in items]))),
                "difference": points(interval.mean),
                "standard_error": points(interval.standard_error) if np.isfinite(interval.standard_error) else 0.0,
                **ends,
                **items[0].more,
            }
        )
    return rows


def points(value: float) -> float:
    """Return a share as points, with two decimals."""
    return round(100 * value, 2)


def key(row: Mapping[str, Any]) -> Key:
    """Tell one row of the file from another."""
    return tuple(row[name] for name in COMMON)


def shown(row: Mapping[str, Any]) -> str:
    """Return a row as people read it: nDCG@10 x 100, and its difference to the base's index of answers."""
    place = f"{row['set']:18}{row['log'] * 'log':4}{row['answers']:24}{row['model']:7}{row['layout']:22}"
    ends = f"{row['low']:+.1f} to {row['high']:+.1f}" if "low" in row else f"{row['clusters']} answers: no interval"
    return f"{place}{row['ndcg']:6.1f}{row['difference']:+7.1f}  {ends}"


def measured(given: argparse.Namespace, name: str, seed: int) -> Iterator[Found]:
    """Yield what every kind of answer, model and layout of one set gives with one seed."""
    config = configured(given, name, seed, base=given.base, general=given.general)
    for run in (Run(config), WithoutNewAnswers(config)):
        result = run.execute(until=Stage.TRAIN)
        if given.tune_only:
            continue
        later = isinstance(run, WithoutNewAnswers)
        for judged in result.judged:
            domain = judged.role is Role.DOMAIN
            if later and judged.split != UNSEEN:
                continue
            kind = "added later" if later else "unseen" if judged.split == UNSEEN else "seen" if domain else "general"
            group = (given.base, name, bool(config.data.log), kind if domain else f"general, {judged.dataset}")
            yield from of_models(run, result, judged, group, seed)


def of_models(run: Run, result: RunResult, judged: JudgedSet, group: Key, seed: int) -> Iterator[Found]:
    """Yield what base and tuned model give on each layout of a judged set; general sets have answers alone."""
    assert result.model is not None
    encoders = run.context.base_and_tuned(result.model)
    reference: Measurement | None = None
    for model, encoder in encoders.items():
        layouts: Mapping[Layout, Index | None] = {Layout.ANSWERS: None}
        if judged.role is Role.DOMAIN:
            layouts = layouts_of(encoder, result.dataset, documents=judged.documents, base=encoders["base"])
        for layout, index in layouts.items():
            called = f"{model}, {layout}"
            now = searched(encoder, index, judged, called) if index else measure(encoder, judged, called)
            reference = reference or now
            more = asdict(index.mixing) if index and layout is Layout.MIXED else {}
            yield Found(
                (*group, model, str(layout)),
                seed,
                now.mean(METRIC),
                now.values[METRIC] - reference.values[METRIC],
                now.clusters,
                {"mixing": more} if more else {},
            )


def searched(encoder: Encoder, index: Index, judged: JudgedSet, name: str) -> Measurement:
    """Measure an index with the held-out questions of a judged set of the same documents."""
    texts = list(judged_queries(judged)[0].values())
    scores = np.round(index.scores(encoder.encode_queries(texts)), DECIMALS)
    return measurement(rank_scores(scores, judged), judged, name)


if __name__ == "__main__":
    main()
