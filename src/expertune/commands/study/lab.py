"""What every study works with: one run's questions and scores, and tuned pieces that are made once and kept.

A piece is one tuning, measured at some interpolation factors. Its key is what it was tuned on, bit by bit, so studies
share pieces, and a killed study goes on after its last finished one. This module asks no question of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expertune import data, models
from expertune.config import Config, LabelSection, PluginSpec, TrainSection, keeps_documents
from expertune.errors import ConfigError
from expertune.evaluate.ranking import Encoder
from expertune.evaluate.separation import separation
from expertune.evaluate.stage import measure
from expertune.evaluate.statistics import Interval, seeds_interval
from expertune.label.stage import label
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder, sentence_encoder, trial_encoder
from expertune.models.load import load_model
from expertune.pipeline import artefacts
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.pipeline.store import fingerprint
from expertune.records import (
    METRIC,
    Dataset,
    FloatArray,
    JudgedSet,
    Measurement,
    Progress,
    Provenance,
    Question,
    Questions,
    Report,
    Role,
    Scores,
    Separation,
    SoftLabels,
)
from expertune.score.stage import load_experts, score
from expertune.train import trainer, tuning

VERSION = 1
"""Raise when what a piece holds or how it is tuned changes its meaning."""

STEPS = 50
"""Optimiser steps of a study whose config sets none: it compares many tunings with each other."""

FACTORS = (0.25, 0.5, 0.75, 1.0)
"""Where pieces are measured, from base (0) to tuned (1): the same for all studies, so that they share pieces."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model between base (factor 0) and tuned (1): measured on every judged set.

    `vectors` `[T, dimension]` are those of `Lab.texts`, unit length.
    """

    factor: float
    measurements: tuple[Measurement, ...]
    separations: tuple[Separation, ...]
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class Piece:
    """One tuning: how long it took, and its points by rising factor."""

    seconds: float
    points: tuple[Point, ...]

    def at(self, factor: float) -> Point:
        """Return the point of one factor."""
        return next(point for point in self.points if point.factor == factor)


@dataclass(frozen=True, slots=True)
class Asked:
    """The held-out questions of the domain as the panel sees them.

    `scores` `[Q, D, K]`, `right` `[Q, D]`; `clusters[i]` names the answer (set) of question i.
    """

    texts: tuple[str, ...]
    scores: Scores
    right: NDArray[np.bool_]
    clusters: tuple[str, ...]


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

    def steps(self, usual: int) -> int:
        """Return how many steps a study of many tunings takes: never more than the config's."""
        return min(usual, self.config.train.steps)

    @cached_property
    def basis(self) -> RunResult:
        """The run up to the experts' scores."""
        if self.config.data.expand:
            raise ConfigError(
                ["studies look at answers as they are, not at questions + answer"],
                place="data.expand",
                hint="Set it to 0 for the study, for instance with --set data.expand=0.",
            )
        found = self._run.execute(until=Stage.SCORE)
        if found.scores is not None and found.scores.columns is not None:
            raise ConfigError(
                ["studies need the scores of every question and document, not of candidates"],
                place="score",
                hint="Raise score.full_matrix above the number of answers, or study a smaller corpus.",
            )
        return found

    @property
    def dataset(self) -> Dataset:
        """The documents and the user's own questions."""
        return self.basis.dataset

    @property
    def questions(self) -> Questions:
        """Every training question, generated ones included."""
        assert self.basis.questions
        return self.basis.questions

    @property
    def scores(self) -> Scores:
        """What the panel thinks of them."""
        assert self.basis.scores
        return self.basis.scores

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every held-out question, of the domain and of the general sets, sorted."""
        return tuple(sorted({query.text for judged in self.basis.judged for query in judged.queries}))

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which training questions `[Q]` are the user's own."""
        return self.questions.known

    @cached_property
    def hard(self) -> FloatArray:
        """Hard labels `[Q, D]`."""
        return self.questions.hard_labels(self.dataset.documents)

    @cached_property
    def asked(self) -> Asked:
        """The domain's held-out questions, scored by the panel: for looking at it, never for tuning."""
        domain = [judged for judged in self.basis.judged if judged.role is Role.DOMAIN]
        rows = {
            query.text: (query.id, judged)
            for judged in domain
            for query in judged.queries
            if judged.qrels.get(query.id)
        }
        items = tuple(
            Question(
                text,
                tuple(sorted(doc for doc, grade in judged.qrels[key].items() if grade >= 1)),
                Provenance.HELD_OUT,
            )
            for text, (key, judged) in rows.items()
        )
        questions = Questions(items)
        experts = load_experts(self.config.score.experts, offline=self.config.run.offline)

        def make(folder: Path) -> None:
            made = score(
                self.dataset,
                questions,
                experts,
                cache=self.store.items,
                report=self.report,
            )
            artefacts.save(made, folder)

        prints = [expert.fingerprint for expert in experts]
        key = fingerprint(
            VERSION,
            prints,
            [document.text for document in self.dataset.documents],
            list(rows),
        )
        scores = artefacts.load(Scores, self.store.obtain("study-scores", key, make).folder)
        right = questions.hard_labels(self.dataset.documents) > 0
        return Asked(
            tuple(rows),
            scores,
            right,
            tuple("+".join(item.document_ids) for item in items),
        )

    # --- labels and tuned pieces -------------------------------------------------------------------------------------

    def labels(
        self,
        section: LabelSection,
        *,
        rows: NDArray[np.int64] | None = None,
        experts: Sequence[int] | None = None,
    ) -> tuple[Questions, SoftLabels]:
        """Label some question rows (default: all) by some experts of the panel (default: all)."""
        items = self.questions.items if rows is None else tuple(self.questions.items[int(row)] for row in rows)
        values = np.asarray(self.scores.values) if rows is None else np.asarray(self.scores.values[rows])
        names = self.scores.experts
        if experts is not None:
            values, names = (
                values[:, :, list(experts)],
                tuple(names[index] for index in experts),
            )
        questions = Questions(items)
        base = PluginSpec(model=self.config.train.base).label
        return questions, label(self.dataset, questions, Scores(names, values), section, base=base)

    @cached_property
    def base_encoder(self) -> CachedEncoder:
        """The untouched base."""
        expert = sentence_encoder(self.config.train.base, offline=self.config.run.offline)
        return CachedEncoder("base", expert, cache=self.store.items, report=self.report)

    @cached_property
    def base(self) -> Point:
        """The untouched base as a point."""
        return self._point(self.base_encoder, 0.0)

    def tune(
        self,
        questions: Questions,
        labels: SoftLabels,
        section: TrainSection,
        *,
        factors: Sequence[float] = FACTORS,
    ) -> Piece:
        """Return the piece of one tuning with one seed, made now or found."""
        sentences = data.reference_sentences(section.anchor_texts) if section.anchor_weight else ()
        section = section.model_copy(update={"seeds": 1})
        targets = np.ascontiguousarray(labels.targets)
        key = fingerprint(
            VERSION,
            trainer.VERSION,
            [question.text for question in questions.items],
            [document.text for document in self.dataset.documents],
            hashlib.sha256(targets.tobytes()).hexdigest(),
            np.asarray(labels.active).tolist(),
            questions.known.tolist(),
            section.model_dump(mode="json", exclude={"anchor_texts", "report_to"}),
            tuning.held_texts(questions.items, sentences, section),
            models.resolve(section.base, offline=self.config.run.offline).fingerprint,
            data.judged_fingerprint(self.config.data),
            list(factors),
        )

        def make(folder: Path) -> None:
            given = tuning.training_data(self.dataset, questions, labels, self.base_encoder, sentences, section)
            artefacts.save(
                self._tuned(given, section, factors, self.store.scratch("study", key)),
                folder,
            )

        return artefacts.load(Piece, self.store.obtain("study", key, make).folder)

    def repeated(
        self,
        questions: Questions,
        labels: SoftLabels,
        *,
        seeds: Sequence[int],
        factors: Sequence[float] = FACTORS,
        **changes: object,
    ) -> list[Piece]:
        """Return one piece for each seed; `changes` are laid over the config's own training section."""
        pieces: list[Piece] = []
        for seed in seeds:
            self.report(Progress("study", len(pieces), len(seeds), f"{labels.strategy}, seed {seed}"))
            section = self.config.train.model_copy(update={**changes, "seed": seed})
            pieces.append(self.tune(questions, labels, section, factors=factors))
        return pieces

    def _tuned(
        self,
        given: trainer.TrainingData,
        section: TrainSection,
        factors: Sequence[float],
        scratch: Path,
    ) -> Piece:
        source = models.resolve(section.base, offline=self.config.run.offline)
        folder = scratch / "tuned"
        started = time.perf_counter()
        trainer.tune(source, given, section, folder, report=self.report)
        seconds = time.perf_counter() - started
        start = load_model(source)
        end = load_model(ModelSource(name="tuned", location=str(folder), fingerprint=""))
        documents = self.base_encoder if keeps_documents(section.mode) else None
        points = [
            self._point(
                trial_encoder(f"factor {factor:g}", trainer.interpolate(start, end, factor), documents),
                factor,
            )
            for factor in sorted(factors)
        ]
        return Piece(seconds, tuple(points))

    def _point(self, encoder: Encoder, factor: float) -> Point:
        vectors = encoder.encode_queries(self.texts)
        table = _Table(encoder, self.texts, vectors)
        measured, apart = [], []
        for judged in self.basis.judged:
            measured.append(measure(table, judged, encoder.name))
            if judged.role is Role.DOMAIN:
                apart.append(separation(table, judged, encoder.name, seed=self.config.run.seed))
        return Point(factor, tuple(measured), tuple(apart), vectors)

    # --- comparing -----------------------------------------------------------------------------------------------

    def gain(
        self,
        points: Sequence[Point],
        role: Role,
        *,
        over: Sequence[Point] = (),
        metric: str = METRIC,
    ) -> Interval:
        """Return the mean difference of repeated points to the base (or to `over`), over new seeds and questions.

        Every judged set of the role counts the same.
        """
        rows = [self._values(point, role, metric) for point in points]
        others = [self._values(point, role, metric) for point in over or [self.base]]
        against = np.mean([values for values, _ in others], axis=0)
        differences = np.stack([values - against for values, _ in rows])
        return seeds_interval(differences, rows[0][1], seed=self.config.run.seed)

    def _values(self, point: Point, role: Role, metric: str) -> tuple[NDArray[np.float64], list[str]]:
        """Return values of all questions of a role, weighted so that their mean is that of the sets, and clusters."""
        own = [measured for measured in point.measurements if measured.role is role]
        total = sum(len(measured.query_ids) for measured in own)
        values = [measured.values[metric] * (total / (len(own) * len(measured.query_ids))) for measured in own]
        clusters = [f"{measured.dataset} {cluster}" for measured in own for cluster in measured.clusters]
        return np.concatenate(values), clusters

    def rows_of(self, judged: JudgedSet) -> list[int]:
        """Return where a set's questions stand in `texts`, and so in a point's vectors."""
        place = {text: index for index, text in enumerate(self.texts)}
        return [place[query.text] for query in judged.queries]


class _Table:
    """Questions looked up, documents encoded by a model that remembers the last corpus."""

    def __init__(self, encoder: Encoder, texts: Sequence[str], vectors: FloatArray) -> None:
        self.name = encoder.name
        self._rows = dict(zip(texts, vectors, strict=True))
        self._documents = encoder

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([self._rows[text] for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        return self._documents.encode_documents(texts)
