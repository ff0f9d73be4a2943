"""Candidates of a question on a large corpus: what is kept, and that keeping everything changes nothing."""

import numpy as np
import pytest

from expertune.config import LabelSection
from expertune.label.round_trip import round_trip
from expertune.label.stage import label
from expertune.models.plugins import Expert
from expertune.pipeline import artefacts
from expertune.records import Dataset, Document, Provenance, Question, Questions, Scores
from expertune.report.rows import sample_rows
from expertune.score import stage
from expertune.score.candidates import pick
from expertune.score.stage import score

EXPERTS, DOCUMENTS, ROWS = 3, 400, 12


class Fixed(Expert):
    """An expert with given scores."""

    def __init__(self, name, values):
        self.name = self.fingerprint = name
        self._values = values

    def score(self, questions, documents):
        return self._values


@pytest.fixture(scope="module")
def job():
    generator = np.random.default_rng(0)
    documents = tuple(Document(f"d{i}", f"answer {i}") for i in range(DOCUMENTS))
    own = tuple(Question(f"own {i}", (f"d{3 * i}",)) for i in range(ROWS // 2))
    written = tuple(
        Question(f"made {i}", (f"d{3 * i + 200}",), Provenance.SYNTHETIC, "llm", "short") for i in range(ROWS // 2)
    )
    questions = Questions(own + written)
    values = generator.random((ROWS, DOCUMENTS, EXPERTS)).astype(np.float32)
    values[0, ::7, 1] = np.nan
    experts = [Fixed(f"e{k}", values[:, :, k]) for k in range(EXPERTS)]
    return Dataset("large", documents, own), questions, experts, values


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(stage, "FULL_MATRIX", 100)
    monkeypatch.setattr(stage, "CANDIDATES", 60)


def scored(job):
    dataset, questions, experts, _ = job
    return score(dataset, questions, experts)


def test_a_question_keeps_its_answers_the_experts_best_and_a_sample_of_the_whole_range(job):
    _, questions, _, values = job
    made = scored(job)
    assert made.values.shape == (ROWS, 60, EXPERTS)
    for row, question in enumerate(questions.items):
        kept = made.columns[row]
        assert len(set(kept)) == 60
        assert kept.tolist() == sorted(kept)
        assert int(question.document_ids[0][1:]) in kept
        for k in range(EXPERTS):
            best = np.argsort(-np.nan_to_num(values[row, :, k], nan=-np.inf))[:10]
            assert set(best) <= set(kept)
        np.testing.assert_array_equal(made.values[row], values[row, kept])
    ranks = values[1].mean(axis=1).argsort().argsort()[made.columns[1]]
    counts, _ = np.histogram(ranks, bins=4, range=(0, DOCUMENTS))
    assert counts.min() >= 5


def test_a_corpus_within_the_limit_is_scored_whole(job, monkeypatch):
    monkeypatch.setattr(stage, "FULL_MATRIX", DOCUMENTS)
    dataset, questions, experts, values = job
    made = score(dataset, questions, experts)
    assert made.columns is None
    np.testing.assert_array_equal(made.values, values)


@pytest.mark.parametrize("strategy", ["hard", "soft-1", "weighted", "mixed"])
def test_candidates_that_are_all_documents_give_the_same_labels(job, strategy, monkeypatch):
    monkeypatch.setattr(stage, "CANDIDATES", DOCUMENTS)
    dataset, questions, _, values = job
    section = LabelSection(strategy=strategy)
    whole = label(dataset, questions, Scores(("e0", "e1", "e2"), values), section)
    every = label(dataset, questions, scored(job), section)
    assert every.columns.shape == (ROWS, DOCUMENTS)
    np.testing.assert_allclose(every.targets, whole.targets, atol=1e-7)
    np.testing.assert_array_equal(every.active, whole.active)
    assert every.panel == whole.panel


def test_targets_of_candidates_are_distributions_over_active_ones(job):
    dataset, questions, _, _ = job
    made = label(dataset, questions, scored(job), LabelSection())
    np.testing.assert_allclose(made.targets.sum(axis=1), 1.0, rtol=1e-5)
    assert not made.targets[~made.active[made.columns]].any()
    assert made.active.sum() == ROWS


def test_equal_answers_share_their_label_among_candidates(job):
    dataset, questions, _, values = job
    texts = [document.text for document in dataset.documents]
    texts[7] = texts[0]
    twins = Dataset("twins", tuple(Document(f"d{i}", text) for i, text in enumerate(texts)), dataset.questions)
    columns = np.tile(np.array([0, 3, 7, 9]), (1, 1))
    scores = Scores(("e0",), values[:1, [0, 3, 7, 9], :1], (), columns)
    made = label(twins, Questions(questions.items[:1]), scores, LabelSection(strategy="hard"))
    np.testing.assert_allclose(made.targets, [[0.5, 0.0, 0.5, 0.0]])
    assert np.flatnonzero(made.active).tolist() == [0, 7]


def test_what_looks_at_scores_takes_candidates_too(job, tmp_path):
    dataset, questions, _, _ = job
    made = scored(job)
    labels = label(dataset, questions, made, LabelSection())
    assert round_trip(questions, dataset, made, most_rank=60).all()
    rows = sample_rows(dataset, questions, made, labels)
    assert {row.answer.id for row in rows} == {item.document_ids[0] for item in questions.items if item.synthetic}
    artefacts.save(made, tmp_path)
    again = artefacts.load(Scores, tmp_path)
    np.testing.assert_array_equal(again.columns, made.columns)
    np.testing.assert_array_equal(again.of(np.array([2, 0])).columns, made.columns[[2, 0]])


def test_the_same_seed_picks_the_same():
    values = np.random.default_rng(3).random((4, 50, 2)).astype(np.float32)
    first, second = (pick(values, [[1], [2], [3], [4]], 20, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
