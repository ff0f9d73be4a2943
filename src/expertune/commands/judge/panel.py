"""Rank every answer for the questions of a log with base, tuned model and experts. Knows no judgement and no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expertune.config import Config
from expertune.data.expansion import Expansion
from expertune.evaluate.ranking import DECIMALS, neutral_order
from expertune.evaluate.sampling import DEPTH
from expertune.models.cache import ItemCache
from expertune.models.encoder import CachedEncoder, keeps_vectors, sentence_encoder
from expertune.pipeline.alternatives import is_base
from expertune.pipeline.context import read_by_panel
from expertune.records import (
    Dataset,
    Document,
    FloatArray,
    Provenance,
    Question,
    Questions,
    Report,
    Scores,
    ignore_progress,
)
from expertune.score.stage import load_experts, score

Rows = NDArray[np.int64]
_ROWS = 256


@dataclass(frozen=True)
class FirstAnswers:
    """The first answers of every model to every question.

    `tops[model]` are document numbers, best first, `[Q, at most 10]`; the first model is the base, and where there is a
    tuned one it is called "tuned" and comes second. `indexed` are the documents as an index holds them.
    """

    tops: dict[str, Rows]
    base: CachedEncoder
    documents: tuple[Document, ...]
    indexed: tuple[str, ...]

    @property
    def rivals(self) -> tuple[Rows, ...]:
        """What the base is compared with: the tuned model, or the experts as long as there is none."""
        if "tuned" in self.tops:
            return (self.tops["tuned"],)
        others = tuple(top for name, top in self.tops.items() if name != "base")
        return others or (self.tops["base"],)

    def search(self, words: str, most: int) -> list[Document]:
        """Return the answers that hold most of these words and, among equals, lie nearest in meaning to the base."""
        vectors = self.base.encode_documents(self.indexed)
        cosines = vectors @ self.base.encode_queries([words])[0]
        parts = words.casefold().split()
        held = [sum(part in document.text.casefold() for part in parts) for document in self.documents]
        order = np.lexsort((-cosines, -np.array(held)))
        return [self.documents[index] for index in order[:most]]


def first_answers(
    config: Config,
    dataset: Dataset,
    texts: Sequence[str],
    *,
    tuned: Path | None,
    cache: ItemCache,
    report: Report = ignore_progress,
) -> FirstAnswers:
    """Rank with base, tuned model (where there is one) and the experts of a config.

    Vectors are kept in `cache`: a run over the same data takes them from there, and the other way round.

    Raises:
        ModelUnavailableError: a model cannot be found.
    """
    offline = config.run.offline
    turn = neutral_order(dataset.documents)
    base_expert = sentence_encoder(config.train.base, offline=offline)
    base = CachedEncoder("base", base_expert, cache=cache, report=report)
    encoders = {"base": base}
    if tuned is not None:
        model = sentence_encoder(str(tuned))
        documents = base_expert if keeps_vectors(model, base_expert, offline=offline) else model
        encoders["tuned"] = CachedEncoder("tuned", model, documents, cache=cache, report=report)
    expanded = Expansion.of(dataset.questions, config.data.expand).documents(dataset.documents)
    answers = tuple(document.text for document in expanded)
    tops = {name: _of_encoder(encoder, texts, answers, turn) for name, encoder in encoders.items()}
    others = [spec for spec in config.score.experts if not is_base(spec, config)]
    if others:
        read = read_by_panel(config, dataset)
        asked = Questions(tuple(Question(text, (), Provenance.LOG) for text in texts))
        whole = replace(dataset, documents=read.documents(dataset.documents))
        scores = score(whole, asked, load_experts(others, offline=offline), cache=cache, report=report)
        tops |= {name: _of_scores(scores, index, turn) for index, name in enumerate(scores.experts)}
    return FirstAnswers(tops, base, dataset.documents, answers)


def _of_encoder(encoder: CachedEncoder, texts: Sequence[str], answers: Sequence[str], turn: Rows) -> Rows:
    vectors, queries = encoder.encode_documents(answers), encoder.encode_queries(texts)
    blocks = (queries[start : start + _ROWS] @ vectors.T for start in range(0, len(texts), _ROWS))
    return np.concatenate([_first(block, turn) for block in blocks])


def _of_scores(scores: Scores, index: int, turn: Rows) -> Rows:
    """Return the first documents of one expert; where only candidates were scored, the first of these."""
    tops = []
    for start in range(0, len(scores.values), _ROWS):
        block = np.nan_to_num(scores.values[start : start + _ROWS, :, index], nan=-np.inf)
        if scores.columns is None:
            tops.append(_first(block, turn))
        else:
            columns = scores.columns[start : start + _ROWS]
            best = np.argsort(-block, axis=1, kind="stable")[:, :DEPTH]
            tops.append(np.take_along_axis(columns, best, axis=1))
    return np.concatenate(tops)


def _first(values: FloatArray, turn: Rows) -> Rows:
    """Return the first columns of each row `[n, at most 10]`, equal values in the order of `turn`."""
    order = np.argsort(turn)
    best = np.argsort(-np.round(values[:, order], DECIMALS), axis=1, kind="stable")[:, :DEPTH]
    return order[best]
