"""The order of the stages and what each one's result depends on; none of their work.

Dataset -> Questions -> Scores -> SoftLabels -> TunedModel -> Evaluation -> report
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from expertune import config, data, models
from expertune.config import Config, PluginSpec, keeps_documents
from expertune.data import HeldOut, expansion, leakage, log_choice
from expertune.data.columns import is_used
from expertune.data.expansion import Expansion
from expertune.data.inspection import read_by
from expertune.data.repeats import Repeats
from expertune.data.search_log import SearchLog, read_log
from expertune.data.wording import normalise
from expertune.errors import DataError, StoreError
from expertune.models import hardware, ray
from expertune.models.folders import RUN_CONFIG
from expertune.models.plugins import Plugin
from expertune.pipeline import artefacts, costs, preflight, prospect
from expertune.pipeline.forecast import Forecast
from expertune.pipeline.keeper import Keeper, Kept
from expertune.pipeline.store import Store, fingerprint
from expertune.records import (
    Agreement,
    Alternatives,
    BenchmarkScore,
    CrossValidation,
    Dataset,
    Evaluation,
    Geometry,
    JudgedSet,
    PanelDiagnostics,
    Progress,
    Provenance,
    Question,
    Questions,
    Report,
    Role,
    Scores,
    SimilarityChange,
    SoftLabels,
    Threshold,
    Timing,
    TunedModel,
    Unanswered,
    ignore_progress,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame

    from expertune.label.stage import Labeller
    from expertune.models.encoder import CachedEncoder
    from expertune.models.plugins import EmbeddingExpert
    from expertune.pipeline.alternatives import Model
    from expertune.report import FinishedRun
    from expertune.train.crossval import FoldResult
    from expertune.train.tuning import Tuner

Made = TypeVar("Made")
MadePlugin = TypeVar("MadePlugin", bound=Plugin)
logger = logging.getLogger(__name__)


READ_QUESTIONS = 3
"""Labelled questions of an answer that the panel reads before it, at most: more would push the answer out of what an
expert reads."""


CROSS_VALIDATION = "cross-validation"
"""Under this name the folds are kept and timed: a part of evaluation that tunes."""


# Score, label, evaluation and each fold ask, and to look takes a second for some hundred answers.
_repeats_of = lru_cache(maxsize=1)(Repeats.of)


def read_by_panel(config: Config, dataset: Dataset) -> Expansion:
    """Return which labelled questions the panel reads before which answers: at least those that the index holds."""
    most = READ_QUESTIONS if config.score.privileged else 0
    return Expansion.of(dataset.questions, max(most, config.data.expand))


class Stage(StrEnum):
    """The stages, in order."""

    LOAD = "load"
    AUGMENT = "augment"
    SCORE = "score"
    LABEL = "label"
    TRAIN = "train"
    EVALUATE = "evaluate"
    REPORT = "report"


@dataclass(frozen=True, slots=True, repr=False)
class RunResult:
    """What a run made, as far as it went: later stages are None."""

    folder: Path
    dataset: Dataset
    judged: tuple[JudgedSet, ...]
    timings: tuple[Timing, ...]
    questions: Questions | None = None
    scores: Scores | None = None
    labels: SoftLabels | None = None
    unanswered: Unanswered | None = None
    model: TunedModel | None = None
    evaluation: Evaluation | None = None

    def __repr__(self) -> str:
        """Say in a line what was decided and where it lies."""
        decision = self.evaluation.verdict.decision if self.evaluation else "not evaluated yet"
        return f"RunResult({self.dataset.name}: {decision}; {self.folder})"

    def _repr_html_(self) -> str:
        """Show the comparisons as a table in a notebook, the decision above it."""
        from html import escape

        table = self.evaluation.to_frame().to_html(index=False) if self.evaluation else ""
        return f"<p>{escape(repr(self))}</p>{table}"


@dataclass
class Run:
    """One run of one config over one store.

    Args:
        config: Everything that is wanted.
        report: Told of progress inside stages.
    """

    config: Config
    report: Report = ignore_progress

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
        kept = frame[[column for column in frame.columns if is_used(str(column), section)]]
        kept.to_json(file, orient="records", lines=True, force_ascii=False)
        moved = section.model_copy(update={"path": str(file)})
        return cls(config.model_copy(update={"data": moved}), report)

    @cached_property
    def store(self) -> Store:
        """The store of this run: `run.store`, or a folder inside the output."""
        section = self.config.run
        return Store(section.store or section.out / "store")

    @cached_property
    def _forecast(self) -> Forecast:
        return Forecast(self.report)

    @cached_property
    def _keeper(self) -> Keeper:
        return Keeper(self.store, _size)

    def execute(self, *, until: Stage = Stage.REPORT) -> RunResult:
        """Run every stage up to `until`, reusing what the store has.

        Raises:
            ExpertuneError: bad input, a missing model, a broken plug-in; everything finished before is kept.
        """
        hardware.use_threads(self.config.run.threads)
        self._keeper.timings.clear()
        for stage, result in self._stages():
            self._forecast.end(stage)
            if stage == Stage.LOAD:
                self._forecast.expect(self._expected(result, until))
            if stage == until:
                break
        return replace(result, timings=tuple(self._keeper.timings))

    def _expected(self, loaded: RunResult, until: Stage) -> list[costs.Cost]:
        """Return what the stages up to `until` are expected to cost."""
        stages = list(Stage)[: list(Stage).index(until) + 1]
        names = [*stages, CROSS_VALIDATION] if Stage.EVALUATE in stages else stages
        return [cost for cost in costs.estimate(self.config, loaded.dataset, loaded.judged) if cost.stage in names]

    def compare(self, tuned: str = "") -> Alternatives:
        """Measure ways to search that tune nothing, beside a tuned model where there is one already.

        Nothing is written but vectors of texts, which `execute` then finds in the store.

        Args:
            tuned: Folder of a run, or folder or name of a model, that the others are compared with; empty: the base.

        Raises:
            ExpertuneError: bad input, a missing model, or a tuned one and no held-out questions to judge it by.
        """
        from expertune.pipeline.alternatives import tuned_model

        hardware.use_threads(self.config.run.threads)
        preflight.require_models(self.config)
        cache = self.store.items
        model = tuned_model(tuned, self._base_expert, cache=cache, report=self.report) if tuned else None
        loaded, labelled = self._load()
        dataset = self._apart_by_meaning(labelled, loaded.held_out).value
        judged = [item for item in loaded.judged if item.role is Role.DOMAIN]
        if model and not judged:
            message = "there are no held-out questions to judge a tuned model by: it has learned the labelled ones"
            raise DataError(message, place=dataset.name, hint="Hold some out: mark rows with split = heldout.")
        return self._beside(dataset, dataset.questions, judged, model)

    def _stages(self) -> Iterator[tuple[Stage, RunResult]]:
        """Yield after each stage what has been made so far; the next stage begins when the next item is asked for."""
        loaded, dataset = self._load()
        judged, held_out = loaded.judged, loaded.held_out
        log = self._log(dataset.value, held_out)
        result = RunResult(self.config.run.out, dataset.value, judged, ())
        yield Stage.LOAD, result

        # All that is missing is told now, not after the minutes that the stages before it take.
        preflight.require_models(self.config)
        ray.require(self.config.cluster)
        dataset = self._apart_by_meaning(dataset, held_out)
        questions = self._counted_out(self._augment(dataset, held_out), held_out)
        questions = self._with_log(questions, log, held_out)
        result = replace(result, dataset=dataset.value, questions=questions.value)
        yield Stage.AUGMENT, result

        scores = self._score(dataset.value, questions)
        result = replace(result, scores=scores.value)
        yield Stage.SCORE, result

        questions, scores = self._round_trip(dataset.value, questions, scores)
        labels = self._label(dataset.value, questions.value, scores)
        unanswered = self._unanswered(dataset.value, questions.value, scores.value, labels.value)
        result = replace(
            result, questions=questions.value, scores=scores.value, labels=labels.value, unanswered=unanswered
        )
        yield Stage.LABEL, result

        model = self._train(dataset.value, questions.value, scores.value, labels)
        result = replace(result, model=model.value)
        yield Stage.TRAIN, result

        encoders = self._base_and_tuned(model.value)
        agreement = self._agreement(scores.value, model.key) if len(scores.value.experts) > 1 else None
        diagnostics = self._diagnostics(
            dataset.value, questions.value, scores.value, labels.value, agreement, model.key
        )
        own = None
        if not any(item.role is Role.DOMAIN for item in judged):
            own = self.cross_validate(dataset.value, questions.value, scores.value, model.key)
        self._forecast.end(CROSS_VALIDATION)
        evaluation = self._evaluate(dataset.value, loaded, model, encoders, diagnostics, own)
        rivals = self._alternatives(dataset.value, questions.value, loaded, model, encoders)
        evaluation = replace(evaluation, value=replace(evaluation.value, alternatives=rivals))
        result = replace(result, evaluation=evaluation.value)
        yield Stage.EVALUATE, result

        from expertune.report import FinishedRun

        started = time.perf_counter()
        expansion = self._indexed(dataset.value)
        finished = FinishedRun(
            config_toml=config.to_toml(config.seen_from(self.config, self.config.run.out)),
            dataset=dataset.value,
            questions=questions.value,
            scores=scores.value,
            labels=labels.value,
            model=model.value,
            evaluation=evaluation.value,
            judged=judged,
            timings=tuple(self._keeper.timings),
            agreement=agreement,
            fit=diagnostics.fit,
            geometry=self._geometry(judged, encoders, evaluation.key),
            index=expansion.documents(dataset.value.documents) if expansion.questions else (),
            texts=preflight.look_at(self.config, dataset.value, loaded.texts),
            unanswered=unanswered,
            threshold=self._threshold(dataset.value, loaded, encoders, unanswered, evaluation.key),
            notes=tuple(loaded.notes),
        )
        self._publish(finished)
        self._keeper.done(Stage.REPORT, started)
        yield Stage.REPORT, result

    # --- one method a stage: its key, its inputs, its record ------------------------------------------------------

    def _load(self) -> tuple[data.Loaded, Kept[Dataset]]:
        """Read everything; the data set comes without questions that nearly repeat a held-out one."""
        started = time.perf_counter()
        loaded = data.load(self.config.data, offline=self.config.run.offline)
        for note in loaded.notes:
            logger.info("data: %s", note)
        logger.info("data: %s", prospect.of(loaded.train, loaded.judged))
        dataset = loaded.held_out.apart(loaded.train)
        held_out = sorted(loaded.held_out.wording)
        key = self._keeper.key(Stage.LOAD, loaded.fingerprint, held_out, leakage.WORD_SIMILARITY)
        self._keeper.done(Stage.LOAD, started, dataset)
        return loaded, Kept(dataset, key)

    def _augment(self, dataset: Kept[Dataset], held_out: HeldOut) -> Kept[Questions]:
        from expertune.augment.stage import augment, load_generators

        section, seed = self.config.augment, self.config.run.seed
        if section.questions:
            return self._edited(dataset, held_out)
        specs = section.generators if section.per_answer else ()
        generators = load_generators(specs, offline=self.config.run.offline)
        fingerprints = [generator.fingerprint for generator in generators]
        texts = [document.text for document in dataset.value.documents]
        read = read_by(self.config.train.base, texts) if section.spans else texts
        # Another base makes other questions only where it reads less of an answer.
        cut = [[row, len(part)] for row, (part, text) in enumerate(zip(read, texts, strict=True)) if part != text]
        key = self._keeper.key(Stage.AUGMENT, dataset.key, section, seed, fingerprints, *([cut] if cut else []))

        def make() -> Questions:
            with self._spread(load_generators, specs, generators) as spread:
                return augment(
                    dataset.value,
                    section,
                    spread,
                    held_out=held_out,
                    cache=self.store.items,
                    report=self._forecast,
                    seed=seed,
                    read=read,
                )

        return self._keeper.stage(Stage.AUGMENT, key, Questions, make)

    def _edited(self, dataset: Kept[Dataset], held_out: HeldOut) -> Kept[Questions]:
        """Take the questions that a person edited instead of making any."""
        from expertune.augment.edited import read_edited

        items, repeats = held_out.drop(read_edited(Path(self.config.augment.questions), dataset.value))
        key = self._keeper.key(Stage.AUGMENT, "edited", dataset.key, [asdict(item) for item in items])

        def make() -> Questions:
            return Questions((*dataset.value.questions, *items), {"held-out": repeats} if repeats else {})

        return self._keeper.stage(Stage.AUGMENT, key, Questions, make)

    def _log(self, dataset: Dataset, held_out: HeldOut) -> SearchLog:
        """Read what users asked, without what is labelled or held out; a run without a log has an empty one.

        Hard labels learn nothing from a question that nobody labelled, so they are given none.
        """
        if not self.config.data.log or self.config.label.strategy == "hard":
            return SearchLog(())
        answers = {document.id: document.text for document in dataset.documents}
        log = read_log([Path(path) for path in self.config.data.log], answers=answers)
        log = log.without(held_out.repeated_by(log.texts), "held-out")
        labelled = {normalise(question.text) for question in dataset.questions}
        log = log.without([normalise(text) in labelled for text in log.texts], "labelled question")
        return log_choice.pool(log, seed=self.config.run.seed)

    def _with_log(self, questions: Kept[Questions], log: SearchLog, held_out: HeldOut) -> Kept[Questions]:
        """Add the questions of the log, chosen for spread where there are too many."""
        if not log.lines:
            return questions
        log = log.without(self._repeats(log.texts, held_out), leakage.RULE)
        if len(log.questions) > log_choice.MOST_QUESTIONS:
            log = log_choice.choose(log, self._base.encode_queries(log.texts), seed=self.config.run.seed)
        for note in log.notes:
            logger.log(logging.INFO if log.questions else logging.WARNING, "log: %s", note)
        asked = tuple(
            Question(item.text, (), Provenance.LOG, count=item.count, clicks=item.clicks) for item in log.questions
        )
        removed = {**questions.value.removed, **{f"log: {rule}": count for rule, count in log.removed.items()}}
        whole = replace(questions.value, items=(*questions.value.items, *asked), removed=removed)
        clicks = {item.text: item.clicks for item in asked if item.clicks}
        return Kept(whole, self._keeper.key("log", questions.key, log.texts, *([clicks] if clicks else [])))

    def _apart_by_meaning(self, dataset: Kept[Dataset], held_out: HeldOut) -> Kept[Dataset]:
        """Leave out labelled questions that mean the same as a held-out one, and say so."""
        copies = self._repeats([question.text for question in dataset.value.questions], held_out)
        if not any(copies):
            return dataset
        return Kept(leakage.without(dataset.value, copies), self._keeper.key("leaks", dataset.key, copies))

    def _counted_out(self, questions: Kept[Questions], held_out: HeldOut) -> Kept[Questions]:
        """Leave out synthetic questions that mean the same as a held-out one; they are counted like other rules'."""
        copies = self._repeats([question.text for question in questions.value.items], held_out)
        # The key changes only where something goes: another base does not have everything scored again.
        if not any(copies):
            return questions
        return Kept(leakage.counted_out(questions.value, copies), self._keeper.key("leaks", questions.key, copies))

    def _repeats(self, texts: Sequence[str], held_out: HeldOut) -> tuple[bool, ...]:
        """Tell which texts the base model can hardly tell from a held-out question; kept like an artefact."""
        if not held_out.wording:
            return (False,) * len(texts)
        settings = (self._base_expert.fingerprint, leakage.MEANING_SIMILARITY)
        key = self._keeper.key("leaks", *settings, texts, held_out.texts)

        def make() -> tuple[bool, ...]:
            return held_out.meant_by(texts, self._base.encode_queries, reference=data.reference_sentences())

        return self._keeper.aside("leaks", key, tuple[bool, ...], make)

    def _score(self, dataset: Dataset, questions: Kept[Questions]) -> Kept[Scores]:
        from expertune.score.stage import load_experts, score

        specs = self.config.score.experts
        experts = load_experts(specs, offline=self.config.run.offline)
        key = self._keeper.key(Stage.SCORE, questions.key, [expert.fingerprint for expert in experts])

        def of(answers: Dataset) -> Scores:
            with self._spread(load_experts, specs, experts) as spread:
                return score(answers, questions.value, spread, cache=self.store.items, report=self._forecast)

        read, repeats = self._read(dataset), _repeats_of(dataset)
        if not read.questions and not repeats.stripped:
            return self._keeper.stage(Stage.SCORE, key, Scores, lambda: of(dataset))
        if repeats.stripped:
            key = self._keeper.key(Stage.SCORE, "stripped", sorted(repeats.stripped.items()), key)
        stripped = replace(dataset, documents=repeats.documents(dataset.documents))
        expanded = replace(dataset, documents=read.documents(dataset.documents))

        def make() -> Scores:
            plain = self._keeper.aside(Stage.SCORE, key, Scores, lambda: of(stripped))
            return expansion.joined(plain, of(expanded), questions.value.labelled)

        expanded_key = self._keeper.key(Stage.SCORE, "expanded", sorted(read.questions.items()), key)
        return self._keeper.stage(Stage.SCORE, expanded_key, Scores, make)

    def _round_trip(
        self, dataset: Dataset, questions: Kept[Questions], scores: Kept[Scores]
    ) -> tuple[Kept[Questions], Kept[Scores]]:
        """Leave out synthetic questions whose answer the panel ranks too low; `label.round_trip` 0 leaves out none."""
        from expertune.label.round_trip import round_trip

        most_rank = self.config.label.round_trip
        if not most_rank:
            return questions, scores
        kept = np.asarray(round_trip(questions.value, dataset, scores.value, most_rank=most_rank))
        items = tuple(item for item, keep in zip(questions.value.items, kept, strict=True) if keep)
        removed = {**questions.value.removed, "round trip": int((~kept).sum())}
        key = self._keeper.key("round trip", scores.key, most_rank)
        return Kept(replace(questions.value, items=items, removed=removed), key), Kept(scores.value.of(kept), key)

    def _label(self, dataset: Dataset, questions: Questions, scores: Kept[Scores]) -> Kept[SoftLabels]:
        from expertune.label import strategies
        from expertune.label.stage import label

        section, base, listwise = self.config.label, self._base_name, self.config.train.listwise
        version = [strategies.VERSION] if section.strategy in strategies.SIMILARITIES else []
        key = self._keeper.key(Stage.LABEL, scores.key, section, base, listwise, *version)

        def make() -> SoftLabels:
            return label(dataset, questions, scores.value, section, base=base, listwise=listwise)

        return self._keeper.stage(Stage.LABEL, key, SoftLabels, make)

    def _unanswered(
        self, dataset: Dataset, questions: Questions, scores: Scores, labels: SoftLabels
    ) -> Unanswered | None:
        """Find what users ask in the search log and no answer fits."""
        from expertune.label.unanswered import find

        encode, reference = self._base.encode_queries, data.reference_sentences()
        return find(dataset, questions, scores, labels.panel, encode, reference=reference)

    def _train(
        self, dataset: Dataset, questions: Questions, scores: Scores, labels: Kept[SoftLabels]
    ) -> Kept[TunedModel]:
        from expertune.train import trainer, tuning

        section, seed = self.config.train, self.config.run.seed
        tolerance = self.config.evaluate.general_tolerance
        settings = section.model_dump(exclude={"reference_texts", "report_to"})
        # "auto" is one thing on this machine and another on the next: the key holds what is computed in.
        settings["precision"] = trainer.use_bfloat16(section.precision)
        base, reference = self._base_expert.fingerprint, self._reference
        indexed = sorted(self._indexed(dataset).questions.items())
        key = self._keeper.key(
            Stage.TRAIN, labels.key, tuning.VERSION, settings, seed, tolerance, base, reference, indexed
        )

        def make(folder: Path) -> None:
            model = tuning.tune_and_choose(
                self._tuner(),
                self._labeller(dataset, questions, scores),
                labels.value,
                data.load_general_dev_set(),
                folder / "model",
                scratch=self.store.scratch(Stage.TRAIN, key),
                general_tolerance=tolerance,
            )
            artefacts.save(model, folder)

        model, folder = self._keeper.stage_in_folder(Stage.TRAIN, key, TunedModel, make)
        return Kept(model.at(folder / "model"), key)

    def cross_validate(
        self, dataset: Dataset, questions: Questions, scores: Scores, train_key: str
    ) -> Kept[CrossValidation] | None:
        """Estimate what tuning gains from the labelled questions alone; each fold is kept in the store.

        None where too few answers have a labelled question.
        """
        from expertune.train import crossval

        if not crossval.possible(questions.items):
            return None
        seed = self.config.run.seed
        parts = crossval.left_out(questions, seed=seed)
        results, keys = [], []
        for number, rows in enumerate(parts, start=1):
            logger.info("cross-validation: fold %d of %d, %d questions left out", number, len(parts), len(rows))
            key = self._keeper.key(CROSS_VALIDATION, train_key, crossval.VERSION, rows.tolist())
            report = _of_fold(self._forecast, number)
            make = partial(self._measure_fold, dataset, questions, scores, rows, key, report)
            results.append(self._keeper.stage(CROSS_VALIDATION, key, crossval.FoldResult, make).value)
            keys.append(key)
        return Kept(crossval.pooled(results, seed=seed), self._keeper.key(CROSS_VALIDATION, keys))

    def _measure_fold(
        self,
        dataset: Dataset,
        questions: Questions,
        scores: Scores,
        rows: NDArray[np.int64],
        key: str,
        report: Report,
    ) -> FoldResult:
        from expertune.train import crossval

        tuner = replace(self._tuner(), report=report)
        copies = crossval.copies(questions, rows, tuner, data.reference_sentences())
        return crossval.measure_fold(
            tuner,
            self._labeller(dataset, questions, scores),
            crossval.fold(questions, rows, copies),
            data.load_general_dev_set(),
            scratch=self.store.scratch(CROSS_VALIDATION, key),
            general_tolerance=self.config.evaluate.general_tolerance,
        )

    def _evaluate(
        self,
        dataset: Dataset,
        loaded: data.Loaded,
        model: Kept[TunedModel],
        encoders: Mapping[str, CachedEncoder],
        diagnostics: PanelDiagnostics,
        own: Kept[CrossValidation] | None,
    ) -> Kept[Evaluation]:
        from expertune.evaluate import verdict
        from expertune.evaluate.stage import evaluate

        seed, tolerance = self.config.run.seed, self.config.evaluate.general_tolerance
        key = self._keeper.key(
            Stage.EVALUATE,
            verdict.VERSION,
            model.key,
            seed,
            tolerance,
            loaded.judged_fingerprint,
            asdict(diagnostics),
        )
        if own is not None:
            key = self._keeper.key(Stage.EVALUATE, key, own.key)

        def make() -> Evaluation:
            plain = [item for item in loaded.judged if item.role is Role.DOMAIN] if self.config.data.expand else []
            sets = [self._indexed(dataset).judged(item) for item in loaded.judged]
            return evaluate(
                encoders,
                sets,
                self._forecast,
                tolerance=tolerance,
                seed=seed,
                panel=diagnostics,
                plain=plain,
                own=own.value if own is not None else None,
            )

        evaluation = self._keeper.stage(Stage.EVALUATE, key, Evaluation, make)
        similarities = tuple(self._similarity(path, encoders, model.key) for path in self.config.evaluate.sts)
        benchmarks = self._benchmarks(encoders, model.key)
        return replace(evaluation, value=replace(evaluation.value, similarities=similarities, benchmarks=benchmarks))

    def _alternatives(
        self,
        dataset: Dataset,
        questions: Questions,
        loaded: data.Loaded,
        model: Kept[TunedModel],
        encoders: Mapping[str, CachedEncoder],
    ) -> Alternatives | None:
        """Measure what a user could take instead on the same held-out questions; None without a domain set."""
        from expertune.pipeline.alternatives import Model

        judged = [item for item in loaded.judged if item.role is Role.DOMAIN]
        if not judged:
            return None
        key = self._keeper.key("alternatives", model.key, self.config.run.seed, loaded.judged_fingerprint)

        def make() -> Alternatives:
            size, kept = models.megabytes(str(model.value.folder)), keeps_documents(model.value.mode)
            return self._beside(dataset, questions.items, judged, Model("tuned", encoders["tuned"], size, kept))

        return self._keeper.stage("alternatives", key, Alternatives, make).value

    def _beside(
        self, dataset: Dataset, questions: Sequence[Question], judged: Sequence[JudgedSet], tuned: Model | None
    ) -> Alternatives:
        """Measure base, panel and search by words beside the tuned model, or beside the base where there is none.

        Without a judged set it is the labelled questions that are searched, each in an index without it.
        """
        from expertune.pipeline.alternatives import Model, Panel
        from expertune.pipeline.ways import measure

        asked, answers = ([item.text for item in items] for items in (questions, dataset.documents))
        panel = Panel.of(self.config, asked, answers, cache=self.store.items, report=self.report)
        base = Model(self._base_name, self._base, models.megabytes(self.config.train.base), kept=True)
        expand, seed = self.config.data.expand, self.config.run.seed
        return measure(base, tuned, panel, dataset, judged, self.report, expand=expand, seed=seed)

    def _similarity(self, path: str, encoders: Mapping[str, CachedEncoder], model_key: str) -> SimilarityChange:
        """Compare base and tuned on one file of scored sentence pairs."""
        from expertune.evaluate.sts import similarity_change

        pairs = data.read_scored_pairs(Path(path))
        seed = self.config.run.seed
        key = self._keeper.key("sts", model_key, seed, asdict(pairs))

        def make() -> SimilarityChange:
            return similarity_change(pairs, encoders["base"], encoders["tuned"], seed=seed)

        return self._keeper.aside("sts", key, SimilarityChange, make)

    def _benchmarks(self, encoders: Mapping[str, CachedEncoder], model_key: str) -> tuple[BenchmarkScore, ...]:
        """Run base and tuned through mteb, and publish what it writes in its own format."""
        from expertune.evaluate import benchmarks

        tasks = benchmarks.find(self.config.evaluate.mteb, offline=self.config.run.offline)
        if not tasks:
            return ()
        published = self.config.run.out / "mteb"
        shutil.rmtree(published, ignore_errors=True)
        revisions = {"base": self._base_expert.fingerprint, "tuned": model_key}
        scores: list[BenchmarkScore] = []
        for task in tasks:
            for name, encoder in encoders.items():
                run = partial(benchmarks.run, task, encoder, name=name, fingerprint=revisions[name])
                key = self._keeper.key("mteb", task.fingerprint, task.task.metadata.name, name, revisions[name])
                artefact = self.store.obtain("mteb", key, run)
                shutil.copytree(artefact.folder / "results", published / "results", dirs_exist_ok=True)
                scores += benchmarks.scores(artefact.folder, name)
        return tuple(scores)

    def _diagnostics(
        self,
        dataset: Dataset,
        questions: Questions,
        scores: Scores,
        labels: SoftLabels,
        agreement: Agreement | None,
        key: str,
    ) -> PanelDiagnostics:
        """Look at the labels that were tuned on; an aside of the verdict, kept like an artefact."""
        from expertune.label.diagnostics import VERSION, panel_evidence

        def make() -> PanelDiagnostics:
            labelled = [question.text for question in questions.items if question.labelled]
            # Labelled questions are not looked for in texts that repeat them; neither were they by the experts.
            answers = [document.text for document in _repeats_of(dataset).documents(dataset.documents)]
            vectors = (self._base.encode_queries(labelled), self._base.encode_documents(answers))
            return panel_evidence(
                dataset,
                questions,
                scores,
                labels,
                agreement,
                base=self._base_name,
                base_vectors=vectors,
                calibration=self.config.label.calibration,
            )

        key = self._keeper.key("diagnostics", key, VERSION)
        return self._keeper.aside("diagnostics", key, PanelDiagnostics, make)

    def _agreement(self, scores: Scores, key: str) -> Agreement:
        """Measure how far the panel agrees; an aside of verdict and report as well."""
        from expertune.score.agreement import agreement

        return self._keeper.aside("agreement", key, Agreement, lambda: agreement(scores))

    def _geometry(
        self, judged: Sequence[JudgedSet], encoders: Mapping[str, CachedEncoder], key: str
    ) -> dict[str, Geometry]:
        """Measure the cloud of held-out question vectors before and after; an aside of the report as well."""
        from expertune.evaluate.geometry import geometry

        def make() -> dict[str, Geometry]:
            texts = sorted({query.text for item in judged for query in item.queries})
            return {name: geometry(encoder.encode_queries(texts)) for name, encoder in encoders.items()}

        return self._keeper.aside("geometry", key, dict[str, Geometry], make)

    def _threshold(
        self,
        dataset: Dataset,
        loaded: data.Loaded,
        encoders: Mapping[str, CachedEncoder],
        unanswered: Unanswered | None,
        key: str,
    ) -> Threshold | None:
        """Find what score of the tuned model means an answer; an aside of the report as well."""
        from expertune.evaluate.threshold import threshold

        groups = [group.questions for group in unanswered.groups] if unanswered else []
        sets = [self._indexed(dataset).judged(item) for item in loaded.judged if item.role is Role.DOMAIN]
        if not sets:
            return None
        key = self._keeper.key("threshold", key, groups, loaded.unanswered)
        return self._keeper.aside(
            "threshold", key, Threshold, lambda: threshold(encoders["tuned"], sets, groups, loaded.unanswered)
        )

    def _publish(self, finished: FinishedRun) -> None:
        """Write the folder a user looks at: model, report, results and resolved config.

        Raises:
            StoreError: it cannot be written.
        """
        from expertune.report import write_card, write_report
        from expertune.report.questions import write_questions

        folder = self.config.run.out
        try:
            with self.store.alone(Stage.REPORT, fingerprint(str(folder.resolve()))):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / RUN_CONFIG).write_text(finished.config_toml, encoding="utf-8")
                shutil.rmtree(folder / "model", ignore_errors=True)
                shutil.copytree(finished.model.folder, folder / "model")
                write_report(finished, folder)
                write_questions(finished.dataset, finished.questions, finished.labels, folder)
                write_card(finished, folder / "model")
        except OSError as error:
            raise StoreError(
                f"the results cannot be written ({error})",
                place=str(folder),
                hint="Free some space or name another folder with run.out; everything finished before is kept.",
            ) from error

    # --- what the stages share -----------------------------------------------------------------------------------

    def _read(self, dataset: Dataset) -> Expansion:
        """Return which labelled questions the panel reads before which answers.

        The panel may read more than the index holds: then a question that nobody labelled finds its answer through one
        that somebody did.
        """
        return read_by_panel(self.config, dataset)

    def _indexed(self, dataset: Dataset) -> Expansion:
        """Return which labelled questions stand before which answers in the index: none, unless `data.expand` asks."""
        return Expansion.of(dataset.questions, self.config.data.expand)

    @property
    def _reference(self) -> tuple[str, ...]:
        """The sentences that tuning holds in place."""
        section = self.config.train
        return tuple(data.reference_sentences(section.reference_texts)) if section.reference_weight else ()

    def _tuner(self) -> Tuner:
        from expertune.train.tuning import Tuner

        section = self.config.train
        source = models.resolve(section.base, offline=self.config.run.offline)
        return Tuner(source, self._base, section, self._reference, self.config.run.seed, self._forecast)

    def _labeller(self, dataset: Dataset, questions: Questions, scores: Scores) -> Labeller:
        from expertune.label.stage import Labeller

        return Labeller(
            dataset,
            questions,
            scores,
            self.config.label,
            self._base_name,
            self.config.train.listwise,
            self._read(dataset),
            self._indexed(dataset),
            _repeats_of(dataset),
        )

    @property
    def _base_name(self) -> str:
        """The name that the base has where it sits on the panel."""
        return PluginSpec(model=self.config.train.base).label

    @cached_property
    def _base_expert(self) -> EmbeddingExpert:
        from expertune.models.encoder import sentence_encoder

        return sentence_encoder(self.config.train.base, offline=self.config.run.offline)

    @cached_property
    def _base(self) -> CachedEncoder:
        return self._encoder("base", self._base_expert, self._base_expert)

    def _base_and_tuned(self, model: TunedModel) -> dict[str, CachedEncoder]:
        from expertune.models.encoder import sentence_encoder

        tuned = sentence_encoder(str(model.folder))
        documents = self._base_expert if keeps_documents(model.mode) else tuned
        return {"base": self._base, "tuned": self._encoder("tuned", tuned, documents)}

    def _encoder(self, name: str, queries: EmbeddingExpert, documents: EmbeddingExpert) -> CachedEncoder:
        from expertune.models.encoder import CachedEncoder

        return CachedEncoder(name, queries, documents, cache=self.store.items, report=self._forecast)

    def _spread(
        self, load: Callable[..., tuple[MadePlugin, ...]], specs: Sequence[PluginSpec], made: Sequence[MadePlugin]
    ) -> AbstractContextManager[tuple[MadePlugin, ...]]:
        """Let plug-ins work where the config says; `load` makes the copies in other processes."""
        section, threads = self.config.run, self.config.run.threads or 1
        makers = [partial(_made_elsewhere, load, spec, threads, section.offline) for spec in specs]
        return ray.spread(made, makers, self.config.cluster, threads=threads)


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
            return f"{made.steps} steps, interpolation weight {made.selection.interpolation_weight:g}"
        case Evaluation():
            return f"{len(made.measurements)} measurements"
        case Alternatives():
            return f"{len(made.rows)} ways to search"
    return ""


def _of_fold(report: Report, number: int) -> Report:
    """Return what tells of the two tunings of one fold as of one piece of work."""
    ended, last = 0, 0

    def tell(event: Progress) -> None:
        nonlocal ended, last
        # A count of steps that falls back says that the second tuning has begun.
        ended, last = ended or event.total * (event.done < last), event.done
        report(Progress(CROSS_VALIDATION, ended + event.done, 2 * event.total, f"fold {number}"))

    return tell


def _made_elsewhere(
    load: Callable[..., tuple[MadePlugin, ...]], spec: PluginSpec, threads: int, offline: bool
) -> MadePlugin:
    """Make one plug-in in a process of its own."""
    hardware.use_machine(threads, offline=offline)
    (made,) = load([spec], offline=offline)
    return made
