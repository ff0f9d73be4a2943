"""What users ask and no answer fits: on scores made by hand, so that everybody sees what must be found."""

from __future__ import annotations

import numpy as np
import pytest

from expertune.label.unanswered import LEAST_QUESTIONS, find, grouped, rows_without_answer
from expertune.records import Dataset, Document, ExpertQuality, Provenance, Question, Questions, Scores

DOCUMENTS = tuple(Document(f"d{index}", f"answer {index}") for index in range(5))
PANEL = (ExpertQuality("strong", 0.9, 0.8), ExpertQuality("weak", 0.5, 0.2))
LABELLED, LOG = 5, 30
STRANGE = (7, 11, 12)
"""Questions of the log whose best answer is no better than another one's second best."""


def questions(log: int = LOG, labelled: int = LABELLED) -> Questions:
    known = [Question(f"known {index}", (f"d{index % 5}",)) for index in range(labelled)]
    asked = [Question(f"asked {index}", (), Provenance.LOG, count=index + 1) for index in range(log)]
    return Questions((*known, *asked))


def scores(log: int = LOG, labelled: int = LABELLED) -> Scores:
    """Right answers get 0.6 to 0.8, others 0.1 to 0.3; what is strange gets at most 0.12 everywhere."""
    generator = np.random.default_rng(0)
    values = generator.uniform(0.1, 0.3, (labelled + log, 5, 2)).astype(np.float32)
    values[np.arange(labelled + log), np.arange(labelled + log) % 5] = generator.uniform(0.6, 0.8, (labelled + log, 2))
    for row in STRANGE:
        if row < log:
            values[labelled + row] = generator.uniform(0.05, 0.12, (5, 2))
            values[labelled + row, 2] = 0.12
    values[:, :, 1] = 10 * values[:, :, 1] - 3  # another scale changes nothing
    return Scores(("strong", "weak"), values)


def dataset(items: Questions) -> Dataset:
    return Dataset("shop", DOCUMENTS, tuple(item for item in items.items if item.labelled))


def test_what_is_far_from_every_answer_is_found_with_its_nearest_one() -> None:
    items = questions()
    rows, nearest = rows_without_answer(dataset(items), items, scores(), PANEL)
    assert rows.tolist() == [LABELLED + row for row in STRANGE]
    assert nearest.tolist() == [2, 2, 2]


def test_a_log_that_the_answers_cover_has_nothing_to_list() -> None:
    items, found = questions(), scores()
    values = np.array(found.values)
    values[[LABELLED + row for row in STRANGE], 0] = [0.7, 4.0]
    rows, _ = rows_without_answer(dataset(items), items, Scores(found.experts, values), PANEL)
    assert rows.tolist() == []


def test_the_labelled_questions_alone_judge_a_small_log_and_the_log_alone_where_there_are_none() -> None:
    few, known = LEAST_QUESTIONS - 5, 9  # the lowest of nine right answers is the limit
    rows, _ = rows_without_answer(dataset(questions(few, known)), questions(few, known), scores(few, known), PANEL)
    assert set(rows.tolist()) >= {known + row for row in STRANGE}
    assert len(rows) <= 3 + 3
    alone = questions(labelled=0)
    rows, _ = rows_without_answer(dataset(alone), alone, scores(labelled=0), PANEL)
    assert rows.tolist() == list(STRANGE)
    neither = questions(few, labelled=8)
    assert not len(rows_without_answer(dataset(neither), neither, scores(few, labelled=8), PANEL)[0])


def test_a_copy_of_an_answer_is_no_second_answer() -> None:
    items, found = questions(), scores()
    copies = tuple(Document(f"{document.id}b", document.text) for document in DOCUMENTS)
    doubled = Scores(found.experts, np.concatenate([found.values, found.values], axis=1))
    data = Dataset("shop", (*DOCUMENTS, *copies), dataset(items).questions)
    assert rows_without_answer(data, items, doubled, PANEL)[0].tolist() == [LABELLED + row for row in STRANGE]


def test_candidates_are_looked_at_by_their_columns() -> None:
    items, found = questions(), scores()
    columns = np.sort(np.argsort(-found.values[:, :, 0], axis=1)[:, :3], axis=1)
    values = np.take_along_axis(found.values, columns[:, :, None], axis=1)
    rows, nearest = rows_without_answer(dataset(items), items, Scores(found.experts, values, columns=columns), PANEL)
    assert rows.tolist() == [LABELLED + row for row in STRANGE]
    assert nearest.tolist() == [2, 2, 2]


def test_scores_that_are_missing_count_as_average() -> None:
    items, found = questions(), scores()
    values = np.array(found.values)
    values[:, :, 1] = np.nan
    values[0, 0, 1] = 1.0  # an expert that scored one pair
    rows, _ = rows_without_answer(dataset(items), items, Scores(found.experts, values), PANEL)
    assert rows.tolist() == [LABELLED + row for row in STRANGE]


def test_what_means_the_same_is_one_group_called_by_its_most_central_question() -> None:
    def asked(text: str, count: int) -> Question:
        return Question(text, (), Provenance.LOG, count=count)

    questions = [asked("ski hire", 2), asked("rent skis", 5), asked("hire ski boots", 1), asked("bike repair", 4)]
    vectors = np.array([[0.8, 0.6, 0], [0.96, 0.28, 0], [1.0, 0, 0], [0, 0, 1.0]], dtype=np.float32)
    ski, bikes = grouped(questions, ["a", "b", "c", "d"], vectors, unrelated=0.0)
    assert ski.questions == ("rent skis", "ski hire", "hire ski boots")
    assert (ski.counts, ski.nearest, ski.count) == ((5, 2, 1), ("b", "a", "c"), 8)
    assert bikes.questions == ("bike repair",)


@pytest.mark.parametrize("number", [0, 1])
def test_one_question_or_none_is_grouped_too(number: int) -> None:
    asked = [Question("ski hire", (), Provenance.LOG)] * number
    assert len(grouped(asked, ["a"] * number, np.eye(3, dtype=np.float32)[:number], 0.0)) == number


def test_a_run_without_a_log_lists_nothing() -> None:
    items = questions(log=0)
    assert find(dataset(items), items, scores(0), PANEL, encode=lambda texts: np.zeros((0, 2)), reference=["a"]) is None


def test_everything_that_was_asked_is_counted() -> None:
    items = questions()
    vectors = {"asked 7": [1, 0, 0], "asked 11": [1, 0, 0], "asked 12": [0, 1, 0], "far": [0, 0, 1]}

    def encode(texts: object) -> np.ndarray:
        return np.array([vectors[text] for text in texts], dtype=np.float32)  # type: ignore[attr-defined]

    found = find(dataset(items), items, scores(), PANEL, encode, reference=["far"])
    assert found is not None
    assert [group.questions for group in found.groups] == [("asked 11", "asked 7"), ("asked 12",)]
    assert (found.looked_at, found.searches) == (LOG, sum(range(1, LOG + 1)))
    assert (found.questions, found.count) == (3, 8 + 12 + 13)
