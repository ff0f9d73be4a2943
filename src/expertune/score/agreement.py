"""Measure how far the experts of a panel agree, before anything merges them.

Experts score on different scales, so everything here looks at ranks within a question or at z-scores per
expert. Pairs an expert did not score (NaN) are left out of what needs all experts. This module does not
know what an expert is, nor which of two disagreeing ones is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expertune.records import Agreement, FloatArray, Scores
from expertune.score.standard import standardised

MOST_PAIRS = 4_000_000
"""Question x document pairs looked at; with more documents, fewer questions are sampled."""

RATED_PAIRS = 200_000
"""Pairs behind alpha and ICC; their sampling error is far below the two digits anybody reads."""

NAMED = 20
"""How many of the most disagreed-on questions are named."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _OfQuestion:
    """What one question adds: each NaN where its complete documents or varying experts are too few."""

    kendall_w: float
    spearman: Floats
    jaccard: Floats
    disagreement: float


def agreement(scores: Scores, top: int = 10, most_questions: int = 2000, seed: int = 0) -> Agreement:
    """Measure the agreement of all experts over (a seeded sample of) the questions.

    Args:
        scores: `[Q, D, K]`, NaN where not scored; infinite values count as not scored.
        top: How many best documents `jaccard` and `disagreement` look at.
        most_questions: Questions beyond this many are sampled.
        seed: Seed of the samples, and of the order of documents an expert scores equal.
    """
    generator = np.random.default_rng(seed)
    total, documents, experts = scores.values.shape
    count = min(total, most_questions, max(20, MOST_PAIRS // max(1, documents)))
    chosen = np.sort(generator.choice(total, count, replace=False)) if count < total else np.arange(total)
    values = scores.values[chosen]
    # An expert that scored nothing here must not empty what needs the scores of all experts.
    usable = np.flatnonzero(np.isfinite(values).any(axis=(0, 1)))
    found = [_of_question(_finite(question[:, usable]), top, generator) for question in values]
    spread = np.array([item.disagreement for item in found])
    ratings = _ratings(values, generator)
    varying = ratings[:, ~np.isnan(ratings).all(axis=0)]
    known = np.flatnonzero(~np.isnan(spread))
    worst = known[np.argsort(-spread[known], kind="stable")][:NAMED]
    return Agreement(
        experts=scores.experts,
        alpha=krippendorff_alpha(ratings),
        kendall_w=float(_mean(np.array([item.kendall_w for item in found]))),
        icc=icc2k(varying[~np.isnan(varying).any(axis=1)]),
        spearman=_matrix([item.spearman for item in found], usable, experts),
        jaccard=_matrix([item.jaccard for item in found], usable, experts),
        questions=tuple(int(index) for index in chosen),
        disagreement=spread,
        most_disagreed=tuple(int(chosen[index]) for index in worst),
        top=top,
    )


def krippendorff_alpha(ratings: Floats) -> float:
    """Return Krippendorff's alpha at interval level of ratings `[n, K]`, NaN where missing.

    1 - observed / expected disagreement, each a mean squared difference of two ratings: of one unit
    (weighted by 1 / (ratings - 1)), and of any two ratings (Krippendorff 2011). For squared differences
    both have a closed form; the usual table of coincidences grows with the square of the distinct values,
    and scores are all distinct. NaN where it is not defined: no variation, or no unit with two ratings.
    """
    counts = (~np.isnan(ratings)).sum(axis=1)
    pairable, counts = ratings[counts >= 2], counts[counts >= 2]
    total = int(counts.sum())
    if not total or np.nanmin(pairable) == np.nanmax(pairable):
        return float("nan")
    filled = np.where(np.isnan(pairable), 0.0, pairable - np.nanmean(pairable))
    sums, squares = filled.sum(axis=1), np.sum(filled**2, axis=1)
    observed = np.sum((counts * squares - sums**2) / (counts - 1)) / total
    expected = (total * squares.sum() - sums.sum() ** 2) / (total * (total - 1))
    return float(1.0 - observed / expected)


def icc2k(ratings: Floats) -> float:
    """Return ICC(2,k) of complete ratings `[n, K]`: (MSR - MSE) / (MSR + (MSC - MSE) / n), at most 1.

    NaN for fewer than two rows or raters, or where nothing varies.
    """
    if ratings.ndim != 2 or min(ratings.shape) < 2:
        return float("nan")
    rows, raters = ratings.shape
    grand = ratings.mean()
    of_rows, of_raters = ratings.mean(axis=1), ratings.mean(axis=0)
    between_rows = raters * np.sum((of_rows - grand) ** 2) / (rows - 1)
    between_raters = rows * np.sum((of_raters - grand) ** 2) / (raters - 1)
    rest = ratings - of_rows[:, None] - of_raters[None, :] + grand
    error = np.sum(rest**2) / ((rows - 1) * (raters - 1))
    whole = between_rows + (between_raters - error) / rows
    return float((between_rows - error) / whole) if whole > 0 else float("nan")


def kendall_w(ranks: Floats) -> float:
    """Return Kendall's W in [0, 1] of average ranks `[n, K]` (rank 1 is best), corrected for ties.

    NaN for fewer than two documents or raters, or where every rater ties everything.
    """
    if min(ranks.shape) < 2:
        return float("nan")
    count, raters = ranks.shape
    sums = ranks.sum(axis=1)
    # With n numbers tied to their average rank, the squared ranks lose what Kendall's tie correction takes
    # off.
    largest = raters * float(np.sum((ranks - (count + 1) / 2) ** 2))
    return float(np.sum((sums - sums.mean()) ** 2) / largest) if largest > 0 else float("nan")


def _of_question(values: Floats, top: int, generator: np.random.Generator) -> _OfQuestion:
    """Look at one question's scores `[D, K]`, NaN where not scored."""
    from scipy.stats import rankdata

    complete = values[~np.isnan(values).any(axis=1)]
    ranks = rankdata(-complete, axis=0) if len(complete) else np.zeros(complete.shape)
    best = _best(values, top, generator)
    sizes = best.sum(axis=0)
    shared = best.T.astype(np.float64) @ best
    union = sizes[:, None] + sizes[None, :] - shared
    shown = best[~np.isnan(values).any(axis=1)].any(axis=1)
    enough = len(complete) >= 2 and values.shape[1] >= 2 and shown.any()
    return _OfQuestion(
        kendall_w=kendall_w(ranks),
        spearman=_correlations(ranks),
        jaccard=np.divide(shared, union, out=np.full(shared.shape, np.nan), where=union > 0),
        disagreement=float(ranks[shown].std(axis=1).mean()) if enough else float("nan"),
    )


def _best(values: Floats, top: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Mark each expert's `top` best documents `[D, K]`.

    Equal scores are ordered at random and separately per expert: a shared order would look like agreement of
    experts that both know nothing about the documents.
    """
    keys = np.where(np.isnan(values), np.inf, -values)
    order = np.lexsort((generator.random(values.shape), keys), axis=0)[:top]
    marked = np.zeros(values.shape, dtype=bool)
    np.put_along_axis(marked, order, True, axis=0)
    return marked & ~np.isnan(values)


def _correlations(ranks: Floats) -> Floats:
    """Return the correlation matrix `[K, K]` of rank columns; NaN for experts that rank everything alike."""
    centred = ranks - ranks.mean(axis=0) if len(ranks) else ranks
    lengths = np.linalg.norm(centred, axis=0)
    scale = np.outer(lengths, lengths)
    found = np.divide(centred.T @ centred, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    clipped: Floats = np.clip(found, -1.0, 1.0)
    return clipped


def _ratings(values: FloatArray, generator: np.random.Generator) -> Floats:
    """Return a sample of pairs as z-scores per expert `[n, K]`; NaN where not scored or constant."""
    flat = values.reshape(-1, values.shape[2])
    if len(flat) > RATED_PAIRS:
        flat = flat[np.sort(generator.choice(len(flat), RATED_PAIRS, replace=False))]
    ratings = standardised(_finite(flat), axis=0)
    ratings[:, ~np.nan_to_num(ratings).any(axis=0)] = np.nan
    return ratings


def _matrix(found: Sequence[Floats], usable: NDArray[np.int64], experts: int) -> Floats:
    """Average matrices of the usable experts and put them into a `[K, K]` matrix of all, NaN elsewhere."""
    whole = np.full((experts, experts), np.nan)
    if found:
        whole[np.ix_(usable, usable)] = _mean(np.stack(found))
    return whole


def _finite(values: FloatArray) -> Floats:
    return np.where(np.isfinite(values), values, np.nan).astype(np.float64)


def _mean(values: Floats) -> Floats:
    """Average over the first axis, leaving NaN out; NaN (and no warning) where nothing is left."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    mean: Floats = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
    return mean
