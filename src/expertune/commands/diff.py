"""`expertune diff`: what changed between two runs, and whether it made the tuned model better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expertune.commands import terminal

if TYPE_CHECKING:
    from expertune.config import Config
    from expertune.data import HeldOut
    from expertune.records import Comparison, Dataset, JudgedSet, Query

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder, such as runs/shop.")]
ELSEWHERE = ("run.out", "run.store", "run.threads", "run.offline")
"""Settings that say where and how a run works, not what it makes."""


def diff(first: RunFolder, second: RunFolder) -> None:
    """Say what changed between two runs, and whether the second tuned model is better than the first."""
    with terminal.watching():
        before, after = _read(first), _read(second)
        for line in (*settings(before.config, after.config), *data_changes(before.dataset, after.dataset)):
            typer.echo(f"- {line}")
        rows, notes = compared(before, after)
    for note in notes:
        typer.echo(f"- {note}")
    _show(rows)


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run: its settings, its data and where its model lies.

    Answers and held-out questions are those of the data as it is now; the questions of `dataset` are all that the run
    trained on.
    """

    folder: Path
    config: Config
    dataset: Dataset
    judged: tuple[JudgedSet, ...]

    def searched(self, judged: JudgedSet) -> JudgedSet:
        """Return a judged set with its documents as the run indexed them."""
        from expertune import data
        from expertune.data.expansion import with_texts_of
        from expertune.report.results import EXPANDED

        file = self.folder / EXPANDED
        return with_texts_of(data.load_corpus(file), judged) if file.is_file() else judged


def _read(folder: Path) -> Finished:
    """Read a run's settings and data again; what it trained on is taken from what it wrote, as data changes."""
    from expertune import config, data
    from expertune.errors import DataError
    from expertune.models.folders import config_beside, inside_run
    from expertune.report.questions import read_questions

    model = inside_run(folder)
    made_by = config_beside(model) if model else None
    if made_by is None:
        hint = "Name the folder that `expertune run --out` wrote to."
        raise DataError("holds no finished run", place=str(folder), hint=hint)
    settings = config.read(made_by)
    loaded = data.load(settings.data, offline=settings.run.offline)
    return Finished(folder, settings, replace(loaded.train, questions=read_questions(folder)), loaded.judged)


def settings(first: Config, second: Config) -> Iterator[str]:
    """Yield a line for every setting with another value; where a run lies does not count."""
    before, after = (dict(_flat(item.model_dump(mode="json"))) for item in (first, second))
    for key in before:
        if before[key] != after[key] and key not in ELSEWHERE:
            yield f"{key}: {before[key]} → {after[key]}"


def _flat(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, table in values.items():
        yield from ((f"{section}.{key}", value) for key, value in table.items())


def data_changes(first: Dataset, second: Dataset) -> Iterator[str]:
    """Yield how many answers, labelled questions and questions of a log came, went and changed."""
    texts = [{document.id: document.text for document in item.documents} for item in (first, second)]
    came, went = texts[1].keys() - texts[0].keys(), texts[0].keys() - texts[1].keys()
    changed = sum(texts[0][key] != texts[1][key] for key in texts[0].keys() & texts[1].keys())
    if came or went or changed:
        yield f"answers: {len(came)} came, {len(went)} went, {changed} changed"
    for kind, of_kind in (("labelled questions", "labelled"), ("questions of the log", "logged")):
        asked = [
            {(question.text, question.document_ids) for question in item.questions if getattr(question, of_kind)}
            for item in (first, second)
        ]
        if asked[0] != asked[1]:
            yield f"{kind}: {len(asked[1] - asked[0])} came, {len(asked[0] - asked[1])} went"


def compared(first: Finished, second: Finished) -> tuple[list[Comparison], list[str]]:
    """Measure both tuned models on the questions that both runs held out, and say what could not be compared.

    A question that is held out now may have been trained on before: what either run was taught is left out. Each model
    searches the index that its own run made. Every comparison has the first as `base`.
    """
    from expertune.data import HeldOut
    from expertune.evaluate.stage import compare, measure
    from expertune.models.encoder import CachedEncoder, sentence_encoder
    from expertune.records import Role

    encoders = [
        CachedEncoder(name, sentence_encoder(str(run.folder / "model")))
        for name, run in (("first", first), ("second", second))
    ]
    rows: list[Comparison] = []
    notes: list[str] = []
    earlier = {item.name: item for item in first.judged}
    taught = HeldOut.of(question.text for run in (first, second) for question in run.dataset.questions)
    for judged in second.judged:
        shared, left_out = _held_out_by_both(earlier.get(judged.name), judged)
        if left_out:
            notes.append(f"{judged.name}: {left_out} questions are held out in one of the runs alone: left out here")
        if shared is not None and shared.role is Role.DOMAIN:
            shared, known = _apart(shared, taught)
            if known:
                notes.append(f"{judged.name}: one of the runs trained on {known} of the questions: left out here")
        if shared is None:
            continue
        measured = [
            measure(encoder, run.searched(shared), encoder.name)
            for encoder, run in zip(encoders, (first, second), strict=True)
        ]
        rows += compare(*measured, seed=second.config.run.seed)
    return rows, notes


def _held_out_by_both(first: JudgedSet | None, second: JudgedSet) -> tuple[JudgedSet | None, int]:
    """Return the second set with the questions that the first has too, and how many others there are."""
    before = {query.text for query in first.queries} if first else set()
    queries = tuple(query for query in second.queries if query.text in before)
    return _asking(second, queries), len(second.queries) + len(before) - 2 * len(queries)


def _apart(judged: JudgedSet, taught: HeldOut) -> tuple[JudgedSet | None, int]:
    """Return a set without the questions that nearly repeat what was taught, as runs keep both apart; and how many."""
    repeated = taught.repeated_by([query.text for query in judged.queries])
    queries = tuple(query for query, known in zip(judged.queries, repeated, strict=True) if not known)
    return _asking(judged, queries), sum(repeated)


def _asking(judged: JudgedSet, queries: tuple[Query, ...]) -> JudgedSet | None:
    """Return a set with some of its questions; None without any."""
    if not queries:
        return None
    return replace(judged, queries=queries, qrels={query.id: judged.qrels[query.id] for query in queries})


def _show(rows: Sequence[Comparison]) -> None:
    from expertune.records import METRIC
    from expertune.report.formats import around, points, signed

    deciding = [row for row in rows if row.metric == METRIC]
    if not deciding:
        typer.echo("Both runs held out no question in common: whether the change is real cannot be said.")
        return
    heads = ("set", ">questions", ">first run", ">second run", ">change", ">95 % interval", "reading")
    cells = [
        (
            row.name,
            str(row.queries),
            points(row.base),
            points(row.tuned),
            signed(row.difference),
            around(row),
            row.outcome,
        )
        for row in deciding
    ]
    terminal.show_table(heads, cells, title="nDCG@10 x 100 of the tuned models", tight=True)
