"""The question side and the document side of a tuned model, as plain encoders. Knows no form."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from expertune import models
from expertune.errors import ExportError
from expertune.models import ModelSource, packing
from expertune.models.load import load_model, one_side

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
        return hasattr(self._whole[0], "sub_modules")

    @cached_property
    def queries(self) -> SentenceTransformer:
        """What encodes questions, as a model of its own: its plain `encode` does what `encode_query` did."""
        side, prompt = one_side(self._whole, "query"), self.query_prompt
        side.prompts = {"query": prompt, "document": ""} if self.separate else {**side.prompts, "query": prompt}
        side.default_prompt_name = "query" if prompt else None
        return side

    @cached_property
    def base(self) -> SentenceTransformer:
        """The untouched base: the document side where there are two, else the model that the run names.

        Raises:
            ExportError: nothing says what the base was.
        """
        if self.separate:
            return one_side(self._whole, "document")
        if not self.base_name:
            raise ExportError(
                "nothing beside the model says what it was tuned from",
                place=str(self.folder),
                hint="Name the run's folder, which holds its config.toml.",
            )
        return one_side(load_model(models.resolve(self.base_name, offline=self._offline)), "query")

    @property
    def query_prompt(self) -> str:
        """What the model puts before a question."""
        return packing.own_prompt(self._whole, "query") or ""

    @cached_property
    def _whole(self) -> SentenceTransformer:
        return load_model(ModelSource(self.folder.name, str(self.folder), ""))
