"""Write numbers and texts as people read them on a page. Knows no page.

A number that is missing (None) or not finite is written as a dash.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable

from expertune.records import TOO_FEW_ANSWERS, Comparison

_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

# An underscore inside a word is none to Markdown.
_MARKS = re.compile(r"([\\`*\[\]|~#!]|(?<!\w)_|_(?!\w))")
# What renderers turn into a link of itself: addresses of pages and, unlike nDCG@10, of people.
_LINKS = (
    (re.compile("://"), "&#58;//"),
    (re.compile(r"www\.", re.IGNORECASE), "www&#46;"),
    (re.compile(r"@(?=[\w-]+\.\w)"), "&#64;"),
)


def _or_dash(write: Callable[[float], str]) -> Callable[[float | None], str]:
    def written(value: float | None) -> str:
        return "–" if value is None or not math.isfinite(value) else write(value).replace("-", "−")

    written.__doc__, written.__name__ = write.__doc__, write.__name__
    return written


@_or_dash
def points(value: float) -> str:
    """Write a value in [0, 1] in points: 0.744 is "74.4"."""
    return f"{100 * value:.1f}"


@_or_dash
def percent(value: float) -> str:
    """Write a share in [0, 1] in whole percent: 0.744 is "74 %"."""
    return f"{100 * value:.0f} %"


@_or_dash
def signed(value: float) -> str:
    """Write a difference in points with its sign: 0.078 is "+7.8", with a true minus below zero."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def interval(low: float, high: float) -> str:
    """Write an interval in points: "−0.4 to +7.5"; one over the whole range [-1, 1], which says nothing, as "–"."""
    return "–" if low <= -1 and high >= 1 else f"{signed(low)} to {signed(high)}"


def around(row: Comparison) -> str:
    """Write the interval of a comparison, or that there are too few answers for one."""
    return TOO_FEW_ANSWERS if row.too_few else interval(row.low, row.high)


@_or_dash
def plain(value: float) -> str:
    """Write a number of any size with three significant digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


@_or_dash
def significant(value: float) -> str:
    """Write a number with three significant digits, zeros at its end among them: numbers of one column line up."""
    return f"{value:#.3g}".rstrip(".")


@_or_dash
def decimals(value: float) -> str:
    """Write a number with two decimals."""
    return f"{value:.2f}"


@_or_dash
def p_value(value: float) -> str:
    """Write a p value with three decimals, or as "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


@_or_dash
def duration(seconds: float) -> str:
    """Write a time: "0.4 s", "12 s", "3 min 20 s", "1 h 5 min"."""
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def remark(text: str) -> str:
    """Write a remark as a sentence: a capital first, a full stop last, true minus signs."""
    text = _MINUS.sub("−", text.strip())
    first = text[:1] if text.startswith("nDCG") else text[:1].upper()  # the name of a metric keeps its letters
    return first + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def md(text: str, most: int = 120) -> str:
    """Write a text from outside as one line of Markdown that shows itself: no markup, no table cell, no link."""
    line = _MARKS.sub(r"\\\1", html.escape(cut(text, most), quote=False))
    for mark, shown in _LINKS:
        line = mark.sub(shown, line)
    return line


def long(text: str) -> str:
    """Write a paragraph from outside as Markdown that shows itself."""
    return md(text, 2000)


def cut(text: str, most: int = 60) -> str:
    """Return one printable line of at most `most` characters, with an ellipsis where it was cut."""
    line = " ".join(_UNPRINTABLE.sub("", text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
