"""Write a file so that it is never half there: killed in between, what lay there before is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_whole(file: Path, content: str | bytes) -> None:
    """Write beside the file, on the disk, then rename; who may read it stays, and a link stays a link. Text is UTF-8.

    Its folder is made.

    Raises:
        OSError: it cannot be written; what lay there before is whole.
    """
    file = Path(os.path.realpath(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    passing = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with passing.open("wb") as lines:
            if file.exists():
                shutil.copymode(file, passing)
            lines.write(content if isinstance(content, bytes) else content.encode("utf-8"))
            lines.flush()
            os.fsync(lines.fileno())
        passing.replace(file)
    finally:
        passing.unlink(missing_ok=True)
