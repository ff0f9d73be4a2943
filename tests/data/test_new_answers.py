"""New answers: any table or corpus, with or without questions; what is there already is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expertune.config import DataSection
from expertune.data.new_answers import read_new_answers
from expertune.errors import DataError
from expertune.records import Dataset

KNOWN = {"cost": "Shipping is free.", "new1": "You can pay by card."}


def read(tmp_path: Path, name: str, content: str) -> Dataset:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_new_answers(tmp_path / name, DataSection(), KNOWN)


def test_answers_alone_are_called_by_what_is_free(tmp_path):
    new = read(tmp_path, "new.csv", "answer\nWe ship on Monday.\nWe open at nine.\n")
    assert [(item.id, item.text) for item in new.documents] == [
        ("new2", "We ship on Monday."),
        ("new3", "We open at nine."),
    ]
    assert new.questions == ()


def test_an_answer_may_have_several_questions_and_a_question_several_answers(tmp_path):
    rows = [
        {"id": "m", "question": "When do you ship?", "answer": "On Monday."},
        {"id": "m", "question": "Which day?", "answer": "On  monday"},
        {"id": "o", "question": "which day", "answer": "Open daily."},
        {"id": "p", "answer": "No question leads here."},
    ]
    new = read(tmp_path, "new.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [item.id for item in new.documents] == ["m", "o", "p"]
    assert [(item.text, item.document_ids) for item in new.questions] == [
        ("When do you ship?", ("m",)),
        ("Which day?", ("m", "o")),
    ]


def test_a_corpus_with_titles_and_a_folder_with_one_are_read(tmp_path):
    line = json.dumps({"_id": "m", "title": "Shipping", "text": "<p>On Monday.</p>"}) + "\n"
    assert read(tmp_path, "corpus.jsonl", line).documents[0].text == "Shipping On Monday."
    assert read_new_answers(tmp_path, DataSection(), KNOWN).documents[0].id == "m"


def test_the_run_s_columns_count(tmp_path):
    (tmp_path / "new.csv").write_text("Antwort,Nr\nAm Montag.,7\n", encoding="utf-8")
    section = DataSection(question_column="Frage", answer_column="Antwort", id_column="Nr")
    assert read_new_answers(tmp_path / "new.csv", section, KNOWN).documents[0].id == "7"


def test_whatever_is_there_already_is_named_at_once(tmp_path):
    rows = 'id,answer\ncost,Something else.\nx,"you can pay by card"\ny,First.\ny,Second.\n'
    with pytest.raises(DataError) as refused:
        read(tmp_path, "new.csv", rows)
    for part in ("new.csv:2", "'cost' is there already", "as 'new1'", "another answer than in"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"), [("new.csv", "id,question\n1,why\n"), ("new.jsonl", ""), ("new.pdf", "x")]
)
def test_what_holds_no_answers_is_refused(tmp_path, name, content):
    with pytest.raises(DataError):
        read(tmp_path, name, content)
