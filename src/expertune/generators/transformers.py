"""Write questions with any causal language model: a GGUF file, a folder, or a hub id where a network is allowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from expertune import plugins
from expertune.augment import Request
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.generators import base, prompts
from expertune.generators.decoding import Writer, Written
from expertune.generators.template import slips
from expertune.models import ModelSource

_PLUG_IN = "transformers"
_VERSION = 1
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")


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
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
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
        recipe = prompts.recipe_for(request)
        sentences = _SENTENCE_END.split(written.text)
        if not written.ended and not recipe.fragment:
            # Cut off in the middle: only what came before is whole.
            sentences = sentences[:-1]
        text = " ".join(sentences[: recipe.sentences]).rstrip(" ,;:")
        if written.support < self._options.support or prompts.echoes(text, request):
            return ""
        return slips(text, seed) if request.kind == "typo" else text

    @cached_property
    def _writer(self) -> Writer:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from expertune.generators.conversion import quiet, unpacked

        place = self._source.location
        if place.endswith(".gguf") and Path(place).is_file():
            place = str(unpacked(Path(place), self._source.fingerprint))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=self._source.local)
                model: Any = AutoModelForCausalLM.from_pretrained(
                    place,
                    local_files_only=self._source.local,
                    dtype=_dtype(self._options.dtype, device),
                    trust_remote_code=False,
                )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelUnavailableError(
                f"not a causal language model that transformers can load ({error})",
                place=self._source.name,
                hint="Name another model under augment.generators.",
            ) from error
        return Writer(model.to(device).eval(), tokenizer, contrast=self._options.contrast, top_p=self._options.top_p)


def _dtype(choice: str, device: str) -> Any:
    """Return the torch type to compute in: half the bytes where the hardware has instructions for it."""
    import torch

    if choice != "auto":
        return getattr(torch, choice)
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if processor_has_bfloat16() else torch.float32


def processor_has_bfloat16(flags: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 matrices natively; without that it is slower than float32."""
    try:
        found = set(flags.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16", "bf16", "svebf16"} & found)
