"""Ways to search beside each other: fusion, figures and order by hand, and models timed in turn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from expertune.evaluate import alternatives as module
from expertune.evaluate.alternatives import Cost, Search, Way, alternatives, fused, milliseconds
from expertune.records import Alternatives, Document, IndexWork, JudgedSet, Progress, Query, Role

DOCUMENTS = tuple(Document(name, name) for name in "abcd")
TEN = tuple(Document(name, name) for name in "abcdefghij")
COST = Cost(3, 12.0, 0.5)


def fixed(scores: dict[str, Sequence[float]]) -> Search:
    return lambda questions: np.array([scores[question] for question in questions], dtype=np.float32)


def way(model: str, scores: dict[str, Sequence[float]], **changes: Any) -> Way:
    return Way(model, changes.pop("holds", "answers"), IndexWork.KEPT, lambda documents: fixed(scores), **changes)


def judged(split: str, right: dict[str, str]) -> JudgedSet:
    queries = tuple(Query(text, text) for text in right)
    return JudgedSet("shop", split, Role.DOMAIN, DOCUMENTS, queries, {text: {own: 1} for text, own in right.items()})


SEEN = judged("seen", {"q1": "a", "q2": "b"})
UNSEEN = judged("unseen", {"q3": "c"})
# Ranks of the right answers: ours 1, 2 and 4; the other's 3, 1 and 1.
OURS = {"q1": [9, 1, 2, 3], "q2": [5, 4, 1, 2], "q3": [4, 3, 1, 2]}
OTHERS = {"q1": [2, 3, 4, 1], "q2": [1, 9, 2, 3], "q3": [1, 2, 9, 3]}


@pytest.fixture
def found() -> Alternatives:
    ways = [way("ours", OURS, tuned=True), way("other", OTHERS), way("ours", OTHERS, tuned=True, holds="questions")]
    return alternatives(ways, [SEEN, UNSEEN], {"ours": COST, "other": Cost(0, 0.0, 2.0)})


def test_scores_are_means_over_sets_and_hits_count_questions(found: Alternatives) -> None:
    gain = {rank: 1 / np.log2(1 + rank) for rank in (1, 2, 3, 4)}
    ours, other = found.reference, found.others[0]
    assert (ours.model, other.model, found.questions) == ("ours", "other", 3)
    assert ours.ndcg == pytest.approx(((gain[1] + gain[2]) / 2 + gain[4]) / 2)
    assert other.ndcg == pytest.approx(((gain[3] + gain[1]) / 2 + gain[1]) / 2)
    assert (ours.hit1, ours.hit3) == pytest.approx((1 / 3, 2 / 3))
    assert (other.hit1, other.hit3) == pytest.approx((2 / 3, 1.0))
    assert other.difference == pytest.approx(other.ndcg - ours.ndcg)
    assert ours.difference == 0.0
    assert [(row.split, row.base, row.tuned) for row in other.sets] == [
        ("seen", pytest.approx((gain[1] + gain[2]) / 2), pytest.approx((gain[3] + gain[1]) / 2)),
        ("unseen", pytest.approx(gain[4]), pytest.approx(gain[1])),
    ]
    assert (other.dimensions, other.megabytes, other.milliseconds) == (0, 0.0, 2.0)


def test_rows_go_from_best_to_worst_and_only_what_tunes_nothing_is_an_alternative(found: Alternatives) -> None:
    assert [row.name for row in found.rows] == ["other", "ours, questions", "ours"]
    assert [row.name for row in found.untuned] == ["other"]


def test_a_difference_in_every_answer_is_shown() -> None:
    asked = {f"q{n}": TEN[n % 10].id for n in range(40)}
    first = {text: [9.0 if item.id == own else 1.0 for item in TEN] for text, own in asked.items()}
    # The right answer second, behind the one before it.
    second = {
        text: [scores[index] / 2 + scores[(index + 1) % 10] for index in range(10)] for text, scores in first.items()
    }
    data = [replace(judged("test", asked), documents=TEN)]
    costs = {"ours": COST, "other": COST}
    (row,) = alternatives([way("ours", second), way("other", first)], data, costs).others
    assert (row.outcome, row.difference) == ("better", pytest.approx(1 - 1 / np.log2(3)))
    (row,) = alternatives([way("ours", first), way("other", second)], data, costs).others
    assert row.outcome == "worse"
    (row,) = alternatives([way("ours", first), way("other", first)], data, costs).others
    assert (row.outcome, row.difference) == ("no difference shown", 0.0)
    # Questions about nine answers are too few for an interval, however large the difference.
    nine = [replace(judged("test", {text: own for text, own in asked.items() if own != "j"}), documents=TEN)]
    (row,) = alternatives([way("ours", second), way("other", first)], nine, costs).others
    assert (row.low, row.high, row.outcome) == (-1.0, 1.0, "no difference shown")


def test_questions_that_were_drawn_count_by_their_weight() -> None:
    queries = (Query("q1", "q1", weight=3.0), Query("q2", "q2", weight=1.0))
    data = [replace(SEEN, queries=queries)]
    (row,) = alternatives([way("ours", OURS), way("other", OTHERS)], data, {"ours": COST, "other": COST}).others
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    assert row.hit1 == pytest.approx(0.25)  # of the second question only
    assert row.ndcg == pytest.approx((3 * third + 1) / 4)
    assert row.difference == pytest.approx((3 * (third - 1) + (1 - second)) / 4)


def test_every_way_is_told() -> None:
    told: list[Progress] = []
    alternatives([way("ours", OURS), way("other", OTHERS)], [SEEN], {"ours": COST, "other": COST}, told.append)
    assert [(event.stage, event.done, event.total) for event in told] == [("alternatives", n, 2) for n in range(3)]


def test_questions_are_searched_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def search(questions: Sequence[str]) -> np.ndarray:
        sizes.append(len(questions))
        return fixed(OURS)(questions)

    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 4)  # one question against four documents
    alternatives([Way("ours", "answers", IndexWork.KEPT, lambda documents: search)], [SEEN], {"ours": COST})
    assert sizes == [1, 1]


def test_fusion_adds_reciprocal_ranks_of_what_was_found() -> None:
    both = fused(fixed({"q": [0.9, 0.5, 0.1, 0.5]}), fixed({"q": [0.0, 2.0, 1.0, 0.0]}))
    # Ranks of the first: 1, 2, 4, 2; of the second: 2nd document first, third second, the others not found.
    expected = [[61 / 61 / 2, (61 / 62 + 61 / 61) / 2, (61 / 64 + 61 / 62) / 2, 61 / 62 / 2]]
    np.testing.assert_allclose(both(["q"]), expected, rtol=1e-6)


def test_fusion_with_nothing_found_leaves_the_order() -> None:
    both = fused(fixed({"q": [0.1, 0.9, 0.5, 0.2]}), fixed({"q": [0.0, 0.0, 0.0, 0.0]}))
    assert list(np.argsort(-both(["q"])[0])) == [1, 2, 3, 0]


def test_models_are_timed_in_turn_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    # The clock before and after each of four questions: 1, 2, 30 and 4 s for "slow"; half of each for "fast".
    seconds = [time for slow in (1.0, 2.0, 30.0, 4.0) for time in (slow, slow / 2)]
    clock = iter(list(itertools.chain.from_iterable((0.0, time) for time in seconds)))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))

    def model(name: str) -> Any:
        return lambda texts: asked.append((name, texts[0]))

    taken = milliseconds({"slow": model("slow"), "fast": model("fast")}, ["a", "b", "c", "d"])
    assert taken == {"slow": 3000.0, "fast": 1500.0}
    assert asked[:2] == [("slow", "a"), ("fast", "a")]  # not counted
    assert asked[2:] == [(name, text) for text in "abcd" for name in ("slow", "fast")]
