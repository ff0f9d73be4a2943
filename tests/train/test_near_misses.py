"""Near misses: the user's own questions with their telling words exchanged."""

import pytest

from expertune import data
from expertune.records import Provenance, Question
from expertune.train.near_misses import near_misses

SENTENCES = ("Wet sand darkens quickly", "Bread rolls harden")
POOL = {"sand", "darkens", "quickly", "Bread", "rolls", "harden"}
ASKED = tuple(
    Question(f"how do i {verb} the {thing}", (f"d{number}",))
    for number, (verb, thing) in enumerate((("return", "pillow"), ("wash", "cover"), ("pay", "bill"), ("move", "bed")))
)


def test_telling_words_are_exchanged_and_the_rest_stays():
    made = near_misses(ASKED, SENTENCES, 0.9, seed=0)
    assert len(made) == 18  # nine for each sentence
    for text in made:
        how, do, i, verb, the, thing = text.split()
        assert (how, do, i, the) == ("how", "do", "i", "the")
        assert {verb, thing} <= POOL


def test_a_question_without_a_telling_word_is_held_as_it_is():
    general = tuple(Question("how do i", (f"d{number}",)) for number in range(4))
    assert near_misses(general, SENTENCES, 0.5, seed=0) == ()
    made = near_misses((*ASKED, *general), SENTENCES, 0.9, seed=0)
    assert "how do i" in made
    assert any(set(text.split()) & POOL for text in made)


def test_the_same_seed_makes_the_same_and_another_does_not():
    assert near_misses(ASKED, SENTENCES, 0.9, seed=3) == near_misses(ASKED, SENTENCES, 0.9, seed=3)
    assert near_misses(ASKED, SENTENCES, 0.9, seed=3) != near_misses(ASKED, SENTENCES, 0.9, seed=4)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75])
def test_the_share_is_of_all_that_is_held(share):
    made = len(near_misses(ASKED, SENTENCES, share, seed=0))
    assert made / (made + len(SENTENCES)) == pytest.approx(share)


def test_pieces_of_answers_are_no_questions():
    pieces = tuple(Question(item.text, item.document_ids, Provenance.SPAN) for item in ASKED)
    assert near_misses(pieces, SENTENCES, 0.5, seed=0) == ()


@pytest.mark.parametrize("sentences", [(), ("a bc def",)], ids=["none", "short words only"])
def test_without_words_to_put_in_there_is_none(sentences):
    assert near_misses(ASKED, sentences, 0.5, seed=0) == ()


@pytest.mark.parametrize("text", ["???", "İstanbul'da iade", "如何退货", "<script>alert(1)</script>"])
def test_any_text_is_taken(text):
    made = near_misses((Question(text, ("d0",)),), SENTENCES, 0.5, seed=0)
    assert all(isinstance(item, str) for item in made)
    assert bool(made) == (text != "???")


def test_an_answer_of_its_own_makes_every_word_telling():
    (first, *_) = near_misses(ASKED[:1], data.reference_sentences(), 0.5, seed=0)
    assert not set(first.split()) & set(ASKED[0].text.split()) - {"the", "how", "do"}
