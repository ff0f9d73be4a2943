"""Run models through `mteb` itself: any BEIR folder as a retrieval task, official tasks and benchmarks by name.

`mteb` does the searching, the scoring and the bookkeeping; what is ours is that a folder needs no hub and that a model
may encode questions and documents differently. This module computes no metric and knows no verdict.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expertune import data
from expertune.config import DataSection
from expertune.errors import DataError
from expertune.evaluate.ranking import DECIMALS, neutral_order
from expertune.models.encoder import CachedEncoder
from expertune.records import BenchmarkScore, JudgedSet, Role

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from mteb.results import TaskResult

PLACE = "evaluate.mteb"
EXACT = {"ndcg": "ndcg_at_10_exact", "map": "map_at_10_exact"}
"""What a folder's task adds to mteb's scores: the same means before mteb rounds them to five digits."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One task to run: under which name the config knows it, and a hash of its data (or its revision on the hub)."""

    name: str
    fingerprint: str
    task: AbsTask


def find(names: Sequence[str], *, offline: bool) -> tuple[Benchmark, ...]:
    """Return the tasks that names stand for; of a benchmark those that retrieve.

    Args:
        names: BEIR folders, or official names of tasks ("SciFact") and benchmarks ("MTEB(eng, v2)").
        offline: Whether the hub, where official tasks keep their data, is out of reach.

    Raises:
        DataError: mteb is not installed, a name is neither a folder nor known, or official data would need a hub.
    """
    benchmarks = tuple(item for name in names for item in _find_one(name, offline=offline))
    for task, times in Counter(item.task.metadata.name for item in benchmarks).items():
        if times > 1:
            hint = "Name each task, folder or benchmark once."
            raise DataError(f"the task {task} is named twice", place=PLACE, hint=hint)
    return benchmarks


def where(name: str, *, offline: bool) -> str:
    """Say where a task's data are, "folder" or "hub", without reading them.

    Raises:
        DataError: mteb is not installed, or the data would need a hub that is out of reach.
    """
    if importlib.util.find_spec("mteb") is None:
        hint = "Install it with: pip install 'expertune[mteb]'"
        raise DataError("the package mteb is not installed", place=PLACE, hint=hint)
    if Path(name).is_dir():
        return "folder"
    if offline:
        message = "no such folder; an official task or benchmark needs a hub, but the run is offline"
        hint = "Name a folder with a BEIR set, or set run.offline = false."
        raise DataError(message, place=f"{PLACE}: {name}", hint=hint)
    return "hub"


def run(benchmark: Benchmark, encoder: CachedEncoder, folder: Path, *, name: str, fingerprint: str) -> None:
    """Run one task through `mteb.evaluate` and write its results to `folder`, in mteb's own layout and format.

    Args:
        benchmark: What to run.
        encoder: Its two sides are mteb's prompt types "query" and "document"; texts without one count as questions.
        folder: Where mteb's `results/` goes.
        name: What mteb's results call the model.
        fingerprint: Its revision there.

    Raises:
        DataError: the data of an official task cannot be fetched.
    """
    import mteb

    try:
        benchmark.task.load_data()
    except Exception as error:  # Whatever the hub's client or its HTTP library raises; ours are raised as they are.
        if isinstance(error, DataError):
            raise
        message = f"its data cannot be fetched ({(str(error) or type(error).__name__).splitlines()[0]})"
        hint = "Check the connection, or name a folder with the set in BEIR layout."
        raise DataError(message, place=f"{PLACE}: {benchmark.name}", hint=hint) from None
    mteb.evaluate(
        _model(encoder, name, fingerprint),
        benchmark.task,
        cache=mteb.ResultCache(folder),
        co2_tracker=False,
        show_progress_bar=False,
    )


def scores(folder: Path, model: str) -> tuple[BenchmarkScore, ...]:
    """Read what `run` wrote: one score for every split and subset, as mteb means it."""
    from mteb.results import TaskResult

    files = sorted(path for path in (folder / "results").glob("*/*/*.json") if path.name != "model_meta.json")
    return tuple(score for file in files for score in _scores(TaskResult.from_disk(file), model))


def _scores(result: TaskResult, model: str) -> list[BenchmarkScore]:
    return [
        BenchmarkScore(
            task=result.task_name,
            split=split,
            subset=str(entry["hf_subset"]),
            model=model,
            main=float(entry["main_score"]),
            ndcg=float(entry.get(EXACT["ndcg"], entry.get("ndcg_at_10", float("nan")))),
            map=float(entry.get(EXACT["map"], entry.get("map_at_10", float("nan")))),
        )
        for split, entries in sorted(result.scores.items())
        for entry in entries
    ]


def _find_one(name: str, *, offline: bool) -> list[Benchmark]:
    if where(name, offline=offline) == "folder":
        files = data.Files(DataSection(path=name), offline, join=False)  # figures are to be those of MTEB
        splits = [judged for judged in files.judged if judged.role is Role.DOMAIN]
        if not splits:
            hint = "Put judgements into qrels/test.tsv."
            raise DataError("has no test judgements", place=f"{PLACE}: {name}", hint=hint)
        fingerprint = files.judged_fingerprint
        return [Benchmark(splits[0].dataset, fingerprint, folder_task(splits, fingerprint))]
    import mteb

    official = [benchmark.name for benchmark in mteb.get_benchmarks()]
    try:
        tasks = (
            [task for task in mteb.get_benchmark(name).tasks if task.metadata.type == "Retrieval"]
            if name in official
            else [mteb.get_task(name)]
        )
    except KeyError as error:
        hint = "Name a folder, a task such as SciFact, or a benchmark such as MTEB(eng, v2)."
        raise DataError(str(error.args[0]), place=f"{PLACE}: {name}", hint=hint) from None
    if not tasks:
        raise DataError("this benchmark has no retrieval task", place=f"{PLACE}: {name}", hint="Name its tasks.")
    return [Benchmark(name, str(task.metadata.dataset["revision"]), task) for task in tasks]


def folder_task(splits: Sequence[JudgedSet], revision: str) -> AbsTask:
    """Return the judged splits of one corpus as a retrieval task that loads nothing from anywhere.

    Documents get neutral ids, such that trec_eval, which gives ties to the higher id, orders them as we do.
    """
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    documents, name = splits[0].documents, splits[0].dataset
    turn = neutral_order(documents)
    ids = {document.id: f"{len(turn) - place:09d}" for document, place in zip(documents, turn, strict=True)}
    corpus = {ids[document.id]: {"text": document.text, "title": ""} for document in documents}

    class FolderTask(AbsTaskRetrieval):  # type: ignore[misc]
        """Retrieval on one local BEIR folder."""

        metadata = TaskMetadata(
            name=name,
            description=f"The local BEIR set {name}.",
            dataset={"path": "local", "revision": revision},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=[judged.split for judged in splits],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, *_: Any, **__: Any) -> None:
            """Take the set that is already in memory."""
            self.corpus, self.queries, self.relevant_docs = {}, {}, {}
            for judged in splits:
                self.corpus[judged.split] = corpus
                self.queries[judged.split] = {query.id: query.text for query in judged.queries}
                self.relevant_docs[judged.split] = {
                    query: {ids[document]: grade for document, grade in grades.items()}
                    for query, grades in judged.qrels.items()
                }
            self.data_loaded = True

        def task_specific_scores(self, scores: dict[str, dict[str, float]], *_: Any, **__: Any) -> dict[str, float]:
            """Keep the means of mteb's own scores of each query as they are before they are rounded."""
            cuts = {EXACT["ndcg"]: "ndcg_cut_10", EXACT["map"]: "map_cut_10"}
            return {key: float(np.mean([row[cut] for row in scores.values()])) for key, cut in cuts.items()}

    return FolderTask()


def _model(encoder: CachedEncoder, name: str, fingerprint: str) -> Any:
    """Return an encoder as mteb wants to see it."""
    import torch
    from mteb.models import ModelMeta
    from mteb.types import PromptType

    class Model:
        """Encode by prompt type; similarities are compared at as many decimals as everywhere else here."""

        mteb_model_meta = ModelMeta.create_empty({"name": f"expertune/{name}", "revision": fingerprint[:16]})

        def encode(self, inputs: Any, *, prompt_type: PromptType | None = None, **_: Any) -> Any:
            texts = [text for batch in inputs for text in batch["text"]]
            documents = prompt_type == PromptType.document
            return encoder.encode_documents(texts) if documents else encoder.encode_queries(texts)

        def similarity(self, left: Any, right: Any) -> Any:
            return torch.from_numpy(np.round(np.asarray(left) @ np.asarray(right).T, DECIMALS))

        def similarity_pairwise(self, left: Any, right: Any) -> Any:
            cosines = np.einsum("nd,nd->n", np.asarray(left), np.asarray(right))
            return torch.from_numpy(np.round(cosines, DECIMALS))

    return Model()
