"""`expertune panel`: which experts are worth their time on your questions."""

from __future__ import annotations

from typing import Annotated

import typer

from expertune.commands import machine, options, terminal


def panel(
    config: options.ConfigFile = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="What scoring the whole run may take on this machine.")
    ] = 120.0,
    data: options.Data = None,
    assignments: options.Set = None,
) -> None:
    """Try every expert in reach on your labelled questions and recommend a panel for a time."""
    from expertune.commands.panel.recommend import recommend
    from expertune.data import Files
    from expertune.report.formats import decimals, duration, points

    settings = options.read_config(config, assignments, data=data)
    machine.prepare_machine(settings)
    dataset = Files(settings.data, settings.run.offline).train
    with terminal.watching() as report:
        panel = recommend(settings, dataset, most_seconds=seconds, report=report)
    typer.echo(f"{dataset.name}: {panel.questions} labelled questions, {len(dataset.documents)} answers")
    heads = ("expert", ">nDCG@10 x 100", ">time in a run", "most like", ">Spearman", "")
    rows = [
        (item.name, points(item.ndcg), duration(item.seconds), item.nearest, decimals(item.likeness), item.decision)
        for item in panel.experts
    ]
    terminal.show_table(heads, rows)
    if panel.out_of_reach:
        typer.echo(f"out of reach: {', '.join(name for name, _ in panel.out_of_reach)}  (see: expertune models)")
    typer.echo(f"\n{panel.toml}", nl=False)
