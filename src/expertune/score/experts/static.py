"""Score with static vectors: one table of token vectors, averaged over a text's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expertune.errors import PluginError
from expertune.models import ModelSource
from expertune.models.embed import unit_rows
from expertune.models.plugins import EmbeddingExpert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import read_tokenizer, require_model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PLUG_IN = "static"
_VERSION = 1


class StaticExpert(EmbeddingExpert):
    """Embed with a folder that holds `model.safetensors` and `tokenizer.json`.

    The first holds one table `[vocabulary, dimension]`. Tokens are averaged without special tokens and without
    truncation, as WordLlama does.
    """

    symmetric = True

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        self._source = require_model(model, plug_in=_PLUG_IN)
        read_options(Options, options, plug_in=_PLUG_IN)
        self.name = self._source.name
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, self._source, {})

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:  # noqa: ARG002
        """Return float32 `[len(texts), dimension]`, rows of unit length, zero for a text without tokens."""
        vectors = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            if encoding.ids:
                # The table may lack tokens that were added to the tokenizer later.
                tokens = np.minimum(encoding.ids, self._table.shape[0] - 1)
                vectors[row] = self._table[tokens].mean(axis=0)
        return unit_rows(vectors)

    @cached_property
    def _table(self) -> FloatArray:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(Path(self._source.location) / "model.safetensors")
        except (OSError, SafetensorError) as error:
            raise PluginError(f"model.safetensors cannot be read ({error})", place=f"expert {self.name}") from error
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if len(tensors) != 1 or len(next(iter(shapes.values()))) != 2:
            raise PluginError(
                f"model.safetensors holds {shapes}, expected one table [vocabulary, dimension]",
                place=f"expert {self.name}",
            )
        table: FloatArray = next(iter(tensors.values())).astype(np.float32)
        return table

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = read_tokenizer(self._source, expert=self.name)
        tokenizer.no_truncation()
        return tokenizer
