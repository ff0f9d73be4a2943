"""The errors a user can meet, each with the place, what was expected and what to do next.

    ExpertuneError
    ├── ConfigError            a config key or value is wrong; lists every problem found
    ├── DataError              a data file is missing, malformed, empty or leaks
    ├── ModelUnavailableError  a model is neither a folder, nor installed, nor reachable
    ├── UntrustedModelError    a model's files are refused (hash, pickle, remote code, path)
    ├── PluginError            an expert or generator broke its contract (NaN, wrong shape, nothing)
    ├── ServerError            a server is out of reach, refuses, or answers what cannot be used
    ├── ExportError            a model cannot be written in another form, or then ranks otherwise
    ├── TrainingError          the loss stopped being a number, or memory ran out
    └── StoreError             the artefact store cannot be read or written

Nothing here formats for a terminal or picks an exit code; that is `cli.py`.
"""

from __future__ import annotations

from collections.abc import Sequence


class ExpertuneError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What was found and what was expected, in one or two sentences.
        place: File and line, config path or plug-in name where it happened.
        hint: What to do next, as an instruction.
    """

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        self.message = message
        self.place = place
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        """Join place, message and hint into the one text a user reads."""
        head = f"{self.place}: {self.message}" if self.place else self.message
        return f"{head}\n  {self.hint}" if self.hint else head


class ConfigError(ExpertuneError):
    """Report every wrong key or value of a config at once."""

    def __init__(self, problems: Sequence[str], *, place: str = "", hint: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems), place=place, hint=hint)


class DataError(ExpertuneError):
    """A data file is missing, malformed, empty, inconsistent or leaks test into training."""


class ModelUnavailableError(ExpertuneError):
    """A model was named that is neither a folder, nor an installed package, nor reachable."""


class UntrustedModelError(ExpertuneError):
    """A model's files are not what the catalogue pins, or would run code when loaded."""


class PluginError(ExpertuneError):
    """An expert or a generator returned something its contract does not allow."""


class ServerError(ExpertuneError):
    """A server that writes or scores is out of reach, refuses, or answers what cannot be used."""


class ExportError(ExpertuneError):
    """A model cannot be written in another form, or ranks otherwise in it."""


class TrainingError(ExpertuneError):
    """Training cannot go on; whatever was finished before is kept."""


class StoreError(ExpertuneError):
    """The artefact store cannot be read or written."""
