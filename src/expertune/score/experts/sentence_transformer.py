"""Score with a sentence-transformers model: a folder, or a hub id where a network is allowed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from expertune.models import ModelSource, packing
from expertune.models.cache import ItemCache
from expertune.models.embed import unit_rows
from expertune.models.hardware import computes_bfloat16
from expertune.models.language_models import without_bars
from expertune.models.plugins import Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import CosineExpert, loading, require_model
from expertune.score.experts.precision import Precision, agreed, sample

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_PLUG_IN = "sentence_transformer"
_VERSION = 1


class SentenceTransformerOptions(Options):
    """What a config may set."""

    query_prompt: str | None = Field(default=None, description="put before questions; default: the model's own")
    document_prompt: str | None = Field(default=None, description="put before documents; default: the model's own")
    max_tokens: int | None = Field(default=None, ge=1, description="longer texts are cut; default: the model's own")
    batch_size: int = Field(default=512, ge=1, description="most texts at once")
    batch_tokens: int = Field(default=packing.TOKENS, ge=1, description="most tokens at once, padding included")
    precision: Precision = Field(
        default="auto",
        description="what matrices are multiplied in; auto: bf16 where the hardware has it and rankings stay the same",
    )


class SentenceTransformerExpert(CosineExpert):
    """Embed with `encode_query` and `encode_document`, so that models with two encoders work too.

    The model is loaded when the first text is embedded: a run that finds all vectors in the cache loads none.

    With precision "auto" on hardware that computes in bfloat16, `settle` looks at a sample of the texts in both
    precisions and keeps bfloat16 only where the rankings agree; until then, vectors are float32. Vectors of the two
    precisions are kept under different fingerprints.
    """

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        self._source = require_model(model, plug_in=_PLUG_IN)
        self._options = read_options(SentenceTransformerOptions, options, plug_in=_PLUG_IN)
        entry = self._source.entry
        self._query_prompt = _first(self._options.query_prompt, entry.query_prompt if entry else "")
        self._document_prompt = _first(self._options.document_prompt, entry.document_prompt if entry else "")
        self.name = self._source.name
        decisive = {
            "query_prompt": self._query_prompt,
            "document_prompt": self._document_prompt,
            "max_tokens": self._options.max_tokens,
        }
        self._exact = fingerprint(_PLUG_IN, _VERSION, self._source, decisive)
        self._rounded = fingerprint(_PLUG_IN, _VERSION, self._source, {**decisive, "precision": "bf16"})
        self._bfloat16 = self._options.precision == "bf16"
        self._undecided = self._options.precision == "auto" and computes_bfloat16()
        decided = self._rounded if self._bfloat16 else self._exact
        # What comes out of "auto" is decided by the texts, and they are in every key that this fingerprint is in.
        auto = fingerprint(_PLUG_IN, _VERSION, self._source, {**decisive, "precision": "auto"})
        self.fingerprint = auto if self._undecided else decided
        self.symmetric = self._is_symmetric()

    @property
    def vector_fingerprint(self) -> str:
        """Whose vectors these are: one for each precision."""
        return self._rounded if self._bfloat16 else self._exact

    @property
    def separate(self) -> bool:
        """Whether questions and documents have an encoder each, as the folder's files say."""
        modules = _json(Path(self._source.location) / "modules.json")
        return any(str(module.get("type", "")).endswith((".Router", ".Asym")) for module in modules or [])

    def settle(self, questions: Sequence[str], documents: Sequence[str], cache: ItemCache) -> None:
        """Decide in which precision to compute, by a sample of the texts; what was found is kept in the cache."""
        if not self._undecided:
            return
        asked, answers = sample(questions), sample(documents)

        def vectors(bfloat16: bool) -> tuple[FloatArray, FloatArray]:
            self._bfloat16 = bfloat16
            return self.embed(asked, is_query=True), self.embed(answers, is_query=False)

        self._bfloat16 = agreed(vectors, asked, answers, space=f"{self._rounded}|agreement", cache=cache, who=self.name)

    @property
    def settled(self) -> bool:
        """Whether bfloat16 was decided for; a copy in another process takes it over."""
        return self._bfloat16

    @settled.setter
    def settled(self, bfloat16: bool) -> None:
        self._bfloat16 = bfloat16

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        vectors = packing.encode(
            self._rounded_model if self._bfloat16 else self._model,
            texts,
            role="query" if is_query else "document",
            prompt=self._query_prompt if is_query else self._document_prompt,
            tokens=self._options.batch_tokens,
            most=self._options.batch_size,
            bfloat16=self._bfloat16,
        )
        return unit_rows(vectors)

    @cached_property
    def _model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        with loading(self.name), without_bars():
            model = SentenceTransformer(
                self._source.location, trust_remote_code=False, local_files_only=self._source.local
            )
        if self._options.max_tokens is not None:
            model.max_seq_length = self._options.max_tokens
        return model

    @cached_property
    def _rounded_model(self) -> SentenceTransformer:
        return packing.rounded(self._model)

    def _is_symmetric(self) -> bool:
        """Whether a text has one vector in both roles, as the folder's files say."""
        folder = Path(self._source.location)
        if not folder.is_dir() or self.separate:
            return False
        own = (_json(folder / "config_sentence_transformers.json") or {}).get("prompts") or {}
        if any(own.values()) and None in (self._query_prompt, self._document_prompt):
            return False
        return (self._query_prompt or "") == (self._document_prompt or "")


def _first(option: str | None, catalogued: str) -> str | None:
    """Return the option, else the catalogue's prompt, else None: the model's own prompt then holds."""
    return option if option is not None else catalogued or None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
