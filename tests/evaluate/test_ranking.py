"""Rankings against a full sort, ties, and encoders that break their contract."""

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expertune.errors import DataError, PluginError
from expertune.evaluate import ranking
from expertune.evaluate.ranking import answers_name, neutral_order, rank
from expertune.records import Document, JudgedSet, Query, Role


class TableEncoder:
    """Look vectors up by text."""

    def __init__(self, table):
        self.name = "table"
        self.table = {text: np.asarray(vector, dtype=np.float32) for text, vector in table.items()}

    def encode_queries(self, texts):
        return np.stack([self.table[text] for text in texts])

    def encode_documents(self, texts):
        return np.stack([self.table[text] for text in texts])


def unit(values):
    values = np.asarray(values, dtype=np.float64)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def judged(documents, queries, qrels):
    return JudgedSet(
        "set",
        "test",
        Role.DOMAIN,
        tuple(Document(name, name) for name in documents),
        tuple(Query(name, name) for name in queries),
        qrels,
    )


def random_set(generator, documents=50, queries=8, *, dimensions=6):
    names = [f"d{index}" for index in range(documents)]
    asked = [f"q{index}" for index in range(queries)]
    table = dict(zip([*names, *asked], unit(generator.normal(size=(documents + queries, dimensions))), strict=True))
    qrels = {name: {f"d{index}": 1 for index in generator.integers(0, documents, 3)} for name in asked}
    return TableEncoder(table), judged(names, asked, qrels)


def test_ranking_equals_a_full_sort():
    encoder, data = random_set(np.random.default_rng(0), documents=300, queries=20)
    found = rank(encoder, data, depth=30)
    documents = encoder.encode_documents([document.id for document in data.documents])
    for row, query in enumerate(data.queries):
        scores = documents @ encoder.table[query.id]
        order = np.argsort(-scores)
        assert found.documents[row] == tuple(f"d{index}" for index in order[:30])
        assert found.scores[row] == pytest.approx(scores[order[:30]], abs=1e-6)
        relevant = [f"d{index}" in data.qrels[query.id] for index in order]
        assert found.first[row] == 1 + relevant.index(True)


def test_blocks_change_nothing(monkeypatch):
    encoder, data = random_set(np.random.default_rng(1), documents=40, queries=17)
    whole = rank(encoder, data)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 4 * 40 * 3)  # Three queries at a time.
    parts = rank(encoder, data)
    assert parts.documents == whole.documents
    assert parts.first == whole.first
    assert parts.scores.shape == (17, 40)


def test_equal_cosines_follow_neither_corpus_order_nor_spelling():
    names = [f"d{index:02d}" for index in range(40)]
    table = dict.fromkeys(names, unit([1, 0])) | {"q": unit([1, 0])}
    encoder = TableEncoder(table)
    forwards = rank(encoder, judged(names, ["q"], {"q": {"d00": 1}}))
    backwards = rank(encoder, judged(names[::-1], ["q"], {"q": {"d00": 1}}))
    assert forwards.documents == backwards.documents
    assert list(forwards.documents[0]) not in (sorted(names), sorted(names, reverse=True))
    assert forwards.ties == 1
    assert forwards.first[0] == 1 + forwards.documents[0].index("d00")


def test_neutral_order_gives_a_tied_document_average_luck():
    """Over many ids the relevant one of 40 equal documents must land anywhere, not at an end."""
    places = []
    for number in range(60):
        names = [f"{number}-{index}" for index in range(40)]
        encoder = TableEncoder(dict.fromkeys(names, unit([1, 0])) | {"q": unit([1, 0])})
        places += rank(encoder, judged(names, ["q"], {"q": {names[0]: 1}})).first
    assert 14 < np.mean(places) < 27


def test_float_noise_is_a_tie():
    table = {"a": unit([1, 0.5]), "b": unit([1, 0.5]) + np.float32(6e-8), "c": unit([0, 1]), "q": unit([1, 0])}
    assert rank(TableEncoder(table), judged("abc", "q", {"q": {"a": 1}})).ties == 1


def test_ties_below_the_first_ten_do_not_count():
    angles = np.linspace(0, 1, 12)
    names = [f"d{index:02d}" for index in range(14)]
    vectors = [unit([np.cos(angle), np.sin(angle)]) for angle in [*angles, 1.2, 1.2]]
    table = dict(zip(names, vectors, strict=True)) | {"q": unit([1, 0])}
    assert rank(TableEncoder(table), judged(names, ["q"], {"q": {"d00": 1}})).ties == 0


def test_queries_without_a_relevant_document_are_left_out():
    encoder, _ = random_set(np.random.default_rng(2), queries=3)
    qrels = {"q0": {"d1": 1}, "q1": {"d1": 0}}
    assert rank(encoder, judged(["d0", "d1"], ["q0", "q1", "q2"], qrels)).query_ids == ("q0",)


def test_judged_query_without_text_keeps_its_place_with_nothing_found():
    encoder, _ = random_set(np.random.default_rng(3))
    found = rank(encoder, judged(["d0", "d1"], ["q0"], {"lost": {"d1": 1}, "q0": {"d0": 1}}))
    assert found.query_ids == ("q0", "lost")
    assert found.documents[1] == ()
    assert found.first[1] == 3


def test_relevant_document_outside_the_corpus_is_never_found():
    encoder, _ = random_set(np.random.default_rng(4))
    assert rank(encoder, judged(["d0", "d1"], ["q0"], {"q0": {"gone": 1}})).first == (3,)


@pytest.mark.parametrize(("documents", "qrels"), [(["d0"], {}), (["d0"], {"q0": {"d0": 0}}), ([], {"q0": {"d0": 1}})])
def test_nothing_to_measure_is_a_data_error(documents, qrels):
    encoder, _ = random_set(np.random.default_rng(5))
    with pytest.raises(DataError, match="set/test"):
        rank(encoder, judged(documents, ["q0"], qrels))


class BrokenEncoder(TableEncoder):
    def __init__(self, table, break_it):
        super().__init__(table)
        self.break_it = break_it

    def encode_queries(self, texts):
        return self.break_it(super().encode_queries(texts))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda rows: rows[:-1], "shape"),
        (lambda rows: rows[:, :-1] / np.linalg.norm(rows[:, :-1], axis=1, keepdims=True), "shape"),
        (lambda rows: rows * 2, "unit length"),
        (lambda rows: rows * np.nan, "finite"),
        (lambda rows: rows[0], "matrix"),
    ],
)
def test_broken_encoder_is_named(break_it, message):
    encoder, data = random_set(np.random.default_rng(6))
    with pytest.raises(PluginError, match=message) as caught:
        rank(BrokenEncoder(encoder.table, break_it), data)
    assert caught.value.place == "table"


def test_a_text_without_vector_is_allowed():
    encoder, data = random_set(np.random.default_rng(7))
    encoder.table["q0"] = np.zeros(6, dtype=np.float32)
    assert np.all(rank(encoder, data).scores[0] == 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=25), st.integers(1, 30), st.data())
def test_ranks_are_consistent_whatever_the_ties(cosines, depth, data):
    names = [f"d{index}" for index in range(len(cosines))]
    vectors = [[value, np.sqrt(1 - value**2)] for value in cosines]
    encoder = TableEncoder(dict(zip(names, vectors, strict=True)) | {"q": [1.0, 0.0]})
    relevant = data.draw(st.sets(st.sampled_from(names), min_size=1))
    found = rank(encoder, judged(names, ["q"], {"q": dict.fromkeys(relevant, 1)}), depth=depth)
    full = rank(encoder, judged(names, ["q"], {"q": dict.fromkeys(relevant, 1)}), depth=len(names))
    assert found.documents[0] == full.documents[0][:depth]
    assert sorted(full.documents[0]) == sorted(names)
    assert np.all(np.diff(full.scores[0]) <= 0)
    assert full.first[0] == 1 + min(full.documents[0].index(name) for name in relevant)


def test_the_order_of_equal_cosines_is_the_same_in_every_version():
    """Another hash would move every figure of a set with ties."""
    documents = [Document(f"d{number}", "same") for number in range(40)]
    turn = neutral_order(documents)
    expected = sorted(documents, key=lambda item: blake2b(item.id.encode(), digest_size=8).digest())
    assert [documents[index].id for index in np.argsort(turn)] == [item.id for item in expected]
    assert turn.dtype == np.int64


def test_a_hundred_documents_are_ranked_unless_told_otherwise():
    encoder, data = random_set(np.random.default_rng(8), documents=150, queries=2)
    found = rank(encoder, data)
    assert [len(ids) for ids in found.documents] == [100, 100]
    assert found.scores.shape == (2, 100)
    assert found.scores.dtype == np.float32


def test_broken_document_vectors_name_the_encoder_too():
    encoder, data = random_set(np.random.default_rng(9))
    plainly = encoder.encode_documents
    encoder.encode_documents = lambda texts: plainly(texts) * np.nan
    with pytest.raises(PluginError) as caught:
        rank(encoder, data)
    assert (caught.value.message, caught.value.place) == ("expected a matrix of finite vectors", "table")


@given(*[st.lists(st.text("a+\\", min_size=1, max_size=3), min_size=1, max_size=3, unique=True)] * 2)
def test_no_two_sets_of_answers_have_one_name(first, second):
    assert (answers_name(first) == answers_name(second)) == (first == second)


def test_names_of_usual_answers_are_their_ids():
    assert [answers_name(ids) for ids in (("d1",), ("d1", "d10"), ("a", "b"), ("a+b",))] == [
        "d1",
        "d1+d10",
        "a+b",
        r"a\+b",
    ]
