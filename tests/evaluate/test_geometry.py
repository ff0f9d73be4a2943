"""Clouds whose shape is known beforehand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from expertune.evaluate.geometry import covariance_spectrum, effective_rank, geometry, iso_score


def cloud(count=4000, dimensions=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def test_isotropic_cloud():
    found = geometry(cloud(), seed=0)
    assert found.mean_cosine == pytest.approx(0, abs=0.01)
    assert found.iso_score > 0.98
    assert found.effective_rank > 15.8
    assert found.top_share == pytest.approx(1 / 16, abs=0.01)


def test_cone_has_high_mean_cosine():
    shifted = cloud() + 10 * np.eye(16, dtype=np.float32)[0]
    # Two vectors 10*e + noise of length about 4: cosine 100 / (100 + 16).
    assert geometry(shifted).mean_cosine == pytest.approx(100 / 116, abs=0.01)


def test_mean_cosine_of_all_pairs_by_hand():
    vectors = np.array([[1, 0], [2, 0], [0, 1]], dtype=np.float32)
    assert geometry(vectors).mean_cosine == pytest.approx(1 / 3)
    assert geometry(vectors).uniformity == pytest.approx(np.log((1 + 2 * np.exp(-4)) / 3))


def test_sampled_pairs_are_distinct_and_agree_with_all_pairs():
    vectors = cloud(600) + np.float32(0.5)  # 179,700 pairs: sampled.
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = (unit @ unit.T)[np.triu_indices(600, k=1)].mean()
    assert geometry(vectors).mean_cosine == pytest.approx(exact, abs=0.004)
    assert geometry(vectors, 1) == geometry(vectors, 1)
    assert geometry(vectors, 1) != geometry(vectors, 2)


def test_one_dimensional_spectrum():
    spectrum = np.array([3.0, 0, 0, 0])
    assert iso_score(spectrum) == pytest.approx(0, abs=1e-12)
    assert effective_rank(spectrum) == pytest.approx(1)


def test_even_spectrum_over_k_of_d_dimensions():
    spectrum = np.array([2.0] * 4 + [0.0] * 6)
    # The paper's reading of the score: k of d dimensions used evenly give (k - 1) / (d - 1).
    assert iso_score(spectrum) == pytest.approx(3 / 9)
    assert effective_rank(spectrum) == pytest.approx(4)
    assert iso_score(np.ones(10)) == pytest.approx(1)


@given(arrays.arrays(np.float64, st.integers(2, 30), elements=st.floats(0.001, 100)), st.floats(0.01, 100))
def test_iso_score_follows_the_participation_ratio_and_ignores_scale(spectrum, factor):
    size = len(spectrum)
    ratio = spectrum.sum() ** 2 / np.sum(spectrum**2)
    assert iso_score(spectrum) == pytest.approx((ratio - 1) / (size - 1), abs=1e-9)
    assert iso_score(factor * spectrum) == pytest.approx(iso_score(spectrum), abs=1e-9)
    assert 1 - 1e-9 <= effective_rank(spectrum) <= size + 1e-9


def test_rotation_changes_nothing():
    vectors = cloud(300) * np.linspace(1, 3, 16, dtype=np.float32)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))
    before, after = geometry(vectors), geometry((vectors @ turn).astype(np.float32))
    for name in ("mean_cosine", "iso_score", "effective_rank", "top_share", "uniformity"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-5)


def test_spectrum_is_the_covariance():
    vectors = np.array([[1, 0], [-1, 0], [0, 0.5], [0, -0.5]], dtype=np.float32)
    assert covariance_spectrum(vectors) == pytest.approx([2 / 3, 0.5 / 3])


def test_cloud_without_variance_is_not_a_number_rather_than_an_error():
    found = geometry(np.ones((5, 4), dtype=np.float32))
    assert found.mean_cosine == pytest.approx(1)
    assert np.isnan([found.iso_score, found.effective_rank, found.top_share]).all()


def test_zero_rows_are_left_out_and_too_few_refused():
    vectors = np.array([[1, 0], [0, 0], [0, 1]], dtype=np.float32)
    assert geometry(vectors).vectors == 2
    with pytest.raises(ValueError, match="at least two"):
        geometry(vectors[:2])
    with pytest.raises(ValueError, match="finite"):
        geometry(np.array([[np.nan, 1], [1, 2]], dtype=np.float32))
