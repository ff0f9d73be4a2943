"""The paper's recipe as docs/design.md reads it: the whole model, regression of single cosines on the labels."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contenders.task import Contender, Outcome, Settings, Task, affordable, best_of
from expertune.config import LabelSection, TrainSection
from expertune.label.stage import label
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder, trial_encoder
from expertune.models.load import load_model
from expertune.records import Progress, Questions, Scores
from expertune.train import trainer

GRID: Sequence[Settings] = [{"learning_rate": rate} for rate in (1e-5, 2e-5, 5e-5)]
STEPS = 100


def paper(strategy: str) -> Contender:
    """Return the contender with one label strategy: hard, soft-1, soft-2 or soft-3."""

    def run(task: Task) -> Outcome:
        steps = 0

        def fit(point: Settings, rows: NDArray[np.int64]) -> CachedEncoder:
            nonlocal steps
            given = _given(task, strategy, rows)
            section = TrainSection(
                mode="full",
                frozen_layers=0.0,
                loss="pairwise",
                reference_weight=0.0,
                learning_rate=point["learning_rate"],
            )
            steps = steps or point.get("steps") or affordable(STEPS, task, _seconds_a_step(task, given, section))
            folder = _fresh(task)
            trainer.tune(task.base, given, section.model_copy(update={"steps": steps}), folder, seed=task.seed)
            return trial_encoder("paper", load_model(_local(folder)), None)

        outcome = best_of(task, GRID, fit)
        return Outcome(outcome.encoder, {**outcome.chosen, "steps": steps}, outcome.choosing_seconds, outcome.seconds)

    return run


def _given(task: Task, strategy: str, rows: NDArray[np.int64]) -> trainer.TrainingData:
    questions = Questions(tuple(task.questions.items[int(row)] for row in rows))
    scores = Scores(task.scores.experts, np.asarray(task.scores.values)[rows])
    section = LabelSection.model_validate({"strategy": strategy})
    labels = label(task.dataset, questions, scores, section, listwise=False)
    return trainer.TrainingData(
        questions=[item.text for item in questions.items],
        documents=task.documents,
        targets=labels.targets,
        active=np.ones(len(task.documents), dtype=bool),
        document_vectors=task.base_encoder.encode_documents(task.documents),
        reference=(),
        reference_vectors=np.zeros((0, 1), np.float32),
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


def _local(folder: Path) -> ModelSource:
    return ModelSource(name=folder.name, location=str(folder), fingerprint="")
