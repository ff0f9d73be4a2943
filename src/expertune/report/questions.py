"""Write every training question, with the answers that the labels give it, for people to look at and edit; read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from expertune.data.readers import read_table
from expertune.data.rows import require
from expertune.errors import DataError
from expertune.records import Dataset, Provenance, Question, Questions, SoftLabels

QUESTIONS = "questions.jsonl"
"""What the file is called; `augment.questions` reads it again."""

SHOWN = 3
"""Answers shown of each question: those with most of the label."""


def write_questions(dataset: Dataset, questions: Questions, labels: SoftLabels, folder: Path) -> None:
    """Write one line a question: its text, where it comes from, the answers it is meant to lead to, and its label."""
    ids = np.array([document.id for document in dataset.documents])
    lines = []
    for row, item in enumerate(questions.items):
        targets = labels.targets[row]
        places = np.argsort(-targets, kind="stable")[:SHOWN]
        columns = places if labels.columns is None else labels.columns[row][places]
        label = {
            str(ids[column]): round(float(targets[place]), 3) for place, column in zip(places, columns, strict=True)
        }
        line: dict[str, Any] = {"question": item.text, "provenance": item.provenance.value}
        line |= {key: value for key, value in (("generator", item.generator), ("kind", item.kind)) if value}
        line |= {"answers": list(item.document_ids), "label": {key: value for key, value in label.items() if value}}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    (folder / QUESTIONS).write_text("".join(lines), encoding="utf-8")


def read_questions(folder: Path) -> tuple[Question, ...]:
    """Return the questions that a run trained on; lines without provenance, which a person added, are none.

    Raises:
        DataError: the folder has no such file, or a line is none that `write_questions` writes.
    """
    file = folder / QUESTIONS
    if not file.is_file():
        message, hint = f"has no {QUESTIONS}, which says what the run trained on", "Run it again into this folder."
        raise DataError(message, place=str(folder), hint=hint)
    table = read_table(file)
    require(table, ["question", "provenance", "answers"], "Run it again into this folder.")
    found = []
    for row in table.rows:
        try:
            if provenance := row.values.get("provenance"):
                ids = tuple(map(str, row.values.get("answers") or ()))
                found.append(Question(str(row.values["question"]), ids, Provenance(provenance)))
        except (KeyError, TypeError, ValueError):
            message, hint = "is no line as a run writes it", "Run it again into this folder."
            raise DataError(message, place=row.place, hint=hint) from None
    return tuple(found)
