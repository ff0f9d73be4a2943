"""Write questions with any causal or seq2seq model: a GGUF file, a folder, or a hub id where a network is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from expertune.augment.generators import base, chat, prompts
from expertune.augment.generators.decoding import Writer, Written
from expertune.augment.generators.instructed import InstructedWriter
from expertune.errors import ConfigError
from expertune.models import ModelSource, language_models, plugins
from expertune.models.plugins import Generator, Request

_PLUG_IN = "transformers"
_VERSION = 1
# What decides about the texts of one kind of prompt only, and what never does.
_OF_FRAMES = {"contrast", "support"}
_OF_CHAT = {"language", "max_tokens"}
_UNDECISIVE = {"batch_size", "prompts"}


class TransformersOptions(plugins.Options):
    """What a config may set."""

    prompts: Literal["auto", "chat", "frames"] = Field(
        default="auto",
        description="chat: instructions; frames: a text to continue; auto: frames, but chat for a seq2seq model",
    )
    language: chat.LanguageChoice = Field(default="auto", description="of the chat instructions")
    max_tokens: int = Field(default=256, ge=1, description="of a chat answer; one that was cut is not used")
    batch_size: int = Field(default=64, ge=1, description="questions written at once")
    contrast: float = Field(
        default=0.7, ge=0.0, description="how much to favour what the answer makes likelier, in frames; 0: off"
    )
    temperature: float = Field(default=0.5, gt=0.0, description="of sampling; frames sample only in late attempts")
    top_p: float = Field(default=0.9, gt=0.0, le=1.0, description="share of probability that is sampled from")
    support: float = Field(
        default=0.0, description="drop what the answer made less likely than this, in nats a token of a frame"
    )
    dtype: language_models.Precision = Field(
        default="auto", description="auto: bfloat16 where the processor or GPU computes in it"
    )


class TransformersGenerator(Generator):
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
        choice = self._options.prompts
        # Not by the chat template, as in llama_cpp: small models follow instructions badly, and continue frames well.
        self._chats = choice == "chat" or (choice == "auto" and language_models.is_seq2seq(model))
        decisive = self._options.model_dump(exclude=_UNDECISIVE | (_OF_FRAMES if self._chats else _OF_CHAT))
        worded = (chat.WORDINGS,) if self._chats else (prompts.RECIPES, prompts.PLACEHOLDER, prompts.FRAME_WORDS)
        decisive["prompts"] = base.number(*worded)
        self.fingerprint = plugins.fingerprint(_PLUG_IN, _VERSION, model, decisive)

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        """Return one text per request, in order; "" where none is whole or the answer did not support it.

        No random state outside is used or changed.
        """
        seeds = [base.request_seed(request, seed) for request in requests]
        if self._chats:
            return self._instructed.write(requests, seeds) if requests else []
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
                texts[index] = self._text(requests[index], written)
        return texts

    def _text(self, request: Request, written: Written) -> str:
        if written.support < self._options.support:
            return ""
        return prompts.finished(written.text, request, ended=written.ended)

    @cached_property
    def _writer(self) -> Writer:
        tokenizer, model = self._load()
        if model.config.is_encoder_decoder:
            raise ConfigError(
                ["a seq2seq model continues no frame, it follows instructions"],
                place=f"generator {self.name}",
                hint='Set prompts = "chat" in its options.',
            )
        return Writer(model, tokenizer, contrast=self._options.contrast, top_p=self._options.top_p)

    @cached_property
    def _instructed(self) -> InstructedWriter:
        tokenizer, model = self._load()
        given = self._options
        return InstructedWriter(
            model,
            tokenizer,
            name=self.name,
            language=chat.fixed(given.language),
            temperature=given.temperature,
            top_p=given.top_p,
            max_tokens=given.max_tokens,
            batch_size=given.batch_size,
        )

    def _load(self) -> tuple[Any, Any]:
        return language_models.load(self._source, dtype=self._options.dtype, place="augment.generators", seq2seq=True)
