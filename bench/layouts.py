"""Measure what each layout of an index finds: with the base and a tuned query side, for seen, unseen and new answers.

    python bench/layouts.py sofmattress_faq covidfaq_jhu banking77_faq
    python bench/layouts.py covidfaq_jhu --seeds 0 1 2 --no-log

Each set is tuned twice: as a run does; and with the answers that test_unseen asks for taken out of everything, as if
they were written after tuning. They come back at test time ("added later"). How much questions weigh in an index is
chosen on training questions alone, as `expertune.index` does. Where there is a qrels/train.tsv, its questions are the
search log, without their labels. Writes bench/results/layouts.json; rows of other calls stay in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from expertune import data
from expertune.config import Config, from_mapping, keeps_documents
from expertune.evaluate.ranking import DECIMALS, Encoder, judged_queries, rank_scores
from expertune.evaluate.stage import compare, measurement
from expertune.index import Index, Layout, layouts_of
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.pipeline.keeper import Kept
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.records import METRIC, Dataset, JudgedSet, Measurement, Role

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import sets  # noqa: E402
from origin import origin  # noqa: E402

ROOT = HERE.parent
UNSEEN = "test_unseen"


class WithoutNewAnswers(Run):
    """A run that knows nothing of the answers that test_unseen asks for."""

    def _load(self) -> tuple[data.Loaded, Kept[Dataset]]:
        loaded, dataset = super()._load()
        new = {found for judged in loaded.judged if judged.split == UNSEEN for found in asked_for(judged)}
        known = tuple(document for document in dataset.value.documents if document.id not in new)
        key = self._keeper.key("without new answers", dataset.key, sorted(new))
        return loaded, Kept(replace(dataset.value, documents=known), key)


def asked_for(judged: JudgedSet) -> set[str]:
    """Return the ids of the documents that the questions of a judged set lead to."""
    return {document_id for ids in judged_queries(judged)[1].values() for document_id in ids}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--no-log", action="store_true")
    parser.add_argument("--data-root", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "layouts")
    parser.add_argument("--store", type=Path, help="default: WORK/store")
    parser.add_argument("--tune-only", action="store_true", help="leave the models in the store and measure nothing")
    parser.add_argument("--tuned-at", default="", help="commit of the models in the store, where it is another one")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "layouts.json")
    given = parser.parse_args()
    rows = json.loads(given.out.read_text(encoding="utf-8"))["rows"] if given.out.exists() else []
    for name in given.sets:
        for seed in given.seeds:
            for row in measured(given, name, seed):
                print(shown(row), flush=True)
                rows = [other for other in rows if key(other) != key(row)] + [row]
    if not given.tune_only:
        given.out.write_text(
            json.dumps(described(sorted(rows, key=key), given.tuned_at), indent=1) + "\n", encoding="utf-8"
        )


def described(rows: list[dict[str, Any]], tuned_at: str) -> dict[str, Any]:
    """Return the rows with what they were measured on."""
    found = origin()
    return {**found, "tuned_at": tuned_at or found["commit"], "rows": rows}


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell one row of the file from another."""
    return tuple(row[name] for name in ("set", "log", "seed", "answers", "model", "layout"))


def shown(row: Mapping[str, Any]) -> str:
    """Return a row as people read it: nDCG@10 x 100, and its difference to the base's index of answers."""
    place = f"{row['set']:18}seed {row['seed']}  {row['answers']:12}{row['model']:7}{row['layout']:22}"
    figures = f"{row['ndcg']:6.1f}{row['difference']:+7.1f}  {row['low']:+.1f} to {row['high']:+.1f}"
    return place + figures


def measured(given: argparse.Namespace, name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for every kind of answer, model and layout of one set and seed."""
    config = configured(given, name, seed)
    for run in (Run(config), WithoutNewAnswers(config)):
        found = run.execute(until=Stage.TRAIN)
        if given.tune_only:
            continue
        later = isinstance(run, WithoutNewAnswers)
        for judged in found.judged:
            if judged.role is Role.DOMAIN and (judged.split == UNSEEN or not later):
                kind = "added later" if later else "unseen" if judged.split == UNSEEN else "seen"
                common = {"set": name, "log": bool(config.data.log), "seed": seed, "answers": kind}
                yield from (common | row for row in of_models(run, found, judged))


def of_models(run: Run, found: RunResult, judged: JudgedSet) -> Iterator[dict[str, Any]]:
    """Yield a row for base and tuned on each layout of a judged set's documents."""
    assert found.model is not None
    base, tuned = sentence_encoder(run.config.train.base), sentence_encoder(str(found.model.folder))
    cache = run.store.items
    encoders = {
        "base": CachedEncoder("base", base, cache=cache),
        "tuned": CachedEncoder("tuned", tuned, base if keeps_documents(found.model.mode) else tuned, cache=cache),
    }
    reference: Measurement | None = None
    for model, encoder in encoders.items():
        layouts = layouts_of(encoder, found.dataset, documents=judged.documents, base=encoders["base"])
        for layout, index in layouts.items():
            result = searched(encoder, index, judged, f"{model}, {layout}")
            reference = reference or result
            (row,) = (row for row in compare(reference, result) if row.metric == METRIC)
            yield {
                "model": model,
                "layout": layout,
                "queries": row.queries,
                "rows": len(index.vectors),
                "with_questions": len(found.dataset.labelled_ids),
                **{
                    name: shown_change(getattr(row, name), result is reference)
                    for name in ("difference", "low", "high")
                },
                "ndcg": round(100 * row.tuned, 2),
                **({"mixing": asdict(index.mixing)} if layout is Layout.MIXED else {}),
            }


def shown_change(value: float, is_reference: bool) -> float:
    """Return a change in points; of the reference to itself there is none, however few its answers are."""
    return 0.0 if is_reference else round(100 * value, 2)


def searched(encoder: Encoder, index: Index, judged: JudgedSet, name: str) -> Measurement:
    """Measure an index with the held-out questions of a judged set of the same documents."""
    texts = list(judged_queries(judged)[0].values())
    scores = np.round(index.scores(encoder.encode_queries(texts)), DECIMALS)
    return measurement(rank_scores(scores, judged), judged, name)


def configured(given: argparse.Namespace, name: str, seed: int) -> Config:
    """Return the config of one set: defaults, but no generated questions and one thread."""
    folder = sets.folder(name, given.data_root)
    log = None if given.no_log else sets.log(folder, given.work)
    return from_mapping(
        {
            "run": {
                "out": str(given.work / name),
                "store": str(given.store or given.work / "store"),
                "seed": seed,
                "threads": 1,
            },
            "data": {"path": str(folder), "log": [str(log)] if log else []},
            "augment": {"per_answer": 0},
        }
    )


if __name__ == "__main__":
    main()
