"""Run contenders in turn, and describe the machine that ran them. Knows nothing of what is measured."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Seconds = Mapping[str, Sequence[float]]

LIBRARIES = (
    "expertune", "torch", "numpy", "sentence-transformers", "transformers", "tokenizers", "onnxruntime",
    "llama-cpp-python",
)  # fmt: skip
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "bf16")
"""Of the processor: those that decide how fast a matrix product is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one contender: the median of its turns, with minimum and maximum."""

    what: str
    unit: str
    median: float
    low: float
    high: float
    turns: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """What is compared from change to change: two contenders of one run, and what is aimed at.

    `goal` is the least value where `bound` is "least", the greatest where it is "most", and none where it is 0.
    """

    what: str
    value: float
    low: float
    high: float
    goal: float = 0.0
    bound: str = "least"

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return not self.goal or (self.value >= self.goal if self.bound == "least" else self.value <= self.goal)


@dataclass(frozen=True, slots=True)
class Section:
    """What one section measured, on what, and what to know about it."""

    setting: dict[str, Any]
    rows: list[Row]
    ratios: list[Ratio]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, rounded to what was measured."""
        return {
            "setting": self.setting,
            "rows": [_rounded(asdict(row)) for row in self.rows],
            "ratios": [_rounded(asdict(ratio) | {"met": ratio.met}) for ratio in self.ratios],
            "notes": self.notes,
        }


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in record.items()}


def in_turn(contenders: Mapping[str, Callable[[], Any]], turns: int, *, warm: bool = True) -> dict[str, list[float]]:
    """Return the seconds of every turn; each round runs every contender once, so that other load strikes all alike.

    Args:
        contenders: What to run, by name.
        turns: Rounds that count.
        warm: Whether a round before them does not: memory is touched, weights are laid out.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + warm):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if turn >= warm:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def row(what: str, unit: str, values: Sequence[float]) -> Row:
    """Return the row of a contender's values, one a turn."""
    return Row(what, unit, statistics.median(values), min(values), max(values), len(values))


def rates(what: str, unit: str, count: float, seconds: Sequence[float]) -> Row:
    """Return the row of `count` things a turn, as things a second."""
    return row(what, unit, [count / value for value in seconds])


def ratio(
    what: str,
    above: Sequence[float],
    below: Sequence[float],
    *,
    scale: float = 1.0,
    goal: float = 0.0,
    bound: str = "least",
) -> Ratio:
    """Return scale * above / below, turn by turn: what happened in the same round is compared."""
    values = [scale * left / right for left, right in zip(above, below, strict=True)]
    return Ratio(what, statistics.median(values), min(values), max(values), goal, bound)


def peak(dtype: Any, *, size: int = 2048, turns: int = 5) -> float:
    """Return the floating-point operations a second of this machine's best `torch.mm` in a type."""
    import torch

    left, right = (torch.randn(size, size, dtype=torch.float32).to(dtype) for _ in range(2))
    best = min(in_turn({"mm": lambda: torch.mm(left, right)}, turns)["mm"])
    return 2.0 * size**3 / best


class Watch:
    """Tell what else the machine was doing between two moments."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._busy, self._own = _busy(), _own()

    def others(self) -> float:
        """Return how many cores other processes kept busy on average since the watch was made."""
        elapsed = time.perf_counter() - self._started
        return max(0.0, (_busy() - self._busy) - (_own() - self._own)) / max(elapsed, 1e-9)


def _busy() -> float:
    """Return the seconds all cores have been busy since the machine started; 0 where the system does not say."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    return sum(os.times()[:4])


def machine(threads: int) -> dict[str, Any]:
    """Describe processor, libraries, threads and load."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
    found = set(named.get("flags", named.get("Features", "")).split())
    return {
        "processor": named.get("model name", platform.processor() or platform.machine()),
        "flags": [flag for flag in FLAGS if flag in found],
        "cores": os.cpu_count(),
        "threads": {"torch": torch.get_num_threads(), "asked": threads, "OMP": os.environ.get("OMP_NUM_THREADS", "")},
        "nice": os.nice(0),
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "load_before": round(os.getloadavg()[0], 2),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
