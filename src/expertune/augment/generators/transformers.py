"""Write questions with any causal or seq2seq model: a GGUF file, a folder, or a hub id where a network is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from expertune.augment.generators import base, chat, frames
from expertune.augment.generators.decoding import BATCH_SIZE, GUIDANCE, Prompt, Writer
from expertune.augment.generators.templates import Instructions
from expertune.errors import ConfigError
from expertune.models import ModelSource, language_models, plugins
from expertune.models.plugins import Generator, Request

_PLUG_IN = "transformers"
_VERSION = 2


class TransformersOptions(plugins.Options):
    """What a config may set."""

    prompts: Literal["auto", "chat", "frames"] = Field(
        default="auto",
        description="chat: instructions; frames: a text to continue; auto: frames, but chat for a seq2seq model",
    )
    language: chat.LanguageChoice = Field(default="auto", description="of the chat instructions")
    temperature: float = Field(default=0.5, gt=0.0, description="of sampling; frames sample only in late attempts")
    max_tokens: int = Field(default=256, ge=1, description="of a chat answer; one that was cut is not used")


class TransformersGenerator(Generator):
    """Let a small language model write the questions that a given text answers.

    The model is loaded when the first question is asked for: a run that finds all texts in the cache loads none.
    """

    batch_size = BATCH_SIZE

    def __init__(self, model: ModelSource | None, **options: Any) -> None:
        if model is None:
            raise ConfigError(
                [f"the plug-in '{_PLUG_IN}' needs a model"], hint='Name one: "smollm2-135m-instruct" or a folder.'
            )
        self._source = model
        self._options = plugins.read_options(TransformersOptions, options, plug_in=_PLUG_IN)
        self.name = model.name
        choice = self._options.prompts
        # Not by the chat template: small models follow instructions badly, and continue frames well.
        self._chats = choice == "chat" or (choice == "auto" and language_models.is_seq2seq(model))
        undecisive = {"prompts"} if self._chats else {"prompts", "language", "max_tokens"}
        decisive = self._options.model_dump(exclude=undecisive)
        decisive["wording"] = base.number(chat.WORDINGS) if self._chats else frames.FINGERPRINT
        decisive["guidance"] = 1.0 if self._chats else GUIDANCE
        self.fingerprint = plugins.fingerprint(_PLUG_IN, _VERSION, model, decisive)

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        """Return one text per request, in order; "" where none is whole.

        No random state outside is used or changed.
        """
        if not requests:
            return []
        return self._chatted(requests, seed) if self._chats else self._continued(requests, seed)

    def _chatted(self, requests: Sequence[Request], seed: int) -> list[str]:
        texts = [""] * len(requests)
        temperature, longest = self._options.temperature, self._options.max_tokens
        prompts = {
            index: Prompt(tokens, [], base.request_seed(request, seed), temperature, longest)
            for index, request in enumerate(requests)
            if (tokens := self._instructions.tokens(request))
        }
        for index, (text, ended) in zip(prompts, self._writer.write(list(prompts.values())), strict=True):
            texts[index] = chat.said(text) if ended else ""
        return texts

    def _continued(self, requests: Sequence[Request], seed: int) -> list[str]:
        writer = self._writer
        if writer.seq2seq:
            raise ConfigError(
                ["a seq2seq model continues no frame, it follows instructions"],
                place=f"generator {self.name}",
                hint='Set prompts = "chat" in its options.',
            )
        filled = [frames.fill(request) for request in requests]
        read = writer.tokenizer([*(item.text for item in filled), *(item.plain for item in filled)])["input_ids"]
        prompts = [
            Prompt(
                tokens,
                plain,
                base.request_seed(request, seed),
                self._options.temperature if item.sampled else 0.0,
                item.longest,
            )
            for request, item, tokens, plain in zip(
                requests, filled, read[: len(filled)], read[len(filled) :], strict=True
            )
        ]
        return [
            frames.finished(f"{item.start}{text}".strip(), request, ended=ended)
            for request, item, (text, ended) in zip(requests, filled, writer.write(prompts), strict=True)
        ]

    @cached_property
    def _writer(self) -> Writer:
        tokenizer, model = language_models.load(self._source, dtype="auto", place="augment.generators", seq2seq=True)
        return Writer(model, tokenizer)

    @cached_property
    def _instructions(self) -> Instructions:
        return Instructions(
            self._writer.model,
            self._writer.tokenizer,
            name=self.name,
            language=chat.fixed(self._options.language),
            max_tokens=self._options.max_tokens,
        )
