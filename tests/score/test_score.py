from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from expertune.config import PluginSpec, ScoreSection
from expertune.errors import ConfigError, ModelUnavailableError, PluginError
from expertune.models.cache import MemoryCache
from expertune.models.embed import cosine, embed_texts, unit_rows
from expertune.models.plugins import EmbeddingExpert, Expert
from expertune.records import Dataset, Document, Progress, Question, Questions
from expertune.score.stage import load_experts, score

DATASET = Dataset("d", (Document("d0", "ship"), Document("d1", "refund"), Document("d2", "both")), ())
QUESTIONS = Questions((Question("when does it ship", ("d0",)), Question("both", ("d2",))))


class Lengths(EmbeddingExpert):
    """Embed a text as the angle its length gives; remembers what it was asked."""

    def __init__(self, name: str = "lengths", *, symmetric: bool = False, dies_after: int = 10**9) -> None:
        self.name = name
        self.fingerprint = f"{name}-1"
        self.symmetric = symmetric
        self.asked: list[str] = []
        self.dies_after = dies_after

    def vector(self, text: str, is_query: bool) -> tuple[float, float]:
        angle = len(text) / 10 + (0.5 if is_query and not self.symmetric else 0.0)
        return float(np.cos(angle)), float(np.sin(angle))

    def embed(self, texts: Sequence[str], *, is_query: bool) -> np.ndarray:
        if len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += texts
        return np.array([self.vector(text, is_query) for text in texts], dtype=np.float32)

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        raise AssertionError("an embedding expert is never asked for whole matrices")


class Fixed(Expert):
    """Return a given matrix."""

    def __init__(self, returned: object, name: str = "fixed") -> None:
        self.returned = returned
        self.name = name
        self.fingerprint = "fixed-1"

    def score(self, questions: Sequence[str], documents: Sequence[str]) -> object:
        return self.returned


def test_scores_are_hand_computed_cosines_beside_other_experts() -> None:
    matrix = np.array([[1, 2, np.nan], [3, 4, 5]], dtype=np.float32)
    scores = score(DATASET, QUESTIONS, (Lengths(), Fixed(matrix)))
    assert scores.experts == ("lengths", "fixed")
    assert scores.values.shape == (2, 3, 2)
    assert scores.values.dtype == np.float32
    assert len(scores.seconds) == 2
    angles = np.array([[1.7 + 0.5], [0.4 + 0.5]]) - np.array([[0.4, 0.6, 0.4]])
    np.testing.assert_allclose(scores.values[:, :, 0], np.cos(angles), atol=1e-6)
    np.testing.assert_array_equal(scores.values[:, :, 1], matrix)


def test_each_distinct_text_is_embedded_once_per_role() -> None:
    expert = Lengths()
    questions = Questions((*QUESTIONS.items, Question("both", ("d0",))))
    scores = score(DATASET, questions, (expert,))
    assert sorted(expert.asked) == sorted(["when does it ship", "both", "ship", "refund", "both"])
    np.testing.assert_array_equal(scores.values[1], scores.values[2])


def test_a_symmetric_expert_embeds_a_text_of_both_roles_once() -> None:
    expert = Lengths(symmetric=True)
    score(DATASET, QUESTIONS, (expert,))
    assert sorted(expert.asked) == sorted(["when does it ship", "both", "ship", "refund"])


def test_a_second_run_embeds_only_what_is_new() -> None:
    cache = MemoryCache()
    first = score(DATASET, QUESTIONS, (Lengths(),), cache=cache)
    again, added = Lengths(), Lengths("other")
    more = Questions((*QUESTIONS.items, Question("new", ("d0",))))
    second = score(DATASET, more, (again, added), cache=cache)
    assert again.asked == ["new"]
    assert len(added.asked) == 6
    np.testing.assert_array_equal(second.values[:2, :, :1], first.values)


def test_another_fingerprint_shares_no_vectors() -> None:
    cache = MemoryCache()
    embed_texts(Lengths(), ["a"], is_query=True, cache=cache)
    other = Lengths()
    other.fingerprint = "lengths-2"
    embed_texts(other, ["a"], is_query=True, cache=cache)
    assert other.asked == ["a"]


def test_a_killed_run_goes_on_after_the_last_chunk() -> None:
    texts = [f"text {index:0{index % 50}d}" for index in range(700)]
    cache = MemoryCache()
    with pytest.raises(KeyboardInterrupt):
        embed_texts(Lengths(dies_after=512), texts, is_query=True, cache=cache)
    rest = Lengths()
    vectors = embed_texts(rest, texts, is_query=True, cache=cache)
    assert len(rest.asked) == len(set(texts)) - 512
    np.testing.assert_array_equal(vectors, Lengths().embed(texts, is_query=True))


def test_vectors_come_in_the_order_of_the_texts_with_repeats() -> None:
    texts = ["ccc", "a", "bb", "a", "ccc"]
    vectors = embed_texts(Lengths(), texts, is_query=False)
    np.testing.assert_array_equal(vectors, Lengths().embed(texts, is_query=False))
    assert embed_texts(Lengths(), [], is_query=False).shape[0] == 0


def test_progress_counts_distinct_texts() -> None:
    seen: list[Progress] = []
    cache = MemoryCache()
    texts = [f"{index}" for index in range(300)]
    embed_texts(Lengths(), texts[:100], is_query=True, cache=cache)
    embed_texts(Lengths(), [*texts, "0"], is_query=True, cache=cache, report=seen.append, stage="evaluate")
    assert [(event.done, event.total) for event in seen] == [(100, 300), (300, 300)]
    assert {(event.stage, event.detail) for event in seen} == {("evaluate", "lengths")}


def test_every_expert_is_told() -> None:
    seen: list[Progress] = []
    score(DATASET, QUESTIONS, (Fixed(np.ones((2, 3), np.float32)), Lengths()), report=seen.append)
    assert [(event.done, event.total, event.detail) for event in seen if event.stage == "score"] == [
        (0, 2, "fixed"),
        (1, 2, "lengths"),
        (2, 2, ""),
    ]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.ones((3, 2), np.float32), r"shape \(3, 2\), expected \(2, 3\)"),
        (np.ones((2, 3), np.int64), "int64"),
        ([[1.0] * 3] * 2, "list"),
        (np.full((2, 3), np.nan, np.float32), "every other one"),
        (np.full((2, 3), 1e300), "infinite"),
    ],
)
def test_a_broken_contract_names_the_expert(returned: object, message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        score(DATASET, QUESTIONS, (Fixed(returned, "broken"),))
    assert "broken" in caught.value.place


def test_an_infinite_score_names_the_pair() -> None:
    matrix = np.ones((2, 3), np.float32)
    matrix[1, 2] = -np.inf
    with pytest.raises(PluginError, match=r"question 'both' and document 'd2' is infinite"):
        score(DATASET, QUESTIONS, (Fixed(matrix),))


def test_other_float_types_are_taken_over() -> None:
    scores = score(DATASET, QUESTIONS, (Fixed(np.ones((2, 3), np.float64)),))
    assert scores.values.dtype == np.float32


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.array([[1.0, np.nan]], np.float32), "'x' is not finite"),
        (np.array([[1.0, np.inf]], np.float32), "'x' is not finite"),
        (np.ones((2, 2), np.float32), r"shape \(2, 2\) for 1 texts"),
        (np.ones(2, np.float32), "shape"),
        (np.ones((1, 0), np.float32), "shape"),
        (np.ones((1, 2), np.int8), "int8"),
    ],
)
def test_broken_vectors_are_refused_and_not_kept(vectors: np.ndarray, message: str) -> None:
    class Broken(Lengths):
        def embed(self, texts: Sequence[str], *, is_query: bool) -> np.ndarray:
            return vectors

    cache = MemoryCache()
    with pytest.raises(PluginError, match=message):
        embed_texts(Broken(), ["x"], is_query=True, cache=cache)
    healthy = Lengths()
    embed_texts(healthy, ["x"], is_query=True, cache=cache)
    assert healthy.asked == ["x"]


def test_a_changed_dimension_under_one_fingerprint_is_an_error() -> None:
    class Wide(Lengths):
        def embed(self, texts: Sequence[str], *, is_query: bool) -> np.ndarray:
            return np.ones((len(texts), 3), np.float32)

    cache = MemoryCache()
    embed_texts(Lengths(), ["x"], is_query=True, cache=cache)
    with pytest.raises(PluginError, match="2 and of 3 dimensions"):
        embed_texts(Wide(), ["x", "y"], is_query=True, cache=cache)


def test_zero_vectors_score_zero() -> None:
    values = cosine(np.array([[0, 0], [3, 4]], np.float32), np.array([[0, 0], [6, 8], [-3, -4]], np.float32))
    np.testing.assert_allclose(values, [[0, 0, 0], [0, 1, -1]], atol=1e-6)


# The squares of what is nearer to zero leave the range of float32; no model makes such vectors.
numbers = st.floats(-1e6, 1e6, width=32).map(lambda value: value if abs(value) > 1e-12 else 0.0)


@given(arrays(np.float32, (3, 4), elements=numbers), arrays(np.float32, (2, 4), elements=numbers))
def test_cosines_lie_in_range_and_ignore_length(left: np.ndarray, right: np.ndarray) -> None:
    values = cosine(left, right)
    assert values.shape == (3, 2)
    assert np.all(np.abs(values) <= 1.0)
    np.testing.assert_allclose(cosine(left * 4, right / 2), values, atol=1e-5)
    lengths = np.linalg.norm(unit_rows(left), axis=1)
    assert np.all(np.isclose(lengths, 1.0, atol=1e-4) | (lengths == 0.0))


def test_nothing_to_score_is_no_error() -> None:
    empty = Dataset("d", (), ())
    assert score(DATASET, Questions(()), (Lengths(),)).values.shape == (0, 3, 1)
    assert score(empty, QUESTIONS, (Lengths(),)).values.shape == (2, 0, 1)


def specs(*values: object) -> tuple[PluginSpec, ...]:
    return ScoreSection.model_validate({"experts": values}).experts


def test_a_panel_is_loaded_with_unique_names(tiny_model: Path) -> None:
    panel = load_experts(
        specs("bm25", {"use": "bm25", "options": {"language": "none"}}, "bm25", str(tiny_model)), offline=True
    )
    assert [expert.name for expert in panel] == ["bm25", "bm25-2", "bm25-3", "model"]
    assert panel[0].fingerprint == panel[2].fingerprint != panel[1].fingerprint
    assert type(panel[3]).__name__ == "SentenceTransformerExpert"


def test_all_missing_models_come_in_one_error() -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        load_experts(specs("bm25", "nobody/nothing", "another/one"), offline=True)
    assert "2 of 3" in str(caught.value)
    assert "nobody/nothing" in str(caught.value)
    assert "another/one" in str(caught.value)
    assert "run.offline = false" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"use": "bm25", "options": {"k": 1}}, "unknown option 'k'"),
        ({"use": "bm25", "options": {"k1": 1.5}}, "unknown option 'k1'"),
        ({"use": "bm25", "options": {"language": "dutch"}}, "language"),
        ({"use": "bm25", "options": {"model": 1}}, "model"),
        ({"use": "nothing"}, "nothing"),
        ({"use": "onnx"}, "needs a model"),
        ({"use": "static"}, "needs a model"),
        ({"use": "sentence_transformer"}, "needs a model"),
        ({"use": "universal"}, "needs a model"),
        ({}, "needs a model"),
    ],
)
def test_config_mistakes_are_config_errors(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_experts((PluginSpec.model_validate(spec),), offline=True)


@pytest.mark.parametrize("use", ["bm25", "ngrams", "latent", "universal"])
def test_a_model_where_none_is_read_is_refused(use: str, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=use):
        load_experts((PluginSpec(use=use, model=str(tiny_model)),), offline=True)


def test_a_folder_named_like_a_packaged_model_is_read_as_what_it_is(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "paraphrase-MiniLM-L3-v2")
    (expert,) = load_experts(specs(str(folder)), offline=True)
    assert type(expert).__name__ == "SentenceTransformerExpert"


def test_a_generator_cannot_be_an_expert(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match="writes questions"):
        load_experts((PluginSpec(model=str(tmp_path / "small.gguf")),), offline=True)


def test_an_expert_s_weights_are_let_go_before_the_next_one_is_loaded(tiny_model: Path) -> None:
    (expert,) = load_experts(specs(str(tiny_model)), offline=True)
    loaded = expert._loaded  # type: ignore[attr-defined]
    first = score(DATASET, QUESTIONS, (expert,)).values
    assert not {"model", "rounded"} & vars(loaded).keys()
    np.testing.assert_array_equal(score(DATASET, QUESTIONS, (expert,)).values, first)
