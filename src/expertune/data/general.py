"""The general dev set and the reference sentences that come with the package."""

from __future__ import annotations

from pathlib import Path

from expertune.data.beir import judged_set, read_corpus, read_qrels, read_queries
from expertune.data.layout import Layout
from expertune.data.readers import read_text
from expertune.errors import DataError
from expertune.records import JudgedSet, Role

_FOLDER = Path(__file__).with_name("general_dev")

GENERAL_DEV = Layout("general-dev", beir=_FOLDER)
"""The general dev set that comes with the package."""


def read_general(layout: Layout, split: str = "") -> JudgedSet:
    """Read a general set, a BEIR folder: the given split, or the one that it is tested on.

    Raises:
        DataError: a file is missing or malformed, or it is not clear which split to take.
    """
    path = layout.qrels(split or layout.general_split)
    judgements, corpus = read_qrels(path), read_corpus(layout.corpus_path)
    return judged_set(layout.name, Role.GENERAL, path, judgements, read_queries(layout.queries), corpus)


def load_general_dev_set() -> JudgedSet:
    """Read the half of the general dev set that selection looks at; evaluation shows the other half."""
    return read_general(GENERAL_DEV, "validation")


def reference_sentences(path: Path | None = None) -> tuple[str, ...]:
    """Read reference sentences, one a line, which belong to no domain; by default the built-in ones.

    Raises:
        DataError: the file is missing, not UTF-8 or empty.
    """
    path = path or _FOLDER / "reference_sentences.txt"
    texts = tuple(line.strip() for line in read_text(path).split("\n") if line.strip())
    if not texts:
        raise DataError("has no sentences", place=str(path), hint="Write one sentence a line.")
    return texts
