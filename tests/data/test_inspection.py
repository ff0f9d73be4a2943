from __future__ import annotations

from pathlib import Path

from expertune.data.inspection import inspect, read_by
from expertune.data.texts import TextFindings
from expertune.records import Document

SHORT = (Document("a", "We are open."), Document("b", "It is free."))


def test_texts_that_a_model_reads_whole_need_no_word(tiny_model: Path) -> None:
    findings = inspect(SHORT, TextFindings(), str(tiny_model), ())
    assert findings.script == "LATIN"
    assert findings.notes == ()
    assert [reading.longer for reading in findings.readings] == [0.0]


def test_answers_longer_than_a_model_reads_are_told_with_what_helps(tiny_model: Path) -> None:
    documents = (*SHORT, Document("c", "a word and more " * 3000))
    findings = inspect(documents, TextFindings(), str(tiny_model), ())
    (reading,) = findings.readings
    assert reading.limit > 0
    assert reading.longer == 1 / 3
    assert 0.5 < reading.cut < 1
    assert "33 % of the answers are longer" in findings.notes[0]
    assert "train.base" in findings.notes[0]


def test_another_script_is_told(tiny_model: Path) -> None:
    findings = inspect((Document("a", "貸出所は毎日開いています"),), TextFindings(), str(tiny_model), ())
    assert findings.script == "JAPANESE"
    assert "leave augment.per_answer at 0" in findings.notes[-1]


def test_what_was_cleaned_is_told(tiny_model: Path) -> None:
    notes = inspect(SHORT, TextFindings(repaired=2, stripped=3, placeholders=1), str(tiny_model), ()).notes
    assert [note.split(" ")[0] for note in notes] == ["3", "2", "1"]


def test_what_a_model_reads_of_a_long_answer_ends_where_its_last_token_does(tiny_model: Path) -> None:
    (reading,) = inspect(SHORT, TextFindings(), str(tiny_model), ()).readings
    long = " ".join(f"w{number}" for number in range(3000))
    short, part = read_by(str(tiny_model), [SHORT[0].text, long])
    assert short == SHORT[0].text
    assert long.startswith(part)
    assert 0 < len(part) < len(long)
    (again,) = inspect((Document("c", part),), TextFindings(), str(tiny_model), ()).readings
    assert (again.limit, again.longer) == (reading.limit, 0.0)
    (more,) = inspect((Document("c", long[: len(part) + 8]),), TextFindings(), str(tiny_model), ()).readings
    assert more.longer == 1.0


def test_a_model_that_nobody_knows_is_taken_to_read_all() -> None:
    assert read_by("no such model", ["a text"]) == ["a text"]
