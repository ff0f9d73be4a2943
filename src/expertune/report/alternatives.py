"""Say what a user could take instead of the tuned model: one sentence, rows of a table, values for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expertune.evaluate.statistics import CONFIDENCE
from expertune.records import METRIC, Alternative, Alternatives, IndexWork
from expertune.report.formats import cut, interval, percent, points, signed

PERCENT = f"{100 * CONFIDENCE:g} %"
NAMED = 3
"""Ways that a sentence names; the others are counted."""
SHOWN = 7
"""Ways in the chart and the table that people see first; the full table has all."""


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


def lead(found: Alternatives) -> str:
    """Say in a sentence without statistics which ways that tune nothing are better than the tuned model."""
    better = [row for row in found.untuned if row.outcome == "better"]
    others = f"Of {len(found.untuned)} other ways to search that need no tuning, measured on the same questions,"
    if not better:
        return f"{others} none is shown to be better than the tuned model."
    named = ", ".join(cut(row.name) for row in better[:NAMED])
    return f"{others} {len(better)} {'is' if len(better) == 1 else 'are'} better than the tuned model: {named}."


def shown(found: Alternatives) -> tuple[Alternative, ...]:
    """Return the ways that people see first: the best of each model, and always those that keep the index as it is."""
    kept = [row for row in found.rows if row is found.reference or row.work is IndexWork.KEPT]
    best = {row.model: row for row in reversed(found.rows)}.values()
    others = [row for row in found.rows if row in best and row not in kept][: max(0, SHOWN - len(kept))]
    return tuple(row for row in found.rows if row in kept or row in others)


def instead(found: Alternatives | None) -> str:
    """Say, beside what to do, that something which tunes nothing is better; empty where nothing was shown to be.

    The base on its own index is not meant: the verdict itself compares with it.
    """
    others = [row for row in found.untuned if row.work is not IndexWork.KEPT] if found else []
    better = [row for row in others if row.outcome == "better"]
    if not (found and better):
        return ""
    best, ours = better[0], found.reference
    work = "build your search index again" if best.work is IndexWork.ANEW else "set an index of words beside yours"
    return (
        f"If you can {work}, {cut(best.name)} does better without any tuning: right answer first for "
        f"{percent(best.hit1)} of the questions (tuned model: {percent(ours.hit1)}), among the first three for "
        f"{percent(best.hit3)} ({percent(ours.hit3)})."
    )


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
