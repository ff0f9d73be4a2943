"""What an index holds of an answer where `data.expand` is set: its labelled questions, then the answer. Knows no model.

Only questions that may be trained on get in. One of them that is put to a test would find its own words, so there the
answers it stands before count as they are: when experts are weighed by it, and when it helps to choose the
interpolation factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expertune.records import Document, FloatArray, JudgedSet, Question, Role, Scores


@dataclass(frozen=True, slots=True)
class Expansion:
    """Which questions stand before which answer, by document id; an answer that is not named stays as it is."""

    questions: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, questions: Iterable[Question], most: int) -> Expansion:
        """Let the first labelled questions of each answer stand before it, `most` of them at most, in their order.

        Synthetic questions never do: they are guesses.
        """
        first: dict[str, tuple[str, ...]] = {}
        for question in questions:
            for document_id in question.document_ids if question.labelled else ():
                first[document_id] = (*first.get(document_id, ()), question.text)[:most]
        return cls({document_id: texts for document_id, texts in first.items() if texts})

    def knowing(self, questions: Iterable[Question]) -> Expansion:
        """Return the same without the questions that are not among these; no other one takes their place."""
        labelled = {question.text for question in questions if question.labelled}
        left = {key: tuple(text for text in texts if text in labelled) for key, texts in self.questions.items()}
        return Expansion({key: texts for key, texts in left.items() if texts})

    def documents(self, plain: Sequence[Document]) -> tuple[Document, ...]:
        """Return the documents as the index holds them, in order."""
        return tuple(
            replace(document, text=" ".join((*self.questions[document.id], document.text)))
            if document.id in self.questions
            else document
            for document in plain
        )

    def judged(self, plain: JudgedSet) -> JudgedSet:
        """Return a judged set with its documents as the index holds them; general sets have no questions to add."""
        return replace(plain, documents=self.documents(plain.documents)) if plain.role is Role.DOMAIN else plain


def with_texts_of(indexed: Iterable[Document], judged: JudgedSet) -> JudgedSet:
    """Return a judged set of the domain with its documents as an index holds them; general sets stay as they are."""
    if judged.role is not Role.DOMAIN:
        return judged
    by_id = {document.id: document for document in indexed}
    return replace(judged, documents=tuple(by_id.get(document.id, document) for document in judged.documents))


def joined(plain: Scores, expanded: Scores, labelled: NDArray[np.bool_]) -> Scores:
    """Return the scores of the expanded answers, but for labelled questions those of the plain ones.

    `plain` of the result are the plain scores of every pair.

    Args:
        plain: `[Q, D, K]`, or `[Q, C, K]` of candidates, of the answers as they are.
        expanded: The same of the expanded answers; its candidates may be others.
        labelled: `[Q]`, True for labelled questions.
    """
    values, columns = np.array(expanded.values), expanded.columns
    values[labelled] = plain.values[labelled]
    if columns is not None and plain.columns is not None:
        columns = np.where(labelled[:, None], plain.columns, columns)
    seconds = tuple(sum(pair) for pair in zip(plain.seconds, expanded.seconds, strict=True))
    unexpanded = np.array(_of_columns(plain, columns))
    return replace(expanded, values=values, seconds=seconds, columns=columns, plain=unexpanded)


def as_if(scores: Scores, documents: Sequence[Document], whole: Expansion, part: Expansion) -> Scores:
    """Return joined scores in which no question counts that `whole` has and `part` has not.

    Answers with such a question count as they are: with the rest of their questions nobody scored them. Scores of plain
    answers alone come back the same.
    """
    if scores.plain is None:
        return scores
    asked = ((whole.questions.get(document.id), part.questions.get(document.id)) for document in documents)
    changed = np.array([before != after for before, after in asked], dtype=np.bool_)
    pairs = changed if scores.columns is None else changed[scores.columns]
    return replace(scores, values=np.where(pairs[..., None], scores.plain, scores.values), plain=None)


def _of_columns(scores: Scores, columns: NDArray[np.int64] | None) -> FloatArray:
    """Return the scores of these candidates `[Q, C, K]`; one that was not looked at is as bad as the worst that was."""
    if scores.columns is None or columns is None:
        return scores.values
    rows = []
    for own, wanted, values in zip(scores.columns, columns, scores.values, strict=True):
        place = np.searchsorted(own, wanted).clip(max=len(own) - 1)
        rows.append(np.where((own[place] == wanted)[:, None], values[place], np.fmin.reduce(values, axis=0)))
    return np.array(rows, dtype=np.float32).reshape(*columns.shape, len(scores.experts))
