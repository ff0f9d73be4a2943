"""Studies: the figures they are made of by hand, and every study on a tiny real model, twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from expertune.commands import cli, study
from expertune.commands.study.experts import HeldOutQuestions
from expertune.commands.study.lab import Lab, Point, _weighted_values
from expertune.commands.study.result import Study, plain, spelled, write
from expertune.commands.study.sizes import subset
from expertune.config import from_mapping
from expertune.errors import ConfigError, StoreError
from expertune.evaluate.statistics import Interval
from expertune.records import Measurement, Role, ignore_progress
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
    """Give every answer several held-out questions."""
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
                "experts": [
                    "bm25",
                    "ngrams",
                    "latent",
                    str(tiny_model),
                    {"use": "bm25", "options": {"language": "none"}},
                ]
            },
            "train": {"base": str(tiny_model), "steps": 2, "batch_size": 8},
        }
    )


# --- by hand ---------------------------------------------------------------------------------------------------------


def interval(mean: float) -> Interval:
    return Interval(mean, mean - 0.01, mean + 0.01, 0.005, 10)


def test_what_is_not_finite_becomes_null():
    assert plain({"a": (np.float32("nan"), np.int64(3)), "b": interval(0.5)}) == {
        "a": [None, 3],
        "b": {"mean": 0.5, "low": 0.49, "high": 0.51},
    }
    assert (spelled(interval(0.024)), interval(0.024).outcome, interval(0.0).outcome) == (
        "+2.4 (+1.4 to +3.4), better",
        "better",
        "no difference shown",
    )


def point(values: list[float], *, weights: tuple[float, ...] = (), split: str = "test") -> Point:
    """Return a model with these values of nDCG@10 on one set, each question about an answer of its own."""
    names = tuple(f"q{place}" for place in range(len(values)))
    ranks, top = (1,) * len(values), ((),) * len(values)
    measured = {"ndcg@10": np.array(values)}
    return Point(1.0, (Measurement("s", split, Role.DOMAIN, "m", names, names, measured, ranks, top, 0, weights),), ())


def gain(points: list[Point], **options: object) -> Interval:
    """Return what a lab says that has nothing but a base which finds nothing."""
    base = point([0.0] * len(points[0].measurements[0].query_ids))
    nothing = SimpleNamespace(base=base, config=SimpleNamespace(run=SimpleNamespace(seed=0)))
    return Lab.gain(nothing, points, Role.DOMAIN, **options)  # type: ignore[arg-type]


def test_repeated_points_are_paired_with_those_of_their_seed():
    # The reference moves by 0.4 from seed to seed: differences +0.2 and -0.2, whose mean has a standard error of 0.2.
    found = gain([point([0.5] * 10)] * 2, over=[point([0.3] * 10), point([0.7] * 10)])
    assert (found.mean, found.standard_error) == (pytest.approx(0.0), pytest.approx(0.2))
    # What both sides share is no noise of the difference.
    together = gain([point([0.4] * 10), point([0.8] * 10)], over=[point([0.3] * 10), point([0.7] * 10)])
    assert (together.mean, together.standard_error) == (pytest.approx(0.1), pytest.approx(0.0))
    with pytest.raises(ValueError, match="shorter"):
        gain([point([0.5] * 10)] * 2, over=[point([0.3] * 10)])


def test_drawn_questions_count_as_much_as_their_weight():
    drawn = point([1.0, 0.0, 0.0, 0.0], weights=(3.0, 0.5, 0.25, 0.25))
    assert _weighted_values(drawn, Role.DOMAIN, "ndcg@10").mean() == pytest.approx(0.75)
    both = replace(drawn, measurements=(*drawn.measurements, *point([0.5] * 12, split="other").measurements))
    assert _weighted_values(both, Role.DOMAIN, "ndcg@10").mean() == pytest.approx((0.75 + 0.5) / 2)


# --- on a tiny model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", study.STUDIES)
def test_every_study_answers_and_computes_nothing_twice(config, name, monkeypatch):
    found, path = study.run_study(name, config, seeds=1, report=ignore_progress)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["study"] == name
    assert len(written["answers"]) >= 2
    assert written["rows"]
    assert all(len(row) == len(written["columns"]) for row in written["rows"])
    assert written["rows"] == plain(found.rows)

    def refuse(*_, **__):
        raise AssertionError("a second run must not tune")

    monkeypatch.setattr("expertune.train.trainer.tune", refuse)
    again, _ = study.run_study(name, config, seeds=1, report=ignore_progress)
    assert plain(again.answers) == plain(found.answers)


def test_hard_labels_leave_a_search_log_out_as_a_run_does(config, tmp_path):
    (tmp_path / "log.txt").write_text("does the shop have a phone\nsend me a new invoice\n", encoding="utf-8")
    section = config.data.model_copy(update={"log": (str(tmp_path / "log.txt"),)})
    lab = Lab(config.model_copy(update={"data": section}), ignore_progress)
    mixed, _ = lab.labels("mixed")
    hard, labels = lab.labels("hard")
    assert mixed.logged.sum() == 2
    assert hard.items == tuple(item for item in mixed.items if not item.logged)
    assert (labels.targets.sum(axis=1) > 0).all()


def test_means_over_sets_are_those_of_the_measurements(config):
    found, _ = study.run_study("labels", config, seeds=1, report=ignore_progress)
    base = Lab(config, ignore_progress).base
    means = [item.mean("map@10") for item in base.measurements]
    assert found.figures["over_sets"]["base"]["map@10"] == pytest.approx(np.mean(means))
    assert found.figures["over_sets"]["base"]["map@10 sd"] == pytest.approx(np.std(means, ddof=1))
    assert set(found.figures["over_sets"]) == {"base", "hard", "soft-1", "soft-2", "soft-3", "weighted", "mixed"}


def test_a_killed_study_goes_on_after_its_last_piece(config, monkeypatch):
    from expertune.train import trainer

    tune, done = trainer.tune, []

    def dies(base, data, section, folder, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(options["seed"])
        return tune(base, data, section, folder, **options)

    monkeypatch.setattr(trainer, "tune", dies)
    with pytest.raises(KeyboardInterrupt):
        study.run_study("labels", config, seeds=3, report=ignore_progress)
    monkeypatch.setattr(trainer, "tune", tune)
    made = []
    monkeypatch.setattr(trainer, "tune", lambda *args, **options: (made.append(1), tune(*args, **options))[1])
    study.run_study("labels", config, seeds=3, report=ignore_progress)
    # Seeds 1 and 2 of six strategies, less the two that were finished (and seed 0, where another study made it).
    assert len(made) <= 16
    assert len(done) == 2


def test_the_base_gains_nothing_over_itself_and_sets_count_the_same(config):
    lab = Lab(config, ignore_progress)
    nothing = lab.gain([lab.base, lab.base], Role.DOMAIN)
    assert (nothing.mean, nothing.low, nothing.high) == (0.0, 0.0, 0.0)
    values = _weighted_values(lab.base, Role.GENERAL, "ndcg@10")
    means = [item.mean("ndcg@10") for item in lab.base.measurements if item.role is Role.GENERAL]
    assert values.mean() == pytest.approx(np.mean(means))


def test_a_study_takes_fewer_steps_than_a_run_where_the_config_sets_none(config):
    from expertune.commands.study.lab import STEPS

    unset = config.model_copy(update={"train": config.train.model_copy(update={"steps": 0})})
    assert Lab(unset, ignore_progress).config.train.steps == STEPS
    assert Lab(config, ignore_progress).config.train.steps == config.train.steps


def test_a_panel_of_one_is_that_expert_however_it_is_merged(config):
    held_out = HeldOutQuestions(Lab(config, ignore_progress))
    for name in ("soft-1", "median", "weighted"):
        assert held_out.quality([3], name) == pytest.approx(held_out.quality([3], "calibrated"))
    assert held_out.rows([3]).mean() == pytest.approx(held_out.quality([3]))
    assert len(held_out.rows([3])) == len(held_out.clusters)


def test_panels_are_ranked_by_drawn_questions_at_their_weights(config):
    held_out = HeldOutQuestions(Lab(config, ignore_progress))
    held_out.weights = np.random.default_rng(0).uniform(0.2, 5.0, len(held_out.clusters))
    expected = np.average(held_out.rows([0]), weights=held_out.weights)
    assert held_out.quality([0]) == pytest.approx(expected)
    assert held_out.quality([0]) != pytest.approx(held_out.rows([0]).mean())


def test_panels_of_held_out_questions_learn_from_labelled_ones_alone(config):
    lab = Lab(config, ignore_progress)
    held_out = HeldOutQuestions(lab)
    _, seen = lab.labels("weighted", rows=lab.labelled)
    merged = held_out.merged(range(len(lab.scores.experts)))[: len(lab.labelled)]
    order = np.argsort(-np.asarray(seen.targets), axis=1)
    np.testing.assert_array_equal(np.argsort(-np.asarray(merged), axis=1)[:, :3], order[:, :3])


def test_groups_of_generated_questions_are_its_kinds_and_several_generators(config):
    from expertune.commands.study.generators import groups

    lab = Lab(config, ignore_progress)
    found = groups(lab)
    assert {by for by, _ in found} == {"kind"}  # one generator cannot be left out
    rows = sorted(int(row) for group in found.values() for row in group)
    others = [row for row, item in enumerate(lab.questions.items) if not item.labelled]
    assert rows == others
    for (_, kind), group in found.items():
        assert {lab.questions.items[row].kind for row in group} == {kind}


def test_a_smaller_set_keeps_every_question_that_is_not_labelled(config):
    lab = Lab(config, ignore_progress)
    labelled = subset(lab, 3, seed=1, augmented=False)
    grown = subset(lab, 3, seed=1, augmented=True)
    assert len(labelled) == 3
    assert set(labelled) < set(lab.labelled)
    assert set(grown) & set(lab.labelled) == set(labelled)
    assert len(grown) == len(lab.questions.items) - len(lab.labelled) + 3


def test_labels_of_answers_alone_do_not_know_what_labelled_questions_say(config):
    lab = Lab(config, ignore_progress)
    assert lab.scores.plain is not None
    _, plain = lab.labels("weighted", plain=True)
    _, read = lab.labels("weighted")
    alone = lab.label(lab.questions, replace(lab.scores, values=lab.scores.plain), "weighted")
    np.testing.assert_array_equal(plain.targets, alone.targets)
    assert not np.allclose(plain.targets, read.targets)


def test_the_command_prints_table_answers_and_file(config, tmp_path):
    from expertune.config import to_toml

    file = tmp_path / "study.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    done = CliRunner().invoke(cli.app, ["study", "sizes", str(file), "--seeds", "1"], terminal_width=200)
    assert done.exit_code == 0, done.output
    assert "How small may the set" in done.output
    assert str(Path(config.run.out) / "study-sizes.json") in done.output


def test_studies_look_at_answers_as_they_are(config):
    wanted = config.model_copy(update={"data": config.data.model_copy(update={"expand": 1})})
    with pytest.raises(ConfigError, match="answers as they are"):
        _ = Lab(wanted, ignore_progress).basis


def test_an_unknown_study_is_refused_with_the_known_ones(config):
    with pytest.raises(ConfigError, match="no study 'weather'") as caught:
        study.run_study("weather", config, report=ignore_progress)
    assert "generators" in caught.value.hint


def test_a_study_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "new" / "study.json"
    study = Study("labels", "Which?", ("None.",), ("a",), ((1.0,),), {})
    write(study, path, dataset="shop", settings={}, seconds=1.0)
    before = path.read_text(encoding="utf-8")
    assert json.loads(before)["study"] == "labels"

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match=r"study\.json: cannot be written .*No space left"):
        write(study, path, dataset="other", settings={}, seconds=1.0)
    assert path.read_text(encoding="utf-8") == before
    assert [item.name for item in path.parent.iterdir()] == ["study.json"]
