"""Read the training questions that a run wrote into `questions.jsonl`, as a person left them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from expertune.data.readers import READERS, read_table
from expertune.data.rows import Problems, Row, is_missing, require, text_field
from expertune.errors import DataError
from expertune.records import Dataset, Provenance, Question

_READ = (Provenance.SYNTHETIC, Provenance.SPAN)


def read_edited(path: Path, dataset: Dataset) -> tuple[Question, ...]:
    """Return the synthetic questions and spans of a file, in order; rows of other provenance are passed over.

    Labelled questions come from the data and those of a log from the log: in this file they are there to be looked at.
    A row without `provenance` counts as synthetic.

    Raises:
        DataError: the file is missing or malformed, or a row names no question, or an answer that is not there.
    """
    if path.suffix.lower() not in READERS or not path.is_file():
        hint = "Name the questions.jsonl of a run, or remove augment.questions."
        raise DataError("no such table of questions", place=str(path), hint=hint)
    table = read_table(path)
    require(table, ["question", "answers"], "Each row needs `question` and `answers`, the ids it leads to.")
    known = {document.id for document in dataset.documents}
    problems = Problems()
    questions = [_question(row, known, problems) for row in table.rows if _provenance(row, problems) in _READ]
    problems.check()
    return tuple(dict.fromkeys(question for question in questions if question))


def _question(row: Row, known: set[str], problems: Problems) -> Question | None:
    text = text_field(row, "question", problems)
    ids = _ids(row.values.get("answers"))
    if not ids or not known.issuperset(ids):
        unknown = ", ".join(item for item in ids if item not in known) or "nothing"
        problems.add(row.place, f"'answers' names {unknown}, expected ids of answers", "Name ids of your answers.")
        return None
    given = (row.values.get(key) for key in ("generator", "kind"))
    generator, kind = ("" if is_missing(value) else str(value) for value in given)
    return Question(text, ids, _provenance(row, problems), generator, kind) if text else None


def _ids(value: Any) -> tuple[str, ...]:
    """Return the ids of a list, or of one id alone."""
    value = value.tolist() if isinstance(value, np.ndarray) else value  # as parquet has them
    listed = value if isinstance(value, list) else [] if is_missing(value) else [value]
    return tuple(str(item) for item in listed)


def _provenance(row: Row, problems: Problems) -> Provenance:
    value = row.values.get("provenance")
    if is_missing(value):
        return Provenance.SYNTHETIC
    try:
        return Provenance(str(value))
    except ValueError:
        expected = ", ".join(Provenance)
        problems.add(row.place, f"'provenance' is {value!r}, expected one of: {expected}", "Correct or remove it.")
        return Provenance.SYNTHETIC
