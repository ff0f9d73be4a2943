"""Paired tests, intervals and power for differences between two models over the same questions.

Everything here works on per-question differences and the cluster (the answer) each question belongs to:
questions about one answer stand or fall together, so it is answers that are resampled or flipped, never
single questions. A measurement over 250 questions about 21 answers is worth closer to 21 observations than
to 250.

The interval is a percentile bootstrap over clusters with two small-sample corrections: replicates are
stretched by sqrt(C / (C - 1)), because resampling C clusters understates their variance by that much, and
the quantiles are those a Student t would need in place of the normal (the "expanded percentile" of
Hesterberg 2015, "What teachers should know about the bootstrap"). Simulated on clustered, skewed and
zero-inflated differences, it covered 93 to 95 % with 8 to 25 clusters where the plain percentile covered 86
to 93 % and BCa, whose acceleration is itself estimated from those few clusters, 83 to 93 %.

This module does not know metrics, models, rankings or verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Clusters = Sequence[str] | NDArray[Any] | None

FEWEST_CLUSTERS = 6
"""Below this a bootstrap can only move between a handful of values; the interval is then a plain Student t.
It is also the fewest clusters with which a sign-flip test can go under 0.05 at all (2 / 2**6)."""

MOST_EXACT = 12
"""Up to this many clusters all 2**C sign flips are enumerated instead of drawn."""

BLOCK = 1 << 20
"""Entries of one block of resampled indices: 8 MB, whatever the number of draws."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference, its two-sided confidence interval and its cluster-robust standard error."""

    mean: float
    low: float
    high: float
    standard_error: float
    clusters: int

    @property
    def outcome(self) -> str:
        """Say what it shows: "better", "worse" or, where it holds zero, "no evidence"."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no evidence"


@dataclass(frozen=True, slots=True)
class _Totals:
    """Sum of the differences and number of questions, per cluster `[C]`."""

    sums: Floats
    sizes: Floats

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def standard_error(self) -> float:
        """Linearised standard error of the ratio of sums, C / (C - 1) corrected; inf for one cluster."""
        count = len(self.sums)
        if count < 2:
            return float("inf")
        residuals = self.sums - self.mean * self.sizes
        variance = count / (count - 1) * float(residuals @ residuals)
        return float(np.sqrt(variance) / self.sizes.sum())


def _totals(differences: ArrayLike, clusters: Clusters) -> _Totals:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected a non-empty vector of differences, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("differences must be finite")
    if clusters is None:
        return _Totals(values, np.ones_like(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} differences but {len(clusters)} clusters")
    _, inverse = np.unique(np.asarray(clusters), return_inverse=True)
    sums: Floats = np.zeros(int(inverse.max()) + 1)
    sizes: Floats = np.zeros_like(sums)
    np.add.at(sums, inverse, values)
    np.add.at(sizes, inverse, 1.0)
    return _Totals(sums, sizes)


def standard_error(differences: ArrayLike, clusters: Clusters = None) -> float:
    """Return the cluster-robust standard error of the mean of `differences` `[n]`; inf for one cluster."""
    return _totals(differences, clusters).standard_error


def randomisation_test(
    differences: ArrayLike, clusters: Clusters = None, *, draws: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of a paired randomisation test that flips the sign of whole clusters.

    Under the null hypothesis the two models are exchangeable on every answer. With at most `MOST_EXACT`
    clusters that differ at all, every flip is enumerated and p is exact; otherwise p = (1 + hits) / (1 +
    draws), which never is 0 and keeps the test valid (Phipson & Smyth 2010).

    Args:
        differences: `[n]`, tuned minus base per question.
        clusters: `[n]`, the answer of each question; None: every question stands alone.
        draws: Random flips where they are not enumerated.
        seed: Seed of the flips.
    """
    sums = _totals(differences, clusters).sums
    sums = sums[sums != 0.0]  # Flipping a zero changes nothing, and leaving it out may allow the exact test.
    count = len(sums)
    if not count:
        return 1.0
    observed = abs(float(sums.sum())) - 1e-12 * float(np.abs(sums).sum())
    if count <= MOST_EXACT:
        every = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float(np.mean(np.abs(2.0 * (every @ sums) - sums.sum()) >= observed))
    generator = np.random.default_rng(seed)
    hits = 0
    for size in _blocks(draws, count):
        random_bytes = generator.integers(0, 256, (size, -(-count // 8)), dtype=np.uint8)
        flips = np.unpackbits(random_bytes, axis=1, count=count)
        hits += int(np.count_nonzero(np.abs(2.0 * (flips.astype(np.float64) @ sums) - sums.sum()) >= observed))
    return (1 + hits) / (1 + draws)


def bootstrap_interval(
    differences: ArrayLike,
    clusters: Clusters = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `differences` `[n]` in [-1, 1] with its cluster bootstrap interval.

    See the module's docstring for the kind of interval. One cluster says nothing about others: its interval
    is the whole range [-1, 1].
    """
    stratum = (differences, clusters)
    return stratified_interval([stratum], confidence=confidence, resamples=resamples, seed=seed)


def stratified_interval(
    strata: Sequence[tuple[ArrayLike, Clusters]],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the plain average of the strata's mean differences, with an interval.

    Every stratum (a split or a data set) counts the same whatever its size; clusters are resampled inside
    each stratum only, so the interval speaks of other questions to the same sets, not of other sets.

    Args:
        strata: Per stratum the differences `[n]` in [-1, 1] and the cluster of each.
        confidence: Coverage aimed at.
        resamples: Bootstrap replicates.
        seed: Seed of the resampling.

    Raises:
        ValueError: there is no stratum, or one is empty or not finite.
    """
    from scipy import stats

    if not strata:
        raise ValueError("expected at least one stratum")
    parts = [_totals(differences, clusters) for differences, clusters in strata]
    mean = float(np.mean([part.mean for part in parts]))
    count = sum(len(part.sums) for part in parts)
    errors = np.array([part.standard_error for part in parts])
    error = float(np.sqrt(np.sum(errors**2)) / len(parts))
    if not np.isfinite(error) or (error == 0.0 and count < FEWEST_CLUSTERS):
        return Interval(mean, -1.0, 1.0, error, count)
    if error == 0.0:
        return Interval(mean, mean, mean, error, count)
    quantile = float(stats.t.ppf((1 + confidence) / 2, _freedom(parts, errors)))
    if count < FEWEST_CLUSTERS:
        return Interval(mean, max(-1.0, mean - quantile * error), min(1.0, mean + quantile * error), error, count)
    generator = np.random.default_rng(seed)
    replicates = np.zeros(resamples)
    for part in parts:
        stretch = np.sqrt(len(part.sums) / (len(part.sums) - 1))
        replicates += (part.mean + stretch * (_replicates(part, resamples, generator) - part.mean)) / len(parts)
    tail = float(stats.norm.cdf(-quantile))
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return Interval(mean, max(-1.0, float(low)), min(1.0, float(high)), error, count)


def seeds_interval(
    values: ArrayLike,
    clusters: Clusters = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `values` `[S, Q]` (seeds x questions) with an interval over new seeds and questions.

    Seeds and clusters are both resampled (the pigeonhole bootstrap, Owen 2007) and the replicates stretched to the
    corrected variance, seeds plus clusters, at the quantiles of a Student t, as for a single seed. With two to five
    seeds, or as few clusters, the interval is a plain Student t. One seed speaks of new questions only. Where seeds
    hardly differ it errs on the wide side, for the spread of their means holds noise of the questions too.
    """
    from scipy import stats

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"expected a non-empty [seeds, questions] table, got shape {table.shape}")
    rows = [_totals(row, clusters) for row in table]
    sums, sizes = np.stack([row.sums for row in rows]), rows[0].sizes
    mean, (seeds, count) = float(table.mean()), sums.shape
    if count < 2:
        return Interval(mean, -1.0, 1.0, float("inf"), count)
    of_questions = _Totals(sums.mean(axis=0), sizes).standard_error
    of_seeds = float(np.std(table.mean(axis=1), ddof=1) / np.sqrt(seeds)) if seeds > 1 else 0.0
    error = float(np.hypot(of_questions, of_seeds))
    if error == 0.0:
        return Interval(mean, mean, mean, error, count)
    freedom = error**4 / (of_questions**4 / (count - 1) + of_seeds**4 / max(seeds - 1, 1))
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    if 1 < seeds < FEWEST_CLUSTERS or count < FEWEST_CLUSTERS:
        return Interval(mean, max(-1.0, mean - quantile * error), min(1.0, mean + quantile * error), error, count)
    generator = np.random.default_rng(seed)
    replicates = []
    for size in _blocks(resamples, max(seeds, count)):
        shares = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        chosen = generator.integers(0, count, (size, count))
        drawn = np.take_along_axis(shares @ sums, chosen, axis=1).sum(axis=1)
        replicates.append(drawn / sizes[chosen].sum(axis=1))
    spread = np.concatenate(replicates) - mean
    tail = float(stats.norm.cdf(-quantile))
    low, high = mean + error / spread.std() * np.quantile(spread, [tail, 1.0 - tail])
    return Interval(mean, max(-1.0, float(low)), min(1.0, float(high)), error, count)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted to control the false discovery rate (Benjamini & Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    values = np.asarray(p_values, dtype=np.float64)
    return np.asarray(false_discovery_control(values, method="bh")) if len(values) else values


def detectable_difference(
    differences: ArrayLike, clusters: Clusters = None, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the smallest true mean difference that this set would have shown with the given power.

    (t[1 - alpha / 2] + t[power]) times the cluster-robust standard error, C - 1 degrees of freedom, at most
    1. It is 1 for a single cluster, and 0 where the differences do not vary at all, for then the set tells
    nothing about their spread.
    """
    part = _totals(differences, clusters)
    return detectable_from(part.standard_error, len(part.sums) - 1, power=power, alpha=alpha)


def detectable_from(error: float, freedom: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return what `detectable_difference` does, from a standard error and its degrees of freedom."""
    from scipy import stats

    if not np.isfinite(error) or freedom < 1:
        return 1.0
    factor = stats.t.ppf(1 - alpha / 2, freedom) + stats.t.ppf(power, freedom)
    return min(1.0, float(factor) * error)


def _freedom(parts: Sequence[_Totals], errors: Floats) -> float:
    """Welch-Satterthwaite degrees of freedom of an average of independent means; C - 1 for one stratum."""
    squares = (errors / errors.max()) ** 2  # Relative, so that tiny errors do not underflow.
    counts = np.array([len(part.sums) for part in parts])
    return float(squares.sum() ** 2 / np.sum(squares**2 / (counts - 1)))


def _replicates(part: _Totals, resamples: int, generator: np.random.Generator) -> Floats:
    """Draw bootstrap means `[resamples]` by resampling clusters, a block at a time."""
    count = len(part.sums)
    alike = bool(np.all(part.sizes == part.sizes[0]))
    means = []
    for size in _blocks(resamples, count):
        chosen = generator.integers(0, count, (size, count), dtype=np.int32)
        questions = part.sizes[0] * count if alike else part.sizes[chosen].sum(axis=1)
        means.append(part.sums[chosen].sum(axis=1) / questions)
    return np.concatenate(means)


def _blocks(draws: int, width: int) -> Iterator[int]:
    """Yield row counts that add up to `draws` and keep rows x width within `BLOCK`."""
    rows = max(1, BLOCK // width)
    for start in range(0, draws, rows):
        yield min(rows, draws - start)
