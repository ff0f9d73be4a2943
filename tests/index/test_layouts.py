"""Layouts by hand-computed scores, and as a plain dot-product index; the choice by sets that call for one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expertune.index import Index, Layout, Mixing, Vectors, build, choose, layouts_of, with_offset
from expertune.index.choice import PREFERRED
from expertune.records import Dataset, Document, Provenance, Question

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def array(*rows: Sequence[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


# Answer a has two questions of its own, b has one, c has none.
SMALL = Vectors(
    documents=("a", "b", "c"),
    texts=("first of a", "second of a", "of b"),
    answers=array(EAST, NORTH, WEST),
    questions=array(NORTH, (0.6, 0.8), WEST),
    owns=np.array([[True, True, False], [False, False, True], [False, False, False]]),
    joined=array(NORTH, WEST, EAST),
)
ASKED = array(EAST, (0.6, 0.8))
MIXING = Mixing(weight=0.5, surplus=0.1, bonus=0.2)


class ByTable:
    """Give each text the vector that a table names."""

    name = "table"

    def __init__(self, table: dict[str, Sequence[float]]) -> None:
        self._table = table

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return array(*(self._table[text] for text in texts)).reshape(len(texts), 2)

    encode_documents = encode_queries


def test_the_index_of_answers_scores_answers_alone() -> None:
    np.testing.assert_allclose(build(SMALL, Layout.ANSWERS).scores(ASKED), [[1, 0, -1], [0.6, 0.8, -0.6]], atol=1e-6)


def test_question_and_answer_as_one_text_scores_that_text() -> None:
    np.testing.assert_allclose(build(SMALL, Layout.JOINED).scores(ASKED), [[0, -1, 1], [0.8, -0.6, 0.6]], atol=1e-6)


def test_of_separate_vectors_the_best_counts() -> None:
    # East: a by its answer (1), b by its answer (0) and not its question (-1). (0.6, 0.8): a by its second question.
    np.testing.assert_allclose(build(SMALL, Layout.SEPARATE).scores(ASKED), [[1, 0, -1], [1, 0.8, -0.6]], atol=1e-6)


def test_mixed_is_answer_and_best_question_with_their_offsets() -> None:
    # East, a: 0.5 * 1 + 0.5 * (0.6 - 0.1) = 0.75; b: 0.5 * 0 + 0.5 * (-1 - 0.1) = -0.55; c: -1 + 0.2.
    # (0.6, 0.8), a: 0.5 * 0.6 + 0.5 * (1 - 0.1) = 0.75; b: 0.5 * 0.8 + 0.5 * (-0.6 - 0.1) = 0.05; c: -0.6 + 0.2.
    expected = [[0.75, -0.55, -0.8], [0.75, 0.05, -0.4]]
    np.testing.assert_allclose(build(SMALL, Layout.MIXED, MIXING).scores(ASKED), expected, atol=1e-6)


def test_a_mixture_without_weight_and_bonus_is_the_index_of_answers() -> None:
    mixed = build(SMALL, Layout.MIXED, Mixing(0.0, 0.3, 0.0))
    np.testing.assert_allclose(mixed.scores(ASKED), build(SMALL, Layout.ANSWERS).scores(ASKED), atol=1e-6)


@pytest.mark.parametrize("layout", Layout)
@given(seed=st.integers(0, 10_000), documents=st.integers(1, 8), questions=st.integers(0, 12))
@settings(max_examples=25, deadline=None)
def test_a_plain_dot_product_index_gives_the_same_scores(
    layout: Layout, seed: int, documents: int, questions: int
) -> None:
    generator = np.random.default_rng(seed)

    def unit(rows: int) -> np.ndarray:
        drawn = generator.standard_normal((rows, 5))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    owns = generator.random((documents, questions)) < 0.3
    vectors = Vectors(
        tuple(f"d{n}" for n in range(documents)),
        tuple(f"q{n}" for n in range(questions)),
        unit(documents),
        unit(questions),
        owns,
        unit(documents),
    )
    index = build(vectors, layout, MIXING)
    asked = unit(4)
    rows = with_offset(asked) @ index.searchable.T
    assert index.searchable.shape == (len(index.document_ids), 6)
    for column, document in enumerate(index.documents):
        own = [row for row, owner in enumerate(index.document_ids) if owner == document]
        np.testing.assert_allclose(index.scores(asked)[:, column], rows[:, own].max(axis=1), atol=1e-5)


def dataset(*questions: tuple[str, str], answers: str = "abc") -> Dataset:
    documents = tuple(Document(name, f"answer {name}") for name in answers)
    return Dataset("small", documents, tuple(Question(text, (owner,)) for text, owner in questions))


def test_vectors_are_made_of_labelled_questions_only() -> None:
    table = {"answer a": EAST, "answer b": NORTH, "how": WEST, "how answer a": NORTH}
    asked = dataset(("how", "a"), answers="ab")
    synthetic = Question("made up", ("b",), Provenance.SYNTHETIC)
    vectors = Vectors.of(ByTable(table), Dataset("small", asked.documents, (*asked.questions, synthetic)))
    assert vectors.texts == ("how",)
    assert vectors.owns.tolist() == [[True], [False]]
    np.testing.assert_array_equal(vectors.joined, array(NORTH, NORTH))


def test_every_layout_is_there_and_documents_may_be_others_than_the_data_set_has() -> None:
    table = {"answer a": EAST, "new": WEST, "how": NORTH, "how answer a": NORTH}
    documents = (Document("z", "new"), Document("a", "answer a"))
    layouts = layouts_of(ByTable(table), dataset(("how", "a"), answers="ab"), documents=documents)
    assert set(layouts) == set(Layout)
    for index in layouts.values():
        assert isinstance(index, Index)
        assert index.documents == ("z", "a")
    assert layouts[Layout.SEPARATE].document_ids == ("z", "a", "a")


def circle(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def pairs(answers: np.ndarray, questions: np.ndarray, per_answer: int) -> Vectors:
    owns = np.repeat(np.eye(len(answers), dtype=np.bool_), per_answer, axis=1)
    names = [str(number) for number in range(len(questions))]
    return Vectors(tuple(names[: len(answers)]), tuple(names), answers, questions, owns, answers)


def test_where_nothing_can_be_told_the_preferred_mixing_is_kept() -> None:
    places = np.arange(0, 360, 30)
    mixing = choose(pairs(circle(*places), circle(*places), 1), circle(*places))
    assert (mixing.weight, mixing.bonus) == PREFERRED
    nothing = Vectors(("a",), (), array(EAST), np.zeros((0, 2), np.float32), np.zeros((1, 0), np.bool_), array(EAST))
    assert choose(nothing, np.zeros((0, 2), np.float32)) == Mixing(*PREFERRED)


def misleading() -> tuple[Vectors, np.ndarray]:
    """Ask just nearer to the own answer than to the next one, whose question, as the index holds it, stands there."""
    places = np.arange(0, 360, 30)
    return pairs(circle(*places), circle(*(places - 15.1)), 1), circle(*(places + 14.9))


def test_questions_that_lead_elsewhere_than_their_answers_get_no_weight() -> None:
    assert choose(*misleading()).weight == 0.0


def test_questions_help_where_answers_do_not_say_what_is_asked() -> None:
    # Two questions an answer, side by side; answers stand where nothing is asked.
    places = np.arange(0, 360, 12)
    questions = circle(*(value for place in places for value in (place, place + 1)))
    vectors = pairs(circle(*(places + 80)), questions, 2)
    assert choose(vectors, questions).weight == 0.5


def test_the_surplus_is_what_questions_lie_nearer_to_other_questions_than_to_answers() -> None:
    # Two answers with a question each: asked for the other's, each finds question and answer.
    vectors = pairs(array(EAST, NORTH), array((0.8, 0.6), (0.6, 0.8)), 1)
    # Question 1 to question 2: 0.96, to answer 2: 0.6; and the same the other way round.
    assert choose(vectors, vectors.questions).surplus == pytest.approx(0.36, abs=1e-6)


def test_the_tuned_side_is_weighed_by_the_untouched_one() -> None:
    vectors, asked = misleading()
    tuned = vectors.answers
    assert choose(vectors, tuned).weight == PREFERRED[0]
    assert choose(vectors, tuned, asked).weight == 0.0
    assert choose(vectors, tuned, asked).surplus == choose(vectors, tuned).surplus
