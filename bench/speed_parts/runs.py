"""Whole runs as a user starts them: seconds, peak memory, and what a second run does again.

The shop alone and beside one busy loop, in turn; then with one more answer, with one more log file, and reading,
cleaning and sampling 100,000 lines of a log. With --stackfaq its whole run too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

from speed_parts.measuring import Ratio, Row, Section, row
from speed_parts.threads import loops

LINES = 100_000
ANSWER = {"_id": "bench-answer", "title": "", "text": "Gift cards can be bought in every store and never expire."}


def run(given: Namespace) -> Section:
    """Measure whole runs of the command line, each in a fresh process and a fresh store unless it says otherwise."""
    alone, beside, peaks = [], [], []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for turn in range(given.turns):
            for busy, seconds in ((0, alone), (1, beside)):
                with loops(busy):
                    took, peak = _call(folder / f"run-{turn}-{busy}", given.shop)
                seconds.append(took)
                peaks.append(peak)
        first = folder / "run-0-0"
        more = folder / "more"
        shutil.copytree(given.shop, more)
        with (more / "corpus.jsonl").open("a", encoding="utf-8") as corpus:
            corpus.write(json.dumps(ANSWER) + "\n")
        answer, _ = _call(folder / "answer", more, store=first / "store")
        notes.append(f"One more answer: {_again(folder / 'answer')} again.")
        log = folder / "log.txt"
        log.write_text("\n".join(_searches(given.shop, 300)), encoding="utf-8")
        logged, _ = _call(folder / "logged", given.shop, store=first / "store", log=log)
        notes.append(f"One more log file: {_again(folder / 'logged')} again.")
        log.write_text("\n".join(_searches(given.shop, LINES)), encoding="utf-8")
        read, read_peak = _call(folder / "read", given.shop, stage="augment", log=log)
        rows = [
            row("the shop, alone", "s", alone),
            row("the shop beside one busy loop", "s", beside),
            row("peak memory", "MB", peaks),
            row("the shop with one more answer", "s", [answer]),
            row("the shop with one more log file", "s", [logged]),
            row(f"reading {LINES:,} lines of a log", "s", [read]),
            row("its peak memory", "MB", [read_peak]),
        ]
        compared, _ = _call(folder / "compared", given.shop, stage="compare")
        rows.append(row("compare on the shop", "s", [compared]))
        if given.stackfaq:
            took, peak = _call(folder / "stackfaq", given.stackfaq)
            rows += [row("StackFAQ", "s", [took]), row("its peak memory ", "MB", [peak])]
    return Section({"run.threads": 0}, rows, [_goal(item) for item in rows if item.what in GOALS], notes)


GOALS = {
    "the shop, alone": 120.0,
    "the shop beside one busy loop": 240.0,
    "peak memory": 2048.0,
    f"reading {LINES:,} lines of a log": 60.0,
    "its peak memory": 1024.0,
    "compare on the shop": 20.0,
    "StackFAQ": 600.0,
}
"""At most; with AVX-512."""


def _goal(item: Row) -> Ratio:
    return Ratio(f"{item.what}, {item.unit}", item.median, item.low, item.high, GOALS[item.what], "most")


def _call(
    out: Path, data: Path, *, stage: str = "run", store: Path | None = None, log: Path | None = None
) -> tuple[float, float]:
    """Run a command to its end; return its wall-clock seconds and peak memory in MB."""
    words = [sys.executable, "-c", "from expertune.commands.cli import main; main()", stage]
    words += ["--data", str(data), "--out", str(out)]
    words += ["--store", str(store)] if store else []
    words += ["--set", f"data.log={json.dumps([str(log)])}"] if log else []
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    started = time.perf_counter()
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(words)}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def _again(out: Path) -> str:
    """Name the stages that were not found in the store."""
    timings = json.loads((out / "results.json").read_text(encoding="utf-8"))["timings"]
    return ", ".join(f"{item['stage']} ({item['seconds']:.0f} s)" for item in timings if not item["reused"])


def _searches(shop: Path, count: int) -> list[str]:
    """Return so many different lines as users type them, made of the words of the shop's answers."""
    texts = [json.loads(line)["text"] for line in (shop / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    words = sorted({word.strip(".,;:!?").lower() for text in texts for word in text.split() if len(word) > 3})
    return [
        f"how do i {words[number % len(words)]} {words[number // len(words) % len(words)]}" for number in range(count)
    ]
