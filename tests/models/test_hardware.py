from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch

from expertune.models import hardware


def test_bfloat16_is_found_in_the_processor_flags(tmp_path: Path) -> None:
    flags = tmp_path / "cpuinfo"
    flags.write_text("flags : avx2 avx512f\n", encoding="utf-8")
    assert not hardware.processor_has_bfloat16(flags)
    flags.write_text("flags : avx2 avx512_bf16\n", encoding="utf-8")
    assert hardware.processor_has_bfloat16(flags)
    assert not hardware.processor_has_bfloat16(tmp_path / "absent")


def test_without_a_gpu_the_processor_decides() -> None:
    if not torch.cuda.is_available():
        assert hardware.computes_bfloat16() is hardware.processor_has_bfloat16()


def test_a_quota_of_a_container_limits_the_cores(tmp_path: Path) -> None:
    everything = hardware.usable_cores(tmp_path / "absent")
    quota = tmp_path / "cpu.max"
    quota.write_text("max 100000\n", encoding="ascii")
    assert hardware.usable_cores(quota) == everything
    quota.write_text("100000 100000\n", encoding="ascii")
    assert hardware.usable_cores(quota) == 1
    quota.write_text("20000 100000\n", encoding="ascii")  # a fifth of a core is still one thread
    assert hardware.usable_cores(quota) == 1


@pytest.mark.parametrize(
    ("cores", "load", "free"),
    [
        (4, "0.10 0.10 0.10 1/200 7", 4),
        (4, "1.00 0.10 0.10 2/200 7", 3),
        (4, "1.00 0.10 0.10 1/200 7", 4),  # it has just ended
        (4, "0.10 0.10 0.10 5/200 7", 4),  # a blink
        (4, "9.00 9.00 9.00 9/200 7", 2),  # half of the cores are ours however much else runs
        (2, "1.00 1.00 1.00 3/200 7", 2),  # one of four cores is busy: half a core of ours
        (1, "9.00 9.00 9.00 9/200 7", 1),
    ],
)
def test_a_run_leaves_busy_cores_to_others(
    cores: int, load: str, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    file = tmp_path / "loadavg"
    file.write_text(load, encoding="ascii")
    assert hardware.free_cores(cores, file) == free
    assert hardware.free_cores(cores, tmp_path / "absent") == cores


def test_asking_loads_no_torch_where_no_gpu_can_be() -> None:
    if hardware._may_have_gpu():
        pytest.skip("this machine may have a GPU")
    code = "import sys; from expertune.models.hardware import *; computes_bfloat16(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_nobody_uses_any_more_is_handed_back() -> None:
    class Node:
        itself: Node

    node = Node()
    node.itself = node
    seen = weakref.ref(node)
    del node
    hardware.hand_back_memory()
    assert seen() is None


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_a_system_without_the_call_keeps_the_memory(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    hardware.hand_back_memory()
