"""Instructions by chat template and by encoder: tiny real models with random weights, and one packaged model."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expertune import models
from expertune.augment.generators import chat
from expertune.augment.generators.transformers import TransformersGenerator
from expertune.augment.stage import augment
from expertune.config import AugmentSection
from expertune.errors import ConfigError, ModelUnavailableError
from expertune.models import ModelSource, language_models
from expertune.models.cache import MemoryCache
from expertune.models.plugins import Request
from expertune.records import Dataset, Document
from expertune.score.experts.likelihood import LikelihoodExpert

SPECIAL = ["<pad>", "</s>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
ANSWERS = ("You can return a parcel within 30 days.", "We ship in two days.", "Pay by card or by invoice, as you like.")
REQUESTS = [Request(answer, "", kind) for answer in ANSWERS for kind in ("question", "keyword", "short")]


def write_tokenizer(folder: Path, template: str | None = None) -> None:
    """Write a tokenizer with a token for every printable character, so that prompts can be read back."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *string.printable])}
    made = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[3:],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = template
    fast.save_pretrained(folder)


def write_model(folder: Path, kind: str, *, template: str | None = None) -> Path:
    import torch
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        BertConfig,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
        T5Config,
        T5EncoderModel,
        T5ForConditionalGeneration,
    )

    common = {"vocab_size": len(SPECIAL) + len(string.printable), "pad_token_id": 0, "eos_token_id": 1}
    t5 = T5Config(
        d_model=32,
        d_ff=64,
        d_kv=8,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        initializer_factor=3.0,
        **common,
    )
    bart = BartConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=64, decoder_ffn_dim=64, init_std=0.3,
        encoder_attention_heads=2, decoder_attention_heads=2, bos_token_id=1, decoder_start_token_id=1,
        forced_eos_token_id=1, max_position_embeddings=1024, **common,
    )  # fmt: skip
    llama = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=2048, initializer_range=0.3, bos_token_id=None, **common,
    )  # fmt: skip
    bert = BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=common["vocab_size"],
    )
    made: dict[str, tuple[Any, Any]] = {
        "t5": (T5ForConditionalGeneration, t5),
        "bart": (BartForConditionalGeneration, bart),
        "llama": (LlamaForCausalLM, llama),
        "t5 encoder": (T5EncoderModel, t5),
        "bert": (BertModel, bert),
    }
    form, config = made[kind]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = form(config)
    if model.can_generate():
        # Random weights would go on for ever.
        model.generation_config.exponential_decay_length_penalty = (4, 1.3)
    model.save_pretrained(folder)
    write_tokenizer(folder, template)
    return folder


@pytest.fixture(autouse=True)
def _whole_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep rounding from deciding which words are drawn."""
    monkeypatch.setattr(language_models, "computes_bfloat16", lambda: False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("instructed")
    made = {kind: write_model(root / kind, kind) for kind in ("t5", "bart", "llama", "t5 encoder", "bert")}
    return made | {"chat": write_model(root / "chat", "llama", template=TEMPLATE)}


def source(folder: Path) -> ModelSource:
    return models.resolve(str(folder))


def generator(folder: Path, **options: Any) -> TransformersGenerator:
    """Return a generator that is asked by instructions: of seq2seq models unasked, of causal ones on demand."""
    chosen = {} if language_models.is_seq2seq(source(folder)) else {"prompts": "chat"}
    return TransformersGenerator(source(folder), **{"max_tokens": 40, **chosen, **options})


def asked(made: TransformersGenerator, requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the model is given to read, padding left out, in the order of the batch."""
    read: list[str] = []
    model, tokenizer = made._writer.model, made._writer.tokenizer
    generate = model.generate

    def spy(**given: Any) -> Any:
        rows = zip(given["input_ids"], given["attention_mask"], strict=True)
        read.extend(tokenizer.decode(ids[mask.bool()]) for ids, mask in rows)
        return generate(**given)

    monkeypatch.setattr(model, "generate", spy)
    made.generate(requests, seed=0)
    return read


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_encoder_reads_the_instructions_as_one_text(
    kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(ANSWERS[0], "until when?", "rephrase")
    system, user = (message["content"] for message in chat.messages(request))
    assert asked(generator(folders[kind]), [request], monkeypatch) == [f"{system}\n\n{user}</s>"]


def test_a_causal_model_reads_them_in_its_own_template(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(ANSWERS[0], "", "question")
    system, user = (message["content"] for message in chat.messages(request, language="de"))
    expected = f"<|system|>{system}<|end|><|user|>{user}<|end|><|assistant|>"
    # The tiny vocabulary has no umlauts.
    expected = "".join(sign if sign in string.printable else "<unk>" for sign in expected)
    assert asked(generator(folders["chat"], language="de"), [request], monkeypatch) == [expected]


def test_marks_of_turns_in_an_answer_are_text(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator(folders["chat"])
    made.generate([Request("Press <|end|> to end.", "", "short")], seed=0)
    tokens = made._instructions.tokens(Request("Press <|end|> to end.", "", "short"))
    assert tokens.count(SPECIAL.index("<|end|>")) == 2


def test_a_template_without_a_system_role_gets_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator(write_model(tmp_path, "llama", template=NO_SYSTEM))
    request = Request(ANSWERS[0], "", "short")
    expected = f"<|user|>{chat.in_one(chat.messages(request))}<|end|><|assistant|>"
    assert asked(made, [request], monkeypatch) == [expected]


def test_a_template_that_tells_the_date_reads_the_same_every_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = generator(write_model(tmp_path, "llama", template="{{ strftime_now('%Y-%m-%d') }} " + TEMPLATE))
    (read,) = asked(made, REQUESTS[:1], monkeypatch)
    assert read.startswith("1 January 2025 <|system|>")


@pytest.mark.parametrize("kind", ["bart", "chat"])
def test_a_long_answer_is_shortened_at_its_end_and_the_instruction_stays(
    kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("First of all. " + "And so on. " * 900, "", "keyword")
    (read,) = asked(generator(folders[kind]), [request], monkeypatch)
    wording = chat.WORDINGS["en"]
    assert wording.system in read
    assert "First of all. And so on." in read
    assert wording.kinds["keyword"] in read
    room = {"bart": 1024, "chat": 2048 - 40}[kind]
    assert 0.8 * room < len(read) <= room + sum(map(len, SPECIAL[3:])) + len("<|end|>")


# --- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["t5", "bart", "chat"])
def test_a_text_depends_on_its_request_and_seed_alone(kind: str, folders: dict[str, Path]) -> None:
    import torch

    made = generator(folders[kind])
    before = torch.random.get_rng_state()
    texts = made.generate(REQUESTS, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sum(map(bool, texts)) > len(texts) / 2
    assert made.generate(REQUESTS[::-1], seed=5) == texts[::-1]
    assert [made.generate([request], seed=5)[0] for request in REQUESTS] == texts
    assert made.generate(REQUESTS, seed=6) != texts
    assert generator(folders[kind], temperature=3.0).generate(REQUESTS, seed=5) != texts
    assert made.generate([], seed=5) == []


@pytest.mark.parametrize("kind", ["t5", "bart", "chat"])
def test_hardly_any_temperature_equals_the_greedy_generate_of_transformers(kind: str, folders: dict[str, Path]) -> None:
    made = generator(folders[kind], temperature=1e-9)
    (text,) = made.generate(REQUESTS[:1], seed=0)
    model, tokenizer = made._writer.model, made._writer.tokenizer
    messages = chat.messages(REQUESTS[0])
    if kind == "chat":
        read = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(read, add_special_tokens=False, return_tensors="pt")["input_ids"]
    else:
        ids = tokenizer("\n\n".join(message["content"] for message in messages), return_tensors="pt")["input_ids"]
    expected = model.generate(ids, do_sample=False, max_new_tokens=40, attention_mask=ids > 0)[0]
    written = expected[ids.shape[1] :] if kind == "chat" else expected
    assert text == tokenizer.decode(written, skip_special_tokens=True).strip()
    assert text


@pytest.mark.parametrize("kind", ["t5", "bart", "chat"])
def test_a_text_that_was_cut_is_not_used(kind: str, folders: dict[str, Path]) -> None:
    assert set(generator(folders[kind], max_tokens=3, temperature=1e-9).generate(REQUESTS, seed=0)) == {""}


def test_thoughts_are_not_part_of_what_was_said() -> None:
    assert chat.said("<think>Well.</think>\n How long? ") == "How long?"
    assert chat.said("<think>Well") == ""


class Breaking(MemoryCache):
    """A cache that fails after so many batches, as a killed run would."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def write(self, space: str, items: Any) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(space, items)


def small_batches(folder: Path) -> TransformersGenerator:
    made = generator(folder)
    made.batch_size = 3
    return made


@pytest.mark.parametrize("kind", ["t5", "chat"])
def test_a_killed_run_goes_on_and_ends_with_the_same_questions(kind: str, folders: dict[str, Path]) -> None:
    dataset = Dataset("shop", tuple(Document(str(number), text) for number, text in enumerate(ANSWERS)), ())
    section = AugmentSection(generators=[str(folders[kind])], per_answer=4, spans=0)
    whole = augment(dataset, section, [small_batches(folders[kind])])
    cache = Breaking(2)
    with pytest.raises(KeyboardInterrupt):
        augment(dataset, section, [small_batches(folders[kind])], cache=cache)
    cache.left = 100
    going_on = small_batches(folders[kind])
    seen: list[Request] = []
    write = going_on.generate
    going_on.generate = lambda requests, *, seed: (seen.extend(requests), write(requests, seed=seed))[1]  # type: ignore[method-assign]
    assert augment(dataset, section, [going_on], cache=cache) == whole
    assert len(seen) == 12 - 6


def write_gguf(file: Path) -> Any:
    """Write a tiny T5 as a GGUF file, named and laid out as llama.cpp does; return the model in it."""
    import gguf
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    tokens = [*SPECIAL[:3], "\u2581", *(sign for sign in string.printable if not sign.isspace())]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(tokens), d_model=32, d_ff=64, d_kv=8, num_layers=2, num_heads=4,
                feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
            )
        )  # fmt: skip
    writer = gguf.GGUFWriter(file, "t5")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_key_length(8)
    writer.add_layer_norm_eps(1e-6)
    writer.add_relative_attn_buckets_count(32)
    writer.add_decoder_start_token_id(0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("t5")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 3 + [-1.0] * (len(tokens) - 3))
    writer.add_token_types([3, 3, 2] + [1] * (len(tokens) - 3))
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5, 2)
    for name, tensor in model.state_dict().items():
        if not name.endswith("coder.embed_tokens.weight"):  # the shared one again
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensor.numpy().copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def test_a_gguf_file_of_a_seq2seq_model_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("EXPERTUNE_CACHE", str(tmp_path / "cache"))
    written = write_gguf(tmp_path / "tiny.gguf")
    made = TransformersGenerator(source(tmp_path / "tiny.gguf"), prompts="chat", max_tokens=10)
    request = Request("We ship.", "", "short")
    (read,) = asked(made, [request], monkeypatch)
    assert read == " ".join(chat.in_one(chat.messages(request)).split()) + "</s>"
    loaded = made._writer.model.state_dict()
    assert all(torch.allclose(loaded[name], value, rtol=0.01) for name, value in written.state_dict().items())
    with pytest.raises(ConfigError, match='prompts = "chat"'):
        TransformersGenerator(source(tmp_path / "tiny.gguf")).generate([request], seed=0)


# --- what decides -----------------------------------------------------------------------------------------------------


def test_the_prompts_choice_decides_the_fingerprint_and_which_options_do(folders: dict[str, Path]) -> None:
    def made(kind: str, **options: Any) -> str:
        return TransformersGenerator(source(folders[kind]), **options).fingerprint

    # A chat template alone changes nothing: frames stay the default of causal models.
    assert made("chat") == made("chat", prompts="frames")
    assert made("chat") == made("chat", max_tokens=7, language="zh")
    instructed = {"prompts": "chat"}
    assert made("chat", **instructed) == made("chat", **instructed)
    assert made("t5") == made("t5", **instructed)
    decisive: Iterator[dict[str, Any]] = iter([{}, {"max_tokens": 7}, {"language": "zh"}, {"temperature": 1.0}])
    assert len({made("chat"), *(made("chat", **instructed, **more) for more in decisive)}) == 5


def test_the_default_of_packaged_models_is_what_stores_were_written_with(tmp_path: Path) -> None:
    file = tmp_path / "some.gguf"
    made = TransformersGenerator(ModelSource("some", str(file), "bytes"))
    assert made.fingerprint == "8dec7d25eecbe75300a69c3fedcc812b82cc9ca52d99919382b296b6eb37c218"


def test_the_kind_of_a_hub_model_is_read_from_its_config(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda hub, file: str(folders[hub.split("/")[1]] / file))
    assert [language_models.is_seq2seq(ModelSource(name, f"us/{name}", "")) for name in ("t5", "llama")] == [
        True,
        False,
    ]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_chat_without_a_template_is_a_users_mistake(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"generator llama: .*chat template.*none\n.*frames"):
        generator(folders["llama"]).generate(REQUESTS[:1], seed=0)


def test_a_template_that_takes_no_message_is_told(tmp_path: Path) -> None:
    broken = generator(write_model(tmp_path, "llama", template="{{ raise_exception('never') }}"))
    with pytest.raises(ModelUnavailableError, match="never"):
        broken.generate(REQUESTS[:1], seed=0)


def test_a_seq2seq_model_continues_no_frames(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match='prompts = "chat"'):
        generator(folders["t5"], prompts="frames").generate(REQUESTS[:1], seed=0)


@pytest.mark.parametrize("prompts", ["auto", "chat"])
@pytest.mark.parametrize("kind", ["bert", "t5 encoder"])
def test_a_model_of_neither_kind_is_a_users_mistake(kind: str, prompts: str, folders: dict[str, Path]) -> None:
    with pytest.raises(ModelUnavailableError, match=f"(?s){kind}: not a causal or seq2seq .*augment.generators"):
        generator(folders[kind], prompts=prompts).generate(REQUESTS[:1], seed=0)


def test_an_expert_that_needs_a_causal_model_takes_no_seq2seq_one(folders: dict[str, Path]) -> None:
    with pytest.raises(ModelUnavailableError, match=r"not a causal language model.*seq2seq"):
        LikelihoodExpert(source(folders["bart"])).score(["how long?"], list(ANSWERS))


def test_no_room_for_a_prompt_is_a_users_mistake(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="the model reads 2048"):
        generator(folders["chat"], max_tokens=2048).generate(REQUESTS[:1], seed=0)


def test_a_request_whose_prompt_has_no_room_gets_nothing_and_stops_no_other(folders: dict[str, Path]) -> None:
    long = Request(ANSWERS[0], "why " * 1000, "rephrase")
    made = generator(folders["chat"])
    alone = made.generate(REQUESTS[:2], seed=0)
    assert made.generate([REQUESTS[0], long, REQUESTS[1]], seed=0) == [alone[0], "", alone[1]]
    assert made.generate([long], seed=0) == [""]


# --- a packaged model -------------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.slow
def test_a_packaged_instruct_model_asks_about_the_answer_in_its_template() -> None:
    entry = models.find("smollm2-135m-instruct")
    if entry is None or not models.installed(entry):
        pytest.skip("smollm2-135m-instruct is not installed")
    made = TransformersGenerator(models.resolve("smollm2-135m-instruct"), prompts="chat", max_tokens=64)
    # So small a model often misses the text, and rounding decides which words are drawn: eight attempts at each answer.
    requests = [Request(answer, "", "question", attempt) for answer in ANSWERS for attempt in range(8)]
    texts = made.generate(requests, seed=0)
    assert any(text.endswith("?") for text in texts)
    assert any(word in " ".join(texts).lower() for word in ("return", "ship", "pay"))
    assert made.generate(requests, seed=0) == texts
