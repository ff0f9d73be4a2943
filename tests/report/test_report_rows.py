from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finished_run
from expertune.records import Provenance, Query, Question, Role
from expertune.report.rows import CASES, HeldOutRow, held_out_rows, hits_by_training, losses, sample_rows, wins


def row(before: int, after: int) -> HeldOutRow:
    return HeldOutRow("test", Query("q", "text"), None, before, after, (), ())


def test_rows_join_base_and_tuned_by_query():
    inputs = finished_run.run()
    first, second, third, last = held_out_rows(inputs.judged, inputs.evaluation.measurements, first=2)
    assert (first.query.id, first.before, first.after) == ("q1", 4, 1)
    assert first.gain == pytest.approx(1 - 1 / 4)
    assert [(answer.id, answer.right) for answer in first.top_before] == [("d1", False), ("d2", False)]
    assert [(answer.id, answer.right) for answer in first.top_after] == [("d0", True), ("d1", False)]
    assert first.answer is not None
    assert first.answer.id == "d0"
    assert (second.query.id, third.query.id, last.query.id) == ("q3", "q2", "q4")
    assert third.answer is not None
    assert third.answer.id == "d1"  # d0 is judged with grade 0


def test_rows_do_not_depend_on_the_order_of_queries():
    inputs = finished_run.run()
    turned = []
    for item in inputs.evaluation.measurements:
        if item.model == "tuned":
            item = replace(item, query_ids=item.query_ids[::-1], ranks=item.ranks[::-1], top=item.top[::-1])
        turned.append(item)
    expected = held_out_rows(inputs.judged, inputs.evaluation.measurements)
    assert held_out_rows(inputs.judged, turned) == expected


def test_only_domain_sets_measured_for_both_models_count():
    inputs = finished_run.run()
    assert {item.split for item in held_out_rows(inputs.judged, inputs.evaluation.measurements)} == {"test_seen"}
    base_only = [item for item in inputs.evaluation.measurements if item.model == "base"]
    assert held_out_rows(inputs.judged, base_only) == ()
    general = [replace(judged, role=Role.GENERAL) for judged in inputs.judged]
    assert held_out_rows(general, inputs.evaluation.measurements) == ()


def test_hits_are_told_apart_by_whether_the_answer_had_a_question_to_train_on():
    inputs = finished_run.run()
    ranked = inputs.judged, inputs.evaluation.measurements
    rows = held_out_rows(*ranked)
    answer = rows[0].answer
    assert answer is not None
    of_one = [item for item in rows if item.answer is not None and item.answer.id == answer.id]
    teaching = Question("a question", (answer.id,), Provenance.PAIR)
    parts = hits_by_training(replace(inputs.dataset, questions=(teaching,)), inputs.judged, inputs.evaluation)
    taught, untaught = (part.hits for part in parts)
    assert [part.outcome for part in parts] == ["", ""]  # one set holds both kinds: its comparison reads neither
    assert 0 < taught.questions == len(of_one) < len(rows)
    assert taught.first == (sum(item.before == 1 for item in of_one), sum(item.after == 1 for item in of_one))
    assert (untaught.questions, untaught.first[1]) == (
        len(rows) - len(of_one),
        sum(item.after == 1 for item in rows) - taught.first[1],
    )
    assert hits_by_training(replace(inputs.dataset, questions=()), inputs.judged, inputs.evaluation) == ()


def test_questions_that_are_a_set_of_their_own_read_as_its_comparison_does():
    inputs = finished_run.run()
    (judged,) = (item for item in inputs.judged if item.split == "test_seen")
    other = replace(judged, split="test_unseen", qrels={query.id: {"new": 1} for query in judged.queries})
    measured = [item for item in inputs.evaluation.measurements if item.split == "test_seen"]
    evaluation = replace(
        inputs.evaluation,
        measurements=(*measured, *(replace(item, split="test_unseen") for item in measured)),
        comparisons=(
            finished_run.comparison("test_seen", Role.DOMAIN),
            finished_run.comparison("test_unseen", Role.DOMAIN, difference=0.001),
        ),
    )
    teaching = tuple(Question(f"about {item.id}", (item.id,), Provenance.PAIR) for item in inputs.dataset.documents)
    dataset = replace(inputs.dataset, questions=teaching)
    parts = hits_by_training(dataset, (judged, other), evaluation)
    assert [(part.hits.questions, part.outcome) for part in parts] == [(4, "better"), (4, "no difference shown")]


def test_a_right_answer_that_was_not_ranked_counts_as_lost():
    assert (row(1, 0).outcome, row(0, 5).outcome, row(0, 0).outcome) == ("worse", "better", "same")
    assert row(1, 0).gain == -1
    assert row(1, 0).places is None
    assert row(9, 2).places == 7


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30))
def test_wins_and_losses_are_disjoint_and_of_their_kind(ranks: list[tuple[int, int]]):
    rows = sorted((row(*pair) for pair in ranks), key=lambda item: -abs(item.gain))
    won, lost = wins(rows), losses(rows)
    assert all(item.gain > 0 for item in won)
    assert all(item.gain < 0 for item in lost)
    assert len(won) == min(CASES, sum(item.gain > 0 for item in rows))
    assert len(lost) == min(CASES, sum(item.gain < 0 for item in rows))


def test_the_sample_is_spread_over_generators_and_kinds():
    inputs = finished_run.run()
    rows = sample_rows(inputs.dataset, inputs.questions, inputs.scores, inputs.labels, most=30)
    groups = Counter((item.question.source, item.question.kind) for item in rows)
    # Two groups have 40 questions, two have 2 and one has 1: the small ones are shown whole.
    assert groups == {
        ("small-llm", "keyword"): 13,
        ("small-llm", "story"): 12,
        ("small-llm", "short"): 1,
        ("tiny-llm", "keyword"): 2,
        ("tiny-llm", "story"): 2,
    }
    assert len({item.question.text for item in rows}) == 30
    assert all(item.question.synthetic for item in rows)


@given(st.integers(0, 120))
def test_the_sample_never_exceeds_what_is_asked_or_there(most: int):
    inputs = finished_run.run()
    rows = sample_rows(inputs.dataset, inputs.questions, inputs.scores, inputs.labels, most=most)
    assert len(rows) == min(most, 85)
    assert len({id(item.question) for item in rows}) == len(rows)


def test_opinions_hold_the_score_and_the_rank_of_the_own_answer():
    inputs = finished_run.run()
    rows = sample_rows(inputs.dataset, inputs.questions, inputs.scores, inputs.labels, most=85)
    strong, weak, silent = next(item for item in rows if item.answer.id == "d2").opinions
    assert strong is not None
    assert weak is not None
    assert (strong.score, strong.rank) == (pytest.approx(0.3), 3)
    assert (weak.score, weak.rank) == (pytest.approx(0.5), 2)
    assert silent is None
