"""Keep held-out questions, and whatever nearly repeats one, out of training. Knows no model and no files.

Two looks at a text: its words give away another order, look-alike letters and typing errors; its vector gives away "How
do I" for "How can I", and "my order was cancelled" for "the order of mine got cancelled".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Protocol, TypeVar

import numpy as np

from expertune.data.wording import likeness, normalise, trigrams
from expertune.errors import DataError
from expertune.records import Dataset, FloatArray, Questions

logger = logging.getLogger(__name__)

WORD_SIMILARITY = 0.9
"""Cosine of character trigrams above which a text is a held-out question again: one typing error, one word more."""

MEANING_SIMILARITY = 0.95
"""How far a pair lies on the way from two unrelated sentences (0) to one and the same (1), to count as a copy.

A plain cosine would not do: some models give 0.8 to sentences that have nothing to do with each other.
"""

RULE = "held-out by meaning"
"""Under this name the synthetic questions that go by their meaning are counted."""

_BLOCK = 512

Encode = Callable[[Sequence[str]], FloatArray]
"""Texts to unit vectors `[len(texts), dimension]`; zero: nothing known."""


class _Text(Protocol):
    @property
    def text(self) -> str: ...


Item = TypeVar("Item", bound=_Text)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The questions that must never be trained on: their wording by their normalised text."""

    wording: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[str]) -> HeldOut:
        """Hold out these questions."""
        return cls({normalise(text): text for text in texts})

    @property
    def texts(self) -> tuple[str, ...]:
        """The questions as people wrote them, in the order of their normalised texts."""
        return tuple(self.wording[key] for key in sorted(self.wording))

    def repeated_by(self, texts: Sequence[str]) -> tuple[bool, ...]:
        """Tell which texts are a held-out question again, or nearly, by their words.

        The same words in any order, with or without spaces and accents, in look-alike letters, or with a typing error.
        """
        if not texts or not self.wording:
            return (False,) * len(texts)
        known = sorted({likeness(text) for text in self.wording})
        unspaced = {text.replace(" ", "") for text in known}
        looks = [likeness(text) for text in texts]
        return tuple(
            look.replace(" ", "") in unspaced or similarity > WORD_SIMILARITY
            for look, similarity in zip(looks, _most_similar(looks, known), strict=True)
        )

    def meant_by(self, texts: Sequence[str], encode: Encode, *, reference: Sequence[str]) -> tuple[bool, ...]:
        """Tell which texts mean nearly the same as a held-out question.

        Args:
            texts: Questions that may be trained on.
            encode: The base model: what it can hardly tell apart, tuning on the one teaches of the other.
            reference: Sentences of no domain; how near they lie to the held-out questions is where similarity begins.
        """
        if not texts or not self.wording:
            return (False,) * len(texts)
        held_out = encode(self.texts)
        start = float(np.mean(encode(reference) @ held_out.T))
        least = start + MEANING_SIMILARITY * (1.0 - start)
        nearest = ((block @ held_out.T).max(axis=1) for block in _blocks(encode(texts)))
        return tuple(copy for block in nearest for copy in (block >= least).tolist())

    def drop(self, items: Sequence[Item]) -> tuple[tuple[Item, ...], int]:
        """Return the items whose `text` repeats no held-out question by its words, and how many do."""
        return _split(items, self.repeated_by([item.text for item in items]))

    def apart(self, dataset: Dataset) -> Dataset:
        """Return the data set without the questions that nearly repeat a held-out one; see `without`."""
        copies = self.repeated_by([question.text for question in dataset.questions])
        return without(dataset, copies, "nearly repeat a held-out one")


def without(dataset: Dataset, copies: Sequence[bool], why: str = "mean nearly the same as a held-out one") -> Dataset:
    """Return the data set without the questions that are copies, by position, and say how many went and why.

    Raises:
        DataError: fewer than two are left.
    """
    questions, count = _split(dataset.questions, copies)
    if count:
        logger.warning("%d training question(s) %s: they are left out", count, why)
    if len(questions) < 2:
        message = f"{count} of {len(dataset.questions)} training questions {why}, 2 must not"
        raise DataError(message, place=dataset.name, hint="Hold out other questions, or add question-answer pairs.")
    return replace(dataset, questions=questions)


def counted_out(questions: Questions, copies: Sequence[bool]) -> Questions:
    """Return the questions without the copies, by position, which are counted under a rule of their own."""
    items, count = _split(questions.items, copies)
    return replace(questions, items=items, removed={**questions.removed, RULE: count})


def _split(items: Sequence[Item], copies: Sequence[bool]) -> tuple[tuple[Item, ...], int]:
    return tuple(compress(items, (not copy for copy in copies))), sum(copies)


def _most_similar(texts: Sequence[str], others: Sequence[str]) -> list[float]:
    """Return for every text the largest cosine of character trigrams to any of the others, in [0, 1]."""
    right = trigrams(others).T
    blocks = (trigrams(texts[first : first + _BLOCK]) @ right for first in range(0, len(texts), _BLOCK))
    return [float(value) for block in blocks for value in block.max(axis=1).toarray().ravel()]


def _blocks(vectors: FloatArray) -> Iterator[FloatArray]:
    return (vectors[first : first + _BLOCK] for first in range(0, len(vectors), _BLOCK))
