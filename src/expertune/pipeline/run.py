"""The order of the stages and what each one's result depends on; none of their work.

Dataset -> Questions -> Scores -> SoftLabels -> TunedModel -> Evaluation -> report
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from expertune import config, data, models
from expertune.augment import filters
from expertune.config import Config, PluginSpec, keeps_documents
from expertune.data import expansion, leakage
from expertune.data.expansion import Expansion
from expertune.data.wording import normalise
from expertune.errors import DataError, StoreError
from expertune.models import ray
from expertune.pipeline import artefacts, preflight
from expertune.pipeline.store import Store, fingerprint
from expertune.records import (
    Agreement,
    BenchmarkScore,
    Dataset,
    Document,
    Evaluation,
    Geometry,
    JudgedSet,
    PanelDiagnostics,
    Questions,
    Report,
    Role,
    Scores,
    SimilarityChange,
    SoftLabels,
    Timing,
    TunedModel,
    ignore_progress,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame

    from expertune.models.contract import EmbeddingExpert
    from expertune.models.encoders import CachedEncoder

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

VERSION = 3
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
        if "tensorboard" in wanted.train.report_to:  # the trainer asks for the folder here and nowhere else
            os.environ["TENSORBOARD_LOGGING_DIR"] = str(wanted.run.out / "tensorboard")
        self._timings.clear()
        started = time.perf_counter()
        dataset = data.load(wanted.data, offline=wanted.run.offline)
        judged = data.load_judged(wanted.data, offline=wanted.run.offline)
        held_out = data.held_out_questions(wanted.data, offline=wanted.run.offline)
        dataset = _apart(dataset, held_out)
        data_key = self._key(Stage.LOAD, data.fingerprint(wanted.data), sorted(held_out), filters.HELD_OUT_SIMILARITY)
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
        preflight.require_models(wanted)
        ray.require(wanted.cluster)
        secret = _held_out_texts(judged, held_out)
        dataset, data_key = self._apart_by_meaning(dataset, secret, data_key)
        questions, key = self._augment(dataset, held_out, data_key)
        questions, key = self._counted_out(questions, secret, key)
        if reached(Stage.AUGMENT, dataset=dataset, questions=questions):
            return result
        scores, score_key = self._score(dataset, questions, key)
        if reached(Stage.SCORE, scores=scores):
            return result
        labels, questions, scores, key = self._label(dataset, questions, scores, score_key)
        if reached(Stage.LABEL, labels=labels, questions=questions, scores=scores):
            return result
        model, key = self._train(dataset, questions, scores, labels, key)
        if reached(Stage.TRAIN, model=model):
            return result
        agreement = self._agreement(scores, key) if len(scores.experts) > 1 else None
        panel = self._diagnostics(result, agreement, key)
        evaluation, key = self._evaluate(dataset, judged, model, panel, key)
        if reached(Stage.EVALUATE, evaluation=evaluation):
            return result
        started = time.perf_counter()
        geometry = self._geometry(judged, model, key)
        try:
            with self.store.alone(Stage.REPORT, fingerprint(str(result.folder.resolve()))):
                self._publish(result, agreement, geometry)
        except OSError as error:
            raise StoreError(
                f"the results cannot be written ({error})",
                place=str(result.folder),
                hint="Free some space or name another folder with run.out; everything finished before is kept.",
            ) from error
        self._done(Stage.REPORT, started)
        return result

    # --- one method a stage: its key, its inputs, its artefact ---------------------------------------------------

    def _augment(self, dataset: Dataset, held_out: frozenset[str], key: str) -> tuple[Questions, str]:
        from expertune.augment.stage import augment, load_generators

        section = self.config.augment
        specs = section.generators if section.per_answer else ()
        generators = load_generators(specs, offline=self.config.run.offline)
        key = self._key(Stage.AUGMENT, key, section, [generator.fingerprint for generator in generators])

        def make() -> Questions:
            with self._spread(load_generators, specs, generators) as spread:
                return augment(dataset, section, spread, held_out=held_out, cache=self.store.items, report=self.report)

        return self._obtain(Stage.AUGMENT, key, Questions, make), key

    def _apart_by_meaning(self, dataset: Dataset, held_out: Sequence[str], key: str) -> tuple[Dataset, str]:
        """Leave out the user's own questions that mean the same as a held-out one, and say so."""
        copies = self._repeats([question.text for question in dataset.questions], held_out)
        if not any(copies):
            return dataset, key
        kept = _enough(dataset.without(copies), sum(copies), "mean nearly the same as a held-out one")
        return kept, self._key("leaks", key, copies)

    def _counted_out(self, questions: Questions, held_out: Sequence[str], key: str) -> tuple[Questions, str]:
        """Leave out generated questions that mean the same as a held-out one; they are counted like other rules'."""
        copies = self._repeats([question.text for question in questions.items], held_out)
        # The key changes only where something goes: another base does not have everything scored again.
        if not any(copies):
            return questions, key
        return leakage.counted_out(questions, copies), self._key("leaks", key, copies)

    def _repeats(self, texts: Sequence[str], held_out: Sequence[str]) -> tuple[bool, ...]:
        """Tell which texts the base model can hardly tell from a held-out question; an aside, kept like an artefact."""
        if not held_out:
            return (False,) * len(texts)
        base = self._base_expert()

        def make() -> tuple[bool, ...]:
            encoder = self._encoder("base", base, base)
            return leakage.repeats(texts, held_out, encoder.encode_queries, unrelated=data.anchor_texts())

        key = self._key("leaks", base.fingerprint, leakage.SIMILARITY, texts, held_out)
        return self._aside("leaks", key, tuple[bool, ...], make)

    def _score(self, dataset: Dataset, questions: Questions, key: str) -> tuple[Scores, str]:
        from expertune.score.stage import load_experts, of_candidates, score

        section = self.config.score
        experts = load_experts(section.experts, offline=self.config.run.offline)
        # The number of candidates matters where there are any: a smaller corpus is not scored again for it.
        limits = [section.candidates] if of_candidates(dataset, section) else []
        key = self._key(Stage.SCORE, key, [expert.fingerprint for expert in experts], *limits)

        def of(answers: Dataset) -> Scores:
            with self._spread(load_experts, section.experts, experts) as spread:
                return score(answers, questions, spread, section=section, cache=self.store.items, report=self.report)

        if not self.config.data.expand:
            return self._obtain(Stage.SCORE, key, Scores, lambda: of(dataset)), key

        def make() -> Scores:
            plain = self._aside(Stage.SCORE, key, Scores, lambda: of(dataset))
            expanded = replace(dataset, documents=self._expansion(dataset).documents(dataset.documents))
            return expansion.joined(plain, of(expanded), questions.known)

        expanded_key = self._key(Stage.SCORE, "expanded", self.config.data.expand, key)
        return self._obtain(Stage.SCORE, expanded_key, Scores, make), expanded_key

    def _label(
        self, dataset: Dataset, questions: Questions, scores: Scores, key: str
    ) -> tuple[SoftLabels, Questions, Scores, str]:
        from expertune.augment.stage import round_trip
        from expertune.label.stage import label

        section, base = self.config.label, self._base_name
        key = self._key(Stage.LABEL, key, section, base)
        if section.round_trip:
            kept = np.asarray(round_trip(questions, dataset, scores, most_rank=section.round_trip))
            items = tuple(item for item, keep in zip(questions.items, kept, strict=True) if keep)
            removed = {**questions.removed, "round trip": int((~kept).sum())}
            questions = replace(questions, items=items, removed=removed)
            scores = scores.of(kept)

        def make() -> SoftLabels:
            return label(dataset, questions, scores, section, base=base)

        return self._obtain(Stage.LABEL, key, SoftLabels, make), questions, scores, key

    def _train(
        self, dataset: Dataset, questions: Questions, scores: Scores, labels: SoftLabels, key: str
    ) -> tuple[TunedModel, str]:
        from expertune.train import tuning

        section, choice = self.config.train, self.config.select
        sentences = data.anchor_texts(section.anchor_texts) if section.anchor_weight else ()
        base = self._base_expert()
        key = self._key(
            Stage.TRAIN,
            key,
            tuning.VERSION,
            section.model_dump(exclude={"anchor_texts", "report_to"}),
            choice,
            base.fingerprint,
            sentences,
        )

        whole = self._expansion(dataset)

        def known(rows: NDArray[np.int64]) -> Expansion:
            return whole.knowing(questions.items[int(row)] for row in rows)

        def relabel(strategy: str, rows: NDArray[np.int64]) -> SoftLabels:
            from expertune.label.stage import label_rows

            judged = expansion.as_if(scores, dataset.documents, whole, known(rows))
            settings = self.config.label.model_copy(update={"strategy": strategy})
            return label_rows(dataset, questions, judged, settings, rows, base=self._base_name)

        def index(rows: NDArray[np.int64]) -> tuple[Document, ...]:
            return known(rows).documents(dataset.documents)

        def make(folder: Path) -> None:
            model = tuning.tune_and_choose(
                base=models.resolve(section.base, offline=self.config.run.offline),
                base_encoder=self._encoder("base", base, base),
                dataset=dataset,
                questions=questions,
                labels=labels,
                sentences=sentences,
                probe=data.load_probe(),
                section=section,
                choice=choice,
                folder=folder / "model",
                scratch=self.store.scratch(Stage.TRAIN, key),
                report=self.report,
                relabels={strategy: partial(relabel, strategy) for strategy in (labels.strategy, *choice.strategies)},
                index=index if self.config.data.expand else None,
            )
            artefacts.save(model, folder)

        started = time.perf_counter()
        artefact = self.store.obtain(Stage.TRAIN, key, make)
        model = artefacts.load(TunedModel, artefact.folder)
        self._done(Stage.TRAIN, started, model, reused=artefact.reused)
        return model.at(artefact.folder / "model"), key

    def _evaluate(
        self,
        dataset: Dataset,
        judged: Sequence[JudgedSet],
        model: TunedModel,
        panel: PanelDiagnostics,
        train_key: str,
    ) -> tuple[Evaluation, str]:
        from expertune.evaluate.stage import evaluate

        section = self.config.evaluate
        shared = section.model_dump(mode="json", exclude={"sts", "mteb"})
        judged_key = data.judged_fingerprint(self.config.data)
        key = self._key(Stage.EVALUATE, train_key, shared, judged_key, asdict(panel))

        whole = self._expansion(dataset)

        def make() -> Evaluation:
            plain = [item for item in judged if item.role is Role.DOMAIN] if self.config.data.expand else []
            sets = [whole.judged(item) for item in judged]
            encoders = self._base_and_tuned(model)
            return evaluate(encoders, sets, section, report=self.report, panel=panel, plain=plain)

        evaluation = self._obtain(Stage.EVALUATE, key, Evaluation, make)
        similarities = tuple(self._similarity(path, model, train_key) for path in section.sts)
        return replace(evaluation, similarities=similarities, benchmarks=self._benchmarks(model, train_key)), key

    def _similarity(self, path: str, model: TunedModel, train_key: str) -> SimilarityChange:
        """Compare base and tuned on one file of scored sentence pairs."""
        from expertune.evaluate.sts import similarity_change

        section = self.config.evaluate
        pairs = data.read_scored_pairs(Path(path))
        drawn = section.model_dump(mode="json", include={"confidence", "resamples", "seed"})

        def make() -> SimilarityChange:
            encoders = self._base_and_tuned(model)
            return similarity_change(pairs, encoders["base"], encoders["tuned"], section)

        return self._aside("sts", self._key("sts", train_key, drawn, asdict(pairs)), SimilarityChange, make)

    def _benchmarks(self, model: TunedModel, train_key: str) -> tuple[BenchmarkScore, ...]:
        """Run base and tuned through mteb, and publish what it writes in its own format."""
        from expertune.evaluate import benchmarks

        tasks = benchmarks.find(self.config.evaluate.mteb, offline=self.config.run.offline)
        if not tasks:
            return ()
        published = self.config.run.out / "mteb"
        shutil.rmtree(published, ignore_errors=True)
        encoders = self._base_and_tuned(model)
        revisions = {"base": self._base_expert().fingerprint, "tuned": train_key}
        found: list[BenchmarkScore] = []
        for task in tasks:
            for name, encoder in encoders.items():
                run = partial(benchmarks.run, task, encoder, name=name, fingerprint=revisions[name])
                key = self._key("mteb", task.fingerprint, task.task.metadata.name, name, revisions[name])
                made = self.store.obtain("mteb", key, run)
                shutil.copytree(made.folder / "results", published / "results", dirs_exist_ok=True)
                found += benchmarks.scores(made.folder, name)
        return tuple(found)

    def _diagnostics(self, result: RunResult, agreement: Agreement | None, key: str) -> PanelDiagnostics:
        """Look at the labels that were tuned on; an aside of the verdict, kept like an artefact."""
        from expertune.label.diagnostics import panel_evidence

        assert result.questions
        assert result.scores
        assert result.labels
        dataset, questions, scores, labels = result.dataset, result.questions, result.scores, result.labels

        def make() -> PanelDiagnostics:
            expert = self._base_expert()
            base = self._encoder("base", expert, expert)
            known = [question.text for question in questions.items if not question.generated]
            answers = [document.text for document in dataset.documents]
            vectors = (base.encode_queries(known), base.encode_documents(answers))
            given = (dataset, questions, scores, labels, agreement)
            return panel_evidence(*given, base=self._base_name, base_vectors=vectors)

        return self._aside("diagnostics", key, PanelDiagnostics, make)

    def _agreement(self, scores: Scores, key: str) -> Agreement:
        """Measure how far the panel agrees; an aside of verdict and report as well."""
        from expertune.score.agreement import agreement

        return self._aside("agreement", key, Agreement, lambda: agreement(scores))

    def _geometry(self, judged: Sequence[JudgedSet], model: TunedModel, key: str) -> dict[str, Geometry]:
        """Measure the cloud of held-out question vectors before and after; an aside of the report as well."""
        from expertune.evaluate.geometry import geometry

        def make() -> dict[str, Geometry]:
            texts = sorted({query.text for item in judged for query in item.queries})
            encoders = self._base_and_tuned(model)
            return {name: geometry(encoder.encode_queries(texts)) for name, encoder in encoders.items()}

        return self._aside("geometry", key, dict[str, Geometry], make)

    def _publish(self, result: RunResult, agreement: Agreement | None, geometry: Mapping[str, Geometry]) -> None:
        """Write the folder a user looks at: model, report, results and resolved config."""
        from expertune.report import ReportInputs, write_index, write_report
        from expertune.report.card import write_card

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
        expanded = self._expansion(result.dataset)
        write_index(expanded.documents(result.dataset.documents) if expanded.questions else (), folder)
        inputs = ReportInputs(
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
            expanded=len(expanded.questions),
        )
        write_report(inputs, folder)
        write_card(inputs, published)

    # --- what the stages share -----------------------------------------------------------------------------------

    def _expansion(self, dataset: Dataset) -> Expansion:
        """Return which of the user's own questions stand before which answers: none, unless that is wanted."""
        return Expansion.of(dataset.questions, self.config.data.expand)

    @property
    def _base_name(self) -> str:
        """The name that the base has where it sits on the panel."""
        return PluginSpec(model=self.config.train.base).label

    def _base_expert(self) -> EmbeddingExpert:
        from expertune.models.encoders import embedding_expert

        return embedding_expert(self.config.train.base, offline=self.config.run.offline)

    def _base_and_tuned(self, model: TunedModel) -> dict[str, CachedEncoder]:
        from expertune.models.encoders import embedding_expert

        base, tuned = self._base_expert(), embedding_expert(str(model.folder))
        return {
            "base": self._encoder("base", base, base),
            "tuned": self._encoder("tuned", tuned, base if keeps_documents(model.mode) else tuned),
        }

    def _encoder(self, name: str, queries: EmbeddingExpert, documents: EmbeddingExpert) -> CachedEncoder:
        from expertune.models.encoders import CachedEncoder

        return CachedEncoder(name, queries=queries, documents=documents, cache=self.store.items, report=self.report)

    def _spread(
        self, load: Callable[..., tuple[Made, ...]], specs: Sequence[PluginSpec], made: Sequence[Made]
    ) -> AbstractContextManager[tuple[Made, ...]]:
        """Let plug-ins work where the config says; `load` makes the copies in other processes."""
        section, threads = self.config.run, self.config.run.threads or 1
        makers = [partial(_made_elsewhere, load, spec, threads, section.offline) for spec in specs]
        return ray.spread(made, makers, self.config.cluster, threads=threads)

    def _key(self, stage: str, *parts: Any) -> str:
        plain = [part.model_dump(mode="json") if hasattr(part, "model_dump") else part for part in parts]
        return fingerprint(VERSION, stage, *plain)

    def _aside(self, name: str, key: str, kind: type[Made], make: Callable[[], Made]) -> Made:
        artefact = self.store.obtain(name, key, lambda folder: artefacts.save(make(), folder))
        return artefacts.load(kind, artefact.folder)

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


def follow(config: Config) -> None:
    """Help another process, which runs this config, with its trainings; see processes.py."""
    from expertune.train import trainer

    _use_machine(config.run.threads, offline=config.run.offline)
    trainer.follow()


def _apart(dataset: Dataset, held_out: frozenset[str]) -> Dataset:
    """Leave out training questions that nearly repeat a held-out one, and say so."""
    kept = filters.apart(dataset, held_out)
    return _enough(kept, len(dataset.questions) - len(kept.questions), "nearly repeat a held-out one")


def _enough(kept: Dataset, copies: int, why: str) -> Dataset:
    """Return what is kept, and say how many went and why.

    Raises:
        DataError: fewer than two are left.
    """
    if copies:
        logger.warning("%d training question(s) %s: they are left out", copies, why)
    if len(kept.questions) < 2:
        message = f"{copies} of {copies + len(kept.questions)} training questions {why}, 2 must not"
        raise DataError(message, place=kept.name, hint="Hold out other questions, or add question-answer pairs.")
    return kept


def _held_out_texts(judged: Sequence[JudgedSet], held_out: frozenset[str]) -> tuple[str, ...]:
    """Return the held-out questions as people wrote them, or as they were normalised where no chosen set has them."""
    written = {normalise(query.text): query.text for item in judged for query in item.queries}
    return tuple(written.get(text, text) for text in sorted(held_out))


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


def _made_elsewhere(load: Callable[..., tuple[Made, ...]], spec: PluginSpec, threads: int, offline: bool) -> Made:
    """Make one plug-in in a process of its own."""
    _use_machine(threads, offline=offline)
    (made,) = load([spec], offline=offline)
    return made


def _use_machine(threads: int, *, offline: bool) -> None:
    """Set thread counts and the libraries' offline switches once, before the first model is loaded."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if threads:
        import torch

        torch.set_num_threads(threads)
