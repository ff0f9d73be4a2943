"""Write a commented config for the data found in a folder. Guesses by names; checks no content.

What was found is set; everything else stands there as a comment with its default, so that a later version's better
default still counts.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from expertune.config import FILE_NAME, Config, DataSection, GeneratorSpec, PluginSpec, Section
from expertune.data import layout
from expertune.data.columns import ANSWER_NAMES, ID_NAMES, QUESTION_NAMES, folded, guess, split_column
from expertune.data.readers import read_table
from expertune.data.rows import Table
from expertune.errors import ConfigError, DataError

_WIDTH = 100
_CELL = 60


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder: the path to give as `data.path`, relative to it, and what the file names say.

    `columns` holds the data keys whose column is called otherwise than the default, `rows` the first three rows as they
    would be read.
    """

    path: str
    name: str
    corpus: bool
    splits: tuple[str, ...]
    columns: dict[str, str]
    rows: tuple[str, ...] = ()


def write(folder: Path, found: Found | None = None) -> Path:
    """Write a config into `folder`, for what was found there, and return its path.

    Raises:
        ConfigError: there is one already.
        DataError: there is no such folder, or nothing in it that can be read.
    """
    target = folder / FILE_NAME
    found = found or look(folder)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text(found))
    except FileExistsError:
        hint = "Delete or rename it first; it is never overwritten."
        raise ConfigError(["there is a config already"], place=str(target), hint=hint) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            [f"cannot be written ({reason.lower()})"], place=str(target), hint="Check who may write there."
        ) from None
    return target


def look(folder: Path) -> Found:
    """Find the data set of a folder: qa file or BEIR set, else the only table in it.

    Raises:
        DataError: there is no such folder, or nothing in it that can be read, or more than one table.
    """
    if not folder.is_dir():
        raise DataError(
            "no such folder", place=str(folder), hint="Name the folder that holds your questions and answers."
        )
    data = layout.find(DataSection(path=str(folder)))
    table = _readable(data.qa) if data.qa else None
    whole = data.qa is None or data.qa.stem == "qa" or data.corpus is not None or bool(data.splits)
    return Found(
        path="." if whole or data.qa is None else data.qa.name,
        name=folder.resolve().name,
        corpus=data.corpus is not None,
        splits=data.splits,
        columns=_columns(table) if table else {},
        rows=_first_rows(table) if table else (),
    )


def text(found: Found) -> str:
    """Return the config as TOML with comments."""
    lines = [
        f"# Settings of one run. `expertune check {FILE_NAME}` looks at them, `expertune run {FILE_NAME}` runs.",
        "# Two signs (##) say what a key means; one sign (#) shows its default: remove it to set the key yourself.",
        "# Paths are relative to this file.",
    ]
    values = {"run": {"out": f"runs/{found.name}"}, "data": {"path": found.path, **found.columns}}
    for name, field in Config.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        lines += ["", *_comment((kind.__doc__ or "").strip().splitlines()[0]), f"[{name}]"]
        for key in kind.model_fields:
            lines += _key(kind, key, values.get(name, {}).get(key))
            lines += _comment(_found(found)) if (name, key) == ("data", "path") else []
    return "\n".join(lines) + "\n"


def _found(found: Found) -> str:
    tests = [split for split in found.splits if split.startswith("test")]
    held_out = f"held-out splits: {', '.join(tests)}" if tests else "no held-out splits in qrels"
    return f"found: {'further answers in corpus.jsonl' if found.corpus else 'no corpus.jsonl'}; {held_out}"


def _readable(file: Path) -> Table | None:
    """Return the table, or None where it cannot be read: `check` and `run` name what is wrong with the content."""
    try:
        return read_table(file)
    except DataError:
        return None


def _columns(table: Table) -> dict[str, str]:
    """Return the column keys whose column is called otherwise than the default, guessed by its name.

    A split is guessed by its values too. An id must not stand for two answers.
    """
    default = DataSection()
    names = {"question_column": QUESTION_NAMES, "answer_column": ANSWER_NAMES, "id_column": ID_NAMES}
    chosen: dict[str, str] = {}
    for key, known in names.items():
        usual = getattr(default, key)
        free = [name for name in table.columns if name not in chosen.values()]
        column = usual if usual in map(folded, free) else guess(free, known)
        if key == "id_column" and column != usual and not _tells_apart(table, column, chosen):
            continue
        if column and column != usual:
            chosen[key] = column
    if default.split_column not in map(folded, table.columns):
        others = [name for name in table.columns if name not in chosen.values()]
        if column := split_column(table, others):
            chosen["split_column"] = column
    return chosen


def _tells_apart(table: Table, column: str, chosen: Mapping[str, str]) -> bool:
    """Tell whether no value of the column stands for two answers."""
    answers: dict[str, str] = {}
    answer = chosen.get("answer_column", "answer")
    rows = [row.values for row in table.rows if row.values.get(column)]
    return all(answers.setdefault(str(row[column]), str(row.get(answer))) == str(row.get(answer)) for row in rows)


def _first_rows(table: Table) -> tuple[str, ...]:
    """Return the first three rows on one line each, with the names of the columns as the config will have them."""
    columns = {"question": "question", "answer": "answer", "id": "id", "split": "split"}
    columns |= {key.removesuffix("_column"): column for key, column in _columns(table).items()}
    by_name = {folded(name): name for name in table.columns}
    lines = []
    for row in table.rows[:3]:
        cells = {key: row.values.get(by_name.get(folded(column), column)) for key, column in columns.items()}
        shown = (f"{key}: {textwrap.shorten(str(value), _CELL)}" for key, value in cells.items() if value)
        lines.append(" | ".join(shown))
    return tuple(lines)


def _key(kind: type[Section], key: str, value: str | None) -> list[str]:
    """Return what a key means, and its value, or its default as a comment; nothing where there is neither."""
    field = kind.model_fields[key]
    if value is None and field.default is None:
        return []
    lines = _comment(field.description or key)
    if choices := _choices(field.annotation):
        lines += _comment(f"one of: {', '.join(choices)}")
    return [*lines, f"{key} = {_toml(value)}"] if value else [*lines, *_default(key, _toml(field.default))]


def _choices(annotation: Any) -> list[str]:
    """Return the values that a key with a closed list of values may have, also inside a tuple."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for inner in get_args(annotation) for value in _choices(inner)]


def _default(key: str, value: str) -> list[str]:
    """Return a key and its default as comment lines; a long list gets one item a line."""
    line = f"# {key} = {value}"
    if len(line) <= _WIDTH or not value.startswith("["):
        return [line]
    items = value[1:-1].split(", ")
    return [f"# {key} = [", *(f"#     {item}," for item in items), "# ]"]


def _comment(words: str) -> list[str]:
    """Return comment lines; two signs, so that they are told from keys to uncomment."""
    # File names get in here, and TOML allows no control characters in comments.
    visible = "".join(character if character.isprintable() else " " for character in words)
    return textwrap.wrap(visible, _WIDTH, initial_indent="## ", subsequent_indent="## ")


def _toml(value: Any) -> str:
    """Write one value as TOML on one line; plug-ins in their short form."""
    import tomli_w

    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, GeneratorSpec) and value.share != 1.0:
        table = value.model_dump(exclude_defaults=True)
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in table.items()) + " }"
    if isinstance(value, PluginSpec):
        return _toml(f"{value.use}:{value.model}" if value.use and value.model else value.use or value.model)
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")
