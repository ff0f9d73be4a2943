"""`expertune try`: ask base and tuned model the same question on a local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expertune.commands import terminal
from expertune.commands.judge import login


def try_model(
    model: Annotated[
        str, typer.Argument(metavar="RUN_OR_MODEL", help="A run's folder, such as runs/shop, or a tuned model's.")
    ],
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", metavar="FILE", help="Q&A file, corpus.jsonl or their folder; default: the run's."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="NAME", help="What to set beside it; default: the base it was tuned from."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on this machine; 0: any.")] = 8420,
) -> None:
    """Open a local page to type a question and see the first answers of base and tuned model side by side."""
    from expertune.commands.judge.thumbs import Thumbs
    from expertune.commands.try_page.server import PageServer
    from expertune.commands.try_page.side_by_side import side_by_side
    from expertune.errors import DataError

    with terminal.watching():
        models = side_by_side(model, corpus, base=base)
        try:
            thumbs = Thumbs(models.section, login()) if models.section else None
        except DataError:  # answers alone: there is no data set that a thumb could go to
            thumbs = None
        server = PageServer(models, port, thumbs)
        typer.echo(f"open {server.url} in a browser; stop with Ctrl-C")
        if thumbs:
            typer.echo(f"a thumb up keeps a question to test with, in {thumbs.folder}")
        server.run()
