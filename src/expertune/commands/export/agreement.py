"""How far two encoders rank alike on a held-out set. Knows no form and no file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from expertune.evaluate.ranking import Encoder, judged_queries, rank, similarities
from expertune.evaluate.stage import measure
from expertune.records import JudgedSet

DEPTH = 100
"""Documents of the original's ranking whose order counts for Kendall's tau: nobody reads the tail."""


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """How alike two rankings of one judged set are, as means over its questions.

    `top1` is the share of questions with the same first answer and `top10` the share of the first ten in common, both
    in [0, 1]; `tau` in [-1, 1] is Kendall's tau-b over the original's first `DEPTH` documents. `before` and `after` are
    nDCG@10 in [0, 1] of the original and of the other.
    """

    name: str
    questions: int
    top1: float
    top10: float
    tau: float
    before: float
    after: float


def agreement(original: Encoder, other: Encoder, judged: JudgedSet) -> RankAgreement:
    """Compare two encoders' rankings of one judged set; see `expertune.evaluate.stage.rank` for errors."""
    ours, theirs = rank(original, judged, depth=DEPTH), rank(other, judged, depth=DEPTH)
    texts, _ = judged_queries(judged)
    column = {document.id: index for index, document in enumerate(judged.documents)}
    rows = zip(ours.documents, similarities(original, judged, texts), similarities(other, judged, texts), strict=True)
    taus = []
    for first, left, right in rows:
        columns = [column[document_id] for document_id in first]
        taus.append(_tau(left[columns], right[columns]))
    pairs = list(zip(ours.documents, theirs.documents, strict=True))
    depth = min(10, len(judged.documents))
    return RankAgreement(
        name=judged.name,
        questions=len(pairs),
        top1=float(np.mean([a[0] == b[0] for a, b in pairs])),
        top10=float(np.mean([len({*a[:depth]} & {*b[:depth]}) / depth for a, b in pairs])),
        tau=float(np.mean(taus)),
        before=measure(original, judged, "original").mean("ndcg@10"),
        after=measure(other, judged, "exported").mean("ndcg@10"),
    )


def _tau(left: np.ndarray, right: np.ndarray) -> float:
    """Return tau-b; where one of the two ties everything, 1 if the other does as well and else 0."""
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return float(np.ptp(left) == np.ptp(right))
    return float(kendalltau(left, right).statistic)
