"""A small shop with a log and models that answer it, for tests of what `expertune judge` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from expertune.commands.judge.ledger import Ledger
from expertune.commands.judge.panel import FirstAnswers
from expertune.commands.judge.session import Session
from expertune.records import Document
from letter_encoder import HOSTILE, ByLetter
from small_shop import PAIRS, qa, write_files

ANSWERS = (*(Document(key, answer) for key, (_, answer) in PAIRS.items()), Document("odd", HOSTILE))
LOG = (
    "where is my money",
    "parcel lost",
    "can i pay with a cheque",
    "forgot the password",
    "is there a shop in leeds",
    HOSTILE,
    *(f"another question {n}" for n in range(20)),
)


def first_answers(texts: tuple[str, ...] = LOG, *, tuned: bool = True, seed: int = 0) -> FirstAnswers:
    """Return made-up rankings: every model in an order of its own, the tuned one like the base for every other one."""
    draw = np.random.default_rng(seed)
    names = ["base", *(["tuned"] if tuned else []), "expert"]
    tops = {name: np.stack([draw.permutation(len(ANSWERS)) for _ in texts]) for name in names}
    if tuned:
        tops["tuned"][::2] = tops["base"][::2]
    encoder = ByLetter("base")
    return FirstAnswers(tops, encoder, ANSWERS, tuple(document.text for document in ANSWERS))  # type: ignore[arg-type]


def shop(folder: Path) -> Path:
    """Write the questions and answers of the shop, without any held-out question."""
    return write_files(folder, {"qa.jsonl": qa()})


def session(folder: Path, judge: str = "anna", *, tuned: bool = True, seed: int = 0) -> Session:
    """Return one person's session over the log."""
    return Session(Ledger(folder), LOG, first_answers(tuned=tuned, seed=seed), judge)
