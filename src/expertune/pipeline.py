"""The order of the stages and what each one's result depends on; none of their work.

Dataset -> Questions -> Scores -> SoftLabels -> TunedModel -> Evaluation -> report
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from expertune import artefacts, checking, config, data, models
from expertune.config import Config, PluginSpec
from expertune.records import (
    Dataset,
    Evaluation,
    JudgedSet,
    Questions,
    Report,
    Scores,
    SoftLabels,
    Timing,
    TunedModel,
    ignore_progress,
)
from expertune.store import Store, fingerprint

if TYPE_CHECKING:
    from pandas import DataFrame

    from expertune.agreement import Agreement
    from expertune.encoders import CachedEncoder
    from expertune.geometry import Geometry
    from expertune.score import EmbeddingExpert

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

VERSION = 1
"""Raise when a stage's meaning changes, so that no artefact of an older meaning is reused."""


class Stage(StrEnum):
    """The stages, in order."""

    LOAD = "load"
    AUGMENT = "augment"
    SCORE = "score"
    LABEL = "label"
    TRAIN = "train"
    EVALUATE = "evaluate"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made, as far as it went: later stages are None."""

    folder: Path
    dataset: Dataset
    judged: tuple[JudgedSet, ...]
    timings: tuple[Timing, ...]
    questions: Questions | None = None
    scores: Scores | None = None
    labels: SoftLabels | None = None
    model: TunedModel | None = None
    evaluation: Evaluation | None = None


@dataclass
class Run:
    """One run of one config over one store.

    Args:
        config: Everything that is wanted.
        report: Told of progress inside stages.
    """

    config: Config
    report: Report = ignore_progress
    _timings: list[Timing] = field(default_factory=list, init=False)

    @classmethod
    def from_toml(cls, path: str | Path, *, report: Report = ignore_progress) -> Run:
        """Read a config file; see `expertune.config.read` for errors."""
        return cls(config.read(Path(path)), report)

    @classmethod
    def from_frame(cls, frame: DataFrame, config: Config, *, report: Report = ignore_progress) -> Run:
        """Run on the rows of a data frame with the columns that `config.data` names.

        They are written to `data/frame.jsonl` in the output folder, so that the resolved config can run again.

        Raises:
            DataError: a column is missing, a cell is empty, or there are too few questions or answers.
        """
        section = config.data
        data.load_frame(frame, section)
        file = config.run.out / "data" / "frame.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        used = {section.question_column, section.answer_column, section.id_column, "split"}
        kept = frame[[column for column in frame.columns if column in used]]
        kept.to_json(file, orient="records", lines=True, force_ascii=False)
        moved = section.model_copy(update={"path": str(file)})
        return cls(config.model_copy(update={"data": moved}), report)

    @cached_property
    def store(self) -> Store:
        """The store of this run: `run.store`, or a folder inside the output."""
        section = self.config.run
        return Store(section.store or section.out / "store")

    def execute(self, *, until: Stage = Stage.REPORT) -> RunResult:
        """Run every stage up to `until`, reusing what the store has.

        Raises:
            ExpertuneError: bad input, a missing model, a broken plug-in; everything finished before is kept.
        """
        wanted = self.config
        _use_machine(wanted.run.threads, offline=wanted.run.offline)
        self._timings.clear()
        started = time.perf_counter()
        dataset = data.load(wanted.data, offline=wanted.run.offline)
        judged = data.load_judged(wanted.data, offline=wanted.run.offline)
        held_out = data.held_out_questions(wanted.data, offline=wanted.run.offline)
        data_key = self._key(Stage.LOAD, data.fingerprint(wanted.data), sorted(held_out))
        self._done(Stage.LOAD, started, dataset)
        result = RunResult(wanted.run.out, dataset, judged, ())

        def reached(stage: Stage, **made: Any) -> bool:
            nonlocal result
            kept = {name: getattr(result, name) for name in result.__dataclass_fields__}
            result = RunResult(**{**kept, **made, "timings": tuple(self._timings)})
            return stage == until

        if reached(Stage.LOAD):
            return result
        # All that is missing is told now, not after the minutes that the stages before it take.
        checking.require_models(wanted)
        questions, key = self._augment(dataset, held_out, data_key)
        if reached(Stage.AUGMENT, questions=questions):
            return result
        scores, score_key = self._score(dataset, questions, key)
        if reached(Stage.SCORE, scores=scores):
            return result
        labels, questions, key = self._label(dataset, questions, scores, score_key)
        if reached(Stage.LABEL, labels=labels, questions=questions):
            return result
        model, key = self._train(dataset, questions, labels, key)
        if reached(Stage.TRAIN, model=model):
            return result
        evaluation, key = self._evaluate(judged, model, key)
        if reached(Stage.EVALUATE, evaluation=evaluation):
            return result
        started = time.perf_counter()
        agreement = self._agreement(scores, score_key) if len(scores.experts) > 1 else None
        self._publish(result, agreement, self._geometry(judged, model, key))
        self._done(Stage.REPORT, started)
        return result

    # --- one method a stage: its key, its inputs, its artefact ---------------------------------------------------

    def _augment(self, dataset: Dataset, held_out: frozenset[str], key: str) -> tuple[Questions, str]:
        from expertune.augment import augment, load_generators

        section = self.config.augment
        specs = section.generators if section.per_answer else ()
        generators = load_generators(specs, offline=self.config.run.offline)
        key = self._key(Stage.AUGMENT, key, section, [generator.fingerprint for generator in generators])

        def make() -> Questions:
            return augment(dataset, section, generators, held_out=held_out, cache=self.store.items, report=self.report)

        return self._obtain(Stage.AUGMENT, key, Questions, make), key

    def _score(self, dataset: Dataset, questions: Questions, key: str) -> tuple[Scores, str]:
        from expertune.score import load_experts, score

        experts = load_experts(self.config.score.experts, offline=self.config.run.offline)
        key = self._key(Stage.SCORE, key, [expert.fingerprint for expert in experts])

        def make() -> Scores:
            return score(dataset, questions, experts, cache=self.store.items, report=self.report)

        return self._obtain(Stage.SCORE, key, Scores, make), key

    def _label(
        self, dataset: Dataset, questions: Questions, scores: Scores, key: str
    ) -> tuple[SoftLabels, Questions, str]:
        from expertune.augment import round_trip
        from expertune.labels import label

        section = self.config.label
        key = self._key(Stage.LABEL, key, section)
        if section.round_trip:
            kept = np.asarray(round_trip(questions, dataset, scores, most_rank=section.round_trip))
            items = tuple(item for item, keep in zip(questions.items, kept, strict=True) if keep)
            removed = {**questions.removed, "round trip": int((~kept).sum())}
            questions = Questions(items, removed)
            scores = Scores(scores.experts, np.asarray(scores.values)[kept], scores.seconds)

        def make() -> SoftLabels:
            return label(dataset, questions, scores, section)

        return self._obtain(Stage.LABEL, key, SoftLabels, make), questions, key

    def _train(self, dataset: Dataset, questions: Questions, labels: SoftLabels, key: str) -> tuple[TunedModel, str]:
        section, choice = self.config.train, self.config.select
        unrelated = data.anchor_texts(section.anchor_texts) if section.anchor_weight else ()
        base = self._base_expert()
        key = self._key(
            Stage.TRAIN,
            key,
            section.model_dump(exclude={"anchor_texts"}),
            choice,
            base.fingerprint,
            unrelated,
        )

        def make(folder: Path) -> None:
            from expertune.tuning import tune_and_choose

            model = tune_and_choose(
                base=models.resolve(section.base, offline=self.config.run.offline),
                base_encoder=self._encoder("base", base, base),
                dataset=dataset,
                questions=questions,
                labels=labels,
                unrelated=unrelated,
                probe=data.load_probe(),
                section=section,
                choice=choice,
                folder=folder / "model",
                report=self.report,
            )
            artefacts.save(model, folder)

        started = time.perf_counter()
        artefact = self.store.obtain(Stage.TRAIN, key, make)
        model = artefacts.load(TunedModel, artefact.folder)
        self._done(Stage.TRAIN, started, model, reused=artefact.reused)
        return model.at(artefact.folder / "model"), key

    def _evaluate(self, judged: Sequence[JudgedSet], model: TunedModel, key: str) -> tuple[Evaluation, str]:
        from expertune.evaluate import evaluate

        section = self.config.evaluate
        key = self._key(Stage.EVALUATE, key, section, data.judged_fingerprint(self.config.data))

        def make() -> Evaluation:
            return evaluate(self._base_and_tuned(model), judged, section, report=self.report)

        return self._obtain(Stage.EVALUATE, key, Evaluation, make), key

    def _agreement(self, scores: Scores, key: str) -> Agreement:
        """Measure how far the panel agrees; an aside of the report, kept like an artefact."""
        from expertune.agreement import Agreement, agreement

        made = self.store.obtain("agreement", key, lambda folder: artefacts.save(agreement(scores), folder))
        return artefacts.load(Agreement, made.folder)

    def _geometry(self, judged: Sequence[JudgedSet], model: TunedModel, key: str) -> dict[str, Geometry]:
        """Measure the cloud of held-out question vectors before and after; an aside of the report as well."""
        from expertune.geometry import Geometry, geometry

        def make() -> dict[str, Geometry]:
            texts = sorted({query.text for item in judged for query in item.queries})
            encoders = self._base_and_tuned(model)
            return {name: geometry(encoder.encode_queries(texts)) for name, encoder in encoders.items()}

        made = self.store.obtain("geometry", key, lambda folder: artefacts.save(make(), folder))
        return artefacts.load(dict[str, Geometry], made.folder)

    def _publish(self, result: RunResult, agreement: Agreement | None, geometry: Mapping[str, Geometry]) -> None:
        """Write the folder a user looks at: model, report, results and resolved config."""
        from expertune.report import ReportInputs, write_report

        assert result.questions
        assert result.scores
        assert result.labels
        assert result.model
        assert result.evaluation
        folder = self.config.run.out
        folder.mkdir(parents=True, exist_ok=True)
        resolved = config.to_toml(config.seen_from(self.config, folder))
        (folder / "config.toml").write_text(resolved, encoding="utf-8")
        published = folder / "model"
        if published.exists():
            shutil.rmtree(published)
        shutil.copytree(result.model.folder, published)
        write_report(
            ReportInputs(
                config_toml=resolved,
                dataset=result.dataset,
                questions=result.questions,
                scores=result.scores,
                labels=result.labels,
                model=result.model,
                evaluation=result.evaluation,
                judged=result.judged,
                timings=tuple(self._timings),
                agreement=agreement,
                geometry=geometry,
            ),
            folder,
        )

    # --- what the stages share -----------------------------------------------------------------------------------

    def _base_expert(self) -> EmbeddingExpert:
        return _embedding_expert(self.config.train.base, offline=self.config.run.offline)

    def _base_and_tuned(self, model: TunedModel) -> dict[str, CachedEncoder]:
        base, tuned = self._base_expert(), _embedding_expert(str(model.folder))
        return {
            "base": self._encoder("base", base, base),
            "tuned": self._encoder("tuned", tuned, base if model.mode == "query" else tuned),
        }

    def _encoder(self, name: str, queries: EmbeddingExpert, documents: EmbeddingExpert) -> CachedEncoder:
        from expertune.encoders import CachedEncoder

        return CachedEncoder(name, queries=queries, documents=documents, cache=self.store.items, report=self.report)

    def _key(self, stage: Stage, *parts: Any) -> str:
        plain = [part.model_dump(mode="json") if hasattr(part, "model_dump") else part for part in parts]
        return fingerprint(VERSION, stage, *plain)

    def _obtain(self, stage: Stage, key: str, kind: type[Made], make: Callable[[], Made]) -> Made:
        started = time.perf_counter()
        artefact = self.store.obtain(stage, key, lambda folder: artefacts.save(make(), folder))
        made = artefacts.load(kind, artefact.folder)
        self._done(stage, started, made, reused=artefact.reused)
        return made

    def _done(self, stage: Stage, started: float, made: object = None, *, reused: bool = False) -> None:
        timing = Timing(stage=str(stage), seconds=time.perf_counter() - started, reused=reused)
        self._timings.append(timing)
        took = "reused" if reused else f"{timing.seconds:.1f} s"
        logger.info("%s: %s", stage, ", ".join(filter(None, (_size(made), took))))


def _size(made: object) -> str:
    """Say in a few words how much a stage made."""
    match made:
        case Dataset():
            return f"{len(made.documents)} answers, {len(made.questions)} questions"
        case Questions():
            return f"{len(made.items)} questions"
        case Scores():
            return f"{len(made.experts)} experts"
        case SoftLabels():
            return f"strategy {made.strategy}"
        case TunedModel():
            return f"{made.steps} steps, interpolation factor {made.selection.factor:g}"
        case Evaluation():
            return f"{len(made.measurements)} measurements"
    return ""


def _embedding_expert(model: str, *, offline: bool = True) -> EmbeddingExpert:
    """Load a sentence-transformers model as an encoder, whatever the catalogue would use it as."""
    from expertune.score import EmbeddingExpert, load_experts

    (expert,) = load_experts([PluginSpec(use="sentence_transformer", model=model)], offline=offline)
    assert isinstance(expert, EmbeddingExpert)
    return expert


def _use_machine(threads: int, *, offline: bool) -> None:
    """Set thread counts and the libraries' offline switches once, before the first model is loaded."""
    import os

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if threads:
        import torch

        torch.set_num_threads(threads)
