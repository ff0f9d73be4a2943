"""Set up the process a model works in, and tell what its processor or GPU computes in natively."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

# x86, then ARM. AMX multiplies bfloat16 matrices without the vector instructions.
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
# Of NVIDIA, AMD, and either under WSL.
_DEVICES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def computes_bfloat16() -> bool:
    """Whether the GPU, or where there is none the processor, multiplies bfloat16 matrices natively."""
    if _may_have_gpu():
        import torch

        if torch.cuda.is_available():
            return bool(torch.cuda.is_bf16_supported())
    return processor_has_bfloat16()


def _may_have_gpu() -> bool:
    """Whether it is worth a second to import torch and ask it: making an expert asks too, and must be quick."""
    return sys.platform == "win32" or any(Path(device).exists() for device in _DEVICES)


def processor_has_bfloat16(flags: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has bfloat16 instructions; without them autocast is emulated, slower than float32."""
    try:
        found = flags.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not _BFLOAT16.isdisjoint(found)


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use: those it may be scheduled on, and what a container's quota allows."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, round(int(allowed) / int(period))))
    except (OSError, ValueError):  # no quota, or "max"
        return cores


def free_cores(cores: int, load: Path = Path("/proc/loadavg")) -> int:
    """Return how many threads to compute with beside what else runs: from half of the cores to all.

    Load counts that has lasted (the average of a minute) and is still there (what runs now, without this process):
    neither what has just ended nor a blink should slow a run of minutes.
    """
    try:
        average, _, _, running, _ = load.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    busy = min(float(average), int(running.partition("/")[0]) - 1)
    share = min(1.0, busy / (os.cpu_count() or 1))
    return max(1, (cores + 1) // 2, round(cores * (1.0 - share)))


def use_threads(threads: int) -> None:
    """Compute with so many threads in this process; 0: as many as torch chooses."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def use_machine(threads: int, *, offline: bool) -> None:
    """Set this process's threads and the libraries' offline switch, before the first model is loaded.

    For processes of our own: a command, or a worker that a run starts. A library call must not set the environment.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    use_threads(threads)


def hand_back_memory() -> None:
    """Give memory that nobody uses any more back to the system, where the C library can (glibc)."""
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Do the same in milliseconds, without a search for objects that only hold each other."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
