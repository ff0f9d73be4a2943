"""Generators and experts on a server: a real one on loopback that misbehaves on purpose."""

from __future__ import annotations

import json
import logging
import sqlite3
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import misbehaving as bad
from expertune.augment.generators import chat
from expertune.augment.generators.openai_compatible import OpenAICompatibleGenerator
from expertune.augment.plan import KINDS
from expertune.augment.stage import augment, load_generators
from expertune.config import AugmentSection, PluginSpec
from expertune.errors import ConfigError, ServerError
from expertune.models import parallel
from expertune.models import server as servers
from expertune.models.cache import MemoryCache
from expertune.models.plugins import Request, StreamingGenerator
from expertune.pipeline.store import Store
from expertune.records import Dataset, Document, Question, Questions
from expertune.score.experts import openai_compatible
from expertune.score.experts.openai_compatible import OpenAICompatibleExpert
from expertune.score.stage import load_experts, score
from misbehaving import Misbehaving, serving

KEY = "sk-planted-0123456789-abcdefghijklmnop"
VARIABLE = "EXPERTUNE_TEST_KEY"
DOCUMENTS = tuple(
    Document(f"d{n}", f"Number {n}: parcels of size {n} travel for {n} days and are then kept for a week.")
    for n in range(6)
)
DATASET = Dataset("shop", DOCUMENTS, (Question("How long does a parcel travel?", ("d1",)),))


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(servers, "TRIES", 3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(VARIABLE, KEY)


def section(**values: Any) -> AugmentSection:
    return AugmentSection.model_validate({"generators": ["template"], "per_answer": 4, "spans": 0, **values})


def generator(server: Misbehaving | str, **options: Any) -> OpenAICompatibleGenerator:
    url = server if isinstance(server, str) else server.url
    return OpenAICompatibleGenerator(base_url=url, **{"model": "small", **options})


def expert(server: Misbehaving, **options: Any) -> OpenAICompatibleExpert:
    return OpenAICompatibleExpert(base_url=server.url, **{"model": "vectors", **options})


def requests(count: int = 1) -> list[Request]:
    return [Request(DOCUMENTS[n % 6].text, "", "question", n // 6) for n in range(count)]


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_a_request_holds_model_messages_seed_and_the_fields_of_the_config() -> None:
    with serving(bad.asking) as server:
        made = generator(server, body={"top_k": 3}, temperature=0.3, max_tokens=50, key_variable=VARIABLE)
        (text,) = made.generate(requests(), seed=1)
        generator(server).generate(requests(), seed=2)
    assert text.startswith("Where is w")
    first, second = server.seen
    assert first.path == "/v1/chat/completions"
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert {key: first.body[key] for key in ("model", "temperature", "max_tokens", "top_k")} == {
        "model": "small",
        "temperature": 0.3,
        "max_tokens": 50,
        "top_k": 3,
    }
    assert 0 <= first.body["seed"] < 2**31
    assert second.body["seed"] != first.body["seed"]
    assert "Authorization" not in second.headers


@pytest.mark.parametrize(
    ("answer", "language", "words"),
    [
        (
            "Sie können die Bestellung stornieren, wenn sie noch nicht versandt ist.",
            "de",
            "Schreibe eine natürliche Frage",
        ),
        ("订单发货之前可以取消。请在“我的订单”中选择取消。", "zh", "写一个可以由这段文本回答的自然的问题"),
        ("Orders can be cancelled until they are sent.", "en", "Write one natural question"),
        ("Les commandes peuvent être annulées avant l'envoi.", "en", "same language as the text"),
        ("注文は発送前ならキャンセルできます。", "en", "same language as the text"),
    ],
)
def test_instructions_follow_the_language_of_the_answer(answer: str, language: str, words: str) -> None:
    assert chat.language_of(answer) == language
    with serving(bad.asking) as server:
        generator(server).generate([Request(answer, "", "question")], seed=0)
        generator(server, language="de").generate([Request(answer, "", "question")], seed=0)
    sent = " ".join(message["content"] for message in server.seen[0].body["messages"])
    assert words in sent
    assert answer in sent
    assert "auf Deutsch" in server.seen[1].body["messages"][0]["content"]


@pytest.mark.parametrize("language", sorted(chat.WORDINGS))
def test_every_language_has_every_kind_and_attempts_differ(language: chat.Language) -> None:
    assert set(chat.WORDINGS[language].kinds) == set(KINDS)
    made = [
        chat.messages(Request("An {answer}.", "A {question}?", kind, attempt), language=language)[1]["content"]
        for kind in KINDS
        for attempt in range(6)
    ]
    assert len(set(made)) == len(made)
    assert all("An {answer}." in text for text in made)
    assert sum("A {question}?" in text for text in made) == 6


def test_rephrasing_needs_a_question() -> None:
    asked, unasked = (chat.messages(Request("Text.", text, "rephrase")) for text in ("Why?", ""))
    assert "Why?" in asked[1]["content"]
    assert "natural question" in unasked[1]["content"]
    assert unasked != chat.messages(Request("Text.", "", "question"))


def test_no_more_than_the_limit_are_under_way() -> None:
    with serving(bad.slow(0.03, bad.asking)) as server:
        texts = generator(server, concurrency=3).generate(requests(12), seed=0)
        assert server.busiest == 3
        assert texts == generator(server, concurrency=1).generate(requests(12), seed=0)


# --- retries ----------------------------------------------------------------------------------------------------------


# Seconds that only a server which is slow on purpose uses up, on a busy machine as well.
PATIENCE = 30.0


@pytest.mark.parametrize(
    ("first", "timeout"),
    [
        (bad.failing(429, Retry_After="0"), PATIENCE),
        (bad.failing(500), PATIENCE),
        (bad.failing(503), PATIENCE),
        (bad.slow(4.0, bad.asking), 1.5),
        (bad.dripping, 1.5),
        (bad.saying('{"model": "small", "choices": [{"mess'), PATIENCE),
        (bad.closing_in_the_middle, PATIENCE),
        (bad.saying(json.dumps({"error": {"message": "busy", "code": 503}})), PATIENCE),
    ],
    ids=["429", "500", "503", "slow", "dripping", "half a JSON", "closes", "error in 200"],
)
def test_what_may_pass_is_tried_again(first: bad.Reply, timeout: float) -> None:
    with serving(bad.asking, first) as server:
        (text,) = generator(server, timeout=timeout).generate(requests(), seed=0)
    assert text.startswith("Where is w")
    assert len(server.seen) == 2
    assert server.seen[0].body == server.seen[1].body


def test_retry_after_is_honoured_as_seconds_and_as_a_date() -> None:
    assert servers._seconds("2.5") == 2.5
    assert servers._seconds("Wed, 21 Oct 2015 07:28:00 GMT") < 0
    assert servers._seconds("soon") is None
    with serving(bad.asking, bad.failing(429, Retry_After="0.3")) as server:
        import time

        start = time.perf_counter()
        generator(server).generate(requests(), seed=0)
        assert time.perf_counter() - start >= 0.3


@pytest.mark.parametrize(
    ("reply", "tries", "words"),
    [
        (bad.failing(500, "exploded"), 3, "exploded (tried 3 times)"),
        (bad.failing(429, "quota", Retry_After="86400"), 1, "wait 86400 s"),
        (bad.failing(400, "bad field"), 1, "bad field"),
        (bad.failing(401, "who?"), 1, "key_variable"),
        (bad.failing(404, "no such model"), 1, "usually ending in /v1"),
        (bad.saying("<!DOCTYPE html><html>login</html>", kind="text/html"), 1, "web page"),
        (bad.saying("<html>gone</html>", status=502), 3, "status 502: a web page"),
        (bad.saying("[1, 2]"), 1, "a JSON list"),
        (bad.saying('{"half":'), 3, "not whole JSON"),
        (bad.saying('{"object": "list"}'), 1, "no list of choices"),
        (bad.slow(1.0, bad.asking), 3, "no answer within 0.2 s"),
        (bad.closing_in_the_middle, 3, "connection failed"),
        (bad.saying("", status=302, Location="http://127.0.0.1:1/"), 1, "status 302"),
    ],
)
def test_what_does_not_pass_is_one_clear_error(reply: bad.Reply, tries: int, words: str) -> None:
    with serving(reply) as server, pytest.raises(ServerError) as caught:
        generator(server, timeout=0.2 if "no answer" in words else PATIENCE, concurrency=1).generate(
            requests(3), seed=0
        )
    assert words in str(caught.value)
    assert server.url in str(caught.value)
    assert len(server.seen) == tries


def test_a_server_that_is_down_is_one_clear_error() -> None:
    with serving(bad.asking) as server:
        pass
    with pytest.raises(ServerError, match="connection failed"):
        generator(server).generate(requests(), seed=0)


# --- answers that are no questions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (bad.saying(json.dumps({"choices": []})), ""),
        (bad.saying(bad.completion(None, refusal="I cannot help with that.")), ""),
        (bad.saying(bad.completion("")), ""),
        (bad.saying(bad.completion("Where is it ke", reason="length")), ""),
        (bad.failing(400, "filtered", "content_filter"), ""),
        (bad.saying(bad.completion("<think>They want\nwhat?</think>\n\nWhere is it?")), "Where is it?"),
        (bad.saying(bad.completion("<think>They want")), ""),
    ],
    ids=["no choice", "refusal", "empty", "cut", "filtered", "thinking", "only thinking"],
)
def test_one_bad_answer_stops_nothing(reply: bad.Reply, text: str) -> None:
    with serving(bad.asking, reply) as server:
        texts = generator(server, concurrency=1).generate(requests(3), seed=0)
    assert texts[0] == text
    assert all(other.startswith("Where is w") for other in texts[1:])
    assert len(server.seen) == 3


@pytest.mark.parametrize("kind", ["question", "keyword", "indirect"])
@pytest.mark.parametrize("said", ["x" * 100_000, "word " * 20_000, "I'm sorry, I can't assist with that."])
def test_endless_answers_and_refusals_are_cleaned_away(said: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expertune.augment.plan.KINDS", (kind,))
    with serving(bad.asking, bad.saying(bad.completion(said))) as server:
        made = generator(server, concurrency=1)
        questions = augment(DATASET, section(per_answer=1), [made])
    assert len(server.seen) == 6
    assert sum(questions.removed.values()) == 1
    assert max(len(item.text) for item in questions.items) < 200


def test_another_models_name_is_told_once_for_texts(caplog: pytest.LogCaptureFixture) -> None:
    with serving(bad.saying(bad.completion("Where is it kept?", model="other"))) as server:
        generator(server).generate(requests(4), seed=0)
    assert [record.getMessage().count("'other' answers") for record in caplog.records] == [1]


@pytest.mark.parametrize(
    ("asked", "told", "same"),
    [
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4", "gpt-4.1", False),
        ("llama3.2", "llama3.2:latest", True),
        ("Qwen3-0.6B", "/models/qwen3-0.6b.gguf", True),
        ("small", "", True),
        ("small", None, True),
    ],
)
def test_names_of_models_are_compared_without_paths_and_dates(asked: str, told: Any, same: bool) -> None:
    server = servers.Server(servers.ServerOptions(base_url="http://localhost/v1", model=asked), plug_in="test")
    assert server.is_asked_model({"model": told}) is same


# --- nothing finished is lost -----------------------------------------------------------------------------------------


def sent(server: Misbehaving) -> list[str]:
    return [json.dumps(seen.body["messages"]) for seen in server.seen]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_server_that_dies_loses_nothing_and_no_call_is_paid_twice(tmp_path: Path, concurrency: int) -> None:
    cache = Store(tmp_path).items
    script = [bad.asking] * 7 + [bad.failing(500)] * 40
    with serving(bad.asking, *script) as server, pytest.raises(ServerError):
        augment(DATASET, section(), [generator(server, concurrency=concurrency)], cache=cache)
    served = sent(server)[:7]
    assert len(set(served)) == 7
    # The address is part of the identity, so the same server has to come back.
    with serving(bad.asking) as again:
        made = generator(server, concurrency=concurrency)
        made._server._url = again.url
        questions = augment(DATASET, section(), [made], cache=cache)
    assert not set(served) & set(sent(again))
    assert len(again.seen) == 24 - 7
    with serving(bad.asking) as whole:
        assert augment(DATASET, section(), [generator(whole)]).items == questions.items


def test_what_is_under_way_at_a_failure_is_kept(tmp_path: Path) -> None:
    cache = MemoryCache()
    script = [bad.slow(0.3, bad.asking), bad.slow(0.3, bad.asking), bad.failing(400)]
    with serving(bad.asking, *script) as server:
        made = generator(server, concurrency=3)
        with pytest.raises(ServerError, match="status 400"):
            augment(DATASET, section(), [made], cache=cache)
        refused = len(server.seen)
        augment(DATASET, section(), [made], cache=cache)
    assert refused <= 5
    assert len(server.seen) == 24 + 1


def test_an_interruption_keeps_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = iter([KeyboardInterrupt])

    def wait(futures: Any, **options: Any) -> Any:
        for interruption in waited:
            raise interruption
        return real(futures, **options)

    real = parallel.wait
    monkeypatch.setattr(parallel, "wait", wait)
    cache = MemoryCache()
    with serving(bad.slow(0.1, bad.asking)) as server:
        made = generator(server, concurrency=2)
        with pytest.raises(KeyboardInterrupt):
            augment(DATASET, section(), [made], cache=cache)
        assert 1 <= len(server.seen) <= 4
        augment(DATASET, section(), [made], cache=cache)
    assert len(server.seen) == 24


class Losing(StreamingGenerator):
    """Streams, but forgets a request, or answers one twice."""

    name = fingerprint = "losing"
    batch_size = 8

    def __init__(self, positions: Sequence[int]) -> None:
        self.positions = positions

    def stream(self, requests: Sequence[Request], *, seed: int) -> Any:
        yield from ((position, "Where is it?") for position in self.positions)


@pytest.mark.parametrize("positions", [[0, 1], [0, 1, 1], [0, 1, 2, 3, 4, 5, 6]])
def test_a_stream_must_answer_every_request_once(positions: list[int]) -> None:
    from expertune.errors import PluginError

    with pytest.raises(PluginError, match="for 6 requests"):
        augment(DATASET, section(per_answer=1), [Losing(positions)])


# --- tokens -------------------------------------------------------------------------------------------------------


def test_tokens_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "expertune"), serving(bad.asking) as server:
        made = augment(DATASET, section(), [generator(server)])
    assert "small: 24 answers of the server, 2,400 tokens read, 240 written" in caplog.text
    assert made.used == ("small: 24 answers of the server, 2,400 tokens read, 240 written",)


def test_what_was_used_is_told_when_the_run_fails_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "expertune")
    with serving(bad.failing(400), bad.asking) as server, pytest.raises(ServerError):
        augment(DATASET, section(), [generator(server, concurrency=1)])
    assert "small: 1 answers of the server, 100 tokens read" in caplog.text


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_vectors_come_in_the_order_of_the_texts_whatever_order_the_server_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAICompatibleExpert, "chunk", 3)
    texts = [f"text {n}" for n in range(7)]
    with serving(bad.embedding) as server:
        vectors = expert(server, query_prompt="query: ").embed(texts, is_query=True)
    expected = np.array([bad.vector(f"query: {text}") for text in texts])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert [len(seen.body["input"]) for seen in server.seen] == [3, 3, 1]
    assert {seen.path for seen in server.seen} == {"/v1/embeddings"}


def test_long_texts_are_cut_and_the_role_counts_only_with_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_compatible, "_MOST_CHARACTERS", 5)
    with serving(bad.embedding) as server:
        short = expert(server)
        assert short.symmetric
        assert not expert(server, document_prompt="passage: ").symmetric
        short.embed(["a long text"], is_query=False)
    assert server.seen[0].body["input"] == ["a lon"]


def rows(*rows: Any, model: str = "vectors") -> bad.Reply:
    return bad.saying(json.dumps({"model": model, "data": list(rows)}))


def row(index: Any, *values: Any) -> dict[str, Any]:
    return {"index": index, "embedding": list(values)}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (rows(row(0, 1.0)), "1 vectors came for 2 texts"),
        (rows(row(0, 1.0), row(0, 1.0)), "not numbered"),
        (rows(row(1, 1.0), row(2, 1.0)), "not numbered"),
        (rows(row([], 1.0), row(1, 1.0)), "not numbered"),
        (rows(row(0, 1.0, 2.0), row(1, 1.0)), "all of one length"),
        (rows(row(0, "a"), row(1, "b")), "lists of numbers"),
        (rows(row(0), row(1)), "lists of numbers"),
        (rows(row(0, 1.0, float("nan")), row(1, 1.0, 2.0)), "not finite"),
        (rows(row(0, 1.0, None), row(1, 1.0, 2.0)), "not finite"),
        (rows(row(0, 1e300), row(1, 1.0)), "not finite"),
        (rows(row(0, 1.0), row(1, 1.0), model="other"), "another model, 'other'"),
        (bad.saying('{"choices": []}'), "0 vectors came for 2 texts"),
    ],
)
def test_vectors_that_cannot_be_right_are_refused(reply: bad.Reply, words: str) -> None:
    with serving(reply) as server, pytest.raises(ServerError) as caught:
        expert(server).embed(["one", "two"], is_query=True)
    assert words in str(caught.value)


def test_vectors_of_a_dead_server_are_kept_request_by_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAICompatibleExpert, "chunk", 2)
    cache = MemoryCache()
    questions = Questions(DATASET.questions)
    with serving(bad.embedding, bad.embedding, bad.embedding, *[bad.failing(500)] * 3) as server:
        made = expert(server)
        with caplog.at_level(logging.INFO, "expertune"), pytest.raises(ServerError):
            score(DATASET, questions, [made], cache=cache)
        scores = score(DATASET, questions, [made], cache=cache)
    # One question and six documents: four requests of which two were answered before, one was tried three times.
    assert [len(seen.body["input"]) for seen in server.seen] == [1, 2, 2, 2, 2, 2, 2]
    left = np.array(bad.vector(DATASET.questions[0].text))
    right = np.array([bad.vector(document.text) for document in DOCUMENTS])
    expected = right @ left / np.linalg.norm(right, axis=1) / np.linalg.norm(left)
    np.testing.assert_allclose(scores.values[0, :, 0], expected, atol=1e-6)
    assert "vectors: 2 answers of the server, 21 tokens read" in caplog.text


# --- options ----------------------------------------------------------------------------------------------------------


def fingerprint(made: Any, **options: Any) -> str:
    return str(made(**{"base_url": "http://localhost/v1", "model": "small", **options}).fingerprint)


def test_what_decides_the_texts_is_in_the_fingerprint_and_nothing_else() -> None:
    decisive = [{"base_url": "http://other/v1"}, {"model": "b"}, {"temperature": 0.1}, {"max_tokens": 9}]
    decisive += [{"language": "de"}, {"body": {"top_k": 1}}]
    free = [{"key_variable": VARIABLE}, {"timeout": 1.0}, {"concurrency": 9}]
    prints = {fingerprint(OpenAICompatibleGenerator, **options) for options in decisive}
    same = {fingerprint(OpenAICompatibleGenerator, **options) for options in [{}, *free]}
    assert (len(prints - same), len(same)) == (len(decisive), 1)


def test_what_decides_the_vectors_is_in_the_fingerprint_and_nothing_else() -> None:
    decisive = [{"base_url": "http://other/v1"}, {"model": "b"}, {"query_prompt": "q"}, {"document_prompt": "d"}]
    decisive += [{"body": {"dimensions": 2}}]
    free = [{"key_variable": VARIABLE}, {"timeout": 1.0}]
    prints = {fingerprint(OpenAICompatibleExpert, **options) for options in decisive}
    same = {fingerprint(OpenAICompatibleExpert, **options) for options in [{}, *free]}
    assert (len(prints - same), len(same)) == (len(decisive), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "localhost:8000"}, "no http or https address"),
        ({"base_url": f"http://user:{KEY}@localhost/v1"}, "user, a query"),
        ({"base_url": f"http://localhost/v1?key={KEY}"}, "user, a query"),
        ({"base_url": "http://localhost:99999999/v1"}, "no http or https address"),
        ({"key_variable": KEY}, "upper case"),
        ({"key_variable": "EXPERTUNE_NO_SUCH_KEY"}, "EXPERTUNE_NO_SUCH_KEY is empty or not set"),
        ({"api_key": KEY}, "unknown option 'api_key'"),
        ({"model": ""}, "model"),
    ],
)
@pytest.mark.parametrize("plug_in", [OpenAICompatibleGenerator, OpenAICompatibleExpert])
def test_bad_options_are_told_and_never_repeat_what_may_be_a_key(
    plug_in: Any, options: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        plug_in(**{"base_url": "http://localhost/v1", "model": "small", **options})
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_missing_option_repeats_none_of_the_others() -> None:
    with pytest.raises(ConfigError, match="'base_url' is missing") as caught:
        OpenAICompatibleGenerator(model="small", api_key=KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("value", ["two\nlines", "with blank", "schlüssel", " "])
def test_a_key_that_no_header_can_hold_is_refused_unseen(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=VARIABLE) as caught:
        generator("http://localhost/v1", key_variable=VARIABLE)
    assert value.strip() == "" or value not in str(caught.value)


def test_the_config_makes_both_and_they_bear_the_models_name() -> None:
    options = {"base_url": "http://localhost:11434/v1", "model": "org/small"}
    spec = PluginSpec(use="openai_compatible", options=options)
    assert [made.name for made in load_generators([spec, spec], offline=True)] == ["small", "small-2"]
    assert [made.name for made in load_experts([spec], offline=True)] == ["small"]


# --- the key ----------------------------------------------------------------------------------------------------------


def spilled(text: str) -> bool:
    """Whether a piece of the key that says something about it is in a text."""
    pieces = {KEY[start : start + 12] for start in range(len(KEY) - 12)}
    return any(piece in text for piece in pieces)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_key_that_the_server_repeats_gets_no_further(
    status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    told = []
    with caplog.at_level(logging.DEBUG), serving(bad.repeating_the_key(status)) as server:
        writer = generator(server, key_variable=VARIABLE)
        judge = expert(server, key_variable=VARIABLE)
        assert not spilled(f"{writer!r}{vars(writer)!r}{vars(vars(writer)['_server'])!r}{writer.fingerprint}")
        for use in (
            lambda: augment(DATASET, section(), [writer], cache=store.items),
            lambda: score(DATASET, Questions(DATASET.questions), [judge], cache=store.items),
        ):
            try:
                told.append(repr(use()))
            except ServerError as error:
                told.append("".join(traceback.format_exception(error)))
        assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"
        assert not spilled(repr(vars(writer)["_server"].__dict__))
    assert any("[key]" in text for text in told)
    assert not [text for text in [*told, caplog.text, *capfd.readouterr()] if spilled(text)]
    with sqlite3.connect(store.root / "items.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if spilled(path.read_bytes().decode("latin-1"))]


def test_no_redirect_takes_the_key_elsewhere() -> None:
    with serving(bad.asking) as other:
        moved = bad.saying("", status=307, Location=f"{other.url}/chat/completions")
        with serving(moved) as server, pytest.raises(ServerError, match="307"):
            generator(server, key_variable=VARIABLE).generate(requests(), seed=0)
    assert other.seen == []
