"""Score with a sentence-transformers model: a folder, or a hub id where a network is allowed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from expertune.errors import ConfigError
from expertune.models import ModelSource, tunable
from expertune.models.cache import ItemCache
from expertune.models.encoder import SentenceEncoder
from expertune.models.hardware import computes_bfloat16
from expertune.models.language_models import Precision
from expertune.models.plugins import Options, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import require_model
from expertune.score.experts.precision import agreed, sample

_PLUG_IN = "sentence_transformer"


class SentenceTransformerOptions(Options):
    """What a config may set."""

    query_prompt: str | None = Field(default=None, description="put before questions; default: the model's own")
    document_prompt: str | None = Field(default=None, description="put before documents; default: the model's own")
    max_tokens: int | None = Field(default=None, ge=1, description="longer texts are cut; default: the model's own")
    precision: Precision = Field(
        default="auto",
        description="what to multiply matrices in; auto: bfloat16 where the hardware has it and rankings stay the same",
    )


class SentenceTransformerExpert(SentenceEncoder):
    """Embed with a model on the panel.

    A model that ranks by the dot product is scored by it: its vectors keep their length.

    With precision "auto" on hardware that computes in bfloat16, a sample of the texts is looked at in both precisions,
    and bfloat16 is used only where the rankings agree. Vectors of the two have different fingerprints. What comes out
    of "auto" is decided by the texts, and they are in every key that its fingerprint is in.
    """

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        source = require_model(model, plug_in=_PLUG_IN)
        settings = read_options(SentenceTransformerOptions, options, plug_in=_PLUG_IN).model_dump()
        if settings["precision"] == "auto" and not computes_bfloat16():
            settings["precision"] = "float32"
        self.similarity = _similarity(source)
        super().__init__(source, **settings)

    def decide(self, questions: Sequence[str], documents: Sequence[str], cache: ItemCache) -> str:
        """Decide in which precision to compute, by a sample of the texts; what was found is kept in the cache."""
        if self._precision != "auto":
            return self._precision
        some, others = sample(questions), sample(documents)
        rounded = self.decided("bfloat16")

        def vectors(bfloat16: bool) -> tuple[FloatArray, FloatArray]:
            expert = rounded if bfloat16 else self
            return expert.embed(some, is_query=True), expert.embed(others, is_query=False)

        space = f"{rounded.fingerprint}|agreement"
        return "bfloat16" if agreed(vectors, some, others, space=space, cache=cache, who=self.name) else "float32"

    def decided(self, decision: str) -> SentenceTransformerExpert:
        """Return the same expert in this precision; both share the loaded model."""
        expert = copy.copy(self)
        expert.compute_in(decision)
        return expert


def _similarity(source: ModelSource) -> str:
    """Return what a model ranks by.

    Raises:
        ConfigError: by something that no expert scores by.
    """
    folder = Path(source.location)
    named = tunable.similarity(folder) if folder.is_dir() else "cosine"
    if source.entry and named == "cosine":
        named = source.entry.similarity or named
    if named not in ("cosine", "dot"):
        raise ConfigError(
            [f"the model '{source.name}' ranks by '{named}'; experts score by cosine or dot product"],
            place="score.experts",
            hint='Leave it out, or write "cosine" for similarity_fn_name in its config_sentence_transformers.json.',
        )
    return named
