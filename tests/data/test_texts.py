from __future__ import annotations

import json
from pathlib import Path

import pandas
import pytest

from expertune import data
from expertune.config import DataSection
from expertune.data.markup import stripped
from expertune.data.rows import Row, Table
from expertune.data.texts import TextFindings, clean, clean_texts, is_placeholder, listed
from expertune.data.wording import script_of
from expertune.errors import DataError

ARTICLE = (
    '<div class="body" id="a-1"><h2><strong>&nbsp;</strong></h2><ul><li style="font-family:&quot;Sans&quot;">Riders '
    '&amp; guests pay <b>no</b>thing.</li><li>Ask <a href="https://x.org/?a=1&amp;b=2">us</a></li></ul><p><br></p>'
    "<!-- note --><script>window.dataLayer=[]</script><style>p{color:red}</style></div>"
)


def table(*rows: tuple[str, str], **more: str) -> Table:
    return Table.of("qa", [Row(f"qa:{n}", {"question": q, "answer": a, **more}) for n, (q, a) in enumerate(rows, 1)])


def cleaned(*rows: tuple[str, str]) -> tuple[list[tuple[str, str]], TextFindings]:
    result, findings = clean(table(*rows), ("question", "answer"), question="question", answer="answer")
    return [(row.values["question"], row.values["answer"]) for row in result.rows], findings


# --- markup ----------------------------------------------------------------------------------------------------------


def test_markup_becomes_what_a_browser_shows() -> None:
    assert stripped([ARTICLE]) == ["Riders & guests pay nothing.\nAsk us"]
    assert stripped(["<p>One<br/>two</p><p>temperature < 5 and > 3</p>"]) == ["One\ntwo\ntemperature < 5 and > 3"]
    assert stripped(["<table><tr><td>Monday</td><td>9 to 5</td></tr></table>"]) == ["Monday\n9 to 5"]
    assert stripped(['<p>Map: <img src="m.png" alt="the station"></p>']) == ["Map: the station"]
    assert stripped(["<p>Write <your name> below</p>"]) == ["Write <your name> below"]


def test_entities_become_characters_also_where_there_are_no_tags() -> None:
    assert stripped(["Bed &amp; breakfast&nbsp;at 5&#8364;, it&#39;s &quot;fine&quot;"]) == [
        'Bed & breakfast at 5€, it\'s "fine"'
    ]
    assert stripped(["&lt;p&gt;Escaped &amp;amp; once more&lt;/p&gt;"]) == ["Escaped & once more"]


@pytest.mark.parametrize(
    "text",
    [
        "Hire is free at a temperature < 5 or > 35 degrees.",
        "if a<b and c>d then x <y",
        "Use List<String> or Map<K, V> here",
        "The <s> tag for font on github does not work, is there an alternative?",
        "Write to in:<foldername> or <your-name>@x.org",
        "Open `<div>Text</div>` in the editor",
        "AT&T; R&D;, Q&A and ?a=1&copy=2",
        "C/EBP&bgr; <or=3 mg/l and elevated > 3",
        "I <3 bikes",
    ],
)
def test_what_is_no_markup_stays(text: str) -> None:
    assert clean_texts([text]) == ([text], {"repaired": 0, "stripped": 0, "lost": 0})


def test_a_few_texts_about_tags_keep_them() -> None:
    about = "I used the following syntax <del> ... </del> on GitHub"
    assert stripped([about, *["A plain text."] * 20])[0] == about
    assert stripped(["<p>An article</p>", *["A plain text."] * 20])[0] == "An article"


# --- wrong encodings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("Childrenâ€™s bicycles â€“ plÃ©ase", "Children’s bicycles – pléase"),
        ("GrÃ¶ÃŸe fÃ¼r 40â‚¬", "Größe für 40€"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "привет"),
        ("Children\x92s \x96 bicycles", "Children’s – bicycles"),
    ],
)
def test_wrong_encodings_are_repaired(broken: str, right: str) -> None:
    assert clean_texts([broken]) == ([right], {"repaired": 1, "stripped": 0, "lost": 0})


@pytest.mark.parametrize("text", ["Größe für 40 €", "naïve café", "営業時間", "L’été “ici”", "São Paulo"])
def test_right_texts_are_not_repaired(text: str) -> None:
    assert clean_texts([text])[0] == [text]


def test_what_an_earlier_program_lost_is_counted_and_stays() -> None:
    assert clean_texts(["caf\ufffd"]) == (["caf\ufffd"], {"repaired": 0, "stripped": 0, "lost": 1})


# --- placeholders and lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "NaN",
        "#N/A",
        "N/A",
        "null",
        "None",
        "<NA>",
        "TODO",
        "tbd",
        "-",
        "—",
        "...",
        "#REF!",
        "[none]",
        "k.A.",
        "TODO: write this",
        "tbd (ask Ann)",
        "Lorem ipsum dolor",
    ],
)
def test_placeholders(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize(
    "text", ["", "None of them.", "What is NaN?", "No", "Yes", "?", "todo list", "C-", "null and void"]
)
def test_real_cells_are_no_placeholders(text: str) -> None:
    assert not is_placeholder(text)


def test_line_breaks_that_were_spelled_out_are_line_breaks() -> None:
    texts = [
        "Open daily.\\nClosed on Sundays.\\r\\n",
        "How?\\n\\n- by bus",
        "see C:\\news and C:\\New",
        "the \\name of it",
    ]
    assert clean_texts(texts)[0] == ["Open daily.\nClosed on Sundays.\n", "How?\n\n- by bus", *texts[2:]]


def test_rows_with_placeholders_are_left_out_and_counted() -> None:
    rows, findings = cleaned(
        ("How far?", "80 kilometres"), ("Stolen?", "nan"), ("N/A", "At nine."), ("Is null ok?", "no")
    )
    assert rows == [("How far?", "80 kilometres"), ("Is null ok?", "no")]
    assert findings == TextFindings(placeholders=2)


def test_nothing_but_placeholders_is_an_error() -> None:
    with pytest.raises(DataError, match="every row has only a placeholder"):
        cleaned(("How far?", "nan"))


@pytest.mark.parametrize(
    "text",
    [
        "['How far?', 'what range']",
        '["How far?", "what range"]',
        "['How far?' 'what range']",
        "['How far?'\n 'what range']",
        "('How far?', 'what range')",
        "{'How far?', 'what range'}",
        "array(['How far?', 'what range'], dtype=object)",
        "{'text': ['How far?', 'what range'], 'start': [0, 1]}",
        "['How far?', '', 'nan', 'what range']",
    ],
)
def test_lists_written_as_text_become_several_questions(text: str) -> None:
    rows, findings = cleaned((text, "80 kilometres"))
    assert rows == [("How far?", "80 kilometres"), ("what range", "80 kilometres")]
    assert findings.lists == 1


def test_a_cell_that_is_a_list_is_read_as_one(tmp_path: Path) -> None:
    rows = [
        {"question": [f"How far {n}?", f"what range {n}"], "answer": {"text": [f"{n} kilometres"]}} for n in range(3)
    ]
    jsonl = tmp_path / "faq.jsonl"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pandas.DataFrame(rows).to_parquet(tmp_path / "faq.parquet")
    for path in (jsonl, tmp_path / "faq.parquet"):
        read = data.Files(DataSection(path=str(path)))
        assert [item.text for item in read.train.questions][:2] == ["How far 0?", "what range 0"]
        assert [item.text for item in read.train.documents] == [f"{n} kilometres" for n in range(3)]
        assert read.texts.lists == 6


def test_an_answer_of_several_parts_is_one_answer_in_every_file(tmp_path: Path) -> None:
    rows = [{"question": f"How far {n}?", "answer": [f"{n} kilometres.", "Downhill more."]} for n in range(3)]
    jsonl = tmp_path / "faq.jsonl"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pandas.DataFrame(rows).to_parquet(tmp_path / "faq.parquet")
    for path in (jsonl, tmp_path / "faq.parquet"):
        read = data.Files(DataSection(path=str(path)))
        assert [item.text for item in read.train.documents] == [f"{n} kilometres.\nDownhill more." for n in range(3)]
        assert read.texts.lists == 3


@pytest.mark.parametrize("text", ["[Urgent] where?", "(really?)", "[1, 2]", "[see map]", "['a', f()]", "{}", "['a"])
def test_what_spells_no_list_of_texts_stays(text: str) -> None:
    assert listed(text) is None


def test_a_list_in_an_answer_is_one_answer() -> None:
    assert cleaned(("How?", "['Open it.', 'Close it.']"))[0] == [("How?", "Open it.\nClose it.")]


# --- loading ---------------------------------------------------------------------------------------------------------


def test_loading_cleans_and_tells(tmp_path: Path) -> None:
    lines = [
        {"question": "['How far?', 'what range']", "answer": "<p>A full battery lasts for 80&nbsp;kilometres.</p>"},
        {"question": "Helmets â€“ free?", "answer": "Yes, helmets are free."},
        {"question": "Stolen?", "answer": "#N/A"},
    ]
    path = tmp_path / "qa.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    loaded = data.load(DataSection(path=str(path)))
    assert [item.text for item in loaded.train.questions] == ["How far?", "what range", "Helmets – free?"]
    assert loaded.train.documents[0].text == "A full battery lasts for 80 kilometres."
    counts = (loaded.texts.repaired, loaded.texts.stripped, loaded.texts.lists, loaded.texts.placeholders)
    assert counts == (1, 2, 1, 1)
    assert ("Helmets â€“ free?", "Helmets – free?") in loaded.texts.examples


def test_judged_documents_and_queries_are_cleaned_alike(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    answers = ["Ã–ffnung um neun", "Two &amp; a half"]
    corpus = [{"_id": str(n), "text": f"<p>{text}</p>"} for n, text in enumerate(answers)]
    (tmp_path / "corpus.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in corpus), "utf-8")
    rows = [{"question": f"q{n}", "answer": f"<p>{text}</p>"} for n, text in enumerate(answers)]
    (tmp_path / "qa.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in rows), "utf-8")
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "GrÃ¶ÃŸe?"}) + "\n", "utf-8")
    (tmp_path / "qrels" / "test.tsv").write_text("q\t1\t1\n", "utf-8")
    loaded = data.load(DataSection(path=str(tmp_path)))
    assert [item.text for item in loaded.train.documents] == ["Öffnung um neun", "Two & a half"]
    assert [query.text for query in loaded.judged[0].queries] == ["Größe?"]
    assert loaded.judged[0].documents == loaded.train.documents


# --- scripts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Wann öffnen Sie?", "LATIN"),
        ("営業時間は何時ですか", "JAPANESE"),
        ("营业时间是几点", "CJK"),
        ("영업시간은 언제입니까", "HANGUL"),
        ("Когда вы открываетесь?", "CYRILLIC"),
        ("123 !", ""),
    ],
)
def test_script_of_most_letters(text: str, script: str) -> None:
    assert script_of([text, "GPX"] if script else [text]) == script
