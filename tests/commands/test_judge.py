"""`expertune judge`: what is kept of a judgement, which question comes next, and that a run reads it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from urllib.parse import urlencode

import pytest

from expertune import data
from expertune.commands.judge.ledger import Entry, Ledger
from expertune.commands.judge.page import JudgePage
from expertune.commands.judge.session import OVERLAP, Session, population, said
from expertune.commands.judge.thumbs import Thumbs
from expertune.commands.local_page import LocalServer
from expertune.config import DataSection
from expertune.data.leakage import HeldOut
from expertune.errors import DataError
from expertune.evaluate.stage import measure
from judged_shop import ANSWERS, LOG, first_answers, session, shop
from letter_encoder import ByLetter
from small_shop import FILES, qa, write_files


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def entry(question: str, *right: str, judge: str = "anna", **rest: object) -> Entry:
    text = {document.id: document.text for document in ANSWERS}
    return Entry(question, judge, right={name: text[name] for name in right}, shown=("cost", "refund"), **rest)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_a_judgement_is_a_query_and_a_line_of_qrels(tmp_path: Path):
    ledger = Ledger(shop(tmp_path))
    ledger.record(entry("where is my money", "refund", drawing=1, place=1, chance=0.1, next_key=2.0))
    (query,) = map(json.loads, lines(tmp_path / "queries.jsonl"))
    assert query == {"_id": query["_id"], "text": "where is my money", "weight": 1.0}
    assert lines(tmp_path / "qrels/test.tsv") == ["query-id\tcorpus-id\tscore", f"{query['_id']}\trefund\t1"]
    assert Ledger(tmp_path).entries == ledger.entries
    (judged, _general) = data.Files(DataSection(path=str(tmp_path))).judged
    assert judged.qrels == {query["_id"]: {"refund": 1}}


def test_what_no_answer_fits_is_kept_apart_and_held_out(tmp_path: Path):
    Ledger(shop(tmp_path)).record(entry("is there a shop in leeds", drawing=1, place=1, chance=0.1, next_key=2.0))
    (kept,) = map(json.loads, lines(tmp_path / "unanswered.jsonl"))
    assert kept["text"] == "is there a shop in leeds"
    assert not (tmp_path / "queries.jsonl").exists()
    files = data.Files(DataSection(path=str(tmp_path)))
    assert files.held_out.repeated_by(["Is there a shop in Leeds?", "parcel lost"]) == (True, False)
    assert [query.text for query in files.unanswered] == ["is there a shop in leeds"]


def test_judged_questions_leave_the_log_of_a_run(tmp_path: Path):
    Ledger(shop(tmp_path)).record(entry("where is my money", "refund"))
    held_out = data.load(DataSection(path=str(tmp_path))).held_out
    assert held_out.repeated_by(["Where is my money?", "is my money where", "parcel lost"]) == (True, True, False)


def test_the_users_own_lines_stay_byte_for_byte(tmp_path: Path):
    write_files(tmp_path, FILES)
    for name in ("queries.jsonl", "qrels/test.tsv"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"\n", b"\r\n").rstrip())
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    ledger = Ledger(tmp_path)
    ledger.record(entry("where is my money", "refund"))
    for name in ("queries.jsonl", "qrels/test.tsv"):
        after = (tmp_path / name).read_bytes()
        assert after.startswith(before[name] + b"\n")
        assert after.count(b"\n") == before[name].count(b"\n") + 2
    assert {item.split for item in data.load(DataSection(path=str(tmp_path))).judged} >= {"test"}
    ledger.forget(ledger.entries[0])
    for name in ("queries.jsonl", "qrels/test.tsv"):
        assert (tmp_path / name).read_bytes().rstrip() == before[name]
    assert (tmp_path / "judgements.jsonl").read_text() == ""


def test_a_judgement_taken_back_leaves_nothing(tmp_path: Path):
    ledger = Ledger(shop(tmp_path))
    ledger.record(entry("where is my money", "refund"))
    ledger.record(entry("is there a shop in leeds"))
    for _ in range(2):
        ledger.forget(ledger.entries[-1])
    assert not (tmp_path / "queries.jsonl").exists()
    assert not (tmp_path / "qrels/test.tsv").exists()
    assert not (tmp_path / "unanswered.jsonl").exists()


def test_a_table_has_its_judgements_in_a_folder_beside_it(tmp_path: Path):
    table = tmp_path / "faq.csv"
    table.write_text("question,answer\nHow much?,It is free.\nWhen?,In May.\nWhere?,In Leeds.\n", encoding="utf-8")
    ledger = Ledger(table)
    assert ledger.folder == tmp_path / "faq.judged"
    ledger.record(Entry("what does it cost", "anna", right={"a1": "It is free."}))
    files = data.Files(DataSection(path=str(table)))
    assert next((item.name, len(item.queries)) for item in files.judged) == ("faq/test", 1)
    assert len(files.train.questions) == 3
    # A row above moves every number: the judgement follows its answer.
    table.write_text("question,answer\nWho?,We do.\nHow much?,It is free.\nWhen?,In May.\n", encoding="utf-8")
    documents = tuple(data.Files(DataSection(path=str(table))).side.corpus.documents.values())
    (told,) = Ledger(table).repair(documents, numbered=True)
    assert "another id" in told
    assert lines(tmp_path / "faq.judged/qrels/test.tsv")[1].split("\t")[1] == "a2"
    table.write_text("question,answer\nWho?,We do.\nWhen?,In May.\n", encoding="utf-8")
    documents = tuple(data.Files(DataSection(path=str(table))).side.corpus.documents.values())
    (told,) = Ledger(table).repair(documents, numbered=True)
    assert "asked again" in told
    assert not (tmp_path / "faq.judged/qrels/test.tsv").exists()


def test_the_sidecar_and_the_unanswered_are_no_tables(tmp_path: Path):
    (tmp_path / "faq.csv").write_text("question,answer\nHow much?,It is free.\nWhen?,In May.\n", encoding="utf-8")
    ledger = Ledger(tmp_path)
    ledger.record(Entry("what does it cost", "anna", right={"a1": "It is free."}))
    ledger.record(Entry("is there a shop in leeds", "anna"))
    assert len(data.load(DataSection(path=str(tmp_path))).held_out.wording) == 2


def test_files_that_a_killed_session_left_behind_are_mended(tmp_path: Path):
    ledger = Ledger(shop(tmp_path))
    ledger.record(entry("where is my money", "refund"))
    ledger.record(entry("is there a shop in leeds"))
    whole = {name: (tmp_path / name).read_text() for name in ("queries.jsonl", "qrels/test.tsv", "unanswered.jsonl")}
    for name in whole:
        (tmp_path / name).unlink()
    (tmp_path / ".queries.jsonl.4711").write_text('{"_id": "judg')
    Ledger(tmp_path).repair(ANSWERS, numbered=False)
    assert {name: (tmp_path / name).read_text() for name in whole} == whole


@pytest.mark.parametrize("line", ["{", "[]", '{"question": 1}', '{"judge": "a"}', "null"])
def test_a_broken_sidecar_is_an_error_with_its_line(tmp_path: Path, line: str):
    Ledger(shop(tmp_path)).record(entry("where is my money", "refund"))
    with (tmp_path / "judgements.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"judgements\.jsonl:2"):
        Ledger(tmp_path)


def test_what_cannot_hold_judgements_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no folder or file of this machine"):
        Ledger(Path("owner/name"))
    write_files(tmp_path, FILES)
    (tmp_path / "queries.jsonl").write_text(json.dumps([{"_id": "t-cost", "text": "cost"}]))
    with pytest.raises(DataError, match="array"):
        Ledger(tmp_path).record(entry("where is my money", "refund"))


# --- several judges --------------------------------------------------------------------------------------------------


def test_an_answer_is_right_that_half_of_the_judges_name(tmp_path: Path):
    ledger = Ledger(shop(tmp_path))
    for judge, right in (("anna", ["refund"]), ("ben", ["refund", "cost"]), ("carl", [])):
        ledger.record(entry("where is my money", *right, judge=judge))
    (question,) = ledger.questions()
    assert question.right == ("refund",)
    assert len(lines(tmp_path / "queries.jsonl")) == 1


def test_kappa_by_hand(tmp_path: Path):
    ledger = Ledger(shop(tmp_path))
    assert ledger.kappa()[1] == 0
    for judge, first, second in (("anna", ["cost"], ["refund"]), ("ben", ["cost"], ["cost"])):
        ledger.record(entry("one", *first, judge=judge))
        ledger.record(entry("two", *second, judge=judge))
    # Four answers were shown; they say the same of two, and each calls half of them right: (0.5 - 0.5) / (1 - 0.5).
    assert ledger.kappa() == (pytest.approx(0.0), 2)
    ledger.record(entry("two", "refund", judge="ben"))
    assert ledger.kappa() == (pytest.approx(1.0), 2)


def test_two_people_can_write_at_once(tmp_path: Path):
    shop(tmp_path)
    ledgers = [Ledger(tmp_path) for _ in range(4)]

    def judge(number: int) -> None:
        for turn in range(5):
            ledgers[number].record(entry(f"question {number} {turn}", "cost", judge=f"judge {number}"))

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(tmp_path / "queries.jsonl")) == len(lines(tmp_path / "judgements.jsonl")) == 20


# --- which question comes next ---------------------------------------------------------------------------------------


def judged(session: Session, number: int) -> list[str]:
    """Judge the next questions, the first shown answer of the shop as the right one, and return their texts."""
    texts = []
    for _ in range(number):
        shown = session.next()
        assert shown is not None
        texts.append(shown.text)
        session.judged(shown.id, [next(answer.id for answer in shown.answers if answer.id != "odd")])
    return texts


def test_going_on_later_asks_what_is_left_in_the_same_order(tmp_path: Path):
    shop(tmp_path)
    whole = judged(session(tmp_path), len(LOG))
    assert sorted(whole) == sorted(LOG)
    other = tmp_path / "other"
    parts = [text for _ in range(4) for text in judged(session(shop(other)), len(LOG) // 4)]
    assert parts == whole[: len(parts)]
    assert session(tmp_path).next() is None


def test_undo_brings_the_question_back_and_skip_does_not(tmp_path: Path):
    one = session(shop(tmp_path))
    first = judged(one, 1)
    one.undo()
    assert judged(one, 1) == first
    skipped = one.next()
    assert skipped is not None
    one.judged(skipped.id, (), skipped=True)
    assert skipped.text not in judged(one, len(LOG) - 2)
    assert one.progress().judged == len(LOG) - 1
    assert len(lines(tmp_path / "queries.jsonl")) == len(LOG) - 1


def test_a_second_judge_is_asked_some_questions_of_the_first_one(tmp_path: Path):
    anna = judged(session(shop(tmp_path)), OVERLAP + 3)
    ben = judged(session(tmp_path, "ben"), OVERLAP + 2)
    assert ben[:OVERLAP] == anna[:OVERLAP]
    assert not set(ben[OVERLAP:]) & set(anna)
    progress = session(tmp_path, "ben").progress()
    assert (progress.judged, progress.shared, progress.kappa) == (OVERLAP + 5, OVERLAP, pytest.approx(1.0))
    assert any("Cohen's kappa 1.00" in line for line in said(progress, None))


def test_another_model_begins_another_drawing(tmp_path: Path):
    judged(session(shop(tmp_path), tuned=False), 8)
    judged(session(tmp_path), 4)
    judged(session(tmp_path), 4)
    entries = Ledger(tmp_path).entries
    assert [item.drawing for item in entries] == [1] * 8 + [2] * 8
    assert [item.place for item in entries] == [*range(1, 9), *range(1, 9)]
    assert len({item.id for item in entries}) == 16


def test_pooled_answers_are_the_first_of_every_model_and_the_order_tells_nothing(tmp_path: Path):
    one = session(shop(tmp_path))
    firsts = first_answers()
    places = []
    for row, text in enumerate(LOG):
        shown = one.shown(Entry(text, "anna").id)
        names = [document.id for document in shown.answers]
        assert {ANSWERS[top[row, 0]].id for top in firsts.tops.values()} <= set(names)
        assert len(names) == len(set(names)) == 6
        places.append(names.index(ANSWERS[firsts.tops["base"][row, 0]].id))
    assert len(set(places)) > 3


def test_labelled_and_held_out_questions_are_not_asked_but_what_was_judged_here_stays(tmp_path: Path):
    ledger = Ledger(shop(tmp_path))
    ledger.record(entry("parcel lost", "track"))
    held_out = HeldOut.of(["parcel lost", "forgot the password"])
    left = population([*LOG, "parcel lost"], ledger, held_out, ["Can I pay with a cheque?"])
    assert set(LOG) - set(left) == {"forgot the password", "can i pay with a cheque"}
    assert len(left) == len(LOG) - 2


def test_it_says_how_many_more_are_needed_and_then_enough(tmp_path: Path):
    one = session(shop(tmp_path))
    before = one.progress()
    assert before.judged == 0
    assert isnan(before.detectable)
    assert before.more > 0
    assert one.estimate() is None
    judged(one, len(LOG))
    after = one.progress()
    assert after.detectable > 0.03
    assert after.more > after.left == 0
    assert f"{100 * after.detectable:.1f} points would be shown" in said(after, None)[2]
    assert "this log has 0 left" in said(after, None)[1]
    assert one.estimate() is not None
    alike = first_answers()
    alike.tops["tuned"] = alike.tops["base"]
    same = Session(Ledger(tmp_path), LOG, alike, "anna").progress()
    assert same.enough
    assert said(same, None)[1].startswith("Enough")


def test_the_run_weighs_what_was_drawn(tmp_path: Path):
    judged(session(shop(tmp_path)), 10)
    (own, _general) = data.Files(DataSection(path=str(tmp_path))).judged
    measured = measure(ByLetter("base"), own, "base")
    by_id = {item.id: item.weight for item in Ledger(tmp_path).questions()}
    assert measured.weights == tuple(pytest.approx(by_id[name], abs=1e-5) for name in measured.query_ids)
    assert len(set(measured.weights)) > 1
    assert measured.clusters == measured.query_ids  # a random draw: each stands for itself
    values = measured.values["ndcg@10"]
    expected = sum(w * v for w, v in zip(measured.weights, values, strict=True)) / sum(measured.weights)
    assert measured.mean("ndcg@10") == pytest.approx(expected)


# --- thumbs ----------------------------------------------------------------------------------------------------------


def test_a_thumb_writes_the_same_files_and_turns_back(tmp_path: Path):
    thumbs = Thumbs(DataSection(path=str(shop(tmp_path))), "anna")
    thumbs.turn("where is my money", ANSWERS[2])
    assert thumbs.right("Where is my money?") == (ANSWERS[2].id,)
    (query,) = map(json.loads, lines(tmp_path / "queries.jsonl"))
    assert "weight" not in query  # nobody drew it
    thumbs.turn("where is my money", ANSWERS[0])
    assert len(lines(tmp_path / "qrels/test.tsv")) == 3
    for document in (ANSWERS[2], ANSWERS[0]):
        thumbs.turn("where is my money", document)
    assert not (tmp_path / "queries.jsonl").exists()


def test_a_question_that_is_trained_on_gets_no_thumb(tmp_path: Path):
    thumbs = Thumbs(DataSection(path=str(shop(tmp_path))), "anna")
    assert thumbs.refused("how much is shipping")
    with pytest.raises(DataError, match="trained on"):
        thumbs.turn("how much is shipping", ANSWERS[0])
    assert not thumbs.refused("where is my money")


# --- over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    made = LocalServer(JudgePage(session(shop(tmp_path))), 0)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join(timeout=10)


def ask(
    port: int, method: str = "GET", path: str = "/", form: dict | None = None, **headers: str
) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    own = {"Origin": f"http://127.0.0.1:{port}"} if method == "POST" else {}
    body = urlencode(form or {}, doseq=True) if method == "POST" else None
    connection.request(method, path, body, {**own, **headers})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Location") or "", text


def asked(page: str) -> tuple[str, list[str]]:
    """Return the id of the question on a page and the ids of the shown answers."""
    question = re.search(r'name="question" value="([^"]+)"', page)
    assert question, page
    return question[1], re.findall(r'name="right" value="([^"]+)"', page)


def test_a_form_judges_and_leads_to_the_next_question(server: LocalServer, tmp_path: Path):
    question, shown = asked(ask(server.server_port)[2])
    form = {"question": question, "right": shown[:2], "do": "right"}
    assert ask(server.server_port, "POST", "/judge", form)[:2] == (303, "/")
    following, _ = asked(ask(server.server_port)[2])
    assert following != question
    assert len(lines(tmp_path / "qrels/test.tsv")) == 3
    assert ask(server.server_port, "POST", "/judge", form)[0] == 303  # sent twice, kept once
    assert len(lines(tmp_path / "judgements.jsonl")) == 1
    assert ask(server.server_port, "POST", "/judge", {"question": following, "do": "right"})[1] == "/?nothing="
    assert ask(server.server_port, "POST", "/judge", {"do": "undo"})[0] == 303
    assert asked(ask(server.server_port)[2])[0] == question


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Content-Length": "99999999"}, 413),
    ],
)
def test_forms_of_other_pages_are_refused(server: LocalServer, tmp_path: Path, headers: dict[str, str], status: int):
    question, shown = asked(ask(server.server_port)[2])
    form = {"question": question, "right": shown[:1], "do": "right"}
    assert ask(server.server_port, "POST", "/judge", form, **headers)[0] == status
    assert not (tmp_path / "judgements.jsonl").exists()


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/", {"do": "undo"}, 404),
        ("/judge", {"do": "format"}, 400),
        ("/judge", {"do": "none", "question": "judged-0"}, 400),
        ("/judge", {"do": "right", "right": ["../x"], "question": "{question}"}, 400),
        ("/judge", {str(number): "x" for number in range(1001)}, 400),
    ],
)
def test_nonsense_is_refused_and_nothing_kept(server: LocalServer, tmp_path: Path, path: str, form: dict, status: int):
    question, _ = asked(ask(server.server_port)[2])
    form = {name: question if value == "{question}" else value for name, value in form.items()}
    assert ask(server.server_port, "POST", path, form)[0] == status
    assert not (tmp_path / "judgements.jsonl").exists()


def test_texts_are_escaped_and_no_model_is_named(server: LocalServer):
    for _ in range(len(LOG)):
        _, _, page = ask(server.server_port)
        question, shown = asked(page)
        assert page.count("<script>") == 1
        listed = page.partition("<h1")[2].partition("</ol>")[0]
        assert not any(name in listed for name in ("expert", "base", "tuned"))
        ask(server.server_port, "POST", "/judge", {"question": question, "right": shown[:1], "do": "right"})
    assert "last question" in ask(server.server_port)[2]


def test_a_search_keeps_what_was_ticked(server: LocalServer):
    question, shown = asked(ask(server.server_port)[2])
    query = urlencode({"question": question, "right": shown[0], "find": "password"})
    page = ask(server.server_port, path=f"/?{query}")[2]
    found = asked(page)[1]
    assert found[:2] == list(dict.fromkeys([shown[0], "password"]))[:2]
    assert len(re.findall("checked>", page)) == 1


# --- the command -----------------------------------------------------------------------------------------------------


def started(folder: Path, model: Path, *rest: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", "from expertune.commands.cli import main; main()", "judge", "--data", str(folder)]
    options = ["--log", str(folder / "log.txt"), "--port", "0", "--judge", "anna", "--store", str(folder / "store")]
    sets = ["--set", f"train.base={model}", "--set", 'score.experts=["bm25"]', "--set", "run.threads=1"]
    process = subprocess.Popen([*command, *options, *sets, *rest], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if address := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            return process, int(address[1])
    raise AssertionError(process.wait())


@pytest.mark.slow
def test_killed_in_the_middle_nothing_is_lost(tiny_model: Path, tmp_path: Path):
    shop(tmp_path)
    (tmp_path / "log.txt").write_text("".join(f"{text}\n" for text in LOG[:5]), encoding="utf-8")
    process, port = started(tmp_path, tiny_model)
    questions = []
    for _ in range(3):
        question, shown = asked(ask(port)[2])
        questions.append(question)
        ask(port, "POST", "/judge", {"question": question, "right": shown[:1], "do": "right"})
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert [json.loads(line)["_id"] for line in lines(tmp_path / "queries.jsonl")] == questions
    process, port = started(tmp_path, tiny_model)
    question, _ = asked(ask(port)[2])
    assert question not in questions
    ask(port, "POST", "/judge", {"question": question, "do": "none"})
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "4 question(s) judged, 1 of them without an answer that fits." in out
    assert [item.drawing for item in Ledger(tmp_path).entries] == [1] * 4


def test_without_a_log_it_says_what_to_name(tmp_path: Path):
    from typer.testing import CliRunner

    from expertune.commands.cli import app

    write_files(tmp_path, {"qa.jsonl": qa()})
    result = CliRunner().invoke(app, ["judge", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "--log" in result.output
