"""Seconds until the command line answers, each time in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from speed_parts.measuring import Ratio, Section, in_turn, row

LIGHT = "import sys, expertune; sys.exit('torch' in sys.modules)"


def run(given: Namespace) -> Section:
    """Measure help, import and check; an import that loads torch fails."""
    command = str(Path(sys.executable).with_name("expertune"))
    commands = {
        "python -c pass": ([sys.executable, "-c", "pass"], 0.0),
        "import expertune, without torch": ([sys.executable, "-c", LIGHT], 0.0),
        "expertune --help": ([command, "--help"], 0.3),
        "expertune check on the shop": ([command, "check", "--data", str(given.shop)], 2.0),
    }
    seconds = in_turn({name: lambda words=words: _call(words) for name, (words, _) in commands.items()}, given.turns)
    rows = [row(name, "s", values) for name, values in seconds.items()]
    ratios = [
        Ratio(f"{made.what}, seconds", made.median, made.low, made.high, commands[made.what][1], "most")
        for made in rows
        if commands[made.what][1]
    ]
    return Section({"command": "expertune"}, rows, ratios, ["Fresh processes; files are in the system's cache."])


def _call(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"failed: {' '.join(words)}\n{done.stdout}{done.stderr}")
