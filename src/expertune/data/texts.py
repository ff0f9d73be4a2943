"""Clean the texts of a table, column by column, and count what was done. Knows no questions, judgements or models.

Wrong encodings are repaired, markup is taken off, lists written as text become several rows, and rows whose whole cell
is a placeholder such as "nan" are left out. The user's files stay as they are.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

import numpy as np

from expertune.data.markup import stripped
from expertune.data.rows import Row, Table
from expertune.errors import DataError

VERSION = 2
"""Part of the fingerprint of every data set: raised whenever another text comes out."""
STRAY_SHARE = 0.001
"""Up to this share of a column's texts, wrong encodings are left alone.

Large published collections hold a few; what was measured on them has to stay comparable.
"""
EXAMPLES = 3

_NOTHING = """nan, na, n/a, n.a., n.a, #n/a, #na, #ref!, #name?, #value!, #div/0!, #null!, #num!, #error!, #spill!,
null, none, nil, nat, undefined, todo, to-do, tbd, tba, tbc, fixme, xxx, missing, empty, blank, unknown, not available,
no data, not applicable, to be done, to be defined, to be determined, no answer, coming soon, k.a., k. a., n.d., s.d."""
_PLACEHOLDERS = frozenset(word.strip() for word in _NOTHING.split(","))
_UNWRITTEN = re.compile(r"(?:todo|to-do|fixme|tbd)\s*[:\-–—(].*|lorem ipsum\b.*", re.DOTALL)
_ESCAPED_BREAK = re.compile(r"(?<![A-Za-z]:)(?:\\r)?\\n(?=\s|\\|[A-Z\d*•-]|$)|(?<=[.!?:;,)])(?<![A-Za-z]:)(?:\\r)?\\n")
"""A line break that an export spelled out as a backslash and a letter, at an end or a beginning; C:\\new is none."""
_SILENT = re.compile(r"[\s.…\-‐‑‒–—―_*/\\|]+")


@dataclass(frozen=True, slots=True)
class TextFindings:
    """What was done to the texts of the data, as counts; a text counts once for each kind.

    `repaired`: wrong encodings; `stripped`: HTML tags or entities; `lists`: cells that held a list; `placeholders`:
    rows left out; `lost`: texts with a character (U+FFFD) that an earlier program could not read, which stay as they
    are. `examples` are pairs of a text as it stands in the file and as models read it.
    """

    repaired: int = 0
    stripped: int = 0
    lists: int = 0
    placeholders: int = 0
    lost: int = 0
    examples: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: TextFindings) -> TextFindings:
        """Add up the counts of two tables."""
        sums = {item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)}
        return TextFindings(**sums | {"examples": sums["examples"][:EXAMPLES]})


def clean(table: Table, columns: Sequence[str], *, question: str = "", answer: str = "") -> tuple[Table, TextFindings]:
    """Return the table with clean texts in `columns`, and what was done.

    Args:
        table: Of any source.
        columns: Those that hold texts.
        question: Column in which a list stands for several questions, each of which becomes a row.
        answer: Column in which a list holds the parts of one answer. Rows with a placeholder in either are left out.

    Raises:
        DataError: no row is left.
    """
    counts: Counter[str] = Counter()
    rows = [item for row in table.rows for item in _unlisted(row, question, answer, counts)]
    named = [column for column in (question, answer) if column]
    whole = [row for row in rows if not any(is_placeholder(row.values.get(column)) for column in named)]
    counts["placeholders"] = len(rows) - len(whole)
    if not whole:
        message = "every row has only a placeholder (such as nan, N/A or TODO) as its question or answer"
        raise DataError(message, place=table.place, hint="Fill in the texts.")
    values = [dict(row.values) for row in whole]
    examples: list[tuple[str, str]] = []
    for column in dict.fromkeys(columns):
        places = [number for number, cells in enumerate(values) if isinstance(cells.get(column), str)]
        texts = [values[number][column] for number in places]
        cleaned, done = clean_texts(texts)
        counts.update(done)
        for number, text in zip(places, cleaned, strict=True):
            values[number][column] = text
        changed = ((old, new) for old, new in zip(texts, cleaned, strict=True) if old != new)
        examples += islice(changed, EXAMPLES - len(examples))
    rows = [replace(row, values=cells) for row, cells in zip(whole, values, strict=True)]
    return replace(table, rows=tuple(rows)), TextFindings(**counts, examples=tuple(examples))


def clean_texts(texts: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Return the texts of one column, clean, and how many were repaired, stripped and are damaged for good."""
    repaired = [_ESCAPED_BREAK.sub("\n", text) if "\\n" in text else text for text in _repaired(texts)]
    plain = stripped(repaired)
    # Entities may hide a wrong encoding.
    final = [new if new == old else _mend(new) for old, new in zip(repaired, plain, strict=True)]
    return final, {
        "repaired": sum(old != new for old, new in zip(texts, repaired, strict=True)),
        "stripped": sum(old != new for old, new in zip(repaired, plain, strict=True)),
        "lost": sum("\ufffd" in text for text in final),
    }


# --- placeholders and lists ------------------------------------------------------------------------------------------


def is_placeholder(value: object) -> bool:
    """Tell whether a whole cell stands for nothing: "nan", "#N/A", "TODO", "-"; a real sentence with one never is."""
    if not isinstance(value, str) or not value.strip():
        return False
    text = " ".join(value.split()).casefold()
    known = text in _PLACEHOLDERS or text.strip("<>[]{}()\"'") in _PLACEHOLDERS
    return known or bool(_SILENT.fullmatch(text) or _UNWRITTEN.fullmatch(text))


def _unlisted(row: Row, question: str, answer: str, counts: Counter[str]) -> Iterator[Row]:
    """Yield the row once for each of its questions, its answer in one piece."""
    values = dict(row.values)
    parts = listed(values.get(answer)) if answer else None
    if parts:
        counts["lists"] += 1
        values[answer] = "\n".join(parts)
    questions = listed(values.get(question)) if question else None
    if questions:
        counts["lists"] += 1
    else:
        yield replace(row, values=values)
    for text in questions or ():
        yield replace(row, values={**values, question: text})


def listed(value: object) -> list[str] | None:
    """Return the texts of a cell that is a list of them, or spells one as Python, JSON or numpy write it; else None."""
    spelled = _spelled(value.strip()) if isinstance(value, str) else value
    if isinstance(spelled, Mapping):
        spelled = next((spelled[key] for key in ("text", "question", "answer") if key in spelled), None)
        spelled = [spelled] if isinstance(spelled, str) else spelled
    if isinstance(spelled, np.ndarray):  # as parquet has them
        spelled = spelled.tolist()
    if not isinstance(spelled, list) or not all(isinstance(item, str) for item in spelled):
        return None
    texts = [item.strip() for item in spelled if item.strip() and not is_placeholder(item)]
    return texts or None


def _spelled(text: str) -> Any:
    """Return what a text spells out, or None."""
    text = re.sub(r"^array\((.*?)(?:,\s*dtype=\w+)?\)$", r"\1", text, flags=re.DOTALL)
    if (text[:1], text[-1:]) not in {("[", "]"), ("(", ")"), ("{", "}")}:
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    strings = _strings(text[1:-1], alone=text[0] == "[")
    if strings is not None or text[0] != "{":
        return strings
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _strings(text: str, *, alone: bool) -> list[str] | None:
    """Return the quoted strings between commas or, as numpy writes them, between blanks; None where there is more.

    Python's own reading would join strings that stand without a comma between them.
    """
    strings: list[str] = []
    commas = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(f"({text})").readline):
            if token.type == tokenize.STRING:
                strings.append(ast.literal_eval(token.string))
            elif token.string == ",":
                commas += 1
            elif token.string.strip() not in ("", "(", ")"):
                return None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return strings if alone or commas else None


# --- wrong encodings -------------------------------------------------------------------------------------------------


def _repaired(texts: Sequence[str]) -> list[str]:
    mended = [_mend(text) for text in texts]
    changed = sum(old != new for old, new in zip(texts, mended, strict=True))
    return mended if changed > STRAY_SHARE * len(texts) else list(texts)


def _mend(text: str) -> str:
    """Repair UTF-8 that was read as something else; other texts come back as they are."""
    if text.isascii():
        return text
    import ftfy

    return ftfy.fix_encoding(text)
