"""Keep the state of a training now and then, so that a killed one goes on. Knows no loss, no data and no model.

The sentence-transformers Trainer writes and reads what a checkpoint holds; the file `COMPLETE` is added last, so a
half-written one is never read. Optimiser and random state are read with `weights_only`, which runs no code.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

SECONDS = 60.0
"""Time between checkpoints: writing one takes about a second, and a training shorter than this writes none."""

_COMPLETE = "COMPLETE"


def newest(folder: Path) -> Path | None:
    """Return the last complete checkpoint in `folder`, and remove what is half-written."""
    complete = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / _COMPLETE).exists():
            complete.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(complete, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]), default=None)


def write(checkpoint: Path, save: Callable[[], None]) -> None:
    """Let `save` write a checkpoint and drop older ones; where it cannot, say so and let the training go on."""
    from safetensors import SafetensorError

    try:
        save()
        (checkpoint / _COMPLETE).touch()
    except (OSError, RuntimeError, SafetensorError) as error:  # RuntimeError: how torch says that the disk is full
        shutil.rmtree(checkpoint, ignore_errors=True)
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        logger.warning("no checkpoint could be written (%s): if it is killed, training starts again", reason)
        return
    for other in checkpoint.parent.glob("checkpoint-*"):
        if other != checkpoint:
            shutil.rmtree(other)


def keeper() -> Any:
    """Return a callback of the Trainer that asks for a checkpoint every `SECONDS`."""
    from transformers import TrainerCallback

    class Keeper(TrainerCallback):  # type: ignore[misc]
        """Ask by a clock that nobody can set back."""

        def __init__(self) -> None:
            self.last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if time.monotonic() - self.last >= SECONDS and state.global_step < state.max_steps:
                control.should_save = True
                self.last = time.monotonic()

    return Keeper()
