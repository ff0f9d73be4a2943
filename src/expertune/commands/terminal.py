"""Print what users watch: tables, the line of each finished stage, a bar or a heartbeat."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from expertune.records import Progress, Report

HEARTBEAT = 30.0
"""Seconds between two lines where nobody sees a bar."""


def console(*, stderr: bool = False) -> Console:
    """Return a console; where nobody watches, lines are long enough for every table."""
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = 140
    return screen


def show_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, tight: bool = False
) -> None:
    """Print a table; ">" before a column's head puts its cells to the right; a tight one has one blank between.

    On a narrow terminal words wrap; names in the first column and numbers are never cut.
    """
    from rich import box
    from rich.table import Table

    padding = (0, 0 if tight else 1)
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=padding, collapse_padding=True
    )
    cells = [tuple(row) for row in rows]
    for index, head in enumerate(heads):
        number = head.startswith(">")
        words = [word for row in (heads, *cells) for word in row[index].removeprefix(">").split()]
        table.add_column(
            head.removeprefix(">"),
            justify="right" if number else "left",
            no_wrap=number or index == 0,
            min_width=max(map(len, words), default=0),
            overflow="fold",
        )
    for row in cells:
        table.add_row(*row)
    console().print(table)


class Lines(logging.Handler):
    """Print our own log lines: one a finished stage, and warnings."""

    def __init__(self, screen: Console) -> None:
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, above the progress bars where there are any."""
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self._screen.print(f"{prefix}{record.getMessage()}", soft_wrap=True)


@contextmanager
def watching() -> Iterator[Report]:
    """Show stages as they end and, on a terminal, one bar for all; other libraries' warnings stay hidden meanwhile."""
    screen = console(stderr=True)
    lines, logger = Lines(screen), logging.getLogger("expertune")
    level, propagated = logger.level, logger.propagate
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with warnings.catch_warnings(), bars(screen) as report:
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield report
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)
        logger.propagate = propagated


@contextmanager
def bars(screen: Console) -> Iterator[Report]:
    """Give a function that shows what it is told: one bar on a terminal; elsewhere a line now and then."""
    if not screen.is_terminal:
        with _heartbeat(screen) as report:
            yield report
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description:<9}"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[amount]}"),
        progress.TextColumn("{task.fields[detail]}"),
    )
    with progress.Progress(*columns, console=screen, transient=True) as drawn:
        task = drawn.add_task("", total=1.0, amount="", detail="")

        def report(event: Progress) -> None:
            drawn.update(
                task, description=event.stage, completed=_share(event), amount=_amount(event), detail=event.detail
            )

        yield report


@contextmanager
def _heartbeat(screen: Console) -> Iterator[Report]:
    """Write every HEARTBEAT seconds what is being done; a log that stands still would look as if the run did too."""
    last: list[Progress] = []
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            for event in last[-1:]:
                screen.print(f"... {' '.join((event.stage, event.detail)).strip()}: {_amount(event)}", soft_wrap=True)

    def report(event: Progress) -> None:
        last[:] = [event]

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()


def _share(event: Progress) -> float:
    """Return the share of the whole run that is done, or of a stage that stands alone."""
    return event.done / max(1, event.total) if event.share is None else event.share


def _amount(event: Progress) -> str:
    """Say how much is done and how long the rest takes."""
    from expertune.report.formats import duration

    if event.share is None or event.seconds_left is None:
        return f"{event.done}/{event.total}"
    left = duration(event.seconds_left) if event.seconds_left >= 1 else "a moment"
    return f"{event.share:.0%} of the run, about {left} left"
