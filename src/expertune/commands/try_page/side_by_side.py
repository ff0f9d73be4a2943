"""Ask base and tuned model the same question and see what each answers. Knows no network and no page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expertune import config, data
from expertune.config import DataSection
from expertune.errors import DataError, ModelUnavailableError
from expertune.evaluate.ranking import DECIMALS, Encoder
from expertune.models.cache import MemoryCache
from expertune.models.encoder import CachedEncoder, keeps_vectors, sentence_encoder
from expertune.models.folders import RUN_CONFIG, config_beside, named_model
from expertune.records import Document, FloatArray

Rows = NDArray[np.int64]
SHOWN = 5
"""Answers shown of each model."""


@dataclass(frozen=True, slots=True)
class Found:
    """One answer as a model found it: its cosine with the question, and its 1-based rank with either model."""

    document: Document
    score: float
    rank: int
    other_rank: int


@dataclass(frozen=True, slots=True)
class Answers:
    """The first answers of both models to one question, and the tuned model's score that means an answer."""

    question: str
    base: tuple[Found, ...]
    tuned: tuple[Found, ...]
    cut: float = -1.0

    @property
    def agree(self) -> bool:
        """Whether both put the same answer first."""
        return self.base[0].document == self.tuned[0].document


class SideBySide:
    """Base and tuned model over one corpus, whose documents are encoded once, here.

    Args:
        documents: What can be found.
        base: The untouched model.
        tuned: The tuned one.
        section: The data set that the documents come from, where there is one.
        cut: Score of the tuned model from which on an answer counts as one; -1: not known.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        base: Encoder,
        tuned: Encoder,
        section: DataSection | None = None,
        cut: float = -1.0,
    ) -> None:
        self.cut = cut
        self.documents = tuple(documents)
        self.section = section
        self.names = (base.name, tuned.name)
        self._encoders = (base, tuned)
        texts = [document.text for document in self.documents]
        self._vectors = [encoder.encode_documents(texts) for encoder in self._encoders]

    def ask(self, question: str) -> Answers:
        """Rank every document for a question with both models; equal cosines keep the corpus's order."""
        scores = [
            np.round(vectors @ encoder.encode_queries([question])[0], DECIMALS)
            for encoder, vectors in zip(self._encoders, self._vectors, strict=True)
        ]
        orders = [np.argsort(-each, kind="stable") for each in scores]
        ranks = [np.argsort(order) + 1 for order in orders]
        base, tuned = (self._first(orders[i], scores[i], ranks[i], ranks[1 - i]) for i in (0, 1))
        return Answers(question, base, tuned, self.cut)

    def _first(self, order: Rows, scores: FloatArray, ranks: Rows, others: Rows) -> tuple[Found, ...]:
        return tuple(
            Found(self.documents[row], float(scores[row]), int(ranks[row]), int(others[row])) for row in order[:SHOWN]
        )


def side_by_side(subject: str, corpus: Path | None = None, *, base: str | None = None) -> SideBySide:
    """Load a tuned model, its base and a corpus.

    Args:
        subject: A run's folder, or a model's folder, catalogue name or hub id.
        corpus: Folder, Q&A file or BEIR corpus file; None: the answers of the run.
        base: What to set beside it; None: the base that the config beside the model's folder names.

    Raises:
        DataError: the corpus cannot be read, or none is known.
        ModelUnavailableError: a model cannot be found, or no base is known.
    """
    model = named_model(subject)
    tuned = sentence_encoder(model)  # First of all: where it is not there, that is what to say.
    made_with = config_beside(model)
    run = config.read(made_with) if made_with else None
    name = base or (run.train.base if run else "")
    if not name:
        message = f"no base is named, and there is no {RUN_CONFIG} beside the model that would name it"
        raise ModelUnavailableError(message, place=model, hint="Name it, for instance: --base all-minilm-l6-v2")
    if corpus:
        section = DataSection(path=str(corpus))
        documents = data.load_corpus(corpus)
    elif run:
        section = run.data
        documents = data.Files(section).train.documents
    else:
        message = f"no answers are named, and there is no {RUN_CONFIG} beside the model that would name them"
        raise DataError(message, place=model, hint="Name them with --corpus, or name the folder of a run.")
    untouched = sentence_encoder(name)
    shared, cache = keeps_vectors(tuned, untouched), MemoryCache()
    return SideBySide(
        documents,
        CachedEncoder(f"base: {untouched.name}", untouched, cache=cache),
        CachedEncoder(f"tuned: {tuned.name}", tuned, untouched if shared else tuned, cache=cache),
        section,
        _cut(Path(model).absolute().parent / "results.json"),
    )


def _cut(results: Path) -> float:
    """Return the score that 90 % of right answers pass, as the run beside the model measured it, else -1."""
    try:
        cuts = json.loads(results.read_text(encoding="utf-8"))["threshold"]["cuts"]
        return next((float(cut["score"]) for cut in cuts if cut["wanted"] == 0.9), -1.0)
    except (OSError, ValueError, KeyError, TypeError):  # no run, one of an earlier version, or too few questions
        return -1.0
