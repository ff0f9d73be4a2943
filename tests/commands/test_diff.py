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
from expertune.records import Dataset, Document, Provenance, Question
from small_shop import ASKED, FILES, PAIRS, QRELS, general, lines, qa, quick, write_files


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


def test_questions_of_the_log_are_counted_apart_and_others_not_at_all():
    asked = (
        Question("how", ("a",)),
        Question("searched", (), Provenance.LOG),
        Question("cut", ("a",), Provenance.SPAN),
    )
    first = Dataset("shop", (Document("a", "x"),), asked)
    second = replace(first, questions=(asked[0], Question("found", (), Provenance.LOG)))
    assert list(data_changes(first, second)) == ["questions of the log: 1 came, 1 went"]


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


def test_a_question_that_a_run_trained_on_is_not_held_out_by_both(tmp_path: Path, tiny_model: Path):
    log = tmp_path / "log.csv"
    log.write_text("query\nwhere is the track of my order\nhow do people pay here\n", encoding="utf-8")
    folders = []
    # In between, a labelled question and one of the log become held-out ones, in the same files.
    later = {"cost": "How much is shipping??", "track": "track the order of mine", "pay": "how do people pay here"}
    for number, asked in enumerate((ASKED, {**ASKED, **later})):
        rows = {key: pair for key, pair in PAIRS.items() if not (number and key == "cost")}
        queries = lines(*({"_id": f"t-{key}", "text": text} for key, text in asked.items()))
        qrels = "query-id\tcorpus-id\tscore\n" + "".join(f"t-{key}\t{key}\t1\n" for key in asked)
        files = {**FILES, "qa.jsonl": qa(rows), "queries.jsonl": queries, "qrels/test.tsv": qrels}
        data = write_files(tmp_path / "shop", files)
        changes = {"data.path": str(data), "data.general": [str(general(tmp_path))], "data.log": [str(log)]}
        changes["run.out"] = str(tmp_path / f"out-{number}")
        folders.append(Run(quick(tmp_path, tiny_model, **changes)).execute().folder)
    result = CliRunner().invoke(cli.app, ["diff", *map(str, folders)])
    assert result.exit_code == 0, result.output
    assert "labelled questions: 0 came, 1 went" in result.stdout
    assert "questions of the log: 0 came, 1 went" in result.stdout
    assert "shop/test: one of the runs trained on 2 of the questions: left out here" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.strip().startswith("shop/test "))
    assert line.split()[1] == "2"  # the refund and the order remain


def test_a_run_that_does_not_tell_what_it_trained_on_is_refused(runs: list[Path]):
    questions = runs[0] / "questions.jsonl"
    for content, message in (("", "is no line as a run writes it"), (None, "has no questions.jsonl")):
        if content is None:
            questions.unlink()
        else:
            questions.write_text('{"question": "how", "provenance": "heard", "answers": []}\n', encoding="utf-8")
        result = CliRunner().invoke(cli.app, ["diff", *map(str, runs)])
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    result = CliRunner().invoke(cli.app, ["diff", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no finished run" in result.output
