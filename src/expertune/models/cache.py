"""What stages may remember item by item: vectors and generated texts. Does not know what an item means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class ItemCache(Protocol):
    """What a stage may remember item by item, so that a killed run goes on inside the stage.

    `space` names who made the value (a model's fingerprint plus its prompt); `key` names the item (a hash of
    its text). Values are bytes. Writing is atomic per call.
    """

    def read(self, space: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the known values among `keys`."""
        ...

    def write(self, space: str, values: Mapping[str, bytes]) -> None:
        """Store values; an existing key keeps its value."""
        ...


class MemoryCache:
    """An item cache that lasts as long as the object: for tests and one-off calls."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], bytes] = {}

    def read(self, space: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the known values among `keys`."""
        return {key: self._values[space, key] for key in keys if (space, key) in self._values}

    def write(self, space: str, values: Mapping[str, bytes]) -> None:
        """Store values; an existing key keeps its value."""
        for key, value in values.items():
            self._values.setdefault((space, key), value)
