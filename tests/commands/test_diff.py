"""What changed between two runs, and whether it is real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expertune import config
from expertune.commands import cli
from expertune.commands.diff import data_changes, settings
from expertune.pipeline.run import Run
from expertune.records import Dataset, Document, Question
from small_shop import ASKED, FILES, QRELS, general, quick, write_files


def test_only_settings_that_change_the_result_are_named():
    first = config.from_mapping({"train": {"steps": 50}, "run": {"out": "a", "threads": 1}})
    second = config.from_mapping({"train": {"steps": 80}, "run": {"out": "b", "threads": 2}})
    assert list(settings(first, second)) == ["train.steps: 50 → 80"]
    assert list(settings(first, first)) == []


def test_changes_of_the_data_are_counted():
    questions = (Question("how", ("a",)), Question("when", ("b",)))
    first = Dataset("shop", (Document("a", "x"), Document("b", "y"), Document("c", "z")), questions)
    documents = (Document("a", "x"), Document("b", "other"), Document("d", "new"), Document("e", "new"))
    second = replace(first, documents=documents, questions=(questions[0], Question("where", ("d",))))
    assert list(data_changes(first, second)) == [
        "answers: 2 came, 1 went, 1 changed",
        "labelled questions: 1 came, 1 went",
    ]
    assert list(data_changes(first, first)) == []


@pytest.fixture
def runs(tmp_path: Path, tiny_model: Path) -> list[Path]:
    """Return two runs: the second takes more steps and has one held-out question less."""
    folders = []
    for number, qrels in enumerate((QRELS, "".join(QRELS.splitlines(keepends=True)[:-1]))):
        data = write_files(tmp_path / str(number) / "shop", {**FILES, "qrels/test.tsv": qrels})
        changes = {"data.path": str(data), "data.general": [str(general(tmp_path))], "train.steps": 1 + number}
        changes["run.out"] = str(tmp_path / f"out-{number}")
        folders.append(Run(quick(tmp_path, tiny_model, **changes)).execute().folder)
    return folders


def test_two_runs_are_compared_on_what_both_held_out(runs: list[Path]):
    result = CliRunner().invoke(cli.app, ["diff", *map(str, runs)])
    assert result.exit_code == 0, result.output
    assert "train.steps: 1 → 2" in result.stdout
    assert "shop/test: 1 questions are held out in one of the runs alone" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.strip().startswith("shop/test "))
    assert line.split()[1] == str(len(ASKED) - 1)
    same = CliRunner().invoke(cli.app, ["diff", str(runs[1]), str(runs[1])])
    line = next(line for line in same.stdout.splitlines() if line.strip().startswith("shop/test "))
    tuned = json.loads((runs[1] / "results.json").read_text(encoding="utf-8"))["comparisons"][0]["tuned"]
    assert line.split()[2:5] == [f"{100 * tuned:.1f}", f"{100 * tuned:.1f}", "0.0"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    result = CliRunner().invoke(cli.app, ["diff", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no finished run" in result.output
