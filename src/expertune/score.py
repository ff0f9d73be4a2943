"""Score every question against every document with every expert. Does not merge experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from expertune.records import Dataset, FloatArray, ItemCache, MemoryCache, Questions, Report, Scores, ignore_progress


@runtime_checkable
class Expert(Protocol):
    """Judge pairs of question and document.

    An expert is made by its class's constructor as `Class(model: ModelSource | None, **options)`.
    """

    name: str
    fingerprint: str

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return float32 `[len(questions), len(documents)]`; higher is more relevant; NaN where not scored."""
        ...


@runtime_checkable
class EmbeddingExpert(Expert, Protocol):
    """An expert that scores by the cosine of vectors; the stage then embeds each distinct text once and keeps it."""

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        ...


def score(
    dataset: Dataset,
    questions: Questions,
    experts: Sequence[Expert],
    *,
    cache: ItemCache | None = None,
    report: Report = ignore_progress,
) -> Scores:
    raise NotImplementedError
