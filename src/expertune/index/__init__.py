"""The index as a decision: how the vectors of answers and of their labelled questions are searched."""

from __future__ import annotations

from collections.abc import Sequence

from expertune.index.choice import choose
from expertune.index.layouts import Index, Layout, Mixing, Vectors, build, with_offset
from expertune.models.embed import Encoder
from expertune.records import Dataset, Document

__all__ = ["Index", "Layout", "Mixing", "Vectors", "build", "choose", "layouts_of", "with_offset"]


def layouts_of(
    encoder: Encoder, dataset: Dataset, *, documents: Sequence[Document] = (), base: Encoder | None = None
) -> dict[Layout, Index]:
    """Return every layout of a data set's answers as this encoder's question side searches it.

    Args:
        encoder: Its question side will search; its document side makes the vectors.
        dataset: Its labelled questions help, and choose how much they weigh; it holds no held-out one.
        documents: The corpus, where it is another than the data set's.
        base: The encoder before tuning, for the choice: a tuned one has seen the questions that choose.
    """
    vectors = Vectors.of(encoder, dataset, documents)
    untouched = base.encode_queries(vectors.texts) if base is not None else None
    mixing = choose(vectors, encoder.encode_queries(vectors.texts), untouched)
    return {layout: build(vectors, layout, mixing) for layout in Layout}
