"""Let a language model go on from prompts in batches, with the `generate` of transformers. Knows no question.

A small model left to itself writes what is always likely ("What is the best way to ..."). Guidance favours what the
text in the prompt makes more likely than a placeholder does (Sanchez et al. 2023, arXiv 2306.17806), among plausible
tokens (Nguyen et al. 2024, arXiv 2407.01082). Every prompt draws from a seed of its own, so what is written depends on
no other prompt and on no random state outside.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from expertune.models.language_models import quiet
from expertune.models.packing import pack

BATCH_SIZE = 64
"""Prompts gone on from at once, at most."""

GUIDANCE = 1.7
"""1 is none. Without it a third more questions miss their answer (docs/performance.md)."""
# Least probability of a token, relative to the likeliest one.
_MIN_P = 0.1
# Tokens that one is drawn from; all others are far below the least probability.
_CANDIDATES = 32
# Tokens of a batch of prompts, padding included: what the model remembers of them has to fit into memory.
_TOKENS = 16384
# What ends a text that a frame opened; "?" is kept.
_CLOSING = ('"', "\n", "”", "“")
# A run of so many tokens of the prompt, or of what is written, is not written again.
_COPIED_RUN = 4

Tokens = list[int]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to go on from.

    Args:
        tokens: The prompt.
        plain: The same with a placeholder for the text; empty: no guidance.
        seed: Of sampling.
        temperature: Of sampling; 0: always the best token.
        longest: Most tokens to write.
    """

    tokens: Tokens
    plain: Tokens
    seed: int
    temperature: float
    longest: int


class Writer:
    """A loaded model, causal or seq2seq, and its tokenizer, ready to write."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.seq2seq: bool = model.config.is_encoder_decoder
        # Positions are counted from the left, where a causal model goes on at the right.
        tokenizer.padding_side = "right" if self.seq2seq else "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        eos = model.generation_config.eos_token_id
        self._eos = {*(eos if isinstance(eos, list) else [eos]), tokenizer.eos_token_id} - {None}

    @cached_property
    def _closing(self) -> set[int]:
        """Tokens that end a text in a frame; `stop_strings` would search the vocabulary anew for every batch."""
        pieces = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
        return {token for token, piece in enumerate(pieces) if any(sign in piece for sign in (*_CLOSING, "?"))}

    def write(self, prompts: Sequence[Prompt]) -> list[tuple[str, bool]]:
        """Return what follows each prompt, in order, and whether it came to an end by itself.

        Prompts with a plain one are continued up to a question mark, a quote or a line break.
        """
        written = [("", False)] * len(prompts)
        # A batch goes on until its longest text is finished, so texts of like length are written together.
        groups: dict[tuple[bool, int], list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault((bool(prompt.plain), prompt.longest), []).append(index)
        for (guided, _), indices in groups.items():
            for batch in pack([len(prompts[index].tokens) for index in indices], _TOKENS, BATCH_SIZE):
                rows = [indices[place] for place in batch]
                texts = self._batch([prompts[row] for row in rows], guided=guided)
                for row, text in zip(rows, texts, strict=True):
                    written[row] = text
        return written

    def _batch(self, prompts: Sequence[Prompt], *, guided: bool) -> list[tuple[str, bool]]:
        import torch

        inputs = self._padded([prompt.tokens for prompt in prompts])
        longest = max(prompt.longest for prompt in prompts)
        ends = self._eos | self._closing if guided else self._eos
        with quiet(), torch.inference_mode():
            output = self.model.generate(
                **inputs,
                logits_processor=self._processors(prompts, longest, guided=guided),
                max_new_tokens=longest,
                min_length=0,
                forced_eos_token_id=None,
                eos_token_id=sorted(ends) or None,
                no_repeat_ngram_size=_COPIED_RUN if guided else 0,
                pad_token_id=self.tokenizer.pad_token_id,
                # `_Draws` samples; what else the model's own settings say of it would do so twice.
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        tokens = output[:, 1 if self.seq2seq else inputs["input_ids"].shape[1] :].tolist()
        return [self._text(prompt, row, cut=guided) for prompt, row in zip(prompts, tokens, strict=True)]

    def _processors(self, prompts: Sequence[Prompt], longest: int, *, guided: bool) -> list[Any]:
        """Return what changes the scores of the next token: plausible ones only, guidance, and drawing."""
        from transformers.generation import logits_process

        processors: list[Any] = [_plausible]
        if guided:
            plain = self._padded([prompt.plain for prompt in prompts])
            # The scores of every token of the plain prompts would fill the memory; the last one's are enough.
            last_only = "logits_to_keep" in inspect.signature(self.model.forward).parameters
            model = partial(self.model, logits_to_keep=1) if last_only else self.model
            processors.append(
                logits_process.UnbatchedClassifierFreeGuidanceLogitsProcessor(
                    GUIDANCE, model, plain["input_ids"], plain["attention_mask"]
                )
            )
        if any(prompt.temperature for prompt in prompts):
            processors.append(_Draws(prompts, longest))
        return processors

    def _padded(self, rows: Sequence[Tokens]) -> dict[str, Any]:
        padded = self.tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt").to(self.model.device)
        return {"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"]}

    def _text(self, prompt: Prompt, tokens: Tokens, *, cut: bool) -> tuple[str, bool]:
        tokens = tokens[: prompt.longest]
        end = next((place for place, token in enumerate(tokens) if token in self._eos), None)
        ended = end is not None
        decode = partial(self.tokenizer.decode, skip_special_tokens=True)
        if self.seq2seq:
            return decode(tokens[:end]), ended
        # Decoded with what stands before, because some tokenizers drop the space that a text begins with.
        text = decode([*prompt.tokens, *tokens[:end]])[len(decode(prompt.tokens)) :]
        if cut:
            stop = min((text.find(sign) for sign in _CLOSING if sign in text), default=len(text))
            question = text.find("?", 0, stop) + 1
            ended = ended or stop < len(text) or question > 0
            text = text[: question or stop]
        return text, ended


def _plausible(_: Any, scores: Any) -> Any:
    """Leave the tokens above the least probability: as `min_p`, without sorting the vocabulary."""
    return scores.masked_fill(scores < scores.amax(dim=-1, keepdim=True) + math.log(_MIN_P), float("-inf"))


class _Draws:
    """Leave each row the token that its own seed draws (Gumbel-max): a logits processor."""

    def __init__(self, prompts: Sequence[Prompt], longest: int) -> None:
        noise = [
            prompt.temperature * np.random.default_rng(prompt.seed).gumbel(size=(longest, _CANDIDATES))
            for prompt in prompts
        ]
        self._noise = iter(np.stack(noise, axis=1))

    def __call__(self, _: Any, scores: Any) -> Any:
        """Return scores `[n, vocabulary]` that are 0 for the drawn tokens and -inf for all others."""
        import torch

        values, tokens = scores.float().topk(min(_CANDIDATES, scores.shape[-1]), dim=-1)
        noise = torch.from_numpy(next(self._noise)[:, : values.shape[-1]]).to(values)
        drawn = tokens.gather(1, (values + noise).argmax(dim=-1, keepdim=True))
        return torch.full_like(scores, float("-inf")).scatter(1, drawn, 0.0)
