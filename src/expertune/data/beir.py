"""Read a BEIR set: corpus.jsonl, queries.jsonl and qrels. Knows not which split is trained on or tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from expertune.data.readers import read_jsonl, read_lines
from expertune.data.rows import Problems, Row, Table, id_field, require, text_field
from expertune.data.wording import same_answer, visible
from expertune.errors import DataError
from expertune.records import Document, JudgedSet, Query, Role


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents by id, in order. `bodies` are their texts without title; `places` knows the `empty` ones too.

    `same` leads from the id of an answer that stood there already to the one document of both; `joined` counts such
    answers, also where they had no id of their own.
    """

    documents: Mapping[str, Document]
    bodies: Mapping[str, str]
    places: Mapping[str, str]
    empty: frozenset[str] = frozenset()
    same: Mapping[str, str] = field(default_factory=dict)
    joined: int = 0

    @property
    def texts(self) -> dict[str, str]:
        """The text that every id of the files stands for, "" where that is empty."""
        stands_for = {**{identity: identity for identity in self.places}, **self.same}
        return {
            identity: self.documents[own].text if own in self.documents else "" for identity, own in stands_for.items()
        }


@dataclass(frozen=True, slots=True)
class PlacedQuery:
    """A query and the line it stands in."""

    place: str
    query: Query


@dataclass(frozen=True, slots=True)
class Judgement:
    """One line of a qrels file; grade 1 or more is relevant."""

    place: str
    query_id: str
    document_id: str
    grade: int


_EXAMPLE = '{"_id": "a1", "text": "..."}'


def as_it_is(table: Table) -> Table:
    """Return the table: what is done to texts where nobody names anything else."""
    return table


def _own_id(row: Row, problems: Problems) -> str:
    identity = id_field(row, "_id", problems)
    if not identity:
        problems.add(row.place, "has no '_id'", "Give every record its own '_id'.")
    return identity


def read_corpus(path: Path, clean: Callable[[Table], Table] = as_it_is) -> Corpus:
    """Read documents: `_id`, `text` and, where given, `title`; `clean` is given the table first.

    Raises:
        DataError: the file is unreadable, an id is missing or stands for two texts, or a value is no text.
    """
    table, problems = clean(read_jsonl(path, _EXAMPLE)), Problems()
    require(table, ("_id", "text"), "A corpus has the columns _id, text and, if you like, title.")
    documents: dict[str, Document] = {}
    bodies: dict[str, str] = {}
    places: dict[str, str] = {}
    for row in table.rows:
        identity = _own_id(row, problems)
        title, body = (text_field(row, column, problems, required=False) for column in ("title", "text"))
        text = f"{title} {body}".strip()
        if places.setdefault(identity, row.place) == row.place:
            documents[identity], bodies[identity] = Document(identity, text), body
        elif identity and documents[identity].text != text:
            message = f"id '{identity}' has another text than in {places[identity]}"
            problems.add(row.place, message, "Give each document its own id.")
    problems.check()
    empty = frozenset(identity for identity, document in documents.items() if not visible(document.text))
    kept = {identity: document for identity, document in documents.items() if identity not in empty}
    return Corpus(kept, bodies, places, empty)


def join_equal(corpus: Corpus) -> Corpus:
    """Return the corpus with every answer once: of those that are the same, the first stands for all."""
    first: dict[str, str] = {}
    stands_for = {
        identity: first.setdefault(same_answer(item.text), identity) for identity, item in corpus.documents.items()
    }
    kept = {identity: item for identity, item in corpus.documents.items() if stands_for[identity] == identity}
    same = {old: new for old, new in stands_for.items() if old != new}
    return replace(corpus, documents=kept, same=same, joined=len(same))


def read_queries(path: Path, clean: Callable[[Table], Table] = as_it_is) -> dict[str, PlacedQuery]:
    """Read queries by id: `_id`, `text` and, where given, `weight`; `clean` is given the table first.

    Raises:
        DataError: the file is unreadable, an id is missing or stands for two texts, a text is empty, or a weight is no
            number above 0.
    """
    table, problems = clean(read_jsonl(path, _EXAMPLE)), Problems()
    require(table, ("_id", "text"), "Queries have the columns _id and text.")
    queries: dict[str, PlacedQuery] = {}
    for row in table.rows:
        query = Query(_own_id(row, problems), text_field(row, "text", problems), _weight(row, problems))
        known = queries.setdefault(query.id, PlacedQuery(row.place, query))
        if query.id and known.query != query:
            message = f"id '{query.id}' has another text than in {known.place}"
            problems.add(row.place, message, "Give each query its own id.")
    problems.check()
    return queries


def _weight(row: Row, problems: Problems) -> float | None:
    """Return how much a query counts that was drawn from a log; None where nothing is said."""
    value = row.values.get("weight")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < inf:
        problems.add(row.place, f"'weight' is {value!r}, expected a number above 0", "Remove 'weight', or mend it.")
        return None
    return float(value)


_HEADERS = frozenset({"query-id", "query_id", "queryid", "qid", "query", "topic"})


def read_qrels(path: Path) -> tuple[Judgement, ...]:
    """Read judgements: query, document and grade, perhaps below a header line; or TREC's four columns.

    Raises:
        DataError: the file is unreadable or empty, a line is malformed, or a pair has two grades.
    """
    problems = Problems()
    found: dict[tuple[str, str], Judgement] = {}
    hint = "A line must be: query-id TAB corpus-id TAB grade, the grade a whole number (1 or more: relevant)."
    for number, (place, line) in enumerate(read_lines(path)):
        cells = [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
        if number == 0 and cells[0].casefold() in _HEADERS:
            continue
        if len(cells) not in (3, 4) or not all(cells):
            filled = sum(bool(cell) for cell in cells)
            problems.add(place, f"has {filled} filled columns, expected 3 (or 4 as in TREC)", hint)
            continue
        try:
            judgement = Judgement(place, cells[0], cells[-2], int(cells[-1]))
        except ValueError:
            problems.add(place, f"grade '{cells[-1]}' is not a whole number", hint)
            continue
        known = found.setdefault((judgement.query_id, judgement.document_id), judgement)
        if known.grade != judgement.grade:
            pair = f"'{judgement.query_id}' and '{judgement.document_id}'"
            problems.add(place, f"grades {pair} otherwise than {known.place}", "Keep one grade per pair.")
    problems.check()
    if not found:
        raise DataError("has no judgements", place=str(path), hint=hint)
    return tuple(found.values())


def relevant(
    judgements: Iterable[Judgement], queries: Mapping[str, PlacedQuery] | None, corpus: Corpus
) -> dict[str, dict[str, int]]:
    """Return grades by query id and document id, of the queries that have a relevant document.

    Without `queries` only the documents are looked at.

    Raises:
        DataError: a judgement names a query or document that is not there, or an empty document.
    """
    problems = Problems()
    grades: dict[str, dict[str, int]] = {}
    for judgement in judgements:
        document_id = corpus.same.get(judgement.document_id, judgement.document_id)
        if queries is not None and judgement.query_id not in queries:
            message = f"judges the query '{judgement.query_id}', which is not in queries.jsonl"
            problems.add(judgement.place, message, "Add the query or remove the judgement.")
        if judgement.document_id in corpus.empty:
            message = f"judges the document '{judgement.document_id}', which is empty"
            place = corpus.places[judgement.document_id]
            problems.add(judgement.place, f"{message} ({place})", "Fill in the document or remove the judgement.")
        elif document_id not in corpus.documents:
            message = f"judges the document '{judgement.document_id}', which is not in the corpus"
            problems.add(judgement.place, message, "Add the document or remove the judgement.")
        of_query = grades.setdefault(judgement.query_id, {})
        of_query[document_id] = max(judgement.grade, of_query.get(document_id, judgement.grade))
    problems.check()
    return {query: found for query, found in grades.items() if max(found.values()) >= 1}


def judged_set(
    name: str,
    role: Role,
    path: Path,
    judgements: Iterable[Judgement],
    queries: Mapping[str, PlacedQuery],
    corpus: Corpus,
) -> JudgedSet:
    """Return the judged set of the qrels file `path`, with the queries that have a relevant document.

    Raises:
        DataError: as `relevant`, or no query has a relevant document.
    """
    grades = relevant(judgements, queries, corpus)
    if not grades:
        hint = "Give relevant documents a grade of 1 or more."
        raise DataError("calls no document relevant", place=str(path), hint=hint)
    chosen = tuple(queries[query_id].query for query_id in grades)
    return JudgedSet(name, path.stem, role, tuple(corpus.documents.values()), chosen, grades)


def answers(grades: Mapping[str, int]) -> tuple[str, ...]:
    """Return the documents that are relevant to one query, of their grades."""
    return tuple(document_id for document_id, grade in grades.items() if grade >= 1)


def companions(answered: Sequence[Sequence[str]]) -> dict[str, frozenset[str]]:
    """Return for a document those that are relevant wherever it is, itself among them.

    Only for documents of at least two queries: one query alone may ask two things at once.

    Args:
        answered: The relevant documents of each query.
    """
    times = Counter(document_id for together in answered for document_id in together)
    found: dict[str, frozenset[str]] = {}
    for together in answered:
        for document_id in together:
            found[document_id] = found.get(document_id, frozenset(together)).intersection(together)
    return {document_id: together for document_id, together in found.items() if times[document_id] > 1}
