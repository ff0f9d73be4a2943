"""Ask how well cosines follow people's judgement of similar meaning: ability beyond retrieval. Ranks no corpus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expertune.config import EvaluateSection
from expertune.evaluate.ranking import Encoder
from expertune.records import ScoredPairs, SimilarityChange

MOST_RESAMPLES = 2000
"""Every resample ranks all pairs anew; beyond so many the interval's ends stand still."""


def similarity_change(pairs: ScoredPairs, base: Encoder, tuned: Encoder, section: EvaluateSection) -> SimilarityChange:
    """Compare two models on scored sentence pairs by Spearman's correlation, with a bootstrap interval over pairs.

    Both sentences of a pair are encoded as questions: that is the side which tuning moves.
    """
    people = np.asarray(pairs.scores)
    before, after = _cosines(base, pairs), _cosines(tuned, pairs)
    generator = np.random.default_rng(section.seed)
    drawn = []
    for _ in range(min(section.resamples, MOST_RESAMPLES)):
        rows = generator.integers(0, len(people), len(people))
        drawn.append(spearman(after[rows], people[rows]) - spearman(before[rows], people[rows]))
    tail = (1 - section.confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
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
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(left), rankdata(right)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    return float(centred[0] @ centred[1] / lengths.prod()) if lengths.all() else float("nan")


def _cosines(encoder: Encoder, pairs: ScoredPairs) -> NDArray[np.float64]:
    left, right = encoder.encode_queries(pairs.left), encoder.encode_queries(pairs.right)
    cosines: NDArray[np.float64] = np.einsum("nd,nd->n", left.astype(np.float64), right.astype(np.float64))
    return cosines
