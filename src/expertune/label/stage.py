"""Merge the panel's scores and the hard labels into training targets. No torch, no files.

Definitions and origins of every strategy: `docs/design.md`. Hard, soft-1, soft-2, soft-3, median, trimmed and
calibrated give similarities in [0, 1], which become one distribution a question on demand; weighted and anchored
always do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from scipy.optimize import elementwise

from expertune.config import LabelSection
from expertune.records import Dataset, ExpertQuality, FloatArray, Questions, Scores, SoftLabels

Doubles = NDArray[np.float64]

_MERGED_AT_ONCE = 2**22
"""Scores that are weighed together: some tens of megabytes of doubles."""


def label(
    dataset: Dataset, questions: Questions, scores: Scores, section: LabelSection, *, base: str = ""
) -> SoftLabels:
    """Return targets `[Q, D]` for training, or `[Q, C]` where the scores are of candidates.

    Documents that no training question leads to are inactive: they get no mass and never serve as negatives.
    Documents with the same text share their target mass, so that equal answers are not pushed apart.

    Where `base`, the model to tune, sits on the panel and no other expert ranks the user's own questions better, there
    is little to learn from the panel: anchored then halves its share, and a warning says so.
    """
    columns = scores.columns
    hard = share_equal_texts(questions.hard_labels(dataset.documents, columns), dataset, columns)
    active = led_to(hard, dataset, columns)
    offered = active if columns is None else active[columns]
    known = questions.known
    calibrated = calibrate(scores.values, hard, known, method=section.calibration)
    panel, sharpness = weigh(scores.experts, calibrated[known], hard[known], shrinkage=section.shrinkage)
    weights = np.array([expert.weight for expert in panel])
    unbeaten = _unbeaten(panel, base)
    if section.strategy in _SIMILARITIES:
        targets = _SIMILARITIES[section.strategy](_Given(scores.values, calibrated, hard, section))
        if section.form == "distribution":
            targets = (
                _rows_to_one(hard)
                if section.strategy == "hard"
                else _softmax_over(targets / section.temperature, offered, section.perplexity)
            )
    else:
        soft = _softmax_over(_merge(calibrated, weights) * sharpness * section.sharpness, offered, section.perplexity)
        mix = _hard_share(section, known, unbeaten=bool(unbeaten))
        targets = (np.float32(1.0) - mix) * soft + mix * _rows_to_one(hard)
    return SoftLabels(
        strategy=section.strategy,
        targets=targets,
        active=active,
        listwise=section.form == "distribution",
        panel=panel,
        warnings=(*_warnings(scores), *unbeaten),
        columns=columns,
    )


def _hard_share(section: LabelSection, known: NDArray[np.bool_], *, unbeaten: bool) -> FloatArray:
    """Return the share of the hard distribution `[Q, 1]`: a user's own question is certain, a generated one a guess."""
    if section.strategy != "anchored":
        return np.zeros((len(known), 1), dtype=np.float32)
    guessed = (1.0 + section.hard_mix) / 2 if unbeaten else section.hard_mix
    return np.where(known, section.known_mix, guessed).astype(np.float32)[:, None]


def label_rows(
    dataset: Dataset,
    questions: Questions,
    scores: Scores,
    section: LabelSection,
    rows: NDArray[np.int64],
    *,
    base: str = "",
) -> SoftLabels:
    """Return targets `[len(rows), D]` of some questions, learned from these alone."""
    kept = Questions(tuple(questions.items[int(row)] for row in rows))
    return label(dataset, kept, scores.of(rows), section, base=base)


def led_to(hard: FloatArray, dataset: Dataset, columns: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Return which documents `[D]` some question leads to, by hard labels `[Q, D]`, or `[Q, C]` of candidates."""
    if columns is None:
        return np.asarray(hard.max(axis=0) > 0)
    active = np.zeros(len(dataset.documents), dtype=bool)
    active[columns[hard > 0]] = True
    return active


def share_equal_texts(hard: FloatArray, dataset: Dataset, columns: NDArray[np.int64] | None = None) -> FloatArray:
    """Return hard labels in which a document also counts as an answer when an equal text does.

    They are `[Q, D]`, or `[Q, C]` of the candidate documents `columns`.
    """
    first: dict[str, int] = {}
    group = np.array([first.setdefault(doc.text.strip(), column) for column, doc in enumerate(dataset.documents)])
    if len(first) == len(group):
        return hard
    if columns is not None:
        groups = group[columns]
        rows = [np.isin(own, own[answers > 0]) for own, answers in zip(groups, hard, strict=True)]
        return np.array(rows, dtype=np.float32).reshape(hard.shape)
    shared = np.zeros_like(hard)
    np.maximum.at(shared.T, group, hard.T)
    result: FloatArray = shared[:, group]
    return result


# --- calibration -----------------------------------------------------------------------------------------------


def calibrate(values: FloatArray, hard: FloatArray, known: NDArray[np.bool_], *, method: str) -> FloatArray:
    """Bring every expert to one scale, per question where the method is relative.

    Args:
        values: `[Q, D, K]` raw scores, NaN where not scored.
        hard: `[Q, D]` in {0, 1}; only isotonic uses it, and only in rows that are `known`.
        known: `[Q]`, True for the user's own questions.
        method: zscore (per question, unit variance), rank (per question, normal scores), percentile (min-max
            between the 1st and 99th percentile of the expert, then z-score of the expert) or isotonic (log-odds of
            relevance).

    Returns:
        float32 `[Q, D, K]`; a pair that an expert did not score stays NaN. An expert that gives one value to every
        document of a question tells nothing about it: 0.
    """
    calibrated = np.empty(values.shape, dtype=np.float32)
    for k in range(values.shape[2]):
        calibrated[:, :, k] = _CALIBRATIONS[method](values[:, :, k], hard, known)
    return calibrated


def _standardise(values: FloatArray, axis: int | None) -> FloatArray:
    mean = np.nanmean(values, axis=axis, keepdims=True)
    spread = np.nanstd(values, axis=axis, keepdims=True)
    safe = np.where(spread > 1e-9, spread, np.inf)
    result: FloatArray = ((values - mean) / safe).astype(np.float32)
    return result


def _zscore(values: FloatArray, hard: FloatArray, known: NDArray[np.bool_]) -> FloatArray:  # noqa: ARG001
    return _standardise(values, axis=1)


def _rank(values: FloatArray, hard: FloatArray, known: NDArray[np.bool_]) -> FloatArray:  # noqa: ARG001
    ranks = stats.rankdata(values, axis=1, nan_policy="omit")
    scored = np.sum(~np.isnan(values), axis=1, keepdims=True)
    return _standardise(stats.norm.ppf((ranks - 0.5) / np.maximum(scored, 1)).astype(np.float32), axis=1)


def _percentile(values: FloatArray, hard: FloatArray, known: NDArray[np.bool_]) -> FloatArray:  # noqa: ARG001
    low, high = np.nanpercentile(values, [1, 99])
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0)
    return _standardise(scaled, axis=None)


def _isotonic(values: FloatArray, hard: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    from sklearn.isotonic import IsotonicRegression

    standard = _zscore(values, hard, known)
    seen = ~np.isnan(standard[known])
    x, y = standard[known][seen], hard[known][seen]
    if len(np.unique(y)) < 2:
        return standard
    floor = 0.5 / len(y)
    fitted = IsotonicRegression(y_min=floor, y_max=1.0 - floor, out_of_bounds="clip").fit(x, y)
    # A step function ties whole ranges of scores; a little of the z-score keeps the expert's order inside a step.
    odds = special.logit(fitted.predict(np.nan_to_num(standard).ravel())).reshape(standard.shape) + 0.1 * standard
    result: FloatArray = np.where(np.isnan(standard), np.nan, odds).astype(np.float32)
    return _standardise(result, axis=None)


_CALIBRATIONS: dict[str, Callable[[FloatArray, FloatArray, NDArray[np.bool_]], FloatArray]] = {
    "zscore": _zscore,
    "rank": _rank,
    "percentile": _percentile,
    "isotonic": _isotonic,
}


# --- weights ---------------------------------------------------------------------------------------------------


def weigh(
    experts: tuple[str, ...], calibrated: FloatArray, hard: FloatArray, *, shrinkage: float
) -> tuple[tuple[ExpertQuality, ...], float]:
    """Weigh the experts by how well they jointly pick the known answers, shrunk towards uniform.

    A conditional logit: weights w >= 0 minimise the mean cross-entropy of softmax(sum_k w_k z_k) against the known
    answers, plus `shrinkage` times the squared distance to equal weights of the same total. Two near-duplicate experts
    share one weight, and a weak or adversarial one is driven to zero, because both add nothing to the others.

    Args:
        experts: Names, `K` of them.
        calibrated: `[N, D, K]` scores of the known questions.
        hard: `[N, D]` in {0, 1}.
        shrinkage: Pull towards uniform; its effect falls with the number of known questions.

    Returns:
        One `ExpertQuality` an expert (weights sum to 1), and the total of the raw weights: the sharpness at which the
        weighted z-scores are best read as log-odds.
    """
    count = len(experts)
    qualities = [ndcg(calibrated[:, :, k], hard) for k in range(count)]
    usable = hard.sum(axis=1) > 0
    z = np.nan_to_num(calibrated[usable]).astype(np.float64)
    y = _rows_to_one(hard[usable]).astype(np.float64)
    pull = shrinkage * 20.0 / max(len(z), 1)

    def objective(weights: Doubles) -> tuple[float, Doubles]:
        logits = z @ weights
        log_p = special.log_softmax(logits, axis=1)
        spread = weights - weights.mean()
        error = (np.exp(log_p) - y)[:, None, :] @ z
        loss = -float((y * log_p).sum(axis=1).mean()) + pull * float(spread @ spread)
        return loss, error[:, 0, :].mean(axis=0) + 2.0 * pull * spread

    start = np.full(count, 2.0 / count)
    if len(z):
        found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 10.0)] * count)
        raw = np.asarray(found.x)
    else:
        raw = start
    total = float(raw.sum())
    share = raw / total if total > 1e-6 else np.full(count, 1.0 / count)
    panel = tuple(
        ExpertQuality(expert=name, ndcg=quality, weight=float(weight))
        for name, quality, weight in zip(experts, qualities, share, strict=True)
    )
    return panel, max(total, 1.0)


def ndcg(values: FloatArray, hard: FloatArray, depth: int = 10) -> float:
    """Return the mean nDCG at `depth` of one expert over known questions; unscored pairs come last."""
    from sklearn.metrics import ndcg_score

    usable = hard.sum(axis=1) > 0
    if not usable.any() or values.shape[1] < 2:
        return float("nan")
    floor = float(np.nanmin(values)) - 1.0 if np.isfinite(values).any() else 0.0
    return float(ndcg_score(hard[usable], np.nan_to_num(values[usable], nan=floor), k=depth))


# --- merging ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """What a strategy may look at: raw `[Q, D, K]`, calibrated, hard `[Q, D]` and the options."""

    raw: FloatArray
    calibrated: FloatArray
    hard: FloatArray
    section: LabelSection


def _soft1(given: _Given) -> FloatArray:
    return _unit(np.nanmean(given.raw, axis=2))


def _soft2(given: _Given) -> FloatArray:
    mix = np.float32(given.section.soft2_mix)
    return mix * given.hard + (np.float32(1.0) - mix) * _soft1(given)


def _soft3(given: _Given) -> FloatArray:
    return _unit(np.where(given.hard > 0, np.nanmax(given.raw, axis=2), np.nanmin(given.raw, axis=2)))


def _median(given: _Given) -> FloatArray:
    return _unit(np.nanmedian(given.raw, axis=2))


def _trimmed(given: _Given) -> FloatArray:
    """Mean without the lowest and the highest eighth of the experts (at least one each where three or more scored)."""
    share = max(0.125, 1.01 / given.raw.shape[2]) if given.raw.shape[2] > 2 else 0.0
    return _unit(
        np.ma.filled(stats.mstats.trimmed_mean(np.ma.masked_invalid(given.raw), (share, share), axis=2), np.nan)
    )


def _calibrated(given: _Given) -> FloatArray:
    """Mean of the calibrated scores, mapped back to the first embedding range by the normal distribution function."""
    merged = _merge(given.calibrated, np.full(given.calibrated.shape[2], 1.0))
    result: FloatArray = stats.norm.cdf(merged - 2.0).astype(np.float32)
    return result


_SIMILARITIES: dict[str, Callable[[_Given], FloatArray]] = {
    "hard": lambda given: given.hard,
    "soft-1": _soft1,
    "soft-2": _soft2,
    "soft-3": _soft3,
    "median": _median,
    "trimmed": _trimmed,
    "calibrated": _calibrated,
}


def _unit(values: FloatArray) -> FloatArray:
    """Clip to the range of a label, [0, 1]; a pair nobody scored counts as irrelevant."""
    return np.clip(np.nan_to_num(values), 0.0, 1.0).astype(np.float32)


def _merge(calibrated: FloatArray, weights: Doubles) -> FloatArray:
    """Return the weighted mean over experts `[Q, D]`, over those that scored the pair; 0 where none did."""
    questions, documents, experts = calibrated.shape
    result = np.empty((questions, documents), dtype=np.float32)
    # Some questions at a time: weights are doubles, and a whole matrix of them is eight times what is returned.
    step = max(1, _MERGED_AT_ONCE // max(1, documents * experts))
    for start in range(0, questions, step):
        some = calibrated[start : start + step]
        total = np.where(np.isnan(some), 0.0, weights).sum(axis=2)
        merged = np.nansum(some * weights, axis=2)
        result[start : start + step] = np.divide(merged, total, out=np.zeros_like(merged), where=total > 1e-9)
    return result


def _rows_to_one(hard: FloatArray) -> FloatArray:
    total = hard.sum(axis=1, keepdims=True)
    result: FloatArray = np.divide(hard, total, out=np.zeros_like(hard), where=total > 0)
    return result


def _softmax_over(logits: FloatArray, active: NDArray[np.bool_], perplexity: float | None) -> FloatArray:
    """Return row distributions over the active columns, of one perplexity if it is given; exactly 0 elsewhere."""
    masked = np.where(active, logits, -np.inf)
    if perplexity is not None:
        masked = masked * _matching(masked, perplexity)[:, None]
    result: FloatArray = special.softmax(masked, axis=1).astype(np.float32)
    return result


def _matching(logits: FloatArray, perplexity: float) -> FloatArray:
    """Return the factor on each row's logits that gives its softmax a perplexity, `[Q]`; between exp(-9) and exp(9).

    A row that cannot have it (fewer documents, or more that are equally best) gets the end that comes nearest.
    """

    def surplus(log_factor: Doubles, row: NDArray[np.int64]) -> Doubles:
        shares = special.softmax(np.exp(log_factor)[..., None] * logits[row], axis=-1)
        return np.asarray(special.entr(shares).sum(axis=-1) - np.log(perplexity))

    rows = np.arange(len(logits))
    low, high = np.full(len(rows), -9.0), np.full(len(rows), 9.0)
    found = elementwise.find_root(surplus, (low, high), args=(rows,))
    nearest = np.where(surplus(high, rows) > 0, high, low)
    factors: FloatArray = np.exp(np.where(found.success, found.x, nearest)).astype(np.float32)
    return factors


def _warnings(scores: Scores) -> tuple[str, ...]:
    notes = []
    for k, name in enumerate(scores.experts):
        missing = float(np.isnan(scores.values[:, :, k]).mean())
        if missing > 0:
            notes.append(f"{name} left {missing:.1%} of the pairs unscored; they are labelled by the other experts")
    return tuple(notes)


def _unbeaten(panel: Sequence[ExpertQuality], base: str) -> tuple[str, ...]:
    """Return a note if the base is on the panel and at least as good as every other expert, else nothing."""
    quality = {expert.expert: expert.ndcg for expert in panel}
    own = quality.pop(base, float("nan"))
    best = max((value for value in quality.values() if not np.isnan(value)), default=float("nan"))
    if not own >= best:  # also where either was not measured
        return ()
    return (
        f"no expert ranks your own questions better than the base {base} (nDCG@10 {100 * own:.1f}, best other "
        f"{100 * best:.1f}): known answers count for more, the panel for less",
    )
