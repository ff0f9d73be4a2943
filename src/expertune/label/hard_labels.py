"""Hard labels of answers: equal answers share them, and they tell which documents can be learned from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expertune.data.wording import same_answer
from expertune.records import Dataset, FloatArray


def led_to(hard: FloatArray, dataset: Dataset, columns: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Return which documents `[D]` some question leads to, by hard labels `[Q, D]`, or `[Q, C]` of candidates."""
    if columns is None:
        return np.asarray(hard.max(axis=0) > 0)
    active = np.zeros(len(dataset.documents), dtype=bool)
    active[columns[hard > 0]] = True
    return active


def share_equal_texts(hard: FloatArray, dataset: Dataset, columns: NDArray[np.int64] | None = None) -> FloatArray:
    """Return hard labels in which a document also counts as an answer when the same answer elsewhere does.

    They are `[Q, D]`, or `[Q, C]` of the candidate documents `columns`.
    """
    first: dict[str, int] = {}
    group = np.array([first.setdefault(same_answer(doc.text), column) for column, doc in enumerate(dataset.documents)])
    if len(first) == len(group):
        return hard
    if columns is not None:
        rows = [np.isin(texts, texts[row > 0]) for texts, row in zip(group[columns], hard, strict=True)]
        return np.array(rows, dtype=np.float32).reshape(hard.shape)
    shared = np.zeros_like(hard)
    np.maximum.at(shared.T, group, hard.T)
    result: FloatArray = shared[:, group]
    return result


def rows_to_one(hard: FloatArray) -> FloatArray:
    """Return each row as a distribution over its answers; a row without one stays 0."""
    total = hard.sum(axis=1, keepdims=True)
    result: FloatArray = np.divide(hard, total, out=np.zeros_like(hard), where=total > 0)
    return result
