"""Lay out vectors that exist as an index of answers: four ways to let labelled questions help. Knows no metric.

A document may have several rows; its best row counts. A row's offset is added to its dot product with the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from expertune.data.expansion import Expansion
from expertune.models.embed import Encoder
from expertune.records import Dataset, Document, FloatArray

JOINED_QUESTIONS = 3
"""Labelled questions that stand before an answer in one text, at most: more push the answer out of what is read."""


class Layout(StrEnum):
    """What an index holds of an answer. All but the first need labelled questions; none needs a model to be tuned."""

    ANSWERS = "answers"
    """The answer's vector: the index that users have."""
    MIXED = "answers and questions"
    """The answer's vector mixed with each of its own questions', levelled by offsets; nothing is encoded again."""
    JOINED = "question + answer"
    """The vector of one text: the answer's first own questions, then the answer. Those answers are encoded again."""
    SEPARATE = "separate vectors"
    """The answer's vector, and beside it that of each of its own questions."""

    @property
    def option(self) -> str:
        """How it is written on a command line: "question-and-answer"."""
        return self.value.replace("+", "and").replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Mixing:
    """How the layout `MIXED` weighs questions. Similarities are dot products of unit vectors, in [-1, 1].

    `weight` w in [0, 1] is the questions' share: an answer with own questions scores
    `(1 - w) * answer + w * (question - surplus)`, where `surplus` is how much nearer questions lie to questions than
    to answers on average. An answer without a question of its own scores `answer + bonus`.
    """

    weight: float = 0.35
    surplus: float = 0.0
    bonus: float = 0.0


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors that layouts are made of; d dimensions, unit length, as the documents' encoder makes them.

    `answers` `[D, d]` belong to `documents`. `questions` `[M, d]` are those of `texts`, distinct labelled questions;
    `owns` `[D, M]` is True where a question leads to a document. `joined` `[D, d]` is the answer with its questions
    before it as one text, and the answer's own vector where it has none.
    """

    documents: tuple[str, ...]
    texts: tuple[str, ...]
    answers: FloatArray
    questions: FloatArray
    owns: NDArray[np.bool_]
    joined: FloatArray

    @classmethod
    def of(cls, encoder: Encoder, dataset: Dataset, documents: Sequence[Document] = ()) -> Vectors:
        """Encode what layouts need, once each.

        Args:
            encoder: Its document side encodes questions of the index too.
            dataset: Its labelled questions are the own ones; none of them may repeat a held-out question.
            documents: The corpus of the index; default: the data set's.
        """
        documents = documents or dataset.documents
        row = {document.id: number for number, document in enumerate(documents)}
        texts = list(dict.fromkeys(question.text for question in dataset.questions if question.labelled))
        column = {text: number for number, text in enumerate(texts)}
        owns = np.zeros((len(documents), len(texts)), dtype=np.bool_)
        for question in dataset.questions:
            for document_id in question.document_ids if question.labelled else ():
                if document_id in row:
                    owns[row[document_id], column[question.text]] = True
        plain = [document.text for document in documents]
        expansion = Expansion.of(dataset.questions, JOINED_QUESTIONS)
        joined = [document.text for document in expansion.documents(documents)]
        encoded = encoder.encode_documents([*plain, *texts, *joined])
        answers, questions, both = np.split(encoded, [len(plain), len(plain) + len(texts)])
        return cls(tuple(row), tuple(texts), answers, questions, owns, both)


@dataclass(frozen=True, slots=True)
class Index:
    """Vectors to search by dot product: rows `[N, d]`, an offset `[N]` each, and the document each row belongs to.

    Rows of a document stand together, documents in the order of `documents`; `owners` `[N]` are their numbers there.
    """

    layout: Layout
    documents: tuple[str, ...]
    owners: NDArray[np.int64]
    vectors: FloatArray
    offsets: FloatArray
    mixing: Mixing = Mixing()

    @property
    def document_ids(self) -> tuple[str, ...]:
        """The document id of each row `[N]`."""
        return tuple(self.documents[owner] for owner in self.owners)

    @property
    def searchable(self) -> FloatArray:
        """The rows as a plain dot-product index holds them, `[N, d + 1]`: the offset is one more dimension."""
        return np.column_stack([self.vectors, self.offsets]).astype(np.float32)

    def scores(self, queries: FloatArray) -> FloatArray:
        """Return float32 `[Q, D]`: how well each question `[Q, d]` matches the best row of each document."""
        rows = queries @ self.vectors.T + self.offsets
        starts = np.searchsorted(self.owners, np.arange(len(self.documents)))
        return np.asarray(np.maximum.reduceat(rows, starts, axis=1), dtype=np.float32)


def with_offset(queries: FloatArray) -> FloatArray:
    """Return questions `[Q, d + 1]` as `Index.searchable` wants them: a one is added to each."""
    return np.column_stack([queries, np.ones(len(queries))]).astype(np.float32)


def build(vectors: Vectors, layout: Layout, mixing: Mixing = Mixing()) -> Index:
    """Lay out the vectors; only `Layout.MIXED` asks for the mixing."""
    answer_rows = np.arange(len(vectors.documents))
    owned, asked = np.nonzero(vectors.owns)
    if layout is Layout.ANSWERS:
        return _index(layout, vectors, answer_rows, vectors.answers)
    if layout is Layout.JOINED:
        return _index(layout, vectors, answer_rows, vectors.joined)
    if layout is Layout.SEPARATE:
        rows = np.concatenate([vectors.answers, vectors.questions[asked]])
        return _index(layout, vectors, np.concatenate([answer_rows, owned]), rows)
    lone = np.flatnonzero(~vectors.owns.any(axis=1))
    mixed = (1 - mixing.weight) * vectors.answers[owned] + mixing.weight * vectors.questions[asked]
    offsets = np.repeat([-mixing.weight * mixing.surplus, mixing.bonus], [len(owned), len(lone)])
    rows = np.concatenate([mixed, vectors.answers[lone]])
    return _index(layout, vectors, np.concatenate([owned, lone]), rows, offsets, mixing)


def _index(
    layout: Layout,
    vectors: Vectors,
    owners: NDArray[np.int64],
    rows: FloatArray,
    offsets: FloatArray | None = None,
    mixing: Mixing = Mixing(0.0),
) -> Index:
    """Bring the rows of a document together."""
    order = np.argsort(owners, kind="stable")
    added = np.zeros(len(rows), dtype=np.float32) if offsets is None else offsets
    return Index(
        layout,
        vectors.documents,
        owners[order],
        rows[order].astype(np.float32),
        added[order].astype(np.float32),
        mixing,
    )
