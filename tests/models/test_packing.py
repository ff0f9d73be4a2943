"""Batches of tokens: the library's own vectors, in any grouping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from expertune.models import packing

TEXTS = ["price", "how do I return my order", "", "track the parcel " * 40, "what is the shipping cost", "price"] * 3


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_model), local_files_only=True, device="cpu")


@pytest.mark.parametrize("tokens", [1, 40, 100_000])
def test_vectors_are_those_of_the_library(model: SentenceTransformer, tokens: int) -> None:
    np.testing.assert_allclose(
        packing.encode(model, TEXTS, role="document", tokens=tokens), model.encode(TEXTS), atol=1e-6
    )


def test_padding_on_the_left_is_cut_too(tiny_model: Path) -> None:
    model = SentenceTransformer(str(tiny_model), local_files_only=True, device="cpu")
    model.tokenizer.padding_side = "left"
    # BERT counts positions from the left, padding included: alone, a text has none.
    expected = np.concatenate([model.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(packing.encode(model, TEXTS, role="query", tokens=1), expected, atol=1e-6)


def test_the_models_own_prompts_and_dimension_hold(tiny_model: Path) -> None:
    prompts = {"query": "what is ", "passage": "the price "}
    model = SentenceTransformer(
        str(tiny_model), local_files_only=True, device="cpu", prompts=prompts, truncate_dim=8, default_prompt_name=None
    )
    asked = ["order", "the parcel"]
    np.testing.assert_allclose(packing.encode(model, asked, role="query"), model.encode_query(asked), atol=1e-6)
    np.testing.assert_allclose(packing.encode(model, asked, role="document"), model.encode_document(asked), atol=1e-6)
    np.testing.assert_allclose(
        packing.encode(model, asked, role="query", prompt=""), model.encode_query(asked, prompt=""), atol=1e-6
    )


def test_features_that_are_no_rows_of_tokens_go_as_they_come(tiny_model: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    static = StaticEmbedding(Tokenizer.from_file(str(tiny_model / "tokenizer.json")), embedding_dim=6)
    model = SentenceTransformer(modules=[static], device="cpu")
    assert not packing.packs(model.preprocess(["a", "b"]), 2)
    many = [*TEXTS, *(f"item {number}" for number in range(40))]
    np.testing.assert_allclose(packing.encode(model, many, role="query"), model.encode(many), atol=1e-6)


def test_bfloat16_is_near_and_not_the_same(model: SentenceTransformer) -> None:
    exact = packing.encode(model, TEXTS, role="query")
    rounded = packing.encode(model, TEXTS, role="query", bfloat16=True)
    assert rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    cosines = (exact * rounded).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosines.min() > 0.999
    assert not torch.is_autocast_enabled("cpu")


def test_matrices_rounded_beforehand_change_nothing(model: SentenceTransformer) -> None:
    before = packing.encode(model, TEXTS, role="query")
    twin = packing.rounded(model)
    np.testing.assert_array_equal(
        packing.encode(twin, TEXTS, role="query", bfloat16=True),
        packing.encode(model, TEXTS, role="query", bfloat16=True),
    )
    shared = {value.data_ptr() for value in model.parameters()} & {value.data_ptr() for value in twin.parameters()}
    assert not shared
    np.testing.assert_array_equal(packing.encode(model, TEXTS, role="query"), before)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 200), st.integers(1, 9))
def test_batches_hold_every_text_once_and_no_more_than_fits(lengths: list[int], tokens: int, most: int) -> None:
    batches = packing.pack(lengths, tokens, most)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or (len(batch) <= most and len(batch) * longest <= tokens)
    ordered = [lengths[index] for batch in batches for index in batch]
    assert ordered == sorted(lengths, reverse=True)


@pytest.mark.parametrize("kept", [packing._KEPT_TOKENS, 100])
def test_a_training_batch_in_groups_has_the_vectors_and_gradients_of_the_whole(
    model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(packing, "_KEPT_TOKENS", kept)
    model.eval()
    features = model.preprocess([*TEXTS, *("the price of a parcel " * count for count in range(60))])
    assert features["attention_mask"].sum() > 3 * packing._GROUP_TOKENS
    weights = torch.randn(len(features["input_ids"]), 1, generator=torch.Generator().manual_seed(0))

    def gradients(vectors: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        (vectors * weights).sum().backward()
        return torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None])

    whole = model(dict(features))["sentence_embedding"]
    grouped = packing.embed(model, features)
    np.testing.assert_allclose(grouped.detach(), whole.detach(), atol=1e-6)
    np.testing.assert_allclose(gradients(grouped), gradients(whole), atol=1e-4)
    third = packing.embed(model, features, stride=3)
    np.testing.assert_allclose(third.detach(), whole[::3].detach(), atol=1e-6)


def test_a_training_batch_without_tokens_goes_as_it_comes() -> None:
    table = torch.nn.Embedding(3, 2)

    class Module(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"sentence_embedding": table(features["input_ids"])}

    rows = torch.tensor([2, 0])
    torch.testing.assert_close(packing.embed(Module(), {"input_ids": rows}), table(rows))
    torch.testing.assert_close(packing.embed(Module(), {"input_ids": rows}, stride=2), table(rows[:1]))
