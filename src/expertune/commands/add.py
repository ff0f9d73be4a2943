"""`expertune add`: put new answers into a run's index, and into its data for the next run, without tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expertune.commands import terminal

if TYPE_CHECKING:
    from expertune.data import Files
    from expertune.index.files import About
    from expertune.records import Dataset, Document, Report


def add(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder, such as runs/shop.")],
    answers: Annotated[
        Path, typer.Argument(metavar="NEW_ANSWERS", help="A table with answers, or a corpus.jsonl; questions if any.")
    ],
    index: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="The exported index to extend; default: RUN/index.")
    ] = None,
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Leave the run's data as it is: the next run does not know them.")
    ] = False,
) -> None:
    """Add new answers to an exported index without tuning, and to the data that the next run reads."""
    from expertune.commands.export import show_expected
    from expertune.index.files import WITHOUT

    folder = index or run / "index"
    with terminal.watching() as report:
        added = add_answers(run, answers, folder, keep_data=keep_data, report=report)
    new, about = added.dataset, added.about
    typer.echo(f"index: {folder} has {len(new.documents)} more answers ({about.rows} rows)")
    asked = len(new.labelled_ids)
    if WITHOUT in about.expected and asked < len(new.documents):
        show_expected(about)
        typer.echo(
            f"{len(new.documents) - asked} of them have no question of their own: expect what 'without questions' "
            "says, or less, as the model was tuned without them."
        )
    typer.echo(added.data)


@dataclass(frozen=True, slots=True)
class Added:
    """What was added, what the index is now, and a line on what the next run knows of it."""

    dataset: Dataset
    about: About
    data: str


def add_answers(
    subject: Path, answers: Path, folder: Path, *, keep_data: bool = False, report: Report | None = None
) -> Added:
    """Encode new answers as an index was made, add them to it, and to the corpus of the run's data.

    Raises:
        DataError: there is no model or no index, the answers cannot be read, or an id or an answer is there already.
        ExportError: the index was made with another model.
    """
    from expertune import data
    from expertune.commands.export.index import TunedRun
    from expertune.commands.export.index_notes import write_notes
    from expertune.data.new_answers import read_new_answers
    from expertune.errors import ExportError
    from expertune.index import files
    from expertune.records import ignore_progress

    run = TunedRun.of(subject, report or ignore_progress)
    about = files.read(folder)
    if about.model != run.model.fingerprint:
        message = "the index was made with another model than this run has now"
        raise ExportError(message, place=str(folder), hint="Export it anew: expertune export RUN --to index")
    source = data.Files(run.config.data, offline=run.config.run.offline)
    in_data = {} if keep_data or source.layout.beir is None else source.side.corpus.texts
    new = read_new_answers(answers, run.config.data, files.texts(folder), in_data)
    made = run.index(new, about.layout, about.mixing)
    # The index comes last: it refuses what it has, and so must not have it before all else is done.
    told = "data: left as it is; the next run does not know these answers"
    told = told if keep_data else extend_data(source, new)
    about = files.extend(folder, made, new.documents)
    write_notes(folder, about, run.folder / "model", folder)
    return Added(new, about, told)


def extend_data(source: Files, new: Dataset) -> str:
    """Append new answers to the corpus.jsonl of a run's data, where they have no place yet; say what was done.

    A folder without a corpus.jsonl gets one, with the answers of its table first. A single file or a hub id stays as
    it is: an answer without a question has no place there.

    Raises:
        DataError: the file cannot be written.
    """
    from expertune.errors import DataError

    layout = source.layout
    if layout.beir is None:
        return f"data: {layout.place} is no folder; for the next run, add the answers and a question of each there"
    corpus = source.side.corpus
    before = [] if layout.corpus else corpus.documents.values()
    path = layout.corpus_path
    try:
        _append(path, [*before, *(item for item in new.documents if item.id not in corpus.texts)])
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        hint = "Nothing was added. Make it writable, or extend the index alone with --keep-data."
        raise DataError(f"cannot be written ({reason})", place=str(path), hint=hint) from None
    line = f"data: {path} has them too, so the next run takes them up"
    return f"{line}; add their questions to the table beside it" if new.questions else line


def _append(path: Path, documents: Sequence[Document]) -> None:
    """Add documents to a corpus.jsonl, which is replaced as a whole."""
    import json

    from expertune.data.whole_files import write_whole

    text = path.read_text(encoding="utf-8") if path.exists() else ""
    text += "" if not text or text.endswith("\n") else "\n"
    lines = (json.dumps({"_id": item.id, "text": item.text}, ensure_ascii=False) + "\n" for item in documents)
    write_whole(path, text + "".join(lines))
