"""A page in a real browser that may not complain, pop up anything or ask for anything elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def watched(opened: Any, address: str, may_ask: Callable[[str], bool]) -> Iterator[Any]:
    """Go to an address with a new page and close it at the end; then fail if there was anything to complain about.

    Args:
        opened: A new page of a browser or of its context.
        address: Where to go.
        may_ask: Tells of an address whether the page may ask for it.
    """
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    opened.on("request", lambda request: None if may_ask(request.url) else complaints.append(request.url))
    opened.goto(address)
    yield opened
    opened.close()
    assert complaints == []
