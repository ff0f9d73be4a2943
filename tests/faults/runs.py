"""Real runs in processes of their own: watched, killed at numbered moments, and compared by what they leave.

A moment is a file operation under the run's folder, an SQL statement, or a batch of texts for a model. The same run has
the same moments in the same order, so one of them can be picked beforehand, the SQLite commit among them.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from small_shop import ASKED as HELD_OUT
from small_shop import PAIRS

_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "shutil.copyfile"}
# Longest pause between the chosen moment and the kill: about as long as a small file or a commit takes to write.
MOST_PAUSE = 0.005


@dataclasses.dataclass(frozen=True)
class Task:
    """One run: its folder (results and store), the Q&A folder, the base model, and further options."""

    folder: Path
    data: Path
    model: Path
    options: tuple[str, ...] = ()

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def arguments(self) -> list[str]:
        """Return the command line; the results lie under a relative path, so that configs are equal in every folder."""
        # With precision "auto", where the processor has bfloat16, a sample of the texts is embedded to compare.
        expert = f'{{model = {json.dumps(str(self.model))}, options = {{precision = "float32"}}}}'
        assignments = {
            "augment.generators": '["template"]',
            "augment.per_answer": "3",
            "score.experts": f'["bm25", "ngrams", {expert}]',
            "train.base": json.dumps(str(self.model)),
            "train.steps": "8",
            "train.batch_size": "8",
            "train.learning_rate": "0.002",
            "train.precision": '"float32"',
            "evaluate.general_tolerance": "1.0",
            "run.threads": "1",
        }
        made = [
            "run",
            "--data",
            str(self.data),
            "--general",
            str(self.data / "general"),
            "--out",
            "out",
            "--store",
            "store",
        ]
        for key, value in assignments.items():
            made += ["--set", f"{key}={value}"]
        return [*made, *self.options]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (negative: a signal), what it printed, and what it was seen to do."""

    code: int
    printed: str
    events: tuple[tuple[str, ...], ...]

    @property
    def embedded(self) -> list[tuple[str, str]]:
        """Every (space, key) that a model was asked for, in order."""
        return [(event[1], event[2]) for event in self.events if event[0] == "item"]

    @property
    def steps(self) -> int:
        """How many training steps were told."""
        return sum(event[0] == "step" for event in self.events)

    @property
    def moments(self) -> list[str]:
        return [event[1] for event in self.events if event[0] == "moment"]


def write_data(folder: Path) -> Path:
    """Write a Q&A set with held-out questions, and the same again as a general set in `general`."""
    rows = {
        "qa.jsonl": [{"id": key, "question": q, "answer": a} for key, (q, a) in PAIRS.items()],
        "corpus.jsonl": [{"_id": key, "text": answer} for key, (_, answer) in PAIRS.items()],
        "queries.jsonl": [{"_id": f"t-{key}", "text": text} for key, text in HELD_OUT.items()],
    }
    for place in (folder, folder / "general"):
        (place / "qrels").mkdir(parents=True)
        for name, records in rows.items():
            if place == folder or name != "qa.jsonl":
                lines = "".join(json.dumps(record) + "\n" for record in records)
                (place / name).write_text(lines, encoding="utf-8")
        judged = "".join(f"t-{key}\t{key}\t1\n" for key in HELD_OUT)
        (place / "qrels" / "test.tsv").write_text(judged, encoding="utf-8")
    return folder


# --- starting ---------------------------------------------------------------------------------------------------------

# A server that has imported the heavy libraries forks each run, so that sixty runs do not import torch sixty times.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["expertune.pipeline.run", "expertune.train.tuning", "expertune.report", "sentence_transformers"]
)


class Started:
    """A run that is under way."""

    def __init__(self, task: Task, *, moment: int = 0, pause: float = 0.0, watch: bool = True) -> None:
        task.folder.mkdir(parents=True, exist_ok=True)
        # Not in the run's own folder: where that disk is full, what is printed could not be read.
        self._told = Path(tempfile.mkdtemp())
        self._printed, self._events = (self._told / name for name in ("printed", "events"))
        self._printed.touch()
        self._process = _FORKS.Process(
            target=_child, args=(task, self._printed, self._events, moment, pause, watch), daemon=True
        )
        self._process.start()

    def send(self, number: int) -> None:
        """Send a signal, if the run has not ended by itself."""
        assert self._process.pid
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def wait(self, *, seconds: float = 300.0) -> Ended:
        """Wait until the run has ended; one that hangs has to say where."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.send(signal.SIGABRT)
            self._process.join(10)
            raise AssertionError(f"the run hangs: {self._printed.read_text(encoding='utf-8', errors='replace')}")
        lines = self._events.read_text(encoding="utf-8").splitlines() if self._events.exists() else []
        events = tuple(tuple(line.split("\t")) for line in lines)
        printed = self._printed.read_text(encoding="utf-8", errors="replace")
        shutil.rmtree(self._told)
        return Ended(self._process.exitcode, printed, events)

    @property
    def working(self) -> bool:
        """Whether the first stage line has been printed."""
        return "load:" in self._printed.read_text(encoding="utf-8", errors="replace")


def run(task: Task, **options: Any) -> Ended:
    """Run to the end, or to the kill."""
    return Started(task, **options).wait()


# --- inside the process -----------------------------------------------------------------------------------------------


def _child(task: Task, printed: Path, events: Path, moment: int, pause: float, watch: bool) -> None:
    out = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    faulthandler.enable()
    os.chdir(task.folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from expertune.models.plugins import EmbeddingExpert

    # Vectors depend in their last bits on what is embedded together: runs that are compared need chunks of one size.
    EmbeddingExpert.chunk = 32
    if watch:
        _watch(os.open(events, os.O_WRONLY | os.O_CREAT | os.O_APPEND), moment, pause)
    from expertune.commands.cli import app
    from expertune.pipeline import ways

    # How long a question takes is another figure in every run, and asks for vectors again on purpose.
    ways.milliseconds = lambda models, questions: dict.fromkeys(models, 0.0)

    app(task.arguments)


def _watch(log: int, moment: int, pause: float) -> None:
    """Write down what the run does, and kill it at the given moment (counted from 1)."""
    from expertune.augment import writing
    from expertune.augment.generators.template import TemplateGenerator
    from expertune.commands import terminal
    from expertune.models import embed, registry
    from expertune.models.encoder import SentenceEncoder
    from expertune.train import checkpoints

    home, passed = str(Path.cwd()), 0

    def tell(*parts: str) -> None:
        os.write(log, ("\t".join(parts) + "\n").encode())

    def strike() -> None:
        time.sleep(pause)
        os.kill(os.getpid(), signal.SIGKILL)

    def pass_moment(what: str) -> None:
        nonlocal passed
        passed += 1
        tell("moment", what)
        if passed == moment:
            if pause:
                threading.Thread(target=strike).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS:
            name = arguments[0]
            path = os.path.normpath(Path.cwd() / os.fsdecode(name)) if isinstance(name, (str, bytes, Path)) else ""
            writes = event != "open" or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
            if path.startswith(home) and writes:
                pass_moment(f"{event} {_room(os.path.relpath(path, home))}")

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect_plainly(*arguments, **options)
        connection.set_trace_callback(lambda statement: pass_moment(f"sql {statement.split(' ')[0]}"))
        return connection

    embed_plainly = SentenceEncoder.embed

    def counted_embed(self: SentenceEncoder, texts: Sequence[str], *, is_query: bool) -> Any:
        pass_moment("embed")
        for text in texts:
            key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            tell("item", embed.vector_space(self, is_query=is_query), key)
        return embed_plainly(self, texts, is_query=is_query)

    class CountedGenerator(TemplateGenerator):
        def generate(self, requests: Sequence[Any], *, seed: int) -> list[str]:
            pass_moment("generate")
            for request in requests:
                tell("item", f"{self.fingerprint}|seed={seed}", writing._key(request))
            return super().generate(requests, seed=seed)

        batch_size = property(lambda self: 4, lambda self, value: None)

    @contextmanager
    def bars(screen: Any) -> Iterator[Any]:
        yield lambda event: tell("step", str(event.done)) if event.stage == "train" else None

    counted = {"template": CountedGenerator}
    make, connect_plainly = registry.factory, sqlite3.connect
    sqlite3.connect = connect
    SentenceEncoder.embed = counted_embed
    registry.factory = lambda group, name: counted.get(name) or make(group, name)
    terminal.bars = bars
    checkpoints.SECONDS = 0.0
    sys.addaudithook(hook)


def _room(path: str) -> str:
    """Name the kind of place a file operation works on, without keys and numbers."""
    parts = [part for part in Path(path).parts if not re.search(r"[0-9a-f]{32}", part)]
    return re.sub(r"\d+", "n", "/".join(parts[:2] + parts[-1:] if len(parts) > 2 else parts))


# --- comparing --------------------------------------------------------------------------------------------------------


def finished_items(store: Path) -> set[tuple[str, str]]:
    """Return the items that the store holds."""
    if not (store / "items.sqlite").exists():
        return set()
    with closing(sqlite3.connect(store / "items.sqlite")) as connection:
        try:
            return set(connection.execute("SELECT space, key FROM items").fetchall())
        except sqlite3.OperationalError:  # killed before the table was made
            return set()


def finished_artefacts(store: Path) -> dict[str, int]:
    """Return the complete artefacts and when each was written, which changes where one is made again."""
    return {
        str(path.parent.relative_to(store)): path.stat().st_mtime_ns for path in store.glob("*/[!.]*/manifest.json")
    }


def left(task: Task) -> dict[str, str]:
    """Return hashes of everything a run leaves, but for what it says of its own time."""
    hashes: dict[str, str] = {}
    for manifest in sorted(task.store.glob("*/[!.]*/manifest.json")):
        folder = manifest.parent.relative_to(task.store)
        hashes.update({f"{folder}/{k}": v for k, v in json.loads(manifest.read_text())["files"].items()})
        if folder.parts[0] == "score":
            record = json.loads((manifest.parent / "record.json").read_text())
            record.pop("seconds")
            hashes[f"{folder}/record.json"] = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    with closing(sqlite3.connect(task.store / "items.sqlite")) as connection:
        rows = connection.execute("SELECT space, key, value FROM items ORDER BY space, key").fetchall()
    hashes["items"] = hashlib.sha256(repr(rows).encode()).hexdigest()
    out = task.folder / "out"
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.name not in ("report.html", "report.md", "results.json"):
            hashes[str(path.relative_to(task.folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    results = _timeless(json.loads((out / "results.json").read_text()))
    hashes["results"] = hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()
    hashes["leftovers"] = repr([str(path) for path in task.store.glob("*/.*")] + [*map(str, task.store.glob("work/*"))])
    return hashes


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _timeless(item) for key, item in value.items() if key not in ("timings", "seconds", "milliseconds")
        }
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def twice(embedded: Sequence[tuple[str, str]]) -> int:
    """Return how many calls for an item were not its first."""
    return sum(count - 1 for count in Counter(embedded).values())
