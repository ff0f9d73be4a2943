"""Read files, data frames and hub data sets into rows that know their place. Knows no question and no judgement.

Every reader collects what is wrong with its source and reports it at once, each problem with file and line.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expertune.data.rows import Problems, Row, Table, kind_of
from expertune.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'"?sep=([,;|\t])"?\r?\n', re.IGNORECASE)

# The standard library stops at 131,072 characters; a cell may be as long as a text of JSON.
_LONGEST_CELL = 2**31 - 1


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

    It is UTF-8, or UTF-16 where the mark says so. What has no mark and is not UTF-8 is refused: which of the many
    single-byte encodings it is in could only be guessed.

    Raises:
        DataError: it is missing, not in one of the two encodings, or holds NUL characters.
    """
    data = read_bytes(path)
    hint = 'Save the file as UTF-8 text (in Excel: Save As, "CSV UTF-8").'
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError("is an Excel workbook or a packed file, expected text", place=str(path), hint=hint)
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = "is UTF-16 that is cut or broken" if marked else f"is not UTF-8 (byte 0x{data[error.start]:02x})"
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


def read_jsonl(path: Path, example: str = '{"question": "...", "answer": "..."}') -> Table:
    """Read one JSON object a line, or an array of objects, also as the one array within an object.

    Blank lines do not count. The place of an array's record is its number, from 1.
    """
    problems, rows = Problems(), []
    hint = f"Each line must be one JSON object, such as {example}."
    records = _array(path)
    if records is not None:
        return _records_table(path, records, f"Each item must be one JSON object, such as {example}.")
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
                problems.add(place, f"is a JSON {kind_of(values)}, expected an object", hint)
    problems.check()
    return Table.of(str(path), rows)


def _array(path: Path) -> list[Any] | None:
    """Return the items of a file that holds one JSON array, bare or in an object; None where it is read by lines.

    Raises:
        DataError: the file begins like an array, or like an object of many lines, and is not JSON.
    """
    text = read_text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        first = next((line.strip() for line in text.split("\n") if line.strip()), "")
        if first in ("[", "{") or first.startswith(("[{", "[ {")):
            message = f"is not JSON ({error.msg} at column {error.colno})"
            hint = "Mend the array, or write one object a line."
            raise DataError(message, place=f"{path}:{error.lineno}", hint=hint) from None
        return None
    except (ValueError, RecursionError):
        return None  # told with its line
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], dict)]
        return lists[0] if len(lists) == 1 else None
    return value if isinstance(value, list) else None


def _records_table(path: Path, records: Sequence[Any], hint: str) -> Table:
    problems, rows = Problems(), []
    for number, values in enumerate(records, start=1):
        place = f"{path}:item {number}"
        if isinstance(values, dict):
            rows.append(Row(place, values))
        else:
            problems.add(place, f"is a JSON {kind_of(values)}, expected an object", hint)
    problems.check()
    return Table.of(str(path), rows)


def _separator(text: str, default: str) -> str:
    """Return what separates the cells of a table: what gives its header the most names, and the next row as many.

    Commas within answers do not matter, as only the header is counted. Among equals it is `default`.
    """

    def fit(separator: str) -> tuple[int, bool]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        names = 0
        try:
            header = next(reader, [])
            names = sum(bool(name.strip(" ,;|\t")) for name in header)
            return names, len(next(reader, [])) == len(header)
        except csv.Error:
            return names, False

    return max((default, *_SEPARATORS), key=fit)


def read_csv(path: Path, delimiter: str = ",") -> Table:
    """Read a table with a header line; a record's place is the line it ends in, as cells may hold line breaks.

    Cells are separated by `delimiter`, or by what the header is separated by: European Excel writes semicolons. The
    standard library's reader, not pandas: it tells lines, and refuses stray quotes and extra cells.
    """
    problems, rows = Problems(), []
    csv.field_size_limit(_LONGEST_CELL)
    text, above = read_text(path), 0
    if named := _SEPARATOR_LINE.match(text):  # Excel's own way to name it
        text, above, delimiter = text[named.end() :], 1, named[1]
    else:
        delimiter = _separator(text, delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in sorted({name for name in header if name and header.count(name) > 1}):
            problems.add(f"{path}:{1 + above}", f"has the column '{name}' twice", "Give each column its own name.")
        for cells in reader:
            place = f"{path}:{reader.line_num + above}"
            if len(cells) > len(header):
                message = f"has {len(cells)} cells, but the header names {len(header)} columns"
                problems.add(place, message, "Quote cells that contain the separator.")
            if any(cell.strip() for cell in cells):
                rows.append(Row(place, dict(zip(header, cells, strict=False))))
    except csv.Error as error:
        message = f"is not a table with properly quoted cells ({error})"
        problems.add(
            f"{path}:{reader.line_num + above}", message, 'Put the cell in quotes and write each " in it as "".'
        )
    problems.check()
    return Table.of(str(path), rows, header)


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
    """Turn a data frame into rows; places are row numbers from 1.

    Raises:
        DataError: two columns have one name, or there are no rows.
    """
    names = [str(name) for name in frame.columns]
    problems = Problems()
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.add(place, f"has the column '{name}' twice", "Give each column its own name.")
    problems.check()
    records = enumerate(frame.itertuples(index=False, name=None), start=1)
    rows = [Row(f"{place}:row {number}", dict(zip(names, record, strict=True))) for number, record in records]
    return Table.of(place, rows, names)


def read_hub(name: str, *, offline: bool) -> Table:
    """Download a data set of the hub; where it has no column `split`, the names of its splits serve."""
    if offline:
        message = (
            "no such file or folder; as an id of the datasets hub it would need a connection, but the run is offline"
        )
        raise DataError(message, place=name, hint="Correct data.path, or set run.offline = false.")
    import datasets

    try:
        frames = {split: part.to_pandas() for split, part in datasets.load_dataset(name).items()}
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        hint = "Check the id and the connection."
        raise DataError(f"cannot be had from the datasets hub ({reason})", place=name, hint=hint) from None
    columns: dict[str, None] = {}
    rows: list[Row] = []
    for split, frame in frames.items():
        part = frame_table(frame, f"{name}[{split}]")
        columns.update(dict.fromkeys(part.columns))
        if any(name.strip().casefold() == "split" for name in part.columns):
            rows += part.rows
        else:  # "train" is what the hub calls a data set without splits
            rows += [Row(row.place, {**row.values, "split": "" if split == "train" else split}) for row in part.rows]
    return Table(name, tuple(columns), tuple(rows))


READERS: Mapping[str, Callable[[Path], Table]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".tsv": read_tsv,
    ".json": read_jsonl,
}


def read_table(path: Path) -> Table:
    """Read a file by the kind that its suffix names, in whatever letter case.

    Raises:
        DataError: it is missing, malformed or without rows.
    """
    return READERS[path.suffix.lower()](path)
