"""Measure how far a model's cosines of relevant and irrelevant pairs lie apart."""

from __future__ import annotations

import numpy as np

from expertune.errors import DataError
from expertune.evaluate.ranking import Encoder, judged_queries, similarities
from expertune.records import FloatArray, JudgedSet, Separation

MOST_PAIRS = 2_000_000
"""Irrelevant pairs that a separation looks at; beyond it takes a uniform sample and weights it up."""

BINS = 60


def separation(encoder: Encoder, judged: JudgedSet, model: str, *, seed: int = 0) -> Separation:
    """Measure how far the cosines of relevant and irrelevant (query, document) pairs lie apart.

    Every pair of a judged query and a document counts; pairs nobody judged count as irrelevant. Beyond
    `MOST_PAIRS` irrelevant pairs a uniform sample stands for them, weighted so that `prevalence` and
    `auprc` are still those of all pairs. The histograms' edges span this model's own cosines: what counts
    is the overlap, not the scale.

    Raises:
        DataError: no query has a relevant document in the corpus, or there are no irrelevant pairs.
        PluginError: the encoder broke its contract.
    """
    from scipy.stats import ks_2samp
    from sklearn.metrics import average_precision_score, roc_auc_score

    relevant, irrelevant, pairs = _pair_scores(encoder, judged, np.random.default_rng(seed))
    if not len(relevant) or not len(irrelevant):
        raise DataError("expected relevant and irrelevant pairs of held-out questions and documents", place=judged.name)
    truth = np.repeat([1, 0], [len(relevant), len(irrelevant)])
    scores = np.concatenate([relevant, irrelevant])
    weights = np.repeat([1.0, (pairs - len(relevant)) / len(irrelevant)], [len(relevant), len(irrelevant)])
    low, high = float(scores.min()), float(scores.max())
    edges = np.linspace(low, high if high > low else low + 1e-3, BINS + 1)
    with np.errstate(divide="ignore"):  # what SciPy makes of one pair on each side, for a p that nobody reads
        ks = float(ks_2samp(relevant, irrelevant, method="asymp").statistic)
    near, far = (np.histogram(cosines, bins=edges, density=True)[0] for cosines in (relevant, irrelevant))
    return Separation(
        dataset=judged.dataset,
        split=judged.split,
        model=model,
        auprc=float(average_precision_score(truth, scores, sample_weight=weights)),
        prevalence=len(relevant) / pairs,
        auroc=float(roc_auc_score(truth, scores)),
        ks=ks,
        overlap=float(np.sum(np.minimum(near, far) * np.diff(edges))),
        edges=tuple(edges.tolist()),
        relevant=tuple(near.tolist()),
        irrelevant=tuple(far.tolist()),
    )


def _pair_scores(
    encoder: Encoder, judged: JudgedSet, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray, int]:
    """Return cosines of relevant and of (a sample of) irrelevant pairs, and the number of all pairs."""
    texts, relevant = judged_queries(judged)
    width = len(judged.documents)
    pairs = len(texts) * width
    column = {document.id: index for index, document in enumerate(judged.documents)}
    # Distinct uniform draws; dropping the few repeats is far cheaper than drawing without replacement.
    sample = np.unique(generator.integers(0, pairs, MOST_PAIRS)) if pairs > MOST_PAIRS else None
    near: list[FloatArray] = [np.zeros(0, np.float32)]
    far: list[FloatArray] = [np.zeros(0, np.float32)]
    for row, (query_id, similarity) in enumerate(zip(texts, similarities(encoder, judged, texts), strict=True)):
        mask = np.zeros(width, dtype=bool)
        mask[[column[document_id] for document_id in relevant[query_id] if document_id in column]] = True
        near.append(similarity[mask])
        if sample is None:
            far.append(similarity[~mask])
        else:
            start, stop = np.searchsorted(sample, [row * width, (row + 1) * width])
            drawn = sample[start:stop] - row * width
            far.append(similarity[drawn[~mask[drawn]]])
    return np.concatenate(near), np.concatenate(far), pairs
