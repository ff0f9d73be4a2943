"""Whether bfloat16 may be used: decided by rankings, remembered, and never mixed with float32 in the store."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from expertune.config import PluginSpec
from expertune.models import ModelSource
from expertune.models.cache import MemoryCache
from expertune.models.embed import embed_texts
from expertune.models.encoder import sentence_encoder
from expertune.records import Dataset, Document, FloatArray, Question, Questions
from expertune.score.experts import precision, sentence_transformer
from expertune.score.experts.sentence_transformer import SentenceTransformerExpert
from expertune.score.stage import load_experts, score

ANSWERS = ["You can return an item within thirty days.", "Shipping takes three days.", "We accept payment by card."]
ASKED = ["can I return the item", "how long is shipping", "what is the price"]
DATASET = Dataset("shop", tuple(Document(str(index), text) for index, text in enumerate(ANSWERS)), ())
QUESTIONS = Questions(tuple(Question(text, (str(index),)) for index, text in enumerate(ASKED)))


def expert(folder: Path, **options: object) -> SentenceTransformerExpert:
    return SentenceTransformerExpert(ModelSource(folder.name, str(folder), "bytes", None), **options)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_transformer, "computes_bfloat16", lambda: True)


def test_correlation_is_that_of_scipy() -> None:
    generator = np.random.default_rng(0)
    left = generator.normal(size=(5, 9)).astype(np.float32)
    right = (left + generator.normal(scale=0.5, size=left.shape)).astype(np.float32)
    right[0, :4] = right[0, 0]
    expected = np.mean([spearmanr(a, b).statistic for a, b in zip(left, right, strict=True)])
    assert precision.rank_correlation(left, right) == pytest.approx(expected)


def test_a_row_that_ties_everything_counts_only_beside_its_like() -> None:
    flat, sloped = np.ones((1, 3), np.float32), np.arange(3, dtype=np.float32)[None]
    assert precision.rank_correlation(flat, flat) == 1.0
    assert precision.rank_correlation(flat, sloped) == 0.0


def test_a_sample_does_not_depend_on_the_order() -> None:
    texts = [f"text {number}" for number in range(100)]
    assert precision.sample(texts) == precision.sample([*reversed(texts), *texts])
    assert len(precision.sample(texts)) == precision.SAMPLE


@pytest.mark.parametrize("wrong", [False, True])
def test_rankings_decide_once(wrong: bool, caplog: pytest.LogCaptureFixture) -> None:
    generator, cache, asked = np.random.default_rng(1), MemoryCache(), []
    exact = generator.normal(size=(3, 8)).astype(np.float32), generator.normal(size=(6, 8)).astype(np.float32)

    def vectors(bfloat16: bool) -> tuple[FloatArray, FloatArray]:
        asked.append(bfloat16)
        return (exact[0], -exact[1]) if bfloat16 and wrong else exact

    texts = ["a", "b", "c"], ["d", "e", "f", "g", "h", "i"]
    with caplog.at_level(logging.INFO):
        found = [precision.agreed(vectors, *texts, space="x", cache=cache, who="model") for _ in range(2)]
    assert found == [not wrong] * 2
    assert asked == [False, True]
    assert ("float32" if wrong else "bfloat16") in caplog.text
    precision.agreed(vectors, *texts, space="other", cache=cache, who="model")
    assert asked == [False, True] * 2


def test_vectors_that_are_no_numbers_do_not_agree() -> None:
    broken = np.full((2, 4), np.nan, np.float32)
    good = np.eye(2, 4, dtype=np.float32)

    def vectors(bfloat16: bool) -> tuple[FloatArray, FloatArray]:
        return (broken, broken) if bfloat16 else (good, good)

    assert not precision.agreed(vectors, ["a", "b"], ["c", "d"], space="x", cache=MemoryCache(), who="model")


def test_every_precision_has_fingerprints_of_its_own(tiny_model: Path, native: None) -> None:
    exact, rounded, auto = (expert(tiny_model, precision=choice) for choice in ("float32", "bfloat16", "auto"))
    assert len({exact.fingerprint, rounded.fingerprint, auto.fingerprint}) == 3
    assert [one.decide(ASKED, ANSWERS, MemoryCache()) for one in (exact, rounded)] == ["float32", "bfloat16"]
    assert auto.decide(ASKED, ANSWERS, MemoryCache()) == "bfloat16"
    assert auto.decided("bfloat16").fingerprint == rounded.fingerprint
    assert auto.decided("float32").fingerprint == exact.fingerprint
    assert auto.fingerprint not in (exact.fingerprint, rounded.fingerprint)


def test_without_the_hardware_auto_is_float32(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_transformer, "computes_bfloat16", lambda: False)
    auto, exact = expert(tiny_model), expert(tiny_model, precision="float32")
    assert auto.decided(auto.decide(ASKED, ANSWERS, MemoryCache())).fingerprint == auto.fingerprint == exact.fingerprint


@pytest.mark.parametrize("least", [-1.0, 2.0])
def test_the_store_never_mixes_precisions(
    least: float, tiny_model: Path, native: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "LEAST", least)
    cache = MemoryCache()
    exact, rounded = (expert(tiny_model, precision=choice) for choice in ("float32", "bfloat16"))
    found = score(DATASET, QUESTIONS, [expert(tiny_model)], cache=cache).values[:, :, 0]
    expected, other = (exact, rounded) if least > 1 else (rounded, exact)
    np.testing.assert_allclose(found, expected.score(ASKED, ANSWERS), atol=1e-6)
    assert not np.array_equal(found, other.score(ASKED, ANSWERS))
    # What the scoring left in the cache serves its own precision only.
    vectors = embed_texts(exact, ANSWERS, is_query=False, cache=cache)
    np.testing.assert_allclose(vectors, exact.embed(ANSWERS, is_query=False), atol=1e-6)


def test_what_is_measured_stays_in_float32(tiny_model: Path, native: None) -> None:
    measured = sentence_encoder(str(tiny_model))
    (judging,) = load_experts([PluginSpec(model=str(tiny_model))], offline=True)
    assert measured.fingerprint != judging.fingerprint
    assert measured.decided(measured.decide(ASKED, ANSWERS, MemoryCache())) is measured
    assert measured.fingerprint == judging.decided("float32").fingerprint
