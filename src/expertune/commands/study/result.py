"""What a study found: a table, plain sentences and figures, written as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from expertune.evaluate.statistics import Interval
from expertune.pipeline.publish import write_output


@dataclass(frozen=True, slots=True)
class Study:
    """The answer to one question.

    `answers` are plain sentences. Of `rows`, aligned with `columns`, numbers are as they should be read (points of
    nDCG@10 x 100 where the column says so); `figures` has everything else, unrounded and in [0, 1].
    """

    name: str
    question: str
    answers: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    figures: Mapping[str, Any]


def write(study: Study, path: Path, *, dataset: str, settings: Mapping[str, Any], seconds: float) -> None:
    """Write a study as JSON; what is no finite number becomes null.

    Raises:
        StoreError: it cannot be written.
    """
    values = {
        "study": study.name,
        "set": dataset,
        "expertune": version("expertune"),
        **{field.name: getattr(study, field.name) for field in fields(study) if field.name != "name"},
        "settings": settings,
        "seconds": round(seconds, 1),
    }
    text = json.dumps(plain(values), indent=1, ensure_ascii=False, allow_nan=False)
    write_output(path, text + "\n")


def plain(value: Any) -> Any:
    """Return JSON values: records as objects, arrays as lists, floats at six digits, what is not finite as None."""
    if isinstance(value, Interval):
        return plain({"mean": value.mean, "low": value.low, "high": value.high})
    if is_dataclass(value):
        return plain({item.name: getattr(value, item.name) for item in fields(value)})
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def rounded(value: float) -> float:
    """Return a value in [0, 1] in points with two decimals: a cell of a row."""
    return round(100 * float(value), 2)


def in_points(interval: Interval) -> tuple[float, float, float]:
    """Return mean, low and high of a difference in points with two decimals: three cells of a row."""
    return rounded(interval.mean), rounded(interval.low), rounded(interval.high)


def spelled(interval: Interval) -> str:
    """Write a difference, its interval in points and what it shows: "+2.4 (+1.5 to +3.4), better"."""
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.mean:+.1f} ({low:+.1f} to {high:+.1f}), {interval.outcome}"
