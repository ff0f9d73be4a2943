"""Score by BM25 over words. Needs no model; document frequencies come from the documents it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from expertune.models import ModelSource
from expertune.models.plugins import IndexingExpert, Options, fingerprint, read_options
from expertune.records import FloatArray
from expertune.score.experts.base import refuse_model

_PLUG_IN = "bm25"
_VERSION = 1
# How much repeats of a word count, and how much long documents are held back: those of Anserini's BM25 baselines.
_K1, _B = 0.9, 0.4


class Bm25Options(Options):
    """What a config may set."""

    language: Literal["english", "none"] = Field(
        default="english", description="stemming and stop words; none: words as they are"
    )


class Bm25Expert(IndexingExpert):
    """BM25 (Robertson and Zaragoza 2009) in Lucene's variant, with Porter2 stems and without stop words."""

    def __init__(self, model: ModelSource | None = None, **options: Any) -> None:
        refuse_model(model, plug_in=_PLUG_IN)
        self._options = read_options(Bm25Options, options, plug_in=_PLUG_IN)
        self.name = _PLUG_IN
        self.fingerprint = fingerprint(_PLUG_IN, _VERSION, None, self._options.model_dump())

    def index(self, documents: Sequence[str]) -> Callable[[Sequence[str]], FloatArray]:
        """Count the documents' words, and return what scores questions against them."""
        import bm25s

        tokens = self._words(documents)
        if not any(tokens):
            return lambda questions: np.zeros((len(questions), len(documents)), dtype=np.float32)
        index = bm25s.BM25(method="lucene", k1=_K1, b=_B)
        index.index(tokens, show_progress=False)

        def scored(questions: Sequence[str]) -> FloatArray:
            scores = np.zeros((len(questions), len(documents)), dtype=np.float32)
            for row, words in enumerate(self._words(questions)):
                known = [word for word in words if word in index.vocab_dict]
                if known:
                    scores[row] = index.get_scores(known)
            return scores

        return scored

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        import bm25s
        import Stemmer  # type: ignore[import-not-found]

        english = self._options.language == "english"
        words: list[list[str]] = bm25s.tokenize(
            list(texts),
            stopwords="en" if english else [],
            stemmer=Stemmer.Stemmer("english") if english else None,
            return_ids=False,
            show_progress=False,
        )
        return words
