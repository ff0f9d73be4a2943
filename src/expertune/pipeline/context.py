"""What the parts of one run share: settings, store, forecast, the base model, and who reads which texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, TypeVar

from expertune import data, models
from expertune.config import Config, PluginSpec, keeps_documents
from expertune.data.expansion import Expansion
from expertune.data.repeats import Repeats
from expertune.models import hardware, ray
from expertune.models.plugins import Plugin
from expertune.pipeline.forecast import Forecast
from expertune.pipeline.keeper import Keeper
from expertune.pipeline.store import Store
from expertune.records import (
    Alternatives,
    Dataset,
    Evaluation,
    Questions,
    Report,
    Scores,
    SoftLabels,
    TunedModel,
    ignore_progress,
)

if TYPE_CHECKING:
    from expertune.label.stage import Labeller
    from expertune.models.encoder import CachedEncoder
    from expertune.models.plugins import EmbeddingExpert
    from expertune.train.tuning import Tuner


MadePlugin = TypeVar("MadePlugin", bound=Plugin)

READ_QUESTIONS = 3
"""Labelled questions of an answer that the panel reads before it, at most: more would push the answer out of what an
expert reads."""


CROSS_VALIDATION = "cross-validation"
"""Under this name the folds are kept and timed: a part of evaluation that tunes."""


# Score, label, evaluation and each fold ask, and to look takes a second for some hundred answers.
repeats_of = lru_cache(maxsize=1)(Repeats.of)


def read_by_panel(config: Config, dataset: Dataset) -> Expansion:
    """Return which labelled questions the panel reads before which answers: at least those that the index holds."""
    most = READ_QUESTIONS if config.score.privileged else 0
    return Expansion.of(dataset.questions, max(most, config.data.expand))


@dataclass
class Context:
    """One config over one store.

    Args:
        config: Everything that is wanted.
        report: Told of progress inside stages.
    """

    config: Config
    report: Report = ignore_progress

    @cached_property
    def store(self) -> Store:
        """The store of this run: `run.store`, or a folder inside the output."""
        section = self.config.run
        return Store(section.store or section.out / "store")

    @cached_property
    def forecast(self) -> Forecast:
        """Told of progress, tells how much of the run is left."""
        return Forecast(self.report)

    @cached_property
    def keeper(self) -> Keeper:
        """Keeps what stages make."""
        return Keeper(self.store, size)

    def read(self, dataset: Dataset) -> Expansion:
        """Return which labelled questions the panel reads before which answers.

        The panel may read more than the index holds: then a question that nobody labelled finds its answer through one
        that somebody did.
        """
        return read_by_panel(self.config, dataset)

    def indexed(self, dataset: Dataset) -> Expansion:
        """Return which labelled questions stand before which answers in the index: none, unless `data.expand` asks."""
        return Expansion.of(dataset.questions, self.config.data.expand)

    @property
    def reference(self) -> tuple[str, ...]:
        """The sentences that tuning holds in place."""
        section = self.config.train
        return tuple(data.reference_sentences(section.reference_texts)) if section.reference_weight else ()

    def tuner(self) -> Tuner:
        """Return what tunes this run's base."""
        from expertune.train.tuning import Tuner

        section = self.config.train
        source = models.resolve(section.base, offline=self.config.run.offline)
        return Tuner(source, self.base, section, self.reference, self.config.run.seed, self.forecast)

    def labeller(self, dataset: Dataset, questions: Questions, scores: Scores) -> Labeller:
        """Return what labels any of these questions anew."""
        from expertune.label.stage import Labeller

        return Labeller(
            dataset,
            questions,
            scores,
            self.config.label,
            self.base_name,
            self.config.train.listwise,
            self.read(dataset),
            self.indexed(dataset),
            repeats_of(dataset),
        )

    @property
    def base_name(self) -> str:
        """The name that the base has where it sits on the panel."""
        return PluginSpec(model=self.config.train.base).label

    @cached_property
    def base_expert(self) -> EmbeddingExpert:
        """The base model as it stands on the panel."""
        from expertune.models.encoder import sentence_encoder

        return sentence_encoder(self.config.train.base, offline=self.config.run.offline)

    @cached_property
    def base(self) -> CachedEncoder:
        """The base model with its vectors kept."""
        return self.encoder("base", self.base_expert, self.base_expert)

    def base_and_tuned(self, model: TunedModel) -> dict[str, CachedEncoder]:
        """Return both models by name; documents keep the base's vectors where only questions were tuned."""
        from expertune.models.encoder import sentence_encoder

        tuned = sentence_encoder(str(model.folder))
        documents = self.base_expert if keeps_documents(model.mode) else tuned
        return {"base": self.base, "tuned": self.encoder("tuned", tuned, documents)}

    def encoder(self, name: str, queries: EmbeddingExpert, documents: EmbeddingExpert) -> CachedEncoder:
        """Return an encoder whose vectors are kept."""
        from expertune.models.encoder import CachedEncoder

        return CachedEncoder(name, queries, documents, cache=self.store.items, report=self.forecast)

    def spread(
        self, load: Callable[..., tuple[MadePlugin, ...]], specs: Sequence[PluginSpec], made: Sequence[MadePlugin]
    ) -> AbstractContextManager[tuple[MadePlugin, ...]]:
        """Let plug-ins work where the config says; `load` makes the copies in other processes."""
        section, threads = self.config.run, self.config.run.threads or 1
        makers = [partial(_made_elsewhere, load, spec, threads, section.offline) for spec in specs]
        return ray.spread(made, makers, self.config.cluster, threads=threads)


def size(made: object) -> str:
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


def _made_elsewhere(
    load: Callable[..., tuple[MadePlugin, ...]], spec: PluginSpec, threads: int, offline: bool
) -> MadePlugin:
    """Make one plug-in in a process of its own."""
    hardware.use_machine(threads, offline=offline)
    (made,) = load([spec], offline=offline)
    return made
