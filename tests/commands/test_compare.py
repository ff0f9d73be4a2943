"""`expertune compare`: the tables fit a terminal, JSON is JSON, and bad input is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import finished_run
from expertune.commands.cli import app
from expertune.pipeline.run import Run
from expertune.records import Alternative, Alternatives, IndexWork, Role
from small_shop import FILES, write_files

LONG = "universal-sentence-encoder-multilingual"
COMPARISON = replace(finished_run.comparison("test_unseen", Role.DOMAIN), dataset="sofmattress_faq")
BASE = Alternative("base", "answers", IndexWork.KEPT, False, 0.5, 0.75, 0.7, 0.0, 0.0, 0.0, (COMPARISON, COMPARISON))
FIGURES = (1.0, 1.0, 1.0, 0.3, 0.234, 0.366)
OTHER = Alternative(
    LONG, "answers and questions", IndexWork.ADDED, False, *FIGURES, (COMPARISON,), 1024, 1112.4, 1234.5
)


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that compares with what is found given, and the models that were asked for."""
    asked: list[str] = []

    def call(found: Alternatives, *options: str) -> Any:
        def answer(self: Run, tuned: str = "") -> Alternatives:
            assert self.config.augment.per_answer == 0  # no generator has to be there
            asked.append(tuned)
            return found

        monkeypatch.setattr(Run, "compare", answer)
        folder = write_files(tmp_path / "shop", FILES)
        return CliRunner().invoke(app, ["compare", "--data", str(folder), "--out", str(tmp_path / "out"), *options])

    call.asked = asked  # type: ignore[attr-defined]
    return call


def test_the_tables_fit_eighty_columns(compare: Any) -> None:
    done = compare(Alternatives(BASE, (OTHER,), 8))
    assert done.exit_code == 0
    tables = done.stdout[: done.stdout.index("The base")]
    assert max(len(line.rstrip()) for line in tables.splitlines()) <= 80
    figures = next(line.split() for line in tables.splitlines() if ", answers and questions" in line)
    assert figures[-5:] == ["100.0", "100.0", "+30.0", "[+23.4,", "+36.6]"]
    assert "* base" in tables
    assert compare.asked == [""]


def test_labelled_questions_in_place_of_held_out_ones_are_told(compare: Any) -> None:
    done = compare(Alternatives(BASE, (), 8, left_one_out=True))
    assert "There are no held-out questions. Instead the 8 labelled ones were searched" in done.stdout


def test_json_is_what_a_run_writes(compare: Any) -> None:
    done = compare(Alternatives(BASE, (OTHER,), 8), "--json", "--model", "runs/shop")
    rows = json.loads(done.stdout)["rows"]
    assert [(row["model"], row["ndcg@10"], row["reference"]) for row in rows] == [
        (LONG, 1.0, False),
        ("base", 0.7, True),
    ]
    assert compare.asked == ["runs/shop"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", "nowhere"), "nowhere: no such file or folder"),
        ((), "no data is named"),
        (("--data", "shop", "--model", "nothing", "--set", "score.experts=['bm25']"), "the model 'nothing' is neither"),
    ],
)
def test_bad_input_is_told_with_exit_code_two(
    options: tuple[str, ...], said: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "shop", FILES)
    done = CliRunner().invoke(
        app, ["compare", *options, "--set", f"train.base={tiny_model}", "--set", "score.experts=['bm25']"]
    )
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_config_beside_a_model_is_the_default(
    compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "model" / "modules.json").write_text("[]", encoding="utf-8")
    (run / "config.toml").write_text("nothing = 1\n", encoding="utf-8")
    for place in (run, run / "model"):
        done = compare(Alternatives(BASE, (), 8), "--model", str(place))
        assert done.exit_code == 2
        assert "unknown key 'nothing'" in done.stderr
