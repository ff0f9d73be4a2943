"""Say in words what score means that an answer is one at all. Knows no page and computes nothing."""

from __future__ import annotations

from expertune.records import Cut, Refusal, Threshold
from expertune.report.formats import decimals, percent


def threshold_sentence(found: Threshold) -> str:
    """Say what the usual cut lets pass and refuses, or that the held-out questions are too few for one."""
    cut = found.usual
    return f"{found.note}." if cut is None else cut_sentence(cut)


def cut_sentence(cut: Cut) -> str:
    """Say what one cut lets pass and refuses, with 95 % intervals."""
    refused = "; refused are " + ", and ".join(map(_refused, cut.refused))
    passed = f"{percent(cut.passed)} of the right answers pass ({percent(cut.low)} to {percent(cut.high)})"
    return f"At a score of {decimals(cut.score)} or more, {passed}{refused if cut.refused else ''}."


def refusals(found: Threshold) -> list[str]:
    """Return the head of a column for each kind of question that a cut may refuse; ">" says that it holds numbers."""
    return [f">refused of {item.questions} {item.source}" for cut in found.cuts[:1] for item in cut.refused]


def _refused(refusal: Refusal) -> str:
    interval = f"{percent(refusal.low)} to {percent(refusal.high)}"
    return f"{percent(refusal.share)} ({interval}) of {refusal.questions} {refusal.source}"
