"""The figures of bench/speed.py as Markdown, on the terminal and in bench/results/speed.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages import put

BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"


def section(name: str, kept: dict[str, Any]) -> str:
    """Return heading, machine, rows and ratios of one section."""
    machine = kept["machine"]
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in machine["flags"]]
    about = (
        f"{machine['processor']} ({', '.join(flags) or 'no AVX-512'}), {machine['threads']['torch']} threads, "
        f"torch {machine['libraries']['torch']}; other processes kept "
        f"{machine['cores_busy_with_others']:.1f} of {machine['cores']} cores busy."
    )
    lines = [f"### {name.capitalize()}", "", about, "", "| | median | min | max | unit |", "|---|--:|--:|--:|---|"]
    for row in kept["rows"]:
        values = " | ".join(number(row[key]) for key in ("median", "low", "high"))
        lines.append(f"| {row['what']} | {values} | {row['unit']} |")
    if kept["ratios"]:
        lines += ["", "| ratio | median | min | max | goal | met |", "|---|--:|--:|--:|--:|---|"]
    for ratio in kept["ratios"]:
        values = " | ".join(number(ratio[key]) for key in ("value", "low", "high"))
        sign = {"least": "&ge;", "most": "&le;"}[ratio["bound"]]
        goal = f"{sign} {number(ratio['goal'])}" if ratio["goal"] else ""
        met = ("yes" if ratio["met"] else "no") if ratio["goal"] else ""
        lines.append(f"| {ratio['what']} | {values} | {goal} | {met} |")
    for model, about in kept["setting"].items():
        if isinstance(about, dict) and "quality" in about:
            lines += ["", f"Rankings of {model} beside plain encode: {_quality(about['quality'])}."]
    return "\n".join([*lines, "", *kept["notes"], ""])


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 or value == 0 else f"{value:.5f}"


def write(page: Path, results: dict[str, Any]) -> None:
    """Put the tables of all sections between the two marks of a page."""
    put(page, BEGIN, END, "\n".join(section(name, kept) for name, kept in results["sections"].items()))


def _quality(kept: dict[str, dict[str, float]]) -> str:
    parts = [
        f"{name}: rank correlation {values['rank_correlation']:.4f}, same first answer {values['same_first']:.1%}"
        for name, values in kept.items()
        if name != "plain"
    ]
    return "; ".join(parts)
