"""Generators: prompts, decoding with a tiny random model, rules without a model, and the packaged models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from expertune import models
from expertune.augment.generators import prompts
from expertune.augment.generators.decoding import Prompt, Writer, Written
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


def load(folder: Path, **options: Any) -> Writer:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    values = {"contrast": 0.7, "top_p": 0.9, **options}
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return Writer(model, AutoTokenizer.from_pretrained(folder), **values)


def asked(number: int = 0, **values: Any) -> Prompt:
    text = " ".join(WORDS[number:]) + ' question "'
    return Prompt(**{"text": text, "plain": 'more question "', "longest": 12, **values})


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", ["", "How can I cancel?"])
def test_every_kind_has_frames_that_hold_the_answer_and_end_in_a_quote(kind: str, question: str) -> None:
    for attempt in range(len(prompts.choices(prompts.RECIPES[kind]))):
        made = prompts.prompt(Request(ANSWER, question, kind, attempt), temperature=0.5, seed=7)
        assert ANSWER in made.text
        assert ANSWER not in made.plain
        assert prompts.PLACEHOLDER in made.plain
        assert made.text.endswith('"')
        assert made.plain.endswith('"')
        assert "{" not in made.text
        assert made.temperature == 0.0


def test_attempts_take_other_beginnings_first_and_are_sampled_only_afterwards() -> None:
    ways = len(prompts.choices(prompts.RECIPES["question"]))
    made = [
        prompts.prompt(Request(ANSWER, "", "question", attempt), temperature=0.5, seed=3) for attempt in range(ways + 2)
    ]
    assert len({(item.text, item.start) for item in made[:ways]}) == ways
    assert [item.temperature for item in made[ways:]] == [0.5, 0.5]


def test_only_rephrasing_reads_the_users_question_and_falls_back_without_one() -> None:
    request = Request(ANSWER, "How can I cancel?", "rephrase")
    assert "How can I cancel?" in prompts.prompt(request, temperature=0.5, seed=0).text
    assert prompts.recipe_for(Request(ANSWER, "", "rephrase")) is prompts.RECIPES["question"]


def test_kinds_that_share_frames_begin_apart() -> None:
    made = [
        prompts.prompt(Request(ANSWER, "", kind, attempt), temperature=0.5, seed=0)
        for kind in ("question", "rephrase")
        for attempt in range(2)
    ]
    assert len({(item.text, item.start) for item in made}) == 4


def test_a_long_answer_is_cut_and_braces_in_it_are_harmless() -> None:
    made = prompts.prompt(Request("{question} {0} " + "word " * 500, "", "short"), temperature=0.5, seed=0)
    assert made.text.count("word") <= 120
    assert "{question} {0}" in made.text


# --- decoding ---------------------------------------------------------------------------------------------------------


def test_a_text_does_not_depend_on_the_batch_it_is_written_in(tiny: Path) -> None:
    writer = load(tiny)
    many = [asked(number, temperature=1.0, seed=number) for number in range(6)]
    together = [written.text for written in writer.write(many)]
    assert [writer.write([prompt])[0].text for prompt in many] == together
    assert [written.text for written in writer.write(many[::-1])] == together[::-1]
    assert len(set(together)) > 1


def test_sampling_follows_its_seed_and_leaves_the_global_one_alone(tiny: Path) -> None:
    import torch

    writer = load(tiny)
    before = torch.random.get_rng_state()
    texts = {writer.write([asked(temperature=2.0, seed=seed)])[0].text for seed in range(8)}
    assert len(texts) > 3
    assert torch.equal(torch.random.get_rng_state(), before)


def test_greedy_without_contrast_equals_the_generate_of_transformers(tiny: Path) -> None:
    writer = load(tiny, contrast=0.0)
    prompt = asked(longest=3)
    encoded = writer._tokenizer([prompt.text], return_tensors="pt")
    expected = writer._model.generate(
        input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], max_new_tokens=3, do_sample=False
    )[0, -3:]
    text = writer.write([prompt])[0].text
    assert text == writer._tokenizer.decode(expected)
    assert len(text.split()) == 3


def test_contrast_changes_what_is_written(tiny: Path) -> None:
    plain = [written.text for written in load(tiny, contrast=0.0).write([asked(n) for n in range(6)])]
    contrasted = [written.text for written in load(tiny, contrast=2.0).write([asked(n) for n in range(6)])]
    assert plain != contrasted


def test_a_continuation_starts_as_asked_and_is_no_longer_than_asked(tiny: Path) -> None:
    written = load(tiny).write([asked(start="how do you", longest=3)])[0]
    assert written.text.startswith("how do you")
    assert len(written.text.split()) == 6
    assert not written.ended


def test_ends_stop_a_continuation_and_are_kept(tiny: Path) -> None:
    writer = load(tiny)
    whole = writer.write([asked()])[0].text
    assert "? " in whole
    stopped = writer.write([asked(ends="?")])[0]
    assert stopped.text == whole[: whole.index("?") + 1]
    assert stopped.ended


def test_runs_of_the_source_are_not_copied(tiny: Path) -> None:
    writer = load(tiny)
    text = writer.write([asked()])[0].text
    words = text.split()
    copied = {tuple(words[n : n + 2]) for n in range(len(words) - 1)}
    other = writer.write([asked(source=text, copy=2)])[0].text.split()
    assert not copied & {tuple(other[n : n + 2]) for n in range(len(other) - 1)}
    assert len(other) > 1
    assert writer.write([asked(source="money", copy=2)])[0].text == text


def test_runs_of_three_are_not_repeated(tiny: Path) -> None:
    for written in load(tiny).write([asked(number, longest=40) for number in range(6)]):
        words = written.text.split()
        runs = [tuple(words[n : n + 3]) for n in range(len(words) - 2)]
        assert len(set(runs)) == len(runs)


def test_shyness_avoids_the_words_of_the_source(tiny: Path) -> None:
    writer = load(tiny)
    assert "number" in writer.write([asked()])[0].text
    assert "number" not in writer.write([asked(source="number money", shy=1000.0)])[0].text


def test_support_tells_how_far_the_text_made_it_likelier(tiny: Path) -> None:
    writer = load(tiny)
    text = asked().text
    assert writer.write([asked()])[0].support != 0.0
    # With the text in both places it explains nothing.
    assert writer.write([asked(plain=text)])[0].support == pytest.approx(0.0, abs=1e-4)


# --- the generator ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator(tiny: Path) -> TransformersGenerator:
    return TransformersGenerator(ModelSource("tiny", str(tiny), "tiny-print"), dtype="float32", support=-100.0)


def requests() -> list[Request]:
    return [Request(" ".join(WORDS[n:]), "", kind, n) for n in range(2) for kind in KINDS]


def test_texts_come_in_the_order_of_requests(generator: TransformersGenerator) -> None:
    assert isinstance(generator, Generator)
    texts = generator.generate(requests(), seed=0)
    assert generator.generate(requests()[::-1], seed=0) == texts[::-1]
    assert generator.generate([], seed=0) == []


def test_support_is_a_threshold(tiny: Path) -> None:
    strict = TransformersGenerator(ModelSource("tiny", str(tiny), "tiny-print"), dtype="float32", support=1000.0)
    assert set(strict.generate(requests(), seed=0)) == {""}


def test_the_fingerprint_names_model_and_decisive_options(tiny: Path) -> None:
    def made(fingerprint: str = "tiny-print", **options: Any) -> str:
        return TransformersGenerator(ModelSource("tiny", str(tiny), fingerprint), **options).fingerprint

    assert made() == made(batch_size=3)
    assert len({made(), made("other"), made(contrast=1.0), made(temperature=1.0), made(top_p=0.5)}) == 5


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        TransformersGenerator(None)
    with pytest.raises(ConfigError, match="contrats"):
        TransformersGenerator(ModelSource("tiny", "nowhere", ""), contrats=1)


def test_a_folder_that_is_no_language_model_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    broken = TransformersGenerator(ModelSource("broken", str(tmp_path), ""))
    with pytest.raises(ModelUnavailableError, match="broken"):
        broken.generate(requests()[:1], seed=0)


def test_what_is_not_whole_or_only_an_example_counts_as_nothing(generator: TransformersGenerator) -> None:
    def text(written: str, kind: str, *, ended: bool = True) -> str:
        return generator._text(Request(ANSWER, "", kind), Written(written, ended, 0.0))

    assert text("Can I cancel? Or not? Or", "question") == "Can I cancel?"
    assert text("Can I cancel before you have", "question", ended=False) == ""
    assert text("I ordered a bed. It is too big. Now I", "indirect", ended=False) == "I ordered a bed. It is too big."
    assert text("order cancel,", "keyword") == "order cancel"
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
