"""Pieces of answers: where they come from, that they repeat, and that odd texts do no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expertune.augment.spans import content_words, spans

ANSWER = (
    "Open the settings page, choose Security and press Reset. We send you a link that is valid for an hour. "
    "If it does not arrive, look into the spam folder or write to the support desk."
)


def test_content_words_leave_out_the_little_ones() -> None:
    assert content_words("How can I cancel my Order, the order?") == ["cancel", "order"]


def test_every_piece_consists_of_words_of_one_sentence_in_their_order() -> None:
    sentences = [sentence.lower().replace(",", "").split() for sentence in ANSWER.split(". ")]
    for piece in spans(ANSWER, 40, seed=0):
        words = iter(piece.lower().replace(",", "").split())
        wanted = list(words)
        assert any(_in_order(wanted, [word.strip(".") for word in sentence]) for sentence in sentences), piece
        assert 2 <= len(wanted) <= 8


def _in_order(words: list[str], sentence: list[str]) -> bool:
    rest = iter(sentence)
    return all(word in rest for word in words)


def test_pieces_differ_and_a_smaller_count_is_the_beginning_of_a_larger_one() -> None:
    many = spans(ANSWER, 20, seed=3)
    assert len(set(many)) == len(many) == 20
    assert spans(ANSWER, 5, seed=3) == many[:5]
    assert spans(ANSWER, 20, seed=4) != many


@pytest.mark.parametrize("text", ["", " ", "\n\t", "!", "one", "...", "\u200b", "的"])
def test_what_has_no_words_gives_little_or_nothing(text: str) -> None:
    assert len(spans(text, 10, seed=0)) <= 1


def test_a_text_without_spaces_or_stop_words_of_ours_still_gives_pieces() -> None:
    assert spans("Öffnen Sie die Einstellungen und wählen Sie dort Sicherheit aus.", 6, seed=0)


@given(st.text(max_size=200), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_any_text_gives_at_most_so_many_pieces_and_always_the_same(text: str, count: int, seed: int) -> None:
    pieces = spans(text, count, seed=seed)
    assert len(pieces) <= count
    assert all(piece.strip() for piece in pieces)
    assert pieces == spans(text, count, seed=seed)


def test_a_script_without_blanks_is_cut_by_characters() -> None:
    text = "貸出所は毎日午前七時から午後九時まで開いています。"
    text += "カードに四十ユーロが一時的に確保され、自転車の返却時に解除されます。"
    cut = spans(text, 8, seed=0)
    assert len(cut) == 8
    assert all(span in text and 2 <= len(span) <= 12 for span in cut)
    assert spans(text, 3, seed=0) == cut[:3]
