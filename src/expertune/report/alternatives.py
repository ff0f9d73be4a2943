"""Say what a user could take instead of the tuned model: one sentence, rows of a table, values for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expertune.evaluate.statistics import CONFIDENCE
from expertune.index import Layout
from expertune.records import METRIC, Alternative, Alternatives, IndexWork, Verdict
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
    """Say without statistics what was measured, and which ways are better than the tuned model in the user's index."""
    ways, untuned = len(found.rows), len(found.untuned)
    better = [row for row in found.rows if row.outcome == "better"]
    kinds = (
        ("without tuning", [row.name for row in better if not row.tuned]),
        ("the tuned model itself in another index", [row.holds for row in better if row.tuned]),
    )
    named = [
        f"{kind} ({', '.join([cut(name) for name in names[:NAMED]] + ['…'] * (len(names) > NAMED))})"
        for kind, names in kinds
        if names
    ]
    said = "Better than the tuned model in your index: " + " and ".join(named) + "."
    if not named:
        said = "None of the others is shown to be better than the tuned model in your index."
    return (
        f"{ways} ways to search answered the same questions: {untuned} need no tuning, {ways - untuned} use the tuned "
        f"model. {said}"
    )


def shown(found: Alternatives) -> tuple[Alternative, ...]:
    """Return the ways that people see first: the best of each model, and always those that keep the index as it is."""
    kept = [row for row in found.rows if row is found.reference or row.work is IndexWork.KEPT]
    best = {row.model: row for row in reversed(found.rows)}.values()
    others = [row for row in found.rows if row in best and row not in kept][: max(0, SHOWN - len(kept))]
    return tuple(row for row in found.rows if row in kept or row in others)


def to_do(verdict: Verdict, found: Alternatives | None) -> tuple[str, ...]:
    """Say what to do: the verdict's action or, where something that tunes nothing is better, that one first.

    There are two sentences where it depends on whether the index can be built again. Commands stand between backticks.

    The base on its own index is not meant: the verdict itself compares with it. Where the tuned model finds more in
    another index, and more than whatever tunes nothing, it is that index that is named.
    """
    best = _better_untuned(found)
    index = _better_index(found) if verdict.ship else None
    if found and index and (best is None or index.ndcg > best.ndcg):
        untuned = f"; without tuning at best {percent(best.hit1)}, with {_plain(best.name)}" if best else ""
        command = f"`expertune export RUN --to index --layout {Layout(index.holds).option}`"
        return (
            verdict.action,
            f"If you can build your search index again, let it hold your questions too ({command}): "
            f"right answer first for {percent(index.hit1)} of the questions (your index as it is: "
            f"{percent(found.reference.hit1)}{untuned}).",
        )
    if found is None or best is None:
        return (verdict.action,)
    ours = found.reference
    other = (
        f"ake {_plain(best.name)} as it is, without tuning: right answer first for {percent(best.hit1)} of the "
        f"questions (tuned model: {percent(ours.hit1)}).{_price(best, ours)}{_tunable(best)}"
    )
    if best.work is ours.work:
        return (f"T{other}",)
    work = "build your search index again" if best.work is IndexWork.ANEW else "set an index of words beside yours"
    kept = f"If your index has to stay as it is, {verdict.action[0].lower()}{verdict.action[1:]}"
    return f"If you can {work}, t{other}", kept


def cost(row: Alternative) -> str:
    """Write the size of a model and the time of a question: "438 MB, 154 ms"; empty where nobody knows them."""
    known = [(value, unit) for value, unit in ((row.megabytes, "MB"), (row.milliseconds, "ms")) if value > 0]
    return ", ".join(f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}" for value, unit in known)


def _better_untuned(found: Alternatives | None) -> Alternative | None:
    others = [row for row in found.untuned if row.work is not IndexWork.KEPT] if found else []
    return next((row for row in others if row.outcome == "better"), None)


def _better_index(found: Alternatives | None) -> Alternative | None:
    """Return the best other index for the tuned model, where it is shown to be better than the one that users have."""
    rows = found.rows if found else ()
    layouts = {layout.value for layout in Layout}
    return next((row for row in rows if row.tuned and row.holds in layouts and row.outcome == "better"), None)


def _plain(name: str) -> str:
    """Return the name of a model as it stands in a sentence whose backticks mark commands."""
    return cut(name, 200).replace("`", "'")


def _price(best: Alternative, ours: Alternative) -> str:
    if not (cost(best) and cost(ours)):
        return ""
    return f" Model size, and time per question on this computer: {cost(best)} (tuned model: {cost(ours)})."


def _tunable(best: Alternative) -> str:
    return f" It can be tuned as well: run again with `--base {_plain(best.base)}`." if best.base else ""


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
