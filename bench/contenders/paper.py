"""The paper's recipe as docs/design.md reads it: the whole model, regression of single cosines on the labels."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from contenders.task import Contender, Fitted, Outcome, Rows, Settings, Task, best_of
from expertune.config import LabelSection, TrainSection
from expertune.label.stage import label
from expertune.models import ModelSource
from expertune.models.encoder import trial_encoder
from expertune.models.load import load_model
from expertune.records import Progress, Questions
from expertune.train import trainer

GRID: Sequence[Settings] = [{"learning_rate": rate} for rate in (2e-5, 5e-5, 1e-5)]


def paper(strategy: str) -> Contender:
    """Return the contender with one label strategy: hard, soft-1, soft-2 or soft-3.

    It takes our steps or our seconds, and our steps too where others go on until their validation stops rising.
    """

    def run(task: Task) -> Outcome:
        def fit(point: Settings, rows: Rows, validate: bool) -> Fitted:  # noqa: ARG001
            given = _given(task, strategy, rows)
            section = TrainSection(
                mode="full",
                frozen_layers=0.0,
                loss="pairwise",
                reference_weight=0.0,
                learning_rate=point["learning_rate"],
            )
            steps = point.get("steps") or task.steps
            if task.limit == "seconds" and "steps" not in point:
                steps = max(1, int(task.budget / _seconds_a_step(task, given, section)))
            folder = _fresh(task)
            trainer.tune(task.base, given, section.model_copy(update={"steps": steps}), folder, seed=task.seed)
            tuned = load_model(ModelSource(name=folder.name, location=str(folder), fingerprint=""))
            return Fitted(trial_encoder("paper", tuned), steps)

        return best_of(task, GRID, fit)

    return run


def _given(task: Task, strategy: str, rows: Rows) -> trainer.TrainingData:
    """Return what is learned from; questions of the log have no label, and are left out."""
    rows = rows[~task.questions.logged[rows]]
    questions = Questions(tuple(task.questions.items[int(row)] for row in rows))
    section = LabelSection.model_validate({"strategy": strategy})
    labels = label(task.dataset, questions, task.scores.of(rows), section, listwise=False)
    return trainer.TrainingData(
        questions=[item.text for item in questions.items],
        documents=task.documents,
        targets=labels.targets,
        active=np.ones(len(task.documents), dtype=bool),
        document_vectors=task.base_encoder.encode_documents(task.documents),
        reference=(),
        reference_vectors=np.zeros((0, 1), np.float32),
        labelled=questions.labelled,
    )


def _seconds_a_step(task: Task, given: trainer.TrainingData, section: TrainSection) -> float:
    moments: list[float] = []

    def watch(_: Progress) -> None:
        moments.append(time.perf_counter())

    trainer.tune(task.base, given, section.model_copy(update={"steps": 4}), _fresh(task), report=watch)
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def _fresh(task: Task) -> Path:
    """Return a folder of its own for one tuning: a folder that holds a finished one is taken as its result."""
    return Path(tempfile.mkdtemp(dir=task.scratch)) / "tuned"
