"""Tune the base model on the labels; estimate its gain by cross-validation where nothing is held out."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from expertune import data
from expertune.pipeline import artefacts
from expertune.pipeline.context import CROSS_VALIDATION, Context
from expertune.pipeline.forecast import begins_again
from expertune.pipeline.keeper import Kept
from expertune.pipeline.stages import Stage
from expertune.records import (
    CrossValidation,
    Dataset,
    Progress,
    Questions,
    Report,
    Scores,
    SoftLabels,
    TunedModel,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from expertune.train.crossval import FoldResult


logger = logging.getLogger(__name__)


def trained(
    context: Context, dataset: Dataset, questions: Questions, scores: Scores, labels: Kept[SoftLabels]
) -> Kept[TunedModel]:
    """Tune and choose; the model lies in the store."""
    from expertune.train import trainer, tuning

    section, seed = context.config.train, context.config.run.seed
    tolerance = context.config.evaluate.general_tolerance
    settings = section.model_dump(exclude={"reference_texts", "report_to"})
    # "auto" is one thing on this machine and another on the next: the key holds what is computed in.
    settings["precision"] = trainer.use_bfloat16(section.precision)
    base, reference = context.base_expert.fingerprint, context.reference
    indexed = sorted(context.indexed(dataset).questions.items())
    # Models chosen by questions that had taught them are made anew; without synthetic questions none was.
    unseen = ["unseen"] if any(item.synthetic for item in questions.items) else []
    key = context.keeper.key(
        Stage.TRAIN, labels.key, tuning.VERSION, settings, seed, tolerance, base, reference, indexed, *unseen
    )

    def make(folder: Path) -> None:
        model = tuning.tune_and_choose(
            context.tuner(),
            context.labeller(dataset, questions, scores),
            labels.value,
            data.load_general_dev_set(),
            folder / "model",
            scratch=context.store.scratch(Stage.TRAIN, key),
            general_tolerance=tolerance,
        )
        artefacts.save(model, folder)

    model, folder = context.keeper.stage_in_folder(Stage.TRAIN, key, TunedModel, make)
    return Kept(model.at(folder / "model"), key)


def cross_validated(
    context: Context, dataset: Dataset, questions: Questions, scores: Scores, train_key: str
) -> Kept[CrossValidation] | None:
    """Estimate what tuning gains from the labelled questions alone; each fold is kept in the store.

    None where too few answers have a labelled question.
    """
    from expertune.train import crossval

    if not crossval.possible(questions.items):
        return None
    seed = context.config.run.seed
    parts = crossval.left_out(questions, seed=seed)
    results, keys = [], []
    for number, rows in enumerate(parts, start=1):
        logger.info("cross-validation: fold %d of %d, %d questions left out", number, len(parts), len(rows))
        key = context.keeper.key(CROSS_VALIDATION, train_key, crossval.VERSION, rows.tolist())
        make = partial(fold_result, context, dataset, questions, scores, rows, key, number)
        results.append(context.keeper.stage(CROSS_VALIDATION, key, crossval.FoldResult, make).value)
        keys.append(key)
    return Kept(crossval.pooled(results, seed=seed), context.keeper.key(CROSS_VALIDATION, keys))


def fold_result(
    context: Context,
    dataset: Dataset,
    questions: Questions,
    scores: Scores,
    rows: NDArray[np.int64],
    key: str,
    number: int,
) -> FoldResult:
    """Tune without the questions of one fold and measure base and tuned on them."""
    from expertune.train import crossval, select, tuning

    tuner = context.tuner()
    labeller = context.labeller(dataset, questions, scores)
    part = crossval.fold(questions, rows, tuning.copies(questions, rows, tuner, data.reference_sentences()))
    choosing = select.fold(labeller.of(part.train), fewest=select.FEWEST, seed=tuner.seed)
    return crossval.measure_fold(
        replace(tuner, report=of_fold(context.forecast, number, tunings=1 if choosing.learned else 2)),
        labeller,
        part,
        data.load_general_dev_set(),
        scratch=context.store.scratch(CROSS_VALIDATION, key),
        general_tolerance=context.config.evaluate.general_tolerance,
    )


def of_fold(report: Report, number: int, *, tunings: int) -> Report:
    """Return what tells of the tunings of one fold as of one piece of work."""
    ended = 0
    last: Progress | None = None

    def tell(event: Progress) -> None:
        nonlocal ended, last
        ended, last = ended or event.total * begins_again(event, last), event
        report(Progress(CROSS_VALIDATION, ended + event.done, tunings * event.total, f"fold {number}"))

    return tell
