"""Refuse model files that would run code when loaded; name a model by its bytes. Knows no catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from expertune.errors import ModelUnavailableError, UntrustedModelError

WEIGHTS = (".safetensors", ".gguf", ".onnx", ".npz")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_NAMESPACE = "sentence_transformers."
# Folders that git and hub clients keep beside a model; no loader reads them.
_BOOKKEEPING = frozenset({".git", ".cache"})


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, computed once per process while size and change time stay equal."""
    status = path.stat()
    return _digest(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: str, _size: int, _changed: int) -> str:
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Return the SHA-256 (hex) over relative names and contents of a model folder, or over a single file.

    Where the folder lies and when it was written do not matter.
    """
    if path.is_file():
        return file_sha256(path)
    total = hashlib.sha256()
    for file in _files(path):
        total.update(f"{file.relative_to(path).as_posix()}\0{file_sha256(file)}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def check(path: Path, *, root: Path | None = None) -> None:
    """Refuse a model folder or file that is not safe to load.

    Args:
        path: A model folder, or one `.gguf` file.
        root: Folder that symbolic links may point into; default: `path` itself.

    Raises:
        UntrustedModelError: weights only as pickle, a config that asks for remote code, a module outside
            sentence-transformers, or a link out of the folder.
        ModelUnavailableError: there are no weights in it.
    """
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelUnavailableError(f"a model is a folder or a .gguf file, this is '{path.name}'", place=str(path))
        return
    _check_links(path, root or path)
    files = list(_files(path))
    _check_weights(path, files)
    check_settings(path)


def check_settings(folder: Path) -> None:
    """Refuse a folder whose JSON files would make a loader run code.

    Raises:
        UntrustedModelError: a config that asks for remote code, or a module outside sentence-transformers.
    """
    for file in _files(folder):
        if file.suffix == ".json" and file.name != "tokenizer.json":
            _check_settings(file)


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not _BOOKKEEPING.intersection(file.relative_to(folder).parts):
            yield file


def _check_links(folder: Path, root: Path) -> None:
    inside = root.resolve()
    for file in folder.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(inside):
            raise UntrustedModelError(
                "a symbolic link leads out of the model's folder",
                place=str(file),
                hint="Copy the model with its links followed: cp -rL.",
            )


def _check_weights(folder: Path, files: list[Path]) -> None:
    for file in files:
        # OpenVINO keeps raw tensors in NAME.bin beside NAME.xml; that is no pickle.
        if file.suffix not in PICKLES or (file.suffix == ".bin" and file.with_suffix(".xml").exists()):
            continue
        if not any(file.parent.glob("*model*.safetensors")):
            raise UntrustedModelError(
                "the weights are a pickle, which can run code when loaded; only safetensors are read",
                place=str(file),
                hint="Convert it once where you trust it: SentenceTransformer(...).save_pretrained(folder).",
            )
    if not any(file.suffix in WEIGHTS for file in files):
        raise ModelUnavailableError(
            "the folder holds no model weights",
            place=str(folder),
            hint=f"Expected one of: {', '.join(WEIGHTS)}.",
        )


def _check_settings(file: Path) -> None:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UntrustedModelError("not readable as JSON", place=str(file)) from None
    if any("auto_map" in table for table in _tables(settings)):
        raise UntrustedModelError(
            "the model asks for remote code (auto_map)",
            place=str(file),
            hint="Use a model that needs no remote code.",
        )
    for module, folder in _modules(file.name, settings):
        if Path(folder).is_absolute() or not _BOOKKEEPING.isdisjoint(Path(folder).parts) or ".." in folder:
            raise UntrustedModelError(f"the module path '{folder}' leads out of the model's folder", place=str(file))
        if not module.startswith(_NAMESPACE):
            raise UntrustedModelError(
                f"the module '{module}' is not part of sentence-transformers; loading it would run its code",
                place=str(file),
            )


def _modules(name: str, settings: Any) -> list[tuple[str, str]]:
    """Return class and folder of each module that a modules.json or a Router's config names."""
    if name == "modules.json" and isinstance(settings, list):
        return [(str(item.get("type")), str(item.get("path", ""))) for item in settings if isinstance(item, dict)]
    if isinstance(settings, dict) and name in ("router_config.json", "config.json"):
        types = settings.get("types")
        return [(str(value), str(key)) for key, value in types.items()] if isinstance(types, dict) else []
    return []


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _tables(item)
    elif isinstance(value, list):
        for item in value:
            yield from _tables(item)
