"""Tune a text-embedding model to a small question-answer set, and prove whether it got better.

>>> import expertune
>>> result = expertune.tune([("Can I return it?", "Within 60 days."), ...], log="searches.txt")  # doctest: +SKIP
>>> result.evaluation.to_frame()  # doctest: +SKIP

Names are imported when they are first used: importing the package is quick, loads no torch and prints nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expertune.config import Config
    from expertune.data import load_frame
    from expertune.errors import ExpertuneError
    from expertune.pipeline.calls import compare, tune
    from expertune.pipeline.run import Run, RunResult
    from expertune.pipeline.stages import Stage
    from expertune.records import Comparison, Dataset, Evaluation, JudgedSet, Progress

    __version__: str

__all__ = [
    "Comparison",
    "Config",
    "Dataset",
    "Evaluation",
    "ExpertuneError",
    "JudgedSet",
    "Progress",
    "Run",
    "RunResult",
    "Stage",
    "__version__",
    "compare",
    "load_frame",
    "tune",
]

_HOMES = {
    "Comparison": "records",
    "Config": "config",
    "Dataset": "records",
    "Evaluation": "records",
    "ExpertuneError": "errors",
    "JudgedSet": "records",
    "Progress": "records",
    "Run": "pipeline.run",
    "RunResult": "pipeline.run",
    "Stage": "pipeline.stages",
    "compare": "pipeline.calls",
    "load_frame": "data",
    "tune": "pipeline.calls",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("expertune")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(f"expertune.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'expertune' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, and nothing that this file needs for itself."""
    return sorted(__all__)
