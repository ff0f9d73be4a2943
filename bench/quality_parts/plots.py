"""Draw the plots of a comparison as SVG: what a gain costs, and ours beside ways to search without tuning."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from quality_parts.table import Found

COLOUR = {"ours": "C1", "alternative": "C0", "peer": "C2"}
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "expertune", "font.size": 9}
AXIS = "gain over the base, nDCG@10 x 100"
SECONDS = "seconds, one thread (ours: two tunings and the choice; others: the last training)"


def draw(table: Mapping[str, Any], folder: Path) -> list[str]:
    """Write the plots that there is something for into a folder; return their names."""
    drawn = {"gain-against-seconds.svg": seconds(table), "alternatives-by-set.svg": by_set(table)}
    for name, text in drawn.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
    return [name for name, text in drawn.items() if text]


def seconds(table: Mapping[str, Any]) -> str:
    """Draw the domain gain of everybody who tunes over the seconds of one training, with 95 % intervals."""
    rows = [row for row in table["rows"] if row["seconds"] and row["domain"]]
    if not rows:
        return ""
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 0.32 * len(rows) + 2.4), layout="constrained")
        axes = figure.subplots()
        for number, row in enumerate(sorted(rows, key=lambda row: -row["domain"]["gain"]), start=1):
            place = (row["seconds"], row["domain"]["gain"])
            _interval(axes, place, row["domain"], COLOUR[row["kind"]])
            axes.annotate(str(number), place, textcoords="offset points", xytext=(5, 3))
            axes.plot([], [], " ", label=f"{number}  {row['name']}")
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set(xlabel=SECONDS, ylabel=AXIS, xlim=(0, None))
        figure.legend(loc="outside right upper", frameon=False, handlelength=0)
        return _svg(figure)


def _interval(axes: Any, place: tuple[float, float], found: Found, colour: str) -> None:
    axes.plot(*place, "o", markersize=5, color=colour)
    if "low" in found:
        axes.vlines(place[0], found["low"], found["high"], color=colour, alpha=0.35)


def by_set(table: Mapping[str, Any]) -> str:
    """Draw ours and every way to search without tuning, one panel a set, with 95 % intervals."""
    rows = [row for row in table["rows"] if row["kind"] in ("ours", "alternative")]
    names = list(table["sets"])
    if not any(row["kind"] == "alternative" for row in rows):
        return ""
    rows.sort(key=lambda row: row["domain"]["gain"] if row["domain"] else 0.0)
    with rc_context(STYLE):
        figure = Figure(figsize=(2.6 + 1.9 * len(names), 0.26 * len(rows) + 1.1), layout="constrained")
        for axes, on in zip(np.ravel(figure.subplots(1, len(names), sharey=True)), names, strict=True):
            for height, row in enumerate(rows):
                found = row["by_set"].get(on)
                if found:
                    axes.plot(found["gain"], height, "o", markersize=4, color=COLOUR[row["kind"]])
                    if "low" in found:
                        axes.hlines(height, found["low"], found["high"], color=COLOUR[row["kind"]], alpha=0.35)
            axes.axvline(0, color="0.6", linewidth=0.8)
            axes.set(title=on)
        figure.axes[0].set_yticks(range(len(rows)), [row["name"] for row in rows])
        figure.supxlabel(AXIS)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
