"""The check of the verdict itself: halves that never mix, effects as they are called, rates worked out by hand."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from expertune.commands.study.lab import Point
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.records import Dataset, Document, Measurement, Question, Role, Scores
from small_shop import FILES, quick, write_files

pytestmark = pytest.mark.usefixtures("few_resamples")
BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """Make the scripts importable, as they are to each other when one of them is run."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def bench(scripts) -> ModuleType:
    return importlib.import_module("verdict")


@pytest.fixture(scope="module")
def making(scripts) -> ModuleType:
    return importlib.import_module("verdict_models")


def measured(dataset: str, role: Role, model: str, values: np.ndarray, answers: int = 50) -> Measurement:
    count = len(values)
    metrics = dict.fromkeys(("ndcg@10", "map@10", "mrr@10", "recall@10"), np.clip(values, 0, 1))
    ids = tuple(f"q{number}" for number in range(count))
    names = tuple(f"a{number % answers}" for number in range(count))
    return Measurement(dataset, "test", role, model, ids, names, metrics, (1,) * count, ((),) * count)


def model(making: ModuleType, gain: float, general: float = 0.0, answers: int = 50):
    """Return a model beside its base on a domain, the general dev set and a hidden general set."""
    generator = np.random.default_rng(0)
    base, tuned = [], []
    for name, count, difference in (("shop", 700, gain), ("general-dev", 140, 0.0), ("cranfield", 200, general)):
        role = Role.DOMAIN if name == "shop" else Role.GENERAL
        level = generator.uniform(0.4, 0.6, count)
        base.append(measured(name, role, "base", level, answers))
        tuned.append(measured(name, role, "tuned", level + difference + generator.normal(0, 0.02, count), answers))
    return making.Model("m", "factor 1", "honest", "shop", tuple(base), tuple(tuned))


def test_the_halves_share_no_answer_and_are_whole(bench: ModuleType):
    clusters = [f"a{number % 41}" for number in range(700)]
    shown, hidden = bench.halves(clusters, 0)
    assert sorted([*shown, *hidden]) == list(range(700))
    seen, unseen = ({clusters[row] for row in rows} for rows in (shown, hidden))
    assert not seen & unseen
    assert len(unseen) - len(seen) == 1
    assert bench.halves(clusters, 1) != (shown, hidden)


@pytest.mark.parametrize(("gain", "shipped"), [(0.05, True), (-0.05, False)])
def test_each_line_says_what_is_true_and_what_was_said(
    bench: ModuleType, making: ModuleType, gain: float, shipped: bool
):
    lines = list(bench.runs(model(making, gain, general=-0.03), draws=2, splits=1))
    assert len(lines) == 2 * len(bench.SIZES)
    assert json.loads(json.dumps(lines)) == lines
    assert {line["said"]["ship"] for line in lines} == {shipped}
    for line in lines:
        assert line["truth"]["difference"] == pytest.approx(gain, abs=0.01)
        assert line["truth"]["general"] == pytest.approx(-0.03, abs=0.01)
        assert bench.worse(line) is bench.surely_worse(line) is (gain < 0)
        assert bench.helped(line) is (gain > 0)


def test_test_sets_never_hold_a_question_about_a_hidden_answer(bench: ModuleType, making: ModuleType):
    plain = model(making, 0.0)
    _, hidden = bench.halves(plain.base[0].clusters, 0)
    values = plain.tuned[0].values["ndcg@10"].copy()
    values[hidden] = 1.0  # As if the model knew every hidden question; what is said must not notice.
    tuned = (measured("shop", Role.DOMAIN, "tuned", values), *plain.tuned[1:])
    knowing = making.Model("m", "factor 1", "honest", "shop", plain.base, tuned)
    said = [line["said"] for line in bench.runs(plain, draws=1, splits=1)]
    other = list(bench.runs(knowing, draws=1, splits=1))
    assert [line["said"] for line in other] == said
    assert other[0]["truth"]["difference"] > 0.4


def test_sets_about_few_answers_are_not_judged(bench: ModuleType, making: ModuleType):
    few = model(making, 0.05, answers=bench.FEWEST_ANSWERS - 1)
    assert not list(bench.runs(few, draws=1))
    assert not list(bench.known(few, draws=1))


def test_a_moved_model_has_the_effect_over_answers_and_keeps_what_it_does_not_change(bench: ModuleType):
    values, clusters = np.array([0.0, 0.4, -0.2, 0.0, 0.1]), ["a", "a", "b", "b", "b"]
    found = bench.moved(values, clusters, 0.01)
    assert (found[:2].mean() + found[2:].mean()) / 2 == pytest.approx(0.01)
    assert np.array_equal(found == 0, values == 0)
    # By hand: mean over answers (0.2 - 1/30) / 2 = 1/12; changed answers' share 1/4 + 1/6 + 1/6 = 7/12.
    assert found - values == pytest.approx(np.array([0, 1, 1, 0, 1]) * (0.01 - 1 / 12) / (7 / 12))
    assert bench.moved(np.zeros(5), clusters, 0.01) is None
    assert bench.moved(values, clusters, 0.01, least=0.9) is None


def test_drawn_questions_have_every_answer_alike_on_average(bench: ModuleType):
    clusters = ["a"] * 90 + ["b"] * 10
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        rows, answers = bench.drawn(clusters, 20, generator)
        assert len(rows) == len(answers) == 20
        assert len(set(answers)) == 2  # two drawn answers, each a new one, be they the same
        shares.append(np.mean([clusters[row] == "b" for row in rows]))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.08)


def test_what_changes_nothing_on_average_ships_seldom_and_what_gains_much_does(bench: ModuleType, making: ModuleType):
    lines = list(bench.known(model(making, 0.05), draws=1))
    found = bench.of_known(lines)
    assert len(lines) == len(bench.SIZES) * len(bench.EFFECTS)
    assert found["shipped"]["+0.030"]["rate"] == 1.0
    assert found["shipped"]["-0.030"]["rate"] == 0.0
    assert found["shipped"]["+0.000"]["rate"] < 0.5


def line(name: str, truth: float, ship: bool, size: int = 20, detectable: float = 0.02) -> dict:
    return {
        "model": name, "size": size, "scenario": "honest", "kind": "chosen", "target": "shop",
        "truth": {"difference": truth, "low": truth - 0.005, "high": truth + 0.005, "general": 0.0},
        "said": {"ship": ship, "detectable": detectable},
    }  # fmt: skip


def test_the_rates_by_hand(bench: ModuleType):
    worse = [line(f"w{n}", -0.02, ship=n == 0) for n in range(10)]
    helped = [line(f"h{n}", 0.03, ship=n >= 4, size=300) for n in range(8)]
    hardly = [line("tiny", 0.004, ship=False), line("same", 0.0, ship=False)]
    found = bench.summary([*worse, *helped, *hardly])
    assert found["runs"] == found["models"] == 20
    assert found["ships_surely_worse"]["rate"] == pytest.approx(0.1)
    assert found["ships_worse"]["rate"] == pytest.approx(0.1)
    assert found["keeps_base_though_it_helped"]["rate"] == pytest.approx(0.5)
    assert found["worse_of_shipped"]["rate"] == pytest.approx(0.2)
    assert found["by_size"]["20"]["keeps_base_though_it_helped"] is None
    assert found["by_size"]["300"]["keeps_base_though_it_helped"]["runs"] == 8
    assert found["shipped_by_true_difference"]["-0.030 to -0.010"]["rate"] == pytest.approx(0.1)
    json.dumps(found, allow_nan=False)


def test_a_model_that_lost_elsewhere_is_rightly_held_back(bench: ModuleType):
    lost = line("lost", 0.03, ship=False)
    lost["truth"]["general"] = -0.02
    found = bench.summary([line("good", 0.03, ship=True), lost])
    assert found["keeps_base_though_it_helped"]["rate"] == pytest.approx(0.5)
    assert found["keeps_base_though_it_helped_and_nothing_was_lost"]["rate"] == 0.0
    assert found["ships_though_general_fell_by_more_than_the_tolerance"]["rate"] == 0.0


def test_what_never_happened_still_has_an_interval(bench: ModuleType):
    lines = [line(f"w{n % 10}", -0.02, ship=False) for n in range(50)]
    found = bench.rate(lines, bench.shipped)
    # Ten models without an event: 1 - 0.025 ** (1 / 10) is the exact upper limit, whatever the number of runs.
    assert (found["rate"], found["low"]) == (0.0, 0.0)
    assert found["high"] == pytest.approx(0.3085, abs=1e-4)
    assert bench.rate([], bench.shipped) is None


def test_the_estimate_by_cross_validation_is_held_against_the_truth(bench: ModuleType):
    def entry(estimate: tuple[float, float, float], truth: tuple[float, float, float]) -> dict:
        names = (("difference", "low", "high"), ("mean", "low", "high"))
        row, pooled = (
            dict(zip(keys, values, strict=True)) for keys, values in zip(names, (estimate, truth), strict=True)
        )
        return {"set": "shop", "tag": "", "estimate": {"rows": [row]}, "truth": {"pooled": pooled}}

    better, nothing = (0.05, 0.01, 0.09), (0.01, -0.05, 0.07)
    found = bench.cross_validated(
        [entry(better, (0.1, 0.02, 0.2)), entry(better, (-0.01, -0.1, 0.1)), entry(nothing, (0.1, 0.02, 0.2))]
    )
    assert [row["said"] for row in found["rows"]] == ["better", "better", "no difference shown"]
    assert (found["worse"], found["recommended_though_worse"]) == (1, 1)
    assert (found["helped"], found["not_recommended_though_it_helped"]) == (2, 1)


def test_an_index_with_questions_is_held_against_one_without(bench: ModuleType):
    def row(layout: str, ndcg: float, answers: str, model: str = "tuned") -> dict:
        common = {"base": "minilm", "set": "shop", "log": True, "answers": answers}
        return {**common, "model": model, "layout": layout, "ndcg": ndcg}

    rows = [
        row("answers", 70.0, "seen"), row("answers and questions", 75.5, "seen"), row("answers", 1.0, "seen", "base"),
        row("answers", 60.0, "unseen"), row("answers and questions", 58.0, "unseen"),
        row("separate vectors", 1.0, "seen"),
    ]  # fmt: skip
    found = bench.layouts(rows)
    assert [line["gain"] for line in found["rows"]] == [5.5, -2.0]
    assert found["by_kind"]["unseen"] == {"cases": 1, "worse": 1, "mean": -2.0, "least": -2.0}
    assert bench.choices()["layout"]["rows"]  # the file of the other bench is read as it is now


def test_a_scenario_is_a_whole_run_and_gives_three_models(making: ModuleType, tiny_model, tmp_path, monkeypatch):
    shop = write_files(tmp_path / "data" / "shop", FILES)
    tuning = making.Tuning("shop", "noise", 0, ("shop",))
    settings = quick(tmp_path, tiny_model, **{"data.path": str(shop), "label.strategy": "calibrated"})
    monkeypatch.setattr(making.Bench, "config", lambda *_: settings)
    monkeypatch.setattr(making.Bench, "base", CachedEncoder("base", sentence_encoder(str(tiny_model))))
    monkeypatch.setattr(making.Bench, "general", [])
    monkeypatch.setattr(making, "BASE", str(tiny_model))
    made = making.Bench(tmp_path / "data", tmp_path / "work", 2, 8)
    found = list(made.models(tuning))
    assert [item.kind for item in found] in (["chosen"], ["chosen", "factor 0.25", "factor 1"])
    assert {(item.scenario, item.target) for item in found} == {("noise", "shop")}
    for item in found:
        assert item.base[0].query_ids == item.tuned[0].query_ids
    again = list(made.models(tuning))
    assert [item.tuned[0].values["ndcg@10"].tolist() for item in again] == [
        item.tuned[0].values["ndcg@10"].tolist() for item in found
    ]

    # The same model, found in the store of its run, is what that run kept.
    monkeypatch.setattr(making, "MEASURED", ("shop",))
    monkeypatch.setattr(making, "set_folder", lambda name, root: root / name)
    (kept,) = made.kept(tmp_path / "store")
    assert (kept.scenario, kept.target) == ("kept by a run", "shop")
    assert kept.tuned[0].values["ndcg@10"].tolist() == found[0].tuned[0].values["ndcg@10"].tolist()


def test_splits_of_a_set_are_joined_and_other_domains_stand_apart(making: ModuleType):
    def sets(model: str) -> list[Measurement]:
        parts = [("shop", "test_seen"), ("shop", "test_unseen"), ("bank", "test"), ("unknown", "test")]
        found = [replace(measured(name, Role.DOMAIN, model, np.full(4, 0.5)), split=split) for name, split in parts]
        return [*found, measured("general-dev", Role.GENERAL, model, np.full(4, 0.9))]

    base = {(item.dataset, item.split): item for item in sets("base") if item.dataset != "unknown"}
    found = list(making._of_point("k", Point(0.75, tuple(sets("tuned")), ()), base))
    assert [(item.target, item.scenario) for item in found] == [("shop", "step of the recipe"), ("bank", "foreign")]
    assert [len(item.tuned[0].query_ids) for item in found] == [8, 4]
    assert [len(item.tuned) for item in found] == [2, 2]
    assert len(set(found[0].base[0].query_ids)) == 8


def test_labels_are_shuffled_and_experts_spoiled_as_the_names_say(making: ModuleType):
    documents = tuple(Document(f"d{n}", f"text {n}") for n in range(400))
    dataset = Dataset("shop", documents, tuple(Question(f"ask {n}", (f"d{n}",)) for n in range(400)))
    honest = making.training_questions(dataset, making.Tuning("shop", "honest", 0, ()))
    shuffled = making.training_questions(dataset, making.Tuning("shop", "shuffled", 0, ()))
    assert [item.text for item in honest.items] == [item.text for item in shuffled.items]
    wrong = [item.text.split()[1] != item.document_ids[0][1:] for item in shuffled.items]
    assert np.mean(wrong) > 0.9
    assert len(making.training_questions(dataset, making.Tuning("shop", "few", 0, ())).items) == 40
    scores = Scores(("strong", "weak"), np.random.default_rng(0).uniform(0, 1, (5, 400, 2)).astype(np.float32))
    against = making.spoiled(scores, making.Tuning("shop", "adversary", 0, ()))
    assert np.array_equal(against.values[:, :, 0], -scores.values[:, :, 0])
    assert np.array_equal(against.values[:, :, 1], scores.values[:, :, 1])
    noise = making.spoiled(scores, making.Tuning("shop", "noise", 0, ()))
    assert abs(np.corrcoef(noise.values.ravel(), scores.values.ravel())[0, 1]) < 0.1


def test_logs_are_what_their_scenario_says_and_hold_no_labelled_question(making: ModuleType):
    def domain(name: str) -> Dataset:
        questions = tuple(Question(f"{name} question {number} alpha{number}", ("d",)) for number in range(60))
        return Dataset(name, (Document("d", "only these four words"),), questions)

    def log(scenario: str) -> list[str]:
        tuning = making.Tuning("shop", scenario, 0, ("shop",))
        return making.log_lines(domain("shop"), domain("bank"), tuning)

    labelled = making.training_questions(domain("shop"), making.Tuning("shop", "own log", 0, ("shop",)))
    own = log("own log")
    assert len(labelled.items) == 40
    assert sorted([*own, *(item.text for item in labelled.items)]) == sorted(q.text for q in domain("shop").questions)
    assert sorted(log("foreign log")) == sorted(item.text for item in domain("bank").questions)
    shuffled = log("shuffled log")
    assert sorted(" ".join(shuffled).split()) == sorted(" ".join(own).split())
    assert shuffled != own
    noise = log("noise log")
    assert len(noise) == making.LOG_SIZE
    assert set(" ".join(noise).split()) == {"only", "these", "four", "words"}
    assert log("honest") == []
