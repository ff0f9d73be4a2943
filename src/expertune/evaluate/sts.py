"""Ask how well cosines follow people's judgement of similar meaning: ability beyond retrieval. Ranks no corpus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expertune.evaluate.ranking import Encoder
from expertune.evaluate.statistics import CONFIDENCE
from expertune.records import ScoredPairs, SimilarityChange

RESAMPLES = 2000
"""Every resample ranks all pairs anew; beyond so many the interval's ends stand still."""


def similarity_change(pairs: ScoredPairs, base: Encoder, tuned: Encoder, *, seed: int = 0) -> SimilarityChange:
    """Compare two models on scored sentence pairs by Spearman's correlation, with a bootstrap interval over pairs.

    Both sentences of a pair are encoded as questions: that is the side which tuning moves.
    """
    people = np.asarray(pairs.scores)
    before, after = _cosines(base, pairs), _cosines(tuned, pairs)
    generator = np.random.default_rng(seed)
    differences = []
    for _ in range(RESAMPLES):
        rows = generator.integers(0, len(people), len(people))
        differences.append(spearman(after[rows], people[rows]) - spearman(before[rows], people[rows]))
    low, high = np.nanquantile(differences, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    first, second = spearman(before, people), spearman(after, people)
    return SimilarityChange(
        dataset=pairs.dataset,
        pairs=len(people),
        base=first,
        tuned=second,
        difference=second - first,
        low=float(low),
        high=float(high),
    )


def spearman(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation of two `[n]`, ties sharing a rank; NaN where one is constant."""
    from scipy.stats import spearmanr

    if not np.ptp(left) or not np.ptp(right):
        return float("nan")
    return float(spearmanr(left, right).statistic)


def _cosines(encoder: Encoder, pairs: ScoredPairs) -> NDArray[np.float64]:
    left, right = encoder.encode_queries(pairs.left), encoder.encode_queries(pairs.right)
    cosines: NDArray[np.float64] = np.einsum("nd,nd->n", left.astype(np.float64), right.astype(np.float64))
    return cosines
