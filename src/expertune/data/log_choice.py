"""Choose which questions of a search log to label where there are too many. Knows no files, no labels and no models."""

from __future__ import annotations

from math import log

import numpy as np

from expertune.data.search_log import SearchLog
from expertune.records import FloatArray

MOST_QUESTIONS = 600
"""How many questions of a log are labelled and trained on: the panel scores each against every answer, and more of them
would crowd out the labelled ones."""

LEFT_OUT = "left out for spread"

POOL = 3_000
"""Of more questions than this, so many are drawn before the base model reads any: it reads a few hundred a second."""

NOT_DRAWN = "not drawn"


def pool(searches: SearchLog, most: int = POOL, *, seed: int = 0) -> SearchLog:
    """Keep at most `most` questions: one half the most frequent, the other drawn by lot from the rest."""
    number = len(searches.questions)
    if number <= most:
        return searches
    first = most // 2
    drawn = np.random.default_rng(seed).choice(np.arange(first, number), most - first, replace=False)
    left = np.ones(number, dtype=np.bool_)
    left[:first] = left[drawn] = False
    return searches.without(left.tolist(), NOT_DRAWN)


def choose(searches: SearchLog, vectors: FloatArray, most: int = MOST_QUESTIONS, *, seed: int = 0) -> SearchLog:
    """Keep at most `most` questions, spread over what users ask and leaning to what they ask often.

    Draws as k-means++ does (Arthur and Vassilvitskii, 2007): each next question with a probability that grows with its
    squared distance to the nearest one chosen, times `1 + log(count)`. The same for the same log, vectors and seed.

    Args:
        searches: Cleaned questions, some thousands at most.
        vectors: `[len(questions), dimension]`, in the order of the questions.
        most: How many may stay, 1 or more.
        seed: Of the draw.
    """
    number = len(searches.questions)
    if len(vectors) != number:
        raise ValueError(f"expected one vector a question ({number}), not {len(vectors)}")
    if number <= most:
        return searches
    from sklearn.cluster import kmeans_plusplus  # takes a second, and small logs do without

    weights = np.array([1.0 + log(question.count) for question in searches.questions])
    _, drawn = kmeans_plusplus(vectors, most, sample_weight=weights, random_state=seed)
    # Equal vectors are drawn twice once nothing else is left; the most frequent others take their seats.
    kept = set(list(dict.fromkeys([*drawn.tolist(), *range(number)]))[:most])
    return searches.without([at not in kept for at in range(number)], LEFT_OUT)
