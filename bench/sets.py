"""Find the sets that a bench runs on, what their users typed, and how a run of the defaults is configured on them."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

from expertune.config import Config, TrainSection, from_mapping

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


def configured(
    given: argparse.Namespace, name: str, seed: int, *, base: str = TrainSection().base, general: Sequence[str] = ()
) -> Config:
    """Return the config of a run of the defaults on one thread, with a log unless none is wanted.

    `given` says where the sets (`data_root`), a run's folder and log (`work`) and its store lie, and `no_log`;
    `general` names folders of the same root.
    """
    path, store = folder(name, given.data_root), given.store or given.work / "store"
    typed = None if given.no_log else log(path, given.work)
    return from_mapping(
        {
            "run": {"out": str(given.work / name), "store": str(store), "seed": seed, "threads": 1},
            "data": {
                "path": str(path),
                "log": [str(typed)] if typed else [],
                "general": [str(given.data_root / other) for other in general],
            },
            "train": {"base": base},
        }
    )
