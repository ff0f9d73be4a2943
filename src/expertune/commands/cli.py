"""Assemble the commands into one program, and turn what they raise into a message and an exit code.

A command's module imports what is heavy inside its function, so that `expertune --help` answers at once.
"""

from __future__ import annotations

import functools
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from expertune.commands import export, judge, machine, models, panel, push, run, study, try_page
from expertune.commands.add import add
from expertune.commands.check import check
from expertune.commands.compare import compare
from expertune.commands.diff import diff
from expertune.commands.sections import Sections
from expertune.errors import ExpertuneError

BAD_INPUT = 2
INTERRUPTED = 130
ISSUES = "https://github.com/expertune/expertune/issues"

app = typer.Typer(
    cls=Sections,
    help="Tune a text-embedding model to a small question-answer set, and prove whether it got better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="Known models: which are installed, and where to get the others.", rich_markup_mode=None)
app.add_typer(models_app, name="models", invoke_without_command=True)


def main() -> None:
    """Run the command line; the entry point of the `expertune` script. SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command end with an exit code: 2 bad input, 130 interrupted or terminated, 1 a fault of ours."""

    @functools.wraps(command)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            _complain("stopped; everything finished is kept: run the same command to go on")
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except Exception as error:
            raise typer.Exit(_explain(error)) from None

    return guarded


def _explain(error: Exception) -> int:
    """Say what is wrong, or that the fault is ours, and return the exit code."""
    problems = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
    if all(isinstance(problem, ExpertuneError) for problem in problems):
        for problem in problems:
            _complain(f"error: {problem}")
        return BAD_INPUT
    _complain(traceback.format_exc())
    _complain(f"This is a fault in expertune, not in your input. Please report the lines above: {ISSUES}")
    return 1


def _complain(message: str) -> None:
    """Write to stderr; what a terminal would obey (texts of users are quoted in messages) is made visible."""
    typer.echo("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in message), err=True)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"expertune {installed('expertune')}")
        raise typer.Exit
    machine.prepare_libraries()


def _init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with your questions and answers.")],
) -> None:
    """Write a commented config for the data in a folder."""
    from expertune import config
    from expertune.commands import init
    from expertune.pipeline import prospect

    found = init.look(folder)
    written = init.write(folder, found)
    for row in found.rows:
        typer.echo(f"- {row}")
    for key, column in found.columns.items():
        typer.echo(f"data.{key} = {column}  (guessed: correct it in the file if it is another one)")
    if said := prospect.of_section(config.read(written).data):
        typer.echo(said)
    typer.echo(f"wrote {written}\nnext:  expertune check {written}")


_COMMANDS: dict[str, Callable[..., None]] = {
    **{stage: run.stage_command(stage) for stage in run.STAGES},
    "study": study.study,
    "check": check,
    "compare": compare,
    "init": _init,
    "panel": panel.panel,
    "judge": judge.judge,
    "try": try_page.try_model,
    "export": export.export_model,
    "add": add,
    "diff": diff,
    "push": push.push_model,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_guarded(_command))
models_app.callback(invoke_without_command=True)(_guarded(models.list_models))
models_app.command("install")(_guarded(models.install))
