from __future__ import annotations

import subprocess
import sys
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


def test_asking_loads_no_torch_where_no_gpu_can_be() -> None:
    if hardware._may_have_gpu():
        pytest.skip("this machine may have a GPU")
    code = "import sys; from expertune.models.hardware import *; computes_bfloat16(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
