"""What the built-in experts share: their model and their tokenizer. Knows no model format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from expertune.errors import ConfigError, PluginError
from expertune.models import ModelSource

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def require_model(model: ModelSource | None, *, plug_in: str) -> ModelSource:
    """Return the model.

    Raises:
        ConfigError: there is none.
    """
    if model is None:
        raise ConfigError(
            [f"the plug-in '{plug_in}' needs a model"],
            hint=f'Name one: "{plug_in}:FOLDER" or {{use, model}}.',
        )
    return model


def refuse_model(model: ModelSource | None, *, plug_in: str) -> None:
    """Make sure that no model was given.

    Raises:
        ConfigError: one was given, and it would have been ignored.
    """
    if model is not None:
        raise ConfigError([f"the plug-in '{plug_in}' takes no model, got '{model.name}'"], hint="Remove `model`.")


def read_tokenizer(model: ModelSource, *, expert: str) -> Tokenizer:
    """Read `tokenizer.json` of a model folder; nothing is padded.

    Raises:
        PluginError: it is missing or no tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(Path(model.location) / "tokenizer.json"))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise PluginError(f"tokenizer.json cannot be read ({error})", place=f"expert {expert}") from error
    tokenizer.no_padding()
    return tokenizer
