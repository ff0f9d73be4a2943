"""Say in words what score means that an answer is one at all. Knows no page and computes nothing."""

from __future__ import annotations

from expertune.records import Cut, Refusal, Threshold
from expertune.report.formats import decimals


def threshold_sentence(found: Threshold) -> str:
    """Say what the usual cut lets pass and refuses, or that the held-out questions are too few for one."""
    cut = found.usual
    return f"{found.note}." if cut is None else cut_sentence(cut)


def cut_sentence(cut: Cut) -> str:
    """Say what one cut lets pass and refuses, with 95 % intervals."""
    refused = "; refused are " + ", and ".join(map(_refused, cut.refused))
    passed = f"{_percent(cut.passed)} of the right answers pass ({_percent(cut.low)} to {_percent(cut.high)})"
    return f"At a score of {decimals(cut.score)} or more, {passed}{refused if cut.refused else ''}."


def _refused(refusal: Refusal) -> str:
    interval = f"{_percent(refusal.low)} to {_percent(refusal.high)}"
    return f"{_percent(refusal.share)} ({interval}) of {refusal.questions} {refusal.source}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
