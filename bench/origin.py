"""Say what figures were measured on: the machine, the versions, and the last commit that changed the package."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from main_job import machine

LIBRARIES = ("expertune", "torch", "transformers", "sentence-transformers", "numpy")


def origin() -> dict[str, Any]:
    """Return what stands beside every result."""
    root = Path(__file__).parent.parent
    command = ["git", "log", "-1", "--format=%H", "--", "src"]
    commit = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return {
        "machine": machine(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": commit.stdout.strip(),
    }
