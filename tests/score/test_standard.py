import numpy as np
from scipy.stats import zscore

from expertune.score.standard import standardised


def test_z_scores_are_those_of_scipy_and_leave_out_what_was_not_scored():
    values = np.random.default_rng(0).normal(3.0, 2.0, (5, 7))
    values[1, 2] = values[4, :6] = np.nan
    found = standardised(values, axis=0)
    np.testing.assert_allclose(found, zscore(values, axis=0, nan_policy="omit"), atol=1e-12)


def test_what_does_not_vary_is_average_and_what_was_not_scored_stays_so():
    values = np.array([[0.1, 2.0, np.nan], [0.1, np.nan, np.nan], [0.1, 4.0, np.nan]], np.float32)
    expected = [[0.0, -1.0, np.nan], [0.0, np.nan, np.nan], [0.0, 1.0, np.nan]]
    np.testing.assert_allclose(standardised(values, axis=0), expected, atol=1e-7)


def test_along_no_axis_all_values_count_together():
    values = np.array([[1.0, 3.0], [np.nan, 5.0]])
    np.testing.assert_allclose(standardised(values, axis=None), [[-(1.5**0.5), 0.0], [np.nan, 1.5**0.5]])
