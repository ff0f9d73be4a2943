"""Weigh the experts by how well they answer the labelled questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from expertune.label.hard_labels import rows_to_one
from expertune.label.strategies import weighted_mean
from expertune.records import ExpertQuality, FloatArray, PanelFit

Doubles = NDArray[np.float64]

FOLDS = 5
"""Parts of the labelled questions that are left out in turn."""

FEWEST_QUESTIONS = 8
"""Labelled questions below which experts cannot be told apart."""

SHRINKAGE = 0.1
"""Pull of the weights towards equal ones.

It is what gives a weak expert any say: on 40 labelled questions less of it fits their noise, and more of it lets an
expert that scores at random move the targets. Left-out questions agree: see `docs/performance.md`.
"""


def weigh(experts: Sequence[str], calibrated: FloatArray, hard: FloatArray) -> tuple[tuple[ExpertQuality, ...], float]:
    """Weigh the experts by how well they jointly pick the right answers, shrunk towards equal weights.

    A conditional logit: weights w >= 0 minimise the mean cross-entropy of softmax(sum_k w_k z_k) against the right
    answers, plus `SHRINKAGE` (the less the more questions there are) times the squared distance to equal weights of the
    same total. Two near-duplicate experts share one weight, and a weak or adversarial one is driven to zero, because
    both add nothing to the others.

    Args:
        experts: Names, `K` of them.
        calibrated: `[N, D, K]` scores of the labelled questions.
        hard: `[N, D]` in {0, 1}.

    Returns:
        One `ExpertQuality` an expert (weights sum to 1), and the total of the raw weights: the sharpness at which the
        weighted z-scores are best read as log-odds.
    """
    weights, sharpness = _fitted(calibrated, hard)
    panel = tuple(
        ExpertQuality(expert=name, ndcg=ndcg(calibrated[:, :, k], hard), weight=float(weights[k]))
        for k, name in enumerate(experts)
    )
    return panel, sharpness


def _fitted(calibrated: FloatArray, hard: FloatArray) -> tuple[Doubles, float]:
    """Return the weights `[K]`, which sum to 1, and the sharpness, at least 1."""
    raw = _raw_weights(calibrated, hard)
    total = float(raw.sum())
    return raw / total if total > 1e-6 else np.full(len(raw), 1.0 / len(raw)), max(total, 1.0)


def _raw_weights(calibrated: FloatArray, hard: FloatArray) -> Doubles:
    """Return the raw weights `[K]` in [0, 10]."""
    count = calibrated.shape[2]
    start = np.full(count, 2.0 / count)
    usable = hard.sum(axis=1) > 0
    if not usable.any():
        return start
    z = np.nan_to_num(calibrated[usable]).astype(np.float64)
    y = rows_to_one(hard[usable]).astype(np.float64)
    pull = SHRINKAGE * 20.0 / len(z)

    def objective(weights: Doubles) -> tuple[float, Doubles]:
        log_p = special.log_softmax(z @ weights, axis=1)
        spread = weights - weights.mean()
        error = (np.exp(log_p) - y)[:, None, :] @ z
        loss = -float((y * log_p).sum(axis=1).mean()) + pull * float(spread @ spread)
        return loss, error[:, 0, :].mean(axis=0) + 2.0 * pull * spread

    best = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 10.0)] * count)
    return np.asarray(best.x)


def left_out(calibrated: FloatArray, hard: FloatArray, folds: NDArray[np.int64]) -> FloatArray:
    """Return the merged scores `[N, D]` of each question under weights that were fitted to the other folds.

    Args:
        calibrated: `[N, D, K]` scores of the labelled questions.
        hard: `[N, D]` in {0, 1}.
        folds: `[N]`, see `folds_by_answer`.
    """
    merged = np.zeros(hard.shape, dtype=np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        weights, sharpness = _fitted(calibrated[~held], hard[~held])
        merged[held] = weighted_mean(calibrated[held], weights) * sharpness
    return merged


def panel_fit(calibrated: FloatArray, hard: FloatArray, folds: NDArray[np.int64]) -> PanelFit | None:
    """Return how well the panel finds answers that taught its weights, and answers that did not.

    None where fewer than `FEWEST_QUESTIONS` questions have an answer to be found, or all of them the same.

    Args:
        calibrated: `[N, D, K]` scores of the labelled questions.
        hard: `[N, D]` in {0, 1}.
        folds: `[N]`, see `folds_by_answer`.
    """
    usable = hard.sum(axis=1) > 0
    calibrated, hard, folds = calibrated[usable], hard[usable], folds[usable]
    if len(hard) < FEWEST_QUESTIONS or len(np.unique(folds)) < 2:
        return None
    weights, sharpness = _fitted(calibrated, hard)
    merged = left_out(calibrated, hard, folds)

    def mean_loss(scale: float) -> float:
        return float(cross_entropy(merged * np.float32(scale), hard).mean())

    best = optimize.minimize_scalar(mean_loss, bounds=(0.05, 5.0), method="bounded")
    return PanelFit(
        questions=len(hard),
        in_sample=float(cross_entropy(weighted_mean(calibrated, weights) * np.float32(sharpness), hard).mean()),
        left_out=mean_loss(1.0),
        guessing=float(np.log(hard.shape[1])),
        sharpness=sharpness,
        left_out_sharpness=float(best.x) * sharpness,
    )


def cross_entropy(merged: FloatArray, hard: FloatArray) -> Doubles:
    """Return how unlikely merged scores `[N, D]` make the right answers of each question `[N]`, in nats.

    ln D is what guessing reaches. Right answers share the question among them; one without any counts as 0.
    """
    lost: Doubles = -(rows_to_one(hard) * special.log_softmax(merged, axis=1)).sum(axis=1)
    return lost


def folds_by_answer(hard: FloatArray, columns: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the fold of each question `[N]`; questions with one answer share a fold.

    Args:
        hard: `[N, D]` in {0, 1}, or `[N, C]` of candidates.
        columns: Candidates `[N, C]`; None: all documents.
    """
    first = hard.argmax(axis=1)
    first = first if columns is None else columns[np.arange(len(hard)), first]
    answers = np.unique(first, return_inverse=True)[1]
    turn = np.random.default_rng(0).permutation(len(np.unique(answers)))
    folds: NDArray[np.int64] = turn[answers] % FOLDS
    return folds


def ndcg(values: FloatArray, hard: FloatArray, weights: NDArray[np.float64] | None = None) -> float:
    """Return the mean nDCG@10 of scores `[N, D]` over questions with a right answer; unscored pairs come last.

    `weights` `[N]` say how much each question counts; None: all the same.
    """
    from sklearn.metrics import ndcg_score

    usable = hard.sum(axis=1) > 0
    if not usable.any() or values.shape[1] < 2:
        return float("nan")
    floor = float(np.nanmin(values)) - 1.0 if np.isfinite(values).any() else 0.0
    counted = None if weights is None else weights[usable]
    return float(ndcg_score(hard[usable], np.nan_to_num(values[usable], nan=floor), k=10, sample_weight=counted))


def unbeaten_base(panel: Sequence[ExpertQuality], base: str) -> tuple[str, ...]:
    """Return a warning if the base is on the panel and at least as good as every other expert, else nothing."""
    quality = {expert.expert: expert.ndcg for expert in panel}
    own = quality.pop(base, float("nan"))
    best = max((value for value in quality.values() if not np.isnan(value)), default=float("nan"))
    if not own >= best:  # also where either was not measured
        return ()
    return (
        f"no expert ranks your labelled questions better than the base {base} (nDCG@10 {100 * own:.1f}, best other "
        f"{100 * best:.1f}): known answers count for more, the panel for less",
    )
