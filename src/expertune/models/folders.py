"""Write a folder so that it is there as a whole or not at all, readable for whom the umask lets read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expertune.errors import DataError

RUN_CONFIG = "config.toml"
"""What the resolved config is called in a run's folder, beside its model."""


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` by one rename at the end, and is removed if anything fails.

    If another process was faster, its equal result stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield temporary
        honour_umask(temporary)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def honour_umask(folder: Path) -> None:
    """Give a folder and all in it the modes of any new file: temporary folders and weights begin private."""
    mask = os.umask(0o077)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def inside_run(folder: Path) -> Path | None:
    """Return the model of a run's folder; None where the folder is not one of a run."""
    return folder / "model" if (folder / "model" / "modules.json").is_file() else None


def model_folder(subject: Path) -> Path:
    """Return the model's folder of a run's folder or of a model's own.

    Raises:
        DataError: neither is there.
    """
    folder = inside_run(subject) or subject
    if (folder / "modules.json").is_file():
        return folder.resolve()
    raise DataError(
        "holds no sentence-transformers model",
        place=str(subject),
        hint="Name a run's folder (such as runs/shop) or a model's (runs/shop/model).",
    )


def named_model(name: str) -> str:
    """Return the model's folder where a run's folder is named, and else what is named: a folder, a name or a hub id."""
    return str(inside_run(Path(name)) or name)


def config_beside(model: str | Path) -> Path | None:
    """Return the config that a run left beside its model; None where there is none."""
    beside = Path(model).absolute().parent / RUN_CONFIG
    return beside if beside.is_file() else None
