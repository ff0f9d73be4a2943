"""Understand what the columns of a Q&A table and the values of its split column mean. Knows no files and no corpus."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from expertune.config import DataSection
from expertune.data.rows import Row, Table, is_missing, require
from expertune.errors import DataError

_SPLITS: Mapping[str, str] = {
    "": "",
    "train": "",
    "training": "",
    "heldout": "heldout",
    "holdout": "heldout",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "dev",
    "development": "dev",
    "eval": "eval",
    "evaluation": "eval",
}
"""What the values of a split column mean, without regard to case, blanks, hyphens and underscores."""

KNOWN = "train, training or nothing (trained on), heldout, test..., validation, valid, val, dev, eval (not trained on)"

_SPLIT_NAMES = frozenset({"split", "set", "fold", "partition", "subset", "usage", "phase", "part", "datasplit"})
_FLAGS = frozenset({"test", "heldout", "holdout", "validation", "dev", "eval"})
_TEST = re.compile(r"test(s|ing|set)?([_.\d-]\S*)?")
_MOST_SHOWN = 10

QUESTION_NAMES = (
    *("question", "questions", "query", "prompt", "frage", "title", "subject", "heading", "faq", "input"),
    *("instruction", "utterance", "domanda", "pregunta", "pergunta", "vraag", "titel", "titre", "q"),
)
ANSWER_NAMES = (
    *("answer", "answers", "response", "reply", "antwort", "body", "content", "solution", "description", "article"),
    *("output", "completion", "text", "risposta", "respuesta", "resposta", "antwoord", "réponse", "inhalt", "a"),
)
ID_NAMES = ("id", "answer id", "article id", "document id", "doc id", "faq id", "key", "nr", "number", "no", "#")


def folded(name: str) -> str:
    """Return a column's name without regard to letter case, underscores, hyphens and surrounding blanks."""
    return " ".join(name.replace("\ufeff", "").replace("_", " ").replace("-", " ").split()).casefold()


def _plain(name: str) -> str:
    return name.replace("\ufeff", "").strip().casefold()


def named(table: Table, section: DataSection) -> Table:
    """Call the columns of a Q&A table as the config does where letter case or surrounding blanks alone differ.

    Raises:
        DataError: a column is missing or there twice, or one looks like a split but is not named as the split.
    """
    default = DataSection()
    wanted = [section.question_column, section.answer_column]
    required = [*wanted]
    for column, usual in ((section.id_column, default.id_column), (section.split_column, default.split_column)):
        wanted.append(column)
        required += [column] if column != usual else []  # only the default may be absent
    names = {_plain(column): column for column in wanted}
    rows = [Row(row.place, _renamed(row, names)) for row in table.rows]
    columns = dict.fromkeys(names.get(_plain(name), name) for name in table.columns)
    table = replace(table, columns=tuple(columns), rows=tuple(rows))
    require(table, required, "Rename it, or set data.question_column, data.answer_column and data.id_column.")
    _refuse_hidden_split(table, section)
    return table


def _renamed(row: Row, names: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    origin: dict[str, str] = {}
    for name, value in row.values.items():
        column = names.get(_plain(name), name)
        if column in values:
            message = f"has the columns '{origin[column]}' and '{name}', which count as one"
            raise DataError(message, place=row.place, hint="Rename or remove one of them.")
        values[column], origin[column] = value, name
    return values


def split_of(value: str, section: DataSection) -> str | None:
    """Return the split that a value means, "" where it is trained on; None where it is not known.

    What begins with "test", and what `data.test_splits` names, is a split of its own.
    """
    word = value.strip().casefold()
    chosen = {split.casefold(): split for split in section.test_splits}
    if word in chosen:
        return chosen[word]
    meaning = _SPLITS.get(folded(word).replace(" ", ""))
    return word if meaning is None and word.startswith("test") else meaning


def splits(table: Table, section: DataSection) -> Counter[str]:
    """Return how many rows each value of the split column has, in the file's own words.

    Raises:
        DataError: a value is not known; all that were found are listed.
    """
    values = Counter(_text(row.values.get(section.split_column)) for row in table.rows)
    unknown = [value for value in values if split_of(value, section) is None]
    if unknown:
        first = next(row for row in table.rows if _text(row.values.get(section.split_column)) == unknown[0])
        found = ", ".join(f"'{value}': {count}" for value, count in values.most_common(_MOST_SHOWN))
        message = f"'{section.split_column}' is '{unknown[0]}', which is not known (rows found: {found})"
        hint = f"Known are {KNOWN}. Use one of those, or name it in data.test_splits to test on it."
        raise DataError(message, place=first.place, hint=hint)
    return values


def unused(table: Table, section: DataSection) -> tuple[str, ...]:
    """Return the columns that nothing is read from."""
    return tuple(name for name in table.columns if name.strip() and not is_used(name, section))


def is_used(column: str, section: DataSection) -> bool:
    """Tell whether questions, answers, ids or splits are read from this column."""
    used = (section.question_column, section.answer_column, section.id_column, section.split_column)
    return _plain(column) in map(_plain, used)


def split_column(table: Table, columns: Iterable[str], section: DataSection | None = None) -> str:
    """Return the first of these columns that looks like a split; "" where none does.

    That is one whose values are all split words, or one called "set", "fold" and the like that holds such words among
    others, with something held out; or a flag such as "is_test". Rows with a value in the split column do not count.
    """
    section = section or DataSection()
    open_rows = [row for row in table.rows if not _text(row.values.get(section.split_column))]
    for column in columns:
        name = folded(column)
        values = {_text(row.values.get(column)) for row in open_rows} - {""}
        meanings = [split_of(value, section) for value in values]
        whole = all(map(_is_split_word, values)) or name.replace(" ", "") in _SPLIT_NAMES
        flag = name.removeprefix("is ").removeprefix("in ").replace(" ", "") in _FLAGS and _are_flags(values)
        if (whole and any(meanings)) or flag:
            return column
    return ""


def _is_split_word(value: str) -> bool:
    """Tell whether a value says a split wherever it stands, as "test drive" does not."""
    return folded(value).replace(" ", "") in _SPLITS or bool(_TEST.fullmatch(value.casefold()))


def _are_flags(values: Iterable[str]) -> bool:
    words = {value.casefold() for value in values}
    return bool(words) and words <= {"true", "false", "yes", "no", "y", "n", "0", "1", "0.0", "1.0", "x"}


def _refuse_hidden_split(table: Table, section: DataSection) -> None:
    column = split_column(table, unused(table, section), section)
    if column:
        message = f"the column '{column}' looks like a split, but the split is read from '{section.split_column}'"
        hint = (
            f'Set data.split_column = "{column}" if its values are {KNOWN}; otherwise rename the column or its values.'
        )
        raise DataError(message, place=table.place, hint=hint)


def _text(value: object) -> str:
    return "" if is_missing(value) else str(value).strip()


def guess(columns: Sequence[str], names: Sequence[str]) -> str:
    """Return the column that is called by the earliest of these names, or "" where none is."""
    by_name = {folded(column): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), "")
