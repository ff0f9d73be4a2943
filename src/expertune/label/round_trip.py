"""Drop synthetic questions whose answer the panel does not find again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expertune.records import Dataset, Questions, Scores
from expertune.score.standard import standardised


def round_trip(questions: Questions, dataset: Dataset, scores: Scores, *, most_rank: int) -> NDArray[np.bool_]:
    """Return which questions `[Q]` to keep: those whose answer the panel finds again.

    Labelled questions stay. Any other one stays if the panel ranks one of its answers `most_rank` or better.
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
    kept: NDArray[np.bool_] = questions.labelled | ((ranks <= most_rank) & np.isfinite(best))
    return kept
