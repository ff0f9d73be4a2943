"""Cuts of a score: places and shares by hand, intervals against SciPy's, and what conformal prediction promises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from expertune.evaluate.threshold import IN_LOG, JUDGED, LEFT_OUT, design_effect, proportion_interval, threshold
from expertune.records import Document, FloatArray, JudgedSet, Query, Role


class Circle:
    """Encode texts that are angles in degrees: the cosine of two is that of the angle between them."""

    name = "circle"

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    encode_documents = encode_queries


def judged(angles: Sequence[float], answers: Sequence[str] = ()) -> JudgedSet:
    """Two answers, at 0 and at 90 degrees; every question is about the first one, or about those named."""
    queries = tuple(Query(f"q{index}", str(angle)) for index, angle in enumerate(angles))
    names = answers or ["zero"] * len(angles)
    qrels = {query.id: {name: 1} for query, name in zip(queries, names, strict=True)}
    return JudgedSet("shop", "test", Role.DOMAIN, (Document("zero", "0"), Document("right", "90")), queries, qrels)


def test_cuts_stand_at_the_ranks_of_conformal_prediction() -> None:
    # 39 questions at 1 to 39 degrees: floor(40 x 0.05) = 2, floor(40 x 0.1) = 4, floor(40 x 0.2) = 8 from below.
    found = threshold(Circle(), [judged(range(1, 40))])
    assert [cut.wanted for cut in found.cuts] == [0.95, 0.9, 0.8]
    np.testing.assert_allclose([cut.score for cut in found.cuts], np.cos(np.radians([38, 36, 32])), atol=1e-5)
    np.testing.assert_allclose([cut.passed for cut in found.cuts], [38 / 39, 36 / 39, 32 / 39])
    assert (found.questions, found.answers, found.note) == (39, 1, "")
    # Without the answer at 0, that at 90 degrees is left: a question at 32 degrees has sin(32) with it.
    (left_out,) = found.cuts[0].refused
    assert (left_out.source, left_out.questions, left_out.share) == (LEFT_OUT, 39, 1.0)


def test_questions_of_a_log_are_refused_where_even_their_best_answer_stays_below() -> None:
    found = threshold(Circle(), [judged(range(1, 40))], [["180", "200"], ["45"], ["1"]])
    refusals = {item.source: item for item in found.cuts[1].refused}
    assert refusals[IN_LOG].questions == 4
    assert refusals[IN_LOG].share == 0.75  # cos(45) is below cos(36)


def test_questions_that_a_person_found_no_answer_for_count_one_by_one() -> None:
    asked = [Query("u1", "180"), Query("u2", "45"), Query("u3", "1")]
    found = threshold(Circle(), [judged(range(1, 40))], [], asked)
    refusals = {item.source: item for item in found.cuts[1].refused}
    assert IN_LOG not in refusals
    assert (refusals[JUDGED].questions, refusals[JUDGED].share) == (3, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("count", "wanted"), [(3, []), (4, [0.8]), (9, [0.9, 0.8]), (18, [0.9, 0.8]), (19, [0.95, 0.9, 0.8])]
)
def test_a_set_that_is_too_small_for_a_cut_says_so(count: int, wanted: list[float]) -> None:
    found = threshold(Circle(), [judged(range(1, count + 1))])
    assert [cut.wanted for cut in found.cuts] == wanted
    assert bool(found.note) == (count < 19)
    if count < 19:
        assert found.note.startswith(f"{count} held-out questions are too few")
        assert found.note.endswith("it takes 19")
    assert (found.usual is None) == (count < 4)


def test_several_sets_count_together() -> None:
    whole = threshold(Circle(), [judged(range(1, 40))])
    parts = threshold(Circle(), [judged(range(1, 20)), judged(range(20, 40))])
    assert parts == whole


def test_intervals_are_those_of_clopper_and_pearson_where_every_answer_has_one_question() -> None:
    happened = np.array([True] * 7 + [False] * 13)
    low, high = proportion_interval(happened, np.arange(20).astype(str))
    expected = stats.binomtest(7, 20).proportion_ci(0.95)
    # Twenty clusters of one have a design effect of 20 / 19, the sample's own variance.
    assert low == pytest.approx(expected.low, abs=0.01)
    assert high == pytest.approx(expected.high, abs=0.01)
    for share in (False, True):
        low, high = proportion_interval(np.full(20, share), np.arange(20).astype(str))
        expected = stats.binomtest(20 * share, 20).proportion_ci(0.95)
        assert (low, high) == pytest.approx((expected.low, expected.high))


def test_questions_that_stand_or_fall_together_count_as_one() -> None:
    happened = np.repeat([True, False, True, True], 10)
    clusters = np.repeat(["a", "b", "c", "d"], 10)
    assert design_effect(happened, clusters) == pytest.approx(10 * 4 / 3)
    assert design_effect(np.ones(40, dtype=bool), clusters) == 10
    wide, narrow = proportion_interval(happened, clusters), proportion_interval(happened, np.arange(40).astype(str))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_an_answer_whose_id_looks_like_two_is_one_of_its_own() -> None:
    documents = tuple(Document(name, "0") for name in ("a", "b", "a+b"))
    queries = tuple(Query(f"q{angle}", str(angle)) for angle in range(1, 5))
    qrels = {query.id: {"a": 1, "b": 1} if place % 2 else {"a+b": 1} for place, query in enumerate(queries)}
    assert threshold(Circle(), [JudgedSet("s", "t", Role.DOMAIN, documents, queries, qrels)]).answers == 2


def drawn(angles: Sequence[float], weights: Sequence[float]) -> JudgedSet:
    """One question an answer, all at 0 degrees, each with a weight."""
    documents = tuple(Document(f"d{index}", "0") for index in range(len(angles)))
    queries = tuple(
        Query(f"q{index}", str(angle), weight)
        for index, (angle, weight) in enumerate(zip(angles, weights, strict=True))
    )
    own = {query.id: {document.id: 1} for query, document in zip(queries, documents, strict=True)}
    return JudgedSet("s", "t", Role.DOMAIN, documents, queries, own)


def test_weighted_questions_move_the_cut_the_shares_and_the_intervals() -> None:
    # Weights 1 and 3 in turn at 1 to 20 degrees: 40 in all, as many as 40 x 40 / 100 = 16 questions that count alike,
    # of which each has 0.4 a weight. From below: 1.2, 1.6, 2.8. Cuts may refuse 17 x 0.1 = 1.7 and 17 x 0.2 = 3.4.
    asked = [Query("u1", "180", 3.0), Query("u2", "90", 0.5), Query("u3", "1", 0.5)]
    found = threshold(Circle(), [drawn(range(1, 21), [1.0, 3.0] * 10)], [], asked)
    assert [cut.wanted for cut in found.cuts] == [0.9, 0.8]
    np.testing.assert_allclose([cut.score for cut in found.cuts], np.cos(np.radians([20, 18])), atol=1e-5)
    np.testing.assert_allclose([cut.passed for cut in found.cuts], [1.0, 36 / 40])
    # At 18 degrees 1.6 are refused and the next one decides; twenty clusters of one have a design effect of 20 / 19.
    expected = stats.beta.ppf([0.025, 0.975], 0.95 * (17 - 2.6), 0.95 * 2.6)
    np.testing.assert_allclose([found.cuts[1].low, found.cuts[1].high], expected)
    refusals = {item.source: item for item in found.cuts[1].refused}
    assert (refusals[JUDGED].questions, refusals[JUDGED].share) == (3, 3.5 / 4)
    assert found.note.startswith("20 held-out questions, which count as 16 by their weights, are too few")


def test_weights_that_are_all_the_same_change_nothing() -> None:
    angles = range(1, 40)
    assert threshold(Circle(), [drawn(angles, [0.5] * 39)]) == threshold(Circle(), [drawn(angles, [1.0] * 39)])


def test_weighted_shares_have_the_variance_of_survey_sampling() -> None:
    # Share 4 / 6; sums of weight x deviation: a 3 / 3, b -2 x 2 / 3, c 1 / 3, so 3 / 2 x (9 + 16 + 1) / 9 = 13 / 3
    # beside (1 + 4 + 4 + 1) x 2 / 9 of independent questions with the same weights.
    happened, clusters = np.array([True, True, False, True]), np.array(["a", "a", "b", "c"])
    weights = np.array([1.0, 2.0, 2.0, 1.0])
    assert design_effect(happened, clusters, weights) == pytest.approx((13 / 3) / (10 * 2 / 9))
    # All of them: three answers with mean weights 1.5, 2, 1, instead of four questions.
    alone = design_effect(np.ones(4, dtype=bool), clusters, weights)
    assert alone == pytest.approx((36 / 10) / (4.5**2 / 7.25))


def test_right_answers_of_a_log_pass_as_often_as_wanted_where_easy_questions_are_drawn_more_often() -> None:
    generator = np.random.default_rng(0)
    shares: dict[str, list[float]] = {"weighted": [], "not": []}
    covered = []
    log = generator.uniform(0, 90, 4000)
    chance = np.where(log < 60, 3.0, 1.0)
    chance /= chance.sum()
    for _ in range(60):
        places = generator.choice(len(log), 60, p=chance)
        weights = 1 / chance[places]
        for name, used in (("weighted", weights * 60 / weights.sum()), ("not", np.ones(60))):
            cut = threshold(Circle(), [drawn(log[places].tolist(), used.tolist())]).usual
            assert cut is not None
            shares[name].append(float(np.mean(np.cos(np.radians(log)) >= cut.score)))
            if name == "weighted":
                covered.append(cut.low <= shares[name][-1] <= cut.high)
    assert np.mean(shares["weighted"]) >= 0.9
    assert np.mean(shares["not"]) < 0.85
    assert np.mean(covered) > 0.9


def test_new_right_answers_pass_as_often_as_wanted() -> None:
    generator = np.random.default_rng(0)
    shares, covered = [], []
    for _ in range(200):
        held_out, new = generator.uniform(0, 90, 60), generator.uniform(0, 90, 2000)
        # One cluster a question: they are independent here.
        documents = tuple(Document(f"d{index}", "0") for index in range(60))
        queries = tuple(Query(f"q{index}", str(angle)) for index, angle in enumerate(held_out))
        own = {query.id: {document.id: 1} for query, document in zip(queries, documents, strict=True)}
        cut = threshold(Circle(), [JudgedSet("s", "t", Role.DOMAIN, documents, queries, own)]).usual
        assert cut is not None
        share = float(np.mean(np.cos(np.radians(new)) >= cut.score))
        shares.append(share)
        covered.append(cut.low <= share <= cut.high)
    assert np.mean(shares) >= 0.9
    assert np.mean(covered) > 0.9
