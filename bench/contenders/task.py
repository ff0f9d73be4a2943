"""What every contender is given, and the grid that every peer is tuned over. Knows no contender."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expertune.config import Config
from expertune.evaluate.ranking import Encoder
from expertune.evaluate.stage import measure
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder
from expertune.records import METRIC, Dataset, FloatArray, Questions, Scores
from expertune.train import select

Settings = Mapping[str, Any]
Fit = Callable[[Settings, NDArray[np.int64]], Encoder]
"""Tune with some settings on some question rows."""


@dataclass(frozen=True)
class Task:
    """One data set, one seed: the same training questions for everybody.

    `budget` is the wall-clock seconds that one training of a peer may take, without loading and validation; `scratch`
    is a folder that goes away.
    """

    config: Config
    dataset: Dataset
    questions: Questions
    scores: Scores
    base: ModelSource
    base_encoder: CachedEncoder
    seed: int
    budget: float
    scratch: Path
    chosen: Settings | None = None

    @property
    def texts(self) -> list[str]:
        """The training questions."""
        return [item.text for item in self.questions.items]

    @property
    def documents(self) -> list[str]:
        """The answers."""
        return [document.text for document in self.dataset.documents]

    @property
    def hard(self) -> FloatArray:
        """Hard labels `[Q, D]`."""
        return self.questions.hard_labels(self.dataset.documents)

    @property
    def teacher(self) -> FloatArray:
        """Scores `[Q, D]` of the expert that ranks the user's own questions best: a peer's single teacher."""
        from expertune.label.stage import label

        panel = label(self.dataset, self.questions, self.scores, self.config.label).panel
        best = int(np.nanargmax([expert.ndcg for expert in panel]))
        return np.nan_to_num(self.scores.values[:, :, best])


@dataclass(frozen=True)
class Outcome:
    """A tuned encoder, the settings that were chosen and how long choosing and the last training took."""

    encoder: Encoder
    chosen: Settings
    choosing_seconds: float
    seconds: float


Contender = Callable[[Task], Outcome]


def affordable(wanted: int, task: Task, seconds_a_step: float) -> int:
    """Return how many steps a training may take: what is wanted, as far as the budget goes, and at least one."""
    return max(1, min(wanted, int(task.budget / seconds_a_step)))


def best_of(task: Task, grid: Sequence[Settings], fit: Fit) -> Outcome:
    """Tune at every point of the grid, keep the best on the validation fold, and tune that again on everything.

    With `task.chosen` (the choice of an earlier seed on the same data) nothing is searched.
    """
    everything = np.arange(len(task.questions.items))
    started = time.perf_counter()
    chosen = task.chosen
    if chosen is None:
        fold = select.fold(task.questions, seed=task.config.run.seed)
        validation = select.validation_set(
            task.dataset.name, task.dataset.documents, [task.questions.items[row] for row in fold.validation]
        )
        scores = [measure(fit(point, fold.train), validation, "trial").mean(METRIC) for point in grid]
        chosen = grid[int(np.argmax(scores))]
    searched = time.perf_counter()
    encoder = fit(chosen, everything)
    return Outcome(encoder, chosen, searched - started, time.perf_counter() - searched)
