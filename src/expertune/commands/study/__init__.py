"""`expertune study`: answer one question about the method on your data."""

from __future__ import annotations

from typing import Annotated

import typer

from expertune.commands import machine, options, terminal


def study(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="agreement, experts, sizes, balance, geometry, labels or generators."),
    ],
    config: options.ConfigFile = None,
    data: options.Data = None,
    general: options.General = None,
    out: options.Out = None,
    store: options.StoreFolder = None,
    seeds: Annotated[int, typer.Option("--seeds", min=0, help="Repeats of a tuning; 0: the study's own.")] = 0,
    assignments: options.Set = None,
) -> None:
    """Answer one open question about the method on your data, with figures; may take long and goes on where it was."""
    from expertune.commands.study import studies

    settings = options.read_config(config, assignments, data=data, general=general, out=out, store=store)
    machine.prepare_machine(settings)
    with terminal.watching() as report:
        study, path = studies.run(name, settings, seeds=seeds, report=report)
    heads = [f">{column}" if index else column for index, column in enumerate(study.columns)]
    terminal.show_table(heads, [["" if cell is None else str(cell) for cell in row] for row in study.rows])
    typer.echo("\n".join([study.question, *study.answers, f"figures: {path}"]))
