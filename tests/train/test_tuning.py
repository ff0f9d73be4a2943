"""Tuning to choose and tuning again, with a tiny real model: what the choice may know, and what is kept."""

import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from expertune import data as reading
from expertune import models
from expertune.config import LabelSection, TrainSection
from expertune.data.expansion import Expansion
from expertune.label import stage
from expertune.label.stage import Labeller
from expertune.models import ModelSource
from expertune.models.encoder import CachedEncoder, sentence_encoder
from expertune.models.load import load_model
from expertune.records import Dataset, Document, Provenance, Question, Questions, Scores, Selection
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


@dataclass(frozen=True)
class Job:
    """Everything that tuning and choosing wants, but for folders and section."""

    base: ModelSource
    encoder: CachedEncoder
    labeller: Labeller

    def run(self, folder, **changes):
        """Tune and choose; the model lies in `model`, what is half-finished in `scratch`."""
        labels = self.labeller.targets(np.arange(len(self.labeller.questions.items)))
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        tuner = tuning.Tuner(self.base, self.encoder, section(**changes), ("the size of my colour",))
        general = reading.load_general_dev_set()
        return tuning.tune_and_choose(
            tuner, self.labeller, labels, general, folder / "model", scratch=scratch, general_tolerance=1.0
        )


@pytest.fixture
def job(base_encoder, monkeypatch):
    base, encoder = base_encoder
    monkeypatch.setattr(stage, "LABELLED_HARD_WEIGHT", 0.5)
    monkeypatch.setattr(select, "VALIDATION_SHARE", 0.4)
    monkeypatch.setattr(select, "FEWEST", 2)
    monkeypatch.setattr(select, "INTERPOLATION_WEIGHTS", (0.0, 1.0))
    documents = tuple(Document(f"d{number}", text) for number, text in enumerate(DOCUMENTS))
    items = tuple(Question(text, (f"d{column}",)) for text, column in ASKED)
    dataset, questions = Dataset("hand", documents, items), Questions(items)
    values = np.random.default_rng(0).random((len(items), len(documents), 2)).astype(np.float32)
    values += 0.5 * questions.hard_labels(documents)[:, :, None]
    return Job(base, encoder, Labeller(dataset, questions, Scores(("a", "b"), values), LabelSection()))


@pytest.fixture(scope="module")
def base_encoder(tiny_model):
    return models.resolve(str(tiny_model)), CachedEncoder("base", sentence_encoder(str(tiny_model)))


@pytest.fixture
def tunings(monkeypatch):
    """What is tuned, in order: the data and section of each tuning."""
    noted, tune = [], trainer.tune

    def note(base, data, section, folder, **options):
        noted.append((data, section, folder.name))
        return tune(base, data, section, folder, **options)

    monkeypatch.setattr(trainer, "tune", note)
    return noted


@pytest.fixture
def looked_at(monkeypatch):
    """The judged sets that the choice measures, in order."""
    noted, measure = [], tuning.measure

    def note(encoder, judged, name):
        noted.append(judged)
        return measure(encoder, judged, name)

    monkeypatch.setattr(tuning, "measure", note)
    return noted


@pytest.fixture
def all_of_the_way(monkeypatch):
    monkeypatch.setattr(select, "choose", lambda trials, **options: Selection(1.0, (), "all of the way"))


def section(**changes):
    return TrainSection(**{"steps": 3, "batch_size": 4, "learning_rate": 1e-3, "precision": "float32", **changes})


def weights(folder):
    return load_model(ModelSource(name="m", location=str(folder), fingerprint="")).state_dict()


def test_the_model_to_choose_by_knows_nothing_of_the_validation_questions(job, tmp_path, tunings):
    job.run(tmp_path)
    choosing = tunings[0][0]
    rows = np.array([[text for text, _ in ASKED].index(text) for text in choosing.questions])
    assert 0 < len(rows) < len(ASKED)
    np.testing.assert_array_equal(choosing.targets, job.labeller.targets(rows).targets)
    assert not np.allclose(choosing.targets, job.labeller.targets(np.arange(len(ASKED))).targets[rows])
    assert choosing.active.tolist() == job.labeller.targets(rows).active.tolist()


def with_written(job, *more):
    """Return the job with synthetic questions, two about each answer and `more`, beside the labelled ones."""
    made = [(f"{word} {doc.text}", (doc.id,)) for doc in job.labeller.dataset.documents for word in ("why", "who")]
    written = [Question(text, ids, Provenance.SYNTHETIC, "llm", "rephrase") for text, ids in (*made, *more)]
    questions = Questions((*job.labeller.questions.items, *written))
    documents = job.labeller.dataset.documents
    values = np.random.default_rng(0).random((len(questions.items), len(documents), 2)).astype(np.float32)
    return replace(job, labeller=replace(job.labeller, questions=questions, scores=Scores(("a", "b"), values)))


def test_what_was_made_from_a_validation_question_does_not_teach_the_model_to_choose_by(job, tmp_path, tunings):
    copies = [(f"{text.upper()} ?", (f"d{(column + 2) % 4}",)) for text, column in ASKED]
    written = with_written(job, *copies)
    written.run(tmp_path)
    items = {item.text: item for item in written.labeller.questions.items}
    seen = [items[text] for text in tunings[0][0].questions]
    validation = {text: f"d{column}" for text, column in ASKED if items[text] not in seen}
    assert len(validation) == 2
    synthetic = [item for item in seen if item.synthetic]
    assert synthetic
    assert not [item for item in synthetic if set(item.document_ids) & set(validation.values())]
    assert not [item for item in synthetic if item.text.removesuffix(" ?").lower() in validation]


def test_without_synthetic_questions_the_fold_stays_as_it_was_drawn(job):
    near = Question(f"{ASKED[0][0]} ?", ("d0",))
    questions = Questions((*job.labeller.questions.items, near))
    fold = select.fold(questions, fewest=2, seed=0)
    assert tuning._unseen(fold, questions, tuning.Tuner(job.base, job.encoder, section())) is fold


def test_both_tunings_take_the_steps_that_all_questions_ask_for(job, tmp_path, tunings, all_of_the_way, monkeypatch):
    monkeypatch.setattr(trainer, "FEWEST", 2)
    model = job.run(tmp_path, steps=0)
    part, whole = ((len(data.questions), section.steps) for data, section, _ in tunings)
    assert part[0] < whole[0] == len(ASKED)
    assert part[1] == whole[1] == model.steps == trainer.PASSES * len(ASKED) / 4


def test_nothing_that_the_choice_looks_at_holds_a_validation_question(
    job, tmp_path, tunings, looked_at, all_of_the_way
):
    """Neither the documents tuned towards, nor those that are found; the model that is kept is tuned on all."""
    whole = Expansion.of(job.labeller.questions.items, 1)
    replace(job, labeller=replace(job.labeller, read=whole, indexed=whole)).run(tmp_path)
    choosing, final = (data for data, *_ in tunings)
    validation = [query.text for judged in looked_at if judged.dataset == "hand" for query in judged.queries]
    assert set(validation) == {text for text, _ in ASKED} - set(choosing.questions)
    judged = [document.text for sets in looked_at if sets.dataset == "hand" for document in sets.documents]
    for text in (*choosing.documents, *judged):
        assert not any(question in text for question in validation), text
    assert any(text not in DOCUMENTS for text in choosing.documents)
    assert list(final.documents) == [document.text for document in whole.documents(job.labeller.dataset.documents)]
    for data, *_ in tunings:
        np.testing.assert_array_equal(data.document_vectors, job.encoder.encode_documents(data.documents))


def test_a_set_too_small_to_split_is_tuned_once_and_looked_at_on_answers_as_they_are(
    job, tmp_path, tunings, looked_at, monkeypatch
):
    monkeypatch.setattr(select, "FEWEST", 3)
    whole = Expansion.of(job.labeller.questions.items, 1)
    expanded = replace(job, labeller=replace(job.labeller, read=whole, indexed=whole))
    assert expanded.run(tmp_path).selection.left_out == 0
    ((data, *_),) = tunings
    rows = np.arange(len(ASKED))
    np.testing.assert_array_equal(data.targets, expanded.labeller.targets(rows).targets)
    assert tuple(data.documents) == tuple(item.text for item in whole.documents(job.labeller.dataset.documents))
    own = {document.text for judged in looked_at if judged.dataset == "hand" for document in judged.documents}
    assert own == set(DOCUMENTS)


def test_everything_is_tuned_on_again_where_the_base_is_not_kept(job, tmp_path, tunings, all_of_the_way, monkeypatch):
    job.run(tmp_path / "tuned")
    assert [(len(data.questions), name) for data, _, name in tunings] == [(4, "choosing"), (6, "final")]
    monkeypatch.setattr(select, "choose", lambda trials, **options: Selection(0.0, (), "the base"))
    job.run(tmp_path / "base")
    assert [len(data.questions) for data, *_ in tunings] == [4, 6, 4]


def test_a_tied_model_is_the_query_encoder_for_both_sides(job, tmp_path, all_of_the_way):
    """The same tuning, and a plain model instead of a Router."""
    job.run(tmp_path / "query")
    model = job.run(tmp_path / "tied", mode="tied")
    assert model.mode == "tied"
    plain, routed = weights(tmp_path / "tied" / "model"), weights(tmp_path / "query" / "model")
    for name, value in plain.items():
        torch.testing.assert_close(value, routed[f"0.sub_modules.query.{name}"], rtol=1e-5, atol=1e-6)


def test_a_model_tuned_on_both_sides_is_no_router(job, tmp_path, all_of_the_way):
    model = job.run(tmp_path, mode="full")
    assert (model.strategy, model.mode, model.steps, len(model.losses)) == ("mixed", "full", 3, 3)
    assert not any(name.startswith("0.sub_modules") for name in weights(tmp_path / "model"))


def test_one_question_is_enough_to_end_with_the_base(job, tmp_path):
    items = job.labeller.questions.items[:1]
    dataset, questions = Dataset("one", job.labeller.dataset.documents, items), Questions(items)
    scores = Scores(("a",), np.array([[[0.9], [0.1], [0.2], [0.3]]], np.float32))
    model = replace(job, labeller=Labeller(dataset, questions, scores, LabelSection())).run(tmp_path)
    assert model.selection.interpolation_weight == 0.0
    kept = weights(tmp_path / "model")
    for name, value in load_model(job.base).state_dict().items():
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
    labels = job.labeller.targets(np.arange(len(ASKED)))
    tuner = tuning.Tuner(job.base, job.encoder, section())
    tuner.tune(tuner.data(job.labeller.dataset.documents, job.labeller.questions, labels), tmp_path / "tuned")
    queries = load_model(ModelSource(name="t", location=str(tmp_path / "tuned"), fingerprint=""))
    documents = load_model(job.base)
    trainer.assemble(queries, documents, tmp_path / "model")
    command = [sys.executable, "-c", STRANGER, str(tmp_path / "model"), str(tmp_path / "vectors.npz")]
    subprocess.run(command, check=True, capture_output=True)
    texts = ["how do i return my order", "payment with card"]
    with np.load(tmp_path / "vectors.npz") as found:
        np.testing.assert_array_equal(found["queries"], queries.encode(texts))
        np.testing.assert_array_equal(found["documents"], documents.encode(texts))
        np.testing.assert_array_equal(found["plain"], documents.encode(texts))
