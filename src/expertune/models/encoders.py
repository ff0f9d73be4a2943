"""Models as evaluation sees them: questions in, vectors out. Does not rank, measure or tune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from expertune.config import PluginSpec
from expertune.models import packing
from expertune.models.cache import ItemCache
from expertune.models.contract import EmbeddingExpert
from expertune.models.embed import embed_texts, unit_rows
from expertune.records import FloatArray, Report, ignore_progress
from expertune.score.stage import load_experts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def embedding_expert(model: str, *, offline: bool = True) -> EmbeddingExpert:
    """Load a sentence-transformers model as an encoder, whatever the catalogue would use it as.

    It computes in float32: what is measured, and what stays in an index, is not rounded for speed.
    """
    spec = PluginSpec(use="sentence_transformer", model=model, options={"precision": "fp32"})
    (expert,) = load_experts([spec], offline=offline)
    assert isinstance(expert, EmbeddingExpert)
    return expert


class CachedEncoder:
    """Encode questions with one model and documents with another (or the same), each distinct text once for ever."""

    def __init__(
        self,
        name: str,
        *,
        queries: EmbeddingExpert,
        documents: EmbeddingExpert,
        cache: ItemCache,
        report: Report = ignore_progress,
    ) -> None:
        self.name = name
        self._queries = queries
        self._documents = documents
        self._cache = cache
        self._report = report

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        return embed_texts(self._queries, texts, is_query=True, cache=self._cache, report=self._report)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        return embed_texts(self._documents, texts, is_query=False, cache=self._cache, report=self._report)


class TrialEncoder:
    """A model in memory that may not be kept: its vectors are not stored.

    Args:
        name: For messages.
        model: Encodes the questions.
        documents: Encodes the documents; None: `model` does.
    """

    def __init__(self, name: str, model: SentenceTransformer, documents: CachedEncoder | None) -> None:
        self.name = name
        self._model = model
        self._documents = documents

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length; a repeated text is encoded once."""
        row = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        vectors = unit_rows(packing.encode(self._model, list(row), role="query"))
        return vectors[[row[text] for text in texts]]

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        if self._documents is not None:
            return self._documents.encode_documents(texts)
        return unit_rows(packing.encode(self._model, texts, role="document"))
