"""`expertune check`: could a run start, and what would it roughly cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from expertune.commands import options, terminal

if TYPE_CHECKING:
    from expertune.pipeline.preflight import Findings

WRITTEN = 12
"""Questions an answer, as they were measured beside none (docs/findings/written-questions.md)."""


def check(
    config: options.ConfigFile = None,
    data: options.Data = None,
    log: options.Log = None,
    base: options.Base = None,
    general: options.General = None,
    out: options.Out = None,
    store: options.StoreFolder = None,
    assignments: options.Set = None,
) -> None:
    """Look at config, data and models and estimate the cost; does no work."""
    # Raises every problem at once, in one ExceptionGroup.
    from expertune.pipeline import preflight

    values, place = options.values(
        config, assignments, data=data, log=log, base=base, general=general, out=out, store=store
    )
    findings = preflight.check(values, place=place)
    _show(findings)
    if findings.problems:
        raise ExceptionGroup("this run could not start", findings.problems)


def _show(findings: Findings) -> None:
    from expertune.report.formats import duration

    if findings.dataset:
        size = f"{len(findings.dataset.documents)} answers, {len(findings.dataset.questions)} training questions"
        typer.echo(f"{findings.dataset.name}: {size}")
    if findings.prospect:
        typer.echo(findings.prospect)
    for note in findings.notes:
        typer.echo(f"- {note}")
    if findings.judged:
        sets = [
            (item.name, str(item.role), str(len(item.queries)), str(len(item.documents))) for item in findings.judged
        ]
        terminal.show_table(("held-out set", "role", ">questions", ">documents"), sets)
    if findings.texts.notes:
        typer.echo("your data:")
        for note in findings.texts.notes:
            typer.echo(f"- {note}")
    parts = [(part.role, part.name, part.source if part.found else "missing") for part in findings.parts]
    terminal.show_table(("role", "model or plug-in", "found"), parts)
    for part in findings.parts:
        if part.note:
            typer.echo(f"{part.role} {part.name}: {part.note}")
    if findings.costs:
        costs = [(cost.stage, f"{cost.items:,}", cost.unit, duration(cost.seconds)) for cost in findings.costs]
        terminal.show_table(("stage", ">work", "", ">roughly"), costs)
        typer.echo(f"in all roughly {duration(findings.seconds)} on two processor cores, if nothing can be reused")
    if findings.config and findings.dataset and not findings.config.augment.per_answer:
        from expertune.pipeline import costs as prices

        more = prices.writing(findings.config, findings.dataset, WRITTEN)
        typer.echo(
            f"augment.per_answer = {WRITTEN} would have {more.items:,} questions written as well, roughly "
            f"{duration(more.seconds)} more; no gain was shown for it"
        )
