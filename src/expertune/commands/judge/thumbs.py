"""Keep thumbs of `expertune try` as judgements: a question that somebody typed, and the answers that are right."""

from __future__ import annotations

from pathlib import Path

from expertune.commands.judge.ledger import Entry, Ledger, labelled
from expertune.config import DataSection
from expertune.data.leakage import HeldOut
from expertune.data.wording import normalise
from expertune.errors import DataError
from expertune.records import Document


class Thumbs:
    """Thumbs of one person over one data set.

    Args:
        section: The data set.
        judge: Who puts thumbs up.

    Raises:
        DataError: the data set cannot be read.
    """

    def __init__(self, section: DataSection, judge: str) -> None:
        self._ledger, self._judge = Ledger(Path(section.path)), judge
        self._labelled = HeldOut.of(labelled(section))

    @property
    def folder(self) -> Path:
        """Where the judgements lie."""
        return self._ledger.folder

    def right(self, question: str) -> tuple[str, ...]:
        """Return the ids of the answers that this person called right."""
        entry = self._entry(question)
        return tuple(entry.right) if entry else ()

    def refused(self, question: str) -> str:
        """Say why a question cannot be judged; "" where it can."""
        if self._labelled.repeated_by([question])[0]:
            return "This question is one of those that are trained on, so it cannot be one to test with."
        return ""

    def turn(self, question: str, document: Document) -> None:
        """Put the thumb up on an answer, or take it back where it is up.

        Raises:
            DataError: the question is trained on, or the files cannot be written.
        """
        if why := self.refused(question):
            raise DataError(why, hint="Ask it in other words.")
        entry = self._entry(question) or Entry(question, self._judge)
        right = dict(entry.right)
        if right.pop(document.id, None) is None:
            right[document.id] = document.text
        if right:
            self._ledger.record(entry.now(right))
        else:
            self._ledger.forget(entry)

    def _entry(self, question: str) -> Entry | None:
        words = normalise(question)
        mine = (entry for entry in self._ledger.entries if entry.judge == self._judge)
        return next((entry for entry in mine if normalise(entry.question) == words), None)
