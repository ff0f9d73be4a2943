"""Let a causal language model read prompts in batches; what several begin with is read once. Writes nothing.

Many prompts begin alike: examples that show what is wanted, or one answer asked about in several ways. The model
reads each such beginning once, its memory (the keys and values of the attention) is copied to every prompt that begins
so, and only the rest is read for each. Up to rounding the outcome is the same.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Tokens = list[int]

# How many tokens must agree for prompts to be read as one; the cheapest of these is taken.
_LENGTHS = (16, 32, 64, 128, 256)
# A second step of reading has a price of its own: it must save this share of the tokens.
_WORTH = 0.2


@dataclass(slots=True)
class Reading:
    """What the model remembers of a batch: its cache, which positions `[n, t]` count, the last logits."""

    memory: Any
    mask: Any
    logits: Any

    def select(self, rows: Any) -> None:
        """Keep (or repeat) rows, given by index."""
        self.memory.batch_select_indices(rows)
        self.mask, self.logits = self.mask[rows], self.logits[rows]

    def grow(self, mask: Any = None) -> None:
        """Make room for more tokens: those of a mask `[n, t]`, or one that counts in every row."""
        import torch

        more = self.mask.new_ones((len(self.mask), 1)) if mask is None else mask
        self.mask = torch.cat([self.mask, more], dim=1)


class Reader:
    """A loaded model and its tokenizer, ready to read."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._accepted = set(inspect.signature(model.forward).parameters)
        config = getattr(model, "config", None)
        # Where attention looks back only so far, padding in between would push a beginning out of sight.
        self._sight = getattr(config, "sliding_window", None) or float("inf")

    def read(self, texts: Sequence[str]) -> Reading:
        """Let the model read texts `[n]`; afterwards the logits tell what may follow each."""
        import torch

        rows: list[Tokens] = self._tokenizer(list(texts))["input_ids"]
        beginnings, which, rests = shared(rows)
        if not beginnings or max(map(len, beginnings)) + max(map(len, rests)) > self._sight:
            return self._padded(rows)
        reading = self._padded(beginnings)
        reading.select(torch.tensor(which, device=self._model.device))
        tokens, mask = self._pad(rests)
        reading.grow(mask)
        self.step(reading, tokens)
        return reading

    def step(self, reading: Reading, tokens: Any) -> None:
        """Feed tokens `[n, t]`, for which there is room; the logits `[n, vocabulary]` then tell what may follow."""
        positions = (reading.mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        inputs = {"position_ids": positions, "logits_to_keep": 1}
        output = self._model(
            input_ids=tokens,
            attention_mask=reading.mask,
            past_key_values=reading.memory,
            use_cache=True,
            **{key: value for key, value in inputs.items() if key in self._accepted},
        )
        reading.memory, reading.logits = output.past_key_values, output.logits[:, -1]

    def _padded(self, rows: Sequence[Tokens]) -> Reading:
        tokens, mask = self._pad(rows)
        reading = Reading(None, mask, None)
        self.step(reading, tokens)
        return reading

    def _pad(self, rows: Sequence[Tokens]) -> tuple[Any, Any]:
        """Return ids and mask, int64 `[n, t]`; the shorter rows are padded on the left."""
        import torch

        width = max(map(len, rows))
        padding = [width - len(row) for row in rows]
        filler = self._tokenizer.pad_token_id
        ids = [[filler] * missing + list(row) for missing, row in zip(padding, rows, strict=True)]
        mask = [[0] * missing + [1] * len(row) for missing, row in zip(padding, rows, strict=True)]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def shared(rows: Sequence[Tokens]) -> tuple[list[Tokens], list[int], list[Tokens]]:
    """Return distinct beginnings, which of them each row has, and the rest of each row, at least one token.

    There are none where reading the rows whole is about as cheap: what counts is the tokens read, padding included.
    """
    whole = len(rows) * max(map(len, rows))
    splits = [_split(rows, length) for length in _LENGTHS]
    best = min(splits, key=_cost)
    return best if _cost(best) < (1.0 - _WORTH) * whole else ([], [], [])


def _split(rows: Sequence[Tokens], length: int) -> tuple[list[Tokens], list[int], list[Tokens]]:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[tuple(row[:length])].append(index)
    beginnings: list[Tokens] = []
    which = [0] * len(rows)
    rests: list[Tokens] = [[] for _ in rows]
    for number, members in enumerate(groups.values()):
        # What the first and the last in order have in common, all have.
        low, high = min(rows[index] for index in members), max(rows[index] for index in members)
        differ = (place for place, (left, right) in enumerate(zip(low, high, strict=False)) if left != right)
        cut = min(next(differ, len(low)), min(len(rows[index]) for index in members) - 1)
        beginnings.append(list(rows[members[0]][:cut]))
        for index in members:
            which[index], rests[index] = number, list(rows[index][cut:])
    return beginnings, which, rests


def _cost(split: tuple[list[Tokens], list[int], list[Tokens]]) -> float:
    """Return the tokens that are read, padding included; a beginning of nothing cannot be read."""
    beginnings, _, rests = split
    if not all(beginnings):
        return float("inf")
    return len(beginnings) * max(map(len, beginnings)) + len(rests) * max(map(len, rests))
