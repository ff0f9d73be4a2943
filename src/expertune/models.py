"""Where a model lives (folder, installed package, hub id) and what the catalogue says of it; not what it computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One known model, as `catalog.toml` describes it."""

    name: str
    hub: str
    expert: str
    generator: str
    packages: tuple[str, ...]
    licence: str
    languages: str
    megabytes: int
    dimension: int = 0
    max_tokens: int = 0
    query_prompt: str = ""
    document_prompt: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model found on this machine (or, if not offline, a hub id): `location` loads it, `fingerprint` names its bytes."""

    name: str
    location: str
    fingerprint: str
    entry: CatalogEntry | None = None


def catalog() -> tuple[CatalogEntry, ...]:
    raise NotImplementedError


def resolve(name: str, *, offline: bool = True) -> ModelSource:
    raise NotImplementedError
