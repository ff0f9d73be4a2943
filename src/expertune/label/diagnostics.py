"""Look at the labels before anything is tuned on them: do the experts agree, know more than the base, find answers?

Joins agreement and labels for the verdict. It judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from expertune.label.calibrate import calibrate
from expertune.label.hard_labels import share_equal_texts
from expertune.label.weights import folds_by_answer, ndcg, panel_fit
from expertune.models.embed import cosine
from expertune.records import (
    Agreement,
    Dataset,
    ExpertQuality,
    FloatArray,
    PanelDiagnostics,
    PanelFit,
    Question,
    Questions,
    Scores,
    SoftLabels,
)

VERSION = 1
"""Raise when the same labels lead to other diagnostics."""

MOST_TOP = 10

_BLOCK_BYTES = 64 << 20


def panel_evidence(
    dataset: Dataset,
    questions: Questions,
    scores: Scores,
    labels: SoftLabels,
    agreement: Agreement | None,
    *,
    base: str,
    base_vectors: tuple[FloatArray, FloatArray],
    calibration: str = "zscore",
) -> PanelDiagnostics:
    """Gather what is known of the labels.

    Args:
        dataset: The documents.
        questions: Rows of the scores.
        scores: `[Q, D, K]`, or of candidates `[Q, C, K]`.
        labels: Their panel's quality on the labelled questions.
        agreement: Of the same scores; None for a single expert.
        base: Name of the base, which may sit on the panel: there it is no expert that could teach it.
        base_vectors: The base's, of the labelled questions `[labelled, dimension]`, in order, and of the documents
            `[D, dimension]`.
        calibration: How the scores were brought to one scale.
    """
    hard = questions.hard_labels(dataset.documents, scores.columns)
    known = tuple(question for question in questions.items if question.labelled)
    generated = np.array([item.synthetic for item in questions.items], dtype=bool)
    others = [expert for expert in labels.panel if expert.expert != base and not np.isnan(expert.ndcg)]
    best = max(others, key=lambda expert: expert.ndcg, default=ExpertQuality("", float("nan"), 0.0))
    # A tenth of a small corpus: among the first ten of forty an answer stands by chance.
    top = min(MOST_TOP, max(1, len(dataset.documents) // 10))
    ranks = best_ranks(scores.values[generated], hard[generated] > 0)
    return PanelDiagnostics(
        agreement=float("nan") if agreement is None else _off_diagonal_mean(agreement.spearman),
        base=_base_quality(dataset, known, *base_vectors),
        best=best.ndcg,
        best_expert=best.expert,
        untraced=float(np.mean(ranks > top)) if len(ranks) else float("nan"),
        top=top,
        fit=_fit(dataset, questions, scores, calibration),
    )


def _fit(dataset: Dataset, questions: Questions, scores: Scores, calibration: str) -> PanelFit | None:
    """Weigh the panel by the labelled questions as `label` does, and again without each of them."""
    labelled = questions.labelled
    columns = scores.columns
    hard = share_equal_texts(questions.hard_labels(dataset.documents, columns), dataset, columns)
    calibrated = calibrate(scores.values, hard, labelled, method=calibration)[labelled]
    folds = folds_by_answer(hard[labelled], None if columns is None else columns[labelled])
    return panel_fit(calibrated, hard[labelled], folds)


def _base_quality(dataset: Dataset, known: Sequence[Question], left: FloatArray, right: FloatArray) -> float:
    """Return nDCG@10 of the base on labelled questions, some at a time: on a large corpus all cosines would not fit."""
    step = max(1, _BLOCK_BYTES // (4 * len(dataset.documents)))
    total = 0.0
    for start in range(0, len(known), step):
        some = known[start : start + step]
        hard = Questions(tuple(some)).hard_labels(dataset.documents)
        total += ndcg(cosine(left[start : start + step], right), hard) * len(some)
    return total / len(known) if known else float("nan")


def best_ranks(values: FloatArray, right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each question the best rank `[Q]` (1-based) that any expert gives to a right answer.

    Args:
        values: `[Q, D, K]`, NaN where not scored.
        right: `[Q, D]`; a question whose right answers nobody scored gets D + 1.
    """
    best = np.full(len(values), right.shape[1] + 1, dtype=np.int64)
    for expert in range(values.shape[2]):
        scored = np.nan_to_num(values[:, :, expert], nan=-np.inf)
        own = np.where(right, scored, -np.inf).max(axis=1, initial=-np.inf)
        ranks = 1 + (scored > own[:, None]).sum(axis=1)
        best = np.where(np.isfinite(own), np.minimum(best, ranks), best)
    return best


def _off_diagonal_mean(matrix: NDArray[np.float64]) -> float:
    pairs = matrix[np.triu_indices(len(matrix), k=1)]
    known = pairs[~np.isnan(pairs)]
    return float(known.mean()) if len(known) else float("nan")
