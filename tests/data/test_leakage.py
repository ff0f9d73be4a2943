"""No held-out question, and no near-copy of one, reaches training.

Leaks of twelve kinds that show in the words, and of ten that show in the meaning alone, are planted and caught.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from expertune import config, data
from expertune.augment.stage import augment
from expertune.config import AugmentSection, DataSection
from expertune.data import HeldOut, leakage
from expertune.errors import DataError
from expertune.models.plugins import Generator, Request
from expertune.pipeline import run
from expertune.pipeline.run import Run, Stage
from expertune.records import Dataset, Document, Provenance, Question, Questions
from expertune.train.select import INTERPOLATION_WEIGHTS

LATIN_TO_CYRILLIC = str.maketrans("aeopcxy", "аеорсху")


def _other_order(text: str) -> str:
    words = text.rstrip("?").split()
    return " ".join([*words[2:], *words[:2]])


def _one_letter_less(text: str) -> str:
    longest = max(text.rstrip("?").split(), key=len)
    return text.replace(longest, longest[:3] + longest[4:], 1)


KINDS: dict[str, Callable[[str], str]] = {
    "same text": lambda text: text,
    "letter case": str.upper,
    "punctuation": lambda text: f'"{text.rstrip("?").replace(" ", ", ", 1)} ...!"',
    "white space": lambda text: f"\t{text.replace(' ', '   ')}\u00a0\n",
    "no spaces": lambda text: text.replace(" ", ""),
    "full-width letters": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "accents": lambda text: text.replace("e", "e\u0301").replace("o", "ö"),
    "zero-width characters": lambda text: "\u200b".join(text),
    "homoglyphs": lambda text: text.translate(LATIN_TO_CYRILLIC),
    "word order": _other_order,
    "typing error": _one_letter_less,
    "one word more": lambda text: f"{text.rstrip('?')} now?",
}
QUESTIONS = ["How do I change the delivery address of my order?", "Where can I see the invoice of last month?"]
OTHERS = ["May I bring my dog?", "Is breakfast included?", "At what time do you close?"]


class Planted(Generator):
    """A generator that writes what it is told to."""

    name = fingerprint = "planted"
    batch_size = 8

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        return [self.texts[number % len(self.texts)] for number in range(len(requests))]


def write(folder: Path, name: str, rows: Sequence[dict[str, object]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def loaded(folder: Path, **section: object) -> Dataset:
    """Return what a run would train on, before augmentation."""
    wanted = config.from_mapping({"data": {"path": str(folder), **section}, "run": {"out": str(folder / "out")}})
    return Run(wanted).execute(until=Stage.LOAD).dataset


def not_trained_on(folder: Path, held_out: str, **section: object) -> bool:
    """Tell whether the leak was refused, or what remains holds nothing like the held-out question."""
    try:
        dataset = loaded(folder, **section)
    except DataError as error:
        return "held-out" in str(error)
    texts = [question.text for question in dataset.questions]
    assert set(OTHERS) <= set(texts)
    return len(texts) == len(OTHERS)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_in_the_question_answer_file_is_caught(kind, question, tmp_path):
    rows = [{"question": text, "answer": f"Answer {number}"} for number, text in enumerate(OTHERS)]
    rows.append({"question": KINDS[kind](question), "answer": "Another answer"})
    rows.append({"question": question, "answer": "Another answer", "split": "heldout"})
    write(tmp_path, "qa.jsonl", rows)
    assert not_trained_on(tmp_path, question)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_in_a_training_split_is_caught(kind, question, tmp_path):
    texts = [*OTHERS, KINDS[kind](question), question]
    write(tmp_path, "corpus.jsonl", [{"_id": f"d{n}", "text": f"Answer {n}"} for n in range(len(texts))])
    write(tmp_path, "queries.jsonl", [{"_id": f"q{n}", "text": text} for n, text in enumerate(texts)])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(len(texts) - 1)))
    (tmp_path / "qrels" / "test.tsv").write_text(f"q{len(texts) - 1}\td1\t1\n")
    assert not_trained_on(tmp_path, question, train_split="train")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_among_generated_questions_is_caught_and_counted(kind, question):
    documents = tuple(Document(f"d{number}", f"Answer {number}") for number in range(2))
    dataset = Dataset("shop", documents, tuple(Question(text, ("d0",)) for text in OTHERS[:2]))
    section = AugmentSection(generators=("template",), per_answer=1, spans=0)
    planted = Planted([KINDS[kind](question), OTHERS[2]])
    made = augment(dataset, section, [planted], held_out=HeldOut.of([question]))
    assert [item.text for item in made.items] == OTHERS
    assert sum(made.removed.values()) == 1


WORDS = "order refund parcel delivery account password invoice address shipping return card voucher size warranty"
words = st.sampled_from(WORDS.split(" "))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(words, min_size=4, max_size=9, unique=True), st.sampled_from(sorted(KINDS)))
def test_any_question_is_found_again_in_every_disguise(chosen, kind):
    # With a wrong letter in one word of five, too many trigrams are others.
    assume(kind != "typing error" or len(chosen) > 5)
    question = f"{' '.join(chosen).capitalize()}?"
    assert HeldOut.of([question]).repeated_by([KINDS[kind](question)]) == (True,)


def test_other_questions_are_no_copies():
    different = [*OTHERS, "How do I change the colour of my order?", "Where can I pay the invoice?", "Order?"]
    assert HeldOut.of(QUESTIONS).repeated_by(different) == (False,) * len(different)
    assert HeldOut().repeated_by(different) == (False,) * len(different)
    assert HeldOut.of(QUESTIONS).repeated_by([]) == ()


def test_without_held_out_questions_nothing_is_left_out():
    dataset = Dataset("shop", (Document("d0", "text"),), tuple(Question(text, ("d0",)) for text in OTHERS))
    assert HeldOut().apart(dataset) == dataset


def test_copies_are_told_and_too_few_questions_refused(tmp_path, caplog):
    rows = [{"question": text, "answer": f"Answer {number}"} for number, text in enumerate(OTHERS)]
    rows.append({"question": _other_order(QUESTIONS[0]), "answer": "Another"})
    rows.append({"question": QUESTIONS[0], "answer": "Another", "split": "heldout"})
    write(tmp_path, "qa.jsonl", rows)
    loaded(tmp_path)
    assert "1 training question(s) nearly repeat a held-out one: they are left out" in caplog.text
    write(tmp_path, "qa.jsonl", rows[2:])
    with pytest.raises(DataError, match="1 of 2 training questions nearly repeat a held-out one"):
        loaded(tmp_path)


def test_the_training_side_is_read_with_every_test_file_gone(tmp_path):
    """`load` and its fingerprint need no test file: judgements and queries can be absent altogether."""
    write(tmp_path, "qa.jsonl", [{"question": text, "answer": f"Answer {n}"} for n, text in enumerate(OTHERS)])
    write(tmp_path, "corpus.jsonl", [{"_id": f"d{n}", "text": f"Answer {n}"} for n in range(len(OTHERS))])
    write(tmp_path, "queries.jsonl", [{"_id": "t", "text": QUESTIONS[0]}])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("t\td1\t1\n")
    section = DataSection(path=str(tmp_path))
    before = data.Files(section).train, data.Files(section).fingerprint
    (tmp_path / "queries.jsonl").unlink()
    (tmp_path / "qrels" / "test.tsv").unlink()
    assert (data.Files(section).train, data.Files(section).fingerprint) == before


def test_selection_runs_with_test_files_that_cannot_be_opened(tmp_path, tiny_model, monkeypatch):
    """From the first stage to the kept model: whatever opens a test file after loading meets a folder and fails."""
    write(tmp_path, "qa.jsonl", [{"question": text, "answer": f"Answer {n}"} for n, text in enumerate(OTHERS)])
    write(tmp_path, "corpus.jsonl", [{"_id": f"d{n}", "text": f"Answer {n}"} for n in range(len(OTHERS))])
    write(tmp_path, "queries.jsonl", [{"_id": "t", "text": QUESTIONS[0]}])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("t\td1\t1\n")
    wanted = config.from_mapping(
        {
            "data": {"path": str(tmp_path)},
            "run": {"out": str(tmp_path / "out"), "threads": 1},
            "augment": {"generators": ["template"], "per_answer": 2, "spans": 0},
            "score": {"experts": ["bm25", "ngrams"]},
            "train": {"base": str(tiny_model), "steps": 2, "batch_size": 4},
        }
    )
    augment_stage = run.augmented

    def with_test_files_gone(*arguments: object) -> object:
        for name in ("queries.jsonl", "qrels/test.tsv"):
            (tmp_path / name).unlink()
            (tmp_path / name).mkdir()
        return augment_stage(*arguments)

    monkeypatch.setattr(run, "augmented", with_test_files_gone)
    result = Run(wanted).execute(until=Stage.TRAIN)
    assert result.model is not None
    assert {item.interpolation_weight for item in result.model.selection.candidates} == {*INTERPOLATION_WEIGHTS}
    with pytest.raises(DataError, match="cannot be read"):
        _ = data.Files(wanted.data).judged


# --- by meaning -------------------------------------------------------------------------------------------------------

# Held out, and the same again in words of its own.
MEANINGS: dict[str, tuple[str, str]] = {
    "a wish": ("How do I strikethrough text in Gmail?", "I would like to strikethrough text in Gmail."),
    "shorter": ("Is there a way to contact a user on GitHub?", "Contacting a user on GitHub"),
    "another question word": ("Where do I find my card PIN?", "How do I find my card PIN?"),
    "another tense and article": (
        "Where can I see the invoice of last month?",
        "Where do I see the invoice for the last month?",
    ),
    "American spelling": (
        "Which colours does the grey jacket come in?",
        "What colors does the gray jacket come in?",
    ),
    "politely": ("How do I top up by card?", "Could you please tell me how to top up by card?"),
    "passive": ("Why did my top-up fail?", "Why was my top-up failed?"),
    "clauses turned around": ("If my parcel is late, whom do I ask?", "Whom should I ask when my parcel is late?"),
    "plural": ("What is the treatment for COVID-19?", "What are the treatments of COVID-19?"),
    "a sentence before": (
        "How can I export my Google chat logs?",
        "I'd like to export my logs from google chat, how do I do this?",
    ),
}
DIFFERENT = [
    ("How do I change the delivery address of my order?", "How do I change the colour of my order?"),
    ("Can I return a product that was purchased as a gift?", "Can I return a product bought with a gift card?"),
    ("Can I cancel my order?", "Can I return my order?"),
]


@pytest.mark.parametrize("kind", MEANINGS)
def test_the_words_alone_do_not_give_these_away(kind):
    held_out, copy = MEANINGS[kind]
    assert HeldOut.of([held_out]).repeated_by([copy]) == (False,)


@pytest.mark.models
@pytest.mark.parametrize("kind", MEANINGS)
def test_a_leak_by_meaning_is_caught_among_own_and_among_generated_questions(kind, tmp_path, monkeypatch, caplog):
    held_out, copy = MEANINGS[kind]
    rows = [{"question": text, "answer": f"Answer number {number}"} for number, text in enumerate(OTHERS)]
    rows.append({"question": copy, "answer": "Another answer"})
    rows.append({"question": held_out, "answer": "Another answer", "split": "heldout"})
    write(tmp_path, "qa.jsonl", rows)
    planted = Planted([copy, "Do you have a garden?", "Are there rooms for families?", "Where can I park the car?"])
    monkeypatch.setattr("expertune.augment.stage.load_generators", lambda *arguments, **options: (planted,))
    result = Run(_wanted(tmp_path, "all-minilm-l6-v2")).execute(until=Stage.AUGMENT)
    assert [question.text for question in result.dataset.questions] == OTHERS
    assert "1 training question(s) mean nearly the same as a held-out one: they are left out" in caplog.text
    assert result.questions is not None
    assert copy not in {item.text for item in result.questions.items}
    assert len(result.questions.items) == len(OTHERS) + 3
    assert result.questions.removed[leakage.RULE] == 1


@pytest.mark.models
def test_questions_that_only_look_alike_mean_something_else():
    from expertune.models.embed import unit_rows
    from expertune.models.encoder import sentence_encoder

    expert = sentence_encoder("all-minilm-l6-v2")
    for held_out, other in DIFFERENT:
        found = HeldOut.of([held_out]).meant_by(
            [other],
            lambda texts: unit_rows(expert.embed(list(texts), is_query=True)),
            reference=data.reference_sentences(),
        )
        assert found == (False,)


def _wanted(folder: Path, base: str) -> config.Config:
    return config.from_mapping(
        {
            "data": {"path": str(folder)},
            "run": {"out": str(folder / "out"), "threads": 1},
            "augment": {"generators": ["template"], "per_answer": 2, "spans": 0},
            "score": {"experts": ["bm25"]},
            "train": {"base": base, "steps": 2, "batch_size": 4},
        }
    )


def test_copies_by_meaning_by_hand():
    """Unrelated sentences lie at 0.5 of a held-out question here, so a copy has to reach 0.5 + 0.95 * 0.5 = 0.975."""
    at = {"held": 1.0, "unrelated": 0.5, "copy": 0.976, "near": 0.974, "far": 0.9, "other way": -1.0}

    def encode(texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, 2), np.float32)
        return np.array([[at[text], np.sqrt(1 - at[text] ** 2)] for text in texts], np.float32)

    texts = ["far", "copy", "near", "held", "other way"]
    found = HeldOut.of(["held"]).meant_by(texts, encode, reference=["unrelated"])
    assert found == (False, True, False, True, False)
    assert HeldOut.of(["held"]).meant_by(["far"] * 600 + ["copy"], encode, reference=["unrelated"])[-2:] == (
        False,
        True,
    )
    assert HeldOut().meant_by(texts, encode, reference=["unrelated"]) == (False,) * 5
    assert HeldOut.of(["held"]).meant_by([], encode, reference=["unrelated"]) == ()


def test_what_goes_by_meaning_is_counted_and_answers_stay():
    documents = (Document("d0", "one"), Document("d1", "two"))
    items = (
        Question("a", ("d0",)),
        Question("b", ("d1",)),
        Question("c", ("d1",), Provenance.SYNTHETIC, "small", "short"),
    )
    left = leakage.without(Dataset("shop", documents, items), (False, True, False))
    assert left == Dataset("shop", documents, (items[0], items[2]))
    counted = leakage.counted_out(Questions(items, {"empty": 2}), (False, True, True))
    assert counted == Questions(items[:1], {"empty": 2, leakage.RULE: 2})


SAME = "do you ship my order to me and can i return it and what is the cost of it for me and my account " * 4
ENDS = [
    "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich. ",
    "Pack my box with five dozen liquor jugs, quickly! ",
]


def test_questions_that_the_base_cannot_tell_apart_never_reach_the_experts(tiny_model, tmp_path):
    """The tiny model reads 64 tokens; what comes later is another text to the words, and the same one to the base."""
    written = [SAME + end * 20 for end in ENDS]
    assert HeldOut.of([written[1]]).repeated_by([written[0]]) == (False,)
    rows = [{"question": text, "answer": f"Answer number {number}"} for number, text in enumerate(OTHERS)]
    rows.append({"question": written[0], "answer": "Another answer"})
    rows.append({"question": written[1], "answer": "Another answer", "split": "heldout"})
    write(tmp_path, "qa.jsonl", rows)
    result = Run(_wanted(tmp_path, str(tiny_model))).execute(until=Stage.SCORE)
    assert [question.text for question in result.dataset.questions] == OTHERS
    assert result.questions is not None
    assert written[0] not in {item.text for item in result.questions.items}
