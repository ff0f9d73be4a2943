"""expertune as its users run it."""

from __future__ import annotations

from contenders.task import Outcome, Task
from expertune.config import keeps_documents
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.pipeline.run import Run, Stage


def expertune(task: Task) -> Outcome:
    """Run the package up to the tuned model. Seconds are those of tuning twice and choosing; NaN where it lay there."""
    result = Run(task.config).execute(until=Stage.TRAIN)
    assert result.model is not None
    (timing,) = (item for item in result.timings if item.stage == Stage.TRAIN)
    tuned = sentence_encoder(str(result.model.folder))
    documents = task.base_encoder if keeps_documents(result.model.mode) else None
    chosen = {"interpolation_weight": result.model.selection.interpolation_weight, "steps": result.model.steps}
    encoder = CachedEncoder("expertune", tuned, documents)
    return Outcome(encoder, chosen, float("nan") if timing.reused else timing.seconds)
