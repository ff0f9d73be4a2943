"""Turn checked rows of Q&A into questions that lead to documents. Knows no files, no judgements and no models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from expertune.config import DataSection
from expertune.data.beir import Corpus
from expertune.data.columns import split_of, splits
from expertune.data.rows import Problems, Table, id_field, is_blank, text_field
from expertune.data.wording import normalise, same_answer
from expertune.records import Document, Provenance

MOST_EMPTY = 0.25
"""Share of rows without question or answer from which on they are not left out: a column may be the wrong one."""

_WHOLE = re.compile(r"\d+\.0")  # how pandas writes whole numbers to CSV where one is missing


@dataclass(frozen=True, slots=True)
class Pair:
    """One checked row of Q&A; `split` is empty where it may be trained on."""

    place: str
    question: str
    answer: str
    id: str
    split: str


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question, where it stands and the documents it leads to."""

    place: str
    text: str
    document_ids: tuple[str, ...]
    split: str = ""
    provenance: Provenance = Provenance.PAIR


@dataclass(frozen=True, slots=True)
class Side:
    """What the training files hold: the corpus and every question, of whatever split."""

    name: str
    place: str
    corpus: Corpus
    questions: tuple[LabelledQuestion, ...]

    @property
    def trained(self) -> dict[str, LabelledQuestion]:
        """Questions that may be trained on, by normalised text."""
        return merge(item for item in self.questions if not item.split)

    @property
    def held_out(self) -> dict[str, LabelledQuestion]:
        """Questions of held-out rows, by normalised text."""
        return merge(item for item in self.questions if item.split)


def read_pairs(table: Table, section: DataSection) -> list[Pair]:
    """Check the rows of a Q&A table whose columns are called as `section` says (`columns.named`).

    Where few rows lack a question or an answer, these are left out.

    Raises:
        DataError: a cell is no text, too many are empty, or a value of the split column is not known.
    """
    question, answer = section.question_column, section.answer_column
    empty = {row.place for row in table.rows if is_blank(row, question) or is_blank(row, answer)}
    left_out = empty if len(empty) < MOST_EMPTY * len(table.rows) else set()
    problems, pairs = Problems(), []
    for row in table.rows:
        split = split_of(text_field(row, section.split_column, problems, required=False), section) or ""
        if row.place not in left_out:
            text, reply = text_field(row, question, problems), text_field(row, answer, problems)
            pairs.append(Pair(row.place, text, reply, id_field(row, section.id_column, problems), split))
    problems.check()
    splits(table, section)
    if all(_WHOLE.fullmatch(pair.id) for pair in pairs if pair.id):
        pairs = [replace(pair, id=pair.id.removesuffix(".0")) for pair in pairs]
    return pairs


def pair_up(pairs: Sequence[Pair], corpus: Corpus | None) -> tuple[Corpus, tuple[LabelledQuestion, ...]]:
    """Give every pair its document: one of the corpus, or without one a document made of its answer.

    Raises:
        DataError: an answer is not in the corpus, or an id stands for two answers.
    """
    if corpus is None:
        corpus, ids = _own_corpus(pairs)
    else:
        ids = _linked(pairs, corpus)
    rows = zip(pairs, ids, strict=True)
    return corpus, tuple(LabelledQuestion(pair.place, pair.question, (own,), pair.split) for pair, own in rows)


def _own_corpus(pairs: Sequence[Pair]) -> tuple[Corpus, list[str]]:
    """Make one document of each answer, under the id of its first row or a1, a2, ... where there is none."""
    taken = {pair.id for pair in pairs}
    free = (name for name in (f"a{number}" for number in count(1)) if name not in taken)
    answer_of: dict[str, Pair] = {}
    document_of: dict[str, Document] = {}
    places: dict[str, str] = {}
    problems, ids = Problems(), []
    for pair in pairs:
        text = same_answer(pair.answer)
        known = answer_of.setdefault(pair.id, pair) if pair.id else pair
        if same_answer(known.answer) != text:
            message = f"id '{pair.id}' has another answer than in {known.place}"
            problems.add(pair.place, message, "Give each answer its own id.")
        if text not in document_of:
            document_of[text] = Document(pair.id or next(free), pair.answer)
            places[document_of[text].id] = pair.place
        ids.append(document_of[text].id)
    problems.check()
    documents = {document.id: document for document in document_of.values()}
    bodies = {document.id: document.text for document in document_of.values()}
    same = {pair.id: own for pair, own in zip(pairs, ids, strict=True) if pair.id and pair.id != own}
    return Corpus(documents, bodies, places, same=same, joined=_joined(pairs, ids)), ids


def _joined(pairs: Sequence[Pair], ids: Sequence[str]) -> int:
    """Return how many answers, told apart by id or else by wording, were the same as another one."""
    names: dict[str, set[str]] = {}
    wordings: dict[str, set[str]] = {}
    for pair, identity in zip(pairs, ids, strict=True):
        names.setdefault(identity, set()).update({pair.id} - {""})
        wordings.setdefault(identity, set()).add(" ".join(pair.answer.split()))
    return sum(max(len(names[identity]), len(wordings[identity])) - 1 for identity in names)


def _linked(pairs: Sequence[Pair], corpus: Corpus) -> list[str]:
    """Find each pair's document in the corpus: by its id where the texts agree, else by the text of the answer."""
    by_text: dict[str, str] = {}
    for identity, document in corpus.documents.items():
        for text in (document.text, corpus.bodies[identity]):
            by_text.setdefault(text, identity)
    by_words: dict[str, str] = {}
    for text, identity in by_text.items():
        by_words.setdefault(normalise(text), identity)
    problems, ids = Problems(), []
    for pair in pairs:
        words = normalise(pair.answer)
        named = corpus.documents.get(corpus.same.get(pair.id, pair.id))
        if named and words in (normalise(named.text), normalise(corpus.bodies[named.id])):
            ids.append(named.id)
            continue
        ids.append(by_text.get(pair.answer) or by_words.get(words, ""))
        if not ids[-1]:
            message = "the answer is no document of the corpus"
            if named:
                message = f"the answer is not the text of document '{named.id}' ({corpus.places[named.id]})"
            elif pair.id:
                message += f", and no document has the id '{pair.id}'"
            problems.add(pair.place, message, "Make the answer the text of its document in corpus.jsonl.")
    problems.check()
    return ids


def merge(questions: Iterable[LabelledQuestion]) -> dict[str, LabelledQuestion]:
    """Join questions of the same words: the first wording stays, and leads to the documents of all."""
    merged: dict[str, LabelledQuestion] = {}
    for item in questions:
        first = merged.setdefault(normalise(item.text), item)
        ids = tuple(dict.fromkeys((*first.document_ids, *item.document_ids)))
        merged[normalise(item.text)] = replace(first, document_ids=ids)
    return merged


def refuse_leaks(trained: Mapping[str, LabelledQuestion], held_out: Mapping[str, str]) -> None:
    """Raise DataError where a question to train on is also held out; `held_out` maps normalised text to place."""
    problems = Problems()
    for key, item in trained.items():
        if key in held_out:
            message = f"trains on a held-out question: '{item.text}' also stands in {held_out[key]}"
            problems.add(item.place, message, "Remove the question from the training rows or from the held-out ones.")
    problems.check()
