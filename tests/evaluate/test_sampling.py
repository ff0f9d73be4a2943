"""Drawing questions and weighting them back: values by hand, and that the estimate is what it says it is."""

from __future__ import annotations

from math import inf, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expertune.evaluate import sampling
from expertune.evaluate.sampling import Drawn, chances, keys, lot, ndcg, needed, planned, spread, weights
from expertune.evaluate.statistics import bootstrap_interval


def test_ndcg_by_hand():
    assert ndcg(["a", "b"], ["a"]) == 1.0
    assert ndcg(["a", "b"], ["b"]) == pytest.approx(1 / log2(3))
    assert ndcg(["a", "b", "c"], ["a", "c"]) == pytest.approx((1 + 0.5) / (1 + 1 / log2(3)))
    assert ndcg(["a"], ["z"]) == 0.0
    assert ndcg([*"bcdefghijk", "a"], ["a"]) == 0.0  # the eleventh
    assert ndcg(list("abcdefghijkl"), list("abcdefghijkl")) == pytest.approx(1.0)


def test_models_that_rank_alike_lie_not_apart():
    top = np.array([[0, 1, 2], [2, 1, 0]])
    assert spread(top, [top], [top, top]).tolist() == [0.0, 0.0]


def test_spread_by_hand():
    base, tuned = np.array([[0, 1]]), np.array([[1, 0]])
    # Both answers get 1 + 1/4 of the say, so each may be right; either way one model loses 1 - 1 / log2(3).
    assert spread(base, [tuned], [base, tuned])[0] == pytest.approx(1 - 1 / log2(3))
    # A third model that agrees with the base changes who is likely right, not how much is at stake.
    assert spread(base, [tuned], [base, tuned, base])[0] == pytest.approx(1 - 1 / log2(3))


def test_chances_add_up_and_never_fall_below_the_uniform_part():
    found = chances(np.array([0.0, 0.0, 3.0, 1.0]))
    assert found.sum() == pytest.approx(1.0)
    assert found.tolist() == pytest.approx([0.125, 0.125, 0.125 + 0.375, 0.125 + 0.125])
    assert chances(np.zeros(4)).tolist() == [0.25] * 4


def test_the_order_depends_on_text_and_drawing_only():
    texts = [f"question {number}" for number in range(50)]
    even = np.full(50, 1 / 50)
    first = keys(texts, even)
    assert keys(list(reversed(texts)), even).tolist() == first.tolist()[::-1]
    assert np.argsort(first).tolist() != np.argsort(keys(texts, even, drawing=2)).tolist()
    assert 0.4 < np.mean([lot(text) for text in texts]) < 0.6


def test_a_uniform_draw_weighs_all_alike_and_one_that_saw_all_too():
    assert weights([Drawn(1, 0.1, 3.0)] * 4).tolist() == [1.0] * 4
    assert weights([Drawn(1, 0.1, inf), Drawn(1, 0.4, inf)]).tolist() == [1.0, 1.0]
    assert weights([]).tolist() == []


def test_a_weight_is_one_over_the_probability():
    found = weights([Drawn(1, 0.2, 1.0), Drawn(1, 0.5, 2.0)])  # the threshold is that of the last one: 2
    assert found[0] / found[1] == pytest.approx((1 - np.exp(-1.0)) / (1 - np.exp(-0.4)))
    assert found.mean() == pytest.approx(1.0)


def test_a_second_drawing_takes_what_was_judged_before_as_known():
    found = weights([Drawn(1, 0.1, 5.0), Drawn(2, 0.1, 2.0)])
    before, after = 1 / -np.expm1(-0.5) + 1.0, 1 / -np.expm1(-0.2)
    assert found[0] / found[1] == pytest.approx(before / after)
    with pytest.raises(ValueError, match="order"):
        weights([Drawn(2, 0.1, 2.0), Drawn(1, 0.1, 5.0)])


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(1e-4, 0.5), st.floats(0.01, 1e4)), min_size=1, max_size=12))
def test_weights_are_positive_and_one_on_average(draws: list[tuple[int, float, float]]):
    found = weights([Drawn(*draw) for draw in sorted(draws)])
    assert (found > 0).all()
    assert found.mean() == pytest.approx(1.0)


POPULATION = np.random.default_rng(1)
APART = POPULATION.random(300) ** 4
VALUES = np.clip(APART * POPULATION.choice([-0.5, 1.0], 300) + POPULATION.normal(0, 0.02, 300), -1, 1)
TEXTS = [f"question {number}" for number in range(300)]


def estimates(chance: np.ndarray, number: int, draws: int) -> tuple[list[float], float]:
    """Return the estimates of many drawings, and how often their interval holds the truth."""
    found, held = [], 0
    for draw in range(1, draws + 1):
        order = np.argsort(drawn := keys(TEXTS, chance, drawing=draw))
        rows = order[:number]
        weight = weights([Drawn(1, chance[row], drawn[order[number]]) for row in rows])
        interval = bootstrap_interval(VALUES[rows], weights=weight, seed=draw)
        found.append(interval.mean)
        held += interval.low <= VALUES.mean() <= interval.high
    return found, held / draws


def test_the_estimate_is_unbiased_its_interval_holds_and_it_is_closer_than_a_uniform_one(few_resamples: None):
    drawn, coverage = estimates(chances(APART), 40, 200)
    uniform, _ = estimates(np.full(300, 1 / 300), 40, 200)
    standard_error = np.std(drawn) / np.sqrt(200)
    assert abs(np.mean(drawn) - VALUES.mean()) < 3 * standard_error
    assert coverage >= 0.92
    assert np.var(drawn) < 0.7 * np.var(uniform)
    plain = [VALUES[np.argsort(keys(TEXTS, chances(APART), drawing=draw))[:40]].mean() for draw in range(1, 101)]
    assert abs(np.mean(plain) - VALUES.mean()) > 10 * standard_error  # without weights it is not


def test_two_drawings_with_other_chances_are_unbiased_together():
    second = chances(APART[::-1])
    found = []
    for draw in range(1, 301):
        one = keys(TEXTS, chances(APART), drawing=2 * draw)
        order = np.argsort(one)
        rows = order[:25].tolist()
        drawn = [Drawn(1, chances(APART)[row], one[order[25]]) for row in rows]
        other = keys(TEXTS, second, drawing=2 * draw + 1)
        rest = [row for row in np.argsort(other).tolist() if row not in set(rows)]
        drawn += [Drawn(2, second[row], other[rest[25]]) for row in rest[:25]]
        weight = weights(drawn)
        found.append(np.average(VALUES[[*rows, *rest[:25]]], weights=weight))
    assert abs(np.mean(found) - VALUES.mean()) < 3.5 * np.std(found) / np.sqrt(300)


def test_how_many_are_needed_by_hand():
    assert needed(20, 0.06) == 80
    assert needed(20, 0.03) == 20
    apart, even = np.full(10, 0.3), np.full(10, 0.1)
    assert planned(apart, even) == int(np.ceil((1.959964 + 0.841621) ** 2 * 0.09 / 0.0009))
    assert planned(np.zeros(10), even) == sampling.FEW
