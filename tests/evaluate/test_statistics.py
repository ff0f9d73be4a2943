"""Oracles: SciPy for the unclustered case, hand computations, and simulations of coverage and of the null."""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from expertune.evaluate import statistics
from expertune.evaluate.statistics import (
    Interval,
    bootstrap_interval,
    detectable_difference,
    randomisation_test,
    seeds_interval,
    standard_error,
    stratified_interval,
)


@pytest.fixture
def resamples(monkeypatch):
    """Return a function that sets how many resamples are drawn."""
    return lambda count: monkeypatch.setattr(statistics, "RESAMPLES", count)


def clustered(generator, clusters, *, mean=0.0, largest=12):
    """Draw zero-inflated differences whose clusters share a random effect."""
    sizes = generator.integers(1, largest + 1, clusters)
    names = np.repeat(np.arange(clusters), sizes)
    shared = generator.normal(0, 0.08, clusters)[names]
    noise = generator.normal(0, 0.25, len(names)) * (generator.random(len(names)) < 0.5)
    return mean + shared + noise, [f"answer {name}" for name in names]


def test_exact_randomisation_by_hand():
    # Sums of the eight flips of (1, 2, 3): |total| is 6 only for +++ and ---.
    assert randomisation_test([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    # (3, 1): |4| for ++ and --, |2| for the others; observed is 2 for (3, -1).
    assert randomisation_test([3.0, -1.0]) == 1.0


def test_randomisation_flips_whole_clusters():
    differences = [0.1] * 8
    assert randomisation_test(differences) == pytest.approx(2 / 2**8)
    assert randomisation_test(differences, list("aaaabbbb")) == pytest.approx(2 / 2**2)


@pytest.mark.parametrize("count", [6, 9, 12])
def test_exact_randomisation_equals_scipy(count):
    differences = np.random.default_rng(count).normal(0.3, 1, count)
    expected = stats.permutation_test(
        (differences, np.zeros(count)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert randomisation_test(differences) == pytest.approx(expected.pvalue, abs=1e-12)


def test_drawn_randomisation_agrees_with_scipy_and_with_enumeration(resamples):
    resamples(20_000)
    differences = np.random.default_rng(1).normal(0.3, 1, 40)
    expected = stats.permutation_test(
        (differences, np.zeros(40)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=np.random.default_rng(2),
    )
    assert randomisation_test(differences) == pytest.approx(expected.pvalue, abs=0.01)
    signs = np.array(list(itertools.product([-1, 1], repeat=14)))
    few = np.random.default_rng(3).normal(0.2, 1, 14)
    exact = np.mean(np.abs(signs @ few) >= abs(few.sum()) - 1e-12)
    assert randomisation_test(few) == pytest.approx(exact, abs=0.012)


def test_p_is_never_zero_and_one_without_any_difference(resamples):
    resamples(999)
    assert randomisation_test([0.5] * 100) == pytest.approx(1 / 1000)
    assert randomisation_test([0.0] * 100) == 1.0


def test_p_is_uniform_under_the_null(resamples):
    resamples(400)
    generator = np.random.default_rng(5)
    p_values = [randomisation_test(*clustered(generator, 20), seed=n) for n in range(400)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < 0.09


def test_ignoring_clusters_would_claim_too_much(resamples):
    """The reason for clusters: 10 answers with 30 identical questions each are 10 observations."""
    resamples(200)
    generator = np.random.default_rng(6)
    rejected = {"clustered": 0, "single": 0}
    for run in range(200):
        differences = np.repeat(generator.normal(0, 0.2, 10), 30)
        names = np.repeat(np.arange(10), 30)
        rejected["clustered"] += randomisation_test(differences, names, seed=run) <= 0.05
        rejected["single"] += randomisation_test(differences, seed=run) <= 0.05
    assert rejected["clustered"] / 200 < 0.1
    assert rejected["single"] / 200 > 0.5


def test_interval_close_to_scipy_percentile_when_unclustered_and_large():
    differences = np.random.default_rng(7).exponential(0.1, 800) - 0.05
    expected = stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(8)
    ).confidence_interval
    found = bootstrap_interval(differences)
    assert found.mean == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=5e-4)


def test_interval_of_few_clusters_is_student_t_by_hand():
    # Cluster means 0.0, 0.1, 0.2 of equal size: standard error 0.1 / sqrt(3), t(2) at 97.5 % = 4.3027.
    found = bootstrap_interval([0.0, 0.0, 0.1, 0.1, 0.2, 0.2], list("aabbcc"))
    assert found.standard_error == pytest.approx(0.1 / np.sqrt(3))
    assert found.high - found.mean == pytest.approx(4.30265 * 0.1 / np.sqrt(3), rel=1e-4)
    assert found.clusters == 3


def test_nothing_can_be_shown_by_one_answer_or_few_that_do_not_vary():
    assert bootstrap_interval([0.3, 0.2, 0.4], ["a", "a", "a"]) == Interval(
        pytest.approx(0.3), -1.0, 1.0, float("inf"), 1
    )
    few = bootstrap_interval([0.25] * 4)
    assert (few.low, few.high) == (-1.0, 1.0)
    many = bootstrap_interval([0.25] * 40)
    assert (many.low, many.high) == (0.25, 0.25)


@pytest.mark.parametrize(("clusters", "least"), [(3, 0.90), (8, 0.91), (25, 0.92)])
def test_interval_covers_the_truth_as_often_as_it_says(clusters, least, resamples):
    resamples(800)
    generator = np.random.default_rng(clusters)
    runs, hits, plain = 600, 0, 0
    for run in range(runs):
        differences, names = clustered(generator, clusters, mean=0.03)
        found = bootstrap_interval(differences, names, seed=run)
        hits += found.low <= 0.03 <= found.high
        if clusters == 8:
            totals = np.array([differences[np.array(names) == name].sum() for name in dict.fromkeys(names)])
            sizes = np.array([names.count(name) for name in dict.fromkeys(names)])
            drawn = generator.integers(0, 8, (800, 8))
            low, high = np.quantile(totals[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
            plain += low <= 0.03 <= high
    assert least < hits / runs <= 0.99
    if clusters == 8:
        assert hits > plain + 10, "the small-sample correction is there for a reason"


def test_stratified_interval_weighs_sets_alike_and_adds_their_variances():
    generator = np.random.default_rng(9)
    large, small = generator.normal(0.1, 0.2, 900), generator.normal(-0.1, 0.2, 100)
    found = stratified_interval([(large, None), (small, None)])
    assert found.mean == pytest.approx((large.mean() + small.mean()) / 2)
    error = np.sqrt(large.var(ddof=1) / 900 + small.var(ddof=1) / 100) / 2
    assert found.standard_error == pytest.approx(error)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_a_question_that_weighs_twice_counts_as_two():
    generator = np.random.default_rng(4)
    values, answers = generator.normal(0.1, 0.3, 60), [f"a{number % 20}" for number in range(60)]
    twice = [index < 15 for index in range(60)]
    weights = [2.0 if item else 1.0 for item in twice]
    more = [index for index, item in enumerate(twice) if item]
    repeated, of = np.append(values, values[more]), [*answers, *(answers[index] for index in more)]
    weighted, doubled = bootstrap_interval(values, answers, weights=weights), bootstrap_interval(repeated, of)
    assert (weighted.mean, weighted.low, weighted.high) == pytest.approx((doubled.mean, doubled.low, doubled.high))
    assert randomisation_test(values, answers, weights=weights) == randomisation_test(repeated, of)
    detectable = detectable_difference(repeated, of)
    assert detectable_difference(values, answers, weights=weights) == pytest.approx(detectable)
    even = bootstrap_interval(values, weights=np.full(60, 3.0))
    plain = bootstrap_interval(values)
    assert (even.low, even.high) == (pytest.approx(plain.low), pytest.approx(plain.high))


@pytest.mark.parametrize("weights", [[1.0], [0.0, 1.0], [-1.0, 1.0], [np.inf, 1.0], [np.nan, 1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]):
    with pytest.raises(ValueError, match="weights above 0"):
        bootstrap_interval([0.1, 0.2], weights=weights)


def test_resamples_seed_and_confidence_matter(resamples):
    differences, names = clustered(np.random.default_rng(10), 30)
    usual = bootstrap_interval(differences, names)
    assert bootstrap_interval(differences, names) == usual
    assert bootstrap_interval(differences, names, seed=1) != usual
    narrow = bootstrap_interval(differences, names, confidence=0.8)
    assert usual.low < narrow.low < narrow.high < usual.high
    resamples(500)
    assert bootstrap_interval(differences, names) != usual


def test_seeds_interval_of_one_seed_is_about_the_cluster_interval():
    differences, names = clustered(np.random.default_rng(11), 80)
    one = seeds_interval(differences[None, :], names)
    other = bootstrap_interval(differences, names)
    assert one.mean == pytest.approx(other.mean)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.006)


def test_seeds_widen_the_interval_by_their_own_spread():
    generator = np.random.default_rng(12)
    of_seed = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    table = of_seed[:, None] + generator.normal(0, 0.01, 200)[None, :]
    found = seeds_interval(table)
    # The questions add next to nothing, so this is the t interval of five means.
    expected = stats.ttest_1samp(table.mean(axis=1), 0.0)
    assert found.standard_error == pytest.approx(stats.sem(of_seed), rel=0.01)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=0.02)


def test_seeds_and_questions_of_a_balanced_table_agree_with_their_variance_components():
    generator = np.random.default_rng(14)
    table = (
        generator.normal(0, 0.05, (12, 1)) + generator.normal(0, 0.3, (1, 150)) + generator.normal(0, 0.1, (12, 150))
    )
    found = seeds_interval(table)
    error = np.hypot(stats.sem(table.mean(axis=1)), stats.sem(table.mean(axis=0)))
    assert found.standard_error == pytest.approx(error)
    assert found.high - found.low == pytest.approx(2 * 1.97 * error, rel=0.06)


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.08), (3, 0.01), (5, 0.08), (8, 0.05)])
def test_seeds_interval_covers_the_truth_as_often_as_it_says(seeds, spread, resamples):
    resamples(500)
    generator = np.random.default_rng(seeds)
    names = np.repeat(np.arange(20), 4)
    runs, hits = 300, 0
    for run in range(runs):
        of_answer = generator.normal(0, 0.1, 20)[names]
        table = 0.1 + generator.normal(0, spread, (seeds, 1)) + of_answer + generator.normal(0, 0.2, (seeds, 80))
        found = seeds_interval(table, names, seed=run)
        hits += found.low <= 0.1 <= found.high
    assert hits / runs > 0.915


def test_standard_error_by_hand():
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / np.sqrt(3))
    # Clusters (3, 3) and (0): mean 2, residual sums 2 and -2, variance 2/1 * 8 / 9.
    assert standard_error([3.0, 3.0, 0.0], ["a", "a", "b"]) == pytest.approx(np.sqrt(2 * 8) / 3)


def test_detectable_difference_is_what_a_simulation_detects():
    generator = np.random.default_rng(13)
    spread, count = 0.3, 60
    limit = float(np.median([detectable_difference(generator.normal(0, spread, count)) for _ in range(50)]))
    found = [stats.ttest_1samp(generator.normal(limit, spread, count), 0.0).pvalue < 0.05 for _ in range(800)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)
    assert detectable_difference([0.5, 0.4], ["a", "a"]) == 1.0
    assert detectable_difference([0.0] * 10) == 0.0


def test_three_thousand_questions_are_fast_and_small():
    differences = np.random.default_rng(14).normal(0, 0.3, 3000)
    start = time.process_time()
    bootstrap_interval(differences)
    randomisation_test(differences)
    assert time.process_time() - start < 3.0  # Measured: 0.2 s; others may use the machine, so not by the clock.
    tracemalloc.start()
    bootstrap_interval(differences)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize("wrong", [[], [[0.1, 0.2]], [float("nan"), 0.1]])
def test_wrong_differences_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected|finite"):
        bootstrap_interval(wrong)
    with pytest.raises(ValueError, match="2 differences but 1 clusters"):
        standard_error([0.1, 0.2], ["a"])


@pytest.mark.usefixtures("few_resamples")
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.sampled_from("abcdefghij")), min_size=1, max_size=40))
def test_swapping_the_models_mirrors_everything(pairs):
    differences = np.array([difference for difference, _ in pairs])
    names = [name for _, name in pairs]
    found = bootstrap_interval(differences, names)
    mirrored = bootstrap_interval(-differences, names)
    assert -1.0 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= 1.0
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-9)
    p = randomisation_test(differences, names)
    assert 0.0 < p <= 1.0
    assert randomisation_test(-differences, names) == pytest.approx(p)


@pytest.mark.usefixtures("few_resamples")
@settings(max_examples=30, deadline=None)
@given(st.permutations(range(30)))
def test_the_order_of_questions_does_not_matter(order):
    differences, names = clustered(np.random.default_rng(15), 6, largest=5)
    order = [index for index in order if index < len(names)]
    order += [index for index in range(len(names)) if index not in order]
    shuffled = bootstrap_interval(differences[order], [names[index] for index in order])
    usual = bootstrap_interval(differences, names)
    assert (shuffled.low, shuffled.high) == pytest.approx((usual.low, usual.high))
