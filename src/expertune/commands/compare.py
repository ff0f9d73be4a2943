"""`expertune compare`: what searching gives before anything is tuned, and which alternatives a tuned model has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from expertune.commands import machine, options, terminal

if TYPE_CHECKING:
    from expertune.records import Alternative, Alternatives

UNJUDGED = """There are no held-out questions. Instead the {} labelled ones were searched, each in an
index without it: an answer with one question was then found by its text alone."""
LONGEST = 39
"""Characters of a name: with the figures beside it a line fits 80."""


def compare(
    config: options.ConfigFile = None,
    data: options.Data = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="RUN_OR_MODEL", help="A tuned model, to be compared with all that is untuned."),
    ] = None,
    base: options.Base = None,
    out: options.Out = None,
    store: options.StoreFolder = None,
    assignments: options.Set = None,
    offline: options.Offline = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure on held-out questions what can be had without tuning: other models, other indexes, search by words."""
    from expertune.models.folders import config_beside, named_model

    file = config or (config_beside(named_model(model)) if model else None)
    settings = options.read_config(
        file,
        [*(assignments or ()), "augment.per_answer=0"],
        data=data,
        base=base,
        out=out,
        store=store,
        offline=offline,
    )
    machine.prepare_machine(settings)
    with terminal.watching() as report:
        from expertune.pipeline.run import Run

        found = Run(settings, report).compare(model or "")
    if as_json:
        from expertune.report.alternatives import values
        from expertune.report.results import plain

        typer.echo(json.dumps(plain(values(found)), indent=1, ensure_ascii=False))
    else:
        _show(found)


def _show(found: Alternatives) -> None:
    from expertune.report.alternatives import sentence
    from expertune.report.formats import plain, points

    names = {id(row): _name(row, found) for row in found.rows}
    heads = ("", ">hit@1", ">hit@3", ">nDCG", ">difference")
    rows = [
        (names[id(row)], points(row.hit1), points(row.hit3), points(row.ndcg), _difference(row, found))
        for row in found.rows
    ]
    if found.left_one_out:
        typer.echo(UNJUDGED.format(found.questions))
    sets = " and ".join(f"{item.queries} of {item.name}" for item in found.reference.sets)
    terminal.show_table(heads, rows, title=f"questions: {sets}; x 100", tight=True)
    costs = [
        (names[id(row)], row.work, str(row.dimensions or "–"), plain(row.megabytes), plain(row.milliseconds))
        for row in found.rows
    ]
    terminal.show_table(("what it takes", "index", ">dims", ">MB", ">ms a question"), costs, tight=True)
    typer.echo(sentence(found))


def _name(row: Alternative, found: Alternatives) -> str:
    """Write model and index, the model cut where both are too long; a star marks the reference."""
    from expertune.report.formats import cut

    behind = row.name.removeprefix(row.model)
    return cut(f"{'* ' if row is found.reference else ''}{row.model}", LONGEST - len(behind)) + behind


def _difference(row: Alternative, found: Alternatives) -> str:
    """Write the difference to the reference with its interval."""
    from expertune.report.formats import signed

    return "" if row is found.reference else f"{signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"
