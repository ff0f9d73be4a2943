"""Tune on part of the questions, choose how far to go by the others, tune again on all: the way to the kept model.

Where too few questions could be left out, one tuning on all of them is both.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from expertune import data as reading
from expertune.config import TrainSection, keeps_documents
from expertune.data.leakage import HeldOut
from expertune.evaluate.stage import measure
from expertune.label.stage import Labeller
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder, trial_encoder
from expertune.models.load import load_model, one_side
from expertune.records import (
    Document,
    JudgedSet,
    Questions,
    Report,
    Selection,
    SoftLabels,
    TunedModel,
    ignore_progress,
)
from expertune.train import select, trainer
from expertune.train.select import Fold, Trial

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

VERSION = (trainer.VERSION, select.VERSION)
"""What a tuned and chosen model depends on beside its data and settings."""


@dataclass(frozen=True, slots=True)
class Tuner:
    """What both tunings of a run share.

    Args:
        base: The model to tune.
        encoder: Gives the base's vectors.
        section: How to tune.
        reference: Sentences about nothing that the answers are about; they are held in place.
        seed: Of the split, the order of the questions and dropout.
        report: Told of the steps.
    """

    base: ModelSource
    encoder: CachedEncoder
    section: TrainSection
    reference: Sequence[str] = ()
    seed: int = 0
    report: Report = ignore_progress

    @property
    def document_encoder(self) -> CachedEncoder | None:
        """What has the documents' vectors already: in query mode they stay the base's and are never encoded again."""
        return self.encoder if keeps_documents(self.section.mode) else None

    def planned(self, questions: int) -> Tuner:
        """Return the same with as many optimiser steps as so many questions ask for."""
        return replace(self, section=trainer.planned(self.section, questions))

    def data(self, documents: Sequence[Document], questions: Questions, labels: SoftLabels) -> trainer.TrainingData:
        """Return what one tuning sees, with the base's vectors of documents and reference sentences."""
        texts, reference = [document.text for document in documents], list(self.reference)
        return trainer.TrainingData(
            questions=[item.text for item in questions.items],
            documents=texts,
            # Copies: what comes from the store is mapped read-only, and torch warns of tensors over such memory.
            targets=np.array(labels.targets),
            active=np.array(labels.active),
            document_vectors=self.encoder.encode_documents(texts),
            reference=reference,
            reference_vectors=self.encoder.encode_queries(reference) if reference else np.zeros((0, 1), np.float32),
            columns=None if labels.columns is None else np.array(labels.columns),
            labelled=questions.labelled,
            logged=questions.logged,
        )

    def tune(self, data: trainer.TrainingData, folder: Path) -> tuple[float, ...]:
        """Tune to the end, save the model in `folder` and return the losses."""
        return trainer.tune(self.base, data, self.section, folder, seed=self.seed, report=self.report)


def tune_and_choose(
    tuner: Tuner,
    labeller: Labeller,
    labels: SoftLabels,
    general: JudgedSet,
    folder: Path,
    *,
    scratch: Path,
    general_tolerance: float,
) -> TunedModel:
    """Tune the base, choose how far to go on validation questions, and write the model that is kept to `folder`.

    Args:
        tuner: The base and how to tune it.
        labeller: Labels the training fold as if the validation questions did not exist.
        labels: Of all questions; the model that is kept is tuned on them.
        general: The general dev set, which the choice looks at.
        folder: Where the kept model goes.
        scratch: What is half-finished lies here: with the same arguments, a killed tuning goes on from there.
        general_tolerance: What the kept model may lose on `general`, in nDCG@10.
    """
    found = chosen(tuner, labeller, labels, general, scratch=scratch, general_tolerance=general_tolerance)
    keep(found, folder)
    return TunedModel(
        folder=Path(),
        base=tuner.base.name,
        strategy=labels.strategy,
        mode=tuner.section.mode,
        selection=found.selection,
        steps=found.tuner.section.steps,
        losses=found.losses,
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tuned model in `folder`, how far from the base to go towards it, the losses, and what tuned it."""

    tuner: Tuner
    folder: Path
    selection: Selection
    losses: tuple[float, ...]

    def model(self) -> SentenceTransformer:
        """Return the model at the chosen interpolation weight; of two sides, that of the questions."""
        base = one_side(load_model(self.tuner.base), "query")
        return trainer.interpolate(base, load_model(_local(self.folder)), self.selection.interpolation_weight)

    def encoder(self, name: str) -> CachedEncoder:
        """Return what encodes with that model; documents keep the base's vectors where only questions were tuned."""
        return trial_encoder(name, self.model(), self.tuner.document_encoder)


def chosen(
    tuner: Tuner,
    labeller: Labeller,
    labels: SoftLabels,
    general: JudgedSet,
    *,
    scratch: Path,
    general_tolerance: float,
) -> Chosen:
    """Tune and choose as `tune_and_choose` does; what is tuned lies in `scratch`."""
    rows = np.arange(len(labeller.questions.items))
    # Both tunings take as many steps: how far to go would else be chosen for another number of them.
    tuner = tuner.planned(len(rows))
    fold = select.fold(labeller.questions, fewest=select.FEWEST, seed=tuner.seed)
    fold = _unseen(fold, labeller.questions, tuner)
    # A labelling of some questions alone takes a while, and would be that of all.
    targets = labels if fold.learned else labeller.targets(fold.train)
    tuned, selection, losses = _choose(tuner, labeller, targets, fold, general, scratch / "choosing", general_tolerance)
    if selection.interpolation_weight > 0 and not fold.learned:
        tuned = scratch / "final"
        losses = tuner.tune(tuner.data(labeller.documents(rows), labeller.questions, labels), tuned)
    return Chosen(tuner, tuned, selection, losses)


def copies(questions: Questions, rows: NDArray[np.int64], tuner: Tuner, reference: Sequence[str]) -> tuple[bool, ...]:
    """Tell which questions `[Q]` repeat one of `rows`, by their words or by their meaning to the base."""
    texts = [item.text for item in questions.items]
    held_out = HeldOut.of(texts[int(row)] for row in rows)
    by_words = held_out.repeated_by(texts)
    by_meaning = held_out.meant_by(texts, tuner.encoder.encode_queries, reference=reference)
    return tuple(first or second for first, second in zip(by_words, by_meaning, strict=True))


def _unseen(fold: Fold, questions: Questions, tuner: Tuner) -> Fold:
    """Return a fold without the synthetic questions that were made from what validates, or that repeat it."""
    synthetic = np.array([item.synthetic for item in questions.items], dtype=np.bool_)
    if fold.learned or not synthetic.any():
        return fold
    rows = fold.validation[questions.labelled[fold.validation]]
    repeating = synthetic & np.array(copies(questions, rows, tuner, reading.reference_sentences()))
    return replace(fold, train=np.intersect1d(fold.train, select.apart(questions, rows, repeating.tolist())))


def _choose(
    tuner: Tuner,
    labeller: Labeller,
    targets: SoftLabels,
    fold: Fold,
    general: JudgedSet,
    folder: Path,
    general_tolerance: float,
) -> tuple[Path, Selection, tuple[float, ...]]:
    """Tune on the training fold; return the tuned model, the choice by the validation questions, and the losses."""
    rows = np.arange(len(labeller.questions.items))
    data = tuner.data(labeller.documents(fold.train), labeller.of(fold.train), targets)
    losses = tuner.tune(data, folder)
    # No document that is found in the validation holds a validation question, also where those are tuned on as well.
    documents = labeller.documents(np.setdiff1d(rows, fold.validation))
    validation = select.validation_set(labeller.dataset.name, documents, labeller.of(fold.validation).items)
    selection = select.choose(
        _trials(tuner, folder, validation, general),
        left_out=0 if fold.learned else len(fold.validation),
        preferred_weight=tuner.section.preferred_weight,
        general_tolerance=general_tolerance,
    )
    return folder, selection, losses


def _trials(tuner: Tuner, tuned: Path, validation: JudgedSet, general: JudgedSet) -> list[Trial]:
    """Measure a tuned model at each interpolation weight between it and the base."""
    start, end = one_side(load_model(tuner.base), "query"), load_model(_local(tuned))
    trials = []
    for weight in select.INTERPOLATION_WEIGHTS:
        encoder = trial_encoder(f"weight {weight:g}", trainer.interpolate(start, end, weight), tuner.document_encoder)
        domain, kept = (measure(encoder, judged, encoder.name) for judged in (validation, general))
        trials.append(Trial(weight, domain, kept))
        gc.collect()
    return trials


def keep(found: Chosen, folder: Path) -> None:
    """Write the model at the chosen interpolation weight between the base and the tuned one."""
    tuner = found.tuner
    documents = one_side(load_model(tuner.base), "document") if keeps_documents(tuner.section.mode) else None
    trainer.assemble(found.model(), documents, folder)


def _local(folder: Path) -> ModelSource:
    return ModelSource(name=folder.name, location=str(folder), fingerprint="")
