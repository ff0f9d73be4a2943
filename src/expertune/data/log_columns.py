"""Read the lines of a search log out of its files. Knows no rule of cleaning and no answers."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from expertune.data.columns import guess
from expertune.data.readers import READERS, read_lines, read_table
from expertune.data.rows import Problems, Row, Table, id_field, is_missing
from expertune.errors import DataError

QUESTION_COLUMNS = (
    "question", "query", "text", "search", "q", "utterance", "search query", "search term", "searchterm",
    "term", "keyword", "phrase", "message", "questions", "queries",
)  # fmt: skip
"""Columns that may hold the questions, without regard to case, hyphens and underscores; the first that is there counts.
So it is with the others."""

COUNT_COLUMNS = (
    "count", "n", "frequency", "freq", "hits", "occurrences", "searches", "times", "counts", "total",
)  # fmt: skip
"""Columns that may hold how often a question was asked."""

CLICKED_COLUMNS = (
    "clicked", "clicked id", "clicked answer", "clicked answer id", "clicked document", "clicked document id",
    "clicked doc", "clicked doc id", "clicked result", "clicked article", "opened", "opened id",
)  # fmt: skip
"""Columns that hold the id of the answer that somebody opened."""

SHOWN_COLUMNS = ("answer id", "document id", "doc id", "article id", "result id", "faq id")
"""Columns with an id that may just as well have been shown only: read where clicks or a thumb stand beside it."""

CLICK_COLUMNS = ("clicks", "click count", "number of clicks")
"""Columns that may hold how often the answer was opened; without one, every row is one click a search."""

THUMB_COLUMNS = ("thumb", "thumbs", "helpful", "feedback", "vote")
"""Columns that may hold whether somebody called the answer right."""

THUMB_CLICKS = 10
"""Clicks that a thumb up counts for: people click what stands first, but a thumb is given after reading."""

HINT = "Give one question a line, or name the column 'question'."

_UP = frozenset({"up", "1", "+1", "1.0", "yes", "y", "true", "helpful", "positive", "good", "like", "👍"})
_DOWN = frozenset(
    {"down", "-1", "0", "0.0", "-1.0", "no", "n", "false", "not helpful", "negative", "bad", "dislike", "👎"}
)
_TEXT_SUFFIXES = ("", ".txt", ".log")
_MOST_COUNT = 10**12
_SAMPLE = 200


class Line(NamedTuple):
    """One line or row: where it stands, its text, how often it was asked, which answer was opened and how often."""

    place: str
    text: str
    times: int = 1
    answer: str = ""
    clicks: int = 0


def read_log_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a text with one question a line (.txt, .log or no suffix), or the rows of a table.

    Raises:
        DataError: the file is missing, no text, malformed or empty, no column is known or clear, or a cell is no
            text, no count or no thumb.
    """
    suffix = path.suffix.casefold()
    if suffix in READERS:
        yield from _rows(read_table(path))
        return
    if suffix not in _TEXT_SUFFIXES:
        kinds = ", ".join((*_TEXT_SUFFIXES[1:], *sorted(READERS)))
        hint = f"Save it as one of {kinds}. {HINT}"
        raise DataError(f"is a {suffix} file, which cannot be read as a log", place=str(path), hint=hint)
    empty = True
    for place, text in read_lines(path):
        empty = False
        yield Line(place, text)
    if empty:
        raise DataError("has no lines", place=str(path), hint=HINT)


def _rows(table: Table) -> Iterator[Line]:
    counted, clicks, thumb = (guess(table.columns, names) for names in (COUNT_COLUMNS, CLICK_COLUMNS, THUMB_COLUMNS))
    opened = guess(table.columns, CLICKED_COLUMNS + (SHOWN_COLUMNS if clicks or thumb else ()))
    asked = guess(table.columns, QUESTION_COLUMNS) or _only_text_column(table, counted)
    problems = Problems()
    for row in table.rows:
        text = _text(row, asked, problems)
        count = _count(row, counted, problems, least=1) if counted else 1
        answer = id_field(row, opened, problems) if opened else ""
        number = _count(row, clicks, problems, least=0) if clicks else count
        if answer and thumb:
            number = _of_thumb(row, thumb, number, problems)
        yield Line(row.place, text, count, answer if number else "", number if answer else 0)
    problems.check()


def _text(row: Row, column: str, problems: Problems) -> str:
    """Return a cell as text, "" where it holds nothing; note a problem where it is no single value."""
    value = row.values.get(column)
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(value)
    problems.add(row.place, f"'{column}' is neither a text nor a number", f"Write '{column}' as text.")
    return ""


def _count(row: Row, column: str, problems: Problems, *, least: int) -> int:
    """Return a cell as a count, 1 where it holds nothing; note a problem where it is no count."""
    value = row.values.get(column)
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return 1
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not isinstance(value, bool) and least <= number <= _MOST_COUNT and number == int(number):
        return int(number)
    message = f"'{column}' is no whole number from {least} to {_MOST_COUNT:,}"
    problems.add(row.place, message, "Write how often it happened, or leave the cell empty for once.")
    return 1


def _of_thumb(row: Row, column: str, clicks: int, problems: Problems) -> int:
    """Return the clicks of a row by its thumb: more for one up, none for one down, as they are where there is none."""
    value = row.values.get(column)
    word = "" if is_missing(value) else str(value).strip().casefold()
    if word in _UP:
        return THUMB_CLICKS * max(clicks, 1)
    if word and word not in _DOWN:
        message = f"'{column}' is '{word}', which is neither up nor down"
        problems.add(
            row.place, message, "Write up or down, 1 or -1, yes or no; leave the cell empty where nobody said."
        )
    return 0 if word else clicks


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
    listed = ", ".join(name for name in table.columns if name) or "none"
    message = f"has no column that is known to hold questions (found: {listed}; {why})"
    raise DataError(message, place=table.place, hint="Rename the column with the questions to 'question'.")
