"""Choose the documents that a slow expert looks at for each question, by their words and characters. Needs no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from expertune.score.experts.bm25 import Bm25Expert
from expertune.score.experts.ngrams import NgramExpert

# Of reciprocal rank fusion (Cormack et al. 2009): how little the first ranks differ.
_EVENNESS = 60.0
# Questions scored between two writes to the cache.
_CHUNK_OF_CANDIDATES = 256
_CHUNK_OF_ALL = 16


def chunk(most: int) -> int:
    """Return how many questions to score at once, so that a killed run loses minutes at most."""
    return _CHUNK_OF_CANDIDATES if most else _CHUNK_OF_ALL


def shortlist(questions: Sequence[str], documents: Sequence[str], most: int) -> NDArray[np.bool_]:
    """Return which documents to look at `[Q, D]`: the `most` best of each question, all if `most` is 0.

    Ranks of BM25 and of character n-grams are fused, since each finds what the other misses. A row does not depend on
    the other questions.
    """
    if not most or most >= len(documents):
        return np.ones((len(questions), len(documents)), dtype=np.bool_)
    fused = np.zeros((len(questions), len(documents)))
    for expert in (Bm25Expert(), NgramExpert()):
        if questions:
            fused += 1.0 / (_EVENNESS + rankdata(-expert.score(questions, documents), axis=1, method="average"))
    chosen = np.zeros(fused.shape, dtype=np.bool_)
    np.put_along_axis(chosen, np.argsort(-fused, axis=1, kind="stable")[:, :most], True, axis=1)
    return chosen
