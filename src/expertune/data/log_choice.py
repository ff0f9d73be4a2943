"""Choose which questions of a search log to label where there are too many. Knows no files, no labels and no models."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from expertune.data.search_log import SearchLog
from expertune.data.wording import normalise
from expertune.records import FloatArray

MOST_QUESTIONS = 600
"""How many questions of a log are labelled and trained on: the panel scores each against every answer, and more of them
would crowd out the labelled ones."""

LEFT_OUT = "left out for spread"

# Choosing compares each question with each chosen one; of more than this many, the rarer ones are drawn by lot first.
_POOL = 20_000
_DIMENSION = 64


def choose(
    searches: SearchLog, most: int = MOST_QUESTIONS, vectors: FloatArray | None = None, *, seed: int = 0
) -> SearchLog:
    """Keep at most `most` questions, spread over what users ask and leaning to what they ask often.

    Draws as k-means++ does (Arthur and Vassilvitskii, 2007): each next question with a probability that grows with its
    squared distance to the nearest one chosen, times `1 + log(count)`. The same for the same log, vectors and seed.

    Args:
        searches: Cleaned questions.
        most: How many may stay, 1 or more.
        vectors: `[len(questions), dimension]`, in the order of the questions; None: from character trigrams.
        seed: Of the draw.
    """
    number = len(searches.questions)
    if number <= most:
        return searches
    from sklearn.cluster import kmeans_plusplus  # takes a second, and small logs do without

    if vectors is not None and len(vectors) != number:
        raise ValueError(f"expected one vector a question ({number}), not {len(vectors)}")
    pool = _pool(number, max(_POOL, 2 * most), seed)
    asked = [searches.questions[at] for at in pool]
    points = _trigram_vectors([question.text for question in asked], seed) if vectors is None else vectors[pool]
    weights = np.array([1.0 + log(question.count) for question in asked])
    _, drawn = kmeans_plusplus(points, most, sample_weight=weights, random_state=seed)
    # Equal vectors are drawn twice once nothing else is left; the most frequent others take their seats.
    kept = set(list(dict.fromkeys([*pool[drawn].tolist(), *range(number)]))[:most])
    return searches.without([at not in kept for at in range(number)], LEFT_OUT)


def _pool(number: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return at most `most` positions, ascending: the first half the most frequent questions, the others by lot."""
    if number <= most:
        return np.arange(number)
    first = most // 2
    others = np.random.default_rng(seed).choice(np.arange(first, number), most - first, replace=False)
    return np.concatenate([np.arange(first), np.sort(others)])


def _trigram_vectors(texts: Sequence[str], seed: int) -> FloatArray:
    """Return unit vectors `[len(texts), at most 64]` of character trigrams, weighted by rarity and compressed."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), max_features=20_000, sublinear_tf=True)
    counted = vectorizer.fit_transform([normalise(text) for text in texts])
    if min(counted.shape) <= _DIMENSION:
        return np.asarray(counted.toarray(), dtype=np.float32)
    compressed = TruncatedSVD(_DIMENSION, random_state=seed).fit_transform(counted)
    return np.asarray(normalize(compressed), dtype=np.float32)
