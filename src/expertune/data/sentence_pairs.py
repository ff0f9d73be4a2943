"""Read sentence pairs that people scored for similarity of meaning. Knows no model and no correlation."""

from __future__ import annotations

import math
from pathlib import Path

from expertune.data.readers import read_jsonl, read_lines
from expertune.data.rows import Problems, Row, Table, require, text_field
from expertune.errors import DataError
from expertune.records import ScoredPairs

COLUMNS = (("text1", "text2"), ("sentence1", "sentence2"))
"""Names of the two texts, the first that fit; the third column is always `score`."""
_HINT = "Sentence pairs have the columns text1, text2 (or sentence1, sentence2) and score, with a header line."


def read_scored_pairs(path: Path) -> ScoredPairs:
    """Read sentence pairs from a .tsv or .jsonl file, or from the file `pairs` of one of these kinds in a folder.

    Cells of a .tsv are taken as they stand: sentences hold quotes that close nowhere.

    Raises:
        DataError: the file is missing, malformed, or has fewer than three pairs or one score only.
    """
    if path.is_dir():
        path = next((file for suffix in (".tsv", ".jsonl") if (file := path / f"pairs{suffix}").exists()), path)
    if path.suffix not in (".tsv", ".jsonl"):
        raise DataError("is neither a .tsv nor a .jsonl file, nor a folder with pairs.tsv", place=str(path), hint=_HINT)
    table = read_jsonl(path) if path.suffix == ".jsonl" else _unquoted(path)
    left, right = next((names for names in COLUMNS if set(names) <= set(table.columns)), COLUMNS[0])
    require(table, (left, right, "score"), _HINT)
    problems = Problems()
    rows = [
        (text_field(row, left, problems), text_field(row, right, problems), _score(row, problems)) for row in table.rows
    ]
    problems.check()
    if len(rows) < 3 or len({score for _, _, score in rows}) < 2:
        message = f"found {len(rows)} pairs, expected at least 3 with different scores"
        raise DataError(message, place=str(path), hint=_HINT)
    name = path.resolve().parent.name if path.stem == "pairs" else path.stem
    return ScoredPairs(name, *(tuple(column) for column in zip(*rows, strict=True)))


def _unquoted(path: Path) -> Table:
    problems, rows = Problems(), []
    lines = list(read_lines(path))
    header = [name.strip() for name in lines[0][1].rstrip("\r").split("\t")] if lines else []
    for place, line in lines[1:]:
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(header):
            problems.add(place, f"has {len(cells)} cells, but the header names {len(header)} columns", _HINT)
        rows.append(Row(place, dict(zip(header, cells, strict=False))))
    problems.check()
    return Table(str(path), tuple(header), tuple(rows))


def _score(row: Row, problems: Problems) -> float:
    try:
        score = float(row.values["score"])
    except (KeyError, TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        problems.add(row.place, f"the score {row.values.get('score')!r} is no number", _HINT)
    return score
