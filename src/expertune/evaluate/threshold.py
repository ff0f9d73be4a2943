"""Tell what score means that an answer is one at all: how many right answers pass, how many wrong ones are refused.

A cut is put where split conformal prediction puts it (Vovk, Gammerman, Shafer 2005; Angelopoulos and Bates,
"A gentle introduction to conformal prediction", 2021): at the k-th smallest score of n right answers, k = floor((n + 1)
(1 - wanted)), a right answer of a new question passes with at least the wanted probability, whatever the scores look
like, if the new question comes from where the held-out ones came from. How far the share that passes may lie from it
with these n questions has a Beta(n + 1 - k, k) distribution; shares of questions that are refused have the interval of
Clopper and Pearson. Questions about one answer stand or fall together, so both are taken at the effective number of
questions (Korn and Graubard, Survey Methodology 24, 1998).

Knows no panel and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from expertune.evaluate.ranking import Encoder, judged_queries, similarities
from expertune.evaluate.statistics import CONFIDENCE
from expertune.records import Cut, JudgedSet, Refusal, Threshold

WANTED = (0.95, 0.9, 0.8)
"""Shares of right answers that are to pass, each with a cut of its own."""

LEFT_OUT = "held-out questions with their answers left out"
IN_LOG = "questions of the log that no answer fits"
JUDGED = "questions judged to have no answer"

Doubles = NDArray[np.float64]


def threshold(
    encoder: Encoder,
    judged_sets: Sequence[JudgedSet],
    unanswered: Sequence[Sequence[str]] = (),
    judged_unanswered: Sequence[str] = (),
) -> Threshold:
    """Return cuts of a model's cosine, by the held-out questions of the domain.

    Refused are questions whose best answer stays below the cut, of three kinds. From a held-out question its right
    answers are left out: hard, as its neighbours stay. Those of a log were found by the panel as far from every
    answer: easy. What people ask lies between: questions of which a person said that no answer fits.

    Args:
        encoder: The model that will be used.
        judged_sets: Held-out sets of the domain, at least one; all have the same documents.
        unanswered: Texts of a log's questions that no answer fits, group by group of one meaning.
        judged_unanswered: Texts of questions that a person found no answer for.

    Raises:
        PluginError: the encoder broke its contract.
    """
    found = [_best(encoder, judged) for judged in judged_sets]
    right, wrong, answers = (np.concatenate(parts) for parts in zip(*found, strict=True))
    others = {LEFT_OUT: (wrong[np.isfinite(wrong)], answers[np.isfinite(wrong)])}
    if unanswered:
        others[IN_LOG] = _best_of_log(encoder, judged_sets[0], unanswered)
    if judged_unanswered:
        others[JUDGED] = _best_of_log(encoder, judged_sets[0], [[text] for text in judged_unanswered])
    cuts = tuple(_cut(wanted, right, answers, others) for wanted in WANTED if _rank(wanted, len(right)))
    return Threshold(len(right), len(np.unique(answers)), cuts, _note(len(right), cuts))


def _best(encoder: Encoder, judged: JudgedSet) -> tuple[Doubles, Doubles, NDArray[np.str_]]:
    """Return for each question its best right answer's cosine, its best other one's, and the name of its answers."""
    texts, relevant = judged_queries(judged)
    column = {document.id: index for index, document in enumerate(judged.documents)}
    rows = []
    for query_id, similarity in zip(texts, similarities(encoder, judged, texts), strict=True):
        right = np.zeros(len(similarity), dtype=np.bool_)
        right[[column[document_id] for document_id in relevant[query_id] if document_id in column]] = True
        if right.any():
            rows.append(
                (similarity[right].max(), similarity[~right].max(initial=-np.inf), "+".join(relevant[query_id]))
            )
    best, others, names = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(best, dtype=np.float64), np.array(others, dtype=np.float64), np.array(names, dtype=np.str_)


def _best_of_log(
    encoder: Encoder, judged: JudgedSet, groups: Sequence[Sequence[str]]
) -> tuple[Doubles, NDArray[np.str_]]:
    """Return the best cosine of each question of a log, and the name of its group."""
    texts = {f"{group} {place}": text for group, some in enumerate(groups) for place, text in enumerate(some)}
    best = [float(row.max()) for row in similarities(encoder, judged, texts)]
    return np.array(best), np.array([name.split(" ")[0] for name in texts])


def _rank(wanted: float, count: int) -> int:
    """Return k of the k-th smallest score, 0 where there are too few: any cut might then refuse too much."""
    return floor((count + 1) * (1 - wanted) + 1e-9)


def _cut(
    wanted: float, right: Doubles, answers: NDArray[np.str_], others: dict[str, tuple[Doubles, NDArray[np.str_]]]
) -> Cut:
    k = _rank(wanted, len(right))
    score = float(np.sort(right)[k - 1])
    passes = right >= score
    shrink = 1 / design_effect(passes, answers)
    level = (1 - CONFIDENCE) / 2
    low, high = (float(stats.beta.ppf(q, (len(right) + 1 - k) * shrink, k * shrink)) for q in (level, 1 - level))
    refused = tuple(_refusal(source, scores < score, names) for source, (scores, names) in others.items())
    return Cut(score, wanted, float(passes.mean()), low, high, refused)


def _refusal(source: str, refused: NDArray[np.bool_], clusters: NDArray[np.str_]) -> Refusal:
    low, high = proportion_interval(refused, clusters)
    return Refusal(source, len(refused), float(refused.mean()), low, high)


def proportion_interval(happened: NDArray[np.bool_], clusters: NDArray[np.str_]) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson of a share, at the effective number of observations."""
    count = len(happened) / design_effect(happened, clusters)
    hits, level = count * float(happened.mean()), (1 - CONFIDENCE) / 2
    low = stats.beta.ppf(level, hits, count - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - level, hits + 1, count - hits) if hits < count else 1.0
    return float(low), float(high)


def design_effect(happened: NDArray[np.bool_], clusters: NDArray[np.str_]) -> float:
    """Return how many times larger the variance of a share is than that of independent observations, 1 or more.

    Where all or none happened it cannot be told: then each cluster counts as one observation.
    """
    names, place = np.unique(clusters, return_inverse=True)
    count, share = len(happened), float(happened.mean())
    if share in (0.0, 1.0):
        return count / len(names)
    if len(names) < 2:
        return float(count)
    sums = np.bincount(place, weights=happened - share)
    variance = len(names) / (len(names) - 1) * float(sums @ sums)
    return max(1.0, variance / (count * share * (1 - share)))


def _note(count: int, cuts: Sequence[Cut]) -> str:
    """Say where the set is too small; "" where it is not."""
    missing = [wanted for wanted in WANTED if wanted not in {cut.wanted for cut in cuts}]
    if not missing:
        return ""
    needed = round(1 / (1 - max(missing))) - 1
    shares = " or ".join(f"{wanted:.0%}".replace("%", " %") for wanted in missing)
    return f"{count} held-out questions are too few for a score that {shares} of right answers pass: it takes {needed}"
