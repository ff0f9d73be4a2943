"""Answers with their own question before them: what is indexed, and that nothing finds itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from expertune import expansion
from expertune.expansion import Expansion
from expertune.records import Document, Question, Questions, Scores

DOCUMENTS = (Document("d0", "By card."), Document("d1", "By post."), Document("d2", "Every day."))
PAY, SEND, ALSO = Question("How to pay?", ("d0",)), Question("Send it?", ("d1",)), Question("Which card?", ("d0",))
WRITTEN = Question("open today", ("d2",), "llm", "question")


def texts(expansion: Expansion) -> list[str]:
    return [document.text for document in expansion.documents(DOCUMENTS)]


def test_own_questions_stand_before_their_answer_and_others_stay_as_they_are():
    asked = (WRITTEN, PAY, SEND, ALSO)
    assert texts(Expansion.of(asked, 1)) == ["How to pay? By card.", "Send it? By post.", "Every day."]
    assert texts(Expansion.of(asked, 2)) == ["How to pay? Which card? By card.", "Send it? By post.", "Every day."]
    assert [document.id for document in Expansion.of(asked, 1).documents(DOCUMENTS)] == ["d0", "d1", "d2"]


def test_a_question_about_several_answers_stands_before_all_of_them():
    asked = (Question("Anything?", ("d2", "d1"), "labelled", "labelled"), SEND)
    assert Expansion.of(asked, 1).questions == {"d2": ("Anything?",), "d1": ("Anything?",)}


@pytest.mark.parametrize("nothing", [Expansion.of((), 3), Expansion.of((PAY, SEND), 0)])
def test_without_questions_nothing_changes(nothing):
    assert nothing.questions == {}
    assert nothing.documents(DOCUMENTS) == DOCUMENTS


def test_a_question_that_is_not_known_stands_nowhere_and_no_other_takes_its_place():
    whole, known = Expansion.of((PAY, SEND, ALSO), 1), (SEND, ALSO, replace(PAY, source="llm"))
    assert texts(whole.knowing(known)) == ["By card.", "Send it? By post.", "Every day."]
    assert texts(Expansion.of((PAY, SEND, ALSO), 2).knowing(known))[0] == "Which card? By card."


def scores(start: float, columns: list[list[int]] | None = None, seconds: float = 1.0) -> Scores:
    shape = (3, 3, 2) if columns is None else (3, 2, 2)
    values = start + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Scores(("a", "b"), values, (seconds, 2 * seconds), None if columns is None else np.array(columns))


QUESTIONS = Questions((PAY, WRITTEN, SEND))


def test_own_questions_are_judged_on_plain_answers_and_written_ones_on_expanded():
    plain, expanded = scores(0), scores(100, seconds=10.0)
    made = expansion.joined(plain, expanded, QUESTIONS.known)
    np.testing.assert_array_equal(made.values[[0, 2]], plain.values[[0, 2]])
    np.testing.assert_array_equal(made.values[1], expanded.values[1])
    np.testing.assert_array_equal(made.plain, plain.values)
    assert made.seconds == (11.0, 22.0)


def test_an_answer_is_judged_as_it_is_where_its_question_does_not_count():
    plain, expanded = scores(0), scores(100)
    made = expansion.joined(plain, expanded, QUESTIONS.known).of(np.array([1, 2]))
    whole = Expansion.of((PAY, SEND), 1)
    judged = expansion.as_if(made, DOCUMENTS, whole, whole.knowing((SEND,)))
    written = judged.values[0]
    np.testing.assert_array_equal(written[0], plain.values[1, 0])  # its question is not known
    np.testing.assert_array_equal(written[1], expanded.values[1, 1])
    np.testing.assert_array_equal(written[2], expanded.values[1, 2])  # it has none to lose
    np.testing.assert_array_equal(judged.values[1], plain.values[2])  # the user's own question
    assert judged.plain is None


def test_scores_of_plain_answers_come_back_as_they_are():
    assert expansion.as_if(given := scores(0), DOCUMENTS, Expansion.of((PAY,), 1), Expansion({})) is given


def test_candidates_keep_their_own_columns():
    plain = scores(0, [[0, 1], [0, 1], [1, 2]])
    expanded = scores(100, [[1, 2], [1, 2], [0, 1]])
    made = expansion.joined(plain, expanded, QUESTIONS.known)
    assert made.columns is not None
    assert made.columns.tolist() == [[0, 1], [1, 2], [1, 2]]
    np.testing.assert_array_equal(made.values, np.stack([plain.values[0], expanded.values[1], plain.values[2]]))
    # Of the written question, d1 was a candidate both times; d2 only expanded, so it is the worst of the plain ones.
    np.testing.assert_array_equal(made.plain[1], [plain.values[1, 1], plain.values[1, 0]])
    whole = Expansion.of((PAY, SEND, Question("When?", ("d2",))), 1)
    judged = expansion.as_if(made, DOCUMENTS, whole, whole.knowing((PAY,)))
    np.testing.assert_array_equal(judged.values[1], made.plain[1])
