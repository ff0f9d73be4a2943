"""Score with an encoder in ONNX whose token vectors are mean-pooled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from expertune.errors import PluginError
from expertune.models import ModelSource
from expertune.models.embed import unit_rows
from expertune.models.plugins import EmbeddingExpert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import read_tokenizer, require_model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PLUG_IN = "onnx"
_VERSION = 1
_BATCH = 32
_DEFAULT_TOKENS = 256


class OnnxOptions(Options):
    """What a config may set."""

    max_tokens: int | None = Field(default=None, ge=1, description="longer texts are cut; default: the catalogue's")


class OnnxExpert(EmbeddingExpert):
    """Embed with a folder that holds `model.onnx` and `tokenizer.json`.

    The first three-dimensional float output is taken as token vectors `[batch, tokens, dimension]`.
    """

    symmetric = True

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        self._source = require_model(model, plug_in=_PLUG_IN)
        given = read_options(OnnxOptions, options, plug_in=_PLUG_IN)
        catalogued = self._source.entry.max_tokens if self._source.entry else 0
        self._max_tokens = given.max_tokens or catalogued or _DEFAULT_TOKENS
        self.name = self._source.name
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, self._source, {"max_tokens": self._max_tokens})

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:  # noqa: ARG002
        """Return float32 `[len(texts), dimension]`, rows of unit length; the role makes no difference."""
        encodings = self._tokenizer.encode_batch(list(texts))
        # Texts of like length share a batch, so that little of it is padding.
        order = sorted(range(len(encodings)), key=lambda index: len(encodings[index].ids))
        vectors: FloatArray | None = None
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            pooled = self._pool([encodings[row].ids for row in rows])
            if vectors is None:
                vectors = np.zeros((len(texts), pooled.shape[1]), dtype=np.float32)
            vectors[rows] = pooled
        return unit_rows(vectors) if vectors is not None else np.zeros((0, 1), dtype=np.float32)

    def _pool(self, batch: list[list[int]]) -> FloatArray:
        """Return the mean of the token vectors of each text, padding left out: `[len(batch), dimension]`."""
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        offered = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {item.name: offered[item.name] for item in self._session.get_inputs() if item.name in offered}
        tokens = self._session.run([self._output], wanted)[0].astype(np.float32)
        weights = mask[:, :, None].astype(np.float32)
        pooled: FloatArray = (tokens * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
        return pooled

    @cached_property
    def _session(self) -> Any:
        import onnxruntime
        import torch

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.inter_op_num_threads = 1
        try:
            return onnxruntime.InferenceSession(
                str(Path(self._source.location) / "model.onnx"), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            raise PluginError(f"model.onnx cannot be loaded ({error})", place=f"expert {self.name}") from error

    @cached_property
    def _output(self) -> str:
        outputs = self._session.get_outputs()
        for output in outputs:
            if len(output.shape) == 3 and output.type in ("tensor(float)", "tensor(float16)"):
                return str(output.name)
        raise PluginError(
            f"none of the outputs {[(output.name, output.shape) for output in outputs]} holds token vectors",
            place=f"expert {self.name}",
            hint="Expected a float output [batch, tokens, dimension].",
        )

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = read_tokenizer(self._source, expert=self.name)
        tokenizer.enable_truncation(max_length=self._max_tokens)
        return tokenizer
