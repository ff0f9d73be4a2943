"""Tune once to choose, tune again on everything, keep the chosen point. Joins train, select and measure."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from expertune.config import SelectSection, TrainSection, keeps_documents
from expertune.evaluate.stage import measure
from expertune.label.stage import led_to, share_equal_texts
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder, trial_encoder
from expertune.models.load import load_model
from expertune.records import (
    Dataset,
    Document,
    FloatArray,
    JudgedSet,
    Question,
    Questions,
    Report,
    SoftLabels,
    TunedModel,
)
from expertune.train import select, trainer
from expertune.train.near_misses import near_misses
from expertune.train.select import Setting, Trial

VERSION = (trainer.VERSION, select.VERSION)
"""What a tuned and chosen model depends on beside its data and settings."""

Relabel = Callable[[NDArray[np.int64]], SoftLabels]
"""Give the targets of some question rows as if the other questions did not exist."""

Index = Callable[[NDArray[np.int64]], tuple[Document, ...]]
"""Give the documents as an index holds them, as if no other question than those of some rows existed."""


def training_data(
    dataset: Dataset,
    questions: Questions,
    labels: SoftLabels,
    base_encoder: CachedEncoder,
    sentences: Sequence[str],
    section: TrainSection,
) -> trainer.TrainingData:
    """Return what one tuning on all questions sees, with the base's vectors of documents and unrelated texts."""
    documents = [document.text for document in dataset.documents]
    unrelated = held_texts(questions.items, sentences, section)
    return trainer.TrainingData(
        questions=[item.text for item in questions.items],
        documents=documents,
        # Copies: what comes from the store is mapped read-only, and torch warns of tensors over such memory.
        targets=np.array(labels.targets),
        active=np.array(labels.active),
        document_vectors=base_encoder.encode_documents(documents),
        unrelated=unrelated,
        unrelated_vectors=_base_vectors(unrelated, base_encoder),
        columns=None if labels.columns is None else np.array(labels.columns),
        known=questions.known,
    )


def held_texts(items: Sequence[Question], sentences: Sequence[str], section: TrainSection) -> tuple[str, ...]:
    """Return the texts that a tuning on some questions holds in place: the sentences, and near misses of them all."""
    return (*sentences, *near_misses(items, sentences, section.near_misses, seed=section.seed))


def _base_vectors(unrelated: Sequence[str], base_encoder: CachedEncoder) -> FloatArray:
    return base_encoder.encode_queries(list(unrelated)) if unrelated else np.zeros((0, 1), np.float32)


def tune_and_choose(
    *,
    base: ModelSource,
    base_encoder: CachedEncoder,
    dataset: Dataset,
    questions: Questions,
    labels: SoftLabels,
    sentences: Sequence[str],
    probe: JudgedSet,
    section: TrainSection,
    choice: SelectSection,
    folder: Path,
    scratch: Path,
    report: Report,
    relabels: Mapping[str, Relabel] = MappingProxyType({}),
    index: Index | None = None,
) -> TunedModel:
    """Tune the base, choose how far to go on validation questions, and write the model that is kept to `folder`.

    The model to choose by is tuned on targets that know nothing of the validation questions: `labels` learn the weights
    of the experts from all of the user's questions, `relabels` do so from the training fold alone, for every strategy
    that `choice` weighs. Only the own one may be left out, where its labels learn nothing from questions. Likewise
    `index` tells what the documents say where they hold questions: those of the validation would find themselves. None
    is for documents that are what `dataset` has.

    `sentences` are unrelated to every answer; they and near misses of the questions are held in place.

    Where `choice` weighs several settings, each is tuned on the same part of the questions; one of them is kept.

    What is half-finished lies in `scratch`: with the same arguments and `scratch`, a killed tuning goes on from there.
    """
    # Both tunings take as many steps: how far to go would else be chosen for another one.
    section = trainer.planned(section, len(questions.items))
    hard = share_equal_texts(questions.hard_labels(dataset.documents, labels.columns), dataset, labels.columns)
    fold = select.fold(questions, choice, seed=section.seed)
    rows = np.arange(len(questions.items))
    index = index or (lambda _: dataset.documents)
    # No document that is found in the validation holds a validation question, also where those are tuned on as well.
    whole, partial = (replace(dataset, documents=index(some)) for some in (rows, np.setdiff1d(rows, fold.validation)))
    given = training_data(whole, questions, labels, base_encoder, sentences, section)
    texts = [document.text for document in partial.documents]
    same = texts == given.documents
    columns = None if labels.columns is None else labels.columns[fold.train]
    active = given.active & led_to(hard[fold.train], dataset, columns)
    # Made from a validation question, a near miss would hold what is to be measured.
    unrelated = held_texts([questions.items[int(row)] for row in fold.train], sentences, section)
    part = replace(
        given,
        questions=[given.questions[int(row)] for row in fold.train],
        documents=texts,
        document_vectors=given.document_vectors if same else base_encoder.encode_documents(texts),
        targets=np.asarray(labels.targets[fold.train]),
        # Answers that only questions of the other fold lead to are no negatives either.
        active=active,
        columns=columns,
        known=questions.known[fold.train],
        unrelated=unrelated,
        unrelated_vectors=(
            given.unrelated_vectors if unrelated == given.unrelated else _base_vectors(unrelated, base_encoder)
        ),
    )
    validation = select.validation_set(partial, questions, fold.validation)
    learned: dict[str, FloatArray] = {}
    own, *rest = select.settings(labels.strategy, section, choice)
    tunings: dict[Setting, Tuning] = {}
    trials: list[Trial] = []
    for setting in (own, *rest):
        if setting.strategy not in learned:
            learn = relabels.get(setting.strategy)
            learned[setting.strategy] = part.targets if learn is None else np.asarray(learn(fold.train).targets)
        some = replace(part, targets=learned[setting.strategy])
        tunings[setting] = _tune(base, some, section, setting, scratch / f"choosing-{setting.tuning}", report)
        factors = {0.0, *choice.factors} if setting == own else {*choice.factors} - {0.0}
        trials += _trials(base, tunings[setting].folder, base_encoder, validation, probe, setting, sorted(factors))
    selection = select.choose(trials, choice)
    kept = next((trial.setting for trial, item in zip(trials, selection.candidates, strict=False) if item.chosen), own)
    tuned = tunings[kept]
    if selection.factor > 0 and choice.refit and len(fold.train) < len(questions.items):
        everything = given
        if kept.strategy != labels.strategy:
            everything = replace(given, targets=np.array(relabels[kept.strategy](rows).targets))
        tuned = _tune(base, everything, section, kept, scratch / "final", report)
    original = load_model(base)
    model = trainer.interpolate(original, load_model(_local(tuned.folder)), selection.factor)
    trainer.assemble(model, original if keeps_documents(kept.mode) else None, folder)
    return TunedModel(
        folder=Path(),
        base=base.name,
        strategy=kept.strategy,
        mode=kept.mode,
        selection=selection,
        steps=kept.steps,
        losses=tuned.losses,
    )


@dataclass(frozen=True, slots=True)
class Tuning:
    """What one tuning left behind: its model and its losses."""

    folder: Path
    losses: tuple[float, ...]


def _tune(
    base: ModelSource,
    given: trainer.TrainingData,
    section: TrainSection,
    setting: Setting,
    folder: Path,
    report: Report,
) -> Tuning:
    """Tune as a setting says with each of `section.seeds` seeds; keep the average of their weights and losses."""
    section = section.model_copy(update={"mode": setting.mode, "steps": setting.steps})
    if section.seeds == 1:
        return Tuning(folder, trainer.tune(base, given, section, folder, report=report))
    members = [folder.with_name(f"{folder.name}-{number}") for number in range(section.seeds)]
    losses = [
        trainer.tune(base, given, section.model_copy(update={"seed": section.seed + number}), member, report=report)
        for number, member in enumerate(members)
    ]
    trainer.average([load_model(_local(member)) for member in members], folder)
    return Tuning(folder, tuple(np.mean(losses, axis=0).tolist()))


def _trials(
    base: ModelSource,
    tuned: Path,
    base_encoder: CachedEncoder,
    validation: JudgedSet,
    probe: JudgedSet,
    setting: Setting,
    factors: Sequence[float],
) -> list[Trial]:
    """Measure a tuned model at some factors between it and the base."""
    # Documents keep the base's vectors in query mode: they come from the cache and are never encoded again.
    documents = base_encoder if keeps_documents(setting.mode) else None
    start, end = load_model(base), load_model(_local(tuned))
    trials = []
    for factor in factors:
        encoder = trial_encoder(f"factor {factor:g}", trainer.interpolate(start, end, factor), documents)
        domain, general = (measure(encoder, judged, encoder.name) for judged in (validation, probe))
        trials.append(Trial(factor=factor, setting=setting, domain=domain, general=general))
        gc.collect()
    return trials


def _local(folder: Path) -> ModelSource:
    return ModelSource(name=folder.name, location=str(folder), fingerprint="")
