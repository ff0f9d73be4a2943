"""The question side and the document side of a tuned model, as plain encoders. Knows no form."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expertune import models
from expertune.errors import ExportError
from expertune.models import ModelSource
from expertune.models.load import load_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TunedSides:
    """A tuned model taken apart.

    Args:
        folder: The model's folder.
        base: What it was tuned from (catalogue name, folder or hub id); "" where nobody says.
        offline: Whether a hub id is out of reach.
    """

    def __init__(self, folder: Path, base: str, *, offline: bool) -> None:
        self.folder = folder
        self.base_name = base
        self._offline = offline

    @property
    def separate(self) -> bool:
        """Whether documents have an encoder of their own, which tuning left alone."""
        return self._router is not None

    @cached_property
    def queries(self) -> SentenceTransformer:
        """What encodes questions, as a model of its own: its plain `encode` does what `encode_query` did."""
        if self._router is None:
            return self._whole
        return self._plain("query")

    @cached_property
    def base(self) -> SentenceTransformer:
        """The untouched base: the document side where there are two, else the model that the run names.

        Raises:
            ExportError: nothing says what the base was.
        """
        if self._router is not None:
            return self._plain("document")
        if not self.base_name:
            raise ExportError(
                "nothing beside the model says what it was tuned from",
                place=str(self.folder),
                hint="Name the run's folder, which holds its config.toml.",
            )
        return load_model(models.resolve(self.base_name, offline=self._offline))

    @property
    def query_prompt(self) -> str:
        """What the model puts before a question."""
        return str((self._whole.prompts or {}).get("query") or "")

    @cached_property
    def _whole(self) -> SentenceTransformer:
        return load_model(ModelSource(self.folder.name, str(self.folder), ""))

    @property
    def _router(self) -> Any:
        first = self._whole[0]
        return first if hasattr(first, "sub_modules") else None

    def _plain(self, side: str) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        prompt = (self._whole.prompts or {}).get(side)
        return SentenceTransformer(
            modules=[*self._router.sub_modules[side], *list(self._whole.children())[1:]],
            prompts={side: prompt} if prompt else None,
            default_prompt_name=side if prompt else None,
            similarity_fn_name="cosine",
        )
