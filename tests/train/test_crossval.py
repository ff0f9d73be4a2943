"""Cross-validation over labelled questions: who is left out with whom, what goes with them, and what is reported."""

import numpy as np
import pytest

from expertune import data as reading
from expertune import models
from expertune.config import LabelSection, TrainSection
from expertune.data.expansion import Expansion, joined
from expertune.data.repeats import Repeats
from expertune.label.stage import Labeller
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.records import (
    METRIC,
    METRICS,
    CrossValidation,
    Dataset,
    Document,
    Measurement,
    Provenance,
    Question,
    Questions,
    Role,
    Scores,
)
from expertune.train import crossval, select, trainer, tuning
from expertune.train.crossval import FoldResult


def asked(*answers, text="", provenance=Provenance.PAIR):
    return Question(text or "about " + " and ".join(answers), answers, provenance)


def faq(count):
    return Questions(tuple(asked(f"d{number}") for number in range(count)))


def in_folds(questions, **options):
    """The texts that each fold leaves out."""
    return [{questions.items[row].text for row in rows} for rows in crossval.left_out(questions, **options)]


def test_the_questions_of_all_folds_are_shown_as_one_judged_set():
    questions = Questions((*faq(2).items, asked("d0", "d2")))
    dataset = Dataset("shop", (Document("d0", "zero"),), questions.items)
    both = [
        Measurement("shop", crossval.SPLIT, Role.DOMAIN, model, ("q2", "q0"), ("d0", "d0"), {}, (1, 1), ((), ()))
        for model in ("base", "tuned")
    ]
    judged = crossval.asked(CrossValidation(2, *both, (True, True), ()), dataset, questions)
    assert [(query.id, query.text) for query in judged.queries] == [("q2", "about d0 and d2"), ("q0", "about d0")]
    assert judged.qrels == {"q2": {"d0": 1, "d2": 1}, "q0": {"d0": 1}}
    assert (judged.name, judged.documents) == ("shop/own questions", dataset.documents)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_labelled_question_is_left_out_once_and_folds_are_of_one_size(seed):
    synthetic = asked("d0", text="made", provenance=Provenance.SYNTHETIC)
    questions = Questions((*faq(16).items, synthetic))
    parts = crossval.left_out(questions, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(16))
    assert sorted(map(len, parts)) == [5, 5, 6]
    assert all(np.array_equal(part, np.sort(part)) for part in parts)


def test_another_seed_leaves_out_others_together():
    assert in_folds(faq(16)) != in_folds(faq(16), seed=1)


def test_questions_that_share_an_answer_by_way_of_a_third_stay_together():
    chain = (asked("a"), asked("a", "b"), asked("b"))
    questions = Questions((*faq(9).items, *chain, asked("x", text="x1"), asked("x", text="x2")))
    texts = {item.text for item in chain}
    whole = [any(texts <= part for part in in_folds(questions, seed=seed)) for seed in range(8)]
    spread = [not any({"x1", "x2"} <= part for part in in_folds(questions, seed=seed)) for seed in range(8)]
    # Of the two answers with several questions, one is left out whole and the other one is spread.
    assert whole == spread
    assert set(whole) == {True, False}


def test_what_was_made_from_a_left_out_question_goes_and_spans_stay():
    items = (
        asked("a"),
        asked("b"),
        asked("a", text="shown the question", provenance=Provenance.SYNTHETIC),
        asked("b", text="of another answer", provenance=Provenance.SYNTHETIC),
        asked("a", text="cut out of the answer", provenance=Provenance.SPAN),
        asked(text="searched for", provenance=Provenance.LOG),
        asked("b", text="about a?"),
    )
    part = crossval.fold(Questions(items), np.array([0]), [True, False, False, False, False, False, True])
    assert part.left_out.tolist() == [0]
    assert part.train.tolist() == [1, 3, 4, 5]


def test_fewer_than_six_answers_are_too_few():
    assert not crossval.possible(faq(5).items)
    assert crossval.possible(faq(6).items)
    assert not crossval.possible([asked("a", text=f"question {number}") for number in range(9)])


def result(gains, known, first=0):
    """A fold in which the base has 0.5 everywhere and the tuned model gains so much, each about its own answer."""
    ids = tuple(f"q{first + number}" for number in range(len(gains)))

    def measurement(model, values):
        return Measurement(
            "hand",
            crossval.SPLIT,
            Role.DOMAIN,
            model,
            ids,
            ids,
            {metric: np.asarray(values, dtype=np.float64) for metric in METRICS},
            tuple(range(len(ids))),
            tuple((f"top of {name}",) for name in ids),
            1,
        )

    base = [0.5] * len(gains)
    return FoldResult(measurement("base", base), measurement("tuned", np.add(base, gains)), known)


def test_the_folds_are_pooled_question_by_question_and_each_kind_is_compared():
    own = crossval.pooled([result([0.1, 0.3], (True, False)), result([0.5, -0.1, 0.2], (False, True, True), 2)])
    assert (own.folds, own.known) == (2, (True, False, False, True, True))
    assert own.base.query_ids == ("q0", "q1", "q2", "q3", "q4")
    assert own.tuned.ties == 2
    differences = {row.split: (row.queries, row.difference) for row in own.comparisons if row.metric == METRIC}
    assert differences == {
        crossval.SPLIT: (5, pytest.approx(0.2)),
        crossval.KINDS[True]: (3, pytest.approx(0.2 / 3)),
        crossval.KINDS[False]: (2, pytest.approx(0.4)),
    }


def test_one_kind_alone_is_said_once():
    own = crossval.pooled([result([0.1, 0.3], (False, False))])
    assert {row.split for row in own.comparisons} == {crossval.SPLIT}


# --- with a tiny real model ---------------------------------------------------------------------------------------

TEXTS = (
    "How do i return my order? you can return the order",
    "the refund is on your card",
    "shipping cost and price",
    "payment with card",
)
WORDS = ("how do i return my order", "when is my refund", "what does delivery cost", "can i pay with my card")


@pytest.fixture
def labeller():
    documents = tuple(Document(f"d{number}", text) for number, text in enumerate(TEXTS))
    labelled = tuple(asked(f"d{number}", text=text) for number, text in enumerate(WORDS))
    spans = tuple(asked(f"d{number}", text=text[:12], provenance=Provenance.SPAN) for number, text in enumerate(TEXTS))
    copy = asked(text="How do I return my order??", provenance=Provenance.LOG)
    dataset, questions = Dataset("hand", documents, labelled), Questions((*labelled, *spans, copy))
    generator = np.random.default_rng(0)
    plain, expanded = (
        Scores(("a", "b"), generator.random((len(questions.items), len(TEXTS), 2)).astype(np.float32)) for _ in range(2)
    )
    read = Expansion.of(labelled, 1)
    scores = joined(plain, expanded, questions.labelled)
    return Labeller(dataset, questions, scores, LabelSection(), read=read, indexed=read, repeats=Repeats.of(dataset))


def test_part_of_a_labeller_labels_as_the_whole_does_and_may_be_parted_again(labeller):
    rows, inner = np.array([1, 2, 3, 5, 6, 7]), np.array([0, 2, 3, 5])
    part = labeller.part(rows)
    np.testing.assert_array_equal(part.targets(np.arange(6)).targets, labeller.targets(rows).targets)
    np.testing.assert_array_equal(part.targets(inner).targets, labeller.targets(rows[inner]).targets)
    assert part.documents(np.arange(6)) == labeller.documents(rows)
    texts = " ".join(document.text for document in part.documents(np.arange(6)))
    assert WORDS[0] not in texts.lower()
    assert WORDS[1] in texts


def test_a_fold_asks_a_model_that_never_saw_the_questions(labeller, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(select, "INTERPOLATION_WEIGHTS", (0.0, 1.0))
    seen, tune = [], trainer.tune

    def note(base, data, section, folder, **options):
        seen.extend((*data.questions, *data.documents))
        return tune(base, data, section, folder, **options)

    monkeypatch.setattr(trainer, "tune", note)
    section = TrainSection(steps=2, batch_size=4, precision="float32")
    encoder = CachedEncoder("base", sentence_encoder(str(tiny_model)))
    tuner = tuning.Tuner(models.resolve(str(tiny_model)), encoder, section)
    rows = np.array([0, 2])
    copies = tuning.copies(labeller.questions, rows, tuner, ("the size of my colour",))
    part = crossval.fold(labeller.questions, rows, copies)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = crossval.measure_fold(
        tuner, labeller, part, reading.load_general_dev_set(), scratch=scratch, general_tolerance=1.0
    )
    assert found.base.query_ids == found.tuned.query_ids == ("q0", "q2")
    assert found.base.clusters == ("d0", "d2")
    assert found.known == (False, False)
    assert seen
    assert not [text for text in seen if "return my order" in text.lower() or "what does delivery" in text]
