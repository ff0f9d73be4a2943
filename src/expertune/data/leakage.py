"""Tell which questions mean the same as a held-out one, by their vectors. Knows no model, no files and no wording.

What the words alone give away is found in `cleaning.near_copies`; here it is "How do I" for "How can I", and "my order
was cancelled" for "the order of mine got cancelled".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from expertune.records import FloatArray, Questions

SIMILARITY = 0.95
"""How far a pair lies on the way from two unrelated sentences (0) to one and the same (1), to count as a copy.

A plain cosine would not do: some models give 0.8 to sentences that have nothing to do with each other.
"""

RULE = "held-out by meaning"

_BLOCK = 512

Encode = Callable[[Sequence[str]], FloatArray]
"""Texts to unit vectors `[len(texts), dimension]`; zero: nothing known."""


def repeats(
    texts: Sequence[str], held_out: Sequence[str], encode: Encode, *, unrelated: Sequence[str]
) -> tuple[bool, ...]:
    """Tell which texts mean nearly the same as some held-out question.

    Args:
        texts: Questions that may be trained on.
        held_out: Questions that may not.
        encode: The base model: what it can hardly tell apart, tuning on the one teaches of the other.
        unrelated: Sentences of no domain; how near they lie to the held-out questions is where similarity begins.
    """
    if not texts or not held_out:
        return (False,) * len(texts)
    secret = encode(held_out)
    start = float(np.mean(encode(unrelated) @ secret.T))
    least = start + SIMILARITY * (1.0 - start)
    vectors, found = encode(texts), []
    for first in range(0, len(texts), _BLOCK):
        nearest = (vectors[first : first + _BLOCK] @ secret.T).max(axis=1)
        found += (nearest >= least).tolist()
    return tuple(found)


def counted_out(questions: Questions, copies: Sequence[bool]) -> Questions:
    """Return the questions without the copies, which are counted under a rule of their own."""
    kept = tuple(item for item, copy in zip(questions.items, copies, strict=True) if not copy)
    return Questions(kept, {**questions.removed, RULE: sum(copies)})
