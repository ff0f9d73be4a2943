"""Find the models that stand beside a tuned one: its base, the panel as it is, and search by words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from expertune import models
from expertune.config import Config, PluginSpec
from expertune.errors import ConfigError
from expertune.evaluate.alternatives import Search
from expertune.models import tunable
from expertune.models.cache import ItemCache
from expertune.models.encoder import CachedEncoder, keeps_vectors, sentence_encoder
from expertune.models.folders import named_model
from expertune.models.plugins import EmbeddingExpert, IndexingExpert
from expertune.records import Document, Report, ignore_progress
from expertune.score.experts.bm25 import Bm25Expert
from expertune.score.stage import load_experts


@dataclass(frozen=True, slots=True)
class Model:
    """One model that users could search with.

    `megabytes` are those of its weights, NaN where nobody knows. `kept` is True where documents have the base's
    vectors, so that an index made with the base stays valid. `base` is what `train.base` would call it; empty where it
    cannot be tuned or is tuned already.
    """

    name: str
    encoder: CachedEncoder
    megabytes: float
    kept: bool = False
    base: str = ""

    def search(self, documents: Sequence[Document]) -> Search:
        """Return what ranks these documents by cosine."""
        vectors = self.encoder.encode_documents([document.text for document in documents]).T
        return lambda texts: self.encoder.encode_queries(texts) @ vectors


def tuned_model(place: str, base: EmbeddingExpert, *, cache: ItemCache, report: Report = ignore_progress) -> Model:
    """Find a tuned model by the folder of its run, its own folder, or its name.

    Raises:
        ExpertuneError: it cannot be found, its files are refused, or the config beside it cannot be read.
    """
    folder = named_model(place)
    tuned = sentence_encoder(folder)
    kept = keeps_vectors(tuned, base)
    encoder = CachedEncoder("tuned", tuned, base if kept else tuned, cache=cache, report=report)
    return Model("tuned", encoder, models.megabytes(folder), kept)


@dataclass(frozen=True, slots=True)
class Panel:
    """The panel's models that embed, other than the base, and what searches by words."""

    models: tuple[Model, ...]
    words: IndexingExpert

    @classmethod
    def of(
        cls,
        config: Config,
        questions: Sequence[str],
        answers: Sequence[str],
        *,
        cache: ItemCache,
        report: Report = ignore_progress,
    ) -> Panel:
        """Return the panel as it scores, so that vectors which it has made are not made again.

        Args:
            config: Names the experts and the base.
            questions: By these and the answers an expert decides in which precision it computes; no held-out ones.
            answers: As above.
            cache: Where vectors are kept.
            report: Told of vectors that are made.

        Raises:
            ExpertuneError: as `load_experts` does.
        """
        experts = load_experts(config.score.experts, offline=config.run.offline)
        found: list[Model] = []
        for spec, expert in zip(config.score.experts, experts, strict=True):
            if isinstance(expert, EmbeddingExpert) and not is_base(spec, config):
                decided = expert.decided(expert.decide(questions, answers, cache))
                encoder = CachedEncoder(expert.name, decided, cache=cache, report=report)
                base = spec.model if _can_be_tuned(spec, config) else ""
                found.append(Model(expert.name, encoder, models.megabytes(spec.model), base=base))
        words = next((expert for expert in experts if isinstance(expert, Bm25Expert)), None)
        return cls(tuple(found), words or Bm25Expert())


def is_base(spec: PluginSpec, config: Config) -> bool:
    """Tell whether an expert is the base, however it is called, as it is: with options it is another one."""
    if not spec.model or spec.options:
        return False
    expert, base = (models.resolve(name, offline=config.run.offline) for name in (spec.model, config.train.base))
    return expert.fingerprint == base.fingerprint


def _can_be_tuned(spec: PluginSpec, config: Config) -> bool:
    """Tell whether `train.base` could name an expert's model, as the run tunes now."""
    if not spec.model or spec.options:
        return False
    source = models.resolve(spec.model, offline=config.run.offline)
    try:
        if source.entry is not None:
            tunable.check_entry(source.entry)
        tunable.check(Path(source.location), mode=config.train.mode, lora=config.train.lora_rank > 0)
    except ConfigError:
        return False
    return True
