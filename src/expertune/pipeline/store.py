"""Keep finished artefacts and finished items, so that nothing is computed twice. Does not know what a stage means.

An artefact is a folder named after the fingerprint of everything it depends on. It is written to a temporary
sibling and renamed, so a folder that exists is complete; its manifest holds the hash of every file, so an edited or
truncated one is noticed and made again. A lock for each artefact lets one run at a time make it. Items (one embedding,
one generated text) live in one SQLite table.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from expertune.errors import StoreError

logger = logging.getLogger(__name__)

FORMAT = 2
MANIFEST = "manifest.json"
_KEYS_PER_QUERY = 500


def fingerprint(*parts: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `parts`: key order does not matter, everything else does."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Artefact:
    """A complete folder and whether it was found rather than made."""

    folder: Path
    reused: bool


class Store:
    """A folder of artefacts and one item cache.

    Raises:
        StoreError: the folder cannot be written, or was written by a newer version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._check_format()
            self.items = SqliteItems(root / "items.sqlite")
        except OSError as error:
            raise StoreError(
                f"the store cannot be used ({error})",
                place=str(root),
                hint="Name a writable folder with run.store.",
            ) from error

    def _check_format(self) -> None:
        marker = self.root / "FORMAT"
        if not marker.exists():
            # Renamed into place: no other run, and none after a kill, may read an empty one.
            written = self.root / f".FORMAT.{os.getpid()}"
            written.write_text(f"{FORMAT}\n", encoding="ascii")
            written.replace(marker)
        found = marker.read_text(encoding="ascii", errors="replace").strip()
        if found != str(FORMAT):
            raise StoreError(
                f"the store has format '{found}', this version reads format {FORMAT}",
                place=str(self.root),
                hint="Name another folder with run.store, or delete this one.",
            )

    def folder(self, stage: str, key: str) -> Path:
        """Return where the artefact of `stage` with fingerprint `key` lies or would lie."""
        return self.root / stage / key[:32]

    def scratch(self, stage: str, key: str) -> Path:
        """Return where half-finished work on an artefact may lie: it survives a kill and goes once that is made."""
        return self.root / "work" / f"{stage}-{key[:32]}"

    def obtain(self, stage: str, key: str, make: Callable[[Path], None]) -> Artefact:
        """Return the artefact, making it with `make(temporary folder)` if it is absent or damaged.

        Where another run is making it, wait for that one's result.

        Raises:
            StoreError: the result cannot be written (disk full, folder read-only).
        """
        folder = self.folder(stage, key)
        try:
            with self.alone(stage, key):
                if self._complete(folder):
                    # A run that was killed right after it had made this may have left its scratch.
                    shutil.rmtree(self.scratch(stage, key), ignore_errors=True)
                    return Artefact(folder, reused=True)
                temporary = folder.parent / f".{key[:32]}"
                shutil.rmtree(temporary, ignore_errors=True)  # what a killed run left
                try:
                    temporary.mkdir(parents=True)
                    make(temporary)
                    _write_manifest(temporary, stage, key)
                    temporary.rename(folder)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
                shutil.rmtree(self.scratch(stage, key), ignore_errors=True)
                return Artefact(folder, reused=False)
        except OSError as error:
            raise StoreError(
                f"an artefact cannot be written ({error})",
                place=str(folder),
                hint="Free some space or name another folder with run.store; everything finished before is kept.",
            ) from error

    @contextmanager
    def alone(self, stage: str, key: str) -> Iterator[None]:
        """Let one run at a time work on something, the others wait. The system frees the lock of a killed run."""
        path = self.root / "locks" / f"{stage}-{key[:32]}"
        path.parent.mkdir(exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("%s: another run is making this, waiting for it", stage)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _complete(self, folder: Path) -> bool:
        if not folder.is_dir():
            return False
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            intact = all(file_hash(folder / name) == digest for name, digest in manifest["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            logger.warning("%s is damaged (truncated or edited): it is made again", folder)
            shutil.rmtree(folder)
        return intact


def _write_manifest(folder: Path, stage: str, key: str) -> None:
    files = {
        path.relative_to(folder).as_posix(): file_hash(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    manifest = {"format": FORMAT, "stage": stage, "key": key, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")


class SqliteItems:
    """An item cache in one SQLite file; safe for several processes, one transaction a write.

    Every method raises StoreError where the file is damaged or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS items (space TEXT, key TEXT, value BLOB NOT NULL, "
                "PRIMARY KEY (space, key)) WITHOUT ROWID"
            )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # One connection a call: cheap beside what is cached, and nothing is shared between threads or forks.
        try:
            with closing(sqlite3.connect(self.path, timeout=60.0, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=NORMAL")
                yield connection
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                hint = "Free some space or name another folder with run.store; everything finished before is kept."
            else:
                hint = "Delete this file: single texts are then made again, finished stages stay."
            raise StoreError(f"the item cache cannot be used ({error})", place=str(self.path), hint=hint) from error

    def read(self, space: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the known values among `keys`."""
        found: dict[str, bytes] = {}
        with self._connection() as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = keys[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    f"SELECT key, value FROM items WHERE space = ? AND key IN ({marks})", (space, *part)
                )
                found.update(rows.fetchall())
        return found

    def write(self, space: str, values: Mapping[str, bytes]) -> None:
        """Store values in one transaction; an existing key keeps its value."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR IGNORE INTO items VALUES (?, ?, ?)",
                [(space, key, value) for key, value in values.items()],
            )
            connection.execute("COMMIT")
