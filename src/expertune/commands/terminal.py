"""Print what users watch: tables, the line of each finished stage, progress bars."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from expertune.records import Progress, Report


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
    """Show stages as they end and, on a terminal, a bar for each; other libraries' warnings stay hidden meanwhile."""
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
    """Give a function that draws what it is told as one bar a stage; where nobody watches it draws nothing."""
    from expertune.records import ignore_progress

    if not screen.is_terminal:
        yield ignore_progress
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description:<9}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[detail]}"),
    )
    with progress.Progress(*columns, console=screen, transient=True) as drawn:
        tasks: dict[str, progress.TaskID] = {}

        def report(event: Progress) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = drawn.add_task(event.stage, total=event.total, detail="")
            done = event.done >= event.total
            drawn.update(
                tasks[event.stage], completed=event.done, total=event.total, detail=event.detail, visible=not done
            )

        yield report
