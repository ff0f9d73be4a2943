"""What every contender is given, and the grid that every peer is tuned over. Knows no contender."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from expertune.config import Config
from expertune.data.repeats import Repeats
from expertune.evaluate.ranking import Encoder
from expertune.evaluate.stage import measure
from expertune.label.stage import label
from expertune.label.strategies import on_one_scale
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder
from expertune.records import METRIC, Dataset, FloatArray, JudgedSet, Questions, Scores
from expertune.train import select, trainer

Settings = Mapping[str, Any]
Rows = NDArray[np.int64]
Limit = Literal["steps", "seconds", "validation"]
"""When a training of a peer ends: after our number of steps, after our seconds, or when its validation stops rising."""


@dataclass(frozen=True)
class Task:
    """One data set, one seed: the same training questions for everybody.

    `budget` is the wall-clock seconds that one training of a peer may take where seconds are the limit; `points` is how
    many points of its grid a peer looks at, 0: all; `chosen` is what an earlier seed has settled on the same data, and
    nothing is searched then. `scratch` is a folder that goes away.
    """

    config: Config
    dataset: Dataset
    questions: Questions
    scores: Scores
    base: ModelSource
    base_encoder: CachedEncoder
    seed: int
    scratch: Path
    limit: Limit = "steps"
    budget: float = 0.0
    points: int = 0
    chosen: Settings | None = None

    @property
    def texts(self) -> list[str]:
        """The training questions."""
        return [item.text for item in self.questions.items]

    @property
    def documents(self) -> list[str]:
        """The answers."""
        return [document.text for document in self.dataset.documents]

    @cached_property
    def teacher(self) -> FloatArray:
        """Scores `[Q, D]` of the expert that ranks the labelled questions best, on the answers as they are.

        A peer's single teacher; that experts read an answer's own questions with it is ours.
        """
        panel = label(self.dataset, self.questions, self.scores, self.config.label).panel
        best = int(np.nanargmax([expert.ndcg for expert in panel]))
        plain = self.scores.values if self.scores.plain is None else self.scores.plain
        return np.nan_to_num(on_one_scale(np.asarray(plain))[:, :, best])

    @cached_property
    def hard(self) -> FloatArray:
        """Hard labels `[Q, D]`; a question of the log has the teacher's first answer."""
        hard = self.questions.hard_labels(self.dataset.documents)
        logged = np.flatnonzero(self.questions.logged)
        hard[logged, self.teacher[logged].argmax(axis=1)] = 1.0
        return hard

    @property
    def steps(self) -> int:
        """How many optimiser steps ours takes."""
        return trainer.planned(self.config.train, len(self.questions.items)).steps

    @cached_property
    def fold(self) -> select.Fold:
        """The rows to tune on and those to choose by, however few: a grid has to be chosen by something."""
        return select.fold(self.questions, fewest=2, seed=self.config.run.seed)

    @cached_property
    def validation(self) -> JudgedSet:
        """The questions to choose by, on answers that hold none of them."""
        documents = Repeats.of(self.dataset).documents(self.dataset.documents)
        kept = [self.questions.items[row] for row in self.fold.validation]
        return select.validation_set(self.dataset.name, documents, kept)

    def validated(self, encoder: Encoder) -> float:
        """Return the nDCG@10 of the questions to choose by."""
        return measure(encoder, self.validation, "trial").mean(METRIC)


@dataclass(frozen=True)
class Outcome:
    """A tuned encoder, the settings that were chosen and how long choosing and the last training took.

    `tried` has the points of the grid that were looked at, each with its `validation` nDCG@10; empty: none were.
    """

    encoder: Encoder
    chosen: Settings
    seconds: float
    choosing_seconds: float = 0.0
    tried: Sequence[Settings] = ()


@dataclass(frozen=True)
class Fitted:
    """One tuning: its encoder, and the steps to take again where its own validation chose them, with that nDCG@10."""

    encoder: Encoder
    steps: int = 0
    validation: float | None = None


Contender = Callable[[Task], Outcome]
Fit = Callable[[Settings, Rows, bool], Fitted]
"""Tune with some settings on some question rows; True: the validation questions are not among them and may be asked."""


def best_of(task: Task, grid: Sequence[Settings], fit: Fit) -> Outcome:
    """Tune at every point of the grid, keep the best on the validation fold, and tune that again on everything.

    Of equal points the first is kept.
    """
    started = time.perf_counter()
    chosen, tried = task.chosen, []
    if chosen is None:
        for point in grid[: task.points or None]:
            fitted = fit(point, task.fold.train, True)
            found = task.validated(fitted.encoder) if fitted.validation is None else fitted.validation
            steps = {"steps": fitted.steps} if fitted.steps else {}
            tried.append({**point, **steps, "validation": round(found, 4)})
        best = max(tried, key=lambda point: point["validation"])
        chosen = {key: value for key, value in best.items() if key != "validation"}
    searched = time.perf_counter()
    encoder = fit(chosen, np.arange(len(task.questions.items)), False).encoder
    return Outcome(encoder, chosen, time.perf_counter() - searched, searched - started, tried)
