"""Find the sets that a bench runs on, and what their users typed. Knows no model and no result."""

from __future__ import annotations

import csv
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"


def folder(name: str, data_root: Path = DATA) -> Path:
    """Return the folder of a set: `shop` is examples/shop, another name lies in `data_root`, a path is itself."""
    if name == "shop":
        return ROOT / "examples" / "shop"
    return Path(name) if len(Path(name).parts) > 1 else data_root / name


def log(folder: Path, work: Path) -> Path | None:
    """Return what users typed, one question a line: the set's log.txt, else qrels/train.tsv without its labels.

    The latter is written into `work`. None where a set has neither.
    """
    if (folder / "log.txt").is_file():
        return folder / "log.txt"
    if not (folder / "qrels" / "train.tsv").is_file():
        return None
    with (folder / "qrels" / "train.tsv").open(encoding="utf-8") as lines:
        ids = list(dict.fromkeys(row["query-id"] for row in csv.DictReader(lines, delimiter="\t")))
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        texts = {query["_id"]: query["text"] for query in map(json.loads, lines)}
    work.mkdir(parents=True, exist_ok=True)
    file = work / f"{folder.name}.log.txt"
    file.write_text("".join(" ".join(texts[query_id].split()) + "\n" for query_id in ids), encoding="utf-8")
    return file
