"""Tuning to choose and tuning again, with a tiny real model: what the choice may know, and soups of seeds."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from expertune import data as reading
from expertune import models
from expertune.config import LabelSection, SelectSection, TrainSection
from expertune.data.expansion import Expansion
from expertune.label.stage import label, label_rows
from expertune.models import ModelSource
from expertune.models.cache import MemoryCache
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.models.load import load_model
from expertune.records import Dataset, Document, Question, Questions, Scores, Selection, ignore_progress
from expertune.train import select, trainer, tuning

DOCUMENTS = ("you can return the order", "the refund is on your card", "shipping cost and price", "payment with card")
ASKED = (
    ("how do i return my order", 0),
    ("when is my refund", 1),
    ("what does delivery cost", 2),
    ("can i pay with my card", 3),
    ("return the parcel", 0),
    ("where is the refund", 1),
)


@pytest.fixture(scope="module")
def job(tiny_model):
    """Everything `tune_and_choose` wants, but for folders and section."""
    documents = tuple(Document(f"d{number}", text) for number, text in enumerate(DOCUMENTS))
    items = tuple(Question(text, (f"d{column}",)) for text, column in ASKED)
    dataset, questions = Dataset("hand", documents, items), Questions(items)
    values = np.random.default_rng(0).random((len(items), len(documents), 2)).astype(np.float32)
    values += 0.5 * questions.hard_labels(documents)[:, :, None]
    scores, section = Scores(("a", "b"), values), LabelSection(known_mix=0.5)
    expert = sentence_encoder(str(tiny_model))
    return {
        "base": models.resolve(str(tiny_model)),
        "base_encoder": CachedEncoder("base", expert, cache=MemoryCache()),
        "dataset": dataset,
        "questions": questions,
        "scores": scores,
        "labels": label(dataset, questions, scores, section),
        "relabels": {section.strategy: partial(label_rows, dataset, questions, scores, section)},
        "sentences": ("the size of my colour",),
        "probe": reading.load_general_dev_set(),
        "choice": SelectSection(validation=0.4, factors=(0.0, 1.0), general_tolerance=1.0),
        "report": ignore_progress,
    }


def section(**changes):
    return TrainSection(**{"steps": 3, "batch_size": 4, "learning_rate": 1e-3, "bf16": "off", **changes})


def run(job, folder, **changes):
    settings = {key: changes.pop(key) for key in tuple(changes) if key in job or key == "index"}
    job = {key: value for key, value in job.items() if key != "scores"}
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    return tuning.tune_and_choose(
        **{**job, **settings}, section=section(**changes), folder=folder / "model", scratch=scratch
    )


def weights(folder):
    return load_model(ModelSource(name="m", location=str(folder), fingerprint="")).state_dict()


def test_the_model_to_choose_by_knows_nothing_of_the_validation_questions(job, tmp_path, monkeypatch):
    given = []

    def note(base, data, *arguments, **options):
        given.append(data)
        return tune(base, data, *arguments, **options)

    tune = trainer.tune
    monkeypatch.setattr(trainer, "tune", note)
    run(job, tmp_path, near_misses=0.9)
    choosing = given[0]
    rows = [[text for text, _ in ASKED].index(text) for text in choosing.questions]
    assert 0 < len(rows) < len(ASKED)
    np.testing.assert_array_equal(choosing.targets, job["relabels"]["anchored"](np.array(rows)).targets)
    assert not np.allclose(choosing.targets, job["labels"].targets[rows])
    left = [job["questions"].items[row] for row in rows]
    assert choosing.unrelated == tuning.held_texts(left, job["sentences"], section(near_misses=0.9))
    assert len(choosing.unrelated) == len(choosing.unrelated_vectors) > len(job["sentences"])


def test_both_tunings_take_the_steps_that_all_questions_ask_for(job, tmp_path, monkeypatch):
    taken = []

    def note(base, data, section, *arguments, **options):
        taken.append((len(data.questions), section.steps))
        return tune(base, data, section, *arguments, **options)

    tune = trainer.tune
    monkeypatch.setattr(trainer, "tune", note)
    monkeypatch.setattr(trainer, "FEWEST", 2)
    monkeypatch.setattr(select, "choose", lambda trials, choice: Selection(1.0, 3, (), "all of the way"))
    model = run(job, tmp_path, steps=0)
    part, whole = taken
    assert part[0] < whole[0] == len(ASKED)
    assert part[1] == whole[1] == model.steps == trainer.PASSES * len(ASKED) / 4


def test_nothing_that_the_choice_looks_at_holds_a_validation_question(job, tmp_path, monkeypatch):
    """Neither the documents tuned towards, nor those that are found; the model that is kept is tuned on all."""
    given, found = [], []

    def note(base, data, *arguments, **options):
        given.append(data)
        return tune(base, data, *arguments, **options)

    def look(encoder, judged, name):
        found.append(judged)
        return measure(encoder, judged, name)

    tune, measure = trainer.tune, tuning.measure
    monkeypatch.setattr(trainer, "tune", note)
    monkeypatch.setattr(tuning, "measure", look)
    monkeypatch.setattr(select, "choose", lambda trials, choice: Selection(1.0, 3, (), "all of the way"))
    whole = Expansion.of(job["questions"].items, 1)

    def index(rows):
        return whole.knowing(job["questions"].items[row] for row in rows).documents(job["dataset"].documents)

    run(job, tmp_path, index=index)
    choosing, final = given
    asked = [query.text for judged in found if judged.dataset == "hand" for query in judged.queries]
    assert set(asked) == {text for text, _ in ASKED} - set(choosing.questions)
    judged = [document.text for sets in found if sets.dataset == "hand" for document in sets.documents]
    for text in (*choosing.documents, *judged):
        assert not any(question in text for question in asked), text
    assert any(text not in DOCUMENTS for text in choosing.documents)
    assert list(final.documents) == [document.text for document in whole.documents(job["dataset"].documents)]
    for data in given:
        np.testing.assert_array_equal(data.document_vectors, job["base_encoder"].encode_documents(data.documents))


def test_a_set_too_small_to_split_is_chosen_by_on_answers_as_they_are(job, tmp_path):
    asked = []

    def index(rows):
        asked.append(len(rows))
        return job["dataset"].documents

    run(job, tmp_path, index=index, choice=job["choice"].model_copy(update={"validation": 0.0}))
    assert asked == [len(ASKED), 0]


@pytest.mark.parametrize(("refit", "tunings"), [(True, [4, 6]), (False, [4])])
def test_everything_is_tuned_on_again_only_where_wanted(refit, tunings, job, tmp_path, monkeypatch):
    tuned = []

    def note(base, data, *arguments, **options):
        tuned.append(len(data.questions))
        return tune(base, data, *arguments, **options)

    tune = trainer.tune
    monkeypatch.setattr(trainer, "tune", note)
    monkeypatch.setattr(select, "choose", lambda trials, choice: Selection(1.0, 3, (), "all of the way"))
    run(job, tmp_path, choice=job["choice"].model_copy(update={"refit": refit}))
    assert tuned == tunings


def test_other_labels_modes_and_steps_are_weighed(job, tmp_path, monkeypatch):
    def pick(trials, choice):
        found = choose(trials, choice)
        last = len(found.candidates) - 1
        kept = tuple(replace(item, chosen=number == last) for number, item in enumerate(found.candidates))
        return Selection(1.0, kept[-1].step, kept, "the last")

    def note(base, data, section, *arguments, **options):
        given.append((data, section))
        return tune(base, data, section, *arguments, **options)

    given, choose, tune = [], select.choose, trainer.tune
    monkeypatch.setattr(select, "choose", pick)
    monkeypatch.setattr(trainer, "tune", note)
    hard = partial(label_rows, job["dataset"], job["questions"], job["scores"], LabelSection(strategy="hard"))
    choice = job["choice"].model_copy(update={"strategies": ("hard",), "modes": ("full",), "steps": (2,)})
    model = run(job, tmp_path, choice=choice, relabels={**job["relabels"], "hard": hard})
    assert (model.strategy, model.mode, model.steps, len(model.losses)) == ("hard", "full", 2, 2)
    asked = [(item.factor, item.strategy, item.mode, item.step) for item in model.selection.candidates]
    assert asked[:3] == [(0.0, "anchored", "query", 3), (1.0, "anchored", "query", 3), (1.0, "anchored", "query", 2)]
    assert len(asked) == len(set(asked)) == 1 + 8
    assert len(given) == 8 + 1
    data, section = given[-1]
    assert (section.mode, section.steps) == ("full", 2)
    np.testing.assert_array_equal(data.targets, hard(np.arange(len(ASKED))).targets)
    assert np.all(given[-2][0].targets.max(axis=1) == 1.0)
    # Both sides were tuned: the kept model is no Router.
    assert not any(name.startswith("0.sub_modules") for name in weights(tmp_path / "model"))


def test_a_tied_model_is_the_query_encoder_for_both_sides(job, tmp_path, monkeypatch):
    """The same tuning, weighed at no further price, and a plain model instead of a Router."""

    def note(*arguments, **options):
        made.append(arguments[3].name)
        return tune(*arguments, **options)

    made, tune = [], trainer.tune
    monkeypatch.setattr(trainer, "tune", note)
    weigh = job["choice"].model_copy(update={"modes": ("tied",)})
    monkeypatch.setattr(select, "choose", lambda trials, _: Selection(1.0, 3, (), "all of the way"))
    run(job, tmp_path / "query", choice=weigh)
    assert made == ["choosing-anchored-query-3", "choosing-anchored-query-3", "final"]
    model = run(job, tmp_path / "tied", mode="tied")
    assert model.mode == "tied"
    plain, routed = weights(tmp_path / "tied" / "model"), weights(tmp_path / "query" / "model")
    for name, value in plain.items():
        torch.testing.assert_close(value, routed[f"0.sub_modules.query.{name}"], rtol=1e-5, atol=1e-6)


def test_a_soup_is_the_average_of_its_seeds(job, tmp_path):
    for number in range(3):
        run(job, tmp_path / f"single-{number}", seed=number)
    run(job, tmp_path / "soup", seeds=3)
    name = "choosing-anchored-query-3"
    members = [weights(tmp_path / "soup" / "scratch" / f"{name}-{number}") for number in range(3)]
    assert not all(torch.equal(members[0][name], members[1][name]) for name in members[0])
    for key, value in weights(tmp_path / "soup" / "scratch" / name).items():
        torch.testing.assert_close(value, sum(member[key] for member in members) / 3, rtol=1e-5, atol=1e-6)


def test_one_question_is_enough_to_end_with_the_base(job, tmp_path):
    items = job["questions"].items[:1]
    dataset, questions = Dataset("one", job["dataset"].documents, items), Questions(items)
    scores = Scores(("a",), np.array([[[0.9], [0.1], [0.2], [0.3]]], np.float32))
    labels = label(dataset, questions, scores, LabelSection())
    relabels = {"anchored": partial(label_rows, dataset, questions, scores, LabelSection())}
    model = run(job, tmp_path, dataset=dataset, questions=questions, labels=labels, relabels=relabels)
    assert model.selection.factor == 0.0
    for name, value in load_model(job["base"]).state_dict().items():
        kept = weights(tmp_path / "model")
        assert torch.equal(kept[f"0.sub_modules.query.{name}"], value)


STRANGER = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], local_files_only=True)
texts = ["how do i return my order", "payment with card"]
made = {"queries": model.encode_query(texts), "documents": model.encode_document(texts), "plain": model.encode(texts)}
np.savez(sys.argv[2], **made)
assert not [name for name in sys.modules if name.startswith("expertune")]
"""


def test_a_stranger_s_process_gets_the_same_vectors(job, tmp_path):
    trainer.tune(
        job["base"],
        trainer.TrainingData(
            questions=[text for text, _ in ASKED],
            documents=DOCUMENTS,
            targets=job["labels"].targets,
            active=job["labels"].active,
            document_vectors=job["base_encoder"].encode_documents(DOCUMENTS),
            unrelated=(),
            unrelated_vectors=np.zeros((0, 1), np.float32),
        ),
        section(),
        tmp_path / "tuned",
    )
    queries = load_model(ModelSource(name="t", location=str(tmp_path / "tuned"), fingerprint=""))
    documents = load_model(job["base"])
    trainer.assemble(queries, documents, tmp_path / "model")
    command = [sys.executable, "-c", STRANGER, str(tmp_path / "model"), str(tmp_path / "vectors.npz")]
    subprocess.run(command, check=True, capture_output=True)
    texts = ["how do i return my order", "payment with card"]
    with np.load(tmp_path / "vectors.npz") as found:
        np.testing.assert_array_equal(found["queries"], queries.encode(texts))
        np.testing.assert_array_equal(found["documents"], documents.encode(texts))
        np.testing.assert_array_equal(found["plain"], documents.encode(texts))
