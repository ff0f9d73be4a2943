"""Let what users opened after a question of a search log speak beside the panel. Knows no files and no models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from expertune.records import Document, FloatArray, Question

MOST_WEIGHT = 0.5
"""What clicks on a question can weigh at most, against the panel: people open what stands first, right or wrong
(Joachims et al., "Evaluating the accuracy of implicit feedback from clicks", TOIS 25(2), 2007), and a log does not tell
where an answer stood."""

CLICKS_FOR_HALF = 10
"""Clicks on a question that bring half of that: a single one weighs 5 %, ten 25 %, a hundred 45 %."""


def with_clicks(
    targets: FloatArray,
    questions: Sequence[Question],
    documents: Sequence[Document],
    active: NDArray[np.bool_],
    columns: NDArray[np.int64] | None = None,
) -> FloatArray:
    """Return targets into which clicks are mixed, by their number: graded labels that never speak alone.

    Clicks on answers that are inactive, or no candidates of the question, do not count.

    Args:
        targets: Distributions `[Q, D]`, or `[Q, C]` over candidates.
        questions: `Q` of them.
        documents: `D` of them.
        active: `[D]`, False for documents that get no mass.
        columns: Candidates `[Q, C]`, ascending; None: all documents.
    """
    place = {document.id: index for index, document in enumerate(documents)}
    mixed = np.array(targets)
    for row in (row for row, question in enumerate(questions) if question.clicks):
        clicks = np.zeros(len(documents), dtype=np.float32)
        for document_id, count in questions[row].clicks:
            clicks[place[document_id]] = count
        counted = clicks * active if columns is None else (clicks * active)[columns[row]]
        if total := float(counted.sum()):
            weight = np.float32(MOST_WEIGHT * total / (total + CLICKS_FOR_HALF))
            mixed[row] = (1 - weight) * mixed[row] + weight * counted / np.float32(total)
    return mixed
