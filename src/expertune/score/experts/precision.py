"""Decide whether vectors made in bfloat16 rank a user's own texts as those made in float32 do. Knows no model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from expertune.models.cache import ItemCache
from expertune.records import FloatArray

logger = logging.getLogger(__name__)

LEAST = 0.99
"""Least mean rank correlation of the two precisions that counts as the same ranking."""

SAMPLE = 24
"""Questions, and documents, that are looked at."""

# Of each: float32 is slow where bfloat16 is worth a check, and a longer text is not rounded more.
_CHARACTERS = 256


def sample(texts: Sequence[str]) -> list[str]:
    """Return the beginnings of up to `SAMPLE` distinct texts, drawn by their hash: the same ones in any order."""
    return [text[:_CHARACTERS] for text in sorted(set(texts), key=_digest)[:SAMPLE]]


def agreed(
    vectors: Callable[[bool], tuple[FloatArray, FloatArray]],
    questions: Sequence[str],
    documents: Sequence[str],
    *,
    space: str,
    cache: ItemCache,
    who: str,
) -> bool:
    """Return whether bfloat16 may be used for these texts; a decision found in the cache is not made again.

    Args:
        vectors: Gives unit vectors of the questions and of the documents, in bfloat16 if asked with True.
        questions: A sample.
        documents: A sample.
        space: Of the cache.
        cache: Keeps the correlation under a key of the texts.
        who: The expert's name, for the log.
    """
    if len(questions) < 1 or len(documents) < 2:
        return False
    key = hashlib.sha256("".join(map(_digest, (*questions, "", *documents))).encode("ascii")).hexdigest()
    known = cache.read(space, [key])
    if key in known:
        correlation = float(np.frombuffer(known[key], np.float64)[0])
    else:
        exact, rounded = vectors(False), vectors(True)
        correlation = rank_correlation(exact[0] @ exact[1].T, rounded[0] @ rounded[1].T)
        cache.write(space, {key: np.float64(correlation).tobytes()})
    used = correlation >= LEAST
    chosen = "bfloat16" if used else "float32"
    logger.info("%s: computes in %s, rankings in both correlate by %.4f", who, chosen, correlation)
    return used


def rank_correlation(left: FloatArray, right: FloatArray) -> float:
    """Return the mean over rows of Spearman's correlation in [-1, 1]; two rows that tie everything agree.

    Args:
        left: Scores `[Q, D]` in one precision.
        right: The same in the other.
    """
    ranks = [rankdata(scores, axis=1) for scores in (left, right)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    lengths = [np.sqrt((values**2).sum(axis=1)) for values in centred]
    products = (centred[0] * centred[1]).sum(axis=1)
    scale = lengths[0] * lengths[1]
    flat = (lengths[0] == 0) & (lengths[1] == 0)
    return float(np.divide(products, scale, out=flat.astype(np.float64), where=scale > 0).mean())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
