"""The comparison with peers: every contender on a tiny real model, the table that is made of pieces, and its page."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from expertune import models
from expertune.config import Config
from expertune.evaluate.ranking import Encoder
from expertune.evaluate.statistics import seeds_interval
from expertune.models.cache import MemoryCache
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.records import Dataset, Document, Provenance, Question, Questions, Role, Scores
from small_shop import FILES, write_files

BENCH = Path(__file__).parents[2] / "bench"
PEERS = (
    *(f"{side}-{loss}" for side in ("query", "full") for loss in ("mnrl", "distill-kl", "margin-mse", "cosent")),
    "paper-hard",
    "paper-soft-1",
    "llama-index-linear",
    "litfit-linear",
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


@pytest.fixture(scope="module")
def table(bench):
    return importlib.import_module("quality_parts.table")


@pytest.fixture(scope="module")
def page(bench):
    return importlib.import_module("quality_parts.page")


@pytest.fixture(scope="module")
def released(bench):
    return importlib.import_module("contenders.released")


@pytest.fixture(scope="module")
def columns(bench):
    return importlib.import_module("contenders.columns")


ANSWERS = ("you can return the order", "the refund is on your card", "shipping cost", "payment", "track parcel")


@pytest.fixture
def task(tiny_model, tmp_path):
    """Four labelled questions, twelve written ones and two of a log, whose first answer by expert a is d3 and d4."""
    from contenders.task import Task

    documents = tuple(Document(f"d{number}", text) for number, text in enumerate(ANSWERS))
    own = tuple(Question(f"question {word}", (f"d{i}",)) for i, word in enumerate(("return", "refund", "ship", "pay")))
    written = tuple(
        Question(f"how do i {i} my order", (f"d{i % 5}",), Provenance.SYNTHETIC, "llm", "short") for i in range(12)
    )
    logged = tuple(Question(text, (), Provenance.LOG) for text in ("my card", "parcel"))
    questions = Questions(own + written + logged)
    values = np.random.default_rng(0).random((18, 5, 2)).astype(np.float32) / 2
    values[:, :, 0] += questions.hard_labels(documents) / 2
    values[16:, :, 0] = np.eye(5)[3:] / 2
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
        scratch=tmp_path,
        points=1,
    )


def changed(task, **values):
    for name, value in values.items():
        object.__setattr__(task, name, value)
    return task


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_peer_gives_an_encoder_and_says_what_it_chose(task, name):
    from contenders import CONTENDERS

    if name == "litfit-linear":
        pytest.importorskip("litfit", reason="litfit is not part of the development set-up")
    outcome = CONTENDERS[name](task)
    texts = ["where is my parcel", ANSWERS[1]]
    for vectors in (outcome.encoder.encode_queries(texts), outcome.encoder.encode_documents(texts)):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    assert {"learning_rate", "method"} & set(outcome.chosen)
    assert len(outcome.tried) == 1
    moved = outcome.encoder.encode_queries(texts) - task.base_encoder.encode_queries(texts)
    assert np.abs(moved).max() > 0
    if name.startswith("query"):
        kept = outcome.encoder.encode_documents(texts) - task.base_encoder.encode_documents(texts)
        assert np.abs(kept).max() == 0
    if not name.endswith("linear"):
        assert outcome.chosen["steps"] == 2  # as many as ours takes


def test_a_peers_teacher_is_the_best_expert_on_answers_as_they_are(task):
    plain = np.asarray(task.scores.values).copy()
    read = np.ones_like(plain)
    changed(task, scores=Scores(("a", "b"), read, plain=plain))
    # Judged by what it read, every expert is as good; the first is taken, on plain answers.
    np.testing.assert_array_equal(task.teacher, plain[:, :, 0])


def test_a_question_of_the_log_has_the_teachers_first_answer(task):
    assert task.hard[16:].tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    assert task.hard[:4].tolist() == np.eye(4, 5).tolist()


def test_rows_hold_the_share_of_labelled_questions_and_the_log_where_the_point_says_so(task, columns):
    rows = np.arange(18)
    point = {"log": False, "repeat": False}
    assert columns.training_rows(task, point, rows, 4).tolist() == list(range(16))
    repeated = columns.training_rows(task, {**point, "repeat": True}, rows, 4)
    assert sorted(set(repeated.tolist())) == list(range(16))
    assert np.mean(repeated < 4) == pytest.approx(0.25, abs=0.02)
    logged = columns.training_rows(task, {"log": True, "repeat": True}, rows, 4)
    assert np.mean(logged >= 16) == pytest.approx(0.5, abs=0.02)


def test_a_hard_negative_scores_clearly_below_the_right_answer(task, columns):
    scores = np.array([[0.9, 0.88, 0.5, 0.7, 0.1]], np.float32)
    changed(task, teacher=scores, hard=np.eye(1, 5))
    picked = columns.negatives(task, np.array([0]), np.array([0]), 3)
    assert picked.tolist() == [[3, 2, 4]]  # 0.88 is more than 95 % of 0.9
    assert columns.negatives(task, np.array([0]), np.array([0]), 9).shape == (1, 4)


def test_the_released_loss_sees_the_bases_vectors_of_documents(task, columns, released, monkeypatch):
    """What the loss is given for a fixed document is what the index has."""
    seen = []
    real = released.LOSSES["distill-kl"].make

    def watched(model):
        loss = real(model)
        inner = loss.compute_loss_from_embeddings

        def record(embeddings, labels):
            seen.append([embedding.detach().numpy() for embedding in embeddings])
            return inner(embeddings, labels)

        loss.compute_loss_from_embeddings = record
        return loss

    loss = released.Loss(columns.scored, watched, {"negatives": 3})
    monkeypatch.setitem(released.LOSSES, "distill-kl", loss)
    released.released("query", "distill-kl")(task)
    index = task.base_encoder.encode_documents(list(ANSWERS))
    for vectors in seen[0][1:]:
        assert np.abs(vectors[:, None] - index[None]).max(axis=2).min(axis=1).max() < 1e-6


def test_a_training_ends_when_its_validation_stops_rising(task, released, monkeypatch):
    monkeypatch.setattr(released, "EVERY", 1)
    monkeypatch.setattr(released, "PATIENCE", 2)
    found = iter([0.2, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(type(task), "validated", lambda self, encoder: next(found))
    outcome = released.released("query", "mnrl")(changed(task, limit="validation"))
    assert outcome.chosen["steps"] == 2
    assert outcome.tried[0]["validation"] == 0.5
    assert next(found) == 0.9  # it was never asked for


def test_equal_seconds_give_as_many_steps_as_fit(task, released, monkeypatch):
    monkeypatch.setattr(released._Training, "seconds_a_step", lambda self: 0.5)
    outcome = released.released("query", "mnrl")(changed(task, limit="seconds", budget=1.6))
    assert outcome.chosen["steps"] == 3


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


def test_the_grid_is_searched_on_the_validation_fold_and_the_choice_tuned_on_everything(task):
    from contenders.task import Fitted, best_of

    seen = []

    def fit(point, rows, validate):
        seen.append((point["good"], len(rows), validate))
        return Fitted(Fixed(point["good"]))

    items = tuple(
        Question(item.text, ("d0",), item.provenance, item.generator, item.kind) for item in task.questions.items[:16]
    )
    changed(task, questions=Questions(items), points=0)
    outcome = best_of(task, [{"good": False}, {"good": True}], fit)
    assert outcome.chosen == {"good": True}
    assert outcome.tried[0]["validation"] < outcome.tried[1]["validation"] == 1.0
    assert [good for good, _, _ in seen] == [False, True, True]
    assert seen[0][1] < seen[2][1] == 16
    assert [validate for _, _, validate in seen] == [True, True, False]
    seen.clear()
    best_of(changed(task, chosen={"good": False}), [{"good": True}], fit)
    assert seen == [(False, 16, False)]


# --- the table -----------------------------------------------------------------------------------------------------


def test_the_interval_covers_what_a_plain_bootstrap_of_queries_does(table):
    generator = np.random.default_rng(0)
    values = generator.normal(0.1, 0.2, size=(1, 400))
    found = table.interval([[("set/split", values, [str(i) for i in range(400)])]])
    error = 100 * values.std() / 20
    assert found["gain"] == pytest.approx(100 * values.mean(), abs=1e-3)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_seeds_that_differ_widen_the_interval_and_sets_count_the_same(table):
    clusters = [str(i) for i in range(50)]
    steady, shifted = np.full((2, 50), 0.1), np.array([[0.0] * 50, [0.2] * 50])
    assert table.interval([[("a", steady, clusters)]]) == {"gain": 10.0, "low": 10.0, "high": 10.0}
    wide = table.interval([[("a", shifted, clusters)]])
    assert wide["low"] < 0.0 < 20.0 < wide["high"]  # two seeds tell less of others than their own range
    both = table.interval([[("a", steady, clusters)], [("b", np.zeros((1, 5)), clusters[:5])]])
    assert both["gain"] == 5.0
    assert table.interval([]) is None


def test_one_split_has_the_interval_of_the_package(table):
    generator = np.random.default_rng(1)
    values, clusters = generator.normal(0.1, 0.3, size=(3, 60)), [str(i % 12) for i in range(60)]
    package = seeds_interval(values, clusters)
    found = table.interval([[("a", values, clusters)]])
    assert (found["low"], found["high"]) == pytest.approx((100 * package.low, 100 * package.high), abs=1e-3)


def test_a_split_of_few_answers_has_no_interval(table, page):
    few = table.interval([[("a", np.full((1, 60), 0.1), [str(i % 9) for i in range(60)])]])
    assert few == {"gain": 10.0, "answers": 9}
    assert page.signed(few) == "+10.0 (too few answers for an interval)"
    assert table.outcome(few) == "no difference shown"


KINDS = {"test_seen": "seen", "cranfield": "general"}
COUNTS = {"answers": 2, "labelled": 2, "log": 7, "questions": 9}


def line(name, values, *, kind="peer", general=0.5, seed=0, key="k"):
    measured = {"test_seen": [values] * 20} | ({} if kind == "alternative" else {"cranfield": [general] * 20})
    tuned = {} if kind in ("base", "alternative") else {"chosen": {"steps": 2}, "seconds": 4.0, "peak_megabytes": 3}
    return {
        "name": name,
        "made_by": name,
        "kind": kind,
        "set": "shop",
        "seed": seed,
        "key": key,
        "commit": "c",
        **({"clusters": {split: list(range(20)) for split in measured}} if kind == "base" else {}),
        **({"tried": [{"steps": 2, "validation": 0.5}], "choosing_seconds": 2.0} if kind == "peer" else {}),
        "measured": measured,
        **tuned,
    }


LINES = [
    line("base", 0.5, kind="base"),
    line("expertune, log", 0.75, kind="ours"),
    line("BM25", 0.5625, kind="alternative"),
    line("mpnet", 0.6875, kind="alternative"),
    line("query-mnrl, equal steps", 0.625, general=0.375),
    {**line("query-mnrl, equal steps", 0.875, general=0.375, seed=1), "tried": []},  # took what the first seed chose
]


def test_rows_hold_gains_and_differences_on_the_seeds_that_both_have(table):
    found = table.Collected(LINES, {"shop": KINDS})
    assert found.names == ["expertune, log", "BM25", "mpnet", "query-mnrl, equal steps"]
    ours, peer = found.row("expertune, log"), found.row("query-mnrl, equal steps")
    assert (ours["domain"]["gain"], ours["general"]["gain"]) == (25.0, 0.0)
    assert (peer["domain"]["gain"], peer["general"]["gain"]) == (25.0, -12.5)
    assert peer["ours_minus_this"]["expertune, log"]["domain"]["gain"] == 12.5  # seed 0 alone
    assert peer["seeds_of_a_set"] == {"shop": 2}
    assert peer["unseen"] is None
    assert found.row("BM25")["general"] is None


def test_what_needs_no_tuning_is_set_beside_every_seed(table):
    second = line("expertune, log", 1.0, kind="ours", seed=1)
    found = table.Collected([*LINES, second], {"shop": KINDS})
    assert found.row("mpnet")["ours_minus_this"]["expertune, log"]["domain"]["gain"] == 18.75


def test_ours_with_a_default_changed_is_set_beside_the_others_too(table):
    varied = line("expertune, log train.mode=full", 1.0, kind="ours")
    ahead = table.Collected([*LINES, varied], {"shop": KINDS}).row("query-mnrl, equal steps")["ours_minus_this"]
    gains = {name: found["domain"]["gain"] for name, found in ahead.items()}
    assert gains == {"expertune, log": 12.5, "expertune, log train.mode=full": 37.5}


def test_the_best_of_each_kind_is_picked_by_the_test_questions(table, page):
    found = table.Collected(LINES, {"shop": KINDS})
    made = page.table_of(found, {"shop": {"counts": COUNTS}})
    assert made["sets"]["shop"]["best"] == {"alternative": "mpnet", "peer": "query-mnrl, equal steps"}
    assert made["sets"]["shop"]["base"] == {"test_seen": 50.0, "cranfield": 50.0}
    ours, picked = "- expertune, log beside the best", "(picked by the test questions of each set): better on 1 of 1."
    assert list(page.said(made)) == [f"{ours} way without tuning {picked}", f"{ours} peer {picked}"]
    (shop,) = [*page.sets_table(made)][2:]
    assert shop.startswith("| shop | 2, 2, 7 | 50.0 | +25.0 (+25.0 to +25.0) | mpnet, +18.8 (+18.8 to +18.8) | +6.2 (")
    assert shop.endswith(" | +12.5 (+12.5 to +12.5) |")


def given(tmp_path, **changes):
    plain = {"sets": ["shop"], "contenders": ["expertune", "BM25"], "seeds": [0], "limit": "steps", "vary": []}
    return Namespace(out=tmp_path, page=None, **{**plain, **changes})


def shared(**keys):
    every = dict.fromkeys(("base", "alternatives", "expertune", "expertune, log", "peers"), "k")
    return {"": {"kinds": KINDS, "counts": COUNTS, "keys": every | keys}}


def test_pieces_of_earlier_defaults_leave_the_table_and_what_is_not_there_is_named(quality, tmp_path):
    old = line("expertune", 0.9, kind="ours", key="of another version")
    (tmp_path / "pieces.jsonl").write_text("\n".join(map(json.dumps, [*LINES, old])), encoding="utf-8")
    (tmp_path / "shop.json").write_text(json.dumps(shared()), encoding="utf-8")
    quality.collect(given(tmp_path, contenders=["expertune", "query-mnrl"], seeds=[0, 2]))
    made = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in made["rows"]] == ["expertune, log", "BM25", "mpnet", "query-mnrl, equal steps"]
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "- expertune: shop (seed 0), shop (seed 2)" in text
    assert "- query-mnrl, equal steps: shop (seed 2)" in text
    assert "| query-mnrl, equal steps | shop/0: 2 steps, of 1 |" in text
    for plot in ("gain-against-seconds.svg", "alternatives-by-set.svg"):
        assert f"]({plot})" in text
        assert "expertune, log" in (tmp_path / plot).read_text(encoding="utf-8")


def test_a_page_that_has_the_marks_keeps_its_own_words(quality, tmp_path):
    (tmp_path / "pieces.jsonl").write_text("\n".join(map(json.dumps, LINES)), encoding="utf-8")
    (tmp_path / "shop.json").write_text(json.dumps(shared()), encoding="utf-8")
    page = tmp_path / "peers.md"
    page.write_text("before\n<!-- quality:begin -->\nold\n<!-- quality:end -->\nafter\n", encoding="utf-8")
    named = given(tmp_path)
    named.page = page
    quality.collect(named)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| mpnet |" in text
    assert "old" not in text


def test_peers_get_the_mean_seconds_of_ours_on_the_same_set(quality):
    other = {**line("expertune, log", 0.7, kind="ours", seed=1), "seconds": 8.0}
    told = {**line("expertune, log", 0.7, kind="ours", seed=2), "seconds": None}  # its model lay in the store
    assert quality.budget_of([*LINES, other, told], shared()[""], "shop", []) == 6.0
    with pytest.raises(SystemExit, match="run it first"):
        quality.budget_of(LINES, shared(**{"expertune, log": "new"})[""], "shop", [])


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
    judged = Namespace(split=split, role=Role.DOMAIN, qrels={"q0": {"d0": 1}, "q1": {"d1": 1}})
    assert importlib.import_module("quality_parts.pieces").kind(judged, labelled) == kind


# --- a folder of one's own -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_of_ones_own_gives_a_page_in_one_command(quality, tiny_model, tmp_path, monkeypatch):
    folder = write_files(tmp_path / "mine", {**FILES, "log.txt": "cost of shipping\nreset my password please\n"})
    monkeypatch.setattr(quality, "apart", lambda function, *arguments: function(*arguments))
    fast = ("score.experts=['bm25','ngrams']", "augment.spans=2", "train.batch_size=8", "train.steps=2")
    named = quality.name_of  # without what is varied, which only makes the run short
    monkeypatch.setattr(quality, "name_of", lambda piece, _: named(piece, []))
    contenders = ["expertune", "expertune, log", "alternatives", "query-mnrl"]
    command = ["quality.py", "--sets", str(folder), "--base", str(tiny_model), "--work", str(tmp_path / "work")]
    command += ["--points", "1", "--threads", "1", "--contenders", *contenders]
    monkeypatch.setattr(sys, "argv", command + [word for change in fast for word in ("--vary", change)])
    quality.main()
    text = (tmp_path / "work" / "page.md").read_text(encoding="utf-8")
    for row in ("| expertune |", "| expertune, log |", "| BM25 |", "| query-mnrl, equal steps |"):
        assert row in text
    assert "Not run" not in text
    pieces = (tmp_path / "work" / "pieces.jsonl").read_text(encoding="utf-8")
    quality.main()
    assert (tmp_path / "work" / "pieces.jsonl").read_text(encoding="utf-8") == pieces
