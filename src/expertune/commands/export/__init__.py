"""`expertune export`: write a tuned model in the form another program wants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expertune.commands import terminal


def export_model(
    subject: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run's folder, or a tuned model's.")],
    form: Annotated[str, typer.Option("--to", metavar="FORM", help="query-encoder, adapter, onnx, int8 or openvino.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for it.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FOLDER", help="Held-out questions to check it on; default: the run's.")
    ] = "",
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the adapter's differences.")] = 32,
) -> None:
    """Write the model in another form, and say how far that form ranks as the model does."""
    from expertune.commands.export import forms
    from expertune.report.formats import decimals, points

    with terminal.watching() as report:
        exported = forms.export(subject, forms.form(form), out, held_out=data, rank=rank, report=report)
    heads = ("held-out set", ">questions", ">same first", ">same ten", ">Kendall tau", ">nDCG@10 before", ">after")
    rows = [
        (
            row.name,
            str(row.questions),
            points(row.top1),
            points(row.top10),
            decimals(row.tau),
            points(row.before),
            points(row.after),
        )
        for row in exported.agreements
    ]
    terminal.show_table(heads, rows, title="agreement with the model, in %")
    size = f"{exported.megabytes:.1f} MB"
    typer.echo(f"{exported.form}: {exported.folder} ({size}); its README.md says how to use it")
