"""Turn requests into tokens for a model that follows instructions: its chat template, or one text for an encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from expertune.augment.generators import chat
from expertune.augment.generators.decoding import Tokens
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.models.plugins import Request

# Some templates tell the model the date; the same request has to read the same tomorrow.
_TODAY = "{%- macro strftime_now(format) -%} 1 January 2025 {%- endmacro %}"


class Instructions:
    """What a model and its tokenizer read of a request.

    Args:
        model: Causal or seq2seq.
        tokenizer: Its own; that of a causal model has a chat template.
        name: The model's, for errors.
        language: Of the instructions; None: that of each answer.
        max_tokens: That will be written.

    Raises:
        ConfigError: there is no chat template, or no room for a prompt beside `max_tokens`.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str, language: chat.Language | None, max_tokens: int
    ) -> None:
        self._tokenizer, self._name, self._language = tokenizer, name, language
        self._seq2seq: bool = model.config.is_encoder_decoder
        if not self._seq2seq and not tokenizer.chat_template:
            raise ConfigError(
                ['prompts = "chat" needs a tokenizer with a chat template, this one has none'],
                place=f"generator {name}",
                hint='Set prompts = "frames", which base models continue, or name an instruct model.',
            )
        self._template = "" if self._seq2seq else _TODAY + tokenizer.get_chat_template()
        context = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
        self._room = min(context, tokenizer.model_max_length) - (0 if self._seq2seq else max_tokens)
        if self._room <= 0:
            raise ConfigError(
                [f"max_tokens = {max_tokens} leaves no room for a prompt: the model reads {self._room + max_tokens}"],
                place=f"generator {name}",
                hint="Lower max_tokens in its options.",
            )

    def tokens(self, request: Request) -> Tokens:
        """Return the prompt; the answer in it is shortened until it fits, for what is asked stands last.

        Empty where even without an answer there is no room.
        """
        while len(tokens := self._read(chat.messages(request, language=self._language))) > self._room:
            if not request.document:
                return []
            kept = len(request.document) * self._room // len(tokens)
            request = replace(request, document=request.document[:kept])
        return tokens

    def _read(self, messages: chat.Messages) -> Tokens:
        from jinja2 import TemplateError

        if self._seq2seq:
            tokens: Tokens = self._tokenizer(chat.in_one(messages))["input_ids"]
            return tokens
        try:
            return self._templated(messages)
        except TemplateError:  # some know no system role
            try:
                return self._templated([{"role": "user", "content": chat.in_one(messages)}])
            except TemplateError as error:
                raise ModelUnavailableError(
                    f"its chat template takes no message of a user ({error})",
                    place=self._name,
                    hint='Set prompts = "frames", or name another model under augment.generators.',
                ) from error

    def _templated(self, messages: chat.Messages) -> Tokens:
        tokens: Tokens = self._tokenizer.apply_chat_template(
            messages,
            chat_template=self._template,
            add_generation_prompt=True,
            return_dict=True,
            # An answer may hold what marks the turns of a chat: there it is text.
            sanitize_control_tokens=True,
            # Thoughts would use up what may be written.
            enable_thinking=False,
        )["input_ids"]
        return tokens
