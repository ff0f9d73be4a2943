"""Score by shared character n-grams, which forgive typos and word forms. Needs no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from expertune.models import ModelSource
from expertune.models.plugins import IndexingExpert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import refuse_model

_PLUG_IN = "ngrams"
_VERSION = 1
# Characters of the shortest and of the longest n-gram.
_LENGTHS = (3, 5)
# The product of two sparse matrices is nearly dense here: blocks keep it small.
_ROWS = 256


class NgramExpert(IndexingExpert):
    """Cosine of TF-IDF vectors over character n-grams inside words; frequencies come from the documents."""

    def __init__(self, model: ModelSource | None = None, **options: Any) -> None:
        refuse_model(model, plug_in=_PLUG_IN)
        read_options(Options, options, plug_in=_PLUG_IN)
        self.name = _PLUG_IN
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, None, {})

    def index(self, documents: Sequence[str]) -> Callable[[Sequence[str]], FloatArray]:
        """Count the documents' n-grams, and return what scores questions against them."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not any(text.strip() for text in documents):
            return lambda questions: np.zeros((len(questions), len(documents)), dtype=np.float32)
        vectorizer = TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=_LENGTHS,
            sublinear_tf=True,
            dtype=np.float32,
        )
        right = vectorizer.fit_transform(documents).T.tocsr()

        def scored(questions: Sequence[str]) -> FloatArray:
            scores = np.zeros((len(questions), len(documents)), dtype=np.float32)
            for start in range(0, len(questions), _ROWS):
                left = vectorizer.transform(questions[start : start + _ROWS])
                scores[start : start + _ROWS] = (left @ right).toarray()
            return np.clip(scores, 0.0, 1.0)

        return scored
