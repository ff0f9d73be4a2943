"""The one memoising encoder, and what embeds for it: a stored model, or one in memory."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from expertune.errors import PluginError
from expertune.models import ModelSource, packing
from expertune.models.cache import MemoryCache
from expertune.models.embed import unit_rows
from expertune.models.encoder import CachedEncoder, SentenceEncoder, keeps_vectors, sentence_encoder, trial_encoder
from expertune.models.load import load_model
from expertune.models.plugins import EmbeddingExpert
from expertune.train.trainer import assemble
from moved_model import moved

TEXTS = ["can I return the item", "how long is shipping", "can I return the item", "we accept payment by card"]


class Counted(EmbeddingExpert):
    """Embed a text by its length; remembers what it was asked."""

    def __init__(self, name: str = "counted") -> None:
        self.name = self.fingerprint = name
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], *, is_query: bool) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), 1 + is_query] for text in texts], np.float32)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", "{}"),
        ("modules.json", '["a"]'),
        ("config_sentence_transformers.json", "[]"),
        ("config_sentence_transformers.json", '{"prompts": ["a"]}'),
        ("config_sentence_transformers.json", '{"prompts": 3}'),
    ],
)
def test_a_folder_that_says_something_odd_of_itself_is_refused_by_name(
    name: str, content: str, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "odd")
    (tmp_path / "odd" / name).write_text(content, encoding="utf-8")
    with pytest.raises(PluginError, match="model odd: the model cannot be loaded"):
        sentence_encoder(str(tmp_path / "odd")).embed(["a"], is_query=True)


def test_a_text_is_embedded_once_for_each_role_and_cache() -> None:
    cache, first, again = MemoryCache(), Counted(), Counted()
    encoder = CachedEncoder("base", first, cache=cache)
    assert encoder.encode_queries(["a", "bb", "a"]).tolist() == [[1, 2], [2, 2], [1, 2]]
    assert encoder.encode_documents(["a"]).tolist() == [[1, 1]]
    assert sorted(first.asked) == ["a", "a", "bb"]
    CachedEncoder("base", again, cache=cache).encode_queries(["bb", "a", "new"])
    assert again.asked == ["new"]


def test_the_last_vectors_of_each_side_are_not_read_again() -> None:
    class Counting(MemoryCache):
        reads = 0

        def read(self, space: str, keys: Sequence[str]) -> dict[str, bytes]:
            self.reads += 1
            return super().read(space, keys)

    cache = Counting()
    encoder = CachedEncoder("base", Counted(), cache=cache)
    for ask in (encoder.encode_queries, encoder.encode_documents):
        assert ask(["a"]) is ask(["a"])
        before = cache.reads
        assert ask(["a"]).shape == (1, 2)
        assert cache.reads == before
        assert ask(["b", "a"]).shape == (2, 2)
        assert cache.reads > before


def test_documents_may_have_an_encoder_of_their_own() -> None:
    questions, documents = Counted("questions"), Counted("documents")
    encoder = CachedEncoder("tuned", questions, documents)
    encoder.encode_queries(["q"])
    encoder.encode_documents(["d"])
    lent = CachedEncoder("trial", Counted(), encoder)
    assert lent.encode_documents(["d"]) is encoder.encode_documents(["d"])
    assert (questions.asked, documents.asked) == (["q"], ["d"])


def test_what_has_no_fingerprint_is_never_kept() -> None:
    cache, nameless = MemoryCache(), Counted("")
    for _ in range(2):
        CachedEncoder("trial", nameless, cache=cache).encode_queries(["a"])
    assert nameless.asked == ["a", "a"]


def test_a_model_in_memory_encodes_as_one_batch_and_as_the_stored_one(tiny_model: Path) -> None:
    model = load_model(ModelSource("tiny", str(tiny_model), "bytes"))
    made = trial_encoder("trial", model)
    texts = [f"{text} {number}" for number in range(200) for text in TEXTS]
    assert made.name == "trial"
    np.testing.assert_array_equal(
        made.encode_queries(texts),
        unit_rows(packing.encode(model, list(dict.fromkeys(texts)), role="query"))[_rows(texts)],
    )
    stored = sentence_encoder(str(tiny_model))
    np.testing.assert_allclose(made.encode_documents(TEXTS), stored.embed(TEXTS, is_query=False), atol=1e-6)


def _rows(texts: Sequence[str]) -> list[int]:
    row = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    return [row[text] for text in texts]


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PluginError, match="cannot be loaded") as caught:
        load_model(ModelSource("broken", str(tmp_path), "bytes"))
    assert caught.value.place == "model broken"


def test_a_model_in_bfloat16_is_not_in_memory_in_float32_as_well(tiny_model: Path) -> None:
    encoder = SentenceEncoder(ModelSource("tiny", str(tiny_model), "0"))
    exact = encoder.embed(TEXTS, is_query=True)
    first = weakref.ref(encoder._loaded.model)
    encoder.compute_in("bfloat16")
    encoder.embed(TEXTS, is_query=True)
    gc.collect()
    assert first() is None
    encoder.compute_in("float32")
    np.testing.assert_array_equal(encoder.embed(TEXTS, is_query=True), exact)


def test_a_model_that_was_let_go_is_loaded_again_for_the_same_vectors(tiny_model: Path) -> None:
    expert = sentence_encoder(str(tiny_model))
    encoder = CachedEncoder("base", expert)
    before = encoder.encode_anew(TEXTS)
    encoder.release()
    assert not {"model", "rounded"} & vars(expert._loaded).keys()
    np.testing.assert_array_equal(encoder.encode_anew(TEXTS), before)


@pytest.mark.parametrize(
    ("mode", "documents", "base", "expected"),
    [
        ("query", "base", "base", True),
        ("query", None, "base", False),  # one encoder serves both sides
        ("full", "base", "base", False),  # a base of two encoders, both tuned
        ("query", "base", "other", False),
        ("query", "base", "gone", False),
        ("", "base", "base", False),  # nothing says what it was tuned from
    ],
)
def test_a_tuned_model_keeps_the_vectors_of_the_base_that_only_questions_were_tuned_from(
    tiny_model: Path, tmp_path: Path, mode: str, documents: str | None, base: str, expected: bool
) -> None:
    """Where it does they are the same, so that nobody notices who encoded them."""
    untouched = SentenceTransformer(str(tiny_model), device="cpu")
    assemble(moved(tiny_model, "everything"), untouched if documents else None, tmp_path / "run" / "model")
    moved(tiny_model, "linear").save_pretrained(str(tmp_path / "other"))
    # The bytes decide, and not the name.
    (tmp_path / "base").symlink_to(tiny_model)
    if mode:
        config = f'[train]\nbase = "{tmp_path / base}"\nmode = "{mode}"\n'
        (tmp_path / "run" / "config.toml").write_text(config, encoding="utf-8")
    tuned, own = sentence_encoder(str(tmp_path / "run" / "model")), sentence_encoder(str(tiny_model))
    assert keeps_vectors(tuned, own) is expected
    if expected:
        np.testing.assert_array_equal(own.embed(TEXTS, is_query=False), tuned.embed(TEXTS, is_query=False))
        assert not np.allclose(own.embed(TEXTS, is_query=True), tuned.embed(TEXTS, is_query=True))
