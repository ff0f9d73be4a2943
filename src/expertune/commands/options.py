"""Options that several commands share, and the config values they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from expertune.config import Config

ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="CONFIG.toml", show_default=False, help="Settings; `init` writes some.")
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="FOLDER", help="Questions and answers: a folder, a file or a hub id."),
]
Log = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="FILE", help="What users asked, without labels; may be repeated."),
]
Base = Annotated[
    str | None, typer.Option("--base", metavar="MODEL", help="The model to tune: a name, a folder or a hub id.")
]
General = Annotated[
    list[str] | None,
    typer.Option("--general", metavar="FOLDER", help="BEIR set that watches general ability; may be repeated."),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where report, results and model go.")]
StoreFolder = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="Where finished work is kept; default: OUT/store.")
]
Mteb = Annotated[
    list[str] | None,
    typer.Option("--mteb", metavar="NAME", help="BEIR folder, or official task or benchmark, for mteb; repeatable."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config, such as train.steps=50; may be repeated."),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Open no connection, whatever the config says (the default where it says nothing)."),
]


def values(
    file: Path | None,
    assignments: Sequence[str] | None = None,
    *,
    data: str | None = None,
    log: Sequence[str] | None = None,
    base: str | None = None,
    general: Sequence[str] | None = None,
    out: Path | None = None,
    store: Path | None = None,
    mteb: Sequence[str] | None = None,
    offline: bool = False,
) -> tuple[dict[str, Any], str]:
    """Return the config's values with the options laid over them, and what to call it in messages.

    Where no file is named, the one that `init` wrote into the data's folder is read; without `data`, that of the
    working folder.
    """
    from expertune import config

    options = {
        "data.path": data,
        "data.log": log or None,
        "train.base": base,
        "data.general": general or None,
        "run.out": out,
        "run.store": store,
        "run.offline": offline or None,
        "evaluate.mteb": mteb or None,
    }
    changes = [config.assignment(text) for text in assignments or ()]
    changes += [(path, value) for path, value in options.items() if value is not None]
    file = file or _lying_there(data)
    written = config.read_values(file) if file else {}
    return config.overlaid(written, changes), str(file) if file else "options"


def _lying_there(data: str | None) -> Path | None:
    """Return the config that lies where `init` writes it, and say that it is used; None where there is none."""
    from expertune import config

    file = Path(data or "") / config.FILE_NAME
    if not file.is_file():
        return None
    typer.echo(f"settings: {file}", err=True)
    return file


def read_config(file: Path | None, assignments: Sequence[str] | None = None, **options: Any) -> Config:
    """Return the validated config of a file and the options of `values`.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong.
    """
    from expertune.config import from_mapping

    read, place = values(file, assignments, **options)
    return from_mapping(read, place=place)
