"""Say what a user could take instead of the tuned model: one sentence, rows of a table, values for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expertune.evaluate.statistics import CONFIDENCE
from expertune.records import METRIC, Alternative, Alternatives, IndexWork
from expertune.report.formats import cut, interval, points, signed

PERCENT = f"{100 * CONFIDENCE:g} %"
NAMED = 3
"""Ways that a sentence names; the others are counted."""


def sentence(found: Alternatives) -> str:
    """Say what of the ways that tune nothing beats the reference significantly, what in the mean, or that none does."""
    untuned, reference = found.untuned, found.reference
    ours = "the tuned model" if reference.tuned else f"the base {cut(reference.name)}"
    if not untuned:
        return f"Nothing was measured beside {ours}."
    better = [row for row in untuned if row.outcome == "better"]
    higher = [row for row in untuned if row.difference > 0 and row not in better]
    if not (better or higher):
        return (
            f"None of {len(untuned)} other ways to search that tune nothing beats {ours} (nDCG@10 "
            f"{points(reference.ndcg)}): the best of them is {_named(untuned[:1])}."
        )
    parts = [f"significantly by {_named(better)}"] if better else []
    if higher:
        parts.append(f"in the mean, without a difference shown, by {_named(higher)}")
    return (
        f"T{ours[1:]} (nDCG@10 {points(reference.ndcg)}) is beaten {' and '.join(parts)}, of "
        f"{len(untuned)} other ways to search that tune nothing."
    )


def instead(found: Alternatives | None) -> str:
    """Say, beside what to do, that something which tunes nothing is better; empty where nothing was shown to be.

    The base on its own index is not meant: the verdict itself compares with it.
    """
    others = [row for row in found.untuned if row.work is not IndexWork.KEPT] if found else []
    better = [row for row in others if row.outcome == "better"]
    if not better:
        return ""
    anew = ", but your index has to be made anew" if better[0].work is IndexWork.ANEW else ""
    return f"Without any tuning {cut(better[0].name)} finds still more{anew}: look at what you could take instead."


def values(found: Alternatives) -> dict[str, Any]:
    """Return the part of `results.json`: the sentence, and every way to search, highest nDCG@10 first."""
    return {
        "sentence": sentence(found),
        "questions": found.questions,
        "left_one_out": found.left_one_out,
        "rows": [_values(row, reference=row is found.reference) for row in found.rows],
    }


def _values(row: Alternative, *, reference: bool) -> dict[str, Any]:
    return {
        "model": row.model,
        "holds": row.holds,
        "index": row.work,
        "tuned": row.tuned,
        "reference": reference,
        "hit@1": row.hit1,
        "hit@3": row.hit3,
        METRIC: row.ndcg,
        "difference": row.difference,
        "low": row.low,
        "high": row.high,
        "dimensions": row.dimensions,
        "megabytes": row.megabytes,
        "milliseconds": row.milliseconds,
        "sets": [
            {
                "dataset": item.dataset,
                "split": item.split,
                METRIC: item.tuned,
                "difference": item.difference,
                "low": item.low,
                "high": item.high,
            }
            for item in row.sets
        ],
    }


def _named(rows: Sequence[Alternative]) -> str:
    """Name the first rows with nDCG@10, difference and, of a difference shown, interval and index; count the others."""
    named = [f"{cut(row.name)} ({points(row.ndcg)}, {_details(row)})" for row in rows[:NAMED]]
    if len(rows) > NAMED:
        named.append(f"{len(rows) - NAMED} more")
    return " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))


def _details(row: Alternative) -> str:
    around = interval(row.low, row.high)
    if row.outcome == "no difference shown" or around == "–":
        return signed(row.difference)
    return f"{signed(row.difference)}, {PERCENT} interval {around}, index {row.work}"
