"""The charts of the report, each a pure function from records to an inline SVG. Computes no metric, knows no page.

All charts are 360 units wide, so that one fits a phone and two stand side by side on a desktop. Metric values
are drawn in points (x100).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from expertune.records import (
    Agreement,
    Alternative,
    Alternatives,
    Candidate,
    Comparison,
    ExpertQuality,
    IndexWork,
    Separation,
    Timing,
)
from expertune.report.formats import cut, decimals, duration, interval, points, signed
from expertune.report.svg import COLOUR, drawing, to_svg

Row = TypeVar("Row")
Doubles = NDArray[np.float64]
WIDTH = 5.0  # inches of 72 units
BINS = 20
OUTCOME = {"better": COLOUR["better"], "worse": COLOUR["worse"], "no difference shown": COLOUR["muted"]}


def levels(rows: Sequence[Comparison]) -> str:
    """Draw base and tuned per set as a dumbbell."""
    with drawing():
        figure, axes = _rows_figure(len(rows))
        for y, row in _from_top(rows):
            base, tuned = 100 * row.base, 100 * row.tuned
            axes.plot([base, tuned], [y, y], color=OUTCOME[row.outcome], linewidth=2.5, zorder=2)
            axes.add_line(_dot("base", hollow=True, x=base, y=y))
            axes.add_line(_dot("tuned", x=tuned, y=y))
            _row_text(axes, y, _set_name(row), f"{points(row.base)} → {points(row.tuned)}")
        axes.margins(x=0.12)
        _key(figure, {"base": _dot("base", hollow=True), "tuned": _dot("tuned")})
        told = "; ".join(f"{_set_name(row)} {points(row.base)} to {points(row.tuned)}" for row in rows)
        return to_svg(figure, name="levels", label=f"nDCG@10 of base and tuned model: {told}.")


def differences(rows: Sequence[Comparison]) -> str:
    """Draw tuned minus base per set with its interval, as a forest plot around zero."""
    with drawing():
        figure, axes = _rows_figure(len(rows))
        axes.axvline(0, color=COLOUR["ink"], linewidth=0.9, zorder=1)
        for y, row in _from_top(rows):
            colour = OUTCOME[row.outcome]
            # One over the whole range would squeeze all others.
            has_interval = not row.too_few and interval(row.low, row.high) != "–"
            if has_interval:
                axes.plot([100 * row.low, 100 * row.high], [y, y], color=colour, linewidth=2.5, zorder=2)
            axes.plot([100 * row.difference], [y], "D", color=colour, markersize=6, zorder=3)
            around = f"[{signed(row.low)}, {signed(row.high)}]" if has_interval else "[no interval]"
            _row_text(axes, y, _set_name(row), f"{signed(row.difference)} {around}")
        axes.margins(x=0.12)
        _key(figure, {name: Line2D([], [], marker="D", markersize=5, color=c) for name, c in OUTCOME.items()})
        told = "; ".join(f"{_set_name(row)} {signed(row.difference)} ({row.outcome})" for row in rows)
        label = f"Change of nDCG@10 in points with intervals: {told}."
        return to_svg(figure, name="differences", label=label)


def alternatives(found: Alternatives, rows: Sequence[Alternative]) -> str:
    """Draw nDCG@10 of some ways to search, with the interval of the difference to the reference, as a forest plot."""
    ours = 100 * found.reference.ndcg
    with drawing():
        figure, axes = _rows_figure(len(rows), spacing=0.42)
        axes.axvline(ours, color=COLOUR["tuned"], linewidth=1.2, zorder=1)
        for y, row in _from_top(rows):
            colour = COLOUR["tuned"] if row is found.reference else OUTCOME[row.outcome]
            if row is not found.reference and interval(row.low, row.high) != "–":
                axes.plot([ours + 100 * row.low, ours + 100 * row.high], [y, y], color=colour, linewidth=2.5, zorder=2)
            face = COLOUR["surface"] if row.work == IndexWork.ANEW else colour
            axes.plot([100 * row.ndcg], [y], "D", color=colour, markerfacecolor=face, markersize=6, zorder=3)
            figures = points(row.ndcg) + ("" if row is found.reference else f" ({signed(row.difference)})")
            _row_text(axes, y - 0.03, cut(row.name, 46), figures)
        axes.margins(x=0.06)
        told = "; ".join(f"{row.name} {points(row.ndcg)} ({row.outcome}, index {row.work})" for row in rows)
        return to_svg(figure, name="alternatives", label=f"nDCG@10 of ways to search: {told}.")


def frontier(candidates: Sequence[Candidate]) -> str:
    """Draw what each candidate gained in the domain against what it changed in general; nothing held out."""
    with drawing():
        figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=True)
        axes.axhline(0, color=COLOUR["line"], linewidth=0.9)
        axes.axvline(0, color=COLOUR["line"], linewidth=0.9)
        path = sorted(candidates, key=lambda item: item.interpolation_weight)
        places = np.array([(item.general_difference, item.domain_difference) for item in path])
        axes.plot(100 * places[:, 0], 100 * places[:, 1], color=COLOUR["faint"], linewidth=1.5, zorder=1)
        for item in candidates:
            _candidate(axes, item)
        axes.margins(y=0.12)
        axes.set_xlabel("general sets: change of nDCG@10, points")
        axes.set_ylabel("domain: change of nDCG@10, points")
        told = "".join(
            f" Chosen: weight {item.interpolation_weight:g} with domain {signed(item.domain_difference)} "
            f"and general {signed(item.general_difference)}."
            for item in candidates
            if item.chosen
        )
        label = f"{len(candidates)} candidates, domain gain against general change.{told}"
        return to_svg(figure, name="frontier", label=label)


def similarity(separation: Separation, *, name: str, limits: tuple[float, float], title: str) -> str:
    """Draw the cosine distributions of right and other answers.

    Args:
        separation: Of one model on one set.
        name: Of the chart, unique on the page.
        limits: Of the cosine axis, so that before and after can share it.
        title: What stands above the chart.
    """
    with drawing():
        figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
        axes = figure.add_subplot()
        for kind in ("irrelevant", "relevant"):
            density, edges = _coarser(getattr(separation, kind), separation.edges)
            axes.stairs(density, edges, fill=True, color=COLOUR[kind], alpha=0.4, linewidth=0)
            axes.stairs(density, edges, color=COLOUR[kind], linewidth=1.4)
        axes.set_xlim(*limits)
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.set_xlabel("cosine of question and answer")
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        _key(figure, {"right answer": _box("relevant", alpha=0.6), "other answers": _box("irrelevant", alpha=0.6)})
        where = cut(f"{separation.dataset}/{separation.split}")
        overlap = f"they overlap by {points(separation.overlap)} %"
        label = f"{title}: similarity of right and other answers on {where}; {overlap}."
        return to_svg(figure, name=name, label=label)


def panel(experts: Sequence[ExpertQuality]) -> str:
    """Draw each expert's nDCG@10 on labelled questions and its weight in the labels."""
    with drawing():
        figure, axes = _rows_figure(len(experts), spacing=0.42)
        for y, entry in _from_top(experts):
            quality, weight = np.nan_to_num([100 * entry.ndcg, 100 * entry.weight])
            axes.barh([y + 0.09], [quality], height=0.17, color=COLOUR["base"], alpha=0.55)
            axes.barh([y - 0.11], [weight], height=0.17, color=COLOUR["tuned"])
            figures = f"{points(entry.ndcg)} · weight {points(entry.weight)} %"
            _row_text(axes, y, cut(entry.expert, 36), figures)
        axes.set_xlim(0, 100)
        _key(
            figure,
            {"nDCG@10 on labelled questions": _box("base", alpha=0.55), "weight in the labels, %": _box("tuned")},
        )
        told = "; ".join(f"{item.expert} {points(item.ndcg)}, weight {points(item.weight)} %" for item in experts)
        return to_svg(figure, name="panel", label=f"Quality and weight of each expert: {told}.")


def agreement(panel: Agreement) -> str:
    """Draw the pairwise rank correlations `[K, K]` of the experts as a heat map with the values written in."""
    count = len(panel.experts)
    with drawing():
        side = min(0.48, 3.6 / max(count, 1))
        figure = Figure(figsize=(WIDTH, side * count + 1.52), layout="constrained")
        axes = figure.add_subplot()
        for row, column in np.ndindex(count, count):
            value = float(panel.spearman[row, column])
            cell = _box("worse" if value < 0 else "heat")
            cell.set(x=column - 0.48, y=row - 0.48, width=0.96, height=0.96, linewidth=0)
            opacity = 0.65 * min(1.0, abs(float(np.nan_to_num(value))))
            cell.set_alpha(opacity)
            axes.add_patch(cell)
            size = 9 if count <= 8 else 7
            axes.text(column, row, decimals(value), ha="center", va="center", fontsize=size)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        names = [cut(name, 18) for name in panel.experts]
        axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
        axes.set_yticks(range(count), names, fontsize=9)
        axes.spines[:].set_visible(False)
        return to_svg(figure, name="agreement", label="Spearman rank correlation between every two experts.")


def stages(timings: Sequence[Timing]) -> str:
    """Draw how long each stage took; a stage taken from the store is hollow."""
    with drawing():
        figure, axes = _rows_figure(len(timings), spacing=0.4)
        told = []
        for y, item in _from_top(timings):
            face = COLOUR["surface" if item.reused else "tuned"]
            axes.barh([y], [item.seconds], height=0.26, facecolor=face, edgecolor=COLOUR["tuned"], linewidth=1)
            said = duration(item.seconds) + (" · reused" if item.reused else "")
            _row_text(axes, y - 0.03, cut(item.stage), said)
            told.append(f"{item.stage} {said}")
        axes.set_xlabel("seconds")
        axes.set_xlim(left=0)
        return to_svg(figure, name="stages", label=f"Time of each stage: {'; '.join(told)}.")


def _coarser(density: Sequence[float], edges: Sequence[float]) -> tuple[Doubles, Doubles]:
    """Join neighbouring bins of equal width until about `BINS` are left: a hundred right answers fill no more."""
    joined = len(density) // BINS if len(density) >= BINS and len(density) % BINS == 0 else 1
    return np.asarray(density).reshape(-1, joined).mean(axis=1), np.asarray(edges)[::joined]


def _candidate(axes: Axes, item: Candidate) -> None:
    """Draw one candidate with its standard errors; a ring marks the chosen one."""
    x, y = 100 * item.general_difference, 100 * item.domain_difference
    xerr, yerr = 100 * item.general_standard_error, 100 * item.domain_standard_error
    axes.errorbar([x], [y], yerr, xerr, fmt="none", ecolor=COLOUR["line"], elinewidth=0.8, zorder=2)
    axes.add_line(_dot("tuned" if item.chosen else "base", x=x, y=y))
    if item.chosen:
        axes.plot([x], [y], "o", color=COLOUR["tuned"], markerfacecolor="none", markersize=14, markeredgewidth=1.8)
    name = f"{item.interpolation_weight:g}"
    said, weight = (f"{name}, chosen", "bold") if item.chosen else (name, "normal")
    place = (10, 7) if item.chosen else (8, -13)  # so that a neighbour's name does not cover the chosen one's
    axes.annotate(said, (x, y), place, textcoords="offset points", fontweight=weight)


def _rows_figure(count: int, *, spacing: float = 0.46) -> tuple[Figure, Axes]:
    """Return a figure with one unit of height per row and nothing on its vertical axis."""
    figure = Figure(figsize=(WIDTH, spacing * max(count, 1) + 0.62), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylim(-0.5, max(count, 1) - 0.25)
    axes.set_yticks([])
    axes.grid(visible=True, axis="x")
    return figure, axes


def _from_top(rows: Sequence[Row]) -> list[tuple[int, Row]]:
    return [(len(rows) - 1 - index, row) for index, row in enumerate(rows)]


def _row_text(axes: Axes, y: float, left: str, right: str) -> None:
    """Write a row's name and figures above its mark, so that long names need no margin."""
    across = axes.get_yaxis_transform()
    ground = {"facecolor": COLOUR["surface"], "edgecolor": "none", "pad": 1}  # grid lines stop at words
    axes.text(0, y + 0.25, left, transform=across, va="bottom", fontsize=9, bbox=ground, fontweight="bold")
    axes.text(
        1, y + 0.25, right, transform=across, va="bottom", fontsize=9, bbox=ground, ha="right",
        color=COLOUR["muted"],
    )  # fmt: skip


def _key(figure: Figure, marks: dict[str, Artist]) -> None:
    place = {"loc": "outside lower left", "ncols": len(marks)}
    figure.legend(marks.values(), marks.keys(), fontsize=9, handlelength=1.4, borderpad=0, **place)


def _dot(name: str, *, hollow: bool = False, x: float | None = None, y: float = 0.0) -> Line2D:
    face = COLOUR["surface" if hollow else name]
    where = ([], []) if x is None else ([x], [y])
    return Line2D(*where, marker="o", linewidth=0, markersize=7, color=COLOUR[name], markerfacecolor=face, zorder=3)


def _box(name: str, *, alpha: float = 1.0) -> Rectangle:
    return Rectangle((0, 0), 1, 1, color=COLOUR[name], alpha=alpha)


def _set_name(row: Comparison) -> str:
    return cut(f"{row.dataset}/{row.split}", 30) + (" (general)" if row.role == "general" else "")
