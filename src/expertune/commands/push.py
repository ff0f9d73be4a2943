"""`expertune push`: put a tuned model on a model hub. The only module that writes to a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from expertune.errors import ConfigError, DataError, ServerError
from expertune.models import trust
from expertune.models.folders import model_folder

TOKEN = "HF_TOKEN"
"""The environment variable with the hub's token: no file, no option, so that no token ends in a shell's history."""

# What a sentence-transformers folder holds; anything else in it is not ours to publish.
_ALLOWED = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")


def push_model(
    model: Annotated[
        Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run's folder, such as runs/shop, or a tuned model's.")
    ],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where to; made if it is not there.")],
    public: Annotated[bool, typer.Option("--public", help="Everybody may read a repository made now.")] = False,
) -> None:
    """Upload a tuned model and its card to a model hub; the token comes from HF_TOKEN."""
    typer.echo(f"model: {push(model, repository, public=public)}")


def push(folder: Path, repository: str, *, public: bool = False) -> str:
    """Upload a model's folder and return its address.

    Args:
        folder: Of a run, or a sentence-transformers folder with its card.
        repository: "owner/name"; made if it is not there.
        public: Whether everybody may read a repository that is made now.

    Raises:
        ConfigError: offline is asked for, or the environment has no token.
        DataError: the folder holds no model or no card.
        UntrustedModelError: the folder holds files that run code.
        ServerError: the hub is out of reach or refuses.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise ConfigError(["HF_HUB_OFFLINE is set"], place="environment", hint="Unset it to open a connection.")
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise ConfigError(
            [f"{TOKEN} is not set"], place="environment", hint="Set it to a token of yours that may write."
        )
    folder = model_folder(folder)
    if not (folder / "README.md").is_file():
        raise DataError("holds no README.md", place=str(folder), hint="Name the model of a run: runs/shop/model.")
    trust.check(folder)
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    hub = HfApi(token=token)
    try:
        address = hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(_ALLOWED),
            commit_message="Upload of a model tuned with expertune",
        )
    except Exception as error:  # the client raises its own kinds and those of two HTTP libraries
        said = str(error).strip().splitlines() or [""]
        raise ServerError(
            f"the hub did not take the model ({type(error).__name__}: {said[0].replace(token, '***')})",
            place=repository,
            hint="Check the name, what the token may do, and the connection.",
        ) from None
    return str(address)
