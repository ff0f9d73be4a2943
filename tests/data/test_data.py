from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import pandas
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from expertune import data
from expertune.config import DataSection
from expertune.data.beir import read_queries
from expertune.data.readers import READERS
from expertune.errors import DataError
from expertune.records import Document, Provenance, Question, Role

SHARED = Path(__file__).parents[3] / "shared" / "data"
SHOP = Path(__file__).parents[2] / "examples" / "shop"
A, B, C = "We ship in two days.", "Send it back within a month.", "We take cards."

Rows = Sequence[dict[str, object]]


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def qa(question: object, answer: object, **more: object) -> dict[str, object]:
    return {"question": question, "answer": answer, **more}


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


GOOD = lines(qa("How fast?", A, id="s"), qa("Can I return it?", B, id="r"), qa("Cards?", C, id="c", split="heldout"))
CORPUS = lines(
    {"_id": "s", "text": A},
    {"_id": "r", "title": "Returns", "text": B},
    {"_id": "c", "text": C},
    {"_id": "x", "title": "", "text": "We open at nine."},
)
QUERIES = lines(
    {"_id": "t1", "text": "delivery time"},
    {"_id": "t2", "text": "send back"},
    {"_id": "t3", "text": "visa"},
    {"_id": "l1", "text": "days until it arrives"},
    {"_id": "l2", "text": "refund or opening"},
)
BEIR = {
    "qa.jsonl": GOOD,
    "corpus.jsonl": CORPUS,
    "queries.jsonl": QUERIES,
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\nl1\ts\t1\nl2\tr\t2\nl2\tx\t1\nl2\tc\t0\n",
    "qrels/test.tsv": "t1\ts\t1\nt2\tr\t1\nt3\tc\t1\n",
    "qrels/test_seen.tsv": "t1\ts\t1\nt2\tr\t1\n",
    "qrels/test_unseen.tsv": "t3\tc\t1\n",
}
GARBAGE = b"\xff\x00 this is no test file \x80"


def section(path: Path | str, **more: object) -> DataSection:
    return DataSection.model_validate({"path": str(path), **more})


def load_text(tmp_path: Path, content: str | bytes, name: str = "qa.jsonl", **more: object) -> data.Dataset:
    write(tmp_path, {name: content})
    return data.Files(section(tmp_path / name, **more)).train


# --- what is trained on ----------------------------------------------------------------------------------------


def test_held_out_row_gives_its_answer_but_not_its_question(tmp_path: Path) -> None:
    dataset = load_text(tmp_path, GOOD, "shop.jsonl")
    assert dataset.name == "shop"
    assert dataset.documents == (Document("s", A), Document("r", B), Document("c", C))
    assert dataset.questions == (Question("How fast?", ("s",)), Question("Can I return it?", ("r",)))


@pytest.mark.parametrize("split", ["heldout", "test", "validation", "Heldout", "dev", "Held-Out ", "TEST_2", "eval"])
def test_every_split_but_train_is_held_out(tmp_path: Path, split: str) -> None:
    rows = [qa("How fast?", A), qa("Back?", B, split="Train "), qa("Bye?", B, split=""), qa("Cards?", C, split=split)]
    dataset = load_text(tmp_path, lines(*rows))
    assert [question.text for question in dataset.questions] == ["How fast?", "Back?", "Bye?"]


def test_csv_tsv_parquet_and_frame_agree_with_jsonl(tmp_path: Path) -> None:
    rows = [qa('Is it "fast"?', f"{A}\nReally, we do.", id="s"), qa("Back,\tplease?", B, id="r")]
    frame = pandas.DataFrame(rows)
    frame.to_csv(tmp_path / "shop.csv", index=False)
    frame.to_csv(tmp_path / "shop.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "shop.parquet")
    expected = load_text(tmp_path, lines(*rows), "shop.jsonl")
    for suffix in ("csv", "tsv", "parquet"):
        assert data.Files(section(tmp_path / f"shop.{suffix}")).train == expected
    assert data.load_frame(frame, section("shop.csv")) == expected


def test_cells_that_pandas_would_call_missing_are_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "qa.csv"
    path.write_text("question,answer\nNULL,NA\nnan,None\n", "utf-8")
    cells = [tuple(row.values.values()) for row in READERS[".csv"](path).rows]
    assert cells == [("NULL", "NA"), ("nan", "None")]


def test_other_column_names(tmp_path: Path) -> None:
    content = "nr;q;a".replace(";", ",") + f"\n7,How fast?,{A}\n8,Back?,{B}\n"
    columns = {"question_column": "q", "answer_column": "a", "id_column": "nr"}
    dataset = load_text(tmp_path, content, "faq.csv", **columns)
    assert dataset.questions == (Question("How fast?", ("7",)), Question("Back?", ("8",)))


def test_ids_are_made_where_absent_and_avoid_those_given(tmp_path: Path) -> None:
    rows = [qa("How fast?", A), qa("Back?", B, id="a1"), qa("Cards?", C), qa("Number?", "Nine.", id=12)]
    dataset = load_text(tmp_path, lines(*rows))
    assert [document.id for document in dataset.documents] == ["a2", "a1", "a3", "12"]


def test_equal_answers_share_the_document_of_the_first_row(tmp_path: Path) -> None:
    rows = [qa("How fast?", A, id="s"), qa("When?", f" {A} ", id="w"), qa("Back?", B, id="r")]
    dataset = load_text(tmp_path, lines(*rows))
    assert [document.id for document in dataset.documents] == ["s", "r"]
    assert [question.document_ids for question in dataset.questions] == [("s",), ("s",), ("r",)]


def test_questions_of_the_same_words_are_merged(tmp_path: Path) -> None:
    rows = [qa("How fast?", A, id="s"), qa("how  FAST", B, id="r"), qa("How fast?", A, id="s"), qa("Back?", B, id="r")]
    dataset = load_text(tmp_path, lines(*rows))
    assert dataset.questions == (Question("How fast?", ("s", "r")), Question("Back?", ("r",)))


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    for name, content in (("qa.jsonl", GOOD), ("qa.csv", f"question,answer\nHow fast?,{A}\nBack?,{B}\n")):
        encoded = content.replace("\n", "\r\n").encode("utf-8-sig")
        assert load_text(tmp_path, encoded, name).questions[0].text == "How fast?"


def test_line_separator_inside_json_text_is_no_line_end(tmp_path: Path) -> None:
    rows = [json.dumps(qa("How\u2028fast?", A), ensure_ascii=False), qa("Back?", B)]
    assert load_text(tmp_path, lines(*rows)).questions[0].text == "How\u2028fast?"


def test_corpus_beside_qa_gives_every_document(tmp_path: Path) -> None:
    dataset = data.Files(section(write(tmp_path / "shop", BEIR))).train
    assert dataset.name == "shop"
    assert dataset.documents[1] == Document("r", f"Returns {B}")
    assert [document.id for document in dataset.documents] == ["s", "r", "c", "x"]
    assert [question.provenance for question in dataset.questions] == [Provenance.PAIR] * 2


def test_answers_are_found_in_the_corpus_by_their_text(tmp_path: Path) -> None:
    rows = [qa("How fast?", A.upper(), id="q0"), qa("When?", A, id="q1"), qa("Back?", B, id="s")]
    dataset = data.Files(section(write(tmp_path, {**BEIR, "qa.jsonl": lines(*rows)}))).train
    assert [question.document_ids for question in dataset.questions] == [("s",), ("s",), ("r",)]


def test_train_split_adds_labelled_questions_with_several_documents(tmp_path: Path) -> None:
    dataset = data.Files(section(write(tmp_path, BEIR), train_split="train")).train
    assert dataset.questions[2:] == (
        Question("days until it arrives", ("s",), Provenance.JUDGED),
        Question("refund or opening", ("r", "x"), Provenance.JUDGED),
    )


def test_answers_that_are_judged_only_together_answer_the_same_questions(tmp_path: Path) -> None:
    judged = "l1\tr\t1\nl1\tx\t1\nl2\tr\t2\nl2\tx\t1\nl2\ts\t1\nl3\ts\t1\nl3\tx\t0\n"
    write(tmp_path, {**BEIR, "qrels/train.tsv": judged, "queries.jsonl": GARBAGE})
    asked = {question.document_ids for question in data.Files(section(tmp_path)).train.questions}
    # r is never without x; s is without r in l3, and x was judged to be no answer there.
    assert asked == {("s",), ("r", "x")}
    write(tmp_path, {"qrels/train.tsv": "l1\tr\t1\nl1\tx\t1\n"})  # one question may ask two things at once
    assert {question.document_ids for question in data.Files(section(tmp_path)).train.questions} == {("s",), ("r",)}


def test_a_training_judgement_of_an_unknown_answer_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {**BEIR, "qrels/train.tsv": "l1\tnowhere\t1\n"})
    with pytest.raises(DataError, match=r"train.tsv:1: judges the document 'nowhere', which is not in the corpus"):
        _ = data.Files(section(tmp_path)).train


def test_companions_never_come_from_test_judgements(tmp_path: Path) -> None:
    together = "t1\tr\t1\nt1\tx\t1\nt2\tr\t1\nt2\tx\t1\n"
    write(tmp_path, {**BEIR, "qrels/test_seen.tsv": together, "qrels/test.tsv": together})
    assert {question.document_ids for question in data.Files(section(tmp_path)).train.questions} == {("s",), ("r",)}


def test_folder_with_a_beir_set_alone_trains_on_its_train_split(tmp_path: Path) -> None:
    write(tmp_path, {name: content for name, content in BEIR.items() if name != "qa.jsonl"})
    dataset = data.Files(section(tmp_path, train_split="train")).train
    assert [question.text for question in dataset.questions] == ["days until it arrives", "refund or opening"]
    with pytest.raises(
        DataError, match=r"train_split is not set \(judgements found: test, test_seen, test_unseen, train"
    ):
        _ = data.Files(section(tmp_path)).train


def test_empty_documents_are_dropped_unless_judged(tmp_path: Path) -> None:
    corpus = CORPUS + lines({"_id": "e", "title": " ", "text": "\u200b"})
    write(tmp_path, {**BEIR, "corpus.jsonl": corpus})
    assert len(data.Files(section(tmp_path)).train.documents) == 4
    write(tmp_path, {"qrels/test_seen.tsv": "t1\te\t1\n"})
    with pytest.raises(
        DataError, match=r"test_seen.tsv:1: judges the document 'e', which is empty \(.*corpus.jsonl:5\)"
    ):
        _ = data.Files(section(tmp_path)).judged


def test_training_side_opens_no_test_file(tmp_path: Path) -> None:
    spoilt = {name: GARBAGE for name in BEIR if "test" in name} | {"queries.jsonl": GARBAGE}
    write(tmp_path, {**BEIR, **spoilt})
    assert len(data.Files(section(tmp_path)).train.questions) == 2
    before = data.Files(section(tmp_path)).fingerprint
    for name in spoilt:
        (tmp_path / name).unlink()
    assert data.Files(section(tmp_path)).fingerprint == before
    with pytest.raises(DataError, match=r"no such file"):
        _ = data.Files(section(tmp_path, test_splits=("train",))).judged


def test_train_split_opens_no_test_judgements(tmp_path: Path) -> None:
    write(tmp_path, {**BEIR, **{name: GARBAGE for name in BEIR if "test" in name}})
    assert len(data.Files(section(tmp_path, train_split="train")).train.questions) == 4
    with pytest.raises(DataError, match=r"test.tsv:1: is not UTF-8"):
        _ = data.Files(section(tmp_path)).judged


# --- what is judged --------------------------------------------------------------------------------------------


def test_finer_splits_replace_the_coarse_one(tmp_path: Path) -> None:
    seen, unseen, general = data.Files(section(write(tmp_path / "shop", BEIR))).judged
    assert (seen.name, unseen.name, general.name) == ("shop/test_seen", "shop/test_unseen", "general-dev/test")
    assert (seen.role, unseen.role, general.role) == (Role.DOMAIN, Role.DOMAIN, Role.GENERAL)
    assert [query.id for query in seen.queries] == ["t1", "t2"]
    assert seen.qrels == {"t1": {"s": 1}, "t2": {"r": 1}}
    assert seen.documents == data.Files(section(tmp_path / "shop")).train.documents


def test_coarse_split_stays_where_finer_ones_lack_a_query(tmp_path: Path) -> None:
    write(tmp_path, BEIR)
    (tmp_path / "qrels/test_unseen.tsv").unlink()
    assert [judged.split for judged in data.Files(section(tmp_path)).judged] == ["test", "test_seen", "test"]


def test_chosen_splits_are_taken_in_order_and_may_be_rows(tmp_path: Path) -> None:
    wanted = section(write(tmp_path, BEIR), test_splits=("test", "heldout"))
    judged = data.Files(wanted).judged[:2]
    assert [item.split for item in judged] == ["test", "heldout"]
    assert [query.text for query in judged[1].queries] == ["Cards?"]
    with pytest.raises(DataError, match=r"no split 'dev' \(found: test, test_seen, test_unseen, train, heldout\)"):
        _ = data.Files(section(tmp_path, test_splits=("dev",))).judged


def test_chosen_splits_keep_the_coarse_one(tmp_path: Path) -> None:
    chosen = ("test", "test_seen", "test_unseen")
    judged = data.Files(section(write(tmp_path, BEIR), test_splits=chosen)).judged
    assert tuple(item.split for item in judged[:-1]) == chosen


def test_split_that_is_trained_on_is_not_judged_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, BEIR)
    (tmp_path / "qrels/test.tsv").unlink()
    wanted = section(tmp_path, train_split="test_seen")
    assert [item.split for item in data.Files(wanted).judged[:-1]] == ["test_unseen"]
    assert data.Files(wanted).held_out.wording.keys() == {"visa", "cards"}


def test_held_out_rows_are_judged_where_there_are_no_judgements(tmp_path: Path) -> None:
    content = GOOD + lines(qa("Visa?", C, id="c", split="test"), qa("Tune?", C, id="c", split="validation"))
    write(tmp_path, {"shop.jsonl": content})
    wanted = section(tmp_path / "shop.jsonl")
    held_out, test, _ = data.Files(wanted).judged
    assert (held_out.name, test.name) == ("shop/heldout", "shop/test")
    assert [query.text for query in held_out.queries] == ["Cards?"]
    assert list(held_out.qrels.values()) == [{"c": 1}]
    assert [document.id for document in held_out.documents] == ["s", "r", "c"]
    assert data.Files(wanted).held_out.wording.keys() == {"cards", "visa", "tune"}


@pytest.mark.parametrize("weight", ["0", "-1", "true", '"much"', "NaN", "Infinity", "[1]"])
def test_a_query_weighs_what_it_says_or_the_line_is_wrong(tmp_path: Path, weight: str) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(lines({"_id": "q1", "text": "gift wrap"}, {"_id": "q2", "text": "gift cards", "weight": 2}))
    assert [placed.query.weight for placed in read_queries(file).values()] == [None, 2.0]
    file.write_text(lines({"_id": "q1", "text": "gift wrap"}, f'{{"_id": "q2", "text": "cards", "weight": {weight}}}'))
    with pytest.raises(DataError, match=r"queries\.jsonl:2: 'weight'"):
        read_queries(file)


def test_queries_without_a_relevant_document_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {**BEIR, "qrels/test_seen.tsv": "query-id\tcorpus-id\tscore\nt1\ts\t0\nt1\tr\t-1\nt2\tr\t2\nt2\ts\t0\n"},
    )
    judged = data.Files(section(tmp_path)).judged[0]
    assert judged.split == "test_seen"
    assert judged.qrels == {"t2": {"r": 2, "s": 0}}
    assert [query.id for query in judged.queries] == ["t2"]


def test_four_columns_of_trec_and_blanks_as_separator(tmp_path: Path) -> None:
    write(tmp_path, {**BEIR, "qrels/test_seen.tsv": "t1 0 s 1\n\nt2 0 r 3\r\n"})
    assert data.Files(section(tmp_path)).judged[0].qrels == {"t1": {"s": 1}, "t2": {"r": 3}}


def test_general_folders_replace_the_built_in_set(tmp_path: Path) -> None:
    parts = {name: BEIR[name] for name in ("corpus.jsonl", "queries.jsonl")}
    write(tmp_path / "one", {**parts, "qrels/test.tsv": "t1\ts\t1\n", "qrels/test_hard.tsv": "t2\tr\t1\n"})
    write(tmp_path / "two", {**parts, "qrels/testing.tsv": "t3\tc\t1\n", "qrels/train.tsv": GARBAGE})
    general = (str(tmp_path / "one"), str(tmp_path / "two"))
    judged = data.Files(DataSection(general=general)).judged
    assert [(item.name, item.role) for item in judged] == [
        ("one/test", Role.GENERAL),
        ("two/testing", Role.GENERAL),
    ]


def test_general_dev_set_and_reference_sentences_come_with_the_package() -> None:
    general = data.load_general_dev_set()
    assert (general.name, general.role) == ("general-dev/validation", Role.GENERAL)
    assert len(general.queries) >= 100
    (shown,) = data.Files(DataSection()).judged
    assert not {query.text for query in general.queries} & {query.text for query in shown.queries}
    texts = data.reference_sentences()
    assert len(texts) >= 100
    assert all(text == text.strip() != "" for text in texts)


def test_reference_sentences_of_a_file(tmp_path: Path) -> None:
    write(tmp_path, {"sentences.txt": "One.\n\n  Two. \n", "empty.txt": " \n"})
    assert data.reference_sentences(tmp_path / "sentences.txt") == ("One.", "Two.")
    with pytest.raises(DataError, match=r"empty.txt: has no sentences"):
        data.reference_sentences(tmp_path / "empty.txt")


# --- leaks -----------------------------------------------------------------------------------------------------


def test_held_out_questions_are_those_of_tests_and_of_held_out_rows(tmp_path: Path) -> None:
    write(tmp_path, BEIR)
    everything = {"delivery time", "send back", "visa", "cards"}
    assert data.Files(section(tmp_path)).held_out.wording.keys() == everything
    assert (
        data.Files(section(tmp_path, test_splits=("test_seen",), train_split="train")).held_out.wording.keys()
        == everything
    )
    assert data.Files(DataSection()).held_out.wording.keys() == frozenset()


def test_training_question_in_a_test_is_refused_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, {**BEIR, "qa.jsonl": GOOD + lines(qa("Visa!", C, id="c"))})
    assert len(data.Files(section(tmp_path)).train.questions) == 3  # load does not look into the tests
    with pytest.raises(DataError) as caught:
        _ = data.Files(section(tmp_path)).held_out.wording.keys()
    assert caught.value.place == f"{tmp_path / 'qa.jsonl'}:4"
    assert f"'Visa!' also stands in {tmp_path / 'queries.jsonl'}:3" in caught.value.message
    assert "Remove the question" in caught.value.hint


def test_labelled_question_in_a_test_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {**BEIR, "qrels/test_unseen.tsv": "l1\tc\t1\n"})
    assert "days until it arrives" in data.Files(section(tmp_path)).held_out.wording
    with pytest.raises(DataError, match=r"queries.jsonl:4: trains on a held-out question: 'days until it arrives'"):
        _ = data.Files(section(tmp_path, train_split="train")).held_out


def test_question_both_trained_on_and_held_out_is_refused_at_once(tmp_path: Path) -> None:
    content = GOOD + lines(qa("cards", C, id="c"))
    with pytest.raises(DataError, match=r"qa.jsonl:4: trains on a held-out question: 'cards' also stands in .*:3"):
        load_text(tmp_path, content)


# Few letters, so that rows of different splits often ask the same.
short = st.text("aAb?\u200bé", min_size=1, max_size=3).filter(lambda text: data.normalise(text) != "")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(short, short, st.sampled_from(["train", "heldout", "test", ""])), min_size=2, max_size=8))
def test_a_held_out_question_is_never_trained_on(rows: list[tuple[str, str, str]]) -> None:
    frame = pandas.DataFrame(rows, columns=["question", "answer", "split"])
    try:
        dataset = data.load_frame(frame, DataSection())
    except DataError:
        return
    trained = {data.normalise(question.text) for question in dataset.questions}
    assert trained.isdisjoint(data.normalise(question) for question, _, split in rows if split in ("heldout", "test"))
    assert trained == {data.normalise(question) for question, _, split in rows if split in ("train", "")}
    assert {document.id for document in dataset.documents} >= dataset.labelled_ids


@given(st.text())
@example("e\u00ad\u0301")
@example("A\u030a-\u200b\u0345")
@example("ǰ\u00ad\u0323")
def test_normalise_is_idempotent(text: str) -> None:
    once = data.normalise(text)
    assert data.normalise(once) == once
    assert once == once.strip()
    assert "  " not in once


@given(st.text())
def test_normalise_ignores_invisible_characters_and_closing_punctuation(text: str) -> None:
    composed = unicodedata.normalize("NFKC", f"a{text}")
    spread = "\u200b".join(composed)
    assert data.normalise(f"\ufeff {spread}!?  ") == data.normalise(composed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  How do I PAY?! ", "how do i pay"),
        ("e-mail: A.B.", "e mail a b"),
        ("ﬁne\u00a0Straße\u200b", "fine strasse"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("C++ for 5 €", "c++ for 5 €"),
        ("क्या है?", "क्या है"),
        ("?!", "?!"),
        ("", ""),
        ("\u200b", ""),
    ],
)
def test_normalise_examples(text: str, expected: str) -> None:
    assert data.normalise(text) == expected


# --- fingerprints ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "train_split", "training", "judged"),
    [
        ("qa.jsonl", "", True, True),
        ("corpus.jsonl", "", True, True),
        ("queries.jsonl", "", False, True),
        ("queries.jsonl", "train", True, True),
        ("qrels/train.tsv", "", True, False),
        ("qrels/train.tsv", "train", True, False),
        ("qrels/test.tsv", "train", False, True),
        ("qrels/test_seen.tsv", "", False, True),
    ],
)
def test_fingerprints_follow_exactly_their_files(
    tmp_path: Path, name: str, train_split: str, training: bool, judged: bool
) -> None:
    wanted = section(write(tmp_path / "shop", BEIR), train_split=train_split)
    before = data.Files(wanted).fingerprint, data.Files(wanted).judged_fingerprint
    moved = section(write(tmp_path / "elsewhere" / "shop", BEIR), train_split=train_split)
    assert (data.Files(moved).fingerprint, data.Files(moved).judged_fingerprint) == before
    path = tmp_path / "shop" / name
    path.write_bytes(path.read_bytes() + b"\n")
    after = data.Files(wanted).fingerprint, data.Files(wanted).judged_fingerprint
    assert (after[0] != before[0], after[1] != before[1]) == (training, judged)


def test_fingerprint_knows_the_columns_and_splits(tmp_path: Path) -> None:
    plain = section(write(tmp_path, BEIR))
    others = [{"question_column": "q"}, {"answer_column": "a"}, {"id_column": "n"}, {"split_column": "p"}]
    others.append({"train_split": "train"})
    assert len({data.Files(section(tmp_path, **other)).fingerprint for other in [{}, *others]}) == 6
    assert (
        data.Files(section(tmp_path, test_splits=("test",))).judged_fingerprint != data.Files(plain).judged_fingerprint
    )


# --- malformed input -------------------------------------------------------------------------------------------

PAIR = lines(qa("How fast?", A, id="s"))
HEAD = "question,answer\n"

MALFORMED_FILES: list[tuple[str, str, str | bytes, str]] = [
    ("empty file", "qa.jsonl", "", r"qa\.jsonl: has no rows\n  Add at least one record"),
    ("blank lines only", "qa.jsonl", "\n \n", r"qa\.jsonl: has no rows"),
    ("header only", "qa.csv", HEAD, r"qa\.csv: has no rows"),
    ("empty csv", "qa.csv", "", r"qa\.csv: has no rows"),
    ("broken JSON", "qa.jsonl", PAIR + '{"question": "a"', r"qa\.jsonl:2: is not JSON \(Expecting ',' .* column 17\)"),
    ("JSON list", "qa.jsonl", PAIR + "[1]\n", r"qa\.jsonl:2: is a JSON list, expected an object"),
    ("JSON text", "qa.jsonl", '"hello"\n', r"qa\.jsonl:1: is a JSON text, expected an object"),
    ("JSON null", "qa.jsonl", "null\n", r"qa\.jsonl:1: is a JSON null, expected an object"),
    ("deep JSON", "qa.jsonl", "[" * 200_000, r"qa\.jsonl:1: is not readable JSON"),
    ("huge number", "qa.jsonl", '{"question": ' + "1" * 5000 + "}", r"qa\.jsonl:1: is not readable JSON"),
    ("Latin-1", "qa.jsonl", PAIR.encode() + "Größe".encode("latin-1"), r"qa\.jsonl:2: is not UTF-8 \(byte 0xf6\)"),
    ("cut UTF-16", "qa.jsonl", PAIR.encode("utf-16")[:-1], r"qa\.jsonl:\d+: is UTF-16 that is cut or broken"),
    ("NUL byte", "qa.jsonl", PAIR + '{"question": "\0"}', r"qa\.jsonl:2: holds a NUL byte"),
    ("NUL byte in csv", "qa.csv", HEAD + "a\0,b\n", r"qa\.csv:2: holds a NUL byte"),
    ("escaped NUL", "qa.jsonl", PAIR + lines(qa("a\0b", B)), r"qa\.jsonl:2: 'question' holds a character"),
    ("lone surrogate", "qa.jsonl", PAIR + lines(qa("a\ud800b", B)), r"qa\.jsonl:2: 'question' holds a character"),
    ("wrong column", "qa.jsonl", lines({"q": "a", "answer": "b"}), r"no column 'question' \(found: q, answer\)"),
    ("wrong csv column", "qa.csv", "question,reply\na,b\n", r"no column 'answer' \(found: question, reply\)"),
    ("other separator", "qa.csv", "frage;answer\na;b\n", r"no column 'question' \(found: frage, answer\)"),
    ("column twice", "qa.csv", "question,answer,answer\na,b,c\n", r"qa\.csv:1: has the column 'answer' twice"),
    ("missing key", "qa.jsonl", PAIR + lines({"question": "a"}), r"qa\.jsonl:2: has no 'answer'"),
    ("short csv row", "qa.csv", HEAD + "a,b\nc\n", r"qa\.csv:3: has no 'answer'"),
    ("long csv row", "qa.csv", HEAD + "a,b,c\n", r"qa\.csv:2: has 3 cells, but the header names 2 columns"),
    ("open quote", "qa.csv", HEAD + 'a,"b\n', r"qa\.csv:2: is not a table with properly quoted cells"),
    ("stray quote", "qa.csv", HEAD + 'a,"b" c\n', r"qa\.csv:2: is not a table with properly quoted cells"),
    ("empty question", "qa.jsonl", PAIR + lines(qa("", B)), r"qa\.jsonl:2: 'question' is empty"),
    ("blank question", "qa.jsonl", PAIR + lines(qa(" \n\t", B)), r"qa\.jsonl:2: 'question' is empty"),
    ("invisible question", "qa.jsonl", PAIR + lines(qa("\u200b\ufeff", B)), r"qa\.jsonl:2: 'question' is empty"),
    ("empty answer", "qa.jsonl", PAIR + lines(qa("a", "")), r"qa\.jsonl:2: 'answer' is empty"),
    ("null answer", "qa.jsonl", PAIR + lines(qa("a", None)), r"qa\.jsonl:2: 'answer' is empty"),
    ("empty cell", "qa.csv", HEAD + "a,b\nc,\n", r"qa\.csv:3: 'answer' is empty"),
    ("number", "qa.jsonl", PAIR + lines(qa(5, B)), r"qa\.jsonl:2: 'question' is a number, expected text"),
    ("list", "qa.jsonl", PAIR + lines(qa("a", [1])), r"qa\.jsonl:2: 'answer' is a list, expected text"),
    ("true", "qa.jsonl", PAIR + lines(qa("a", True)), r"qa\.jsonl:2: 'answer' is a true/false value"),
    ("object", "qa.jsonl", PAIR + lines(qa("a", {})), r"qa\.jsonl:2: 'answer' is a mapping, expected text"),
    ("fraction as id", "qa.jsonl", PAIR + lines(qa("a", B, id=1.5)), r"qa\.jsonl:2: 'id' is a number, expected text"),
    ("true as id", "qa.jsonl", PAIR + lines(qa("a", B, id=True)), r"qa\.jsonl:2: 'id' is a true/false value"),
    ("number as split", "qa.jsonl", PAIR + lines(qa("a", B, split=1)), r"qa\.jsonl:2: 'split' is a number"),
    ("id twice", "qa.jsonl", PAIR + lines(qa("a", B, id="s")), r"qa\.jsonl:2: id 's' has another answer than in .*:1"),
    ("one pair", "qa.jsonl", PAIR, r"found 1 training question\(s\) and 0 held out, expected 2"),
    ("one question twice", "qa.jsonl", PAIR + lines(qa("how fast", A)), r"found 1 training question\(s\)"),
    (
        "all held out",
        "qa.jsonl",
        lines(qa("a", A, split="heldout"), qa("b", B, split="heldout")),
        r"found 0 training question\(s\) and 2 held out",
    ),
    ("equal answers", "qa.jsonl", PAIR + lines(qa("When?", A)), r"all answers are equal, expected at least 2"),
    ("not Parquet", "qa.parquet", b"PAR1 no", r"qa\.parquet: is not Parquet"),
    ("unknown kind", "qa.xlsx", b"PK", r"qa\.xlsx: is a file of unknown kind '\.xlsx', expected one of \.jsonl"),
]


@pytest.mark.parametrize(
    ("name", "content", "expected"), [case[1:] for case in MALFORMED_FILES], ids=[c[0] for c in MALFORMED_FILES]
)
def test_malformed_qa_file(tmp_path: Path, name: str, content: str | bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        load_text(tmp_path, content, name)
    assert caught.value.place.startswith(str(tmp_path))
    assert caught.value.hint.endswith(".")


LABELLED = {"train_split": "train"}
TEST: dict[str, object] = {"test_splits": ("test",)}

MALFORMED_FOLDERS: list[tuple[str, dict[str, str | bytes | None], dict[str, object], str]] = [
    ("no corpus id", {"corpus.jsonl": lines({"_id": "", "text": A})}, {}, r"corpus\.jsonl:1: has no '_id'"),
    ("corpus columns", {"corpus.jsonl": lines({"id": "s", "text": A})}, {}, r"no column '_id' \(found: id, text\)"),
    ("corpus empty", {"corpus.jsonl": ""}, {}, r"corpus\.jsonl: has no rows"),
    (
        "corpus text",
        {"corpus.jsonl": CORPUS + lines({"_id": "n", "text": 3})},
        {},
        r"corpus\.jsonl:5: 'text' is a number",
    ),
    (
        "corpus title",
        {"corpus.jsonl": CORPUS + lines({"_id": "n", "text": A, "title": []})},
        {},
        r":5: 'title' is a list",
    ),
    (
        "document twice",
        {"corpus.jsonl": CORPUS + lines({"_id": "s", "text": B})},
        {},
        r"corpus\.jsonl:5: id 's' has another text than in .*corpus\.jsonl:1",
    ),
    (
        "answer not in corpus",
        {"qa.jsonl": GOOD + lines(qa("New?", "Brand new.", id="n"))},
        {},
        r"qa\.jsonl:4: the answer is no document of the corpus, and no document has the id 'n'",
    ),
    (
        "answer unlike its document",
        {"qa.jsonl": GOOD + lines(qa("New?", "Brand new.", id="s"))},
        {},
        r"qa\.jsonl:4: the answer is not the text of document 's' \(.*corpus\.jsonl:1\)",
    ),
    ("two qa files", {"qa.csv": HEAD}, {}, r"has both qa\.jsonl and qa\.csv"),
    (
        "neither qa nor corpus",
        {"qa.jsonl": None, "corpus.jsonl": None},
        {},
        r"has neither a qa file .*found: qrels, queries",
    ),
    (
        "no such train split",
        {},
        {"train_split": "dev"},
        r"no judgements qrels/dev\.tsv \(found: test, test_seen, .*train\)",
    ),
    ("train is test", {}, {"train_split": "test", **TEST}, r"'test' is to be trained on and tested on"),
    ("no queries", {"queries.jsonl": None}, LABELLED, r"queries\.jsonl: no such file"),
    ("no queries to test", {"queries.jsonl": None}, TEST, r"queries\.jsonl: no such file"),
    ("query empty", {"queries.jsonl": QUERIES + lines({"_id": "n", "text": " "})}, TEST, r":6: 'text' is empty"),
    (
        "query twice",
        {"queries.jsonl": QUERIES + lines({"_id": "t1", "text": "other"})},
        LABELLED,
        r"queries\.jsonl:6: id 't1' has another text than in .*:1",
    ),
    ("qrels empty", {"qrels/train.tsv": "query-id\tcorpus-id\tscore\n"}, LABELLED, r"train\.tsv: has no judgements"),
    ("two columns", {"qrels/test.tsv": "t1\ts\n"}, TEST, r"test\.tsv:1: has 2 filled columns, expected 3"),
    ("five columns", {"qrels/test.tsv": "t1\t0\ts\t1\t2\n"}, TEST, r"test\.tsv:1: has 5 filled columns, expected 3"),
    ("gap", {"qrels/test.tsv": "t1\t\t1\n"}, TEST, r"test\.tsv:1: has 2 filled columns"),
    ("fraction", {"qrels/test.tsv": "t1\ts\t0.5\n"}, TEST, r"test\.tsv:1: grade '0\.5' is not a whole number"),
    ("word", {"qrels/test.tsv": "t1\ts\t1\nt2\tr\tyes\n"}, TEST, r"test\.tsv:2: grade 'yes' is not a whole number"),
    ("swapped", {"qrels/test.tsv": "s\tt1\t1\n"}, TEST, r"test\.tsv:1: judges the query 's'"),
    (
        "unknown document",
        {"qrels/test.tsv": "t1\tzz\t1\n"},
        TEST,
        r":1: judges the document 'zz', which is not in the corpus",
    ),
    (
        "unknown query",
        {"qrels/train.tsv": "zz\ts\t1\n"},
        LABELLED,
        r"train\.tsv:1: judges the query 'zz', which is not in",
    ),
    (
        "two grades",
        {"qrels/test.tsv": "t1\ts\t1\nt1\ts\t2\n"},
        TEST,
        r"test\.tsv:2: grades 't1' and 's' otherwise than .*:1",
    ),
    ("nothing relevant", {"qrels/test.tsv": "t1\ts\t0\n"}, TEST, r"test\.tsv: calls no document relevant"),
]


@pytest.mark.parametrize(
    ("files", "more", "expected"), [case[1:] for case in MALFORMED_FOLDERS], ids=[case[0] for case in MALFORMED_FOLDERS]
)
def test_malformed_folder(
    tmp_path: Path, files: dict[str, str | bytes | None], more: dict[str, object], expected: str
) -> None:
    changed = {**BEIR, **files}
    write(tmp_path, {name: content for name, content in changed.items() if content is not None})
    side = attrgetter("judged" if more == TEST else "train")
    with pytest.raises(DataError, match=expected) as caught:
        side(data.Files(section(tmp_path, **more)))
    assert caught.value.place
    assert caught.value.hint.endswith(".")


def test_ten_problems_of_one_file_are_told_at_once(tmp_path: Path) -> None:
    rows = [qa("", B) if number % 2 else qa("a", 7) for number in range(13)]
    with pytest.raises(DataError) as caught:
        load_text(tmp_path, lines(*rows))
    told = caught.value.message.split("\n")
    assert caught.value.place.endswith("qa.jsonl:1")
    assert told[0] == "'answer' is a number, expected text"
    assert told[1] == f"{tmp_path / 'qa.jsonl'}:2: 'question' is empty"
    assert told[-2].startswith(f"{tmp_path / 'qa.jsonl'}:10")
    assert told[-1] == "... and 3 more"


def test_line_of_a_csv_record_counts_breaks_inside_cells(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qa\.csv:4: 'answer' is empty"):
        load_text(tmp_path, HEAD + '"two\nlines",b\nc,""\n', "qa.csv")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pandas.DataFrame({"question": ["a", None], "answer": ["b", "c"]}), r"frame:row 2: 'question' is empty"),
        (pandas.DataFrame({"question": ["a", "d"], "answer": ["b", 3]}), r"frame:row 2: 'answer' is a number"),
        (pandas.DataFrame({"question": ["a", "d"], "answer": ["b", pandas.NA]}), r"frame:row 2: 'answer' is empty"),
        (pandas.DataFrame({"frage": ["a"], 3: ["b"]}), r"frame: has no column 'question' \(found: frage, 3\)"),
        (pandas.DataFrame({"question": [], "answer": []}), r"frame: has no rows"),
        (pandas.DataFrame([list("abc")], columns=["question", "answer", "answer"]), "has the column 'answer' twice"),
        (pandas.DataFrame([list("abcd")], columns=["question", "answer", 1, "1"]), "has the column '1' twice"),
    ],
)
def test_malformed_frame(frame: pandas.DataFrame, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        data.load_frame(frame, DataSection())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", r"data\.path: no data is named"),
        ("nowhere.jsonl", r"nowhere\.jsonl: no such file or folder"),
        ("no/where/at/all", r"no/where/at/all: no such file or folder\n  Check data\.path\."),
        ("some/faq", r"some/faq: no such file or folder; as an id of the datasets hub .* run\.offline = false"),
        ("some/faq.csv", r"some/faq\.csv: no such file or folder\n  Check data\.path\."),
    ],
)
def test_missing_data(path: str, expected: str) -> None:
    with pytest.raises(DataError, match=f"(?s){expected}"):
        _ = data.Files(DataSection(path=path)).train


@pytest.mark.skipif(os.name == "nt", reason="a folder opens with another error there")
def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "qa.jsonl").mkdir()
    with pytest.raises(DataError, match=r"qa\.jsonl: cannot be read \(is a directory\)"):
        _ = data.Files(section(tmp_path)).train


def test_general_folder_that_is_missing_twice_or_without_one_test(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.general: .*nowhere: no such folder"):
        _ = data.Files(DataSection(general=(str(tmp_path / "nowhere"),))).judged
    parts = {name: BEIR[name] for name in ("corpus.jsonl", "queries.jsonl", "qrels/test_seen.tsv")}
    one = write(tmp_path / "one", parts)
    again = write(tmp_path / "again" / "one", parts)
    with pytest.raises(DataError, match=r"two judged sets are called one/test_seen"):
        _ = data.Files(DataSection(general=(str(one), str(again)))).judged
    write(one, {"qrels/test_unseen.tsv": "t3\tc\t1\n"})
    with pytest.raises(DataError, match=r"one: needs one test split \(found: test_seen, test_unseen\)"):
        _ = data.Files(DataSection(general=(str(one),))).judged


def test_train_split_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qa\.jsonl: is not a folder with a BEIR set"):
        load_text(tmp_path, GOOD, train_split="train")


def test_hub_data_set_takes_its_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {
        "train": datasets.Dataset.from_list([qa("How fast?", A), qa("Back?", B)]),
        "test": datasets.Dataset.from_list([qa("Cards?", C)]),
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(parts))
    dataset = data.Files(DataSection(path="some/faq"), offline=False).train
    assert dataset.name == "faq"
    assert [question.text for question in dataset.questions] == ["How fast?", "Back?"]
    judged = data.Files(DataSection(path="some/faq"), offline=False).judged[0]
    assert (judged.name, [query.text for query in judged.queries]) == ("faq/test", ["Cards?"])
    assert data.Files(DataSection(path="some/faq")).fingerprint != data.Files(DataSection(path="other/faq")).fingerprint


def test_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def fail(name: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"some/faq: cannot be had from the datasets hub \(no route\)"):
        _ = data.Files(DataSection(path="some/faq"), offline=False).train


# --- real sets -------------------------------------------------------------------------------------------------

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the evaluation sets are not beside the checkout")

# name: documents, training rows, labelled questions after merging, {split: (queries, judgements)}, held-out rows
DOMAIN = {
    "banking77_faq": (77, 62, 7899, {"test_seen": (2444, 2445), "test_unseen": (592, 592)}, 15),
    "covidfaq_jhu": (67, 59, 270, {"test_seen": (228, 228), "test_unseen": (128, 128)}, 8),
    "ecommerce_faq79": (76, 40, 40, {"test": (39, 39)}, 0),
    "sofmattress_faq": (21, 17, 257, {"test_seen": (188, 188), "test_unseen": (62, 62)}, 4),
    "stackfaq": (719, 100, 599, {"test_seen": (500, 2810), "test_unseen": (250, 1570)}, 25),
}
GENERAL = {
    "adi": (82, 35, 170),
    "cisi": (1460, 76, 3114),
    "cranfield": (1398, 225, 1611),
    "medline1033": (1033, 30, 696),
    "nfcorpus_filtered": (3395, 323, 12334),
    "npl": (11429, 93, 2083),
    "scifact": (5183, 300, 339),
}


@needs_shared
@pytest.mark.parametrize("name", DOMAIN)
def test_real_domain_set(name: str) -> None:
    documents, canonical, with_labelled, tests, held_out_rows = DOMAIN[name]
    wanted = section(SHARED / name)
    dataset = data.Files(wanted).train
    assert (dataset.name, len(dataset.documents), len(dataset.questions)) == (name, documents, canonical)
    assert len(data.Files(section(SHARED / name, train_split="train")).train.questions) == with_labelled
    judged = data.Files(wanted).judged[:-1]
    found = {item.split: (len(item.queries), sum(len(grades) for grades in item.qrels.values())) for item in judged}
    assert found == tests
    held_out = data.Files(section(SHARED / name, train_split="train")).held_out.wording.keys()
    assert held_out == data.Files(wanted).held_out.wording.keys()
    assert len(held_out) == sum(queries for queries, _ in tests.values()) + held_out_rows
    assert held_out.isdisjoint(data.normalise(question.text) for question in dataset.questions)


@needs_shared
@pytest.mark.parametrize("name", GENERAL)
def test_real_general_set(name: str) -> None:
    (judged,) = data.Files(DataSection(general=(str(SHARED / name),))).judged
    counts = (len(judged.documents), len(judged.queries), sum(len(grades) for grades in judged.qrels.values()))
    assert counts == GENERAL[name]


@needs_shared
def test_shared_answers_of_a_real_set_share_documents() -> None:
    dataset = data.Files(section(SHARED / "ecommerce_faq79")).train
    assert all(document.id.startswith("f") for document in dataset.documents)
    assert dataset.labelled_ids < {document.id for document in dataset.documents}


@needs_shared
def test_real_leak_is_found() -> None:
    with pytest.raises(DataError, match=r"queries\.jsonl:\d+: trains on a held-out question: 'Obesity decreases"):
        _ = data.Files(section(SHARED / "scifact", train_split="train")).held_out.wording.keys()


def test_example_shop_loads() -> None:
    wanted = section(SHOP)
    dataset = data.Files(wanted).train
    assert [judged.name for judged in data.Files(wanted).judged] == [
        "shop/test_seen",
        "shop/test_unseen",
        "general-dev/test",
    ]
    assert dataset.labelled_ids <= {document.id for document in dataset.documents}
    assert (
        data.Files(wanted)
        .held_out.wording.keys()
        .isdisjoint(data.normalise(question.text) for question in dataset.questions)
    )
