"""Load a sentence-transformers model: the one place for every use of it. Never runs code that comes with a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from expertune.errors import PluginError
from expertune.models import ModelSource
from expertune.models.language_models import without_bars

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_model(source: ModelSource) -> SentenceTransformer:
    """Load a model from a folder or hub id, on the GPU where there is one; panel, training and measuring all use this.

    Raises:
        PluginError: its files cannot be read.
    """
    from sentence_transformers import SentenceTransformer

    with loading(source.name), without_bars():
        return SentenceTransformer(source.location, trust_remote_code=False, local_files_only=source.local)


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Say which model cannot be loaded.

    Raises:
        PluginError: anything went wrong inside.
    """
    try:
        yield
    except Exception as error:  # a damaged folder or a lost network: the loaders raise many kinds
        message = f"the model cannot be loaded ({type(error).__name__}: {error})"
        raise PluginError(message, place=f"model {name}") from error
