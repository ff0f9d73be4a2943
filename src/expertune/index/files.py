"""Keep an index in a folder that any vector database can read: vectors.npy, ids.jsonl and index.json.

index.json is written last and says how many rows count. So whoever is killed while adding leaves the index as it was.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cattrs
import numpy as np

from expertune.data.whole_files import write_whole
from expertune.errors import DataError
from expertune.index.layouts import Index, Layout, Mixing
from expertune.records import Document, FloatArray

VECTORS, IDS, ABOUT = "vectors.npy", "ids.jsonl", "index.json"

WITH, WITHOUT = "with questions", "without questions"
"""Kinds of answers: with a labelled question of their own, and without."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What held-out questions of one kind found when the index was made: nDCG@10 in [0, 1].

    `base` is the untouched model on answers alone, `answers` the tuned one on these, `index` the tuned one on this
    index.
    """

    questions: int
    base: float
    answers: float
    index: float


@dataclass(frozen=True, slots=True)
class About:
    """What index.json says. `dimensions` are those of a row; the last is the offset where `has_offset`.

    `model` is the fingerprint of the model that made the vectors, `expand` the questions that stand before an answer in
    each text. `expected` is by kind of answer: `WITH` and `WITHOUT`.
    """

    layout: Layout
    rows: int
    dimensions: int
    has_offset: bool
    mixing: Mixing
    model: str
    expand: int = 0
    expected: dict[str, Expected] = field(default_factory=dict)


def write(folder: Path, index: Index, documents: Sequence[Document], model: str, expand: int = 0) -> About:
    """Write an index into a new folder; `documents` are those of the index, as people read them."""
    about = About(index.layout, 0, 0, index.layout is Layout.MIXED, index.mixing, model, expand)
    return _append(folder, about, np.zeros((0, 0), dtype=np.float32), [], index, documents)


def extend(folder: Path, index: Index, documents: Sequence[Document]) -> About:
    """Add the rows of an index of new documents, made with the layout and the mixing that `read` tells."""
    about = read(folder)
    vectors = np.load(folder / VECTORS, allow_pickle=False)[: about.rows]
    return _append(folder, about, vectors, list(_lines(folder, about)), index, documents)


def say(folder: Path, about: About) -> None:
    """Write index.json anew."""
    text = json.dumps(cattrs.unstructure(about), indent=1)
    write_whole(folder / ABOUT, f"{text}\n")


def read(folder: Path) -> About:
    """Return what index.json says.

    Raises:
        DataError: there is none, or it is not readable.
    """
    try:
        values = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return cattrs.structure(values, About)
    except FileNotFoundError:
        hint = "Make one first: expertune export RUN --to index --out RUN/index"
        raise DataError("there is no index", place=str(folder), hint=hint) from None
    except Exception as error:  # cattrs groups what is wrong
        raise DataError(
            f"is not what export wrote ({type(error).__name__})", place=str(folder / ABOUT), hint="Export it anew."
        ) from None


def texts(folder: Path) -> dict[str, str]:
    """Return the answers that an index holds, by id."""
    return {line["id"]: line["text"] for line in _lines(folder, read(folder))}


def ids(folder: Path) -> list[str]:
    """Return the id of the answer that each row belongs to."""
    return [line["id"] for line in _lines(folder, read(folder))]


def _lines(folder: Path, about: About) -> Iterator[dict[str, Any]]:
    """Yield the lines of ids.jsonl that count."""
    with (folder / IDS).open(encoding="utf-8") as lines:
        for line, _ in zip(lines, range(about.rows), strict=False):
            yield json.loads(line)


def _append(
    folder: Path,
    about: About,
    vectors: FloatArray,
    lines: list[dict[str, Any]],
    index: Index,
    documents: Sequence[Document],
) -> About:
    added = index.searchable if about.has_offset else index.vectors
    rows = np.concatenate([vectors, added]) if len(vectors) else added
    text_of: Mapping[str, str] = {document.id: document.text for document in documents}
    ids = [*lines, *({"id": identity, "text": text_of[identity]} for identity in index.document_ids)]
    held = io.BytesIO()
    np.save(held, rows.astype(np.float32), allow_pickle=False)
    write_whole(folder / VECTORS, held.getvalue())
    write_whole(folder / IDS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in ids))
    changed = replace(about, rows=len(rows), dimensions=rows.shape[1])
    say(folder, changed)
    return changed
