"""Score by latent semantic analysis of the documents themselves. Needs no model and no download."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from expertune.models import ModelSource
from expertune.models.embed import unit_rows
from expertune.models.plugins import IndexingExpert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import refuse_model

_PLUG_IN = "latent"
_VERSION = 1
_NEGLIGIBLE = 1e-5
# Most latent dimensions; on a small corpus there are fewer directions than that.
_DIMENSIONS = 128


class LatentExpert(IndexingExpert):
    """Cosine after projecting TF-IDF vectors of words onto the documents' leading singular vectors.

    Deerwester et al. 1990. Words that occur together in documents count as alike, even where a pair of texts
    shares none.
    """

    def __init__(self, model: ModelSource | None = None, **options: Any) -> None:
        refuse_model(model, plug_in=_PLUG_IN)
        read_options(Options, options, plug_in=_PLUG_IN)
        self.name = _PLUG_IN
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, None, {})

    def index(self, documents: Sequence[str]) -> Callable[[Sequence[str]], FloatArray]:
        """Find the documents' leading singular vectors, and return what scores questions by them."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.utils.extmath import randomized_svd

        vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
        if not any(map(vectorizer.build_analyzer(), documents)):
            return lambda questions: np.zeros((len(questions), len(documents)), dtype=np.float32)
        words = vectorizer.fit_transform(documents)
        _, strengths, directions = randomized_svd(words, min(_DIMENSIONS, *words.shape), random_state=0)
        # Directions without strength are arbitrary: no document has a part in them, a question might.
        basis = directions[strengths > _NEGLIGIBLE * strengths[0]].T
        right = unit_rows(np.asarray(words @ basis, dtype=np.float32)).T

        def scored(questions: Sequence[str]) -> FloatArray:
            if not questions:
                return np.zeros((0, len(documents)), dtype=np.float32)
            left = np.asarray(vectorizer.transform(questions) @ basis, dtype=np.float32)
            scores: FloatArray = np.clip(unit_rows(left) @ right, -1.0, 1.0)
            return scores

        return scored
