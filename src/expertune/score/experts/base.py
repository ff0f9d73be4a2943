"""What the built-in experts share: their model, their tokenizer, and scoring by cosine. Knows no model format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from expertune.errors import ConfigError, PluginError
from expertune.models import ModelSource
from expertune.models.embed import cosine
from expertune.records import FloatArray

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


@contextmanager
def loading(expert: str) -> Iterator[None]:
    """Say which expert's model cannot be loaded.

    Raises:
        PluginError: anything went wrong inside.
    """
    try:
        yield
    except Exception as error:  # a damaged folder or a lost network: the loaders raise many kinds
        message = f"the model cannot be loaded ({type(error).__name__}: {error})"
        raise PluginError(message, place=f"expert {expert}") from error


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


class CosineExpert:
    """An expert whose score is the cosine of two vectors; subclasses embed."""

    name: str
    fingerprint: str
    symmetric: bool = True

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        raise NotImplementedError

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return the cosines, float32 `[len(questions), len(documents)]` in [-1, 1]."""
        return cosine(self.embed(questions, is_query=True), self.embed(documents, is_query=False))
