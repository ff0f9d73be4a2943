"""The recommended panel: what helps is taken, a copy of what is taken is not, and time is kept."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from expertune import data, models
from expertune.commands import cli
from expertune.commands.panel import recommend as panel
from expertune.config import Config, PluginSpec, from_mapping
from expertune.errors import DataError
from expertune.records import Dataset, Document, Question, Scores

QUESTIONS, DOCUMENTS = 60, 30


def known(seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return hard labels, and scores of two experts that differ, of a copy of one, and of one that knows nothing."""
    random = np.random.default_rng(seed)
    hard = np.zeros((QUESTIONS, DOCUMENTS), np.float32)
    hard[np.arange(QUESTIONS), np.arange(QUESTIONS) % DOCUMENTS] = 1
    noise = {name: random.normal(size=hard.shape) for name in ("first", "second", "copy", "none")}
    values = {
        "first": 2.0 * hard + noise["first"],
        "second": 1.5 * hard + noise["second"],
        "none": noise["none"],
    }
    values["copy"] = values["first"] + 0.05 * noise["copy"]
    return hard, values


def choice(names: tuple[str, ...], seconds: dict[str, float], most: float = 100.0) -> panel.Choice:
    hard, values = known()
    scores = Scores(names, np.stack([values[name] for name in names], axis=2).astype(np.float32))
    return panel.choose(scores, hard, [seconds.get(name, 1.0) for name in names], most_seconds=most)


def test_experts_that_know_different_things_are_taken_best_first():
    found = choice(("none", "second", "first"), {})
    assert list(found.order) == ["first", "second"]
    assert found.gains[0] <= panel.LEAST_GAIN


def test_a_copy_adds_nothing_however_good_it_is_alone():
    found = choice(("first", "copy", "second"), {})
    assert len({"first", "copy"} & set(found.order)) == 1
    assert "second" in found.order
    left_out = 1 if "first" in found.order else 0
    assert found.qualities[left_out] > found.qualities[2]
    assert found.likeness[0, 1] > 0.95


def test_the_time_is_kept_and_goes_to_what_still_fits():
    assert set(choice(("first", "second"), {"first": 50.0}, most=10.0).order) == {"second"}
    assert choice(("first", "second"), {"first": 50.0, "second": 50.0}, most=10.0).order == {}


def test_the_likelihood_is_that_of_pairs_the_weights_have_not_seen():
    hard, values = known()
    z = np.stack([values["first"], values["none"]], axis=2).astype(np.float32)
    folds = np.arange(QUESTIONS) % DOCUMENTS % 5
    both = panel.likelihood(z, hard, folds)
    one = panel.likelihood(z[:, :, :1], hard, folds)
    assert -np.log(DOCUMENTS) < both <= one + panel.LEAST_GAIN < 0
    # One fold alone: weights are fitted to nothing, and fall back to equal ones.
    nothing = panel.likelihood(z[:, :, 1:], hard, np.zeros(QUESTIONS, int))
    assert nothing < -np.log(DOCUMENTS)


def write_shop(folder: Path) -> Path:
    """Write ten answers whose questions share words with them."""
    folder.mkdir()
    things = ["parcel", "refund", "colour", "password", "invoice", "voucher", "warranty", "battery", "charger", "card"]
    rows = [{"question": f"what about my {thing}", "answer": f"Your {thing} is dealt with by us."} for thing in things]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "present", lambda layout: False)
    monkeypatch.setattr(models, "_downloaded", lambda hub: None)


@pytest.mark.usefixtures("nothing_installed")
def test_all_in_reach_are_tried_and_the_lines_to_paste_are_read_again(tmp_path):
    values = {"data": {"path": str(write_shop(tmp_path / "shop"))}, "score": {"experts": ["bm25", "bge-m3"]}}
    config = from_mapping(values)
    found = panel.recommend(config, data.Files(config.data).train, most_seconds=60)
    assert {item.name for item in found.experts} == {"bm25", "ngrams", "latent"}
    assert "bge-m3" in [name for name, _ in found.out_of_reach]
    assert found.questions == 10
    chosen = [item for item in found.experts if item.chosen]
    assert chosen
    assert found.experts[: len(chosen)] == tuple(chosen)
    read = from_mapping(tomllib.loads(found.toml))
    assert [spec.label for spec in read.score.experts] == [item.name for item in chosen]


def test_an_expert_with_options_is_written_as_a_table():
    spec = PluginSpec(use="ngrams", options={"low": 2, "name": 'a "b"', "deep": {"x": [1, 2]}})
    rated = panel.RatedExpert("ngrams", spec, 0.5, 1.0, "", float("nan"), chosen=True, decision="")
    toml = panel.Recommendation((rated,), (), 10).toml
    assert from_mapping(tomllib.loads(toml)).score.experts == (spec,)


def test_a_longer_run_takes_longer(tmp_path):
    config = from_mapping({"data": {"path": str(write_shop(tmp_path / "shop"))}, "augment": {"per_answer": 2}})
    dataset = data.Files(config.data).train
    longer = config.model_copy(update={"augment": config.augment.model_copy(update={"per_answer": 20})})
    assert 1 < panel._growth(config, dataset) < panel._growth(longer, dataset)


def test_a_run_without_anything_more_to_read_takes_as_long_as_the_trial(tmp_path):
    """Spans, the log and the second reading of answers are what a run has more."""
    (tmp_path / "log.txt").write_text("where is my parcel\n", encoding="utf-8")
    path = str(write_shop(tmp_path / "shop"))
    bare = {"data": {"path": path}, "augment": {"spans": 0}, "score": {"privileged": False}}
    dataset = data.Files(from_mapping(bare).data).train
    assert panel._growth(from_mapping(bare), dataset) == 1
    for section, value in (
        ("augment", {"spans": 1}),
        ("score", {"privileged": True}),
        ("data", {"path": path, "log": [str(tmp_path / "log.txt")]}),
    ):
        assert panel._growth(from_mapping({**bare, section: value}), dataset) > 1


def test_too_few_labelled_questions_are_refused():
    documents = tuple(Document(str(number), f"answer {number}") for number in range(4))
    dataset = Dataset("tiny", documents, tuple(Question(f"q {item.id}", (item.id,)) for item in documents))
    with pytest.raises(DataError, match="4 labelled questions"):
        panel.recommend(Config(), dataset, most_seconds=10)


@pytest.mark.usefixtures("nothing_installed")
def test_the_command_prints_a_table_and_the_lines_to_paste(tmp_path):
    config = tmp_path / "my.toml"
    config.write_text(f'[data]\npath = "{write_shop(tmp_path / "shop")}"\n[score]\nexperts = ["bm25", "ngrams"]\n')
    result = CliRunner().invoke(cli.app, ["panel", str(config), "--seconds", "30"])
    assert result.exit_code == 0, result.output
    assert "10 labelled questions" in result.stdout
    assert "take it (1)" in result.stdout
    assert "out of reach" in result.stdout
    (toml,) = [result.stdout[result.stdout.index("[score]") :]]
    assert from_mapping(tomllib.loads(toml)).score.experts
