"""Rows of any source, and how to take a text or an id out of them. Knows no file format.

What is wrong with a source is collected and told at once, each problem with its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from expertune.data.wording import visible
from expertune.errors import DataError

MOST_SHOWN = 10
_UNTEXTUAL = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a table; `place` is `file:line`, or `file:row n` where a source has no lines."""

    place: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """The records of one source and every column that occurs in it."""

    place: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, place: str, rows: Sequence[Row], columns: Sequence[str] = ()) -> Table:
        """Return the table of these rows, which may have other columns than the `columns` of a header too.

        Raises:
            DataError: there are none.
        """
        if not rows:
            raise DataError("has no rows", place=place, hint="Add at least one record.")
        names = dict.fromkeys(columns)
        for row in rows:
            names.update(dict.fromkeys(row.values))
        return cls(place, tuple(names), tuple(rows))


class Problems:
    """What is wrong with one source, collected so that a user sees it all at once (up to ten)."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []
        self._hints: dict[str, None] = {}

    def add(self, place: str, message: str, hint: str) -> None:
        """Note one problem: what was found and expected, and what to do."""
        self._found.append((place, message))
        if len(self._found) <= MOST_SHOWN:
            self._hints[hint] = None

    def check(self) -> None:
        """Raise DataError if anything was noted."""
        if not self._found:
            return
        (place, first), *others = self._found[:MOST_SHOWN]
        lines = [first, *(f"{where}: {what}" for where, what in others)]
        if len(self._found) > MOST_SHOWN:
            lines.append(f"... and {len(self._found) - MOST_SHOWN} more")
        raise DataError("\n".join(lines), place=place, hint=" ".join(self._hints))


def require(table: Table, columns: Sequence[str], hint: str) -> None:
    """Raise DataError if a column occurs in no row at all; the columns found are listed."""
    for column in columns:
        if column not in table.columns:
            found = ", ".join(name for name in table.columns if name) or "none"
            raise DataError(f"has no column '{column}' (found: {found})", place=table.place, hint=hint)


def kind_of(value: object) -> str:
    """Name the kind of a value in the words of a data file."""
    names = {bool: "true/false value", int: "number", float: "number", dict: "mapping", str: "text"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def is_missing(value: object) -> bool:
    """Tell whether a cell holds nothing: None, NaN, pandas.NA or NaT (known by name, so as not to load pandas)."""
    nothing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return nothing or (isinstance(value, Real) and bool(value != value))  # NaN differs from itself


def is_blank(row: Row, column: str) -> bool:
    """Tell whether a row has nothing in this column that would be seen."""
    value = row.values.get(column)
    return is_missing(value) or (isinstance(value, str) and not visible(value))


def text_field(row: Row, column: str, problems: Problems, *, required: bool = True) -> str:
    """Return a cell's text without outer white space; note a problem where it is no text or shows nothing."""
    value = row.values.get(column)
    hint = f"Fill in '{column}' or remove the row."
    if is_missing(value):
        if required:
            problems.add(row.place, f"'{column}' is empty" if column in row.values else f"has no '{column}'", hint)
        return ""
    if not isinstance(value, str):
        message = f"'{column}' is a {kind_of(value)}, expected text"
        problems.add(row.place, message, f"Write '{column}' as text.")
        return ""
    if _UNTEXTUAL.search(value):
        message = f"'{column}' holds a character that no text may hold (NUL or half of a surrogate pair)"
        problems.add(row.place, message, "Remove the character.")
        return ""
    if required and not visible(value):
        problems.add(row.place, f"'{column}' is empty", hint)
    return value.strip()


def id_field(row: Row, column: str, problems: Problems) -> str:
    """Return an id as text; whole numbers are ids too, also as 1.0. Empty where there is none."""
    value = row.values.get(column)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas turns whole numbers with a gap among them into 1.0, 2.0
    return text_field(row, column, problems, required=False)
