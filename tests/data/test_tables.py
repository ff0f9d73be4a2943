"""Columns, split values, dialects of tables, and answers that are the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pandas
import pytest

from expertune import data
from expertune.config import DataSection
from expertune.data.readers import read_table
from expertune.data.wording import same_answer
from expertune.errors import DataError

ANSWERS = ("We ship in two days.", "Send it back within a month, please.", "We take cards.")
QUESTIONS = ("How fast?", "Can I return it?", "Cards?")
HELD_OUT = ("delivery time", "send back", "visa")


def rows() -> list[dict[str, str]]:
    pairs = zip("src", QUESTIONS, ANSWERS, strict=True)
    trained = [{"id": key, "question": text, "answer": answer, "split": ""} for key, text, answer in pairs]
    pairs = zip("src", HELD_OUT, ANSWERS, strict=True)
    return trained + [
        {"id": key, "question": text, "answer": answer, "split": "heldout"} for key, text, answer in pairs
    ]


def files(path: Path, **more: object) -> data.Files:
    return data.Files(DataSection.model_validate({"path": str(path), **more}))


def jsonl(path: Path, items: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def csv(path: Path, columns: dict[str, str] | None = None, sep: str = ",", encoding: str = "utf-8") -> Path:
    pandas.DataFrame(rows()).rename(columns=columns or {}).to_csv(path, index=False, sep=sep, encoding=encoding)
    return path


def plain(tmp_path: Path) -> tuple[data.Dataset, set[str]]:
    """Return what the plain form of the rows gives, to compare with."""
    (tmp_path / "plain").mkdir(exist_ok=True)
    read = files(jsonl(tmp_path / "plain" / "qa.jsonl", rows()))
    return read.train, set(read.held_out.texts)


def same(tmp_path: Path, path: Path, **more: object) -> bool:
    read, (expected, held_out) = files(path, **more), plain(tmp_path)
    texts = (expected.documents, expected.questions, held_out)
    assert len(read.judged[0].queries) == len(HELD_OUT)
    return (read.train.documents, read.train.questions, set(read.held_out.texts)) == texts


# --- columns and splits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Split", "SPLIT ", " split", "\ufeffsplit"])
def test_column_names_count_without_case_and_blanks(tmp_path, name):
    columns = {"id": "ID", "question": " Question", "answer": "ANSWER ", "split": name}
    assert same(tmp_path, csv(tmp_path / "faq.csv", columns))
    renamed = [{columns[key]: value for key, value in row.items()} for row in rows()]
    assert same(tmp_path, jsonl(tmp_path / "faq.jsonl", renamed))


def test_names_of_the_config_count_without_case_too(tmp_path):
    path = csv(tmp_path / "faq.csv", {"question": "FRAGE", "split": "Set"})
    assert same(tmp_path, path, question_column="Frage", split_column="set")


def test_rows_may_spell_one_column_in_several_ways(tmp_path):
    mixed = [{("Split" if number % 2 else "split"): row.pop("split"), **row} for number, row in enumerate(rows())]
    assert same(tmp_path, jsonl(tmp_path / "faq.jsonl", mixed))


@pytest.mark.parametrize("value", ["validation", "Valid", "VAL", "dev", "held-out", "Held out", "hold_out", "test_b"])
def test_every_word_for_held_out_is_tested_on_where_there_is_no_other(tmp_path, value):
    changed = [{**row, "split": value if row["split"] else "Training"} for row in rows()]
    path = jsonl(tmp_path / "faq.jsonl", changed)
    assert same(tmp_path, path)
    assert files(path).notes == (f"3 rows to train on; rows that their split leaves out of training: 3 '{value}'",)


def test_a_named_test_split_may_have_any_name(tmp_path):
    changed = [{**row, "split": row["split"].replace("heldout", "Gold")} for row in rows()]
    path = jsonl(tmp_path / "faq.jsonl", changed)
    with pytest.raises(DataError, match=r"'split' is 'Gold', which is not known \(rows found: '': 3, 'Gold': 3\)"):
        _ = files(path).train
    assert same(tmp_path, path, test_splits=("Gold",))


@pytest.mark.parametrize("name", ["set", "fold", "Partition", "whatever"])
def test_a_column_that_looks_like_a_split_is_never_trained_on(tmp_path, name):
    path = csv(tmp_path / "faq.csv", {"split": name})
    with pytest.raises(DataError, match=f"the column '{name}' looks like a split") as caught:
        _ = files(path).train
    assert f'data.split_column = "{name}"' in caught.value.hint
    assert same(tmp_path, path, split_column=name)


def test_other_columns_are_no_split_and_are_named(tmp_path):
    changed = [{**row, "topic": "test drive", "set": "A", "old": True} for row in rows()]
    assert files(jsonl(tmp_path / "faq.jsonl", changed)).notes[1] == "columns not used: topic, set, old"


def test_few_rows_without_an_answer_are_left_out_and_named(tmp_path):
    path = jsonl(tmp_path / "faq.jsonl", [*rows(), {"question": "And?", "answer": " "}])
    assert same(tmp_path, path)
    assert files(path).notes[1] == f"1 row left out, as question or answer is empty: {path}:7"


# --- dialects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("sep", "suffix"), [(";", "csv"), ("\t", "csv"), ("|", "CSV"), (",", "tsv"), ("\t", "TSV")])
def test_the_header_tells_the_separator(tmp_path, sep, suffix, encoding):
    assert same(tmp_path, csv(tmp_path / f"faq.{suffix}", sep=sep, encoding=encoding))


def test_commas_in_names_and_answers_do_not_mislead(tmp_path):
    path = tmp_path / "faq.csv"
    path.write_text("id;question;answer, short, plain;x\na;b;one, two, three;\n")
    assert read_table(path).columns == ("id", "question", "answer, short, plain", "x")
    path.write_text("question,answer;;;;\nb,c\n")
    assert read_table(path).columns == ("question", "answer;;;;")


def test_the_separator_line_of_excel_is_no_header(tmp_path):
    path = csv(tmp_path / "faq.csv", sep=";")
    path.write_text("sep=;\n" + path.read_text())
    assert same(tmp_path, path)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "JSON"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("within", [False, True])
def test_an_array_is_read_as_rows(tmp_path, suffix, indent, within):
    content = {"version": 1, "faqs": rows()} if within else rows()
    path = tmp_path / f"faq.{suffix}"
    path.write_text(json.dumps(content, indent=indent))
    assert same(tmp_path, path)


def test_float_ids_are_whole_numbers(tmp_path):
    frame = pandas.DataFrame(rows()).assign(id=[1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    frame.to_parquet(tmp_path / "faq.parquet")
    frame.to_csv(tmp_path / "faq.csv", index=False)
    for name in ("faq.parquet", "faq.csv"):
        assert [document.id for document in files(tmp_path / name).train.documents] == ["1", "2", "3"]
    (tmp_path / "set").mkdir()
    frame.to_parquet(tmp_path / "set" / "qa.parquet")
    jsonl(tmp_path / "set" / "corpus.jsonl", [{"_id": str(i + 1), "text": text} for i, text in enumerate(ANSWERS)])
    assert files(tmp_path / "set").train.questions[2].document_ids == ("3",)


@pytest.mark.parametrize("tags", [["delivery", "fast"], ["one"], []])
def test_a_column_of_lists_is_one_that_is_not_used(tmp_path, tags):
    pandas.DataFrame(rows()).assign(tags=[tags] * 6).to_parquet(tmp_path / "faq.parquet")
    assert same(tmp_path, tmp_path / "faq.parquet")
    assert "columns not used: tags" in files(tmp_path / "faq.parquet").notes


def test_a_split_that_is_a_list_is_refused(tmp_path):
    pandas.DataFrame(rows()).assign(split=[["train", "dev"]] * 6).to_parquet(tmp_path / "faq.parquet")
    with pytest.raises(DataError, match=r"faq\.parquet:row 1: 'split' is a ndarray, expected text"):
        _ = files(tmp_path / "faq.parquet").train


@pytest.mark.parametrize("nothing", [pandas.NA, pandas.NaT, float("nan"), numpy.float32("nan"), None])
def test_what_stands_for_nothing_is_no_value_of_any_column(nothing):
    frame = pandas.DataFrame(rows()).astype(object)
    frame = frame.assign(fold=pandas.Series([nothing, *"abcde"], dtype=object))
    frame["split"] = frame["split"].where(frame["split"] != "", nothing)
    train = data.load_frame(frame, DataSection())
    assert [question.text for question in train.questions] == list(QUESTIONS)


@pytest.mark.parametrize("name", ["faq.csv", "Export 2024.CSV"])
def test_the_one_table_of_a_folder_is_found(tmp_path, name):
    folder = tmp_path / "shop"
    folder.mkdir()
    csv(folder / name)
    (folder / ".~lock.faq.csv").write_text("")
    (folder / "readme.md").write_text("")
    assert same(tmp_path, folder)


# --- answers that are the same ---------------------------------------------------------------------------------


def test_answers_that_differ_in_typography_alone_are_one(tmp_path):
    first = "It\u2019s \u201copen\u201d \u2013 every day."
    others = (
        'it\'s "open" - every day',
        "IT'S  \u201eopen\u201c \u2014 every\u00a0day. ",
        "It\u2019s \u201copen\u201d \u2013 every day",
        'It\'s "open" - every day!',
        '**It\'s** "open" - every day.',
        '\u2022 It\'s "open" - every day',
        '- It\'s "open" - every day',
        '## It\'s "open" - every day',
    )
    assert same_answer('"Free of charge."') == same_answer("free of charge")
    assert {same_answer(text) for text in (first, *others)} == {same_answer(first)}
    apart = (
        "5 %",
        "-5 %",
        "5",
        "C#",
        "C++",
        "C",
        "1.5",
        "15",
        "Yes",
        "Yes?",
        ".",
        "",
        "- 5",
        '"a" or "b"',
        'a" or "b',
        "#1",
    )
    assert len({same_answer(text) for text in apart}) == len(apart)
    items = [{"question": f"q{number}", "answer": text} for number, text in enumerate((first, *others, "Other"))]
    read = files(jsonl(tmp_path / "faq.jsonl", items))
    assert [document.text for document in read.train.documents] == [first, "Other"]
    assert read.notes[-1].startswith("8 answers were joined")


def test_a_document_twice_in_the_corpus_is_one_and_judgements_follow(tmp_path):
    (tmp_path / "qrels").mkdir()
    jsonl(tmp_path / "qa.jsonl", [{"id": "s2", "question": "How fast?", "answer": ANSWERS[0]}, rows()[1]])
    texts = {"s": ANSWERS[0], "s2": ANSWERS[0].upper(), "r": ANSWERS[1], "c": ANSWERS[2]}
    jsonl(tmp_path / "corpus.jsonl", [{"_id": key, "text": text} for key, text in texts.items()])
    jsonl(tmp_path / "queries.jsonl", [{"_id": "t", "text": "delivery time"}])
    (tmp_path / "qrels" / "test.tsv").write_text("t\ts\t0\nt\ts2\t2\nt\tc\t0\n")
    read = files(tmp_path)
    assert [document.id for document in read.train.documents] == ["s", "r", "c"]
    assert [question.document_ids for question in read.train.questions] == [("s",), ("r",)]
    assert read.judged[0].qrels == {"t": {"s": 2, "c": 0}}
    assert read.notes[-1].startswith("1 answer was joined")
    apart = data.Files(DataSection(path=str(tmp_path)), join=False).judged[0]
    assert (len(apart.documents), apart.qrels["t"]) == (4, {"s": 0, "s2": 2, "c": 0})
