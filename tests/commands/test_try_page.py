"""`expertune try`: what is shown, and that nobody but this machine can ask. Plain HTTP requests to a real server."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from sentence_transformers import SentenceTransformer

from expertune.commands.judge.thumbs import Thumbs
from expertune.commands.try_page.server import LONGEST, PageServer
from expertune.commands.try_page.side_by_side import SHOWN, SideBySide, side_by_side
from expertune.config import DataSection
from expertune.errors import ConfigError, DataError, ModelUnavailableError
from expertune.records import Document
from expertune.report.page import policy_hash
from expertune.train.trainer import assemble
from letter_encoder import DOCUMENTS, HOSTILE, ByLetter
from moved_model import moved
from small_shop import qa, write_files


@pytest.fixture(scope="module")
def models() -> SideBySide:
    return SideBySide(DOCUMENTS, ByLetter("base: <b>plain</b>"), ByLetter("tuned: model", turn=0.5))


@pytest.fixture(scope="module")
def server(models: SideBySide) -> Iterator[PageServer]:
    made = PageServer(models, 0)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join(timeout=10)


def thumb(server: PageServer, answer: str, question: str = "where is my money", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    own = {"Origin": server.url.rstrip("/"), **headers}
    connection.request("POST", "/thumb", urlencode({"q": question, "answer": answer}), own)
    answered = connection.getresponse()
    body = answered.read().decode()
    connection.close()
    return answered.status, answered.getheader("Location") or body


def get(server: PageServer, path: str = "/", *, method: str = "GET", host: str | None = None) -> tuple[int, dict, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode("utf-8")
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.style = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "style" and not self.style:
            self.style = data


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_answers_stand_best_first_with_the_rank_the_other_model_gives(models: SideBySide):
    answers = models.ask("we")
    assert [found.rank for found in answers.base] == list(range(1, SHOWN + 1))
    assert answers.base[0].document.text == "we ship today"
    assert answers.base[0].score == pytest.approx(1.0)
    assert not answers.agree
    scores = [found.score for found in answers.tuned]
    assert scores == sorted(scores, reverse=True)
    place = {found.document.id: found.rank for found in answers.base}
    assert all(found.other_rank == place[found.document.id] for found in answers.tuned if found.document.id in place)
    assert answers.tuned[0].document == Document("d1", HOSTILE)  # "<" is the letter nearest to half of "w"


def test_equal_scores_keep_the_order_of_the_corpus(models: SideBySide):
    fillers = [found.document.id for found in models.ask("filler").base]
    assert fillers == [f"d{number}" for number in range(3, 3 + SHOWN)]


def test_a_corpus_smaller_than_the_list_is_shown_whole():
    few = SideBySide(DOCUMENTS[:2], ByLetter("base"), ByLetter("tuned"))
    assert len(few.ask("you").base) == 2
    assert few.ask("you").agree


# --- over HTTP -------------------------------------------------------------------------------------------------------


def test_the_page_shows_both_models_and_their_scores(server: PageServer):
    status, _, body = get(server, "/?q=we%20ship")
    assert status == 200
    assert re.search(r"we ship today</p>.*?score <b>1\.000</b>", body, re.S)
    assert body.count('class="found"') == 2 * SHOWN
    assert "They put different answers first." in body
    assert re.search(r"up from \d+", body)


def test_a_script_tag_is_shown_and_not_run(server: PageServer):
    _, _, body = get(server, f"/?q={quote(HOSTILE)}")
    tags = Tags(body).tags
    assert "script" not in tags
    assert "b" in tags  # ours, so the parser does see elements
    assert body.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4  # title, field, and an answer on both sides
    assert "base: &lt;b&gt;plain&lt;/b&gt;" in body
    assert 'value="&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quotes&#34; &#39;too&#39;"' in body


@pytest.mark.parametrize("path", ["/", "/?q=we", "/nothing", f"/?q={'x' * (LONGEST + 1)}"])
def test_every_answer_has_the_headers(server: PageServer, path: str):
    _, headers, body = get(server, path)
    policy = headers["content-security-policy"]
    for part in ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert headers["server"].strip() == "expertune"
    if 'class="ask"' in body:
        assert policy_hash(Tags(body).style) in policy


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "[::1]:{port}"]
)
def test_a_wrong_host_is_refused(server: PageServer, host: str):
    status, headers, body = get(server, "/?q=we", host=host.format(port=server.server_port))
    assert status == 403
    assert "we ship today" not in body
    assert "content-security-policy" in headers


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}"])
def test_this_machine_is_answered(server: PageServer, host: str):
    assert get(server, "/?q=we", host=host.format(port=server.server_port))[0] == 200


def raw(server: PageServer, request: str) -> str:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(request.encode())
        return connection.makefile("rb").read().decode()


def test_no_host_and_two_hosts_are_refused(server: PageServer):
    own = f"Host: 127.0.0.1:{server.server_port}\r\n"
    assert raw(server, "GET / HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 403")
    assert raw(server, f"GET / HTTP/1.0\r\n{own}{own}\r\n").startswith("HTTP/1.0 403")
    assert raw(server, f"GET / HTTP/1.0\r\n{own}\r\n").startswith("HTTP/1.0 200")


def test_what_is_not_the_page_is_refused(server: PageServer):
    assert get(server, "/../../etc/passwd")[0] == 404
    assert get(server, "/try.css")[0] == 404
    assert get(server, "/", method="POST")[0] == 403
    assert get(server, "/", method="PUT")[0] == 501
    status, _, body = get(server, f"/?q={'x' * (LONGEST + 1)}")
    assert status == 400
    assert str(LONGEST) in body


def test_head_gives_the_headers_alone(server: PageServer):
    status, headers, body = get(server, "/?q=we", method="HEAD")
    assert (status, body) == (200, "")
    assert int(headers["content-length"]) > 1000


@pytest.mark.parametrize("question", ["", "   ", "%20%09"])
def test_nothing_is_asked_without_words(server: PageServer, question: str):
    status, _, body = get(server, f"/?q={quote(question, safe='%')}")
    assert status == 200
    assert 'class="found"' not in body
    assert "23 answers" in body


def test_bytes_that_are_no_text_do_no_harm(server: PageServer):
    assert get(server, "/?q=%ff%fe%00%ed%a0%80")[0] == 200


def test_it_listens_on_loopback_only(server: PageServer):
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_in_use_is_an_error_with_a_hint(server: PageServer, models: SideBySide):
    with pytest.raises(ConfigError, match="cannot be had") as caught:
        PageServer(models, server.server_port)
    assert "0 for any" in str(caught.value)


def test_many_can_ask_at_once(server: PageServer):
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(get(server, "/?q=we")[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert found == [200] * 8


# --- thumbs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def thumbed(models: SideBySide, tmp_path: Path) -> Iterator[PageServer]:
    section = DataSection(path=str(write_files(tmp_path, {"qa.jsonl": qa()})))
    made = PageServer(models, 0, Thumbs(section, "anna"))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join(timeout=10)


def test_a_thumb_up_writes_a_judgement_and_the_page_shows_it(thumbed: PageServer, tmp_path: Path):
    status, target = thumb(thumbed, "d2")
    assert (status, target) == (303, "/?q=where+is+my+money")
    (query,) = (json.loads(line) for line in (tmp_path / "queries.jsonl").read_text().splitlines())
    assert query["text"] == "where is my money"
    assert (tmp_path / "qrels/test.tsv").read_text().splitlines()[1:] == [f"{query['_id']}\td2\t1"]
    body = get(thumbed, target)[2]
    assert 'aria-pressed="true"' in body
    assert thumb(thumbed, "d2")[0] == 303
    assert not (tmp_path / "queries.jsonl").exists()


def test_thumbs_of_other_pages_and_on_what_is_trained_on_are_refused(
    thumbed: PageServer, server: PageServer, tmp_path: Path
):
    assert thumb(thumbed, "d2", Origin="http://evil.example")[0] == 403
    assert thumb(thumbed, "nothing")[0] == 400
    assert thumb(thumbed, "d2", question=" ")[0] == 400
    assert thumb(thumbed, "d2", question="Can I return an item?")[0] == 409
    assert thumb(server, "d2")[0] == 400  # it was not told where to keep them
    body = get(thumbed, "/?q=can%20i%20return%20an%20item")[2]
    assert "trained on" in body
    assert 'class="thumb"' not in body
    assert not (tmp_path / "judgements.jsonl").exists()


# --- models and corpora ----------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = [{"_id": f"a{n}", "title": "", "text": text} for n, text in enumerate(["return an item", "pay by card"])]
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_a_model_that_is_not_there_is_what_is_said_first(corpus: Path):
    with pytest.raises(ModelUnavailableError, match="nosuchmodel") as caught:
        side_by_side("nosuchmodel", corpus)
    assert "--base" not in str(caught.value)


def test_the_base_comes_from_the_config_beside_the_model(tiny_model: Path, corpus: Path):
    with pytest.raises(ModelUnavailableError, match="no base is named") as caught:
        side_by_side(str(tiny_model), corpus)
    assert "--base" in str(caught.value)
    run = corpus.parent
    (run / "model").symlink_to(tiny_model)
    (run / "config.toml").write_text(f'[train]\nbase = "{tiny_model}"\n', encoding="utf-8")
    pair = side_by_side(str(run / "model"), corpus)
    assert pair.names == ("base: model", "tuned: model")
    assert pair.ask("return").agree


def test_a_run_knows_its_answers_and_their_columns(tiny_model: Path, tmp_path: Path):
    rows = "frage,antwort\nwie,return an item\nwann,pay by card\n"
    (tmp_path / "faq.csv").write_text(rows, encoding="utf-8")
    run = tmp_path / "run"
    run.mkdir()
    columns = 'question_column = "frage"\nanswer_column = "antwort"\n'
    section = f'[train]\nbase = "{tiny_model}"\n[data]\npath = "../faq.csv"\n{columns}'
    (run / "config.toml").write_text(section, encoding="utf-8")
    (run / "model").symlink_to(tiny_model)
    pair = side_by_side(str(run))
    assert [document.text for document in pair.documents] == ["return an item", "pay by card"]


def test_a_model_alone_needs_its_answers_named(tiny_model: Path):
    with pytest.raises(DataError, match="no answers are named") as caught:
        side_by_side(str(tiny_model), base=str(tiny_model))
    assert "--corpus" in str(caught.value)


@pytest.mark.parametrize(("separate", "same"), [(False, True), (True, False)])
def test_the_files_say_what_documents_are_encoded_with(tiny_model: Path, corpus: Path, separate: bool, same: bool):
    run = corpus.parent
    # The config's mode is query, but where selection weighs modes, one encoder may have been chosen for both sides.
    (run / "config.toml").write_text(f'[train]\nbase = "{tiny_model}"\nmode = "query"\n', encoding="utf-8")
    base = SentenceTransformer(str(tiny_model), device="cpu")
    assemble(moved(tiny_model, "everything"), base if separate else None, run / "model")
    first = side_by_side(str(run / "model"), corpus).ask("pay by card").tuned[0]
    assert (first.document.text == "pay by card" and round(first.score, 4) == 1.0) is same


def test_questions_and_answers_serve_as_a_corpus_held_out_rows_included(tiny_model: Path, tmp_path: Path):
    file = tmp_path / "faq.csv"
    file.write_text("question,answer,split\nhow,return an item,\nwhen,pay by card,heldout\n", encoding="utf-8")
    pair = side_by_side(str(tiny_model), file, base=str(tiny_model))
    assert [document.text for document in pair.documents] == ["return an item", "pay by card"]
    with pytest.raises(DataError, match="no such file"):
        side_by_side(str(tiny_model), tmp_path / "nothing.jsonl", base=str(tiny_model))


def test_the_command_serves_until_it_is_interrupted(tiny_model: Path, corpus: Path):
    started = [sys.executable, "-c", "from expertune.commands.cli import main; main()", "try", str(tiny_model)]
    command = [*started, "--corpus", str(corpus), "--base", str(tiny_model), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    line = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
    assert address, line
    connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=20)
    connection.request("GET", "/?q=pay")
    body = connection.getresponse().read().decode()
    connection.close()
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert "pay by card" in body
