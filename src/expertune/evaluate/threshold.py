"""Tell what score means that an answer is one at all: how many right answers pass, how many wrong ones are refused.

A cut is put where split conformal prediction puts it (Vovk, Gammerman, Shafer 2005; Angelopoulos and Bates,
"A gentle introduction to conformal prediction", 2021): at the k-th smallest score of n right answers, k = floor((n + 1)
(1 - wanted)), a right answer of a new question passes with at least the wanted probability, whatever the scores look
like, if the new question comes from where the held-out ones came from. How far the share that passes may lie from it
with these n questions has a Beta(n + 1 - k, k) distribution; shares of questions that are refused have the interval of
Clopper and Pearson. Questions about one answer stand or fall together, so both are taken at the effective number of
questions (Korn and Graubard, Survey Methodology 24, 1998).

Questions that were drawn from a log with unequal chances have weights. Then a question counts as its share of all
weights (Tibshirani, Barber, Candès and Ramdas, "Conformal prediction under covariate shift", 2019), and n is the number
of equally weighted questions that tell as much (Kish 1965). The new question, whose weight nobody knows, counts as one.

Knows no panel and no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from expertune.evaluate.ranking import Encoder, answers_name, judged_queries, similarities
from expertune.evaluate.statistics import CONFIDENCE
from expertune.records import Cut, JudgedSet, Query, Refusal, Threshold

WANTED = (0.95, 0.9, 0.8)
"""Shares of right answers that are to pass, each with a cut of its own."""

LEFT_OUT = "held-out questions with their answers left out"
IN_LOG = "questions of the log that no answer fits"
JUDGED = "questions judged to have no answer"

Doubles = NDArray[np.float64]
Names = NDArray[np.str_]


def threshold(
    encoder: Encoder,
    judged_sets: Sequence[JudgedSet],
    unanswered: Sequence[Sequence[str]] = (),
    judged_unanswered: Sequence[Query] = (),
) -> Threshold:
    """Return cuts of a model's cosine, by the held-out questions of the domain.

    Refused are questions whose best answer stays below the cut, of three kinds. From a held-out question its right
    answers are left out: hard, as its neighbours stay. Those of a log were found by the panel as far from every
    answer: easy. What people ask lies between: questions of which a person said that no answer fits.

    Args:
        encoder: The model that will be used.
        judged_sets: Held-out sets of the domain, at least one; all have the same documents.
        unanswered: Texts of a log's questions that no answer fits, group by group of one meaning.
        judged_unanswered: Questions that a person found no answer for.

    Raises:
        PluginError: the encoder broke its contract.
    """
    found = [_best(encoder, judged) for judged in judged_sets]
    right, wrong = (_joined(parts) for parts in zip(*found, strict=True))
    others = {LEFT_OUT: wrong} if len(wrong.scores) else {}
    if unanswered:
        others[IN_LOG] = _best_of_log(encoder, judged_sets[0], unanswered)
    if judged_unanswered:
        single = _best_of_log(encoder, judged_sets[0], [[query.text] for query in judged_unanswered])
        others[JUDGED] = replace(single, weights=np.array([_weight(query) for query in judged_unanswered]))
    count = effective_number(right.weights)
    cuts = tuple(_cut(wanted, right, others) for wanted in WANTED if _refusable(wanted, count) >= 1)
    return Threshold(len(right.scores), len(np.unique(right.clusters)), cuts, _note(len(right.scores), count, cuts))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Questions of one kind: their scores `[n]`, what each stands or falls with, and how much each counts."""

    scores: Doubles
    clusters: Names
    weights: Doubles


def _joined(parts: Sequence[_Sample]) -> _Sample:
    scores, clusters, weights = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "clusters", "weights")
    )
    return _Sample(scores, clusters, weights)


def _weight(query: Query) -> float:
    return 1.0 if query.weight is None else query.weight


def _best(encoder: Encoder, judged: JudgedSet) -> tuple[_Sample, _Sample]:
    """Return each question with its best right answer's cosine, and with its best other one's, if there is another."""
    texts, relevant = judged_queries(judged)
    column = {document.id: index for index, document in enumerate(judged.documents)}
    weight = {query.id: _weight(query) for query in judged.queries}
    best, others, names, weights = [], [], [], []
    for query_id, similarity in zip(texts, similarities(encoder, judged, texts), strict=True):
        right = np.zeros(len(similarity), dtype=np.bool_)
        right[[column[document_id] for document_id in relevant[query_id] if document_id in column]] = True
        if right.any():
            best.append(similarity[right].max())
            others.append(similarity[~right].max(initial=-np.inf))
            names.append(answers_name(relevant[query_id]))
            weights.append(weight[query_id])
    clusters, counted, wrong = np.array(names, np.str_), np.array(weights, np.float64), np.array(others, np.float64)
    left = np.isfinite(wrong)
    return (
        _Sample(np.array(best, np.float64), clusters, counted),
        _Sample(wrong[left], clusters[left], counted[left]),
    )


def _best_of_log(encoder: Encoder, judged: JudgedSet, groups: Sequence[Sequence[str]]) -> _Sample:
    """Return each question of a log with its best cosine and its group; all count the same."""
    texts = {f"{group} {place}": text for group, some in enumerate(groups) for place, text in enumerate(some)}
    best = [float(row.max()) for row in similarities(encoder, judged, texts)]
    return _Sample(np.array(best), np.array([name.split(" ")[0] for name in texts]), np.ones(len(best)))


def effective_number(weights: Doubles) -> float:
    """Return how many equally weighted questions tell as much as these (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def _refusable(wanted: float, count: float) -> float:
    """Return how many right answers a cut may refuse, of `count` and a new one; below 1 any cut might refuse more."""
    return (count + 1) * (1 - wanted) + 1e-9


def _cut(wanted: float, right: _Sample, others: Mapping[str, _Sample]) -> Cut:
    order, count = np.lexsort((right.weights, right.scores)), effective_number(right.weights)
    so_far = np.cumsum(right.weights[order]) * (count / right.weights.sum())
    place = int(np.argmax(so_far + 1 > _refusable(wanted, count)))
    score = float(right.scores[order[place]])
    k = 1 + float(so_far[place - 1] if place else 0)
    passes = right.scores >= score
    shrink = 1 / design_effect(passes, right.clusters, right.weights)
    level = (1 - CONFIDENCE) / 2
    low, high = (float(stats.beta.ppf(q, (count + 1 - k) * shrink, k * shrink)) for q in (level, 1 - level))
    refused = tuple(_refusal(source, some, score) for source, some in others.items())
    return Cut(score, wanted, _share(passes, right.weights), low, high, refused)


def _refusal(source: str, some: _Sample, score: float) -> Refusal:
    refused = some.scores < score
    low, high = proportion_interval(refused, some.clusters, some.weights)
    return Refusal(source, len(refused), _share(refused, some.weights), low, high)


def _share(happened: NDArray[np.bool_], weights: Doubles) -> float:
    return float(np.average(happened, weights=weights))


def proportion_interval(
    happened: NDArray[np.bool_], clusters: Names, weights: Doubles | None = None
) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson of a share, at the effective number of observations."""
    weights = np.ones(len(happened)) if weights is None else weights
    count = effective_number(weights) / design_effect(happened, clusters, weights)
    hits, level = count * _share(happened, weights), (1 - CONFIDENCE) / 2
    low = stats.beta.ppf(level, hits, count - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - level, hits + 1, count - hits) if hits < count else 1.0
    return float(low), float(high)


def design_effect(happened: NDArray[np.bool_], clusters: Names, weights: Doubles | None = None) -> float:
    """Return how many times larger the variance of a share is than that of independent observations, 1 or more.

    Where weights differ, it is beside independent ones with the same weights. Where all or none happened it cannot be
    told: then each cluster counts as one observation, with the mean of its weights.
    """
    weights = np.ones(len(happened)) if weights is None else weights
    names, place = np.unique(clusters, return_inverse=True)
    count, share = effective_number(weights), _share(happened, weights)
    if share in (0.0, 1.0):
        return count / effective_number(np.bincount(place, weights=weights) / np.bincount(place))
    if len(names) < 2:
        return count
    sums = np.bincount(place, weights=weights * (happened - share))
    variance = len(names) / (len(names) - 1) * float(sums @ sums)
    return max(1.0, variance / (float((weights**2).sum()) * share * (1 - share)))


def _note(count: int, effective: float, cuts: Sequence[Cut]) -> str:
    """Say where the set is too small; "" where it is not."""
    missing = [wanted for wanted in WANTED if wanted not in {cut.wanted for cut in cuts}]
    if not missing:
        return ""
    needed = round(1 / (1 - max(missing))) - 1
    shares = " or ".join(f"{wanted:.0%}".replace("%", " %") for wanted in missing)
    weighted = f", which count as {floor(effective)} by their weights," if floor(effective + 1e-9) < count else ""
    return (
        f"{count} held-out questions{weighted} are too few for a score that {shares} of right answers pass: "
        f"it takes {needed}"
    )
