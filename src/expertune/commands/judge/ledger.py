"""Keep what people judged: a sidecar that tells who saw what, and beside it the files of a BEIR set made from it.

`judgements.jsonl` is what counts. `queries.jsonl`, `qrels/test.tsv` and `unanswered.jsonl` are written from it after
each judgement; in them, lines that this module did not write stay byte for byte as they are. Every file is written to a
temporary sibling and renamed, so that a killed session leaves whole files, and the next one writes what is missing.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import combinations
from math import inf, nan
from pathlib import Path

from cattrs import BaseValidationError
from cattrs.preconf.json import make_converter
from filelock import FileLock

from expertune import data
from expertune.config import DataSection
from expertune.data.layout import JUDGED_SUFFIX, SIDECAR, UNANSWERED, Layout, find
from expertune.data.readers import read_text
from expertune.data.whole_files import write_whole
from expertune.data.wording import normalise, same_answer
from expertune.errors import DataError
from expertune.evaluate.sampling import Drawn, weights
from expertune.records import Document

_OURS = re.compile(r"judged-[0-9a-f]{16}")
_NUMBERED = re.compile(r"a\d+")
_HEADER = "query-id\tcorpus-id\tscore"
_converter = make_converter()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one person said about one question.

    Attributes:
        question: As it was asked.
        judge: Who judged.
        at: When, ISO 8601, UTC.
        right: The right answers, text by id; empty: none fits, or it was skipped.
        skipped: Nothing was said.
        shown: Ids of the answers that were shown, in that order.
        found_by: Which models found each of them.
        drawing: Number of the drawing, from 1; 0: it was not drawn, somebody typed it.
        plan: Digest of the questions and chances that the drawing was made of.
        place: Place in the order of the drawing, from 1.
        chance: Chance of the question in its drawing.
        next_key: Key of the question after it; None: it was the last one.
    """

    question: str
    judge: str
    at: str = field(default_factory=_now)
    right: Mapping[str, str] = field(default_factory=dict)
    skipped: bool = False
    shown: tuple[str, ...] = ()
    found_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drawing: int = 0
    plan: str = ""
    place: int = 0
    chance: float = 0.0
    next_key: float | None = None

    @property
    def id(self) -> str:
        """The query's id in the files; the same for the same words."""
        return f"judged-{blake2b(normalise(self.question).encode(), digest_size=8).hexdigest()}"

    def now(self, right: Mapping[str, str]) -> Entry:
        """Return what is said now, with other right answers."""
        return replace(self, right=right, skipped=False, at=_now())


@dataclass(frozen=True, slots=True)
class Question:
    """What all judges together said about a question; a right answer is one that at least half of them named.

    `weight` is None where it was not drawn: somebody typed it.
    """

    id: str
    text: str
    right: tuple[str, ...]
    weight: float | None = None

    @property
    def line(self) -> str:
        """The question as a line of `queries.jsonl`."""
        weight = {} if self.weight is None else {"weight": round(self.weight, 6)}
        return json.dumps({"_id": self.id, "text": self.text, **weight}, ensure_ascii=False)


class Ledger:
    """The judgements of one data set.

    Args:
        path: The data set: a folder, or a file of questions and answers, whose judgements lie in a folder beside it.

    Raises:
        DataError: it is not on this machine, or a file in it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.folder = _folder(path)
        self.entries = _read(self.folder / SIDECAR)

    # --- reading --------------------------------------------------------------------------------------------------

    @property
    def judged(self) -> tuple[Entry, ...]:
        """The entries that say something, in the order they were made."""
        return tuple(entry for entry in self.entries if not entry.skipped)

    def questions(self) -> tuple[Question, ...]:
        """Return every judged question once, in the order of the drawings, weighted back."""
        first: dict[str, Entry] = {}
        votes: dict[str, list[Entry]] = {}
        for entry in self.judged:
            known = first.setdefault(entry.id, entry)
            # Who judges a second time was not drawn for it: the draw is the first one.
            first[entry.id] = min(known, entry, key=lambda item: (item.drawing == 0, item.drawing))
            votes.setdefault(entry.id, []).append(entry)
        ordered = sorted(first.values(), key=lambda item: (item.drawing, item.place))
        drawn = [entry for entry in ordered if entry.drawing]
        draws = [Drawn(item.drawing, item.chance, inf if item.next_key is None else item.next_key) for item in drawn]
        weight = dict(zip((item.id for item in drawn), weights(draws).tolist(), strict=True))
        return tuple(Question(item.id, item.question, _agreed(votes[item.id]), weight.get(item.id)) for item in ordered)

    def kappa(self) -> tuple[float, int]:
        """Return how far judges agree on questions that several judged, and how many these are; NaN where none are.

        Cohen's kappa over shown answers called right or not, in [-1, 1], averaged over pairs of judges (Light 1971).
        """
        from sklearn.metrics import cohen_kappa_score

        by_judge: dict[str, dict[str, Entry]] = {}
        for entry in self.judged:
            by_judge.setdefault(entry.judge, {})[entry.id] = entry
        found, shared = [], set()
        for one, other in combinations(by_judge.values(), 2):
            both = one.keys() & other.keys()
            shared |= both
            said = [pair for question in sorted(both) for pair in _said(one[question], other[question])]
            if len(set(said)) > 1:  # where all say the same of all, chance alone would do: kappa tells nothing
                found.append(float(cohen_kappa_score(*zip(*said, strict=True))))
        return (sum(found) / len(found) if found else nan), len(shared)

    # --- writing --------------------------------------------------------------------------------------------------

    def record(self, entry: Entry) -> None:
        """Write one judgement; an earlier one of the same judge and question goes."""
        self._change(lambda entries: [*(item for item in entries if not _same(item, entry)), entry])

    def forget(self, entry: Entry) -> None:
        """Take a judgement back."""
        self._change(lambda entries: [item for item in entries if not _same(item, entry)])

    def last_of(self, judge: str) -> Entry | None:
        """Return what this judge said last."""
        return next((entry for entry in reversed(self.entries) if entry.judge == judge), None)

    def repair(self, documents: Sequence[Document], *, numbered: bool) -> tuple[str, ...]:
        """Follow answers to new ids, write the files again, and return what was done, in lines.

        Answers without an id of their own are `numbered` by their place, which changes with the table. A right answer
        that is gone takes its judgement with it: the question is asked again.
        """
        text_of = {document.id: document.text for document in documents}
        id_of = {same_answer(document.text): document.id for document in documents}
        moved = gone = 0

        def followed(entry: Entry) -> Entry | None:
            nonlocal moved, gone
            right: dict[str, str] = {}
            for name, text in entry.right.items():
                there = name in text_of and same_answer(text_of[name]) == same_answer(text)
                now = name if there else id_of.get(same_answer(text), "")
                if not now and name in text_of and not numbered:
                    now = name  # its wording was edited
                if now:
                    right[now] = text_of[now]
                    moved += now != name
            gone += bool(entry.right) and not right
            return None if entry.right and not right else replace(entry, right=right)

        if self.entries:
            self._change(lambda entries: [item for item in map(followed, entries) if item])
        lines = []
        if moved:
            lines.append(f"{moved} judged answer(s) have another id now: the judgements follow them")
        if gone:
            lines.append(f"{gone} judgement(s) named answers that are gone: these questions are asked again")
        return tuple(lines)

    def _change(self, change: Callable[[list[Entry]], list[Entry]]) -> None:
        """Read, change and write under a lock, so that two people can judge in one folder."""
        with _writable(self.folder):
            before = _read(self.folder / SIDECAR)
            self.entries = tuple(change(list(before)))
            if self.entries != before:
                text = "".join(f"{_converter.dumps(entry, ensure_ascii=False)}\n" for entry in self.entries)
                write_whole(self.folder / SIDECAR, text)
            if self.entries or before:
                self._write_set()

    def _write_set(self) -> None:
        questions = self.questions()
        answered = [item for item in questions if item.right]
        lines = [item.line for item in answered]
        judgements = [f"{item.id}\t{name}\t1" for item in answered for name in item.right]
        none = [item.line for item in questions if not item.right]
        queries, qrels = self.folder / "queries.jsonl", self.folder / "qrels" / "test.tsv"
        # A query without a judgement does no harm, a judgement without its query does: added first, removed last.
        theirs, ours = _parts(queries, _query_id)
        keep = [line for line in ours if _query_id(line) not in {item.id for item in answered}]
        _extend(queries, [*lines, *keep], theirs)
        _extend(qrels, judgements, _parts(qrels, _judged_id)[0], header=_HEADER)
        if keep:
            _extend(queries, lines, theirs)
        _extend(self.folder / UNANSWERED, none, _parts(self.folder / UNANSWERED, _query_id)[0])


def numbered(layout: Layout, documents: Iterable[Document]) -> bool:
    """Tell whether answers have no ids of their own, so that loading numbered them a1, a2, ..."""
    return layout.corpus is None and all(_NUMBERED.fullmatch(document.id) for document in documents)


def labelled(section: DataSection) -> tuple[str, ...]:
    """Return the questions that a data set trains on: judged too, a run would refuse them."""
    section = section.model_copy(update={"path": str(_data_path(Path(section.path)))})
    return tuple(item.text for item in data.Files(section).side.trained.values())


def _same(one: Entry, other: Entry) -> bool:
    return (one.judge, one.id) == (other.judge, other.id)


def _said(one: Entry, other: Entry) -> list[tuple[bool, bool]]:
    """Return of each answer that either saw or named whether they called it right."""
    names = dict.fromkeys((*one.shown, *other.shown, *one.right, *other.right))
    return [(name in one.right, name in other.right) for name in names]


def _agreed(entries: Sequence[Entry]) -> tuple[str, ...]:
    named = dict.fromkeys(name for entry in entries for name in entry.right)
    return tuple(name for name in named if 2 * sum(name in entry.right for entry in entries) >= len(entries))


# --- files ----------------------------------------------------------------------------------------------------------


def _data_path(path: Path) -> Path:
    """Return what the data set is: a corpus.jsonl stands for its folder."""
    return path.parent if path.name == "corpus.jsonl" and path.is_file() else path


def _folder(path: Path) -> Path:
    layout: Layout = find(DataSection(path=str(_data_path(path))))
    if layout.beir is not None:
        return layout.beir
    if layout.qa is None:
        message, hint = "is no folder or file of this machine", "Save the data set to a file, and name that."
        raise DataError(message, place=str(path), hint=hint)
    return layout.qa.with_suffix(JUDGED_SUFFIX)


def _read(path: Path) -> tuple[Entry, ...]:
    if not path.exists():
        return ()
    found = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                found.append(_converter.loads(line, Entry))
            except (ValueError, BaseValidationError, TypeError, AttributeError):
                hint = "Remove the line, or take the file of your last backup."
                raise DataError("is no judgement as `judge` writes it", place=f"{path}:{number}", hint=hint) from None
    return tuple(found)


def _query_id(line: str) -> str:
    try:
        return str(json.loads(line).get("_id", ""))
    except (ValueError, AttributeError):
        return ""


def _judged_id(line: str) -> str:
    return line.split("\t", 1)[0].strip()


def _parts(path: Path, name: Callable[[str], str]) -> tuple[str, list[str]]:
    """Return what stands in a file besides our lines, as it is, and our lines."""
    if not path.exists():
        return "", []
    if path.suffix == ".jsonl" and read_text(path).lstrip().startswith("["):
        hint = "Write one JSON object a line, as BEIR has it."
        raise DataError("is a JSON array, which cannot be extended", place=str(path), hint=hint)
    lines = io.StringIO(_as_it_is(path), newline="\n").readlines()
    ours = [line.rstrip("\r\n") for line in lines if _OURS.fullmatch(name(line))]
    return "".join(line for line in lines if not _OURS.fullmatch(name(line))), ours


def _extend(path: Path, lines: Sequence[str], theirs: str, *, header: str = "") -> None:
    """Write a file anew from what others wrote and our lines; a file that would hold nothing goes."""
    nothing = not theirs.strip() or theirs.strip() == header
    if not lines and nothing:
        path.unlink(missing_ok=True)
        return
    start = theirs if not nothing else f"{header}\n" if header else ""
    gap = "\n" if start and not start.endswith("\n") else ""
    text = start + gap + "".join(f"{line}\n" for line in lines)
    if not path.exists() or _as_it_is(path) != text:
        write_whole(path, text)


def _as_it_is(path: Path) -> str:
    """Return a file's text with its byte order mark and line ends."""
    read_text(path)  # says what is wrong where it is no text
    return path.read_bytes().decode("utf-8")


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; what the file system refuses is an error that says so."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{SIDECAR}.lock"):
            yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        hint = "Check who may write there and whether there is space; what was judged before is kept."
        raise DataError(f"cannot be written ({reason})", place=str(folder), hint=hint) from error
