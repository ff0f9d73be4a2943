"""Score with vectors from any server that offers `/v1/embeddings`: TEI, vLLM, Ollama, llama-server, OpenAI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from expertune.models import ModelSource
from expertune.models.embed import unit_rows
from expertune.models.plugins import EmbeddingExpert, fingerprint, read_options
from expertune.models.server import UNDECISIVE, FilteredError, Server, ServerOptions, excerpt, refuse_model
from expertune.records import FloatArray

_PLUG_IN = "openai_compatible"
_VERSION = 1
# Longer texts are cut: many servers refuse them.
_MOST_CHARACTERS = 8000


class EmbeddingOptions(ServerOptions):
    """What a config may set."""

    query_prompt: str = Field(default="", description="put before questions")
    document_prompt: str = Field(default="", description="put before documents")


class OpenAICompatibleExpert(EmbeddingExpert):
    """Embed on a server, one request after the other; each one's vectors are kept before the next is sent."""

    served = True
    chunk = 32  # texts in one request

    def __init__(self, source: ModelSource | None = None, /, **options: Any) -> None:
        refuse_model(source, plug_in=_PLUG_IN)
        self._options = read_options(EmbeddingOptions, options, plug_in=_PLUG_IN)
        self._server = Server(self._options, plug_in=_PLUG_IN)
        self.name = self._options.model
        self.symmetric = self._options.query_prompt == self._options.document_prompt
        decisive = self._options.model_dump(exclude=UNDECISIVE)
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, None, decisive)

    @property
    def used(self) -> str:
        """What it has used so far, in a line; empty as long as nothing was asked."""
        return str(self._server.usage)

    def embed(self, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length.

        Raises:
            ServerError: the server cannot be used, another model answers, or a vector is missing or no vector.
        """
        prompt = self._options.query_prompt if is_query else self._options.document_prompt
        cut = [f"{prompt}{text}"[:_MOST_CHARACTERS] for text in texts]
        parts = [self._vectors(cut[start : start + self.chunk]) for start in range(0, len(cut), self.chunk)]
        return unit_rows(np.concatenate(parts)) if parts else np.zeros((0, 1), dtype=np.float32)

    def _vectors(self, texts: Sequence[str]) -> FloatArray:
        """Return what the server answers to one request, in the order of the texts."""
        try:
            answer = self._server.post("embeddings", {"input": list(texts)})
        except FilteredError as error:
            raise self._server.error(str(error), hint="Remove this expert from score.experts.") from None
        if not self._server.is_asked_model(answer):
            raise self._server.error(
                f"the vectors are those of another model, '{excerpt(answer['model'])}'",
                hint="Ask for the model by the name that the server gives it.",
            )
        rows = self._in_order(answer.get("data"), len(texts))
        try:
            # What is too large becomes infinite, and is refused below.
            with np.errstate(over="ignore"):
                vectors = np.array(rows, dtype=np.float32)
        except (ValueError, TypeError, OverflowError):
            vectors = np.zeros(0, dtype=np.float32)
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise self._server.error("the vectors are not lists of numbers, all of one length", hint=_REPAIR)
        if not np.isfinite(vectors).all():
            raise self._server.error("a vector holds a number that is not finite", hint=_REPAIR)
        return vectors

    def _in_order(self, data: Any, count: int) -> list[Any]:
        """Return the vectors of an answer sorted by the index that stands beside each."""
        rows = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
        if len(rows) != count:
            raise self._server.error(f"{len(rows)} vectors came for {count} texts", hint=_REPAIR)
        by_index = {row["index"]: row.get("embedding") for row in rows if isinstance(row.get("index"), int)}
        if by_index.keys() != set(range(count)):
            raise self._server.error("the vectors are not numbered from 0 on, each once", hint=_REPAIR)
        return [by_index[index] for index in range(count)]


_REPAIR = "Is it a server for embeddings? Remove the expert from score.experts, or name another model."
