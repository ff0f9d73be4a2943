"""Texts that tuning must leave where they are, made from the user's own questions: no answer fits them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from expertune.records import Question

TELLING = 0.1
"""A word is telling where questions of at most this share of the answers hold it, or of a single answer."""

_WORD = re.compile(r"\w+")


def near_misses(questions: Sequence[Question], sentences: Sequence[str], share: float, *, seed: int) -> tuple[str, ...]:
    """Return questions whose telling words are exchanged for words of unrelated sentences, `share` of them and those.

    "Can I return the *pillow*?" becomes "Can I return the *harvest*?": asked as people ask here, about nothing that an
    answer is about. Held in place, they teach a model that wording alone says nothing of the answer, so that questions
    about other things, such as answers that are added later, are not drawn to the answers it was tuned on. A question
    without a telling word is held as it is. Pieces of answers are not used: nobody asks like that.

    Args:
        questions: Those that are tuned on.
        sentences: Unrelated ones, at least in part of the questions' language; words of four letters or more are taken.
        share: In [0, 1), of near misses among near misses and sentences.
        seed: Of the questions and words drawn.
    """
    if not share:
        return ()
    pool = [word for sentence in sentences for word in _WORD.findall(sentence) if len(word) > 3]
    asked = [item for item in questions if not item.span]
    answers: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for item in asked:
        for word in _WORD.findall(item.text):
            answers[word.lower()].add(item.document_ids)
    most = max(1.0, TELLING * len({item.document_ids for item in asked}))
    telling = {word for word, of in answers.items() if len(of) <= most}
    if not telling or not pool:
        return ()
    generator = np.random.default_rng(seed)

    def exchanged(found: re.Match[str]) -> str:
        return pool[generator.integers(len(pool))] if found.group().lower() in telling else found.group()

    drawn = generator.integers(len(asked), size=round(share / (1.0 - share) * len(sentences)))
    return tuple(_WORD.sub(exchanged, asked[row].text) for row in drawn)
