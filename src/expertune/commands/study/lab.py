"""Tune many variants over one store: what every study works with.

A study takes one run's questions and scores, changes one thing at a time and tunes with some seeds each. A `Tuning` is
kept under a key of everything it was tuned on, so studies share tunings and a killed study goes on after its last one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expertune import data, models
from expertune.config import Config, PluginSpec, TrainSection, keeps_documents
from expertune.errors import ConfigError
from expertune.evaluate.ranking import Encoder
from expertune.evaluate.separation import separation
from expertune.evaluate.stage import measure
from expertune.evaluate.statistics import Interval, seeds_interval
from expertune.label.stage import label
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder, sentence_encoder, trial_encoder
from expertune.models.load import load_model, one_side
from expertune.pipeline import artefacts
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.pipeline.store import fingerprint
from expertune.records import (
    METRIC,
    Dataset,
    FloatArray,
    Measurement,
    Progress,
    Questions,
    Report,
    Role,
    Scores,
    Separation,
    SoftLabels,
)
from expertune.score.stage import FULL_MATRIX
from expertune.train import trainer, tuning

VERSION = 2
"""Raise when what a tuning holds or how it is tuned changes its meaning."""

STEPS = 50
"""Optimiser steps of a study whose config sets none: it compares many tunings with each other."""

KEPT = TrainSection().preferred_weight
"""How far from the base to the tuned model studies look: what a run keeps unless its validation speaks against it."""

FACTORS = (0.25, 0.5, KEPT, 1.0)
"""Where tunings are measured, from base (0) to tuned (1): the same for all studies, so that they share tunings."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Point:
    """One model between base (factor 0) and tuned (1), measured on every judged set."""

    factor: float
    measurements: tuple[Measurement, ...]
    separations: tuple[Separation, ...]


@dataclass(frozen=True, slots=True)
class Tuning:
    """One tuning: how long it took, and its points by rising factor."""

    seconds: float
    points: tuple[Point, ...]

    def at(self, factor: float) -> Point:
        """Return the point of one factor."""
        return next(point for point in self.points if point.factor == factor)


class Lab:
    """One config and its store.

    Args:
        config: Of the run whose questions and scores are studied.
        report: Told of progress inside stages.
        seeds: How many seeds each tuning is repeated with; 0: as many as the study needs by itself.
    """

    def __init__(self, config: Config, report: Report, *, seeds: int = 0) -> None:
        steps = config.train.steps or STEPS
        self.config = config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})
        self.report = report
        self._seeds = seeds
        self._run = Run(config, report)
        self.store = self._run.store

    def seeds(self, usual: int) -> range:
        """Return the seeds to tune with."""
        return range(self._seeds or usual)

    # --- what the run has ------------------------------------------------------------------------------------------

    @cached_property
    def basis(self) -> RunResult:
        """The run up to the experts' scores."""
        if self.config.data.expand:
            raise ConfigError(
                ["studies look at answers as they are, not at questions + answer"],
                place="data.expand",
                hint="Set it to 0 for the study, for instance with --set data.expand=0.",
            )
        basis = self._run.execute(until=Stage.SCORE)
        if basis.scores is not None and basis.scores.columns is not None:
            raise ConfigError(
                ["studies need the scores of every question and document, not of candidates"],
                place="data.path",
                hint=f"Study a smaller corpus: up to {FULL_MATRIX:,} answers are judged with every question.",
            )
        return basis

    @property
    def dataset(self) -> Dataset:
        """The documents and the labelled questions."""
        return self.basis.dataset

    @property
    def questions(self) -> Questions:
        """Every training question."""
        assert self.basis.questions
        return self.basis.questions

    @property
    def scores(self) -> Scores:
        """The panel's scores of them."""
        assert self.basis.scores
        return self.basis.scores

    @cached_property
    def labelled(self) -> Rows:
        """Rows of the labelled questions among all."""
        return np.flatnonzero([item.labelled for item in self.questions.items])

    @cached_property
    def hard(self) -> FloatArray:
        """Hard labels `[Q, D]`."""
        return self.questions.hard_labels(self.dataset.documents)

    # --- labels and tunings ----------------------------------------------------------------------------------------

    def labels(
        self,
        strategy: str = "",
        *,
        rows: Rows | None = None,
        experts: Sequence[int] | None = None,
        listwise: bool = True,
        plain: bool = False,
        **changes: Any,
    ) -> tuple[Questions, SoftLabels]:
        """Label some question rows (default: all) by some experts of the panel (default: all).

        `plain`: by their scores of answers alone, where the panel also read an answer's labelled questions.

        `strategy` ("": the config's) and `changes` are laid over the config's label section. As in a run, hard labels
        leave the questions of a search log out, which nobody labelled.
        """
        rows = np.arange(len(self.questions.items)) if rows is None else rows
        if (strategy or self.config.label.strategy) == "hard":
            rows = rows[~self.questions.logged[rows]]
        columns = list(range(len(self.scores.experts)) if experts is None else experts)
        questions = Questions(tuple(self.questions.items[int(row)] for row in rows))
        names = tuple(self.scores.experts[column] for column in columns)
        values = self.scores.plain if plain and self.scores.plain is not None else self.scores.values
        scores = Scores(names, np.asarray(values[rows])[:, :, columns])
        return questions, self.label(questions, scores, strategy, listwise=listwise, **changes)

    def label(
        self, questions: Questions, scores: Scores, strategy: str = "", *, listwise: bool = True, **changes: Any
    ) -> SoftLabels:
        """Label questions by scores of one's own."""
        changes |= {"strategy": strategy} if strategy else {}
        section = self.config.label.model_copy(update=changes)
        base = PluginSpec(model=self.config.train.base).label
        return label(self.dataset, questions, scores, section, base=base, listwise=listwise)

    def tuned(self, labelled: tuple[Questions, SoftLabels], *, seeds: Sequence[int], **changes: Any) -> list[Tuning]:
        """Return one tuning for each seed, made now or found; `changes` are laid over the config's train section."""
        questions, labels = labelled
        tunings: list[Tuning] = []
        for seed in seeds:
            self.report(Progress("study", len(tunings), len(seeds), f"{labels.strategy}, seed {seed}"))
            section = self.config.train.model_copy(update=changes)
            tunings.append(self._tuning(questions, labels, section, seed))
        return tunings

    def _tuning(self, questions: Questions, labels: SoftLabels, section: TrainSection, seed: int) -> Tuning:
        reference = data.reference_sentences(section.reference_texts) if section.reference_weight else ()
        source = models.resolve(section.base, offline=self.config.run.offline)
        key = fingerprint(
            VERSION,
            trainer.VERSION,
            [question.text for question in questions.items],
            [document.text for document in self.dataset.documents],
            hashlib.sha256(np.ascontiguousarray(labels.targets).tobytes()).hexdigest(),
            np.asarray(labels.active).tolist(),
            questions.labelled.tolist(),
            section.model_dump(mode="json", exclude={"reference_texts", "report_to"}),
            seed,
            reference,
            source.fingerprint,
            data.Files(self.config.data).judged_fingerprint,
        )

        def make(folder: Path) -> None:
            tuner = tuning.Tuner(source, self._base_encoder, section, reference, seed, self.report)
            tuned = self.store.scratch("study", key) / "tuned"
            started = time.perf_counter()
            tuner.tune(tuner.data(self.dataset.documents, questions, labels), tuned)
            seconds = time.perf_counter() - started
            artefacts.save(Tuning(seconds, self._points(source, tuned, section)), folder)

        return artefacts.load(Tuning, self.store.obtain("study", key, make).folder)

    # --- measuring -------------------------------------------------------------------------------------------------

    @cached_property
    def _base_encoder(self) -> CachedEncoder:
        base = sentence_encoder(self.config.train.base, offline=self.config.run.offline)
        return CachedEncoder("base", base, cache=self.store.items, report=self.report)

    @cached_property
    def base(self) -> Point:
        """The untouched base as a point."""
        return self._point(self._base_encoder, 0.0)

    def _points(self, base: ModelSource, tuned: Path, section: TrainSection) -> tuple[Point, ...]:
        """Measure the models between a base and what was tuned from it."""
        start = one_side(load_model(base), "query")
        end = load_model(ModelSource(name="tuned", location=str(tuned), fingerprint=""))
        documents = self._base_encoder if keeps_documents(section.mode) else None
        return tuple(
            self._point(trial_encoder(f"factor {factor:g}", trainer.interpolate(start, end, factor), documents), factor)
            for factor in FACTORS
        )

    def _point(self, encoder: Encoder, factor: float) -> Point:
        judged = self.basis.judged
        seed = self.config.run.seed
        return Point(
            factor,
            tuple(measure(encoder, item, encoder.name) for item in judged),
            tuple(separation(encoder, item, encoder.name, seed=seed) for item in judged if item.role is Role.DOMAIN),
        )

    def gain(
        self, points: Sequence[Point], role: Role, *, over: Sequence[Point] = (), metric: str = METRIC
    ) -> Interval:
        """Return the mean difference of repeated points to the base (or to `over`), over new seeds and questions.

        `over` has the same seeds, and each point is compared with that of its seed. Every judged set of the role counts
        the same.
        """
        pairs = list(zip(points, over or [self.base] * len(points), strict=True))
        values = np.stack([np.subtract(*(_weighted_values(point, role, metric) for point in pair)) for pair in pairs])
        clusters = [
            f"{item.dataset} {cluster}"
            for item in self.base.measurements
            if item.role is role
            for cluster in item.clusters
        ]
        return seeds_interval(values, clusters, seed=self.config.run.seed)

    def gains(self, points: Sequence[Point], *, over: Sequence[Point] = ()) -> dict[str, Interval]:
        """Return `gain` in the domain and in general."""
        return {str(role): self.gain(points, role, over=over) for role in (Role.DOMAIN, Role.GENERAL)}


def at(tunings: Sequence[Tuning], factor: float = KEPT) -> list[Point]:
    """Return the points of repeated tunings at one factor; by default, that of a run."""
    return [tuning.at(factor) for tuning in tunings]


def _weighted_values(point: Point, role: Role, metric: str) -> NDArray[np.float64]:
    """Return values of all questions of a role, weighted so that their mean is the mean of the sets' weighted means."""
    sets = [item for item in point.measurements if item.role is role]
    total = sum(len(item.query_ids) for item in sets)
    weights = [np.array(item.weights) / np.mean(item.weights) if item.weights else 1.0 for item in sets]
    return np.concatenate([
        item.values[metric] * weight * (total / (len(sets) * len(item.query_ids)))
        for item, weight in zip(sets, weights, strict=True)
    ])  # fmt: skip
