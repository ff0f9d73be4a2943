"""The process a command runs in: threads, and the environment variables that libraries read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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


def quiet_libraries() -> None:
    """Keep other libraries' progress bars and advice out of the terminal, unless the user's environment wants them."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def prepare_machine(config: Config) -> None:
    """Set this process up as a config says: threads, no network where it is offline, TensorBoard's folder.

    The libraries read the variables when they are imported, so this comes before any other work.
    """
    from expertune.models.hardware import use_machine

    use_machine(config.run.threads, offline=config.run.offline)
    if "tensorboard" in config.train.report_to:  # the trainer asks for the folder here and nowhere else
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.run.out / "tensorboard")
