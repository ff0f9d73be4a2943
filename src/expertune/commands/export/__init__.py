"""`expertune export`: write a tuned model in the form another program wants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expertune.commands import terminal

if TYPE_CHECKING:
    from expertune.index.files import About

INDEX = "index"
"""The one form that is no model: the vectors of a run's answers."""


def export_model(
    subject: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run's folder, or a tuned model's.")],
    form: Annotated[
        str, typer.Option("--to", metavar="FORM", help="query-encoder, adapter, onnx, int8, openvino or index.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for it.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FOLDER", help="Held-out questions to check it on; default: the run's.")
    ] = "",
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the adapter's differences.")] = 32,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="LAYOUT",
            help="Of the index: answers, answers-and-questions, question-and-answer or separate-vectors.",
        ),
    ] = "answers",
) -> None:
    """Write the model in another form, and say how far that form ranks as the model does; or the index it searches."""
    if form == INDEX:
        _export_index(subject, out, layout)
        return
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


def _export_index(subject: Path, out: Path, layout: str) -> None:
    """Write the index and print what held-out questions find in it."""
    from expertune.commands.export import index

    with terminal.watching() as report:
        about = index.write_index(subject, out, index.named(layout), report)
    show_expected(about)
    typer.echo(f"index: {out} ({about.rows} rows of {about.dimensions}); its README.md says how to load it")


def show_expected(about: About) -> None:
    """Print what held-out questions found when an index was made; nothing where there were none."""
    from expertune.report.formats import points

    heads = ("answers", ">questions", ">base, answers", ">tuned, answers", f">tuned, {about.layout}")
    rows = [
        (kind, str(found.questions), points(found.base), points(found.answers), points(found.index))
        for kind, found in about.expected.items()
    ]
    if rows:
        terminal.show_table(heads, rows, title="nDCG@10 x 100 of held-out questions")
