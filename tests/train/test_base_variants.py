"""Every kind of base is tuned as what it is: documents keep their vectors, and a weight of 0 gives the base back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from base_variants import PROMPTS, TUNABLE
from expertune import models
from expertune.config import TrainSection
from expertune.models import packing
from expertune.models.embed import unit_rows
from expertune.models.encoder import CachedEncoder, SentenceEncoder, sentence_encoder
from expertune.models.load import load_model, one_side
from expertune.records import Selection
from expertune.train import trainer, tuning

QUESTIONS = ["how do i return my order", "when is my refund", "what does delivery cost", "can i pay with my card"]
DOCUMENTS = ["you can return the order", "the refund is on your card", "shipping cost and price " * 30, "payment"]


@pytest.fixture(scope="module")
def variants(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every variant of the tiny model."""
    root = tmp_path_factory.mktemp("variants")
    for name, make in TUNABLE.items():
        make(tiny_model, root / name)
    return root


def plain(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).float()


def untouched(folder: Path) -> SentenceTransformer:
    """Return the base as sentence-transformers itself reads it; an adapter alone is one only over its base."""
    return load_model(models.resolve(str(folder))) if folder.name == "adapter alone" else plain(folder)


def keep(base: models.ModelSource, folder: Path, weight: float, scratch: Path, **changes: object) -> Path:
    """Tune in a few steps and write the model at an interpolation weight, as a run does; return its folder."""
    encoder = CachedEncoder("base", SentenceEncoder(base))
    section = TrainSection(steps=2, batch_size=4, learning_rate=1e-2, frozen_layers=0.0, precision="float32", **changes)
    tuner = tuning.Tuner(base, encoder, section, ("the size of my colour", "where are you"))
    data = trainer.TrainingData(
        questions=QUESTIONS,
        documents=DOCUMENTS,
        targets=np.roll(np.eye(4, dtype=np.float32), 1, axis=0),
        active=np.ones(4, bool),
        document_vectors=encoder.encode_documents(DOCUMENTS),
        reference=list(tuner.reference),
        reference_vectors=encoder.encode_queries(list(tuner.reference)),
    )
    tuner.tune(data, scratch)
    tuning.keep(tuning.Chosen(tuner, scratch, Selection(weight, (), "so far"), ()), folder)
    return folder


@pytest.mark.parametrize("name", TUNABLE)
def test_a_base_is_measured_as_sentence_transformers_reads_it(variants: Path, name: str) -> None:
    reference, ours = untouched(variants / name), sentence_encoder(str(variants / name))
    expected = unit_rows(reference.encode_query(QUESTIONS)), unit_rows(reference.encode_document(DOCUMENTS))
    found = ours.embed(QUESTIONS, is_query=True), ours.embed(DOCUMENTS, is_query=False)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("name", TUNABLE)
def test_no_step_is_the_base_and_documents_stay_in_any_case(variants: Path, tmp_path: Path, name: str) -> None:
    base = models.resolve(str(variants / name))
    kept = keep(base, tmp_path / "kept", 0.0, tmp_path / "tuned")
    reference, saved = untouched(variants / name), plain(kept)
    np.testing.assert_allclose(saved.encode_query(QUESTIONS), reference.encode_query(QUESTIONS), atol=1e-6)
    encoders = sentence_encoder(str(kept)), SentenceEncoder(base)
    vectors = [encoder.embed(QUESTIONS, is_query=True) for encoder in encoders]
    np.testing.assert_array_equal(*vectors)
    moved = plain(keep(base, tmp_path / "moved", 1.0, tmp_path / "again"))
    assert np.abs(moved.encode_query(QUESTIONS) - reference.encode_query(QUESTIONS)).max() > 1e-4
    for model in (saved, moved):
        np.testing.assert_allclose(model.encode_document(DOCUMENTS), reference.encode_document(DOCUMENTS), atol=1e-6)
        np.testing.assert_allclose(model.encode(DOCUMENTS), document_side(reference).encode(DOCUMENTS), atol=1e-6)
        for role in ("query", "document"):
            assert packing.own_prompt(model, role) == packing.own_prompt(reference, role)
        assert model.similarity_fn_name == reference.similarity_fn_name
        assert model.truncate_dim == reference.truncate_dim
        assert {value.dtype.itemsize for value in model.parameters()} == {4}


def document_side(model: SentenceTransformer) -> SentenceTransformer:
    return one_side(model, "document")


@pytest.mark.models
@pytest.mark.parametrize("name", ["float16 truncated with prompts", "router", "adapter", "first token"])
def test_a_real_model_keeps_its_documents_and_prompts(tmp_path: Path, name: str) -> None:
    TUNABLE[name](Path(models.resolve("all-minilm-l6-v2").location), tmp_path / name)
    test_no_step_is_the_base_and_documents_stay_in_any_case(tmp_path, tmp_path, name)


@pytest.mark.parametrize(("mode", "prompts"), [("query", {"question "}), ("full", {"question ", "answer to "})])
def test_texts_are_trained_on_with_the_prompts_of_their_side(
    variants: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, prompts: set[str]
) -> None:
    seen: set[tuple[str, str | None]] = set()
    preprocess = SentenceTransformer.preprocess

    def note(model: SentenceTransformer, inputs: list[str], prompt: str | None = None, **options: object) -> object:
        if model.training:
            seen.update((text, prompt) for text in inputs)
        return preprocess(model, inputs, prompt=prompt, **options)

    monkeypatch.setattr(SentenceTransformer, "preprocess", note)
    kept = plain(keep(models.resolve(str(variants / "prompts")), tmp_path / "kept", 0.5, tmp_path / "tuned", mode=mode))
    assert {prompt for _, prompt in seen} == prompts
    assert {prompt for text, prompt in seen if text not in DOCUMENTS} == {"question "}
    assert {role: packing.own_prompt(kept, role) for role in ("query", "document")} == PROMPTS
