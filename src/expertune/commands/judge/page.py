"""The page of `expertune judge`: one question, its pooled first answers, and what the keys do. Knows no socket."""

from __future__ import annotations

from http import HTTPStatus

from expertune.commands.judge.session import Session, said
from expertune.commands.local_page import Fields, RefusedError
from expertune.errors import DataError
from expertune.records import Document
from expertune.report.page import asset, environment

FOUND = 9
"""Answers that a search shows: one a key."""

_LONGEST = 500


class JudgePage:
    """One person's questions, one at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.style = asset("expertune.report", "report.css") + asset("expertune.commands.judge", "judge.css")
        self.script = asset("expertune.commands.judge", "judge.js")

    def get(self, fields: Fields) -> str:
        """Return the page: the next question, or with `find` a search among all answers for it."""
        shown = self.session.next()
        same = shown is not None and shown.id == _first(fields, "question")
        searching = same and "find" in fields and "back" not in fields
        words = " ".join(_first(fields, "find").split())[:_LONGEST] if searching else ""
        ticked = [name for name in fields.get("right", ()) if name in self.session.documents] if searching else []
        progress = self.session.progress()
        return (
            environment("expertune.commands.judge")
            .get_template("judge.html.j2")
            .render(
                shown=shown,
                searching=searching,
                words=words,
                listed=self._listed(words, ticked) if searching and shown else shown.answers if shown else (),
                ticked=ticked,
                documents=len(self.session.documents),
                progress=progress,
                lines=said(progress, None),
                result=said(progress, self.session.estimate()),
                judge=self.session.judge,
                folder=str(self.session.ledger.folder),
                undo=self.session.ledger.last_of(self.session.judge) is not None,
                missing="nothing" in fields,
                longest=_LONGEST,
                style=self.style,
                script=self.script,
            )
        )

    def _listed(self, words: str, ticked: list[str]) -> tuple[Document, ...]:
        """Return the ticked answers, then what a search finds besides; nothing more without words."""
        found = self.session.firsts.search(words, FOUND) if words else []
        names = dict.fromkeys([*ticked, *(document.id for document in found)])
        return tuple(self.session.documents[name] for name in names)[: max(FOUND, len(ticked))]

    def post(self, path: str, fields: Fields) -> str:
        """Keep what was said of a question: `do` is right, none, skip or undo."""
        if path != "/judge":
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is one form, and it goes to /judge.")
        action, name = _first(fields, "do"), _first(fields, "question")
        right = list(fields.get("right", ()))
        if action == "right" and not right:
            return "/?nothing="
        try:
            match action:
                case "undo":
                    self.session.undo()
                case "right":
                    self.session.judged(name, right)
                case "none":
                    self.session.judged(name, ())
                case "skip":
                    self.session.judged(name, (), skipped=True)
                case _:
                    raise RefusedError(HTTPStatus.BAD_REQUEST, "A question is judged right, none or skip, or undone.")
        except KeyError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "There is no such question or answer.") from None
        except DataError as error:
            raise RefusedError(HTTPStatus.CONFLICT, str(error)) from None
        return "/"


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "")
