"""Models as all but the panel see them: questions and documents in, vectors out. Does not rank, measure or tune."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from expertune import models
from expertune.config import keeps_documents, read
from expertune.errors import ModelUnavailableError
from expertune.models import ModelSource, packing
from expertune.models.adapters import read_json, read_modules
from expertune.models.cache import ItemCache, MemoryCache
from expertune.models.embed import embed_texts, unit_rows
from expertune.models.folders import config_beside
from expertune.models.hardware import trim_memory
from expertune.models.load import load_model
from expertune.models.plugins import EmbeddingExpert, fingerprint
from expertune.records import FloatArray, Report, ignore_progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_VERSION = 2
_MOST_TEXTS = 512


class SentenceEncoder(EmbeddingExpert):
    """Embed with `encode_query` and `encode_document`, so that models with two encoders work too.

    The model is loaded when the first text is embedded: a run that finds all vectors in the cache loads none.

    Args:
        source: Folder or hub id of a sentence-transformers model.
        query_prompt: Put before questions; None: the model's own, or the catalogue's where it has none.
        document_prompt: Put before documents; None: as above.
        max_tokens: Longer texts are cut; None: the model's own limit.
        precision: What matrices are multiplied in. What is measured, and what stays in an index, is float32: it is
            not rounded for speed. "auto" is float32 until somebody decides.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        max_tokens: int | None = None,
        precision: str = "float32",
    ) -> None:
        catalogued = (source.entry.query_prompt, source.entry.document_prompt) if source.entry else ("", "")
        self._source = source
        self._prompts = {True: query_prompt, False: document_prompt}
        self._query_prompt = query_prompt if query_prompt is not None else catalogued[0] or None
        self._document_prompt = document_prompt if document_prompt is not None else catalogued[1] or None
        self._loaded = _Loaded(source, max_tokens)
        self.name = source.name
        self.compute_in(precision)
        self.symmetric = self._is_symmetric()

    def compute_in(self, precision: str) -> None:
        """Multiply matrices in this precision from now on; the fingerprint says so."""
        self._precision = precision
        decisive = {
            "query_prompt": self._query_prompt,
            "document_prompt": self._document_prompt,
            "max_tokens": self._loaded.max_tokens,
            "precision": precision,
        }
        if self.similarity != "cosine":
            decisive["similarity"] = self.similarity
        self.fingerprint = fingerprint("sentence_transformer", _VERSION, self._source, decisive)

    @property
    def folder(self) -> Path:
        """Where the model lies."""
        return Path(self._source.location)

    @property
    def separate(self) -> bool:
        """Whether questions and documents have an encoder each, as the folder's files say."""
        kinds = (str(module.get("type", "")) for module in read_modules(self.folder))
        return any(kind.endswith((".Router", ".Asym")) for kind in kinds)

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length unless the similarity is the dot product."""
        bfloat16 = self._precision == "bfloat16"
        vectors = packing.encode(
            self._loaded.rounded if bfloat16 else self._loaded.model,
            texts,
            role="query" if is_query else "document",
            prompt=self._prompts[is_query],
            most=_MOST_TEXTS,
            bfloat16=bfloat16,
        )
        return vectors if self.similarity == "dot" else unit_rows(vectors)

    def release(self) -> None:
        """Let go of the model; the next text loads it again."""
        self._loaded.release()

    def _is_symmetric(self) -> bool:
        """Whether a text has one vector in both roles, as the folder's files say."""
        if not self.folder.is_dir() or self.separate:
            return False
        prompts = read_json(self.folder / "config_sentence_transformers.json", {}).get("prompts")
        if isinstance(prompts, dict) and any(prompts.values()) and None in self._prompts.values():
            return False
        return (self._query_prompt or "") == (self._document_prompt or "")


def sentence_encoder(model: str, *, offline: bool = True) -> SentenceEncoder:
    """Find a sentence-transformers model (folder, catalogue name or hub id) and return what embeds with it in float32.

    Raises:
        ModelUnavailableError: it cannot be found.
        UntrustedModelError: its files are refused.
    """
    encoder = SentenceEncoder(models.resolve(model, offline=offline))
    encoder.name = Path(model).name
    return encoder


def keeps_vectors(tuned: SentenceEncoder, base: EmbeddingExpert, *, offline: bool = True) -> bool:
    """Tell whether a tuned model's documents have the vectors of this base, so that they need not be encoded again.

    They do where its files hold an encoder of their own for documents, and the config beside says that questions alone
    were tuned, from a model with the base's bytes.

    Raises:
        ConfigError: the config beside the model cannot be read.
    """
    made_with = config_beside(tuned.folder)
    section = read(made_with).train if made_with and tuned.separate else None
    if section is None or not keeps_documents(section.mode):
        return False
    try:
        return sentence_encoder(section.base, offline=offline).fingerprint == base.fingerprint
    except ModelUnavailableError:  # a base that is gone is not this one
        return False


class ModelInMemory(EmbeddingExpert):
    """Embed with a model that may change or go at any time: it has no fingerprint, so its vectors are not kept."""

    fingerprint = ""
    chunk = sys.maxsize

    def __init__(self, name: str, model: SentenceTransformer) -> None:
        self.name = name
        self._model = model

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        return unit_rows(packing.encode(self._model, texts, role="query" if is_query else "document"))


class CachedEncoder:
    """Turn questions and documents into vectors, each distinct text once; the last vectors of each side stay in memory.

    Args:
        name: For messages.
        queries: Embeds questions.
        documents: Embeds documents, or an encoder that has their vectors already; None: `queries` does.
        cache: Where vectors are kept; None: in memory, as long as this object.
        report: Told after every chunk of texts.
    """

    def __init__(
        self,
        name: str,
        queries: EmbeddingExpert,
        documents: EmbeddingExpert | CachedEncoder | None = None,
        *,
        cache: ItemCache | None = None,
        report: Report = ignore_progress,
    ) -> None:
        self.name = name
        self._queries = queries
        self._documents = documents or queries
        self._cache = cache if cache is not None else MemoryCache()
        self._report = report
        # Ranking, separation and splits of one corpus ask for the same one after the other.
        self._last: dict[bool, tuple[tuple[str, ...], FloatArray]] = {}

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        return self._encode(self._queries, texts, is_query=True)

    def encode_anew(self, texts: Sequence[str]) -> FloatArray:
        """Return vectors of questions as a search makes them when they come in: nothing is looked up or kept."""
        return self._queries.embed(texts, is_query=True)

    def release(self) -> None:
        """Let go of the models; the next text that has no vector yet loads them again."""
        for encoder in (self._queries, self._documents):
            encoder.release()
        trim_memory()

    @property
    def served(self) -> bool:
        """Whether a server encodes questions."""
        return self._queries.served

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        if isinstance(self._documents, CachedEncoder):
            return self._documents.encode_documents(texts)
        return self._encode(self._documents, texts, is_query=False)

    def _encode(self, expert: EmbeddingExpert, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        key = tuple(texts)
        if is_query not in self._last or self._last[is_query][0] != key:
            vectors = embed_texts(expert, texts, is_query=is_query, cache=self._cache, report=self._report)
            self._last[is_query] = key, vectors
        return self._last[is_query][1]


def trial_encoder(name: str, model: SentenceTransformer, documents: CachedEncoder | None = None) -> CachedEncoder:
    """Return what encodes with a model in memory, and documents with another encoder where one is given."""
    return CachedEncoder(name, ModelInMemory(name, model), documents)


class _Loaded:
    """A model that is loaded when it is needed first; copies of an encoder share it."""

    def __init__(self, source: ModelSource, max_tokens: int | None) -> None:
        self.source, self.max_tokens = source, max_tokens

    @cached_property
    def model(self) -> SentenceTransformer:
        model = load_model(self.source)
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model

    @cached_property
    def rounded(self) -> SentenceTransformer:
        twin = packing.rounded(self.model)
        # Whoever computes in bfloat16 needs no float32 any more, and both would fill the memory.
        self._drop("model")
        return twin

    def release(self) -> None:
        self._drop("model")
        self._drop("rounded")

    def _drop(self, name: str) -> None:
        model = self.__dict__.pop(name, None)
        if model is not None:
            # A model holds itself in a circle, so that its weights would stay until a garbage collection.
            model.to("meta")
