"""Count the floating-point operations that a transformer cannot do without. Knows no implementation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def encoding(config: Any, lengths: Iterable[int]) -> float:
    """Return the operations of encoding texts of these lengths (tokens) with a BERT-like encoder, no padding.

    Per token and layer: four projections of the attention and two of the feed-forward block, two operations for each
    weight; and for every token it looks at, two products of the attention. Norms, softmax and activations, whose
    operations are few (and whose time is not), do not count: this is what a perfect matrix product would have to do.
    """
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    weights = 4 * width * width + 2 * width * inner
    return float(sum(layers * (2 * weights * length + 4 * width * length * length) for length in lengths))


def decoding(config: Any, tokens: float) -> float:
    """Return the operations of a causal language model (gated feed-forward block) over tokens, its attention left out.

    The output layer counts for every token, as it has to for written ones.
    """
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    weights = layers * (2 * width * queries + 2 * width * keys + 3 * width * inner) + width * config.vocab_size
    return 2.0 * weights * tokens


def training(config: Any, lengths: Iterable[int], *, frozen: float = 0.0) -> float:
    """Return the operations of one step over texts: forward, and twice that backward through layers not frozen."""
    return (3.0 - 2.0 * frozen) * encoding(config, lengths)
