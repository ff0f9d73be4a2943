"""The untouched base, and expertune as its pipeline would run it."""

from __future__ import annotations

import time
from functools import partial

from contenders.task import Outcome, Task
from expertune import data
from expertune.config import keeps_documents
from expertune.label.stage import label, label_rows
from expertune.models import ModelSource
from expertune.models.encoder import trial_encoder
from expertune.models.load import load_model
from expertune.records import ignore_progress
from expertune.train import tuning


def base(task: Task) -> Outcome:
    """Change nothing."""
    return Outcome(task.base_encoder, {}, 0.0, 0.0)


def expertune(task: Task) -> Outcome:
    """Label, tune and choose with the sections of the config."""
    started = time.perf_counter()
    section = task.config.train.model_copy(update={"seed": task.seed})
    labels = label(task.dataset, task.questions, task.scores, task.config.label, base=task.base.name)
    strategies = (labels.strategy, *task.config.select.strategies)
    weighed = {name: task.config.label.model_copy(update={"strategy": name}) for name in strategies}
    model = tuning.tune_and_choose(
        base=task.base,
        base_encoder=task.base_encoder,
        dataset=task.dataset,
        questions=task.questions,
        labels=labels,
        relabels={
            name: partial(label_rows, task.dataset, task.questions, task.scores, changed, base=task.base.name)
            for name, changed in weighed.items()
        },
        sentences=data.reference_sentences(section.anchor_texts) if section.anchor_weight else (),
        probe=data.load_general_dev_set(),
        section=section,
        choice=task.config.select,
        folder=task.scratch / "model",
        scratch=task.scratch,
        report=ignore_progress,
    )
    seconds = time.perf_counter() - started
    kept = load_model(ModelSource(name="expertune", location=str(task.scratch / "model"), fingerprint=""))
    documents = task.base_encoder if keeps_documents(model.mode) else None
    chosen = {"factor": model.selection.factor, "why": model.selection.why}
    return Outcome(trial_encoder("expertune", kept, documents), chosen, 0.0, seconds)
