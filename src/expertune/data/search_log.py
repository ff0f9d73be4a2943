"""Join what users asked in search logs: cleaned, and one where it is the same. Knows no labels and no models.

What repeats a held-out question is found by the caller, who has the held-out texts and a
model: it hands `SearchLog.without` what goes and under which name it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from expertune.data.log_cleaning import Vocabulary, clean, vocabulary
from expertune.data.log_columns import HINT, Line, read_log_lines
from expertune.data.wording import normalise
from expertune.errors import DataError

JOINED = "same question again"

MOST_OPENED = 20
"""Answers that count as opened after one question, those opened most often: what else was opened is chance."""


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """A question of a log in its most frequent spelling.

    Attributes:
        text: The question, with addresses and long numbers masked.
        count: How often it was asked in any spelling, 1 or more.
        place: `file:line` where it stands first.
        clicks: Ids of the answers that were opened after it, and how often; the most often opened first.
    """

    text: str
    count: int
    place: str
    clicks: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SearchLog:
    """The questions of a log, the most frequent first, and what became of all other lines.

    Attributes:
        questions: Different by words; equally frequent ones in the order of the files.
        removed: Number of lines, or of questions once they are joined, by the rule that took them out.
        lines: Number of lines read: as many as there are questions and removals together.
        unknown: Number of clicks on answers that are not there, by the id they name.
    """

    questions: tuple[LogQuestion, ...]
    removed: Mapping[str, int] = field(default_factory=dict)
    lines: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """The questions' texts, in order."""
        return tuple(question.text for question in self.questions)

    @property
    def counts(self) -> tuple[int, ...]:
        """How often each question was asked, in order."""
        return tuple(question.count for question in self.questions)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read, what of it is left, and what about it is odd: a few words each."""
        removed = "".join(f", {count} {rule}" for rule, count in self.removed.items())
        notes = [f"{self.lines} lines: {len(self.questions)} questions{removed}"]
        if not self.questions:
            notes.append("no question is left, so it adds nothing")
        if self.unknown:
            clicks, first = sum(self.unknown.values()), next(iter(self.unknown))
            notes.append(
                f"{clicks} clicks on {len(self.unknown)} ids that no answer has, such as '{first}', do not count"
            )
        return tuple(notes)

    def without(self, mask: Sequence[bool], rule: str) -> SearchLog:
        """Return the log without the questions where `mask` is true; they are counted under `rule`."""
        left = tuple(item for item, goes in zip(self.questions, mask, strict=True) if not goes)
        gone = len(self.questions) - len(left)
        removed = {**self.removed, rule: self.removed.get(rule, 0) + gone} if gone else self.removed
        return replace(self, questions=left, removed=removed)


def read_log(
    paths: Sequence[Path], *, answers: Mapping[str, str] | None = None, same: Mapping[str, str] | None = None
) -> SearchLog:
    """Read, clean and join the questions of one or several logs.

    Args:
        paths: Text with one question a line (.txt, .log or no suffix), or CSV, TSV, JSONL or Parquet with a column.
        answers: Texts of the answers by id; their scripts and words tell what is foreign and what is no noise, and
            clicks on other ids are counted as unknown.
        same: Leads from the id of an answer that was joined with an equal one to that one's: clicks on it count there.

    Raises:
        DataError: a file cannot be read (see `read_log_lines`), or cleaning leaves no question.
    """
    answers, same = answers or {}, same or {}
    lines, total = _Lines(), 0
    for path in paths:
        for line in read_log_lines(path):
            lines.add(line._replace(answer=same.get(line.answer, line.answer)))
            total += 1
    searches = _joined(lines, vocabulary(answers.values()), total, answers.keys())
    if not searches.questions:
        where = ", ".join(str(path) for path in paths)
        why = ", ".join(f"{rule}: {number}" for rule, number in searches.removed.items()) or "no lines"
        raise DataError(f"has no question left after cleaning ({why})", place=where, hint=HINT)
    return searches


class _Lines:
    """Lines by their exact text, so that each is cleaned once however often it stands there."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.lines: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.clicks: dict[str, Counter[str]] = {}

    def add(self, line: Line) -> None:
        """Note one line."""
        self.places.setdefault(line.text, line.place)
        self.lines[line.text] += 1
        self.counts[line.text] += line.times
        if line.answer:
            self.clicks.setdefault(line.text, Counter())[line.answer] += line.clicks


def _joined(lines: _Lines, known: Vocabulary, total: int, answers: Iterable[str]) -> SearchLog:
    removed: Counter[str] = Counter()
    spellings: dict[str, Counter[str]] = {}
    clicks: dict[str, Counter[str]] = {}
    places: dict[str, str] = {}
    kept_lines = 0
    for line, place in lines.places.items():
        text, rule = clean(line, known)
        if rule:
            removed[rule] += lines.lines[line]
            continue
        key = normalise(text)
        places.setdefault(key, place)
        spellings.setdefault(key, Counter())[text] += lines.counts[line]
        if line in lines.clicks:
            clicks.setdefault(key, Counter()).update(lines.clicks[line])
        kept_lines += lines.lines[line]
    unknown = _taken_out(clicks.values(), frozenset(answers))
    questions = [
        LogQuestion(spelling.most_common(1)[0][0], spelling.total(), places[key], _most_opened(clicks.get(key)))
        for key, spelling in spellings.items()
    ]
    questions.sort(key=lambda question: -question.count)
    if kept_lines > len(questions):
        removed[JOINED] = kept_lines - len(questions)
    return SearchLog(tuple(questions), dict(removed), total, unknown)


def _taken_out(clicks: Iterable[Counter[str]], answers: frozenset[str]) -> dict[str, int]:
    """Take the clicks on answers that are not there out, and return them by id; all are there where none is named."""
    unknown: Counter[str] = Counter()
    for opened in clicks:
        for answer in opened.keys() - answers if answers else ():
            unknown[answer] += opened.pop(answer)
    return dict(sorted(unknown.items()))


def _most_opened(opened: Counter[str] | None) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(opened.items(), key=lambda item: (-item[1], item[0]))[:MOST_OPENED]) if opened else ()
