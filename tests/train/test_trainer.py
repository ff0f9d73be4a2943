"""Tuning a tiny real model: what moves, what stays, and that the same seed gives the same weights."""

import dataclasses
import typing

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from expertune import models
from expertune.config import Loss, TrainSection
from expertune.errors import TrainingError
from expertune.models.load import load_model
from expertune.train import checkpoints, trainer
from expertune.train.losses import OBJECTIVES

QUESTIONS = ["how do i return my order", "when is my refund", "what does delivery cost", "can i pay with my card"] * 4
DOCUMENTS = ["you can return the order", "the refund is on your card", "shipping cost and price", "payment with card"]


@pytest.fixture(scope="module")
def base(tiny_model):
    return models.resolve(str(tiny_model))


@pytest.fixture(scope="module")
def data(base):
    model = load_model(base)
    reference = ["the size of my colour", "where are you"]
    return trainer.TrainingData(
        questions=QUESTIONS,
        documents=DOCUMENTS,
        targets=np.tile(np.eye(4, dtype=np.float32), (4, 1)),
        active=np.ones(4, bool),
        document_vectors=model.encode(DOCUMENTS, normalize_embeddings=True),
        reference=reference,
        reference_vectors=model.encode(reference, normalize_embeddings=True),
    )


def section(**changes):
    return TrainSection(**{"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "precision": "float32", **changes})


def weights(folder):
    return load_model(models.resolve(str(folder))).state_dict()


def test_tuning_brings_the_questions_to_their_answers(base, data, tmp_path):
    losses = trainer.tune(base, data, section(steps=30), tmp_path / "tuned")
    assert len(losses) == 30
    assert losses[-1] < losses[0]
    tuned, before = load_model(models.resolve(str(tmp_path / "tuned"))), load_model(base)
    hits = [(model.encode(QUESTIONS[:4]) @ data.document_vectors.T).diagonal().sum() for model in (before, tuned)]
    assert hits[1] > hits[0]


def test_the_same_seed_gives_the_same_weights(base, data, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer.tune(base, data, section(), tmp_path / name, seed=seed)
    first, second, other = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_fixed_documents_are_the_same_as_documents_encoded_and_detached(base, data, tmp_path, monkeypatch):
    trainer.tune(base, data, section(), tmp_path / "fixed")
    frozen = load_model(base).eval()

    def encoded(model, given, settings):
        def source(rows):
            with torch.no_grad():
                vectors = frozen.encode(list(given.documents), normalize_embeddings=True, convert_to_tensor=True)
            return torch.arange(len(given.documents)), vectors.clone()

        return source

    monkeypatch.setattr(trainer, "_document_source", encoded)
    trainer.tune(base, data, section(), tmp_path / "encoded")
    fixed, detached = weights(tmp_path / "fixed"), weights(tmp_path / "encoded")
    for name in fixed:
        torch.testing.assert_close(fixed[name], detached[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{}, {"mode": "full"}, {"lora_rank": 4}, {"precision": "bfloat16"}],
    ids=["query", "full", "lora", "bfloat16"],
)
@pytest.mark.parametrize("killed_at", [1, 5])
def test_a_training_that_was_killed_ends_with_the_same_weights(base, data, tmp_path, monkeypatch, changes, killed_at):
    """A batch is half of the questions: step 5 lies in the third pass over them."""
    expected = trainer.tune(base, data, section(**changes), tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    steps = []

    def die(progress):
        steps.append(progress.done)
        if progress.done == killed_at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.tune(base, data, section(**changes), tmp_path / "again", report=die)
    losses = trainer.tune(base, data, section(**changes), tmp_path / "again", report=lambda p: steps.append(p.done))
    assert steps == [*range(1, killed_at + 2), *range(killed_at + 1, 7)]
    assert losses == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "whole"]
    for name in ("model.safetensors", trainer._LOSSES):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("changes", [{}, {"mode": "full"}, {"lora_rank": 4}], ids=str)
def test_embeddings_and_lower_layers_stay_the_bases(base, data, tmp_path, changes):
    trainer.tune(base, data, section(**changes), tmp_path / "half")
    trainer.tune(base, data, section(frozen_layers=0.0, **changes), tmp_path / "none")
    before = load_model(base).state_dict()

    def moved(folder):
        return {name for name, value in weights(folder).items() if not torch.equal(value, before[name])}

    half, everything = moved(tmp_path / "half"), moved(tmp_path / "none")
    assert half == {name for name in everything if "layer.1." in name}
    assert any("layer.0." in name for name in everything)


def test_layers_are_found_where_each_holds_a_longer_list_and_where_there_are_none():
    def linear():
        return torch.nn.Linear(1, 1)

    layers = [torch.nn.ModuleDict({"experts": torch.nn.ModuleList([linear() for _ in range(9)])}) for _ in range(4)]
    model = [torch.nn.ModuleDict({"embeddings": linear(), "layers": torch.nn.ModuleList(layers)})]
    trainer._freeze(model, 0.99)  # the last one is always tuned
    free = {name for name, weight in model[0].named_parameters() if weight.requires_grad}
    assert {name[:8] for name in free} == {"layers.3"}
    assert len(free) == 18
    plain = [linear()]
    trainer._freeze(plain, 0.75)
    assert all(weight.requires_grad for weight in plain[0].parameters())


def test_a_tuning_that_is_done_is_not_done_again(base, data, tmp_path):
    first = trainer.tune(base, data, section(), tmp_path / "tuned")
    again = trainer.tune(base, data, section(), tmp_path / "tuned", report=lambda _: pytest.fail("trained again"))
    assert first == again


def test_where_memory_runs_out_batches_are_halved_once(base, data, tmp_path, monkeypatch, caplog):
    trainer.tune(base, data, section(), tmp_path / "whole")
    listwise, sizes = OBJECTIVES["listwise"], []

    def limited(similarities, targets, temperature):
        sizes.append(len(similarities))
        if len(similarities) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return listwise(similarities, targets, temperature)

    monkeypatch.setitem(OBJECTIVES, "listwise", limited)
    assert len(trainer.tune(base, data, section(), tmp_path / "halves")) == 6
    assert sizes == [8, *[4] * 12]
    assert "memory ran out" in caplog.text
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    for name in whole:  # Dropout draws otherwise for half a batch; nothing else differs.
        torch.testing.assert_close(halves[name], whole[name], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_does_not_suffice_for_halves_is_one_clear_error(base, data, tmp_path, monkeypatch, error):
    calls = []

    def full(similarities, targets, temperature):
        calls.append(len(similarities))
        raise error

    monkeypatch.setitem(OBJECTIVES, "listwise", full)
    with pytest.raises(TrainingError, match="memory ran out with batches of 8 questions") as caught:
        trainer.tune(base, data, section(), tmp_path / "tuned")
    assert calls == [8, 4]
    assert "train.batch_size" in caught.value.hint


def test_a_fault_that_is_not_about_memory_is_not_tried_again(base, data, tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("oops")

    monkeypatch.setitem(OBJECTIVES, "listwise", broken)
    with pytest.raises(RuntimeError, match="oops"):
        trainer.tune(base, data, section(), tmp_path / "tuned")


@pytest.mark.parametrize("changes", [{"mode": "full"}, {"lora_rank": 4}, {"mode": "full", "lora_rank": 4}], ids=str)
def test_every_mode_tunes_and_saves_a_plain_model(base, data, tmp_path, changes):
    trainer.tune(base, data, section(**changes), tmp_path / "tuned")
    before, after = load_model(base).state_dict(), weights(tmp_path / "tuned")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert sorted(path.suffix for path in (tmp_path / "tuned").glob("model*")) == [".safetensors"]


def test_a_loss_that_becomes_nan_leaves_the_last_good_checkpoint(base, data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    listwise, calls = OBJECTIVES["listwise"], []

    def breaking(similarities, targets, temperature):
        calls.append(len(similarities))
        return listwise(similarities, targets, temperature) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setitem(OBJECTIVES, "listwise", breaking)
    with pytest.raises(TrainingError, match="the loss became nan at step 4"):
        trainer.tune(base, data, section(), tmp_path / "tuned")
    (kept,) = (tmp_path / "tuned.part").glob("checkpoint-*")
    assert kept.name == "checkpoint-3"
    assert all(torch.isfinite(value).all() for value in load_file(kept / trainer._WEIGHTS).values())
    monkeypatch.setitem(OBJECTIVES, "listwise", listwise)
    assert len(trainer.tune(base, data, section(), tmp_path / "tuned")) == 6


@pytest.mark.parametrize("mode", ["query", "full"])
def test_candidates_that_are_all_documents_tune_to_the_same_weights(base, data, tmp_path, mode):
    columns = np.tile(np.arange(4), (16, 1))
    for name, given in (("whole", data), ("candidates", dataclasses.replace(data, columns=columns))):
        trainer.tune(base, given, section(mode=mode), tmp_path / name)
    whole, candidates = weights(tmp_path / "whole"), weights(tmp_path / "candidates")
    for name in whole:
        torch.testing.assert_close(whole[name], candidates[name], rtol=1e-4, atol=1e-6)


def test_a_batch_is_judged_against_the_active_candidates_of_its_questions(data):
    given = dataclasses.replace(
        data, columns=np.tile([[0, 1], [1, 3]], (8, 1)), active=np.array([True, True, True, False])
    )
    columns, vectors = trainer._document_source(None, given, section())(torch.tensor([1, 3]))
    assert columns.tolist() == [1]
    np.testing.assert_array_equal(vectors.numpy(), data.document_vectors[[1]])


@pytest.mark.parametrize("loss", ["listwise", "pairwise"])
def test_every_loss_runs(base, data, tmp_path, loss):
    assert all(np.isfinite(trainer.tune(base, data, section(loss=loss), tmp_path / "tuned")))


def test_the_prior_of_a_document_is_its_share_of_what_is_tuned_on(data, monkeypatch):
    """Rows count as often as they come; a document without mass counts a tenth of the mean, an inactive one nothing."""
    targets = np.array([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]], np.float32)
    given = dataclasses.replace(
        data, questions=QUESTIONS[:2], targets=targets, active=np.array([True, True, True, False])
    )
    mass = np.array([3 + 0.5, 0.5, 0.0, 0.0])
    wanted = np.log(np.maximum(mass / mass[:3].mean(), 0.1))
    rows = [0, 1, 0, 0]
    np.testing.assert_allclose(trainer._log_prior(given, rows).numpy(), wanted, rtol=1e-6)
    columns = np.array([[2, 0], [1, 0]])
    some = dataclasses.replace(given, targets=np.array([[0.0, 1.0], [0.5, 0.5]], np.float32), columns=columns)
    np.testing.assert_allclose(trainer._log_prior(some, rows).numpy(), wanted, rtol=1e-6)
    monkeypatch.setattr(trainer, "LOGIT_ADJUSTMENT", 0.5)
    np.testing.assert_allclose(trainer._log_prior(given, rows).numpy(), wanted / 2, rtol=1e-6)
    for loss, adjusted in (("listwise", True), ("pairwise", False)):
        made = trainer._loss(torch.nn.Identity(), given, section(loss=loss), rows, None)
        assert (made.log_prior is not None) is adjusted


def test_a_popular_answer_draws_other_questions_less_with_logit_adjustment(base, data, tmp_path, monkeypatch):
    """Seven of eight questions lead to one answer; a question that was never tuned on is drawn to it less."""
    popular = np.array([0] * 14 + [1, 2])
    given = dataclasses.replace(
        data, targets=np.eye(4, dtype=np.float32)[popular], active=np.array([True] * 3 + [False])
    )

    def drawn(strength):
        monkeypatch.setattr(trainer, "LOGIT_ADJUSTMENT", strength)
        settings = section(steps=20, reference_weight=0.0)
        trainer.tune(base, given, settings, tmp_path / f"tuned-{strength}")
        tuned = load_model(models.resolve(str(tmp_path / f"tuned-{strength}")))
        cosines = tuned.encode(["where is my colour", "the size of a shoe"]) @ data.document_vectors.T
        return float((cosines[:, 0] - cosines[:, 1:3].mean(axis=1)).mean())

    assert drawn(1.0) < drawn(0.0) - 0.05


def test_the_reference_weight_holds_reference_sentences_in_place(base, data, tmp_path):
    def moved(weight):
        trainer.tune(base, data, section(steps=30, reference_weight=weight), tmp_path / f"anchor-{weight}")
        tuned = load_model(models.resolve(str(tmp_path / f"anchor-{weight}")))
        return 1.0 - (tuned.encode(data.reference) * data.reference_vectors).sum(axis=1).mean()

    assert moved(50.0) < moved(0.0)


def test_fewer_questions_than_a_batch(base, data, tmp_path):
    few = dataclasses.replace(data, questions=QUESTIONS[:3], targets=data.targets[:3])
    assert len(trainer.tune(base, few, section(steps=3), tmp_path / "tuned")) == 3


def test_inactive_documents_are_no_negatives(base, data, tmp_path):
    active = np.array([True, True, False, False])
    targets = np.tile(np.eye(4, dtype=np.float32)[:2], (8, 1))
    columns, vectors = trainer._document_source(None, dataclasses.replace(data, active=active), section())(
        torch.arange(2)
    )
    assert columns.tolist() == [0, 1]
    np.testing.assert_array_equal(vectors.numpy(), data.document_vectors[:2])
    assert targets.shape == (16, 4)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros((16, 4), np.float32), "no target mass"),
        (np.full((16, 4), np.nan, np.float32), "no target mass|must lie in"),
        (np.full((16, 4), 2.0, np.float32), "must lie in"),
    ],
)
def test_targets_that_are_no_labels_are_refused(base, data, tmp_path, targets, message):
    with pytest.raises(TrainingError, match=message):
        trainer.tune(base, dataclasses.replace(data, targets=targets), section(), tmp_path / "tuned")


def test_a_loss_that_is_not_a_number_stops_with_one_clear_error(base, data, tmp_path):
    broken = dataclasses.replace(data, document_vectors=np.full_like(data.document_vectors, np.nan))
    with pytest.raises(TrainingError, match="the loss became nan at step 1"):
        trainer.tune(base, broken, section(), tmp_path / "tuned")


def test_every_loss_of_the_config_has_an_objective():
    assert set(typing.get_args(Loss)) == set(OBJECTIVES)


def test_interpolation_goes_from_base_to_tuned(base, data, tmp_path):
    trainer.tune(base, data, section(), tmp_path / "tuned")
    start, end = load_model(base), load_model(models.resolve(str(tmp_path / "tuned")))
    for factor in (0.0, 0.25, 1.0):
        mixed = trainer.interpolate(start, end, factor).state_dict()
        for name, value in start.state_dict().items():
            torch.testing.assert_close(mixed[name], value + factor * (end.state_dict()[name] - value))


@pytest.mark.parametrize(
    ("questions", "steps"), [(1, 50), (1600, 50), (1601, 51), (2291, 72), (6400, 200), (9999, 200)]
)
def test_steps_follow_the_number_of_questions_where_none_are_set(questions, steps):
    assert trainer.planned(TrainSection(batch_size=64), questions).steps == steps
    assert trainer.planned(TrainSection(batch_size=64, steps=7), questions).steps == 7


def test_a_saved_query_side_model_answers_like_its_two_halves(base, data, tmp_path):
    from sentence_transformers import SentenceTransformer

    trainer.tune(base, data, section(), tmp_path / "tuned")
    queries, documents = load_model(models.resolve(str(tmp_path / "tuned"))), load_model(base)
    expected = queries.encode(QUESTIONS[:4]), documents.encode(DOCUMENTS)
    trainer.assemble(queries, documents, tmp_path / "model")
    saved = SentenceTransformer(str(tmp_path / "model"), local_files_only=True)
    np.testing.assert_array_equal(saved.encode_query(QUESTIONS[:4]), expected[0])
    np.testing.assert_array_equal(saved.encode_document(DOCUMENTS), expected[1])
    np.testing.assert_array_equal(saved.encode(DOCUMENTS), expected[1])


def test_tensorboard_is_told_of_every_step(base, data, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    losses = trainer.tune(base, data, section(steps=3, report_to=("tensorboard",)), tmp_path / "tuned")
    told = EventAccumulator(str(tmp_path / "board"))
    told.Reload()
    events = told.Scalars("train/loss")
    assert [event.step for event in events] == [1, 2, 3]
    np.testing.assert_allclose([event.value for event in events], losses, rtol=1e-5)


def test_bfloat16_is_only_used_where_asked_or_found():
    assert trainer.use_bfloat16("bfloat16") is True
    assert trainer.use_bfloat16("float32") is False
    assert trainer.use_bfloat16("auto") in (True, False)


def test_labelled_questions_come_again_until_they_have_their_share(data, monkeypatch):
    monkeypatch.setattr(trainer, "LABELLED_SHARE", 0.5)
    labelled = np.arange(len(QUESTIONS)) < 2
    rows = trainer._training_rows(dataclasses.replace(data, labelled=labelled), 1)
    assert np.isin(rows, [0, 1]).mean() == 0.5
    assert set(rows) == set(range(len(QUESTIONS)))
    assert trainer._training_rows(dataclasses.replace(data, labelled=~labelled), 1) == [*range(2, len(QUESTIONS)), 0, 1]
    monkeypatch.setattr(trainer, "LABELLED_SHARE", 0.0)
    assert trainer._training_rows(dataclasses.replace(data, labelled=labelled), 1) == sorted(set(rows))


def test_questions_of_a_log_come_as_often_as_all_others_and_a_short_log_only_so_often(data, monkeypatch):
    monkeypatch.setattr(trainer, "LABELLED_SHARE", 0.5)
    place = np.arange(len(QUESTIONS))
    marked = dataclasses.replace(data, labelled=place < 2, logged=place >= len(QUESTIONS) - 2)
    rows = trainer._training_rows(marked, 1)
    assert np.isin(rows, place[marked.logged]).mean() == 0.5
    # Among the others the labelled ones keep their share.
    others = [row for row in rows if not marked.logged[row]]
    assert np.isin(others, [0, 1]).mean() == 0.5
    monkeypatch.setattr(trainer, "MOST_LOG_REPEATS", 2)
    assert np.isin(trainer._training_rows(marked, 1), place[marked.logged]).sum() == 4


class Tied(torch.nn.Module):
    """Two modules that share one weight, as T5's encoder and decoder share their embeddings; and a buffer."""

    def __init__(self, value):
        super().__init__()
        self.shared = torch.nn.Linear(2, 2, bias=False)
        self.tied = torch.nn.Linear(2, 2, bias=False)
        torch.nn.init.constant_(self.shared.weight, value)
        self.tied.weight = self.shared.weight
        self.register_buffer("scale", torch.full((2,), value))
        self.register_buffer("kept", torch.full((2,), value), persistent=False)


def test_a_weight_that_two_modules_share_moves_once():
    mixed = trainer.interpolate(Tied(0.0), Tied(1.0), 0.75)
    assert mixed.tied.weight is mixed.shared.weight
    for value in (mixed.shared.weight, mixed.scale):
        assert set(value.flatten().tolist()) == {0.75}
