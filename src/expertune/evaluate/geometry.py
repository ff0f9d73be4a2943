"""Describe the cloud a model's vectors form: anisotropy, IsoScore, effective rank and uniformity.

These are descriptions, not goals: a rounder cloud often separates better, but no measure here replaces one of
retrieval. This module does not know texts, models or judgements.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expertune.records import FloatArray, Geometry

MOST_VECTORS = 20_000
"""Vectors beyond this many are sampled; the covariance of 20,000 says the same as that of a million."""

PAIRS = 100_000
"""Random pairs behind a mean over all pairs; its standard error is then below 0.001 for cosines."""


def geometry(vectors: FloatArray, seed: int = 0) -> Geometry:
    """Describe vectors `[n, d]`.

    Args:
        vectors: At least two rows; they are scaled to unit length, rows of zero length are left out.
        seed: Seed of the sampled pairs (and of the sampled vectors beyond `MOST_VECTORS`).

    Raises:
        ValueError: fewer than two usable rows, or values that are not finite.
    """
    unit = _unit(vectors)
    unit = unit[np.linalg.norm(unit, axis=1) > 0]
    if len(unit) < 2:
        raise ValueError(f"expected at least two vectors of non-zero length, got {len(unit)}")
    generator = np.random.default_rng(seed)
    if len(unit) > MOST_VECTORS:
        unit = unit[np.sort(generator.choice(len(unit), MOST_VECTORS, replace=False))]
    cosines = _pair_cosines(unit, generator)
    spectrum = covariance_spectrum(unit)
    return Geometry(
        vectors=len(unit),
        dimensions=unit.shape[1],
        mean_cosine=float(cosines.mean()),
        iso_score=iso_score(spectrum),
        effective_rank=effective_rank(spectrum),
        top_share=float(spectrum[0] / spectrum.sum()) if spectrum.any() else float("nan"),
        uniformity=float(np.log(np.mean(np.exp(-4.0 * (1.0 - cosines))))),
    )


def covariance_spectrum(vectors: FloatArray) -> NDArray[np.float64]:
    """Return the eigenvalues `[d]` of the covariance of vectors `[n, d]`, largest first, noise set to 0."""
    covariance = np.cov(np.asarray(vectors, dtype=np.float64), rowvar=False)
    values = np.linalg.eigvalsh(np.atleast_2d(covariance))[::-1]
    # Unit vectors have a total variance of at most 1; what is below float32 precision of it is not variance.
    return np.where(values > max(1e-12, 1e-12 * float(values[0])), values, 0.0)


def iso_score(spectrum: NDArray[np.float64]) -> float:
    """Return IsoScore in [0, 1] from the covariance eigenvalues `[d]`; NaN without variance or for d = 1.

    The steps are those of Rudman, Gillman, Rayne & Eickhoff 2022 (Findings of ACL), Algorithm 1, after the
    rotation to principal axes: scale the variances to length sqrt(d), measure their distance from all ones
    (the isotropy defect), turn it into the fraction of dimensions used evenly, and rescale that to [0, 1].
    """
    dimensions = len(spectrum)
    length = float(np.linalg.norm(spectrum))
    if dimensions < 2 or length == 0.0:
        return float("nan")
    scaled = np.sqrt(dimensions) * spectrum / length
    defect = np.linalg.norm(scaled - 1.0) / np.sqrt(2.0 * (dimensions - np.sqrt(dimensions)))
    used = (dimensions - defect**2 * (dimensions - np.sqrt(dimensions))) ** 2 / dimensions**2
    return float((dimensions * used - 1.0) / (dimensions - 1.0))


def effective_rank(spectrum: NDArray[np.float64]) -> float:
    """Return exp of the entropy of the normalised eigenvalues `[d]`, in [1, d]; NaN without variance."""
    positive = spectrum[spectrum > 0]
    if not len(positive):
        return float("nan")
    shares = positive / positive.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _unit(vectors: FloatArray) -> NDArray[np.float64]:
    values = np.asarray(vectors, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError("expected a matrix of finite values")
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    return unit


def _pair_cosines(unit: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return cosines of distinct pairs: all where they are few, else random ones, a block at a time."""
    count = len(unit)
    if count * (count - 1) // 2 <= PAIRS:
        return (unit @ unit.T)[np.triu_indices(count, k=1)]
    left = generator.integers(0, count, PAIRS)
    right = (left + generator.integers(1, count, PAIRS)) % count
    blocks = [slice(start, start + 4096) for start in range(0, PAIRS, 4096)]
    return np.concatenate([np.einsum("nd,nd->n", unit[left[part]], unit[right[part]]) for part in blocks])
