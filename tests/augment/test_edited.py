"""Training questions that a person edited: written by a run, read again, refused where they name nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from expertune.augment.edited import read_edited
from expertune.errors import DataError
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.records import Dataset, Document, Provenance, Question
from small_shop import ASKED, FILES, PAIRS, general, lines, quick, write_files

DATASET = Dataset("shop", (Document("a", "By card."), Document("b", "By post.")), ())


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    return write_files(folder, {"questions.jsonl": lines(*rows)}) / "questions.jsonl"


def test_synthetic_questions_and_spans_are_taken_in_order(tmp_path: Path):
    rows = [
        {"question": "how to pay", "answers": ["a"], "provenance": "synthetic", "generator": "g", "kind": "short"},
        {"question": "by post", "answers": ["b"], "provenance": "span", "label": {"b": 0.9}},
        {"question": "mine", "answers": "a"},
        {"question": "labelled", "answers": ["a"], "provenance": "pair"},
        {"question": "asked", "answers": [], "provenance": "log"},
        {"question": "mine", "answers": ["a"]},
    ]
    assert read_edited(table(tmp_path, *rows), DATASET) == (
        Question("how to pay", ("a",), Provenance.SYNTHETIC, "g", "short"),
        Question("by post", ("b",), Provenance.SPAN),
        Question("mine", ("a",), Provenance.SYNTHETIC),
    )


def test_a_parquet_file_says_the_same_as_the_file_a_run_wrote(tmp_path: Path):
    rows = [
        {"question": "how to pay", "answers": ["a", "b"], "provenance": "synthetic", "generator": "g", "kind": "short"},
        {"question": "by post", "answers": ["b"], "provenance": "span"},
    ]
    path = tmp_path / "questions.parquet"
    pandas.DataFrame(rows).to_parquet(path)
    assert read_edited(path, DATASET) == read_edited(table(tmp_path, *rows), DATASET)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "answers": ["zzz"]}, "'answers' names zzz"),
        ({"question": "q", "answers": []}, "'answers' names nothing"),
        ({"question": " ", "answers": ["a"]}, "'question' is empty"),
        ({"question": "q", "answers": ["a"], "provenance": "made up"}, "'provenance' is 'made up'"),
        ({"text": "q", "answers": ["a"]}, "has no column 'question'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path, row: dict[str, Any], said: str):
    with pytest.raises(DataError, match=said) as caught:
        read_edited(table(tmp_path, row), DATASET)
    assert "questions.jsonl" in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no such table of questions"):
        read_edited(tmp_path / "questions.jsonl", DATASET)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return write_files(tmp_path / "shop", FILES).parent


def run(home: Path, model: Path, out: str, until: Stage, **changes: Any) -> RunResult:
    written = {"augment.generators": ["template"], "augment.per_answer": 1, "augment.spans": 1}
    places = {"run.out": str(home / out), "data.general": [str(general(home))]}
    return Run(quick(home, model, **{**written, **places, **changes})).execute(until=until)


def test_an_edited_file_is_read_again(home: Path, tiny_model: Path):
    first = run(home, tiny_model, "first", Stage.REPORT)
    file = first.folder / "questions.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert first.questions is not None
    assert [row["question"] for row in rows] == [item.text for item in first.questions.items]
    assert rows[0]["answers"] == [next(iter(PAIRS))]
    assert rows[0]["label"] == {rows[0]["answers"][0]: 1.0}  # a labelled question: nothing but its answer
    edited = [row for row in rows if row["provenance"] != "span"]
    edited += [
        {"question": "is there a gift card", "answers": ["pay"]},
        {"question": ASKED["cost"], "answers": ["cost"]},
    ]
    second = run(home, tiny_model, "second", Stage.AUGMENT, **{"augment.questions": str(table(home, *edited))})
    assert second.questions is not None
    expected = [item for item in first.questions.items if not item.span]
    assert second.questions.items == (*expected, Question("is there a gift card", ("pay",), Provenance.SYNTHETIC))
    assert second.questions.removed["held-out"] == 1  # what is held out stays out, whoever wrote it down
