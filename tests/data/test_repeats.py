"""Which labelled questions an answer repeats, and what is left of it without them."""

from __future__ import annotations

import pytest

from expertune.data.expansion import Expansion
from expertune.data.repeats import Repeats, without
from expertune.records import Dataset, Document, Provenance, Question

ASKED = "How do I return an item?"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("How do I return an item? Send it back.", "Send it back."),
        ("How do I return an item Send it back.", "Send it back."),  # a title without a mark
        ("HOW DO I RETURN AN ITEM? Send it back.", "Send it back."),
        ("How can I return an item Send it back.", "Send it back."),  # nearly the same words
        ("Returns How do I return items? Send it back.", "Returns Send it back."),  # the body begins with it
        ("Send it back. How do I return an item? As above.", "Send it back. As above."),
        ("How do I return an item? How do I return an item? Send it.", "Send it."),  # title and body
    ],
)
def test_a_repeated_question_is_taken_out(text: str, left: str):
    assert without(text, ASKED) == left


@pytest.mark.parametrize(
    ("text", "question", "left"),
    [
        ("Refund You get it within 60 days.", "Refund", "You get it within 60 days."),  # a title
        ("Refund: you get it within 60 days.", "Refund", "you get it within 60 days."),
        ("Refund\nyou get a refund within 60 days.", "Refund", "you get a refund within 60 days."),
        ("Refund? Within 60 days.", "refund", "Within 60 days."),
        ("Within 60 days. Refund? See above.", "Refund?", "Within 60 days. See above."),
        ("Shops:\n- Opening hours\nNine to five.", "opening hours", "Shops: Nine to five."),
        ("Open at nine.\nOpening hours", "opening hours", "Open at nine."),
        ("返金\n60日以内に返金します。", "返金", "60日以内に返金します。"),
        ("返金？60日以内です。", "返金？", "60日以内です。"),
    ],
)
def test_a_question_of_a_few_words_is_cut_where_it_stands_alone(text: str, question: str, left: str):
    assert without(text, question) == left


def test_a_title_in_a_script_without_blanks_is_taken_out():
    question = "注文をキャンセルできますか？"
    assert without(f"{question}アカウントから取り消せます。", question) == "アカウントから取り消せます。"
    assert without("アカウントから取り消せます。", question) == "アカウントから取り消せます。"


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("To return an item, send it  back.", ASKED),
        ("You can return it within 60 days.", "Can I return it?"),
        ("COVID-19 is a new coronavirus.", "What is COVID-19?"),
        ("Send it back.", "?"),
        ("Short", "A question that is much longer than the text"),
        ("You get a refund within 60 days.", "Refund"),  # of a few words, within a sentence
        ("Do you want a refund? Ask for it.", "Refund"),
        ("Our opening hours are nine to five.", "opening hours"),
        ("Opening hours differ by shop.", "opening hours"),
        ("We tell you the\nopening hours of each shop.", "Opening hours"),
        ("お客様は返金を60日以内に受け取れます。", "返金"),
        ("返金は60日以内です。", "返金"),
    ],
)
def test_an_answer_in_words_of_its_own_stays_to_the_letter(text: str, question: str):
    assert without(text, question) == text


def _dataset() -> Dataset:
    documents = (Document("a", f"{ASKED} Send it back."), Document("b", "We open at nine."), Document("c", "Pay how?"))
    questions = (
        Question(ASKED, ("a", "b")),
        Question("send back", ("a",)),
        Question("when do you open", ("b",)),
        Question("Pay how?", ("c",)),
    )
    return Dataset("shop", documents, questions)


def test_only_answers_that_repeat_their_own_questions_change_and_none_becomes_empty():
    dataset = _dataset()
    repeats = Repeats.of(dataset)
    assert repeats.questions == {"a": (ASKED,)}
    assert repeats.stripped == {"a": "Send it back."}
    stripped = repeats.documents(dataset.documents)
    assert [document.text for document in stripped] == ["Send it back.", "We open at nine.", "Pay how?"]


def test_an_answer_is_whole_where_all_that_it_repeats_is_known():
    dataset = _dataset()
    repeats = Repeats.of(dataset)
    assert repeats.documents(dataset.documents, dataset.questions) == dataset.documents
    others = [question for question in dataset.questions if question.text != ASKED]
    assert repeats.documents(dataset.documents, others)[0].text == "Send it back."
    spoken = Question(ASKED, ("a",), Provenance.SYNTHETIC)
    assert repeats.documents(dataset.documents, [spoken])[0].text == "Send it back."


def test_what_may_give_a_question_away_is_what_is_read_and_what_is_repeated():
    repeats = Repeats({"a": ("x",), "b": ("y",)}, {"a": "", "b": ""})
    assert repeats.beside(Expansion({"b": ("z",)})) == Expansion({"b": ("z", "y"), "a": ("x",)})
    assert Repeats().beside(Expansion({"b": ("z",)})) == Expansion({"b": ("z",)})
