from __future__ import annotations

import pytest

from expertune.augment.filters import Draft, fault, tidy


def rule(text: str, kind: str = "question") -> str:
    return fault(Draft(tidy(text), "d", "", "writer" if kind else "", kind))


@pytest.mark.parametrize(
    "text",
    [
        '{"question": "How far does it go?"}',
        '[{"id": 1, "question": "How far does it go?"}, {"question": "And then?"}]',
        '```json\n{"query": "How far does it go?"}\n```',
        "{'question': 'How far does it go?'}",
        '{\n  "question": "How far does it go?"\n}',
        "(Rephrased) How far does it go?",
        "[Question 1]: How far does it go?",
        "How far does it go? (reworded)",
        "Frage: How far does it go?",
        "Pregunta 2: How far does it go?",
        "Hier ist eine Frage: How far does it go?",
        "Voici une question possible : How far does it go?",
        '["How far does it go?"]',
        '"question": "How far does it go?",',
        "Customer asks: How far does it go?",
        "You could ask: How far does it go?",
        "One possible question is: How far does it go?",
        "The question could be: How far does it go?",
        "Rephrased: How far does it go?",
        "Output: How far does it go?",
        "Sure, I'd be happy to help. How far does it go?",
        "Certo! Ecco una domanda: How far does it go?",
        "Natürlich! How far does it go?",
        "Gerne, hier eine Frage: How far does it go?",
    ],
)
def test_what_stands_around_a_question_goes(text: str) -> None:
    assert tidy(text) == "How far does it go?"
    assert rule(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Here is one question about hiring a bicycle that somebody may ask",
        "Here's a possible question based on it",
        "Hier ist eine Frage zu Fahrrädern",
        "Voici une question sur le vélo",
        "Aquí tienes una pregunta sobre bicicletas",
        "The following is a rephrased question",
    ],
)
def test_a_preamble_without_a_colon_is_no_question(text: str) -> None:
    assert rule(text) == "preamble"


@pytest.mark.parametrize(
    "text",
    [
        "According to the passage, how far does it go?",
        "Based on the given text, who pays?",
        "What does the text say about dogs?",
        "Which costs are mentioned in the document?",
        "Laut dem Text, wie weit reicht der Akku?",
        "Selon le texte, qui paie ?",
        "Según el texto, ¿quién paga?",
        "根据上文，谁付款？",
        "Given the context, who pays?",
        "From the given information, who pays?",
        "Which of the following is true about paying?",
        "What can be inferred about the price?",
        "What is described above?",
    ],
)
def test_a_question_that_names_the_text_it_was_made_from_is_none(text: str) -> None:
    assert rule(text) == "names its text"


@pytest.mark.parametrize(
    "text",
    [
        "here is what i got, can you check?",
        "What is the answer to my ticket?",
        "Can I upload a document with my passport?",
        "Where does it say according to the terms?",
        "The text on my card is unreadable, is there a new one?",
        "How do I send a text message?",
        "My question is about a refund",
        "You can pay: by card or cash?",
        "Great bikes. Do you have more of them?",
        "I read: closed on Mondays, is that so?",
        "is there a short version (pdf) of the terms?",
        "Why do I get [error 5]?",
        "Why does the statement say the payment is pending?",
        "In dem Text meiner E-Mail fehlt ein Link, warum?",
    ],
)
def test_what_real_users_ask_stays(text: str) -> None:
    assert tidy(text) == text
    assert rule(text) == ""


def test_spans_are_cut_out_of_answers_which_may_name_a_text() -> None:
    assert rule("according to the document you signed", kind="") == ""
