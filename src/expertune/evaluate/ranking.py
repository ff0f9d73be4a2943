"""Rank a corpus for held-out questions, exactly and by cosine. Knows no metric; of models, only vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from expertune.errors import DataError, PluginError
from expertune.models.embed import Encoder as Encoder
from expertune.records import Document, FloatArray, JudgedSet

DECIMALS = 6
"""Cosines are compared at this many decimals: float32 encoders reproduce them to about 1e-7 only, so an order
below that would be the noise of one machine and would hide that two answers are the same text."""

BLOCK_BYTES = 64 << 20
"""Similarities held at a time: a few queries against the whole corpus, never the full matrix."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents per query, best first.

    `scores` `[n, depth]` are cosines (or what else was ranked by) aligned with `documents`; a judged query without a
    text has no documents and NaN scores. `first[i]` is the rank (1-based) of the first relevant document in the ranking
    of the whole corpus, one more than the corpus has documents where none is in it.
    """

    query_ids: tuple[str, ...]
    documents: tuple[tuple[str, ...], ...]
    scores: FloatArray
    first: tuple[int, ...]

    @property
    def ties(self) -> int:
        """How many queries have equal scores among their first ten."""
        head = self.scores[:, :10]
        return int(np.any(head[:, 1:] == head[:, :-1], axis=1).sum())


def rank(encoder: Encoder, judged: JudgedSet, *, depth: int = 100) -> Ranking:
    """Rank the whole corpus exactly, by cosine, for every query with a relevant document.

    Equal cosines are ordered by a hash of the document id, so neither corpus order nor the spelling of an
    id wins.

    Raises:
        DataError: no query has a relevant document, or the corpus is empty.
        PluginError: the encoder returned a wrong shape, NaN or rows that are not of unit length.
    """
    texts, _ = judged_queries(judged)
    return rank_scores(similarities(encoder, judged, texts), judged, depth=depth)


def rank_scores(rows: Iterable[FloatArray], judged: JudgedSet, *, depth: int = 100) -> Ranking:
    """Rank the corpus by scores of any kind, higher is better: one row `[D]` for each query of `judged_queries`.

    Raises:
        DataError: as `rank` does.
    """
    texts, relevant = judged_queries(judged)
    depth = min(depth, len(judged.documents))
    column = {document.id: index for index, document in enumerate(judged.documents)}
    turn = neutral_order(judged.documents)
    documents: dict[str, tuple[str, ...]] = {}
    scores = np.full((len(relevant), depth), np.nan, dtype=np.float32)
    first = [len(judged.documents) + 1] * len(relevant)
    for row, (query_id, similarity) in enumerate(zip(texts, rows, strict=True)):
        best = _best(similarity, turn, depth)
        documents[query_id] = tuple(judged.documents[index].id for index in best)
        scores[row] = similarity[best]
        columns = [column[document_id] for document_id in relevant[query_id] if document_id in column]
        if columns:
            first[row] = _first_rank(similarity, turn, columns)
    ranked = tuple(documents.get(query_id, ()) for query_id in relevant)
    return Ranking(tuple(relevant), ranked, scores, tuple(first))


def judged_queries(judged: JudgedSet) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return texts by query id, and sorted relevant document ids by query id, of queries that have any.

    Both are in the set's order of queries; ids that only the judgements know have no text and come last.
    """
    everyone = dict.fromkeys([*(query.id for query in judged.queries), *sorted(judged.qrels)])
    relevant = {
        query_id: tuple(sorted(doc for doc, grade in judged.qrels.get(query_id, {}).items() if grade >= 1))
        for query_id in everyone
    }
    relevant = {query_id: ids for query_id, ids in relevant.items() if ids}
    if not relevant or not judged.documents:
        raise DataError(
            f"expected documents and judged questions, got {len(judged.documents)} documents and "
            f"{len(relevant)} questions with a relevant one",
            place=judged.name,
            hint="Check that the ids in qrels are those of queries.jsonl and corpus.jsonl.",
        )
    return {query.id: query.text for query in judged.queries if query.id in relevant}, relevant


def answers_name(ids: Iterable[str]) -> str:
    """Return the name of a set of answers, which no other set has: their ids joined by "+", escaped in ids with one."""
    return "+".join(name.replace("\\", r"\\").replace("+", r"\+") for name in ids)


def similarities(encoder: Encoder, judged: JudgedSet, texts: Mapping[str, str]) -> Iterator[FloatArray]:
    """Yield one row of rounded cosines `[D]` per query, computed a block of queries at a time."""
    if not texts:
        return
    documents = _checked(encoder, encoder.encode_documents([document.text for document in judged.documents]))
    queries = _checked(encoder, encoder.encode_queries(list(texts.values())))
    for vectors, expected in ((documents, len(judged.documents)), (queries, len(texts))):
        if vectors.shape != (expected, documents.shape[1]):
            raise PluginError(
                f"expected vectors of shape {(expected, documents.shape[1])}, got {vectors.shape}",
                place=encoder.name,
            )
    step = max(1, BLOCK_BYTES // (4 * len(documents)))
    for start in range(0, len(queries), step):
        yield from np.round(queries[start : start + step] @ documents.T, DECIMALS)


def _checked(encoder: Encoder, vectors: FloatArray) -> FloatArray:
    """Refuse what would silently make every number below meaningless."""
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise PluginError("expected a matrix of finite vectors", place=encoder.name)
    lengths = np.linalg.norm(vectors, axis=1)
    if np.any((np.abs(lengths - 1) > 1e-3) & (lengths > 0)):
        raise PluginError("expected vectors of unit length", place=encoder.name, hint="Normalise them when encoding.")
    return np.asarray(vectors, dtype=np.float32)


def neutral_order(documents: Sequence[Document]) -> NDArray[np.int64]:
    """Return each document's place `[D]` in an order that depends on its id only, and on nothing it means."""
    hashes = [blake2b(document.id.encode(), digest_size=8).digest() for document in documents]
    turn = np.empty(len(documents), dtype=np.int64)
    turn[sorted(range(len(documents)), key=hashes.__getitem__)] = np.arange(len(documents))
    return turn


def _best(similarity: FloatArray, turn: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Return the columns of the `depth` highest similarities, best first, equal ones by their turn."""
    last = np.partition(similarity, len(similarity) - depth)[len(similarity) - depth]
    candidates = np.flatnonzero(similarity >= last)  # All that tie with the last place, so that turn decides.
    order = np.lexsort((turn[candidates], -similarity[candidates]))
    return candidates[order[:depth]]


def _first_rank(similarity: FloatArray, turn: NDArray[np.int64], columns: Sequence[int]) -> int:
    """Return the rank (1-based) of the first of some columns, ties ordered as in `_best`."""
    best = similarity[columns].max()
    earliest = min(turn[index] for index in columns if similarity[index] == best)
    return 1 + int(np.sum(similarity > best) + np.sum(turn[similarity == best] < earliest))
