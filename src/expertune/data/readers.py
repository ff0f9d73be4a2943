"""Read text files and tables into rows that know their place. Knows no question, no split and no judgement.

Every reader collects what is wrong with its source and reports it at once, each problem with file and line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expertune.data.wording import visible
from expertune.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_SHOWN = 10
# The standard library stops at 131,072 characters; a cell may be as long as a text of JSON.
_LONGEST_CELL = 2**31 - 1
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


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, or raise DataError where it is missing or unreadable."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError("no such file", place=str(path), hint="Check the path.") from None
    except OSError as error:
        message = f"cannot be read ({(error.strerror or type(error).__name__).lower()})"
        raise DataError(message, place=str(path), hint="Check what it is and who may read it.") from None


def read_text(path: Path) -> str:
    """Return a text file's content without its byte order mark.

    Raises:
        DataError: it is missing, not UTF-8 or holds NUL bytes.
    """
    data = read_bytes(path)
    hint = "Save the file as UTF-8 text."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("is UTF-16, expected UTF-8", place=f"{path}:1", hint=hint)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (byte 0x{data[error.start]:02x})"
        raise DataError(message, place=f"{path}:{line}", hint=hint) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError("holds a NUL byte, expected text", place=f"{path}:{line}", hint=hint)
    return text


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield place and text of each line that is not blank.

    Only line feeds end a line, because JSON text may hold other separators such as U+2028.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", line


def _table(place: str, rows: Sequence[Row], columns: Sequence[str] = ()) -> Table:
    if not rows:
        raise DataError("has no rows", place=place, hint="Add at least one record.")
    names = dict.fromkeys(columns)
    for row in rows:
        names.update(dict.fromkeys(row.values))
    return Table(place, tuple(names), tuple(rows))


def read_jsonl(path: Path) -> Table:
    """Read one JSON object a line; blank lines do not count."""
    problems, rows = Problems(), []
    hint = 'Each line must be one JSON object, such as {"id": "a1", "text": "..."}.'
    for place, line in read_lines(path):
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            problems.add(place, f"is not JSON ({error.msg} at column {error.colno})", hint)
        except (ValueError, RecursionError):
            problems.add(place, "is not readable JSON (nested too deeply, or a number is too long)", hint)
        else:
            if isinstance(values, dict):
                rows.append(Row(place, values))
            else:
                problems.add(place, f"is a JSON {_kind(values)}, expected an object", hint)
    problems.check()
    return _table(str(path), rows)


def read_csv(path: Path, delimiter: str = ",") -> Table:
    """Read a table with a header line; a record's place is the line it ends in, as cells may hold line breaks.

    The standard library's reader, not pandas: it tells lines, and refuses stray quotes and extra cells.
    """
    problems, rows = Problems(), []
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in sorted({name for name in header if name and header.count(name) > 1}):
            problems.add(f"{path}:1", f"has the column '{name}' twice", "Give each column its own name.")
        for cells in reader:
            place = f"{path}:{reader.line_num}"
            if len(cells) > len(header):
                message = f"has {len(cells)} cells, but the header names {len(header)} columns"
                problems.add(place, message, "Quote cells that contain the separator.")
            if any(cell.strip() for cell in cells):
                rows.append(Row(place, dict(zip(header, cells, strict=False))))
    except csv.Error as error:
        message = f"is not a table with properly quoted cells ({error})"
        problems.add(f"{path}:{reader.line_num}", message, 'Put the cell in quotes and write each " in it as "".')
    problems.check()
    return _table(str(path), rows, header)


def read_tsv(path: Path) -> Table:
    """Read a tab-separated table with a header line."""
    return read_csv(path, "\t")


def read_parquet(path: Path) -> Table:
    """Read a Parquet file; places are row numbers from 1."""
    import pyarrow
    from pyarrow import parquet

    data = read_bytes(path)
    try:
        # What pandas wrote about itself beside the columns is not needed, and anything can stand there.
        frame = parquet.read_table(io.BytesIO(data)).to_pandas(ignore_metadata=True)
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        message = f"is not Parquet ({(str(error) or type(error).__name__).splitlines()[0]})"
        raise DataError(message, place=str(path), hint="Write it with DataFrame.to_parquet.") from None
    index = [name for name in frame.columns if str(name).startswith("__index_level_")]
    return frame_table(frame.drop(columns=index), str(path))


def frame_table(frame: DataFrame, place: str) -> Table:
    """Turn a data frame into rows; places are row numbers from 1."""
    names = [str(name) for name in frame.columns]
    records = enumerate(frame.itertuples(index=False, name=None), start=1)
    rows = [Row(f"{place}:row {number}", dict(zip(names, record, strict=True))) for number, record in records]
    return _table(place, rows, names)


READERS: Mapping[str, Callable[[Path], Table]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".tsv": read_tsv,
}


def require(table: Table, columns: Sequence[str], hint: str) -> None:
    """Raise DataError if a column occurs in no row at all; the columns found are listed."""
    for column in columns:
        if column not in table.columns:
            found = ", ".join(name for name in table.columns if name) or "none"
            raise DataError(f"has no column '{column}' (found: {found})", place=table.place, hint=hint)


def _kind(value: object) -> str:
    names = {bool: "true/false value", int: "number", float: "number", dict: "mapping", str: "text"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _missing(value: object) -> bool:
    """Tell whether a cell holds nothing: None, NaN or pandas.NA (known by name, so as not to load pandas)."""
    return value is None or (isinstance(value, float) and isnan(value)) or type(value).__name__ == "NAType"


def text_field(row: Row, column: str, problems: Problems, *, required: bool = True) -> str:
    """Return a cell's text without outer white space; note a problem where it is no text or shows nothing."""
    value = row.values.get(column)
    hint = f"Fill in '{column}' or remove the row."
    if _missing(value):
        if required:
            problems.add(row.place, f"'{column}' is empty" if column in row.values else f"has no '{column}'", hint)
        return ""
    if not isinstance(value, str):
        message = f"'{column}' is a {_kind(value)}, expected text"
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
    """Return an id as text; whole numbers are ids too. Empty where there is none."""
    value = row.values.get(column)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(value)
    return text_field(row, column, problems, required=False)
