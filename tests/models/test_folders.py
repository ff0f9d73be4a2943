from __future__ import annotations

import os
from pathlib import Path

import pytest

from expertune.models.folders import new_folder


@pytest.mark.parametrize(
    ("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0o077, 0o600, 0o700)]
)
def test_a_new_folder_honours_the_umask(tmp_path: Path, mask: int, file: int, folder: int) -> None:
    before = os.umask(mask)
    try:
        with new_folder(tmp_path / "model") as temporary:
            (temporary / "1_Pooling").mkdir()
            (temporary / "model.safetensors").touch(mode=0o600)
    finally:
        os.umask(before)
    modes = [(tmp_path / "model" / name).stat().st_mode & 0o777 for name in (".", "1_Pooling", "model.safetensors")]
    assert modes == [folder, folder, file]
