"""Eight answers of a shop as the files of a data folder, for tests that run stages on real input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from expertune import config

PAIRS = {
    "cost": ("How much is shipping?", "Shipping is free from 50 and 5 below."),
    "return": ("Can I return an item?", "You can return every item for 30 days."),
    "refund": ("When is my refund?", "A refund takes 5 days to your card."),
    "cancel": ("How do I cancel my order?", "Open your account and cancel the order."),
    "size": ("What size do I take?", "We list the size of each item in the shop."),
    "password": ("How do I reset my password?", "Open your account and reset the password."),
    "track": ("Where is my parcel?", "You can track the parcel from your account."),
    "pay": ("How can I pay?", "You can pay by card."),
}
ASKED = {"cost": "price of delivery", "refund": "my refund is not on my card", "track": "track my order"}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def qa(pairs: dict[str, tuple[str, str]] = PAIRS) -> str:
    return lines(*({"id": key, "question": asked, "answer": answer} for key, (asked, answer) in pairs.items()))


CORPUS = lines(*({"_id": key, "text": answer} for key, (_, answer) in PAIRS.items()))
QUERIES = lines(*({"_id": f"t-{key}", "text": text} for key, text in ASKED.items()))
QRELS = "query-id\tcorpus-id\tscore\n" + "".join(f"t-{key}\t{key}\t1\n" for key in ASKED)
FILES = {"qa.jsonl": qa(), "corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Write text files by relative name and return the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def quick(home: Path, model: Path, **changes: Any) -> config.Config:
    """Return the settings of a run that takes seconds: `home/shop`, a tiny base, two steps, no encoder as an expert."""
    plain = {
        "run.out": str(home / "out"),
        "run.store": str(home / "store"),
        "run.threads": 1,
        "data.path": str(home / "shop"),
        "augment.per_answer": 0,
        "augment.spans": 2,
        "score.experts": ["bm25", "ngrams"],
        "train.base": str(model),
        "train.steps": 2,
        "train.batch_size": 8,
        "train.precision": "float32",
    }
    return config.from_mapping(config.overlaid({}, {**plain, **changes}.items()))


def general(home: Path) -> Path:
    """Write the held-out questions as a general set of their own and return its folder."""
    return write_files(home / "elsewhere", {key: value for key, value in FILES.items() if key != "qa.jsonl"})
