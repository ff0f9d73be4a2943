"""Studies: the figures they are made of by hand, and every study on a tiny real model, twice."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from typer.testing import CliRunner

from expertune.commands import cli
from expertune.commands.study import studies as study
from expertune.commands.study.balance import Setting, frontier, knee_of
from expertune.commands.study.geometry import GROUPS, jackknife
from expertune.commands.study.lab import Lab
from expertune.commands.study.quality import EVERY, Panel, ndcg_rows
from expertune.commands.study.result import plain, spelled
from expertune.commands.study.sizes import _rows
from expertune.config import from_mapping
from expertune.errors import ConfigError
from expertune.evaluate.statistics import Interval
from expertune.records import Role, ignore_progress
from small_shop import FILES, write_files

ASKED = {
    "cost": ("price of delivery", "is shipping free", "what do i pay for shipping"),
    "return": ("can i send an item back", "how many days for a return"),
    "refund": ("my refund is not on my card", "refund days"),
    "cancel": ("stop my order", "cancel the order from my account"),
    "size": ("the size of an item", "what size to order"),
    "password": ("new password for my account", "reset my account"),
    "track": ("track my order", "where is my delivery"),
    "pay": ("pay with card", "what payment do you take"),
}


def judged_files() -> dict[str, str]:
    """Give every answer several held-out questions, twice as many as the geometry leaves out at a time."""
    ids = [
        (f"t-{answer}-{number}", text, answer) for answer, texts in ASKED.items() for number, text in enumerate(texts)
    ]
    ids += [(f"u-{answer}", f"the {answer} question and answer", answer) for answer in ASKED]
    queries = "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text, _ in ids)
    qrels = "query-id\tcorpus-id\tscore\n" + "".join(f"{key}\t{answer}\t1\n" for key, _, answer in ids)
    return {**FILES, "queries.jsonl": queries, "qrels/test.tsv": qrels}


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("study")
    files = judged_files()
    shop = write_files(folder / "shop", files)
    general = write_files(folder / "elsewhere", {key: text for key, text in files.items() if key != "qa.jsonl"})
    return from_mapping(
        {
            "run": {"out": str(folder / "out")},
            "data": {"path": str(shop), "general": [str(general)]},
            "augment": {"generators": ["template"], "per_answer": 2, "spans": 0},
            "score": {
                "experts": ["bm25", "ngrams", "latent", str(tiny_model), {"use": "bm25", "options": {"k1": 2.0}}]
            },
            "train": {"base": str(tiny_model), "steps": 2, "batch_size": 8},
        }
    )


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_ndcg_of_scores_equals_ir_measures():
    generator = np.random.default_rng(2)
    scores = generator.normal(size=(30, 40))
    right = generator.random((30, 40)) < 0.1
    right[:, 0] = True
    qrels = {str(q): {str(d): int(right[q, d]) for d in range(40)} for q in range(30)}
    run = {str(q): {str(d): float(scores[q, d]) for d in range(40)} for q in range(30)}
    expected = {item.query_id: item.value for item in ir_measures.iter_calc([ir_measures.nDCG @ 10], qrels, run)}
    np.testing.assert_allclose(ndcg_rows(scores, right), [expected[str(q)] for q in range(30)], atol=1e-9)


def test_ndcg_of_equal_scores_is_its_expectation_over_their_order():
    right = np.zeros((1, 20), dtype=bool)
    right[0, 3] = True
    gains = 1 / np.log2(np.arange(2, 12))
    assert ndcg_rows(np.zeros((1, 20)), right)[0] == pytest.approx(gains.sum() / 20)
    assert np.isnan(ndcg_rows(np.zeros((1, 20)), np.zeros((1, 20), dtype=bool))[0])


def interval(mean: float) -> Interval:
    return Interval(mean, mean - 0.01, mean + 0.01, 0.005, 10)


def setting(factor: float, domain: float, general: float) -> Setting:
    return Setting("mode", "query", factor, interval(domain), interval(general))


def test_the_knee_lies_where_going_on_begins_to_cost_more():
    path = [
        setting(0.25, 0.04, -0.001),
        setting(0.5, 0.07, -0.004),
        setting(0.75, 0.08, -0.015),
        setting(1.0, 0.09, -0.03),
    ]
    assert knee_of(path).factor == 0.5
    straight = [setting(factor, 0.1 * factor, -0.02 * factor) for factor in (0.25, 0.5, 1.0)]
    assert knee_of(straight).factor == 1.0
    assert knee_of([setting(1.0, -0.01, 0.0)]) is None


def test_the_frontier_holds_what_nothing_beats_on_both_sides():
    best, cheap, beaten, loss = (
        setting(1, 0.1, -0.02),
        setting(0.5, 0.05, 0.0),
        setting(2, 0.04, -0.01),
        setting(3, -0.1, 0.1),
    )
    assert frontier([best, cheap, beaten, loss]) == [best, cheap]


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(4).normal(size=2400)
    (found,) = jackknife(lambda kept: np.array([values[kept].mean()]), len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(len(values)), rel=0.5)
    assert found.low < found.mean < found.high
    assert found.clusters == GROUPS


def test_what_is_not_finite_becomes_null():
    assert plain({"a": (np.float32("nan"), np.int64(3)), "b": interval(0.5)}) == {
        "a": [None, 3],
        "b": {"mean": 0.5, "low": 0.49, "high": 0.51},
    }
    assert (spelled(interval(0.024)), interval(0.024).outcome, interval(0.0).outcome) == (
        "+2.4 (+1.4 to +3.4)",
        "better",
        "no evidence",
    )


# --- on a tiny model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", study.STUDIES)
def test_every_study_answers_and_computes_nothing_twice(config, name, monkeypatch):
    found, path = study.run(name, config, seeds=1)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["study"] == name
    assert len(written["answers"]) >= 2
    assert written["rows"]
    assert all(len(row) == len(written["columns"]) for row in written["rows"])
    assert written["rows"] == plain(found.rows)

    def refuse(*_, **__):
        raise AssertionError("a second run must not tune")

    monkeypatch.setattr("expertune.train.trainer.tune", refuse)
    again, _ = study.run(name, config, seeds=1)
    assert plain(again.answers) == plain(found.answers)


def test_means_over_sets_are_those_of_the_measurements(config):
    found, _ = study.run("labels", config, seeds=1)
    base = Lab(config, lambda _: None).base
    means = [item.mean("map@10") for item in base.measurements]
    assert found.figures["over_sets"]["base"]["map@10"] == pytest.approx(np.mean(means))
    assert found.figures["over_sets"]["base"]["map@10 sd"] == pytest.approx(np.std(means, ddof=1))
    assert set(found.figures["over_sets"]) == {"base", "hard", "soft-1", "soft-2", "soft-3", "weighted", "anchored"}


def test_a_killed_study_goes_on_after_its_last_piece(config, monkeypatch):
    from expertune.train import trainer

    tune, done = trainer.tune, []

    def dies(base, data, section, folder, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(section.seed)
        return tune(base, data, section, folder, **options)

    monkeypatch.setattr(trainer, "tune", dies)
    with pytest.raises(KeyboardInterrupt):
        study.run("labels", config, seeds=3)
    monkeypatch.setattr(trainer, "tune", tune)
    made = []
    monkeypatch.setattr(trainer, "tune", lambda *args, **options: (made.append(1), tune(*args, **options))[1])
    study.run("labels", config, seeds=3)
    # Seeds 1 and 2 of six strategies, less the two that were finished (and seed 0, where another study made it).
    assert len(made) <= 16
    assert len(done) == 2


def test_the_base_gains_nothing_over_itself_and_sets_count_the_same(config):
    lab = Lab(config, lambda _: None)
    nothing = lab.gain([lab.base, lab.base], Role.DOMAIN)
    assert (nothing.mean, nothing.low, nothing.high) == (0.0, 0.0, 0.0)
    values, clusters = lab._values(lab.base, Role.GENERAL, "ndcg@10")
    own = [item.mean("ndcg@10") for item in lab.base.measurements if item.role is Role.GENERAL]
    assert values.mean() == pytest.approx(np.mean(own))
    assert len(clusters) == len(values)


def test_a_study_takes_fewer_steps_than_a_run_where_the_config_sets_none(config):
    from expertune.commands.study.lab import STEPS

    unset = config.model_copy(update={"train": config.train.model_copy(update={"steps": 0})})
    assert Lab(unset, lambda _: None).config.train.steps == STEPS
    assert Lab(config, lambda _: None).config.train.steps == config.train.steps


def test_a_panel_of_one_is_that_expert_whatever_the_aggregation(config):
    panel = Panel(Lab(config, lambda _: None), config.label)
    alone = {name: panel.held_out([0], name) for name in EVERY}
    for name in EVERY:
        np.testing.assert_allclose(alone[name], alone["mean"], atol=1e-6)
    assert panel.weights([0]).tolist() == [1.0]
    assert panel.weights([0, 1, 2]).sum() == pytest.approx(1.0)


def test_groups_of_generated_questions_are_its_kinds_and_several_generators(config):
    from expertune.commands.study.generators import groups

    lab = Lab(config, lambda _: None)
    found = groups(lab)
    assert {group.by for group in found} == {"kind"}  # one generator cannot be left out
    rows = sorted(int(row) for group in found for row in group.rows)
    assert rows == np.flatnonzero(~lab.known).tolist()
    for group in found:
        assert {lab.questions.items[row].kind for row in group.rows} == {group.name}


def test_a_smaller_set_takes_only_the_generated_questions_of_its_answers(config):
    lab = Lab(config, lambda _: None)
    pairs = np.flatnonzero(lab.known)
    own = _rows(lab, pairs, 3, seed=1, augmented=False)
    grown = _rows(lab, pairs, 3, seed=1, augmented=True)
    assert len(own) == 3
    assert set(own) < set(grown)
    answers = {lab.questions.items[row].document_ids for row in own}
    assert {lab.questions.items[row].document_ids for row in grown} == answers


def test_the_command_prints_table_answers_and_file(config, tmp_path):
    from expertune.config import to_toml

    file = tmp_path / "study.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    done = CliRunner().invoke(cli.app, ["study", "agreement", str(file)], terminal_width=200)
    assert done.exit_code == 0, done.output
    assert "Krippendorff" in done.output
    assert str(Path(config.run.out) / "study-agreement.json") in done.output


def test_studies_look_at_answers_as_they_are(config):
    wanted = config.model_copy(update={"data": config.data.model_copy(update={"expand": 1})})
    with pytest.raises(ConfigError, match="answers as they are"):
        _ = Lab(wanted, ignore_progress).basis


def test_an_unknown_study_is_refused_with_the_known_ones(config):
    with pytest.raises(ConfigError, match="no study 'weather'") as caught:
        study.run("weather", config)
    assert "geometry" in caught.value.hint
