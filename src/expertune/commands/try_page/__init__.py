"""`expertune try`: ask base and tuned model the same question on a local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expertune.commands import terminal


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
    from expertune.commands.try_page.server import PageServer
    from expertune.commands.try_page.side_by_side import side_by_side

    with terminal.watching():
        server = PageServer(side_by_side(model, corpus, base=base), port)
        typer.echo(f"open {server.url} in a browser; stop with Ctrl-C")
        server.run()
