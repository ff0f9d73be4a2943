"""Tune once to choose, tune again on everything, keep the chosen point. Joins train, select and measure."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expertune import select, train
from expertune.config import SelectSection, TrainSection
from expertune.encoders import CachedEncoder, TrialEncoder
from expertune.evaluate import measure
from expertune.labels import share_equal_texts
from expertune.models import ModelSource
from expertune.records import (
    Dataset,
    FloatArray,
    JudgedSet,
    Questions,
    Report,
    Selection,
    SoftLabels,
    TunedModel,
)
from expertune.select import Fold, Trial


def tune_and_choose(
    *,
    base: ModelSource,
    base_encoder: CachedEncoder,
    dataset: Dataset,
    questions: Questions,
    labels: SoftLabels,
    unrelated: Sequence[str],
    probe: JudgedSet,
    section: TrainSection,
    choice: SelectSection,
    folder: Path,
    report: Report,
) -> TunedModel:
    """Tune the base, choose how far to go on validation questions, and write the model that is kept to `folder`."""
    document_texts = [document.text for document in dataset.documents]
    hard = share_equal_texts(questions.hard_labels(dataset.documents), dataset)
    given = train.TrainingData(
        questions=[item.text for item in questions.items],
        documents=document_texts,
        targets=np.asarray(labels.targets),
        active=np.asarray(labels.active),
        document_vectors=base_encoder.encode_documents(document_texts),
        unrelated=unrelated,
        unrelated_vectors=base_encoder.encode_queries(list(unrelated)) if unrelated else np.zeros((0, 1), np.float32),
    )
    fold = select.fold(questions, choice, seed=section.seed)
    # Documents keep the base's vectors in query mode: they come from the cache and are never encoded again.
    documents = base_encoder if section.mode == "query" else None
    with tempfile.TemporaryDirectory() as scratch:
        tuned = Path(scratch) / "choosing"
        losses = train.tune(base, _rows(given, fold.train, hard), section, tuned, report=report)
        selection = _choose(base, tuned, documents, dataset, questions, fold, probe, section, choice)
        if selection.factor > 0 and choice.refit and len(fold.train) < len(questions.items):
            tuned = Path(scratch) / "final"
            losses = train.tune(base, given, section, tuned, report=report)
        original = train.load_encoder(base)
        kept = train.interpolate(original, train.load_encoder(_local(tuned)), selection.factor)
        train.assemble(kept, original if section.mode == "query" else None, folder)
    return TunedModel(
        folder=Path(),
        base=base.name,
        mode=section.mode,
        selection=selection,
        steps=section.steps,
        losses=losses,
    )


def _choose(
    base: ModelSource,
    tuned: Path,
    documents: CachedEncoder | None,
    dataset: Dataset,
    questions: Questions,
    fold: Fold,
    probe: JudgedSet,
    section: TrainSection,
    choice: SelectSection,
) -> Selection:
    validation = select.validation_set(dataset, questions, fold.validation)
    start, end = train.load_encoder(base), train.load_encoder(_local(tuned))
    trials = []
    for factor in sorted({0.0, *choice.factors}):
        encoder = TrialEncoder(f"factor {factor:g}", train.interpolate(start, end, factor), documents)
        trials.append(
            Trial(
                factor=factor,
                step=section.steps,
                domain=measure(encoder, validation, encoder.name),
                general=measure(encoder, probe, encoder.name),
            )
        )
        gc.collect()
    return select.choose(trials, choice)


def _rows(given: train.TrainingData, rows: NDArray[np.int64], hard: FloatArray) -> train.TrainingData:
    """Return the training data of some questions; answers that none of them leads to are no negatives either."""
    return replace(
        given,
        questions=[given.questions[int(row)] for row in rows],
        targets=given.targets[rows],
        active=given.active & (hard[rows].max(axis=0) > 0),
    )


def _local(folder: Path) -> ModelSource:
    return ModelSource(name=folder.name, location=str(folder), fingerprint="")
