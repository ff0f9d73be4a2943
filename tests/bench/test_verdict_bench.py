"""The check of the verdict itself: halves that never mix, lines that say what is true, rates worked out by hand."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from expertune.records import Dataset, Document, Measurement, Question, Role, Scores

pytestmark = pytest.mark.usefixtures("few_resamples")
BENCH = Path(__file__).parents[2] / "bench" / "verdict.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_verdict", BENCH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def measured(dataset: str, role: Role, model: str, values: np.ndarray) -> Measurement:
    count = len(values)
    metrics = dict.fromkeys(("ndcg@10", "map@10", "mrr@10", "recall@10"), np.clip(values, 0, 1))
    ids = tuple(f"q{number}" for number in range(count))
    answers = tuple(f"a{number % 40}" for number in range(count))
    return Measurement(dataset, "test", role, model, ids, answers, metrics, (1,) * count, ((),) * count)


def model(gain: float, general: float = 0.0) -> tuple[list[Measurement], list[Measurement]]:
    """Return base and tuned on a domain, the general dev set and a hidden general set."""
    generator = np.random.default_rng(0)
    base, tuned = [], []
    for name, count, difference in (("shop", 700, gain), ("general-dev", 140, 0.0), ("cranfield", 200, general)):
        role = Role.DOMAIN if name == "shop" else Role.GENERAL
        level = generator.uniform(0.4, 0.6, count)
        base.append(measured(name, role, "base", level))
        tuned.append(measured(name, role, "tuned", level + difference + generator.normal(0, 0.02, count)))
    return base, tuned


def test_the_halves_are_disjoint_and_whole(bench: ModuleType):
    seen, hidden = bench.halves(701)
    assert sorted([*seen, *hidden]) == list(range(701))
    assert len(hidden) - len(seen) == 1


@pytest.mark.parametrize(("gain", "shipped"), [(0.05, True), (-0.05, False)])
def test_each_line_says_what_is_true_and_what_was_said(bench: ModuleType, gain: float, shipped: bool):
    tuning = bench.Tuning("shop", "honest", 0, ("shop",))
    base, tuned = model(gain, general=-0.03)
    lines = list(bench.runs("factor 1", tuning, base, tuned, draws=2))
    assert len(lines) == 2 * len(bench.SIZES)
    assert json.loads(json.dumps(lines)) == lines
    assert {line["said"]["ship"] for line in lines} == {shipped}
    for line in lines:
        assert line["truth"]["difference"] == pytest.approx(gain, abs=0.01)
        assert line["truth"]["general"] == pytest.approx(-0.03, abs=0.01)
        assert bench.worse(line) is (gain < 0)
        assert bench.helped(line) is (gain > 0)
    assert len({line["key"] for line in lines}) == len(lines)
    again = bench.runs("factor 1", tuning, base, tuned, draws=2, done={line["key"] for line in lines[1:]})
    assert [line["key"] for line in again] == [lines[0]["key"]]


def test_test_sets_never_hold_a_hidden_question(bench: ModuleType):
    base, tuned = model(0.0)
    _, hidden = bench.halves(700)
    values = tuned[0].values["ndcg@10"].copy()
    values[hidden] = 1.0  # As if the model knew every hidden question; what is said must not notice.
    knowing = [measured("shop", Role.DOMAIN, "tuned", values), *tuned[1:]]
    tuning = bench.Tuning("shop", "few", 1, ("shop",))
    plain = [line["said"] for line in bench.runs("x", tuning, base, tuned, draws=1)]
    other = list(bench.runs("x", tuning, base, knowing, draws=1))
    assert [line["said"] for line in other] == plain
    assert other[0]["truth"]["difference"] > 0.4


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
    assert found["ships_worse"]["rate"] == pytest.approx(0.1)
    assert found["keeps_base_though_it_helped"]["rate"] == pytest.approx(0.5)
    assert found["worse_of_shipped"]["rate"] == pytest.approx(0.2)
    assert found["by_size"]["20"]["keeps_base_though_it_helped"] is None
    assert found["by_size"]["300"]["keeps_base_though_it_helped"]["runs"] == 8
    assert found["shipped_by_true_difference"]["-0.03 to -0.01"]["rate"] == pytest.approx(0.1)
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


def test_labels_are_shuffled_and_experts_spoiled_as_the_names_say(bench: ModuleType):
    documents = tuple(Document(f"d{n}", f"text {n}") for n in range(400))
    dataset = Dataset("shop", documents, tuple(Question(f"ask {n}", (f"d{n}",)) for n in range(400)))
    honest = bench.training_questions(dataset, bench.Tuning("shop", "honest", 0, ()))
    shuffled = bench.training_questions(dataset, bench.Tuning("shop", "shuffled", 0, ()))
    assert [item.text for item in honest.items] == [item.text for item in shuffled.items]
    wrong = [item.text.split()[1] != item.document_ids[0][1:] for item in shuffled.items]
    assert np.mean(wrong) > 0.9
    assert len(bench.training_questions(dataset, bench.Tuning("shop", "few", 0, ())).items) == 40
    scores = Scores(("strong", "weak"), np.random.default_rng(0).uniform(0, 1, (5, 400, 2)).astype(np.float32))
    against, _ = bench.judged_by(scores, bench.Tuning("shop", "adversary", 0, ()))
    assert np.array_equal(against.values[:, :, 0], -scores.values[:, :, 0])
    assert np.array_equal(against.values[:, :, 1], scores.values[:, :, 1])
    noise, _ = bench.judged_by(scores, bench.Tuning("shop", "noise", 0, ()))
    assert abs(np.corrcoef(noise.values.ravel(), scores.values.ravel())[0, 1]) < 0.1


def test_logs_are_what_their_scenario_says_and_hold_no_labelled_question(bench: ModuleType):
    def domain(name: str) -> Dataset:
        questions = tuple(Question(f"{name} question {number} alpha{number}", ("d",)) for number in range(60))
        return Dataset(name, (Document("d", "only these four words"),), questions)

    def log(scenario: str) -> list[str]:
        tuning = bench.Tuning("shop", scenario, 0, ("shop",))
        return [item.text for item in bench.log_questions(domain("shop"), domain("bank"), tuning)]

    labelled = bench.training_questions(domain("shop"), bench.Tuning("shop", "own log", 0, ("shop",)))
    own = log("own log")
    assert len(labelled.items) == 40
    assert sorted([*own, *(item.text for item in labelled.items)]) == sorted(q.text for q in domain("shop").questions)
    assert sorted(log("foreign log")) == sorted(item.text for item in domain("bank").questions)
    shuffled = log("shuffled log")
    assert sorted(" ".join(shuffled).split()) == sorted(" ".join(own).split())
    assert shuffled != own
    noise = log("noise log")
    assert len(noise) == bench.LOG_SIZE
    assert set(" ".join(noise).split()) == {"only", "these", "four", "words"}
    assert log("honest") == []
