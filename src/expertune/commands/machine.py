"""The process a command runs in: threads, and the environment variables that libraries read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from expertune.config import Config

# Libraries that would draw bars of their own, print advice or fork a warning into the middle of ours.
QUIET = {
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

# Threads that wait for each other sleep. They would spin, and starve as soon as one core has other work: beside one
# busy core of two, training did 0.16 steps a second instead of 1.17 (docs/performance.md).
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}

# oneDNN keeps code for the last 1,024 shapes of matrices unless it is told otherwise, and texts are of all lengths: a
# tuning of 24 steps takes 75 MB less with 64, in the same time.
SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}


def prepare_libraries() -> None:
    """Keep other libraries' bars and advice out of the terminal, their threads from spinning and their caches small.

    What the user's environment says stays. They read it when they are loaded, so no command may import torch before.
    """
    for name, value in (QUIET | WAITING | SHAPES).items():
        os.environ.setdefault(name, value)


def prepare_machine(config: Config) -> None:
    """Set this process up as a config says: threads, no network where it is offline, TensorBoard's folder.

    The libraries read the variables when they are imported, so this comes before any other work.
    """
    from expertune.models.hardware import free_cores, usable_cores, use_machine

    if not config.run.threads and "OMP_NUM_THREADS" not in os.environ:
        cores = usable_cores()
        os.environ["OMP_NUM_THREADS"] = str(threads := free_cores(cores))
        if threads < cores:
            typer.echo(f"{threads} of {cores} cores are used, because other programs keep some busy", err=True)
    use_machine(config.run.threads, offline=config.run.offline)
    if "tensorboard" in config.train.report_to:  # the trainer asks for the folder here and nowhere else
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.run.out / "tensorboard")
