"""The round trip: which questions stay because the panel finds their answer again."""

from __future__ import annotations

import numpy as np

from expertune.label.round_trip import round_trip
from expertune.records import Dataset, Document, Provenance, Question, Questions, Scores

DATASET = Dataset("shop", tuple(Document(name, f"answer {name}") for name in "abcd"), ())


def test_round_trip_keeps_what_the_panel_finds_again() -> None:
    questions = Questions(
        (
            Question("own", ("d",)),
            Question("found", ("a",), Provenance.SYNTHETIC, "echo", "question"),
            Question("second", ("b",), Provenance.SYNTHETIC, "echo", "question"),
            Question("one of two", ("a", "d"), Provenance.SYNTHETIC, "echo", "question"),
        )
    )
    # Expert 0 counts in thousands and does not rank a first; standardised, expert 1 outvotes it.
    one = [[4, 3, 2, 1], [9, 10, 0, 0], [9, 8, 0, 0], [0, 0, 0, 9]]
    two = [[4, 3, 2, 1], [9, 0, 0, 0], [9, 8, 0, 0], [0, 0, 1, 9]]
    values = np.stack([np.array(one) * 1000.0, np.array(two)], axis=2).astype(np.float32)
    scores = Scores(("one", "two"), values)
    assert round_trip(questions, DATASET, scores, most_rank=1).tolist() == [True, True, False, True]
    assert round_trip(questions, DATASET, scores, most_rank=2).tolist() == [True, True, True, True]


def test_round_trip_drops_a_question_whose_answer_nobody_scored() -> None:
    questions = Questions((Question("unknown", ("a",), Provenance.SYNTHETIC, "echo", "question"),))
    values = np.array([[[np.nan], [1.0], [2.0], [3.0]]], dtype=np.float32)
    assert round_trip(questions, DATASET, Scores(("one",), values), most_rank=4).tolist() == [False]


def test_only_synthetic_questions_are_dropped() -> None:
    questions = Questions(
        (
            Question("own", ("a",)),
            Question("asked by a user", (), Provenance.LOG),
            Question("cut out", ("a",), Provenance.SPAN),
            Question("written", ("a",), Provenance.SYNTHETIC, "echo", "question"),
        )
    )
    # The expert ranks a last for every question.
    values = np.tile(np.array([0.0, 1.0, 2.0, 3.0], dtype=np.float32)[None, :, None], (4, 1, 1))
    kept = round_trip(questions, DATASET, Scores(("one",), values), most_rank=1)
    assert kept.tolist() == [True, True, True, False]
