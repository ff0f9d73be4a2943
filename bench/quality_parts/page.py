"""Write the page of a comparison: what it says, the tables, what was chosen and what was not run. Measures nothing."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from quality_parts.table import OURS, WITH_LOG, Collected, outcome

BEGIN, END = "<!-- quality:begin -->", "<!-- quality:end -->"
GROUPS = {"ours": "ours", "alternative": "without tuning", "peer": "tuned by others' methods"}
SHOWN = ("seen", "unseen", "domain", "general")


def table_of(found: Collected, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what table.json keeps: rows, and by set the best of each kind."""
    sets = {
        on: {
            "counts": described[on]["counts"],
            "base": {split: round(100 * sum(values) / len(values), 2) for split, values in base["measured"].items()},
            "best": {kind: found.best(kind, on) for kind in ("alternative", "peer")},
        }
        for on, base in sorted(found.base.items())
    }
    return {
        "metric": "nDCG@10 x 100, gain over the base",
        "sets": sets,
        "rows": [found.row(name) for name in found.names],
    }


def body(table: Mapping[str, Any], missing: Mapping[str, Sequence[str]], plots: Sequence[str]) -> str:
    """Return what stands between the marks of the page.

    Args:
        table: From `table_of`.
        missing: Of each contender that was asked for, what is not there: sets, each maybe with a seed.
        plots: File names of the plots.
    """
    parts = [
        "\n".join(said(table)),
        "\n".join(rows_table(table["rows"])),
        "\n".join(sets_table(table)),
        *(f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})" for name in plots),
        "\n".join(choices_table(table["rows"])),
    ]
    if missing:
        parts.append("Not run:\n\n" + "\n".join(f"- {name}: {', '.join(sets)}" for name, sets in missing.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def said(table: Mapping[str, Any]) -> Iterator[str]:
    """Say in a line for each kind on how many sets ours is ahead of the best of it, and on how many behind."""
    rows = {row["name"]: row for row in table["rows"]}
    for ours in _ours(rows):
        for kind, called in (("alternative", "the best way without tuning"), ("peer", "the best peer")):
            differences = [rows[best]["ours_minus_this"][ours]["by_set"].get(on) for on, best in _best(table, kind)]
            outcomes = [outcome(difference) for difference in differences if difference]
            if outcomes:
                counts = {word: outcomes.count(word) for word in dict.fromkeys(outcomes)}
                each = ", ".join(f"{word} on {count}" for word, count in counts.items())
                yield f"- {ours} beside {called} (picked by the test questions of each set): {each} of {len(outcomes)}."


def _ours(names: Container[str]) -> list[str]:
    """Return what others are set beside: ours with its defaults, with the log first."""
    return [name for name in (WITH_LOG, OURS) if name in names]


def _best(table: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    return [(on, each["best"][kind]) for on, each in table["sets"].items() if each["best"][kind]]


def rows_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table of everybody; one heading line a kind."""
    ours = _ours({row["name"] for row in rows})
    heads = ["", "sets x seeds", *SHOWN, *(f"{name} minus this, domain" for name in ours), "seconds", "MB"]
    yield "| " + " | ".join(heads) + " |"
    yield "|---|---|" + "--:|" * len(SHOWN) + "---|" * len(ours) + "--:|--:|"
    group = ""
    for row in rows:
        if row["kind"] != group:
            group = row["kind"]
            yield f"| *{GROUPS[group]}* |" + " |" * (len(heads) - 1)
        gains = ["-" if row[key] is None else f"{row[key]['gain']:+.1f}" for key in SHOWN]
        gains[SHOWN.index("domain")] = signed(row["domain"])
        ahead = [signed(row["ours_minus_this"].get(name, {}).get("domain")) for name in ours]
        cost = [
            f"{row['seconds']:.0f}" if row["seconds"] else "-",
            f"{row['peak_megabytes']}" if row["seconds"] else "-",
        ]
        yield "| " + " | ".join([row["name"], _size(row), *gains, *ahead, *cost]) + " |"


def sets_table(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield for every set the base, ours, and how far ours is ahead of the best of each kind in its domain."""
    rows = {row["name"]: row for row in table["rows"]}
    ours = _ours(rows)
    heads = [
        "set",
        "answers, labelled, log",
        "base",
        *ours,
        "best without tuning",
        "ours minus it",
        "best peer",
        "ours minus it",
    ]
    yield "| " + " | ".join(heads) + " |"
    yield "|---|---|--:|" + "---|" * (len(heads) - 3)
    for on, each in table["sets"].items():
        domain = [value for split, value in each["base"].items() if f"{on}/{split}" in _splits(rows)]
        base = f"{sum(domain) / len(domain):.1f}" if domain else "-"
        counts = ", ".join(str(each["counts"][key]) for key in ("answers", "labelled", "log"))
        cells = [signed(rows[name]["by_set"].get(on)) for name in ours]
        lead = next((name for name in ours if rows[name]["by_set"].get(on)), "")
        for kind in ("alternative", "peer"):
            best = each["best"][kind]
            difference = rows[best]["ours_minus_this"].get(lead, {}).get("by_set", {}).get(on) if best else None
            cells += [f"{best}, {signed(rows[best]['by_set'][on])}" if best else "-", signed(difference)]
        yield "| " + " | ".join([on, counts, base, *cells]) + " |"


def _splits(rows: Mapping[str, Any]) -> set[str]:
    return {split for row in rows.values() for split in row["splits"]}


def choices_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what each peer's validation chose on each set, with the steps it took; further seeds took the same."""
    peers = [row for row in rows if row["kind"] == "peer"]
    if peers:
        yield "| | chosen, by set and seed, of so many points |"
        yield "|---|---|"
    for row in peers:
        tried = row["points"]
        points = [(at, point) for at, point in row["chosen"].items() if tried[at]]
        chosen = "; ".join(f"{at}: {_settings(point)}, of {tried[at]}" for at, point in points)
        yield f"| {row['name']} | {chosen} |"


def _settings(settings: Mapping[str, Any]) -> str:
    words = []
    for key, value in settings.items():
        if isinstance(value, bool):
            words += [key] if value else []
        elif key == "learning_rate":
            words.append(f"{value:.0e}".replace("e-0", "e-"))
        elif key == "labels":
            words.append(f"{value} labels")
        elif key != "negatives" or value:
            words.append(f"{value} {key}")
    return " ".join(words)


def signed(found: Mapping[str, float] | None) -> str:
    """Write a difference with its interval, or why there is none."""
    if not found:
        return "-"
    if "low" not in found:
        return f"{found['gain']:+.1f} (too few answers for an interval)"
    return "{gain:+.1f} ({low:+.1f} to {high:+.1f})".format(**found)


def _size(row: Mapping[str, Any]) -> str:
    """Say how many sets and seeds a row is of; seeds of a set may be more on some than on others."""
    each = row["seeds_of_a_set"].values()
    fewest, most = min(each, default=0), max(each, default=0)
    if row["kind"] == "alternative":
        return str(len(each))
    return f"{len(each)} x {fewest}" + (f" to {most}" if most > fewest else "")
