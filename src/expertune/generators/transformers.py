"""Write questions with any causal language model: a GGUF file, a folder, or a hub id where a network is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from pydantic import Field

from expertune import causal, plugins
from expertune.augment import Request
from expertune.errors import ConfigError
from expertune.generators import base, prompts
from expertune.generators.decoding import Writer, Written
from expertune.models import ModelSource

_PLUG_IN = "transformers"
_VERSION = 1


class TransformersOptions(plugins.Options):
    """What a config may set."""

    batch_size: int = Field(default=64, ge=1, description="questions written at once")
    contrast: float = Field(
        default=0.7, ge=0.0, description="how much to favour what the answer makes likelier; 0: off"
    )
    temperature: float = Field(default=0.5, gt=0.0, description="of attempts beyond the ready-made beginnings")
    top_p: float = Field(default=0.9, gt=0.0, le=1.0, description="share of probability that is sampled from")
    support: float = Field(
        default=0.0, description="drop a text that the answer made less likely than this, in nats a token"
    )
    dtype: causal.Precision = Field(
        default="auto", description="auto: bfloat16 where the processor or GPU computes in it"
    )


class TransformersGenerator:
    """Let a small language model write the questions that a given text answers.

    The model is loaded when the first question is asked for: a run that finds all texts in the cache loads none.
    """

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        if model is None:
            raise ConfigError(
                [f"the plug-in '{_PLUG_IN}' needs a model"], hint='Name one: "smollm2-135m-instruct" or a folder.'
            )
        self._source = model
        self._options = plugins.read_options(TransformersOptions, options, plug_in=_PLUG_IN)
        self.name = model.name
        self.batch_size = self._options.batch_size
        decisive = self._options.model_dump(exclude={"batch_size"})
        decisive["prompts"] = base.number(prompts.RECIPES, prompts.PLACEHOLDER, prompts.FRAME_WORDS)
        self.fingerprint = plugins.fingerprint(_PLUG_IN, _VERSION, model, decisive)

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        """Return one text per request, in order; "" where none is whole or the answer did not support it.

        No random state outside is used or changed.
        """
        seeds = [base.request_seed(request, seed) for request in requests]
        asked = [
            prompts.prompt(request, temperature=self._options.temperature, seed=own)
            for request, own in zip(requests, seeds, strict=True)
        ]
        texts = [""] * len(requests)
        # Texts of like length beside each other: little padding.
        order = sorted(range(len(asked)), key=lambda index: len(asked[index].text))
        for start in range(0, len(order), self.batch_size):
            indices = order[start : start + self.batch_size]
            for index, written in zip(indices, self._writer.write([asked[i] for i in indices]), strict=True):
                texts[index] = self._text(requests[index], written, seeds[index])
        return texts

    def _text(self, request: Request, written: Written, seed: int) -> str:
        if written.support < self._options.support:
            return ""
        return prompts.finished(written.text, request, ended=written.ended, seed=seed)

    @cached_property
    def _writer(self) -> Writer:
        tokenizer, model = causal.load(self._source, dtype=self._options.dtype, place="augment.generators")
        return Writer(model, tokenizer, contrast=self._options.contrast, top_p=self._options.top_p)
