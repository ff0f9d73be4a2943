"""Clicks beside the panel: hand-computed mixtures, and what must not count."""

from __future__ import annotations

import numpy as np
import pytest

from expertune.label.clicks import CLICKS_FOR_HALF, MOST_WEIGHT, with_clicks
from expertune.records import Document, Provenance, Question

DOCUMENTS = tuple(Document(name, name) for name in "abcd")
ACTIVE = np.array([True, True, True, False])


def logged(*clicks: tuple[str, int]) -> Question:
    return Question("refund", (), Provenance.LOG, clicks=clicks)


def test_clicks_count_for_more_the_more_there_are() -> None:
    targets = np.array([[0.6, 0.4, 0.0, 0.0]] * 3, dtype=np.float32)
    questions = [logged(), logged(("b", 7), ("c", 3)), logged(("c", 10**6))]
    mixed = with_clicks(targets, questions, DOCUMENTS, ACTIVE)
    np.testing.assert_array_equal(mixed[0], targets[0])
    # Ten clicks bring half of the most: 0.75 of the panel's, 0.25 of the clicks'.
    np.testing.assert_allclose(mixed[1], [0.45, 0.3 + 0.175, 0.075, 0.0], atol=1e-6)
    np.testing.assert_allclose(mixed[2], [0.3, 0.2, 0.5, 0.0], atol=1e-4)
    np.testing.assert_allclose(mixed.sum(axis=1), 1.0, atol=1e-6)
    assert (CLICKS_FOR_HALF, MOST_WEIGHT) == (10, 0.5)


def test_clicks_on_inactive_answers_do_not_count() -> None:
    targets = np.array([[0.6, 0.4, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(with_clicks(targets, [logged(("d", 9))], DOCUMENTS, ACTIVE), targets)


def test_of_candidates_the_clicked_one_is_found_by_its_column() -> None:
    targets = np.array([[0.5, 0.5]], dtype=np.float32)
    columns = np.array([[0, 2]])
    mixed = with_clicks(targets, [logged(("c", 10))], DOCUMENTS, ACTIVE, columns)
    np.testing.assert_allclose(mixed, [[0.375, 0.625]])
    np.testing.assert_array_equal(with_clicks(targets, [logged(("b", 10))], DOCUMENTS, ACTIVE, columns), targets)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_the_panel_always_has_the_larger_half(count: int) -> None:
    targets = np.array([[1.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    mixed = with_clicks(targets, [logged(("b", count))], DOCUMENTS, ACTIVE)
    assert mixed[0, 0] > 0.5 > mixed[0, 1]
