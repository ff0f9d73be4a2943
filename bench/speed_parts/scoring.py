"""A panel over all pairs: the scoring stage against each pair through each model, and against embedding alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from speed_parts import texts
from speed_parts.measuring import Ratio, Section, in_turn, ratio, row

BATCH = 32
"""Pairs at once of the naive way that at least batches."""


def run(given: Namespace) -> Section:
    """Measure the default panel on a part of one set; say what that makes of the whole set."""
    from expertune.config import ScoreSection
    from expertune.models.cache import MemoryCache
    from expertune.models.plugins import EmbeddingExpert
    from expertune.records import Dataset, Document, Question, Questions
    from expertune.score.stage import load_experts, score

    folder = next((path for path in given.data if path.name == "stackfaq"), given.data[0])
    every = texts.read(folder, "queries"), texts.read(folder, "corpus")
    asked, documents = texts.drawn(every[0], given.texts or 300), texts.drawn(every[1], given.texts or 150)
    dataset = Dataset(folder.name, tuple(Document(f"d{i}", text) for i, text in enumerate(documents)), ())
    questions = Questions(tuple(Question(text, ("d0",)) for text in asked))
    experts = load_experts(ScoreSection().experts, offline=True)
    decisions = MemoryCache()
    checks = in_turn({"check": lambda: _settle(experts, asked, documents, decisions)}, 1, warm=False)["check"]
    experts = [_decided(expert, asked, documents, decisions) for expert in experts]
    models = [expert for expert in experts if isinstance(expert, EmbeddingExpert)]

    runs: dict[str, Callable[[], Any]] = {
        "stage": lambda: score(dataset, questions, experts, cache=_Fresh(decisions)),
        "bare": lambda: _bare(experts, asked, documents),
    }
    seconds = in_turn(runs, given.turns)
    count = min(given.pairs, len(asked), len(documents))
    naive = {
        "one by one": lambda: _pairs(models, asked[:count], documents[:count], 1),
        "in batches": lambda: _pairs(models, asked[:BATCH], documents[:BATCH], BATCH),
    }
    slow = in_turn(naive, given.turns, warm=False)
    each = {
        "one by one": [value / count for value in slow["one by one"]],
        "in batches": [value / min(BATCH, len(asked), len(documents)) for value in slow["in batches"]],
    }
    pairs = len(asked) * len(documents)
    # Texts grow with the sum of both sides, pairs with the product: what the whole set adds, by the same rates.
    whole = len(every[0]) * len(every[1])
    grown = (len(every[0]) + len(every[1])) / (len(asked) + len(documents))
    rows = [row("stage, all pairs", "s", seconds["stage"]), row("bare embedding, each text once", "s", seconds["bare"])]
    rows.append(row("check of bfloat16, once for a set of texts", "s", checks))
    ratios: list[Ratio] = []
    for way, values in each.items():
        rows.append(row(f"naive {way}, extrapolated to all pairs", "s", [pairs * value for value in values]))
        ratios.append(ratio(f"naive {way} / stage, {pairs} pairs", values, seconds["stage"], scale=pairs, goal=50.0))
        ratios.append(
            ratio(f"naive {way} / stage, all {whole} pairs of {folder.name}, both extrapolated", values,
                  seconds["stage"], scale=whole / grown, goal=50.0)
        )  # fmt: skip
    ratios.append(ratio("stage / bare embedding", seconds["stage"], seconds["bare"], goal=1.1, bound="most"))
    checked = [value + checks[0] for value in seconds["stage"]]
    ratios.append(ratio("stage with its check / bare embedding", checked, seconds["bare"]))
    setting = {
        "set": folder.name,
        "questions": len(asked),
        "documents": len(documents),
        "experts": [expert.name for expert in experts],
        "precision": {expert.name: _precision(expert) for expert in models},
        "naive_pairs": {"one by one": count, "in batches": min(BATCH, len(asked), len(documents))},
    }
    return Section(
        setting,
        rows,
        ratios,
        [
            "The naive way sends each pair through each of the models (lexical experts, which have no pairs, are left "
            "out of it); measured on a sample of pairs and extrapolated. Both sides compute in the same precision.",
        ],
    )


class _Fresh:
    """A cache that remembers decisions and, within one turn, vectors."""

    def __init__(self, decisions: Any) -> None:
        from expertune.models.cache import MemoryCache

        self._decisions, self._vectors = decisions, MemoryCache()

    def _of(self, space: str) -> Any:
        return self._decisions if space.endswith("|agreement") else self._vectors

    def read(self, space: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the known values among the keys."""
        found: dict[str, bytes] = self._of(space).read(space, keys)
        return found

    def write(self, space: str, values: dict[str, bytes]) -> None:
        """Keep values."""
        self._of(space).write(space, values)


def _settle(experts: Sequence[Any], asked: list[str], documents: list[str], cache: Any) -> None:
    for expert in experts:
        if hasattr(expert, "embed"):
            expert.embed(asked[:1], is_query=True)  # loading is not checking
            expert.decide(asked, documents, cache)


def _decided(expert: Any, asked: list[str], documents: list[str], cache: Any) -> Any:
    return expert.decided(expert.decide(asked, documents, cache)) if hasattr(expert, "embed") else expert


def _bare(experts: Sequence[Any], asked: list[str], documents: list[str]) -> None:
    """Embed each text once, in one call; an expert without vectors scores."""
    for expert in experts:
        if hasattr(expert, "embed"):
            expert.embed(asked, is_query=True)
            expert.embed(documents, is_query=False)
        else:
            expert.score(asked, documents)


def _pairs(experts: Sequence[Any], asked: list[str], documents: list[str], batch: int) -> None:
    """Send pair after pair through every model, keeping nothing; a batch is of pairs."""
    for expert in experts:
        for start in range(0, min(len(asked), len(documents)), batch):
            left = expert.embed(asked[start : start + batch], is_query=True)
            right = expert.embed(documents[start : start + batch], is_query=False)
            (left * right).sum(axis=1)


def _precision(expert: Any) -> str:
    return "bf16" if getattr(expert, "_precision", "float32") == "bfloat16" else "fp32"
