"""The page of `expertune try`: type a question, see what both models answer, put a thumb up on what is right.

The page runs no script, and what is shown is escaped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlencode

from expertune.commands.judge.thumbs import Thumbs
from expertune.commands.local_page import Fields, LocalServer, RefusedError
from expertune.commands.try_page.side_by_side import SHOWN, SideBySide
from expertune.errors import DataError
from expertune.report.page import asset, environment

LONGEST = 2000
"""Characters of a question; the models read a few hundred at most."""


class PageServer(LocalServer):
    """Serve the page of two models.

    Raises:
        ConfigError: the port cannot be had.
    """

    def __init__(self, models: SideBySide, port: int, thumbs: Thumbs | None = None) -> None:
        super().__init__(TryPage(models, thumbs), port)


class TryPage:
    """Two models side by side, and where thumbs go; None: nowhere."""

    script = ""

    def __init__(self, models: SideBySide, thumbs: Thumbs | None) -> None:
        self.models, self.thumbs = models, thumbs
        self.style = asset("expertune.report", "report.css") + asset("expertune.commands.try_page", "try.css")

    def get(self, fields: Fields) -> str:
        """Return the page for a question; an empty one is not asked."""
        question = _question(fields.get("q", ()))
        started = time.perf_counter()
        return (
            environment("expertune.commands.try_page")
            .get_template("try.html.j2")
            .render(
                question=question,
                answers=self.models.ask(question) if question else None,
                names=self.models.names,
                documents=len(self.models.documents),
                shown=SHOWN,
                longest=LONGEST,
                seconds=time.perf_counter() - started,
                style=self.style,
                right=self.thumbs.right(question) if self.thumbs else (),
                folder=str(self.thumbs.folder) if self.thumbs else "",
                refused=self.thumbs.refused(question) if self.thumbs and question else "",
            )
        )

    def post(self, path: str, fields: Fields) -> str:
        """Put a thumb up on an answer, or take it back."""
        question, answer = _question(fields.get("q", ())), next(iter(fields.get("answer", ())), "")
        documents = {document.id: document for document in self.models.documents}
        if path != "/thumb" or self.thumbs is None or not question or answer not in documents:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "A thumb needs a question and one of the answers.")
        try:
            self.thumbs.turn(question, documents[answer])
        except DataError as error:
            raise RefusedError(HTTPStatus.CONFLICT, str(error)) from None
        return f"/?{urlencode({'q': question})}"


def _question(values: Sequence[str]) -> str:
    question = " ".join(next(iter(values), "").split())
    if len(question) > LONGEST:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"A question may have {LONGEST} characters.")
    return question
