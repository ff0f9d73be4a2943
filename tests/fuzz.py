"""Feed mutated files to every reader, the config and the cleaning rules; whatever is no error of ours is a fault.

    python tests/fuzz.py --seconds 600 --seed 1

The seeds are the cases of `tests/malformed/` and well-formed files; faults are printed with their input.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "data"))

from test_malformed import CORPUS, content

from expertune import config
from expertune.augment.filters import Draft, fault, tidy
from expertune.config import DataSection
from expertune.data import HeldOut, beir, pairs, readers
from expertune.data.wording import likeness, normalise
from expertune.errors import ExpertuneError

TOKENS = [
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"\x1b[2J",
        b"\r",
        b"\n",
        b"\t",
        b'"',
        b'""',
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"'",
        b"\\u0000",
        b"\\ud800",
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b"1e999",
    ),
    *(b"-1", b"0.5", b"9" * 30, b"_id", b"text", b"question", b"answer", b"split", b"heldout", b"\n[train]\n", b"= "),
    *(
        "\u200b".encode(),
        "\u202e".encode(),
        "ﬁ".encode(),
        "İ".encode(),
        "e\u0301".encode(),
        "𝐀".encode(),
        "سؤال".encode(),
    ),
]


class Memory:
    """A file that lies in memory, as far as the readers ask."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_bytes(self) -> bytes:
        """Return what it holds."""
        return self.data

    def __str__(self) -> str:
        """Name it in errors."""
        return "memory"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _pairs(data: bytes) -> None:
    pairs.pair_up(pairs.read_pairs(readers.read_jsonl(Memory(data)), DataSection()), None)  # type: ignore[arg-type]


def _config(data: bytes) -> None:
    try:
        values = tomllib.loads(_text(data))
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    written = config.to_toml(config.from_mapping(values))
    if config.to_toml(config.from_mapping(tomllib.loads(written))) != written:
        raise AssertionError("a config that was written reads back as another one")


def _assignment(data: bytes) -> None:
    config.from_mapping(config.overlaid({}, [config.assignment(_text(data))]))


def _wording(data: bytes) -> None:
    text = _text(data)
    if normalise(normalise(text)) != normalise(text):
        raise AssertionError("normalise is not idempotent")
    likeness(text)


def _cleaning(data: bytes) -> None:
    text, _, answer = _text(data).partition("\n\n")
    fault(Draft(tidy(text), "d", answer, "s", "question"))
    if not HeldOut.of([text]).repeated_by([text])[0] and normalise(text):
        raise AssertionError("a text is no copy of itself")


TARGETS: dict[str, Callable[[bytes], Any]] = {
    "jsonl": lambda data: readers.read_jsonl(Memory(data)),  # type: ignore[arg-type]
    "csv": lambda data: readers.read_csv(Memory(data)),  # type: ignore[arg-type]
    "tsv": lambda data: readers.read_tsv(Memory(data)),  # type: ignore[arg-type]
    "parquet": lambda data: readers.read_parquet(Memory(data)),  # type: ignore[arg-type]
    "corpus": lambda data: beir.read_corpus(Memory(data)),  # type: ignore[arg-type]
    "queries": lambda data: beir.read_queries(Memory(data)),  # type: ignore[arg-type]
    "qrels": lambda data: beir.read_qrels(Memory(data)),  # type: ignore[arg-type]
    "pairs": _pairs,
    "config": _config,
    "assignment": _assignment,
    "wording": _wording,
    "cleaning": _cleaning,
}


def seeds() -> dict[str, list[bytes]]:
    """Return what each target starts from."""
    import io

    import pandas

    files: dict[str, list[bytes]] = {name: [b""] for name in TARGETS}
    kinds = {"corpus.jsonl": "corpus", "queries.jsonl": "queries", "qrels/test.tsv": "qrels"}
    for line in (CORPUS / "data.jsonl").read_text(encoding="utf-8").splitlines():
        for name, value in json.loads(line)["files"].items():
            data = content(value)
            kind = kinds.get(name, Path(name).suffix.removeprefix("."))
            if kind in files and len(data) < 2000:
                files[kind].append(data)
    for line in (CORPUS / "configs.jsonl").read_text(encoding="utf-8").splitlines():
        files["config"].append(json.loads(line)["toml"].encode())
    files["config"].append(config.to_toml(config.Config()).encode())
    frame, buffer = pandas.DataFrame({"question": ["a", None], "answer": ["b", "c"], "id": [1, 2]}), io.BytesIO()
    frame.to_parquet(buffer)
    files["parquet"].append(buffer.getvalue())
    files["pairs"] = files["jsonl"]
    files["assignment"] = [f"{key}={value}".encode() for key in config.known_keys() for value in ("1", '["bm25"]', "x")]
    files["wording"] = files["cleaning"] = files["jsonl"]
    return files


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Return the bytes with a few changes: flipped, cut, doubled, joined with another seed, or with a telling token."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(made) + 1)
        end = min(len(made), start + chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(6):
            case 0:
                made[start:start] = chance.choice(TOKENS)
            case 1:
                made[start:end] = chance.choice(TOKENS)
            case 2:
                del made[start:end]
            case 3:
                made[start:start] = made[start:end] * chance.choice((1, 2, 8))
            case 4 if made and start < len(made):
                made[start] ^= 1 << chance.randrange(8)
            case _:
                other = chance.choice(others)
                made[start:] = other[chance.randrange(len(other) + 1) :]
    return bytes(made[:20_000])


def fuzz(*, seconds: float, seed: int, most: int = sys.maxsize) -> tuple[Counter[str], list[str]]:
    """Return how many inputs each target had, and the faults; inputs with a new message become seeds."""
    chance, tried, faults = random.Random(seed), Counter[str](), []
    corpus, seen = seeds(), set[str]()
    names = [name for name in TARGETS for _ in range(1 if name in ("parquet", "cleaning") else 8)]
    until = time.monotonic() + seconds
    while time.monotonic() < until and tried.total() < most:
        name = chance.choice(names)
        data = mutated(chance.choice(corpus[name]), corpus[name], chance)
        tried[name] += 1
        try:
            TARGETS[name](data)
            told = "fine"
        except ExpertuneError as error:
            told = "".join(letter for letter in error.message if not letter.isdigit())[:60]
        except Exception:
            told = traceback.format_exc().splitlines()[-1]
            if f"{name} {told}" not in seen:
                faults.append(f"{name}: {data!r}\n{traceback.format_exc()}")
        if f"{name} {told}" not in seen:
            seen.add(f"{name} {told}")
            corpus[name].append(data)
    return tried, faults


def main() -> None:
    """Fuzz for a while and print what was tried and found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    tried, faults = fuzz(seconds=wanted.seconds, seed=wanted.seed)
    print(", ".join(f"{name} {count:,}" for name, count in tried.most_common()))
    print(f"{tried.total():,} inputs, {len(faults)} faults")
    for found in faults:
        print(found)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
