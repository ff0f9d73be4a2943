"""`expertune study`: answer one question about the method on your data, with figures.

A study is a file here with one function, `study(lab)`: it varies one thing, tunes with some seeds and returns a table,
figures with intervals and plain sentences. All studies of one config share its store.
"""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expertune.commands import machine, options, terminal

if TYPE_CHECKING:
    from expertune.commands.study.result import Study
    from expertune.config import Config
    from expertune.records import Report

STUDIES = ("experts", "labels", "generators", "sizes")


def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(STUDIES[:-1])} or {STUDIES[-1]}.")],
    config: options.ConfigFile = None,
    data: options.Data = None,
    general: options.General = None,
    out: options.Out = None,
    store: options.StoreFolder = None,
    seeds: Annotated[int, typer.Option("--seeds", min=0, help="Repeats of a tuning; 0: the study's own.")] = 0,
    assignments: options.Set = None,
) -> None:
    """Answer one open question about the method on your data, with figures; may take long and goes on where it was."""
    settings = options.read_config(config, assignments, data=data, general=general, out=out, store=store)
    machine.prepare_machine(settings)
    with terminal.watching() as report:
        study, path = run_study(name, settings, seeds=seeds, report=report)
    heads = [f">{column}" if index else column for index, column in enumerate(study.columns)]
    terminal.show_table(heads, [["" if cell is None else str(cell) for cell in row] for row in study.rows])
    typer.echo("\n".join([study.question, *study.answers, f"figures: {path}"]))


def run_study(name: str, config: Config, *, seeds: int = 0, report: Report) -> tuple[Study, Path]:
    """Run one study and write `study-NAME.json` into the output folder; what was finished before is reused.

    Args:
        name: One of `STUDIES`.
        config: Of the run that is studied.
        seeds: How often each tuning is repeated; 0: as the study does by itself.
        report: Told of progress.

    Raises:
        ConfigError: there is no such study.
        ExpertuneError: whatever a run of the config would raise.
    """
    from expertune.commands.study.lab import Lab
    from expertune.commands.study.result import write
    from expertune.errors import ConfigError

    if name not in STUDIES:
        hint = f"Studies are: {', '.join(STUDIES)}."
        raise ConfigError([f"there is no study '{name}'"], place="expertune study", hint=hint)
    started = time.perf_counter()
    lab = Lab(config, report, seeds=seeds)
    result: Study = import_module(f"expertune.commands.study.{name}").study(lab)
    path = config.run.out / f"study-{name}.json"
    settings = {
        "label": config.label.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude={"reference_texts", "report_to"}),
        "questions": len(lab.questions.items),
        "documents": len(lab.dataset.documents),
    }
    write(result, path, dataset=lab.dataset.name, settings=settings, seconds=time.perf_counter() - started)
    return result, path
