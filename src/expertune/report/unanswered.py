"""Show what users ask and no answer fits: a table for people, one for machines, rows of the page. Computes nothing."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from expertune.records import Document, Unanswered
from expertune.report.finished import FinishedRun
from expertune.report.formats import cut

UNANSWERED = "unanswered.csv"
"""Name of the table beside the results."""

SHOWN_GROUPS = 15
"""Groups on the page; all of them are in the table."""

SHOWN_QUESTIONS = 4
"""Questions of a group on the page, after the one that it is called by."""

LONGEST = 110
"""Characters of an answer in the table: enough to know it by."""

HEADS = ("group", "asked", "question", "asked in the group", "nearest answer", "its text")


class UnansweredRow(NamedTuple):
    """One group as the page shows it."""

    name: str
    searches: int
    others: tuple[str, ...]
    left_out: int
    nearest: str
    nearest_text: str


def unanswered_rows(run: FinishedRun) -> tuple[UnansweredRow, ...]:
    """Return the largest groups as the page shows them; none where there is no log or everything has an answer."""
    if run.unanswered is None:
        return ()
    texts = {document.id: document.text for document in run.dataset.documents}
    return tuple(
        UnansweredRow(
            name=group.questions[0],
            searches=group.count,
            others=group.questions[1 : 1 + SHOWN_QUESTIONS],
            left_out=max(0, len(group.questions) - 1 - SHOWN_QUESTIONS),
            nearest=group.nearest[0],
            nearest_text=texts[group.nearest[0]],
        )
        for group in run.unanswered.groups[:SHOWN_GROUPS]
    )


def unanswered_results(found: Unanswered) -> dict[str, Any]:
    """Return what `results.json` holds of it: every group with its name, size and nearest answer."""
    groups = [
        {
            "question": group.questions[0],
            "questions": len(group.questions),
            "count": group.count,
            "nearest": group.nearest[0],
        }
        for group in found.groups
    ]
    return {
        "file": UNANSWERED,
        "looked_at": found.looked_at,
        "searches": found.searches,
        "questions": found.questions,
        "count": found.count,
        "groups": groups,
    }


def write_unanswered(found: Unanswered | None, documents: Sequence[Document], folder: Path) -> None:
    """Write every question that no answer fits, the largest group first; leave no table of another run.

    It begins with a byte order mark, without which Excel takes it for another encoding.
    """
    path = folder / UNANSWERED
    if found is None:
        path.unlink(missing_ok=True)
        return
    texts = {document.id: document.text for document in documents}
    with path.open("w", encoding="utf-8-sig", newline="", errors="replace") as file:
        table = csv.writer(file)
        table.writerow(HEADS)
        for number, group in enumerate(found.groups, start=1):
            for question, count, nearest in zip(group.questions, group.counts, group.nearest, strict=True):
                cells = (question, nearest, cut(texts[nearest], LONGEST))
                text, name, answer = map(_inert, cells)
                table.writerow((number, count, text, group.count, name, answer))


def _inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: users type into a search box what they like."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
