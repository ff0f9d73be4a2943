"""Score pairs with a cross-encoder of sentence-transformers, which reads question and document together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from expertune.errors import PluginError
from expertune.models import ModelSource
from expertune.models.language_models import quiet
from expertune.models.load import loading
from expertune.models.plugins import Expert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import require_model
from expertune.score.experts.shortlist import chunk, shortlist

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_PLUG_IN = "cross_encoder"
_VERSION = 1
_PAIRS = 32  # at once


class CrossEncoderOptions(Options):
    """What a config may set."""

    candidates: int = Field(default=30, ge=0, description="documents scored for each question, found by words; 0: all")
    max_tokens: int | None = Field(default=None, ge=1, description="longer pairs are cut; default: the model's own")


class CrossEncoderExpert(Expert):
    """Score what a cross-encoder with one output says before any sigmoid: log-odds, where it was trained for them."""

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        self._source = require_model(model, plug_in=_PLUG_IN)
        self._options = read_options(CrossEncoderOptions, options, plug_in=_PLUG_IN)
        self.name = self._source.name
        self.chunk = chunk(self._options.candidates)
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, self._source, self._options.model_dump())

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> FloatArray:
        """Return float32 `[len(questions), len(documents)]`, unbounded; NaN where a document is no candidate."""
        import torch

        chosen = shortlist(questions, documents, self._options.candidates)
        values = np.full(chosen.shape, np.nan, dtype=np.float32)
        if chosen.any():
            pairs = [(questions[row], documents[column]) for row, column in np.argwhere(chosen)]
            values[chosen] = self._model.predict(
                pairs,
                batch_size=_PAIRS,
                activation_fn=torch.nn.Identity(),
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return values

    @cached_property
    def _model(self) -> CrossEncoder:
        from sentence_transformers import CrossEncoder

        with loading(self.name), quiet():
            model = CrossEncoder(
                self._source.location,
                max_length=self._options.max_tokens,
                trust_remote_code=False,
                local_files_only=self._source.local,
            )
        if model.num_labels != 1:
            raise PluginError(
                f"the model has {model.num_labels} outputs, one is expected",
                place=f"expert {self.name}",
                hint="Name a cross-encoder for retrieval, not one that classifies.",
            )
        return model
