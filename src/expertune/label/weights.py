"""Weigh the experts by how well they answer the labelled questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from expertune.label.hard_labels import rows_to_one
from expertune.records import ExpertQuality, FloatArray

Doubles = NDArray[np.float64]

SHRINKAGE = 0.1
"""Pull of the weights towards equal ones.

It is what gives a weak expert any say: on 40 labelled questions less of it fits their noise, and more of it lets an
expert that scores at random move the targets.
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
    count = len(experts)
    raw = _fitted(calibrated, hard)
    total = float(raw.sum())
    weights = raw / total if total > 1e-6 else np.full(count, 1.0 / count)
    panel = tuple(
        ExpertQuality(expert=name, ndcg=ndcg(calibrated[:, :, k], hard), weight=float(weights[k]))
        for k, name in enumerate(experts)
    )
    return panel, max(total, 1.0)


def _fitted(calibrated: FloatArray, hard: FloatArray) -> Doubles:
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


def ndcg(values: FloatArray, hard: FloatArray) -> float:
    """Return the mean nDCG@10 of scores `[N, D]` over questions with a right answer; unscored pairs come last."""
    from sklearn.metrics import ndcg_score

    usable = hard.sum(axis=1) > 0
    if not usable.any() or values.shape[1] < 2:
        return float("nan")
    floor = float(np.nanmin(values)) - 1.0 if np.isfinite(values).any() else 0.0
    return float(ndcg_score(hard[usable], np.nan_to_num(values[usable], nan=floor), k=10))


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
