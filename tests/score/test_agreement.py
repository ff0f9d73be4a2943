"""Panels whose agreement is known: perfect, none, opposed; and published or hand-computed coefficients."""

import time

import numpy as np
import pytest
from scipy import stats

from expertune.records import Scores
from expertune.score.agreement import agreement, icc2k, kendall_w, krippendorff_alpha


def panel(values):
    values = np.asarray(values, dtype=np.float32)
    return Scores(tuple(f"expert {index}" for index in range(values.shape[2])), values)


def independent(questions=60, documents=40, experts=4, seed=0):
    return np.random.default_rng(seed).normal(size=(questions, documents, experts))


def test_experts_that_differ_in_scale_only_agree_fully():
    one = independent(experts=1)
    found = agreement(panel(np.concatenate([one, 3 * one + 2, 0.01 * one], axis=2)))
    assert (found.alpha, found.icc, found.kendall_w) == pytest.approx((1, 1, 1), abs=1e-4)
    assert found.spearman == pytest.approx(np.ones((3, 3)))
    assert found.jaccard == pytest.approx(np.ones((3, 3)))
    assert found.disagreement == pytest.approx(np.zeros(60))


def test_independent_experts_agree_by_chance_only():
    found = agreement(panel(independent()))
    assert found.alpha == pytest.approx(0, abs=0.05)
    assert found.kendall_w == pytest.approx(1 / 4, abs=0.03)  # Independent rankings: W averages 1 / K.
    off_diagonal = found.spearman[~np.eye(4, dtype=bool)]
    assert off_diagonal == pytest.approx(np.zeros(12), abs=0.06)
    assert found.jaccard[0, 1] == pytest.approx(10 * 10 / 40 / (20 - 2.5), abs=0.03)


def test_opposed_experts():
    one = independent(experts=1)
    found = agreement(panel(np.concatenate([one, -one], axis=2)))
    assert found.spearman[0, 1] == pytest.approx(-1)
    assert found.kendall_w == pytest.approx(0, abs=1e-9)
    assert found.alpha < -0.9
    assert found.jaccard[0, 1] == 0


def test_alpha_of_krippendorffs_interval_example():
    """Krippendorff 2011, 'Computing Krippendorff's alpha-reliability', section C-F: interval alpha 0.849."""
    nan = np.nan
    data = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    assert krippendorff_alpha(data.T) == pytest.approx(0.849, abs=0.0005)


@pytest.mark.parametrize("noise", [0.1, 0.7, 3.0])
def test_alpha_equals_the_krippendorff_package(noise):
    krippendorff = pytest.importorskip("krippendorff")
    generator = np.random.default_rng(1)
    ratings = generator.normal(size=(30, 1)) + generator.normal(0, noise, (30, 4))
    ratings[generator.random(ratings.shape) < 0.3] = np.nan
    expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement="interval")
    assert krippendorff_alpha(ratings) == pytest.approx(expected, abs=1e-9)


def test_icc_of_shrout_and_fleiss():
    """Shrout & Fleiss 1979, table 2: ICC(2,4) = 0.62."""
    ratings = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
    )
    assert icc2k(ratings) == pytest.approx(0.6201, abs=0.0001)


def test_icc_by_hand():
    # Rows (1, 3) and (5, 5): MSR 9, MSC 1, MSE 1; (9 - 1) / (9 + (1 - 1) / 2).
    assert icc2k(np.array([[1.0, 3.0], [5.0, 5.0]])) == pytest.approx(8 / 9)


def test_kendall_w_by_hand_and_against_friedman():
    ranks = np.array([[1, 1], [2, 3], [3, 2]], dtype=float)
    # Rank sums 2, 5, 5: S = 6, W = 12 * 6 / (4 * 24).
    assert kendall_w(ranks) == pytest.approx(0.75)
    scores = np.random.default_rng(3).integers(0, 4, (9, 5))  # With many ties.
    ranks = stats.rankdata(scores, axis=0)
    friedman = stats.friedmanchisquare(*scores).statistic  # Chi-squared = K (n - 1) W, ties corrected.
    assert kendall_w(ranks) == pytest.approx(friedman / (5 * 8))


def test_spearman_is_the_mean_over_questions_of_scipys():
    values = independent(questions=5, experts=2)
    values[..., 1] = np.round(values[..., 1] + values[..., 0])  # Ties.
    expected = np.mean([stats.spearmanr(question).statistic for question in values.astype(np.float32)])
    assert agreement(panel(values)).spearman[0, 1] == pytest.approx(expected)


def test_equal_scores_do_not_look_like_agreement():
    """Two lexical experts that find no word at all must not agree on the first documents of the corpus."""
    found = agreement(panel(np.zeros((200, 50, 2))), top=5)
    assert found.jaccard[0, 1] == pytest.approx(5 * 5 / 50 / 9.5, abs=0.02)
    assert np.isnan([found.alpha, found.icc, found.kendall_w, found.spearman[0, 1]]).all()


def test_the_question_they_quarrel_about_is_named():
    one = independent(questions=10, experts=1)
    values = np.concatenate([one, one, one], axis=2)
    values[7, :, 2] = -values[7, :, 2]
    found = agreement(panel(values))
    assert found.most_disagreed[0] == 7
    assert found.disagreement[7] > 5
    assert found.disagreement[[0, 1, 2]] == pytest.approx([0, 0, 0])


def test_disagreement_by_hand():
    # Ranks of expert 0: 1, 2, 3; of expert 1: 3, 2, 1. Top 1 of either: documents 0 and 2, each with spread 1.
    assert agreement(panel([[[3, 1], [2, 2], [1, 3]]]), top=1).disagreement == pytest.approx([1.0])


def test_unscored_pairs_and_experts_are_left_out():
    values = independent(questions=30, experts=3)
    values[..., 1] = values[..., 0]
    values[:, 20:, 1] = np.nan
    found = agreement(panel(values))
    assert found.spearman[0, 1] == pytest.approx(1)
    silent = np.concatenate([values, np.full((30, 40, 1), np.nan)], axis=2)
    with_silent = agreement(panel(silent))
    assert with_silent.kendall_w == pytest.approx(found.kendall_w)
    assert with_silent.icc == pytest.approx(found.icc)
    assert np.isnan(with_silent.spearman[3]).all()
    assert with_silent.spearman.shape == (4, 4)


def test_a_constant_expert_is_not_an_error():
    values = independent(questions=30, experts=3)
    values[..., 2] = 0.5
    found = agreement(panel(values))
    assert np.isfinite([found.alpha, found.icc, found.kendall_w]).all()
    assert np.isnan(found.spearman[2, 0])


@pytest.mark.parametrize("shape", [(0, 5, 3), (4, 0, 3), (4, 1, 3), (4, 5, 1), (1, 1, 1)])
def test_too_little_to_tell_is_nan(shape):
    found = agreement(panel(np.ones(shape)))
    assert np.isnan([found.alpha, found.icc, found.kendall_w]).all()
    assert found.spearman.shape == (shape[2], shape[2])


def test_everything_unscored_is_nan():
    found = agreement(panel(np.full((3, 4, 2), np.nan)))
    assert np.isnan(found.alpha)
    assert np.isnan(found.spearman).all()
    assert found.most_disagreed == ()


def test_samples_are_seeded_and_their_indices_told():
    values = independent(questions=80)
    found = agreement(panel(values), most_questions=30, seed=4)
    assert len(found.questions) == len(set(found.questions)) == len(found.disagreement) == 30
    assert set(found.most_disagreed) <= set(found.questions)
    again = agreement(panel(values), most_questions=30, seed=4)
    assert again.questions == found.questions
    assert again.alpha == found.alpha
    assert agreement(panel(values), most_questions=30, seed=5).questions != found.questions


def test_a_whole_panel_is_quick():
    values = independent(questions=2500, documents=300, experts=8).astype(np.float32)
    start = time.perf_counter()
    found = agreement(panel(values))
    assert time.perf_counter() - start < 20
    assert len(found.questions) == 2000
