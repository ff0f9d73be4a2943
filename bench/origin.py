"""Say what figures were measured on: the machine, the versions, and the last commit that changed the package."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

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


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "bf16": "avx512_bf16" in flags or "amx_bf16" in flags,
        "load": os.getloadavg()[0],
    }
