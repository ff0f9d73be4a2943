"""Read what users asked from search logs: cleaned, and joined where it is the same. Knows no labels and no models.

What repeats a held-out question is found by the caller, who has the held-out texts and a
model: it hands `SearchLog.without` what goes and under which name it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path

from expertune.data.log_cleaning import Vocabulary, clean, vocabulary
from expertune.data.readers import READERS, read_lines, read_table
from expertune.data.rows import Problems, Table, is_missing
from expertune.data.wording import normalise
from expertune.errors import DataError

QUESTION_COLUMNS = (
    "question", "query", "text", "search", "q", "utterance", "search_query", "search_term", "search term", "searchterm",
    "term", "keyword", "phrase", "message", "questions", "queries",
)  # fmt: skip
"""Columns that may hold the questions, without regard to case; the first that is there counts."""

COUNT_COLUMNS = (
    "count", "n", "frequency", "freq", "hits", "occurrences", "searches", "times", "counts", "total",
)  # fmt: skip
"""Columns that may hold how often a question was asked, without regard to case; the first that is there counts."""

JOINED = "same question again"

_TEXT_SUFFIXES = ("", ".txt", ".log")
_MOST_COUNT = 10**12
_SAMPLE = 200
_HINT = "Give one question a line, or name the column 'question'."


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """A question of a log in its most frequent spelling.

    Attributes:
        text: The question, with addresses and long numbers masked.
        count: How often it was asked in any spelling, 1 or more.
        place: `file:line` where it stands first.
    """

    text: str
    count: int
    place: str


@dataclass(frozen=True, slots=True)
class SearchLog:
    """The questions of a log, the most frequent first, and what became of all other lines.

    Attributes:
        questions: Different by words; equally frequent ones in the order of the files.
        removed: Number of lines, or of questions once they are joined, by the rule that took them out.
        lines: Number of lines read: as many as there are questions and removals together.
    """

    questions: tuple[LogQuestion, ...]
    removed: Mapping[str, int] = field(default_factory=dict)
    lines: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The questions' texts, in order."""
        return tuple(question.text for question in self.questions)

    @property
    def counts(self) -> tuple[int, ...]:
        """How often each question was asked, in order."""
        return tuple(question.count for question in self.questions)

    def without(self, mask: Sequence[bool], rule: str) -> SearchLog:
        """Return the log without the questions where `mask` is true; they are counted under `rule`."""
        left = tuple(item for item, goes in zip(self.questions, mask, strict=True) if not goes)
        gone = len(self.questions) - len(left)
        removed = {**self.removed, rule: self.removed.get(rule, 0) + gone} if gone else self.removed
        return replace(self, questions=left, removed=removed)


def read_log(
    paths: Sequence[Path], *, answers: Sequence[str] = (), question_column: str = "", count_column: str = ""
) -> SearchLog:
    """Read, clean and join the questions of one or several logs.

    Args:
        paths: Text with one question a line (.txt, .log or no suffix), or CSV, TSV, JSONL or Parquet with a column.
        answers: Texts of the answers; their scripts and words tell what is foreign and what is no noise.
        question_column: Where the questions stand in tables; else one of `QUESTION_COLUMNS` or the only text column.
        count_column: How often each was asked; else one of `COUNT_COLUMNS`, else every row counts once.

    Raises:
        DataError: a file is missing, no text, malformed or empty, a column is not there or not clear, a count is no
            whole number from 1, or cleaning leaves no question.
    """
    lines, total = _Lines(), 0
    for path in paths:
        for place, text, count in _read(path, question_column, count_column):
            lines.add(place, text, count)
            total += 1
    searches = _joined(lines, vocabulary(answers), total)
    if not searches.questions:
        where = ", ".join(str(path) for path in paths)
        why = ", ".join(f"{rule}: {number}" for rule, number in searches.removed.items()) or "no lines"
        raise DataError(f"has no question left after cleaning ({why})", place=where, hint=_HINT)
    return searches


class _Lines:
    """Lines by their exact text, so that each is cleaned once however often it stands there."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.lines: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def add(self, place: str, text: str, count: int) -> None:
        """Note one line."""
        self.places.setdefault(text, place)
        self.lines[text] += 1
        self.counts[text] += count


def _joined(lines: _Lines, known: Vocabulary, total: int) -> SearchLog:
    removed: Counter[str] = Counter()
    spellings: dict[str, Counter[str]] = {}
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
        kept_lines += lines.lines[line]
    questions = [
        LogQuestion(spelling.most_common(1)[0][0], spelling.total(), places[key]) for key, spelling in spellings.items()
    ]
    questions.sort(key=lambda question: -question.count)
    if kept_lines > len(questions):
        removed[JOINED] = kept_lines - len(questions)
    return SearchLog(tuple(questions), dict(removed), total)


# --- files ------------------------------------------------------------------------------------------------------------


def _read(path: Path, question_column: str, count_column: str) -> Iterator[tuple[str, str, int]]:
    """Yield place, text and count of each line or row."""
    suffix = path.suffix.casefold()
    if suffix in READERS:
        yield from _rows(read_table(path), question_column, count_column)
        return
    if suffix not in _TEXT_SUFFIXES:
        kinds = ", ".join((*_TEXT_SUFFIXES[1:], *sorted(READERS)))
        hint = f"Save it as one of {kinds}. {_HINT}"
        raise DataError(f"is a {suffix} file, which cannot be read as a log", place=str(path), hint=hint)
    empty = True
    for place, text in read_lines(path):
        empty = False
        yield place, text, 1
    if empty:
        raise DataError("has no lines", place=str(path), hint=_HINT)


def _rows(table: Table, question_column: str, count_column: str) -> Iterator[tuple[str, str, int]]:
    counted = _column(table, (count_column,) if count_column else COUNT_COLUMNS, required=bool(count_column))
    asked = _column(table, (question_column,) if question_column else QUESTION_COLUMNS, required=bool(question_column))
    asked = asked or _only_text_column(table, counted)
    problems = Problems()
    for row in table.rows:
        text = _text(row.values.get(asked))
        if text is None:
            problems.add(row.place, f"'{asked}' is neither a text nor a number", f"Write '{asked}' as text.")
        count = _count(row.values.get(counted)) if counted else 1
        if count is None:
            message = f"'{counted}' is no whole number from 1 to {_MOST_COUNT:,}"
            problems.add(
                row.place, message, "Write how often the question was asked, or leave the cell empty for once."
            )
        yield row.place, text or "", count or 1
    problems.check()


def _column(table: Table, names: Sequence[str], *, required: bool) -> str:
    """Return the table's own spelling of the first of the names that it has, or "" where it has none."""
    by_name = {name.strip().casefold(): name for name in reversed(table.columns)}
    spelling = next((by_name[name.casefold()] for name in names if name.casefold() in by_name), "")
    if required and not spelling:
        message = f"has no column '{names[0]}' (found: {_listed(table)})"
        raise DataError(message, place=table.place, hint="Name a column that is there.")
    return spelling


def _only_text_column(table: Table, counted: str) -> str:
    """Return the one column whose cells are mostly letters."""
    sample = table.rows[:_SAMPLE]
    wordy = []
    for name in table.columns:
        cells = [cell for row in sample if isinstance(cell := row.values.get(name), str) and cell.strip()]
        letters = sum(character.isalpha() for cell in cells for character in cell)
        if name != counted and 2 * letters > sum(len(cell) for cell in cells):
            wordy.append(name)
    if len(wordy) == 1:
        return wordy[0]
    why = f"several may be it: {', '.join(wordy)}" if wordy else "none of them holds text"
    message = f"has no column that is known to hold questions (found: {_listed(table)}; {why})"
    raise DataError(message, place=table.place, hint="Rename the column with the questions to 'question'.")


def _listed(table: Table) -> str:
    return ", ".join(name for name in table.columns if name) or "none"


def _text(value: object) -> str | None:
    """Return a cell as text, "" where it holds nothing, None where it is no single value."""
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    return str(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    """Return a cell as a count, 1 where it holds nothing, None where it is no count."""
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return 1
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    valid = not isinstance(value, bool) and 1 <= number <= _MOST_COUNT and number == int(number)
    return int(number) if valid else None
