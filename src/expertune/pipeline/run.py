"""The order of the stages; none of their work.

Dataset -> Questions -> Scores -> SoftLabels -> TunedModel -> Evaluation -> report
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from expertune import config, data
from expertune.config import Config
from expertune.data import leakage
from expertune.data.columns import is_used
from expertune.errors import DataError, StoreError
from expertune.models import hardware, ray
from expertune.pipeline import costs, preflight, prospect
from expertune.pipeline.context import CROSS_VALIDATION, Context
from expertune.pipeline.keeper import Kept
from expertune.pipeline.publish import publish, require_own, write_apart
from expertune.pipeline.stages import Stage
from expertune.pipeline.stages.asides import agreement_of, diagnosed, geometry_of, threshold_of
from expertune.pipeline.stages.evaluation import alternatives_to, benchmarked, evaluated, set_beside
from expertune.pipeline.stages.labels import find_unanswered, found_again, labelled, scored
from expertune.pipeline.stages.questions import (
    apart_by_meaning,
    augmented,
    counted_out,
    read_searches,
    with_searches,
)
from expertune.pipeline.stages.training import cross_validated, trained
from expertune.pipeline.store import Store, fingerprint
from expertune.records import (
    Alternatives,
    Dataset,
    Evaluation,
    JudgedSet,
    Questions,
    Report,
    Role,
    Scores,
    SoftLabels,
    Timing,
    TunedModel,
    Unanswered,
    ignore_progress,
)

if TYPE_CHECKING:
    from pandas import DataFrame

    from expertune.report import FinishedRun

logger = logging.getLogger(__name__)
__all__ = ["Run", "RunResult", "Stage"]


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

    @cached_property
    def context(self) -> Context:
        """What the parts of this run share."""
        return Context(self.config, self.report)

    @property
    def store(self) -> Store:
        """The store of this run: `run.store`, or a folder inside the output."""
        return self.context.store

    @classmethod
    def from_frame(cls, frame: DataFrame, config: Config, *, report: Report = ignore_progress) -> Run:
        """Run on the rows of a data frame with the columns that `config.data` names.

        They are written into `data` in the output folder, so that the resolved config can run again.

        Raises:
            DataError: a column is missing or there twice, a cell is empty, or there are too few questions or answers.
            StoreError: the output folder cannot be written.
        """
        section = config.data
        data.load_frame(frame, section)
        kept = frame[[column for column in frame.columns if is_used(str(column), section)]]
        rows = kept.to_json(orient="records", lines=True, force_ascii=False)
        file = write_apart(config.run.out / "data", "frame.jsonl", rows)
        moved = section.model_copy(update={"path": str(file)})
        return cls(config.model_copy(update={"data": moved}), report)

    def execute(self, *, until: Stage = Stage.REPORT) -> RunResult:
        """Run every stage up to `until`, reusing what the store has.

        Raises:
            ConfigError: the report would replace what no run wrote.
            ExpertuneError: bad input, a missing model, a broken plug-in; everything finished before is kept.
        """
        if until == Stage.REPORT:
            require_own(self.config.run.out)
        hardware.use_threads(self.config.run.threads)
        self.context.keeper.timings.clear()
        for stage, made in self._stages(until):
            self.context.forecast.end(stage)
            result = replace(made, timings=tuple(self.context.keeper.timings))
            if stage == until:
                break
        return result

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
        model = tuned_model(tuned, self.context.base_expert, cache=cache, report=self.report) if tuned else None
        loaded, known = self._load()
        dataset = apart_by_meaning(self.context, known, loaded.held_out).value
        judged = [item for item in loaded.judged if item.role is Role.DOMAIN]
        if model and not judged:
            message = "there are no held-out questions to judge a tuned model by: it has learned the labelled ones"
            raise DataError(message, place=dataset.name, hint="Hold some out: mark rows with split = heldout.")
        return set_beside(self.context, dataset, dataset.questions, judged, model)

    def _stages(self, until: Stage) -> Iterator[tuple[Stage, RunResult]]:
        """Yield after each stage what has been made so far; the next stage begins when the next item is asked for."""
        context = self.context
        loaded, dataset = self._load()
        judged, held_out = loaded.judged, loaded.held_out
        log = read_searches(context, dataset.value, loaded)
        result = RunResult(self.config.run.out, dataset.value, judged, ())
        yield Stage.LOAD, result

        priced = costs.estimate(self.config, dataset.value, judged, log.texts)
        context.forecast.expect([cost for cost in priced if cost.stage in _up_to(until)])
        # All that is missing is told now, not after the minutes that the stages before it take.
        preflight.require_models(self.config)
        ray.require(self.config.cluster)
        dataset = apart_by_meaning(context, dataset, held_out)
        questions = counted_out(context, augmented(context, dataset, held_out), held_out)
        questions = with_searches(context, questions, log, held_out)
        result = replace(result, dataset=dataset.value, questions=questions.value)
        yield Stage.AUGMENT, result

        scores = scored(context, dataset.value, questions)
        result = replace(result, scores=scores.value)
        yield Stage.SCORE, result

        questions, scores = found_again(context, dataset.value, questions, scores)
        labels = labelled(context, dataset.value, questions.value, scores)
        unanswered = find_unanswered(context, dataset.value, questions.value, scores.value, labels.value)
        result = replace(
            result, questions=questions.value, scores=scores.value, labels=labels.value, unanswered=unanswered
        )
        yield Stage.LABEL, result

        model = trained(context, dataset.value, questions.value, scores.value, labels)
        result = replace(result, model=model.value)
        yield Stage.TRAIN, result

        encoders = context.base_and_tuned(model.value)
        agreement = agreement_of(context, scores.value, model.key) if len(scores.value.experts) > 1 else None
        diagnostics = diagnosed(
            context, dataset.value, questions.value, scores.value, labels.value, agreement, model.key
        )
        own = None
        if not any(item.role is Role.DOMAIN for item in judged):
            own = cross_validated(context, dataset.value, questions.value, scores.value, model.key)
        context.forecast.end(CROSS_VALIDATION)
        evaluation = evaluated(context, dataset.value, loaded, model, encoders, diagnostics, own)
        benchmarks, folders = benchmarked(context, encoders, model.key)
        rivals = alternatives_to(context, dataset.value, questions.value, loaded, model, encoders)
        evaluation = replace(evaluation, value=replace(evaluation.value, benchmarks=benchmarks, alternatives=rivals))
        result = replace(result, evaluation=evaluation.value)
        yield Stage.EVALUATE, result

        from expertune.report import FinishedRun
        from expertune.train import crossval

        left_out = [crossval.asked(own.value, dataset.value, questions.value)] if own else []
        started = time.perf_counter()
        expansion = context.indexed(dataset.value)
        finished = FinishedRun(
            config_toml=config.to_toml(config.seen_from(self.config, self.config.run.out)),
            dataset=dataset.value,
            questions=questions.value,
            scores=scores.value,
            labels=labels.value,
            model=model.value,
            evaluation=evaluation.value,
            judged=(*judged, *left_out),
            timings=tuple(context.keeper.timings),
            agreement=agreement,
            fit=diagnostics.fit,
            geometry=geometry_of(context, judged, encoders, evaluation.key),
            index=expansion.documents(dataset.value.documents) if expansion.questions else (),
            texts=preflight.look_at(self.config, dataset.value, loaded.texts),
            unanswered=unanswered,
            threshold=threshold_of(context, dataset.value, loaded, encoders, unanswered, evaluation.key),
            notes=tuple(loaded.notes),
        )
        self._publish(finished, folders)
        context.keeper.done(Stage.REPORT, started)
        yield Stage.REPORT, result

    def _load(self) -> tuple[data.Loaded, Kept[Dataset]]:
        """Read everything; the data set comes without questions that nearly repeat a held-out one."""
        started = time.perf_counter()
        loaded = data.load(self.config.data, offline=self.config.run.offline)
        for note in loaded.notes:
            logger.info("data: %s", note)
        logger.info("data: %s", prospect.of(loaded.train, loaded.judged))
        dataset = loaded.held_out.apart(loaded.train)
        held_out = sorted(loaded.held_out.wording)
        key = self.context.keeper.key(Stage.LOAD, loaded.fingerprint, held_out, leakage.WORD_SIMILARITY)
        self.context.keeper.done(Stage.LOAD, started, dataset)
        return loaded, Kept(dataset, key)

    def _publish(self, finished: FinishedRun, benchmarks: Sequence[Path]) -> None:
        """Write the folder a user looks at: model, report, results and resolved config.

        Raises:
            StoreError: it cannot be written.
        """
        folder = self.config.run.out
        try:
            with self.store.alone(Stage.REPORT, fingerprint(str(folder.resolve()))):
                publish(finished, benchmarks, folder)
        except OSError as error:
            raise StoreError(
                f"the results cannot be written ({error})",
                place=str(folder),
                hint="Free some space or name another folder with run.out; everything finished before is kept.",
            ) from error


def _up_to(stage: Stage) -> list[str]:
    """Return the names under which costs are told up to a stage."""
    stages = list(Stage)[: list(Stage).index(stage) + 1]
    return [*stages, CROSS_VALIDATION] if Stage.EVALUATE in stages else [*stages]
