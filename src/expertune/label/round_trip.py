"""Drop synthetic questions whose answer the panel does not find again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expertune.records import Dataset, Questions, Scores
from expertune.score.standard import standardised


def round_trip(questions: Questions, dataset: Dataset, scores: Scores, *, most_rank: int) -> NDArray[np.bool_]:
    """Return which questions `[Q]` to keep: those whose answer the panel finds again.

    Only a synthetic question may go: one whose answers the panel all ranks lower than `most_rank`. Labelled ones, spans
    and those of a search log, which have no known answer, stay.
    Each expert's scores are standardised over the documents of a question before they are averaged; a pair that no
    expert scored ranks last.
    """
    values = np.asarray(scores.values, dtype=np.float64)
    experts = (~np.isnan(values)).sum(axis=2)
    total = np.nan_to_num(standardised(values, axis=1)).sum(axis=2)
    panel = np.where(experts > 0, total / np.maximum(experts, 1), -np.inf)
    labels = questions.hard_labels(dataset.documents, scores.columns) > 0
    best = np.where(labels, panel, -np.inf).max(axis=1, initial=-np.inf)
    ranks = 1 + (panel > best[:, None]).sum(axis=1)
    synthetic = np.array([question.synthetic for question in questions.items], dtype=np.bool_)
    kept: NDArray[np.bool_] = ~synthetic | ((ranks <= most_rank) & np.isfinite(best))
    return kept
