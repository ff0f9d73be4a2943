"""The first config that `init` writes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from expertune import config, data
from expertune.commands import init
from expertune.config import FILE_NAME
from expertune.errors import ConfigError, DataError

PAIRS = [("How do I pay?", "By card."), ("How do I return it?", "By post."), ("Are you open?", "Every day.")]


def _qa(folder: Path, question: str = "question", answer: str = "answer") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "qa.jsonl"
    file.write_text("".join(json.dumps({question: first, answer: second}) + "\n" for first, second in PAIRS))
    return file


KEYS = [
    (section, key)
    for section, values in config.Config()
    for key, value in values
    if value is not None  # TOML has no word for nothing
]


def _uncommented(text: str) -> dict[str, dict[str, object]]:
    return tomllib.loads(re.sub(r"^# (?=[a-z_0-9]+ = |    |\])", "", text, flags=re.MULTILINE))


def test_the_config_reads_back_and_finds_the_data(tmp_path):
    _qa(tmp_path / "faq")
    written = config.read(init.write(tmp_path / "faq"))
    assert len(data.Files(written.data).train.questions) == 3
    assert written.run.out == tmp_path / "faq" / "runs" / "faq"
    assert written.model_copy(update={"run": config.RunSection(), "data": config.DataSection()}) == config.Config()


def test_every_comment_shows_the_default_that_holds(tmp_path):
    _qa(tmp_path)
    shown = _uncommented(init.write(tmp_path).read_text(encoding="utf-8"))
    defaults = config.Config()
    read = config.from_mapping(shown)
    for section, key in KEYS:
        assert key in shown[section], f"{section}.{key} is not in the file"
        if (section, key) not in {("run", "out"), ("data", "path")}:  # these are set for the folder
            assert getattr(getattr(read, section), key) == getattr(getattr(defaults, section), key)


def test_every_section_and_only_known_keys_are_shown(tmp_path):
    _qa(tmp_path)
    shown = _uncommented(init.write(tmp_path).read_text(encoding="utf-8"))
    assert list(shown) == list(config.Config.model_fields)
    assert {(section, key) for section, table in shown.items() for key in table} == set(KEYS)


def test_every_shown_key_carries_its_description_and_choices(tmp_path):
    _qa(tmp_path)
    text = " ".join(init.write(tmp_path).read_text(encoding="utf-8").replace("## ", "").split())
    for section, key in KEYS:
        assert type(getattr(config.Config(), section)).model_fields[key].description in text
    assert "one of: hard, soft-1" in text
    assert "one of: query, tied, full" in text


def test_an_existing_config_is_never_touched(tmp_path):
    _qa(tmp_path)
    mine = tmp_path / FILE_NAME
    mine.write_text("# mine\n")
    with pytest.raises(ConfigError, match="a config already"):
        init.write(tmp_path)
    assert mine.read_text() == "# mine\n"


def test_a_table_of_another_name_is_found_with_its_columns(tmp_path):
    (tmp_path / "faq.csv").write_text("Prompt,Response\nHow?,So.\nWhy?,Because.\n")
    written = config.read(init.write(tmp_path))
    assert written.data.path == str(tmp_path / "faq.csv")
    assert (written.data.question_column, written.data.answer_column) == ("Prompt", "Response")
    assert len(data.Files(written.data).train.questions) == 2


def test_splits_and_corpus_are_named(tmp_path):
    _qa(tmp_path)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "By card."}\n')
    (tmp_path / "qrels").mkdir()
    for split in ("test_seen", "test_unseen", "train"):
        (tmp_path / "qrels" / f"{split}.tsv").write_text("q\t1\t1\n")
    found = init.look(tmp_path)
    assert (found.corpus, found.splits) == (True, ("test_seen", "test_unseen", "train"))
    assert "held-out splits: test_seen, test_unseen\n" in init.text(found)


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "umlaut ä", "new\nline", "tab\tand [run]"], ids=["quote", "slash", "ä", "line", "table"]
)
def test_odd_names_of_folders_and_splits_stay_inside_their_values(tmp_path, name):
    _qa(tmp_path / name)
    (tmp_path / name / "qrels").mkdir()
    (tmp_path / name / "qrels" / f"test {name}.tsv").write_text("q\t1\t1\n")
    written = config.read(init.write(tmp_path / name))
    assert written.run.out.name == name


def test_nothing_to_read_is_an_error_that_says_what_to_put_there(tmp_path):
    with pytest.raises(DataError, match="neither a qa file") as caught:
        init.write(tmp_path)
    assert "qa.jsonl" in caught.value.hint
    assert not (tmp_path / FILE_NAME).exists()
    with pytest.raises(DataError, match="no such folder"):
        init.write(tmp_path / "nowhere")


def test_of_two_tables_none_is_guessed(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\n")
    (tmp_path / "b.csv").write_text("question,answer\n")
    with pytest.raises(DataError, match=r"a\.csv, b\.csv"):
        init.look(tmp_path)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ("Nr;Frage;Antwort;Teil", {"id_column": "Nr", "question_column": "Frage", "answer_column": "Antwort"}),
        ("Key;Title;Body;Set", {"id_column": "Key", "question_column": "Title", "answer_column": "Body"}),
        (
            "FAQ-ID;Query;Response;fold",
            {"id_column": "FAQ-ID", "question_column": "Query", "answer_column": "Response"},
        ),
        ("ID;Question;Answer;usage", {}),
    ],
)
def test_columns_are_guessed_from_the_header_and_three_rows_are_shown(tmp_path, heads, expected):
    lines = ["1;How?;So.;train", "2;Why?;Because.;train", "2;What for?;Because.;test", "1;Which way?;So.;test"]
    (tmp_path / "export.csv").write_text("\ufeff" + "\n".join([heads, *lines]) + "\n", encoding="utf-8")
    found = init.look(tmp_path)
    assert found.columns == {**expected, "split_column": heads.rpartition(";")[2]}
    assert len(found.rows) == 3
    assert found.rows[0] == "question: How? | answer: So. | id: 1 | split: train"
    written = config.read(init.write(tmp_path, found))
    read = data.Files(written.data)
    assert (len(read.train.questions), read.held_out.texts) == (2, ("What for?", "Which way?"))


def test_an_id_that_stands_for_two_answers_is_not_guessed(tmp_path):
    (tmp_path / "faq.csv").write_text("number,question,answer\n1,How?,So.\n1,Why?,Because.\n")
    assert init.look(tmp_path).columns == {}


def test_a_folder_with_a_spreadsheet_says_how_to_save_it(tmp_path):
    (tmp_path / "FAQ.XLSX").write_bytes(b"PK")
    with pytest.raises(DataError) as caught:
        init.look(tmp_path)
    assert "CSV UTF-8" in caught.value.hint
