"""Let a model that follows instructions answer chat messages in batches, with the plain `generate` of transformers.

A causal model gets them in its own chat template, the encoder of a seq2seq model as one text. Every request draws from
a seed of its own: what is written depends on no other request and on no random state outside. Words no message itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from expertune.augment.generators import chat
from expertune.augment.generators.decoding import CANDIDATES, pick
from expertune.augment.generators.reading import Tokens
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.models.language_models import quiet
from expertune.models.packing import pack
from expertune.models.plugins import Request

# Tokens of a batch of prompts, padding included: what the model remembers of them has to fit into memory.
_TOKENS = 16384
# Some templates tell the model the date; the same request has to read the same tomorrow.
_TODAY = "{%- macro strftime_now(format) -%} 1 January 2025 {%- endmacro %}"


class InstructedWriter:
    """A loaded model and its tokenizer, ready to follow instructions.

    Args:
        model: Causal or seq2seq.
        tokenizer: Its own; that of a causal model has a chat template.
        name: The model's, for errors.
        language: Of the instructions; None: that of each answer.
        temperature: Of sampling, above 0.
        top_p: Share of probability that is sampled from.
        max_tokens: To write; a text that was cut there is not used.
        batch_size: Most requests at once.

    Raises:
        ConfigError: there is no chat template, or no room for a prompt beside `max_tokens`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        language: chat.Language | None,
        temperature: float,
        top_p: float,
        max_tokens: int,
        batch_size: int,
    ) -> None:
        self._model, self._tokenizer, self._name = model, tokenizer, name
        self._language, self._batch_size = language, batch_size
        self._temperature, self._top_p, self._max_tokens = temperature, top_p, max_tokens
        self._seq2seq: bool = model.config.is_encoder_decoder
        if not self._seq2seq and not tokenizer.chat_template:
            raise ConfigError(
                ['prompts = "chat" needs a tokenizer with a chat template, this one has none'],
                place=f"generator {name}",
                hint='Set prompts = "frames", which base models continue, or name an instruct model.',
            )
        self._template = "" if self._seq2seq else _TODAY + tokenizer.get_chat_template()
        # Positions are counted from the left, where a causal model goes on at the right.
        tokenizer.padding_side = "right" if self._seq2seq else "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        own = model.generation_config.eos_token_id
        self._ends = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id} - {None}
        sight = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
        self._room = min(sight, tokenizer.model_max_length) - (0 if self._seq2seq else max_tokens)
        if self._room <= 0:
            raise ConfigError(
                [f"max_tokens = {max_tokens} leaves no room for a prompt: the model reads {self._room + max_tokens}"],
                place=f"generator {name}",
                hint="Lower max_tokens in its options.",
            )

    def write(self, requests: Sequence[Request], seeds: Sequence[int]) -> list[str]:
        """Return one text per request, in order; "" where none is whole, or its prompt has no room."""
        texts = [""] * len(requests)
        with quiet():
            prompts = [self._prompt(request) for request in requests]
            for batch in pack([len(prompt) for prompt in prompts], _TOKENS, self._batch_size):
                asked = [index for index in batch if prompts[index]]
                if asked:
                    written = self._answer([prompts[index] for index in asked], [seeds[index] for index in asked])
                    for index, text in zip(asked, written, strict=True):
                        texts[index] = text
        return texts

    def _prompt(self, request: Request) -> Tokens:
        """Return the tokens of a prompt; the answer in it is shortened until it fits, for what is asked stands last."""
        while len(tokens := self._tokens(chat.messages(request, language=self._language))) > self._room:
            if not request.document:
                return []
            kept = len(request.document) * self._room // len(tokens)
            request = replace(request, document=request.document[:kept])
        return tokens

    def _tokens(self, messages: chat.Messages) -> Tokens:
        from jinja2 import TemplateError

        if self._seq2seq:
            read: Tokens = self._tokenizer(chat.in_one(messages))["input_ids"]
            return read
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

    def _answer(self, prompts: Sequence[Tokens], seeds: Sequence[int]) -> list[str]:
        import torch

        asked = self._tokenizer.pad({"input_ids": list(prompts)}, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            made = self._model.generate(
                input_ids=asked["input_ids"],
                attention_mask=asked["attention_mask"],
                logits_processor=[_Draws(seeds, self._max_tokens, temperature=self._temperature, top_p=self._top_p)],
                max_new_tokens=self._max_tokens,
                min_length=0,
                forced_eos_token_id=None,
                eos_token_id=sorted(self._ends) or None,
                pad_token_id=self._tokenizer.pad_token_id,
                # `_Draws` samples; what else the model's own settings say of it would do so twice.
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        written = made[:, 1 if self._seq2seq else asked["input_ids"].shape[1] :]
        return [self._text(tokens) for tokens in written.tolist()]

    def _text(self, tokens: Tokens) -> str:
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        return "" if end is None else chat.said(self._tokenizer.decode(tokens[:end], skip_special_tokens=True))


class _Draws:
    """Leave each row the one token that its own seed draws: a logits processor, for `generate` draws from one state."""

    def __init__(self, seeds: Sequence[int], longest: int, *, temperature: float, top_p: float) -> None:
        self._chances = iter(np.stack([np.random.default_rng(seed).random(longest) for seed in seeds], axis=1))
        self._temperature, self._top_p = temperature, top_p

    def __call__(self, _: Any, scores: Any) -> Any:
        """Return scores `[n, vocabulary]` that are 0 for the drawn tokens and -inf for all others."""
        import torch

        values, tokens = scores.float().topk(min(CANDIDATES, scores.shape[-1]), dim=-1)
        rows = zip(values.cpu().numpy(), next(self._chances), strict=True)
        drawn = [pick(row, chance, temperature=self._temperature, top_p=self._top_p) for row, chance in rows]
        chosen = tokens.gather(1, torch.tensor(drawn, device=tokens.device)[:, None])
        return torch.full_like(scores, float("-inf")).scatter(1, chosen, 0.0)
