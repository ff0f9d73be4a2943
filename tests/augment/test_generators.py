"""Generators: prompts, decoding with a tiny random model, rules without a model, and the packaged models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from expertune import models
from expertune.augment.generators import decoding, frames
from expertune.augment.generators.decoding import Prompt, Writer, _Draws
from expertune.augment.generators.template import TemplateGenerator
from expertune.augment.generators.transformers import TransformersGenerator
from expertune.augment.plan import KINDS
from expertune.data.wording import normalise
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.models import ModelSource, language_models
from expertune.models.plugins import Generator, Request

ANSWER = (
    "You can call off a purchase any time before it is dispatched. Open My Orders on the website, choose the purchase "
    "and press Cancel, or write to our support desk with the order number."
)
# With these random weights greedy continuations are several words long.
SEED = 24
VOCABULARY = "can i cancel my order how do you what is the refund when where parcel money back press desk number"
WORDS = VOCABULARY.split()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with random weights and a vocabulary of words."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<end>", '"', "?", "<unk>", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    fast.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            initializer_range=0.3,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def writer(tiny: Path) -> Writer:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return Writer(AutoModelForCausalLM.from_pretrained(tiny).eval(), AutoTokenizer.from_pretrained(tiny))


def asked(writer: Writer, number: int = 0, **values: Any) -> Prompt:
    """Return a prompt of many words; guided, unless `plain` is empty."""
    text, plain = writer.tokenizer([" ".join(WORDS[number:]) + ' question "', 'more question "'])["input_ids"]
    return Prompt(**{"tokens": text, "plain": plain, "seed": 0, "temperature": 0.0, "longest": 12, **values})


def texts(writer: Writer, prompts: Sequence[Prompt]) -> list[str]:
    return [text for text, _ in writer.write(prompts)]


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", ["", "How can I cancel?"])
def test_every_kind_has_frames_that_hold_the_answer_and_end_in_a_quote(kind: str, question: str) -> None:
    for attempt in range(len(frames.choices(frames.RECIPES[kind]))):
        made = frames.fill(Request(ANSWER, question, kind, attempt))
        assert ANSWER in made.text
        assert ANSWER not in made.plain
        assert frames.PLACEHOLDER in made.plain
        assert made.text.endswith(f'"{made.start}')
        assert made.plain.endswith(f'"{made.start}')
        assert "{" not in made.text
        assert not made.sampled


def test_attempts_take_other_beginnings_first_and_are_sampled_only_afterwards() -> None:
    ways = len(frames.choices(frames.RECIPES["question"]))
    made = [frames.fill(Request(ANSWER, "", "question", attempt)) for attempt in range(ways + 2)]
    assert len({item.text for item in made[:ways]}) == ways
    assert [item.sampled for item in made[ways:]] == [True, True]


def test_only_rephrasing_reads_the_users_question_and_falls_back_without_one() -> None:
    request = Request(ANSWER, "How can I cancel?", "rephrase")
    assert "How can I cancel?" in frames.fill(request).text
    assert frames.recipe_for(Request(ANSWER, "", "rephrase")) is frames.RECIPES["question"]


def test_kinds_that_share_frames_begin_apart() -> None:
    made = [
        frames.fill(Request(ANSWER, "", kind, attempt)) for kind in ("question", "rephrase") for attempt in range(2)
    ]
    assert len({item.text for item in made}) == 4


def test_a_long_answer_is_cut_and_braces_in_it_are_harmless() -> None:
    made = frames.fill(Request("{question} {0} " + "word " * 500, "", "short"))
    assert made.text.count("word") <= 120
    assert "{question} {0}" in made.text


# --- decoding ---------------------------------------------------------------------------------------------------------


def test_a_text_does_not_depend_on_the_batch_it_is_written_in(writer: Writer) -> None:
    many = [asked(writer, number, temperature=1.0, seed=number, longest=8 + number % 2) for number in range(6)]
    many.append(asked(writer, plain=[]))
    together = texts(writer, many)
    assert [texts(writer, [prompt])[0] for prompt in many] == together
    assert texts(writer, many[::-1]) == together[::-1]
    assert len(set(together)) > 1
    assert writer.write([]) == []


def test_sampling_follows_its_seed_and_leaves_the_global_one_alone(writer: Writer) -> None:
    import torch

    before = torch.random.get_rng_state()
    drawn = {texts(writer, [asked(writer, temperature=2.0, seed=seed)])[0] for seed in range(8)}
    assert len(drawn) > 3
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sampling_draws_as_often_as_the_temperature_says(writer: Writer) -> None:
    import torch

    prompts = [asked(writer, plain=[], temperature=2.0, seed=seed, longest=1) for seed in range(400)]
    scores = torch.full((400, 3), float("-inf"))
    scores[:, 0], scores[:, 1] = 0.0, -2.0
    drawn = _Draws(prompts, 1)(None, scores).argmax(dim=-1)
    assert drawn.float().mean() == pytest.approx(1 / (1 + math.exp(2.0 / 2.0)), abs=0.07)


def test_greedy_without_guidance_equals_the_generate_of_transformers(writer: Writer) -> None:
    import torch

    prompt = asked(writer, plain=[], longest=3)
    ids = torch.tensor([prompt.tokens])
    expected = writer.model.generate(ids, attention_mask=ids > 0, max_new_tokens=3, do_sample=False)[0, -3:]
    ((text, ended),) = writer.write([prompt])
    assert text.split() == writer.tokenizer.decode(expected).split()
    assert len(text.split()) == 3
    assert not ended


def test_guidance_changes_what_is_written(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [asked(writer, number) for number in range(6)]
    guided = texts(writer, many)
    monkeypatch.setattr(decoding, "GUIDANCE", 1.0)
    assert texts(writer, many) != guided
    # With the text in both places it explains nothing.
    alone = texts(writer, many)
    monkeypatch.setattr(decoding, "GUIDANCE", 3.0)
    assert texts(writer, [asked(writer, number, plain=many[number].tokens) for number in range(6)]) == alone


def test_a_text_in_a_frame_ends_with_its_question_mark_or_before_a_quote(writer: Writer) -> None:
    written = writer.write([asked(writer, number, seed=number, temperature=2.0, longest=40) for number in range(12)])
    assert any(text.endswith("?") for text, _ in written)
    for text, ended in written:
        assert not {'"', "?"} & set(text[:-1])
        assert ended or len(text.split()) == 40


def test_runs_of_four_are_neither_copied_nor_repeated(writer: Writer) -> None:
    for number in range(6):
        prompt = asked(writer, number, longest=40)
        words = [*writer.tokenizer.decode(prompt.tokens).split(), *texts(writer, [prompt])[0].split()]
        runs = [tuple(words[n : n + 4]) for n in range(len(words) - 3)]
        assert len(set(runs)) == len(runs)


# --- the generator ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator(tiny: Path) -> TransformersGenerator:
    return TransformersGenerator(ModelSource("tiny", str(tiny), "tiny-print"))


def requests() -> list[Request]:
    return [Request(" ".join(WORDS[n:]), "", kind, n) for n in range(2) for kind in KINDS]


def test_texts_come_in_the_order_of_requests(generator: TransformersGenerator) -> None:
    assert isinstance(generator, Generator)
    texts = generator.generate(requests(), seed=0)
    assert generator.generate(requests()[::-1], seed=0) == texts[::-1]
    assert generator.generate([], seed=0) == []


def test_the_fingerprint_names_model_and_decisive_options(tiny: Path) -> None:
    def made(fingerprint: str = "tiny-print", **options: Any) -> str:
        return TransformersGenerator(ModelSource("tiny", str(tiny), fingerprint), **options).fingerprint

    assert made() == made(max_tokens=3)  # frames have lengths of their own
    assert len({made(), made("other"), made(temperature=1.0)}) == 3


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        TransformersGenerator(None)
    with pytest.raises(ConfigError, match="temprature"):
        TransformersGenerator(ModelSource("tiny", "nowhere", ""), temprature=1)


def test_a_folder_that_is_no_language_model_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    broken = TransformersGenerator(ModelSource("broken", str(tmp_path), ""))
    with pytest.raises(ModelUnavailableError, match="broken"):
        broken.generate(requests()[:1], seed=0)


def test_what_is_not_whole_or_only_an_example_counts_as_nothing() -> None:
    def text(written: str, kind: str, *, ended: bool = True) -> str:
        return frames.finished(written, Request(ANSWER, "", kind), ended=ended)

    assert text("Can I cancel? Or not? Or", "question") == "Can I cancel?"
    assert text("Can I cancel before you have", "question", ended=False) == ""
    assert text("I ordered a bed. It is too big. Now I", "indirect", ended=False) == "I ordered a bed. It is too big."
    assert text("order cancel, now", "keyword") == "order cancel"
    assert text("What does the agent say?", "question") == ""
    assert text("Museum opening hours", "keyword") == ""


def test_a_gguf_file_is_unpacked_once_and_never_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERTUNE_CACHE", str(tmp_path / "cache"))
    calls: list[Path] = []

    def unpack(file: Path, folder: Path, place: str) -> None:
        calls.append(file)
        (folder / "model.safetensors").write_bytes(b"half")
        if len(calls) == 1:
            raise KeyboardInterrupt
        (folder / "config.json").write_bytes(b"whole")

    monkeypatch.setattr(language_models, "_unpack", unpack)
    file = tmp_path / "some.gguf"
    with pytest.raises(KeyboardInterrupt):
        language_models.unpacked(file, "abc", place="")
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    folder = language_models.unpacked(file, "abc", place="")
    assert (folder / "config.json").read_bytes() == b"whole"
    assert language_models.unpacked(file, "abc", place="") == folder
    assert language_models.unpacked(file, "def", place="") != folder
    assert len(calls) == 3


def test_a_file_that_is_no_gguf_is_a_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERTUNE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"no weights")
    broken = TransformersGenerator(ModelSource("broken", str(file), "abc"))
    with pytest.raises(ModelUnavailableError, match="broken"):
        broken.generate(requests()[:1], seed=0)


# --- rules without a model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_template_generator_varies_question_or_answer_by_kind(kind: str) -> None:
    template = TemplateGenerator()
    assert isinstance(template, Generator)
    both = [Request(ANSWER, question, kind) for question in ("How can I cancel my order?", "")]
    texts = template.generate(both, seed=0)
    assert texts == template.generate(both, seed=0)
    assert all(texts)
    assert template.generate([Request("", "", kind)], seed=0) == [""]
    assert normalise(texts[0]) != "how can i cancel my order"


def test_the_template_generator_takes_no_model() -> None:
    with pytest.raises(ConfigError, match="takes no model"):
        TemplateGenerator(ModelSource("tiny", "somewhere", ""))


# --- packaged models --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma-3-270m"])
def packaged(request: pytest.FixtureRequest) -> TransformersGenerator:
    entry = models.find(request.param)
    if entry is None or not models.installed(entry):
        pytest.skip(f"{request.param} is not installed")
    return TransformersGenerator(models.resolve(request.param))


@pytest.mark.models
@pytest.mark.slow
def test_a_packaged_model_asks_about_the_answer(packaged: TransformersGenerator) -> None:
    texts = packaged.generate([Request(ANSWER, "", "keyword"), Request(ANSWER, "", "question", 1)], seed=0)
    assert all(texts)
    assert any(word in " ".join(texts).lower() for word in ("cancel", "order", "purchase", "refund"))
    again = packaged.generate([Request(ANSWER, "", "question", 1)], seed=0)
    assert len(again) == 1
