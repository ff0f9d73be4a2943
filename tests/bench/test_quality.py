"""The comparison with peers: every contender on a tiny real model, and the table that is made of pieces."""

import importlib
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expertune import models
from expertune.config import Config
from expertune.evaluate.ranking import Encoder
from expertune.evaluate.statistics import seeds_interval
from expertune.models.cache import MemoryCache
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.records import Dataset, Document, Provenance, Question, Questions, Scores

BENCH = Path(__file__).parents[2] / "bench"
NAMES = (
    "base",
    "expertune",
    *(f"paper-{strategy}" for strategy in ("hard", "soft-1", "soft-2", "soft-3")),
    *(
        "mnrl",
        "gist",
        "cosent",
        "cosine",
        "margin-mse",
        "distill-kl",
        "llama-index-linear",
        "litfit-linear",
    ),
)


@pytest.fixture(scope="module", autouse=True)
def bench():
    """Make the scripts importable, as they are to each other when one of them is run."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def quality(bench):
    return importlib.import_module("quality")


@pytest.fixture
def task(tiny_model, tmp_path):
    from contenders.task import Task

    answers = (
        "you can return the order",
        "the refund is on your card",
        "shipping cost",
        "payment",
        "track parcel",
    )
    documents = tuple(Document(f"d{number}", text) for number, text in enumerate(answers))
    own = tuple(Question(f"question {word}", (f"d{i}",)) for i, word in enumerate(("return", "refund", "ship", "pay")))
    written = tuple(
        Question(f"how do i {i} my order", (f"d{i % 5}",), Provenance.SYNTHETIC, "llm", "short") for i in range(12)
    )
    questions = Questions(own + written)
    values = np.random.default_rng(0).random((16, 5, 2)).astype(np.float32)
    values += questions.hard_labels(documents)[:, :, None]
    expert = sentence_encoder(str(tiny_model))
    few = {"steps": 2, "batch_size": 4, "precision": "float32", "base": str(tiny_model)}
    return Task(
        config=Config.model_validate({"train": few}),
        dataset=Dataset("tiny", documents, own),
        questions=questions,
        scores=Scores(("a", "b"), values),
        base=models.resolve(str(tiny_model)),
        base_encoder=CachedEncoder("base", expert, cache=MemoryCache()),
        seed=0,
        budget=100.0,
        scratch=tmp_path,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_contender_gives_an_encoder_and_says_what_it_chose(task, name, monkeypatch):
    from contenders import CONTENDERS

    modules = ("adapters", "paper", "released")
    adapters, paper, released = (importlib.import_module(f"contenders.{module}") for module in modules)
    if name == "litfit-linear":
        pytest.importorskip("litfit", reason="litfit is not part of the development set-up")
    # One point of every grid is enough here; the search itself has a test of its own.
    monkeypatch.setattr(adapters, "GRID", adapters.GRID[:1])
    monkeypatch.setattr(paper, "GRID", paper.GRID[:1])
    monkeypatch.setattr(paper, "STEPS", 2)
    for key, recipe in released._RECIPES.items():
        monkeypatch.setitem(released._RECIPES, key, replace(recipe, grid=recipe.grid[:1]))
    outcome = CONTENDERS[name](task)
    texts = ["where is my parcel", "card"]
    for vectors in (
        outcome.encoder.encode_queries(texts),
        outcome.encoder.encode_documents(texts),
    ):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    if name not in ("base", "expertune"):
        assert {"learning_rate", "method"} & set(outcome.chosen)
        moved = outcome.encoder.encode_queries(texts) - task.base_encoder.encode_queries(texts)
        assert np.abs(moved).max() > 0


def test_contenders_are_all_tested():
    from contenders import CONTENDERS

    assert set(CONTENDERS) == set(NAMES)


class Fixed(Encoder):
    """Vectors at a given angle to the right answer."""

    name = "fixed"

    def __init__(self, good):
        self._good = good

    def encode_queries(self, texts):
        return np.tile(np.eye(5, dtype=np.float32)[0], (len(texts), 1))

    def encode_documents(self, texts):
        order = np.eye(5, dtype=np.float32)
        return order if self._good else order[::-1].copy()


def test_the_grid_is_searched_on_the_validation_fold_and_the_choice_tuned_on_everything(
    task,
):
    from contenders.task import best_of

    seen = []

    def fit(point, rows):
        seen.append((point["good"], len(rows)))
        return Fixed(point["good"])

    items = tuple(
        Question(item.text, ("d0",), item.provenance, item.generator, item.kind) for item in task.questions.items
    )
    object.__setattr__(task, "questions", Questions(items))
    outcome = best_of(task, [{"good": False}, {"good": True}], fit)
    assert outcome.chosen == {"good": True}
    assert [good for good, _ in seen] == [False, True, True]
    assert seen[0][1] < seen[2][1] == 16
    seen.clear()
    object.__setattr__(task, "chosen", {"good": False})
    best_of(task, [{"good": True}], fit)
    assert seen == [(False, 16)]


def test_the_interval_covers_what_a_plain_bootstrap_of_queries_does(quality):
    generator = np.random.default_rng(0)
    values = generator.normal(0.1, 0.2, size=(1, 400))
    found = quality.interval([[("set/split", values, [str(i) for i in range(400)])]])
    error = 100 * values.std() / 20
    assert found["gain"] == pytest.approx(100 * values.mean(), abs=1e-3)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_seeds_that_differ_widen_the_interval_and_sets_count_the_same(quality):
    clusters = [str(i) for i in range(50)]
    steady, shifted = np.full((2, 50), 0.1), np.array([[0.0] * 50, [0.2] * 50])
    assert quality.interval([[("a", steady, clusters)]]) == {
        "gain": 10.0,
        "low": 10.0,
        "high": 10.0,
    }
    wide = quality.interval([[("a", shifted, clusters)]])
    assert wide["low"] < 0.0 < 20.0 < wide["high"]  # two seeds tell less of others than their own range
    both = quality.interval([[("a", steady, clusters)], [("b", np.zeros((1, 5)), clusters[:5])]])
    assert both["gain"] == 5.0
    assert quality.interval([]) is None


def test_one_split_has_the_interval_of_the_package(quality):
    generator = np.random.default_rng(1)
    values, clusters = generator.normal(0.1, 0.3, size=(3, 60)), [str(i % 12) for i in range(60)]
    package = seeds_interval(values, clusters)
    found = quality.interval([[("a", values, clusters)]])
    assert (found["low"], found["high"]) == pytest.approx((100 * package.low, 100 * package.high), abs=1e-3)


def test_a_split_of_few_answers_has_no_interval(quality):
    few = quality.interval([[("a", np.full((1, 60), 0.1), [str(i % 9) for i in range(60)])]])
    assert few == {"gain": 10.0, "answers": 9}
    assert quality._signed(few, 1) == "+10.0 (too few answers for an interval)"


def piece(name, values, *, general=0.5, seed=0, later=False, made="k"):
    measured = {
        "test_seen": {"values": values},
        "cranfield": {"values": [general, general]},
    }
    if name == "base":
        for part in measured.values():
            part["clusters"] = list(range(len(part["values"])))
    rest = {
        "chosen": {},
        "searched": True,
        "seconds": 1.0,
        "choosing_seconds": 2.0,
        "peak_megabytes": 3,
    }
    return {
        "contender": name,
        "set": "shop",
        "seed": seed,
        "later": later,
        "key": "" if name == "base" else made,
        "questions": "texts",
        "measured": measured,
        **rest,
    }


def test_lists_of_questions_are_told_apart_within_one_recipe(quality):
    recipes = {
        vary: {"questions": made}
        for vary, made in (("", "k"), ("train.frozen_layers=0", "k"), ("augment.per_answer=9", "v"))
    }
    pieces = [piece("base", []), *(piece(f"expertune {vary}".strip(), []) for vary in recipes)]
    for made, item in zip(("base", "here", "there", "fewer"), pieces, strict=True):
        item["questions"] = made
    assert quality.lists_of_questions(pieces, {"recipes": recipes}) == 2


def test_the_table_holds_gains_differences_and_the_front(quality, tmp_path):
    import json

    pieces = [
        piece("base", [0.5, 0.5]),
        piece("expertune", [0.7, 0.7]),
        piece("mnrl", [0.6, 0.6], general=0.4),
        piece("mnrl", [0.8, 0.8], general=0.4, seed=1),
        piece("expertune", [0.9, 0.9], seed=1, made="earlier defaults"),
    ]
    (tmp_path / "pieces.jsonl").write_text("\n".join(map(json.dumps, pieces)), encoding="utf-8")
    kinds = {"test_seen": "seen", "cranfield": "general"}
    recipe = {"ours": "k", "questions": "k", "counts": {}, "seconds": {}}
    prepared = {"kinds": kinds, "recipes": {"": recipe}}
    (tmp_path / "shop.json").write_text(json.dumps(prepared), encoding="utf-8")
    quality.collect(Namespace(pieces=tmp_path, sets=["shop"], result=tmp_path / "made.json"))
    made = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    ours, theirs = made["contenders"]
    assert (ours["name"], ours["domain"], ours["general"], ours["on_front"]) == (
        "expertune",
        20.0,
        0.0,
        True,
    )
    assert (
        theirs["name"],
        theirs["domain"],
        theirs["general"],
        theirs["on_front"],
    ) == ("mnrl", 20.0, -10.0, False)
    assert theirs["seeds"] == [0, 1]
    # Only the seed that both have is compared.
    assert theirs["ours_minus_this"]["domain"]["gain"] == 10.0
    assert theirs["worst_general"] == -10.0
    assert ours["inductive"] is None
    uneven = {**theirs, "seeds_of_a_set": {"one": 2, "other": 3}}
    assert quality.page_table([uneven]).splitlines()[2].startswith("| mnrl | 2 x 2 to 3 |")
    lines = quality.page_table([ours, theirs]).splitlines()
    assert lines[2] == "| expertune | 1 x 1 | +20.0 | - | - | +0.0 | +0.0 | - | - | 1 | 3 |"
    assert lines[3].startswith("| mnrl | 1 x 2 | +20.0 | - | - | -10.0 | -10.0 | +10.0 (")


def test_the_front_compares_what_both_were_measured_on(quality):
    """A peer is not ahead because it was measured on easier sets, or with luckier seeds."""
    pieces = [
        piece("base", [0.5, 0.5]),
        piece("expertune", [0.7, 0.7]),
        piece("expertune", [0.5, 0.5], seed=1),
        piece("mnrl", [0.69, 0.69]),
        piece("gist", [0.69, 0.69], general=0.6),
    ]
    found = quality.Collected(pieces, {"shop": {"test_seen": "seen", "cranfield": "general"}})
    assert found.row("mnrl")["domain"] > found.row("expertune")["domain"]
    assert found.beats("expertune", "mnrl")
    assert not found.beats("mnrl", "expertune")
    assert not found.beats("expertune", "gist")
    assert not found.beats("mnrl", "mnrl")


def test_further_general_sets_count_for_the_worst_and_not_for_the_mean(quality):
    """Ours is measured on more of them than peers, for whom every set is embedded anew."""
    base, ours = piece("base", [0.5, 0.5]), piece("expertune", [0.7, 0.7])
    base["measured"]["npl"] = {"values": [0.5, 0.7], "clusters": [0, 1]}
    ours["measured"]["npl"] = {"values": [0.4, 0.6]}
    kinds = {"test_seen": "seen", "cranfield": "general", "npl": "further"}
    row = quality.Collected([base, ours, piece("expertune", [0.7, 0.7], seed=1)], {"shop": kinds}).row("expertune")
    assert row["general"] == 0.0
    assert row["worst_general"] == row["general_sets"]["npl"]["gain"] == -10.0


@pytest.mark.parametrize(
    ("split", "labelled", "kind"),
    [
        ("test_seen", set(), "seen"),
        ("test_unseen", {"d0", "d1"}, "unseen"),
        ("test", {"d0"}, "seen"),
        ("test", set(), "unseen"),
    ],
)
def test_a_split_is_seen_by_its_name_or_by_its_answers(quality, split, labelled, kind):
    judged = Namespace(split=split, qrels={"q0": {"d0": 1}, "q1": {"d1": 1}})
    assert quality.kind(judged, labelled) == kind


def test_answers_without_a_training_question_are_left_out_of_the_inductive_case(quality, task):
    dataset, questions, scores = quality.without_later_answers(task.dataset, task.questions, task.scores)
    assert [document.id for document in dataset.documents] == ["d0", "d1", "d2", "d3"]
    assert all(item.document_ids != ("d4",) for item in questions.items)
    assert np.asarray(scores.values).shape == (len(questions.items), 4, 2)
    assert len(questions.items) == 16 - 2


def test_a_contender_of_the_inductive_case_alone_has_a_row(quality):
    """Such as ours with an option that is meant for answers added later."""
    pieces = [piece("base", [0.5, 0.5]), piece("expertune changed", [0.7, 0.7], later=True)]
    row = quality.Collected(pieces, {"shop": {"test_seen": "seen", "cranfield": "general"}}).row("expertune changed")
    assert row["domain"] is None
    assert row["inductive_seen"]["gain"] == 20.0
    (line,) = quality.page_table([{**row, "ours_minus_this": None}]).splitlines()[2:]
    assert line == "| expertune changed | 1 x 1 | - | - | - | - | - | - | - | 1 | 3 |"
