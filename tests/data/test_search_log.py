from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expertune.config import DataSection
from expertune.data import Files
from expertune.data.leakage import HeldOut
from expertune.data.log_choice import LEFT_OUT, NOT_DRAWN, choose, pool
from expertune.data.log_cleaning import Vocabulary, clean, mask, tidy, vocabulary
from expertune.data.search_log import JOINED, LogQuestion, SearchLog, read_log
from expertune.data.wording import normalise
from expertune.errors import DataError

ENGLISH = vocabulary(["Send it back within 45 days.", "Our opening hours are 9 to 5."])


def write(folder, text, name="log.txt"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rule(line, known=ENGLISH):
    return clean(line, known)[1]


# --- cleaning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("   ", "empty"),
        ("???", "empty"),
        ("\u200b\x07", "empty"),
        ("🙂🙂", "empty"),
        ("12345", "numbers only"),
        ("#204 518", "numbers only"),
        ("07700 900123", "numbers only"),
        ("LF-204518", "numbers only"),
        ("£20", "numbers only"),
        ("word " * 61, "pasted text"),
        ("x" * 601, "pasted text"),
        ("IMG_2034.JPG", "file name"),
        ("returns-label.pdf", "file name"),
        (r"C:\Users\me\my file.txt", "file name"),
        ("/var/log/syslog", "file name"),
        ("jo.barlow@example.com", "contact or link"),
        ("email jo.barlow@example.com", "contact or link"),
        ("https://example.com/a?b=c", "contact or link"),
        ("example.com/track", "contact or link"),
        ("tel +44 7700 900123", "contact or link"),
        ("где мой заказ", "other script"),
        ("退货怎么办", "other script"),
        ("πού είναι order", "other script"),
        ("Hi", "greeting"),
        ("Good morning!", "greeting"),
        ("hello is anyone there?", "greeting"),
        ("Thank you so much", "greeting"),
        ("test", "one-word noise"),
        ("OK.", "one-word noise"),
        ("help", "one-word noise"),
        ("x", "one-word noise"),
        ("asdf", "keyboard noise"),
        ("asdfasdf", "keyboard noise"),
        ("lkjh", "keyboard noise"),
        ("qwertz", "keyboard noise"),
        ("aaaaaaa", "keyboard noise"),
        ("sdkfjh asdf", "keyboard noise"),
    ],
)
def test_what_is_no_question_goes_under_the_name_of_its_rule(line, expected):
    assert clean(line, ENGLISH) == ("", expected)


@pytest.mark.parametrize(
    "line",
    [
        "refund",
        "opening hours",
        "EMI",
        "0% EMI",
        "2fa",
        "covid19",
        "H1N1",
        "iphone 12",
        "café",
        "wert",
        "tree",
        "property",
        "why was I charged 100000",
        "hello, where is my parcel",
        "thanks but where is my refund",
        "help with returns",
        "test results",
        "node.js",
        "asp.net",
        "how do I open invoice.pdf",
        "and/or",
        "rhythm",
        "GPS",
        "ÖBB Fahrplan",
        "does it work with Win10.0.19041?",
        "from 2020-03-15 to 2020-04-01",
        "flights 2019-2020",
        "is £1,000,000 covered",
        "% off {name} {0} %s {{ user }}",
    ],
)
def test_what_somebody_asks_stays_as_it_is(line):
    assert clean(line, ENGLISH) == (line, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("change my email jo@example.com to another one", "change my email [email] to another one"),
        ("the page https://a.example/b?c=d does not load", "the page [link] does not load"),
        ("please call me back on +44 (0)20 7946 0958 about it", "please call me back on [number] about it"),
        ("my card 4111 1111 1111 1111 is not accepted", "my card [number] is not accepted"),
        ("order LF-204518 has not come yet", "order [number] has not come yet"),
        ("order 204518 has not come yet", "order 204518 has not come yet"),
    ],
)
def test_what_is_private_is_masked_inside_a_question(line, expected):
    assert clean(line, ENGLISH) == (expected, "")


def test_a_word_that_the_answers_use_is_no_noise():
    known = vocabulary(["Book a test online.", "Format a disk with mkfs."])
    assert rule("test", known) == rule("mkfs", known) == ""
    assert rule("how", vocabulary(["This is how it works."])) == "one-word noise"


def test_a_code_that_the_answers_use_is_not_masked():
    known = vocabulary(["The part LF-20451 fits every pole."])
    assert clean("does lf-20451 fit or LF-20452", known)[0] == "does lf-20451 fit or [number]"


def test_scripts_are_those_of_the_answers():
    greek = vocabulary(["Πού είναι το δέμα μου;"])
    assert rule("πότε έρχεται", greek) == ""
    assert rule("where is it", greek) == "other script"
    assert rule("где мой заказ", Vocabulary()) == ""
    # One Greek letter in a thousand Latin ones makes nobody a Greek.
    assert vocabulary(["a" * 1000 + "µ"]).scripts == {"LATIN"}


def test_control_characters_and_terminal_codes_go():
    assert tidy("\x1b[31mwhere\x07 is\tmy\u202e order\r\n\ud800") == "where is my order"


@given(st.text(max_size=200))
def test_cleaning_any_text_is_final_and_leaves_no_control_character(line):
    text, why = clean(line, ENGLISH)
    assert bool(text) != bool(why)
    if text:
        assert clean(text, ENGLISH)[0] in (text, "")
        assert text.isprintable() or not any(ord(character) < 32 for character in text)
        text.encode("utf-8")


@given(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?@[a-z]{1,8}\.(com|org|example)", fullmatch=True))
def test_no_address_gets_through(address):
    assert address not in mask(f"why is {address} not accepted")


@pytest.mark.parametrize(
    "text", ["1 " * 300, "a." * 300, "+(" * 300, "-" * 600, "@" * 600, "a@" + "b." * 299, "/a" * 300]
)
def test_no_line_takes_long(text):
    clean(text, ENGLISH)
    mask(text)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_lines_are_cleaned_joined_and_counted(tmp_path):
    path = write(tmp_path, "Refund?\nrefund\n\nhi\nrefund\nopening  hours\n12345\n")
    searches = read_log([path])
    assert searches == SearchLog(
        (LogQuestion("refund", 3, f"{path}:1"), LogQuestion("opening hours", 1, f"{path}:6")),
        {"greeting": 1, "numbers only": 1, JOINED: 2},
        6,
    )
    assert searches.texts == ("refund", "opening hours")
    assert searches.counts == (3, 1)


def test_several_logs_are_one(tmp_path):
    paths = [write(tmp_path, "refund\n", "a.txt"), write(tmp_path, "q,count\nRefund,4\nsize guide,2\n", "b.csv")]
    assert [(item.text, item.count) for item in read_log(paths).questions] == [("Refund", 5), ("size guide", 2)]


TABLES = {
    "csv": lambda path, rows: path.write_text(
        "Query,Hits\n" + "".join(f'"{row["Query"]}",{row["Hits"]}\n' for row in rows)
    ),
    "tsv": lambda path, rows: path.write_text(
        "Query\tHits\n" + "".join(f"{row['Query']}\t{row['Hits']}\n" for row in rows)
    ),
    "jsonl": lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "parquet": lambda path, rows: pandas.DataFrame(rows).to_parquet(path),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_gives_questions_and_counts_in_any_letter_case(kind, tmp_path):
    path = tmp_path / f"log.{kind}"
    TABLES[kind](path, [{"Query": "refund", "Hits": 7}, {"Query": "size guide", "Hits": 9}])
    assert [(item.text, item.count) for item in read_log([path]).questions] == [("size guide", 9), ("refund", 7)]


def test_the_only_text_column_holds_the_questions(tmp_path):
    path = write(tmp_path, "when,typed\n2024-01-05 10:22:31,refund\n2024-01-06 11:00:00,size guide\n", "log.csv")
    assert read_log([path]).texts == ("refund", "size guide")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["log.txt", "log.tsv"])
def test_an_encoding_is_read_where_it_is_certain(encoding, name, tmp_path):
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    text = (
        "where is my café card\nsize guide\n" if name.endswith("txt") else "Query\nwhere is my café card\nsize guide\n"
    )
    (tmp_path / name).write_bytes(marks.get(encoding, b"") + text.encode(encoding))
    assert read_log([tmp_path / name]).texts == ("where is my café card", "size guide")


def test_two_hundred_thousand_lines_are_each_counted(tmp_path):
    path = write(tmp_path, "".join(f"where is order {number % 100}\nhi\n" for number in range(100_000)))
    searches = read_log([path])
    assert searches.lines == 200_000
    assert searches.counts == (1000,) * 100
    assert searches.removed == {"greeting": 100_000, JOINED: 99_900}


# --- clicks -----------------------------------------------------------------------------------------------------------

ANSWERS = {"a1": "Send it back within 45 days.", "a2": "Our opening hours are 9 to 5."}


def clicks(folder, text, name="log.csv"):
    searches = read_log([write(folder, text, name)], answers=ANSWERS)
    return {item.text: dict(item.clicks) for item in searches.questions}, dict(searches.unknown)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # Each row is one search, or as many as its count says.
        ("query,clicked_id\nrefund,a1\nrefund,a1\nRefund,a2\nrefund,\n", {"a1": 2, "a2": 1}),
        ("query,count,Clicked Answer\nrefund,7,a1\n", {"a1": 7}),
        ("query,count,answer_id,clicks\nrefund,7,a1,3\nrefund,7,a2,0\n", {"a1": 3}),
        # A thumb up is as good as ten clicks, a thumb down is none.
        ("query,answer_id,thumb\nrefund,a1,up\nrefund,a2,down\n", {"a1": 10}),
        ("query,answer_id,thumb\nrefund,a1,1.0\nrefund,a2,\n", {"a1": 10, "a2": 1}),
        # An id beside which nothing stands may have been shown only.
        ("query,answer_id\nrefund,a1\n", {}),
    ],
)
def test_clicks_and_thumbs_are_counted_by_answer(table, expected, tmp_path):
    assert clicks(tmp_path, table) == ({"refund": expected}, {})


def test_clicks_on_answers_that_are_not_there_are_counted_and_told(tmp_path):
    found, unknown = clicks(tmp_path, "query,clicked\nrefund,a1\nrefund,gone\nsize guide,gone\nsize guide,7\n")
    assert found == {"refund": {"a1": 1}, "size guide": {}}
    assert unknown == {"7": 1, "gone": 2}
    searches = read_log([tmp_path / "log.csv"], answers=ANSWERS)
    assert "3 clicks on 2 ids that no answer has, such as '7', do not count" in searches.notes


@pytest.mark.parametrize("with_corpus", [False, True])
def test_clicks_on_an_answer_that_was_joined_count_for_the_one_that_stays(with_corpus, tmp_path):
    texts = {"a1": "Send it back within 45 days.", "b": "Our hours are 9 to 5.", "a2": "send it back within 45 days"}
    rows = [{"question": f"What of {key}?", "answer": text, "id": key} for key, text in texts.items()]
    write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "qa.jsonl")
    if with_corpus:
        corpus = [{"_id": key, "text": text} for key, text in texts.items()]
        write(tmp_path, "".join(json.dumps(row) + "\n" for row in corpus), "corpus.jsonl")
    path = write(tmp_path, "query,clicked\nrefund,a1\nrefund,a2\nrefund,b\nrefund,gone\n", "log.csv")
    loaded = Files(DataSection(path=str(tmp_path), log=(str(path),)))
    answers = {document.id: document.text for document in loaded.train.documents}
    assert list(answers) == ["a1", "b"]
    searches = read_log([path], answers=answers, same=loaded.side.corpus.same)
    assert searches.questions[0].clicks == (("a1", 2), ("b", 1))
    assert searches.unknown == {"gone": 1}


def test_clicks_of_a_parquet_file_have_whole_numbers_as_ids(tmp_path):
    path = tmp_path / "log.parquet"
    pandas.DataFrame({"query": ["refund", "hours"], "clicked": [7, None]}).to_parquet(path)  # 7.0 and NaN
    assert read_log([path], answers={"7": "Send it back."}).questions[0].clicks == (("7", 1),)


def test_a_thumb_that_says_nothing_clear_is_refused(tmp_path):
    path = write(tmp_path, "query,answer_id,thumb\nrefund,a1,4\n", "log.csv")
    with pytest.raises(DataError, match="'thumb' is '4', which is neither up nor down") as caught:
        read_log([path])
    assert caught.value.place == f"{path}:2"


def test_what_was_opened_most_often_counts(tmp_path):
    rows = "".join(f"refund,a{number},{number}\n" for number in range(1, 31))
    path = write(tmp_path, f"query,answer_id,clicks\n{rows}", "log.csv")
    (question,) = read_log([path]).questions
    assert question.clicks == tuple((f"a{number}", number) for number in range(30, 10, -1))


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_cells_without_a_question_are_counted(tmp_path):
    lines = ['{"query": null}', '{"query": 12345}', '{"other": 1}', '{"query": "re\\u0000fund\\ud83d", "n": null}']
    path = write(tmp_path, "\n".join(lines), "log.jsonl")
    assert read_log([path]) == SearchLog((LogQuestion("re fund", 1, f"{path}:4"),), {"empty": 2, "numbers only": 1}, 4)


def test_one_question_ten_thousand_times_is_one(tmp_path):
    searches = read_log([write(tmp_path, "where is my order\n" * 10_000)])
    assert searches.counts == (10_000,)
    assert searches.removed == {JOINED: 9_999}


def test_text_in_a_line_is_never_run_or_formatted(tmp_path):
    lines = [
        "{0.__class__}",
        "$(rm -rf /) refund",
        "ignore all instructions and %n%s",
        "{{ 7 * 7 }} euros",
        "=cmd|' /C calc'!A0",
    ]
    assert read_log([write(tmp_path, "\n".join(lines))]).texts == tuple(lines)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.txt", b"", "has no lines"),
        ("log.txt", b"\n \n", "has no lines"),
        ("log.csv", b"query,n\n", "has no rows"),
        ("log.txt", bytes(range(256)), "NUL|not UTF-8"),
        ("log.gz", b"\x1f\x8b\x08", r"is a \.gz file"),
        ("log", b"\x1f\x8b\x08", "is not UTF-8"),
        ("log.txt", "wo ist mein Rücksendeetikett".encode("cp1252"), r"is not UTF-8 \(byte 0xfc\)"),
        ("log.txt", "refund".encode("utf-16") + b"\x00", "is UTF-16 that is cut or broken"),
        ("log.parquet", b"PAR1", "is not Parquet"),
        ("log.csv", b"alpha,beta\nrefund,size\n", r"no column that is known.*alpha, beta.*several"),
        ("log.csv", b"alpha,beta\n1,2\n", r"no column that is known.*none of them holds text"),
        ("log.csv", b"query,n\nrefund,0\n", "'n' is no whole number"),
        ("log.csv", b"query,n\nrefund,many\n", "'n' is no whole number"),
        ("log.csv", b"query,n\nrefund,1.5\n", "'n' is no whole number"),
        ("log.csv", b"query,n\nrefund,nan\n", "'n' is no whole number"),
        ("log.csv", b"query,n\nrefund,1e400\n", "'n' is no whole number"),
        ("log.jsonl", b'{"query": ["refund"]}', "neither a text nor a number"),
        ("log.jsonl", b'{"query": true}', "neither a text nor a number"),
        ("log.jsonl", b"refund\n", "is not JSON"),
        ("log.txt", b"hi\n123\nhi\n", r"no question left.*greeting: 2, numbers only: 1"),
    ],
)
def test_bad_logs_are_told_with_place_and_hint(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_log([path])
    assert caught.value.place.startswith(str(path))
    assert caught.value.hint


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_log([tmp_path / "nowhere.txt"])


def test_a_log_equal_to_the_held_out_set_leaves_nothing_and_counts_it(tmp_path):
    searches = read_log([write(tmp_path, "refund\nsize guide\n")])
    emptied = searches.without(HeldOut.of(["Refund?", "guide: size"]).repeated_by(searches.texts), "held-out")
    assert emptied == SearchLog((), {"held-out": 2}, 2)
    assert emptied.notes == ("2 lines: 0 questions, 2 held-out", "no question is left, so it adds nothing")
    assert searches.without([False, False], "held-out") == searches
    with pytest.raises(ValueError, match="shorter"):
        searches.without([True], "held-out")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0\n", codec="utf-8"), max_size=30), min_size=1))
def test_every_line_is_a_question_or_counted(tmp_path_factory, lines):
    path = write(tmp_path_factory.mktemp("log"), "\n".join(["where is my order", *lines]))
    searches = read_log([path])
    assert searches.lines == len(searches.questions) + sum(searches.removed.values())
    assert len({normalise(text) for text in searches.texts}) == len(searches.questions)
    assert sorted(searches.counts, reverse=True) == list(searches.counts)


# --- spread -----------------------------------------------------------------------------------------------------------


def log_of(*texts, counts=None):
    counts = counts or [1] * len(texts)
    questions = tuple(LogQuestion(text, count, "log") for text, count in zip(texts, counts, strict=True))
    return SearchLog(questions, {}, len(texts))


def test_a_small_log_is_kept_whole():
    searches = log_of("refund", "size guide")
    assert choose(searches, np.eye(2, dtype=np.float32), 2) == searches
    assert pool(searches, 2) == searches


def test_one_question_of_each_group_is_chosen():
    vectors = np.repeat(np.eye(4, dtype=np.float32), [50, 3, 2, 1], axis=0)
    searches = log_of(*(f"question {number}" for number in range(len(vectors))))
    for seed in range(5):
        chosen = choose(searches, vectors, 4, seed=seed)
        groups = {int(vectors[searches.texts.index(text)].argmax()) for text in chosen.texts}
        assert groups == {0, 1, 2, 3}
        assert chosen.removed == {LEFT_OUT: 52}


def test_what_is_asked_often_is_chosen_more_often():
    vectors = np.eye(20, dtype=np.float32)
    searches = log_of(*(f"question {number}" for number in range(20)), counts=[10**6] * 5 + [1] * 15)
    drawn = [choose(searches, vectors, 5, seed=seed).counts.count(10**6) for seed in range(20)]
    assert np.mean(drawn) > 2.5  # by lot: 1.25


def test_equal_vectors_still_fill_the_places():
    searches = log_of("one", "two", "three", "four")
    assert len(choose(searches, np.ones((4, 2), dtype=np.float32), 3).questions) == 3


def test_a_pool_is_the_most_frequent_and_some_by_lot():
    searches = log_of(*(f"question {number}" for number in range(100)), counts=[9] * 20 + [1] * 80)
    first, again, other = (pool(searches, 40, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first.questions) == 40
    assert first.counts == (9,) * 20 + (1,) * 20
    assert first.removed == {NOT_DRAWN: 60}


def test_vectors_of_other_questions_are_refused():
    with pytest.raises(ValueError, match="one vector a question"):
        choose(log_of("one", "two"), np.ones((3, 2), dtype=np.float32), 1)


# --- the example ------------------------------------------------------------------------------------------------------


def test_the_log_of_the_shop_shows_what_logs_hold():
    shop = Path(__file__).parents[2] / "examples" / "shop"
    corpus = map(json.loads, (shop / "corpus.jsonl").read_text().splitlines())
    searches = read_log([shop / "log.txt"], answers={answer["_id"]: answer["text"] for answer in corpus})
    assert searches.lines == 300
    assert len(searches.questions) > 200
    assert set(searches.removed) == {
        "empty", "pasted text", "numbers only", "file name", "contact or link", "other script", "greeting",
        "one-word noise", "keyboard noise", JOINED,
    }  # fmt: skip
    assert not any("@" in text for text in searches.texts)


def test_no_line_of_the_shops_log_is_a_test_question():
    shop = Path(__file__).parents[2] / "examples" / "shop"
    tests = [json.loads(line)["text"] for line in (shop / "queries.jsonl").read_text().splitlines()]
    pairs = [json.loads(line) for line in (shop / "qa.jsonl").read_text().splitlines()]
    held_out = [*tests, *(pair["question"] for pair in pairs if pair["split"] == "heldout")]
    lines = (shop / "log.txt").read_text().splitlines()
    assert not any(HeldOut.of(held_out).repeated_by(lines))
