"""The untouched base, and expertune as its pipeline would run it."""

from __future__ import annotations

import time

from contenders.task import Outcome, Task
from expertune import data
from expertune.config import keeps_documents
from expertune.label.stage import Labeller, label
from expertune.models import ModelSource
from expertune.models.encoder import trial_encoder
from expertune.models.load import load_model
from expertune.train import tuning


def base(task: Task) -> Outcome:
    """Change nothing."""
    return Outcome(task.base_encoder, {}, 0.0, 0.0)


def expertune(task: Task) -> Outcome:
    """Label, tune and choose with the sections of the config."""
    started = time.perf_counter()
    section, base = task.config.train, task.base.name
    reference = data.reference_sentences(section.reference_texts) if section.reference_weight else ()
    labels = label(task.dataset, task.questions, task.scores, task.config.label, base=base, listwise=section.listwise)
    model = tuning.tune_and_choose(
        tuning.Tuner(task.base, task.base_encoder, section, reference, task.seed),
        Labeller(task.dataset, task.questions, task.scores, task.config.label, base, section.listwise),
        labels,
        data.load_general_dev_set(),
        task.scratch / "model",
        scratch=task.scratch,
        general_tolerance=task.config.evaluate.general_tolerance,
    )
    seconds = time.perf_counter() - started
    kept = load_model(ModelSource(name="expertune", location=str(task.scratch / "model"), fingerprint=""))
    documents = task.base_encoder if keeps_documents(model.mode) else None
    chosen = {"factor": model.selection.interpolation_weight, "why": model.selection.why}
    return Outcome(trial_encoder("expertune", kept, documents), chosen, 0.0, seconds)
