"""The texts that are measured on. Nothing here is trained on: only seconds are kept."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path


def read(folder: Path, name: str) -> list[str]:
    """Return the texts of one file of a BEIR folder, title and body joined; none where there is no such file."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    joined = (f"{row.get('title') or ''} {row.get('text') or row.get('question') or ''}".strip() for row in rows)
    return [text for text in dict.fromkeys(joined) if text]


def drawn(texts: Iterable[str], count: int, seed: int = 0) -> list[str]:
    """Return up to `count` of the texts, drawn at random."""
    pool = list(texts)
    return random.Random(seed).sample(pool, min(count, len(pool)))


def mixed(folders: Iterable[Path], each: int) -> tuple[list[str], list[str]]:
    """Return questions and documents, `each` of both from every folder."""
    questions, documents = [], []
    for folder in folders:
        questions += drawn(read(folder, "queries"), each)
        documents += drawn(read(folder, "corpus"), each)
    return questions, documents


def long(folders: Iterable[Path], count: int, words: int) -> list[str]:
    """Return `count` texts of at least `words` words each, made of whole documents one after the other."""
    pool = [text for folder in folders for text in read(folder, "corpus")]
    random.Random(1).shuffle(pool)
    made: list[str] = []
    place = 0
    while len(made) < count:
        parts: list[str] = []
        while sum(len(part.split()) for part in parts) < words:
            parts.append(pool[place % len(pool)])
            place += 1
        made.append(" ".join(parts))
    return made
