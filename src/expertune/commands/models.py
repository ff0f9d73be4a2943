"""`expertune models`: which known models are installed, and how to get the others."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from expertune.commands import terminal
from expertune.errors import ModelUnavailableError

if TYPE_CHECKING:
    from expertune.models import CatalogEntry


def list_models(context: typer.Context) -> None:
    """List the known models: which are installed, and where to get the others."""
    if context.invoked_subcommand:
        return
    from expertune import models

    for title, role in (("experts, and models to tune", "expert"), ("writers of questions", "generator")):
        rows = []
        for entry in models.catalog():
            source = "installed" if models.installed(entry) else "package" if entry.packages else "hub"
            if getattr(entry, role):
                rows.append((entry.name, source, str(entry.megabytes), entry.languages, entry.licence))
        terminal.show_table(("name", "where", ">MB", "languages", "licence"), rows, title=title)
    typer.echo("package: expertune models install NAME    hub: fetched on first use with run.offline = false")


def install(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Names from `expertune models`; none: what a run uses by itself."),
    ] = None,
) -> None:
    """Install the packages that carry models, with pip; without a name, those that a run uses by itself."""
    from expertune import models

    commands = [models.install_command(_packaged(name)) for name in names or _by_itself()]
    for command in commands:
        code = subprocess.run([sys.executable, *command], check=False).returncode
        if code:
            message = f"pip ended with code {code}; its own message stands above"
            raise ModelUnavailableError(message, place=" ".join(command), hint="Check the connection and the disk.")


def _by_itself() -> list[str]:
    """Return the packaged models of a config that names none and are not installed."""
    from expertune import config, models

    augment = config.AugmentSection()
    specs = (*config.ScoreSection().experts, *(augment.generators if augment.per_answer else ()))
    named = dict.fromkeys([config.TrainSection().base, *(spec.model for spec in specs if spec.model)])
    entries = [entry for name in named if (entry := models.find(name)) is not None]
    return [entry.name for entry in entries if entry.packages and not models.installed(entry)]


def _packaged(name: str) -> CatalogEntry:
    """Return the entry of a model that a package carries."""
    from expertune import models

    entry = models.find(name)
    if entry is None:
        known = ", ".join(item.name for item in models.catalog() if item.packages)
        raise ModelUnavailableError(f"no known model is called '{name}'", hint=f"Packages carry: {known}.")
    if not entry.packages:
        hint = "Set run.offline = false: it is then fetched on first use."
        raise ModelUnavailableError(f"no package carries '{entry.name}', only the hub has {entry.hub}", hint=hint)
    return entry
