"""Keep what the stages of one run make, under keys of what it depends on. Does not know what a stage means."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from expertune.models.hardware import hand_back_memory
from expertune.pipeline import artefacts
from expertune.pipeline.store import Store, fingerprint
from expertune.records import Timing

logger = logging.getLogger(__name__)
Record = TypeVar("Record")

VERSION = 4
"""Raise when a stage's meaning changes, so that no artefact of an older meaning is reused."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[Record]):
    """A record and the key it is stored under: whatever depends on the record depends on the key."""

    value: Record
    key: str


@dataclass(frozen=True, slots=True)
class Keeper:
    """The store of one run, and how long each of its stages took.

    Args:
        store: Where artefacts lie.
        describe: Says in a few words what a record is, for the log.
    """

    store: Store
    describe: Callable[[object], str]
    timings: list[Timing] = field(default_factory=list)

    def key(self, name: str, *parts: Any) -> str:
        """Return the key of what is called `name` and depends on `parts`: records' keys, config sections, values."""
        plain = [part.model_dump(mode="json") if hasattr(part, "model_dump") else part for part in parts]
        return fingerprint(VERSION, name, *plain)

    def aside(self, name: str, key: str, kind: type[Record], make: Callable[[], Record]) -> Record:
        """Return a record from the store, made now if it is not there; nothing is logged."""
        artefact = self.store.obtain(name, key, lambda folder: artefacts.save(make(), folder))
        return artefacts.load(kind, artefact.folder)

    def stage(self, name: str, key: str, kind: type[Record], make: Callable[[], Record]) -> Kept[Record]:
        """Return the record of a stage and its key, as `aside` does; its size and time are logged."""
        return Kept(self.stage_in_folder(name, key, kind, lambda folder: artefacts.save(make(), folder))[0], key)

    def stage_in_folder(
        self, name: str, key: str, kind: type[Record], make: Callable[[Path], None]
    ) -> tuple[Record, Path]:
        """Return the record of a stage that writes more than a record into its folder, and that folder."""
        started = time.perf_counter()
        artefact = self.store.obtain(name, key, make)
        record = artefacts.load(kind, artefact.folder)
        if not artefact.reused:
            # The models of a stage are large, and the next one brings its own.
            hand_back_memory()
        self.done(name, started, record, reused=artefact.reused)
        return record, artefact.folder

    def done(self, name: str, started: float, record: object = None, *, reused: bool = False) -> None:
        """Note that a stage has ended which began at `started` (of `time.perf_counter`), and log it."""
        timing = Timing(stage=name, seconds=time.perf_counter() - started, reused=reused)
        self.timings.append(timing)
        took = "reused" if reused else f"{timing.seconds:.1f} s"
        logger.info("%s: %s", name, ", ".join(filter(None, (self.describe(record), took))))
