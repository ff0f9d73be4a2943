"""Reading prompts: what several begin with is read once, and nothing else changes."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from expertune.augment.generators.reading import Reader, shared

WORDS = [f"w{number}" for number in range(40)]


def tokenizer() -> Any:
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(["<pad>", *WORDS])}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", padding_side="left")


def model(kind: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if kind == "gpt2":  # learned positions
            return GPT2LMHeadModel(GPT2Config(vocab_size=41, n_embd=32, n_layer=2, n_head=4, n_positions=256)).eval()
        config = LlamaConfig(
            vocab_size=41, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, pad_token_id=0,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()


def texts() -> list[str]:
    """Two long beginnings with several ends each, and one text that begins like no other."""
    draw = random.Random(0)
    beginnings = [" ".join(draw.choices(WORDS, k=length)) for length in (40, 60)]
    ends = [" ".join(draw.choices(WORDS, k=length)) for length in (1, 3, 7, 2)]
    return [f"{beginning} {end}" for beginning in beginnings for end in ends] + [" ".join(draw.choices(WORDS, k=33))]


def test_prompts_that_begin_alike_are_read_as_if_each_were_alone() -> None:
    for kind in ("llama", "gpt2"):
        reader, asked = Reader(model(kind), tokenizer()), texts()
        assert shared(tokenizer()(asked)["input_ids"])[0]
        with torch.inference_mode():
            together = reader.read(asked)
            alone = [reader.read([text]) for text in asked]
            torch.testing.assert_close(together.logits, torch.cat([one.logits for one in alone]), atol=1e-4, rtol=1e-4)
            following = torch.arange(1, len(asked) + 1)[:, None]
            together.grow()
            reader.step(together, following)
            for index, one in enumerate(alone):
                one.grow()
                reader.step(one, following[index : index + 1])
            torch.testing.assert_close(together.logits, torch.cat([one.logits for one in alone]), atol=1e-4, rtol=1e-4)


def test_fewer_tokens_are_fed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, fed = Reader(model("llama"), tokenizer()), []
    step = reader.step
    monkeypatch.setattr(reader, "step", lambda reading, tokens: (fed.append(tokens.numel()), step(reading, tokens)))
    asked = texts()
    reader.read(asked)
    assert len(fed) == 2
    assert sum(fed) < 0.5 * len(asked) * max(len(text.split()) for text in asked)


def test_a_beginning_out_of_sight_of_a_sliding_window_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    llama = model("llama")
    llama.config.sliding_window = 32
    reader, fed = Reader(llama, tokenizer()), []
    step = reader.step
    monkeypatch.setattr(reader, "step", lambda reading, tokens: (fed.append(tokens.shape), step(reading, tokens)))
    reader.read(texts())
    assert len(fed) == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), min_size=1, max_size=12))
def test_beginning_and_rest_are_the_row(rows: list[list[int]]) -> None:
    beginnings, which, rests = shared(rows)
    if beginnings:
        assert [beginnings[index] + rest for index, rest in zip(which, rests, strict=True)] == rows
        assert all(rests)
        read = len(beginnings) * max(map(len, beginnings)) + len(rows) * max(map(len, rests))
        assert read < len(rows) * max(map(len, rows))


def test_rows_that_share_nothing_are_read_whole() -> None:
    assert shared([[1, 2, 3], [2, 3, 4], [3]]) == ([], [], [])
