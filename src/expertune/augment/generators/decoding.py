"""Let a causal language model continue prompts in batches, so that what it writes depends on the given text.

A small model left to itself writes what is always likely ("What is the best way to ..."). So each step asks it
twice, with the text and with a placeholder in its place, and favours what the text makes more likely: context-aware
decoding (Shi et al. 2023, arXiv 2305.14739), kept to plausible tokens as in contrastive decoding (Li et al. 2022,
arXiv 2210.15097). Knows no questions and no answers, only prompts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expertune.augment.generators.reading import Reader, Reading, Tokens

# Tokens looked at in each step; all others are far below the plausibility threshold.
CANDIDATES = 32
# Least probability of a token, relative to the likeliest one.
_PLAUSIBLE = 0.1
# Longest run of tokens that may repeat what was written before.
_REPEAT = 3
# Rows are dropped once this share of them has ended: copying what the model remembers is not free.
_SHRINK = 0.7
_FORBIDDEN = -1e9
_ENDS = ('"', "\n", "”", "“")

Runs = Mapping[tuple[int, ...], set[int]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to continue, and how.

    Args:
        text: The prompt with the text in it.
        plain: The same prompt with a placeholder for the text.
        start: How the continuation has to begin; part of neither `text` nor `plain`.
        source: Text of which no run of `copy` tokens or more may be written.
        copy: Length of a forbidden run, in tokens; 0: copying is allowed.
        shy: How much less likely the tokens of `source` get, in nats; 0: not at all.
        longest: Most tokens to write.
        ends: Characters that end the continuation, besides quotes and line breaks; they are kept.
        temperature: 0: always the best token.
        seed: Of sampling; the same prompt and seed give the same draws in any batch.
    """

    text: str
    plain: str
    start: str = ""
    source: str = ""
    copy: int = 0
    shy: float = 0.0
    longest: int = 28
    ends: str = ""
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A continuation (with its start), whether it came to an end by itself, and how far the text made it likelier.

    `support` is the mean over written tokens of log p(token | text) - log p(token | placeholder), in nats.
    """

    text: str
    ended: bool
    support: float


@dataclass(slots=True)
class _Row:
    """One continuation while it is being written."""

    prompt: Prompt
    source_runs: Runs
    source_tokens: set[int]
    draws: NDArray[np.float64]
    tokens: Tokens
    gain: float = 0.0
    ended: bool = False

    def penalty(self, token: int) -> float:
        """Return what to add to the score of `token` as the next one."""
        prompt, tokens = self.prompt, self.tokens
        if prompt.copy and token in self.source_runs.get(tuple(tokens[len(tokens) - prompt.copy + 1 :]), ()):
            return _FORBIDDEN
        if len(tokens) >= _REPEAT:
            run = (*tokens[1 - _REPEAT :], token)
            if any(tuple(tokens[i : i + _REPEAT]) == run for i in range(len(tokens) - _REPEAT + 1)):
                return _FORBIDDEN
        return -prompt.shy if prompt.shy and token in self.source_tokens else 0.0


class Writer:
    """A loaded model and its tokenizer, ready to continue prompts."""

    def __init__(self, model: Any, tokenizer: Any, *, contrast: float, top_p: float) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._contrast = contrast
        self._top_p = top_p
        tokenizer.padding_side = "left"
        tokenizer.truncation_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._reader = Reader(model, tokenizer)
        self._pieces: list[str] = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        self._final = {token for token, piece in enumerate(self._pieces) if any(end in piece for end in _ENDS)}
        self._final.update(tokenizer.all_special_ids)

    def write(self, prompts: Sequence[Prompt]) -> list[Written]:
        """Continue every prompt of one batch."""
        import torch

        if not prompts:
            return []
        rows = [self._row(prompt) for prompt in prompts]
        with torch.inference_mode():
            self._decode(rows)
        return [self._finish(row) for row in rows]

    # --- preparation --------------------------------------------------------------------------------------------------

    def _row(self, prompt: Prompt) -> _Row:
        # A word has other tokens at the start of a line than inside a sentence: look at both.
        source = self._tokens(prompt.source) if prompt.source else []
        runs: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for start in range(len(source) - prompt.copy + 1) if prompt.copy else ():
            run = source[start : start + prompt.copy]
            runs[tuple(run[:-1])].add(run[-1])
        heavy = {token for token in source if len(self._pieces[token].strip()) > 3}
        draws = np.random.default_rng(prompt.seed).random(prompt.longest)
        return _Row(prompt, runs, heavy, draws, [])

    def _tokens(self, text: str) -> Tokens:
        tokens: Tokens = self._tokenizer(" " + text, add_special_tokens=False)["input_ids"]
        return tokens

    # --- writing ------------------------------------------------------------------------------------------------------

    def _decode(self, rows: Sequence[_Row]) -> None:
        import torch

        device = self._model.device
        plains = list(dict.fromkeys(row.prompt.plain + row.prompt.start for row in rows))
        order = [plains.index(row.prompt.plain + row.prompt.start) for row in rows]
        readings = [self._reader.read([row.prompt.text + row.prompt.start for row in rows])]
        if self._contrast:
            readings.append(self._reader.read(plains))
            readings[1].select(torch.tensor(order, device=device))
        active = list(rows)
        while True:
            chosen = self._choose(active, readings)
            going = [index for index, row in enumerate(active) if not row.ended]
            if not going:
                return
            if len(going) <= _SHRINK * len(active):
                kept = torch.tensor(going, device=device)
                for reading in readings:
                    reading.select(kept)
                active, chosen = [active[index] for index in going], chosen[kept]
            for reading in readings:
                reading.grow()
                self._reader.step(reading, chosen[:, None])

    def _choose(self, rows: Sequence[_Row], readings: Sequence[Reading]) -> Any:
        """Append the next token to every row that goes on; return the tokens `[n]`, also of rows that have ended."""
        import torch

        with_text = readings[0].logits
        values, tokens = with_text.float().topk(min(CANDIDATES, with_text.shape[-1]), dim=-1)
        scores, gains = values, torch.zeros_like(values)
        if self._contrast:
            # Constants of a row do not change the order, so no softmax over the vocabulary is needed for it.
            without = readings[1].logits.float().gather(1, tokens)
            gains = values - without
            scores = values + self._contrast * gains
            # The candidates stand for the whole vocabulary: what is left out is small on both sides.
            gains = gains - (values.logsumexp(-1, keepdim=True) - without.logsumexp(-1, keepdim=True))
        scores = scores.masked_fill(values < values[:, :1] + math.log(_PLAUSIBLE), _FORBIDDEN / 2)
        table = zip(rows, scores.cpu().numpy(), gains.cpu().numpy(), tokens.cpu().numpy(), strict=True)
        chosen = []
        for row, score, gain, candidates in table:
            if row.ended:
                chosen.append(int(candidates[0]))
                continue
            penalties = np.array([row.penalty(int(token)) for token in candidates], dtype=np.float32)
            prompt, chance = row.prompt, row.draws[len(row.tokens)]
            index = pick(score + penalties, chance, temperature=prompt.temperature, top_p=self._top_p)
            token = int(candidates[index])
            row.gain += float(gain[index])
            self._append(row, token)
            chosen.append(token)
        return torch.tensor(chosen, device=with_text.device)

    def _append(self, row: _Row, token: int) -> None:
        row.tokens.append(token)
        piece = self._pieces[token]
        stopped = token in self._final or any(end in piece for end in row.prompt.ends)
        row.ended = stopped or len(row.tokens) >= row.prompt.longest

    def _finish(self, row: _Row) -> Written:
        # Decoded together with what stands before, because some tokenizers drop the space a text begins with.
        opening: Tokens = self._tokenizer(f'"{row.prompt.start}', add_special_tokens=False)["input_ids"]
        text: str = self._tokenizer.decode([*opening, *row.tokens], skip_special_tokens=True).lstrip()[1:]
        last = row.tokens[-1]
        stopped = last in self._final or any(end in self._pieces[last] for end in row.prompt.ends)
        return Written(_before(text, _ENDS), stopped, row.gain / len(row.tokens))


def pick(scores: NDArray[np.float32], chance: float, *, temperature: float, top_p: float) -> int:
    """Return the index of the token to take: the best, or the one that `chance` in [0, 1) draws from the likeliest."""
    if not temperature:
        return int(scores.argmax())
    order = np.argsort(-scores, kind="stable")
    weights = np.exp(((scores[order] - scores[order[0]]) / temperature).astype(np.float64))
    weights /= weights.sum()
    weights[np.cumsum(weights) - weights >= top_p] = 0.0
    total = np.cumsum(weights)
    drawn = np.searchsorted(total, chance * total[-1], side="right")
    return int(order[min(int(drawn), len(order) - 1)])


def _before(text: str, ends: Iterable[str]) -> str:
    """Return the text up to the first of the ends."""
    cut = min((text.find(end) for end in ends if end in text), default=len(text))
    return text[:cut].strip()
