"""The threshold in `expertune try`: where it is read from, and how the page shows what stays below it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expertune.commands.try_page.side_by_side import Answers, SideBySide, _cut
from expertune.report.page import environment
from letter_encoder import DOCUMENTS, ByLetter


def page(answers: Answers) -> str:
    template = environment("expertune.commands.try_page").get_template("try.html.j2")
    module = template.make_module(dict.fromkeys(("question", "answers", "style", "documents", "shown", "longest"), ""))
    return str(module.side("tuned", answers.tuned, True, "abc", (), "", "", answers.cut))  # type: ignore[attr-defined]


def asked(cut: float) -> Answers:
    return SideBySide(DOCUMENTS, ByLetter("base"), ByLetter("tuned", turn=0.5), cut=cut).ask("abc")


def test_answers_below_the_threshold_are_shown_as_such() -> None:
    first, second = (item.score for item in asked(-1.0).tuned[:2])
    between = page(asked((first + second) / 2))
    assert "Probably no answer" not in between
    assert between.count("below the threshold") == len(asked(-1.0).tuned) - 1
    above = page(asked(first + 0.001))
    assert f"scores below {first + 0.001:.3f}" in above
    assert above.count("below the threshold") == len(asked(-1.0).tuned)
    assert "below" not in page(asked(-1.0))


@pytest.mark.parametrize(
    ("results", "cut"),
    [
        ({"threshold": {"cuts": [{"wanted": 0.95, "score": 0.2}, {"wanted": 0.9, "score": 0.3}]}}, 0.3),
        ({"threshold": {"cuts": [{"wanted": 0.8, "score": 0.4}]}}, -1.0),
        ({"threshold": {"cuts": []}}, -1.0),
        ({}, -1.0),
        ([], -1.0),
    ],
)
def test_the_threshold_is_that_of_the_run_beside_the_model(results: object, cut: float, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert _cut(path) == -1.0
    path.write_text(json.dumps(results), encoding="utf-8")
    assert _cut(path) == cut
    path.write_text("{", encoding="utf-8")
    assert _cut(path) == -1.0
