"""Read answers that come later, with or without questions of their own. Knows no index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from expertune.config import DataSection
from expertune.data.beir import join_equal, read_corpus
from expertune.data.columns import folded, named
from expertune.data.layout import find
from expertune.data.readers import read_table
from expertune.data.rows import Problems, Table, id_field, text_field
from expertune.data.texts import clean
from expertune.data.wording import normalise, same_answer
from expertune.records import Dataset, Document, Question


def read_new_answers(
    path: Path, section: DataSection, known: Mapping[str, str], in_data: Mapping[str, str] | None = None
) -> Dataset:
    """Return new answers and the questions that come with them.

    A Q&A table in any form that a data set may have, with the columns that `section` names; or a corpus.jsonl. The
    question may be missing, row by row or as a column. An answer without an id is called new1, new2, ...

    Args:
        path: A file, or a folder with one.
        section: Names the columns.
        known: The texts of the answers that are there already, by id.
        in_data: The texts that the run's data holds by id, where the answers go there as well.

    Raises:
        DataError: it cannot be read, an id or an answer is there already, or an id has another answer in the data; all
            of them are named.
    """
    layout = find(section.model_copy(update={"path": str(path)}))
    source = layout.qa or layout.corpus
    if source is None:
        source = Path(layout.hub)
    rows = _of_corpus(source) if _is_corpus(source) else _of_table(source, section)
    in_data = in_data or {}
    _refuse_known(rows, known, in_data)
    return _dataset(layout.name, rows, taken={*known, *in_data, *(row.id for row in rows)})


@dataclass(frozen=True, slots=True)
class _Row:
    """One answer as it stands in a file; `id` and `question` may be empty."""

    place: str
    id: str
    answer: str
    question: str = ""


def _is_corpus(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".json") and {"_id", "text"} <= set(read_table(path).columns)


def _of_corpus(path: Path) -> list[_Row]:
    corpus = join_equal(read_corpus(path, lambda table: clean(table, ("title", "text"))[0]))
    return [_Row(corpus.places[document.id], document.id, document.text) for document in corpus.documents.values()]


def _of_table(path: Path, section: DataSection) -> list[_Row]:
    question, answer = section.question_column, section.answer_column
    table = named(_with_question(read_table(path), question), section)
    table, _ = clean(table, (question, answer), question=question, answer=answer)
    problems, rows = Problems(), []
    for row in table.rows:
        asked = text_field(row, question, problems, required=False)
        own = id_field(row, section.id_column, problems)
        rows.append(_Row(row.place, own, text_field(row, answer, problems), asked))
    problems.check()
    return rows


def _with_question(table: Table, question: str) -> Table:
    """Return the table with an empty column for questions where it has none."""
    if folded(question) in map(folded, table.columns):
        return table
    rows = tuple(replace(row, values={**row.values, question: ""}) for row in table.rows)
    return replace(table, columns=(*table.columns, question), rows=rows)


def _refuse_known(rows: list[_Row], known: Mapping[str, str], in_data: Mapping[str, str]) -> None:
    """Raise DataError where an id or an answer is there already, or an id stands for two answers."""
    wording = {same_answer(text): identity for identity, text in known.items()}
    problems, first = Problems(), dict[str, _Row]()
    for row in rows:
        text = same_answer(row.answer)
        if row.id in known:
            hint = "Give a new answer an id of its own; to change an answer that is there, export the index anew."
            problems.add(row.place, f"the id '{row.id}' is there already", hint)
        elif text in wording:
            message = f"the answer is there already, as '{wording[text]}'"
            problems.add(row.place, message, "Remove the row: a second copy would only compete with the first.")
        elif row.id in in_data and same_answer(in_data[row.id]) != text:
            problems.add(row.place, f"the id '{row.id}' has another answer in the data", "Give it an id of its own.")
        elif row.id and same_answer(first.setdefault(row.id, row).answer) != text:
            message = f"the id '{row.id}' has another answer than in {first[row.id].place}"
            problems.add(row.place, message, "Give each answer its own id.")
    problems.check()


def _dataset(name: str, rows: list[_Row], taken: set[str]) -> Dataset:
    free = (identity for identity in (f"new{number}" for number in count(1)) if identity not in taken)
    documents: dict[str, Document] = {}
    questions: dict[str, Question] = {}
    for row in rows:
        text = same_answer(row.answer)
        if text not in documents:
            documents[text] = Document(row.id or next(free), row.answer)
        if row.question:
            own = documents[text].id
            asked = questions.setdefault(normalise(row.question), Question(row.question, (own,)))
            ids = tuple(dict.fromkeys((*asked.document_ids, own)))
            questions[normalise(row.question)] = replace(asked, document_ids=ids)
    return Dataset(name, tuple(documents.values()), tuple(questions.values()))
