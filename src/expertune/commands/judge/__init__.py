"""`expertune judge`: say which answers are right for questions of the log, one question at a time on a local page."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expertune.commands import machine, options, terminal

if TYPE_CHECKING:
    from expertune.commands.judge.session import Session
    from expertune.config import Config
    from expertune.records import Report

Judge = Annotated[str | None, typer.Option("--judge", metavar="NAME", help="Who judges; default: your login name.")]


def judge(
    config: options.ConfigFile = None,
    data: options.Data = None,
    log: options.Log = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Folder of a finished run: its tuned model answers too."),
    ] = None,
    base: options.Base = None,
    name: Judge = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on this machine; 0: any.")] = 8421,
    store: options.StoreFolder = None,
    assignments: options.Set = None,
) -> None:
    """Open a local page to judge questions of your log: a held-out test set in a quarter of an hour."""
    from expertune.commands.judge.page import JudgePage
    from expertune.commands.judge.session import said
    from expertune.commands.local_page import LocalServer
    from expertune.models.folders import RUN_CONFIG

    tuned = run / "model" if run else None
    if run and config is None:
        config = run / RUN_CONFIG
    settings = options.read_config(config, assignments, data=data, log=log, base=base, store=store)
    machine.prepare_machine(settings)
    with terminal.watching() as report:
        session = open_session(settings, tuned, name or login(), report)
    server = LocalServer(JudgePage(session), port)
    typer.echo(f"judgements go to {session.ledger.folder}")
    typer.echo(f"open {server.url} in a browser; stop with Ctrl-C, and go on later with the same command")
    server.run()
    for line in said(session.progress(), session.estimate()):
        typer.echo(line)


def login() -> str:
    """Return the name of whoever is logged in."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def open_session(config: Config, tuned: Path | None, name: str, report: Report) -> Session:
    """Read data and log, let every model rank the answers, and return what one person judges.

    Raises:
        DataError: data or log cannot be read, no log is named, or none of its questions can be judged.
        ModelUnavailableError: a model cannot be found.
    """
    import logging

    from expertune import data
    from expertune.commands.judge import ledger as ledgers
    from expertune.commands.judge.panel import first_answers
    from expertune.commands.judge.session import Session, population
    from expertune.data.search_log import read_log
    from expertune.errors import DataError
    from expertune.pipeline.store import Store
    from expertune.records import Dataset, Question

    logger = logging.getLogger(__name__)
    if not config.data.log:
        hint = "Name a file with what users asked, one question a line: --log searches.txt"
        raise DataError("no log is named", place="data.log", hint=hint)
    files = data.Files(config.data, offline=config.run.offline)
    ledger = ledgers.Ledger(Path(config.data.path))
    documents = tuple(files.side.corpus.documents.values())
    numbered = ledgers.numbered(files.layout, documents)
    for line in ledger.repair(documents, numbered=numbered):
        logger.info("%s", line)
    if numbered:
        logger.warning("the answers have no ids: give the table a column 'id', so that judgements stay with them")
    trained = files.side.trained.values()
    dataset = Dataset(
        files.side.name, documents, tuple(Question(item.text, item.document_ids, item.provenance) for item in trained)
    )
    answers = {document.id: document.text for document in documents}
    log = read_log([Path(path) for path in config.data.log], answers=answers, same=files.side.corpus.same)
    texts = population(log.texts, ledger, files.held_out, [question.text for question in dataset.questions])
    if not texts:
        message = f"all {len(log.questions)} questions are labelled or held out already"
        raise DataError(message, place=", ".join(config.data.log), hint="Name a log with other questions.")
    logger.info("log: %d lines, %d questions, %d of them to judge", log.lines, len(log.questions), len(texts))
    cache = Store(config.run.store or config.run.out / "store").items
    firsts = first_answers(config, dataset, texts, tuned=tuned, cache=cache, report=report)
    return Session(ledger, texts, firsts, name)
