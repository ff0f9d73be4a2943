"""Find what users ask and no answer covers: questions of a search log that no answer fits, grouped by meaning.

Knows no files. Whether an answer fits is a matter of how near the panel finds it, not of whether it comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from expertune.records import (
    Dataset,
    Document,
    ExpertQuality,
    FloatArray,
    Question,
    Questions,
    Scores,
    Unanswered,
    UnansweredGroup,
)
from expertune.score.standard import standardised

RIGHT_ANSWERS = 0.1
"""Share of the labelled questions' right answers that may lie below the limit."""

SECOND_ANSWERS = 0.5
"""Share of the log's second-best answers that may lie below the limit."""

LEAST_QUESTIONS = 20
"""Questions of a log from which on the second look counts; the first one counts from 9 labelled questions on."""

SAME_MEANING = 0.4
"""How far two questions of one group lie, on average, on the way from unrelated (0) to equal (1)."""

Rows = NDArray[np.int64]
Doubles = NDArray[np.float64]
Encode = Callable[[Sequence[str]], FloatArray]
"""Texts to unit vectors `[len(texts), dimension]`."""


def find(
    dataset: Dataset,
    questions: Questions,
    scores: Scores,
    panel: Sequence[ExpertQuality],
    encode: Encode,
    *,
    reference: Sequence[str],
) -> Unanswered | None:
    """Return what users ask and no answer fits, grouped by meaning; None where there is no log.

    Args:
        dataset: The documents.
        questions: Rows of the scores.
        scores: See `rows_without_answer`.
        panel: See there.
        encode: The base model, which tells what means the same.
        reference: Sentences of no domain; how near they lie to the questions is where similarity begins.
    """
    log = [question.count for question in questions.items if question.logged]
    if not log:
        return None
    rows, columns = rows_without_answer(dataset, questions, scores, panel)
    asked = [questions.items[row] for row in rows]
    nearest = [dataset.documents[column].id for column in columns]
    groups: tuple[UnansweredGroup, ...] = ()
    if asked:
        vectors = encode([question.text for question in asked])
        groups = grouped(asked, nearest, vectors, float(np.mean(encode(reference) @ vectors.T)))
    return Unanswered(groups, looked_at=len(log), searches=sum(log))


def rows_without_answer(
    dataset: Dataset, questions: Questions, scores: Scores, panel: Sequence[ExpertQuality]
) -> tuple[Rows, Rows]:
    """Return the rows of the log's questions that no answer fits, and the column of the nearest answer of each.

    The panel's similarity of a pair is the mean of the experts' scores, each standardised over all pairs looked at,
    weighted half by the experts' weights and half alike. A question goes without an answer where its best one is less
    similar than two other things, whichever is the lower:

    - what a tenth of the labelled questions' right answers stay below, judged apart from texts that hold the question;
    - what half of the log's *second*-best answers stay below: what people get who are shown the wrong one.

    The second look is needed because people search in fewer words than an FAQ is written in; both are quantiles of
    reference scores, as in conformal tests for outliers (Bates, Candes, Lei, Romano, Sesia, Annals of Statistics 51(1),
    2023), though without their guarantee: neither reference is drawn as the log is.

    Args:
        dataset: The documents.
        questions: Rows of the scores.
        scores: `[Q, D, K]`, or of candidates `[Q, C, K]`; those of labelled questions are of plain answers.
        panel: Quality and weight of each expert, in the order of the scores.
    """
    log, labelled = np.flatnonzero(questions.logged), np.flatnonzero(questions.labelled)
    rank = int((len(labelled) + 1) * RIGHT_ANSWERS)
    nothing: Rows = np.zeros(0, dtype=np.int64)
    if not len(log) or (len(log) < LEAST_QUESTIONS and not rank):
        return nothing, nothing
    similarity = _similarity(scores, np.concatenate([log, labelled]), panel)
    asked = np.where(_first_of_text(dataset.documents, scores, log), similarity[: len(log)], -np.inf)
    best, place = asked.max(axis=1), asked.argmax(axis=1)
    limits = []
    if len(log) >= LEAST_QUESTIONS:
        limits.append(np.quantile(np.partition(asked, -2, axis=1)[:, -2], SECOND_ANSWERS))
    if rank:
        columns = None if scores.columns is None else scores.columns[labelled]
        hard = Questions(tuple(questions.items[row] for row in labelled)).hard_labels(dataset.documents, columns) > 0
        right = np.where(hard, similarity[len(log) :], -np.inf).max(axis=1)
        limits.append(np.sort(right)[rank - 1])
    missed = best < min(limits)
    nearest = place if scores.columns is None else scores.columns[log, place]
    return log[missed], nearest[missed]


def _similarity(scores: Scores, rows: Rows, panel: Sequence[ExpertQuality]) -> Doubles:
    """Return the panel's similarity of some questions `[n, D]` or `[n, C]`; a missing score counts as average."""
    similarity = np.zeros((len(rows), scores.values.shape[1]))
    for index, expert in enumerate(panel):
        standard = standardised(np.asarray(scores.values[rows, :, index]).reshape(-1, 1), axis=0)
        similarity += (expert.weight / 2 + 0.5 / len(panel)) * np.nan_to_num(standard).reshape(similarity.shape)
    return similarity


def _first_of_text(documents: Sequence[Document], scores: Scores, rows: Rows) -> NDArray[np.bool_]:
    """Tell which pairs `[n, D]` or `[n, C]` are of the first document with its text: a copy is no second answer."""
    place: dict[str, int] = {}
    first = np.array([place.setdefault(document.text, index) == index for index, document in enumerate(documents)])
    return np.tile(first, (len(rows), 1)) if scores.columns is None else first[scores.columns[rows]]


def grouped(
    asked: Sequence[Question], nearest: Sequence[str], vectors: FloatArray, unrelated: float
) -> tuple[UnansweredGroup, ...]:
    """Group questions by meaning: agglomerative clustering with average linkage, the most asked group first.

    A group is called by its most central question: the one nearest to all its questions, each as often as it was asked.

    Args:
        asked: The questions.
        nearest: Id of the nearest answer of each.
        vectors: Unit vectors `[len(asked), dimension]`.
        unrelated: Cosine of two questions that have nothing to do with each other.
    """
    similar = np.clip(np.asarray(vectors, dtype=np.float64) @ np.asarray(vectors, dtype=np.float64).T, -1.0, 1.0)
    groups = []
    for rows in _clusters(1.0 - similar, (1.0 - unrelated) * (1.0 - SAME_MEANING)):
        counts = np.array([asked[row].count for row in rows])
        central = max(rows, key=lambda row: (round(float(similar[row, rows] @ counts), 6), asked[row].count))
        members = sorted(rows, key=lambda row: (row != central, -asked[row].count))
        groups.append(
            UnansweredGroup(
                questions=tuple(asked[row].text for row in members),
                counts=tuple(asked[row].count for row in members),
                nearest=tuple(nearest[row] for row in members),
            )
        )
    return tuple(sorted(groups, key=lambda group: -group.count))


def _clusters(distances: Doubles, most: float) -> list[list[int]]:
    """Return the rows of each cluster, in the order of their first rows."""
    if len(distances) < 2:
        return [[row] for row in range(len(distances))]
    from sklearn.cluster import AgglomerativeClustering

    found = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=most)
    names = found.fit_predict(np.maximum(distances, 0.0))
    clusters: dict[int, list[int]] = {}
    for row, name in enumerate(names.tolist()):
        clusters.setdefault(name, []).append(row)
    return list(clusters.values())
