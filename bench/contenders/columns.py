"""What a loss of sentence-transformers is shown: questions, right answers, hard negatives and one expert's scores.

Soft labels come from one expert, as GPL and the distillation examples have one teacher; hard negatives are its best
answers that score clearly below the right one (the positive-aware filter of NV-Retriever, Moreira et al. 2024). Knows
no loss and no training.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from contenders.task import Rows, Settings, Task
from expertune.records import FloatArray
from expertune.train import trainer

Columns = dict[str, list[Any]]

CLEARLY_BELOW = 0.95
"""A hard negative scores at most this share of what the right answer scores."""


def training_rows(task: Task, point: Settings, rows: Rows, batch: int) -> Rows:
    """Return the rows of a pass: labelled and logged questions as often as ours has them, or each once."""
    kept = rows if point["log"] else rows[~task.questions.logged[rows]]
    if not point["repeat"]:
        return kept
    questions = SimpleNamespace(
        questions=kept, labelled=task.questions.labelled[kept], logged=task.questions.logged[kept]
    )
    return kept[trainer._training_rows(questions, batch)]  # type: ignore[arg-type]


def _pairs(task: Task, rows: Rows) -> tuple[Rows, Rows]:
    """Return row and column of every right answer."""
    at, columns = np.nonzero(task.hard[rows])
    return rows[at], columns


def negatives(task: Task, at: Rows, right: Rows, count: int) -> Rows:
    """Return hard negatives of each pair of question and right answer `[pairs, count]`; fewer on tiny corpora.

    What scores nearly as high as the right answer may be one too: it comes last.
    """
    scores, own = task.teacher[at], task.teacher[at, right][:, None]
    near = scores > own - (1 - CLEARLY_BELOW) * np.abs(own)
    order = np.where(task.hard[at] > 0, -np.inf, scores - 1000.0 * near)
    return np.argsort(-order, axis=1, kind="stable")[:, : min(count, order.shape[1] - 1)]


def pairs_and_negatives(task: Task, point: Settings, rows: Rows) -> Columns:
    """Return pairs and the hard negatives that the point asks for."""
    at, right = _pairs(task, rows)
    texts, documents = task.texts, task.documents
    made: Columns = {"question": [texts[row] for row in at], "answer": [documents[column] for column in right]}
    for number, columns in enumerate(negatives(task, at, right, point["negatives"]).T, start=1):
        made[f"negative_{number}"] = [documents[column] for column in columns]
    return made


def scored(task: Task, point: Settings, rows: Rows) -> Columns:
    """The same with the teacher's score of each answer."""
    at, right = _pairs(task, rows)
    every = np.column_stack([right, negatives(task, at, right, point["negatives"])])
    scores: FloatArray = np.take_along_axis(task.teacher[at], every, axis=1)
    return {**pairs_and_negatives(task, point, rows), "label": scores.tolist()}


def graded(task: Task, point: Settings, rows: Rows) -> Columns:
    """Pairs with a score: every right answer, its hardest negative, and a random answer."""
    at, right = _pairs(task, rows)
    near = negatives(task, at, right, 1)[:, 0]
    other = np.random.default_rng(task.seed).integers(len(task.documents), size=len(at))
    values = task.hard if point["labels"] == "hard" else np.clip(task.teacher, 0.0, 1.0)
    asked, columns = np.tile(at, 3), np.concatenate([right, near, other])
    return {
        "question": [task.texts[row] for row in asked],
        "answer": [task.documents[column] for column in columns],
        "label": values[asked, columns].astype(float).tolist(),
    }
