"""Planning, caching, cleaning and the round trip, with small rule-based generators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expertune.augment.filters import Draft, clean, fault, tidy
from expertune.augment.plan import KINDS, plan, questions_each
from expertune.augment.stage import augment, load_generators
from expertune.config import AugmentSection, PluginSpec
from expertune.data import HeldOut
from expertune.data.wording import normalise
from expertune.errors import ConfigError, ModelUnavailableError, PluginError
from expertune.models.cache import MemoryCache
from expertune.models.plugins import Generator, Request
from expertune.records import Dataset, Document, Question, Questions

DOCUMENTS = (
    Document("a", "Orders can be cancelled until they leave the warehouse. Press Cancel under My Orders."),
    Document("b", "Parcels reach you within three working days after the payment has arrived at our bank."),
    Document("c", "The mattress is guaranteed for ten years against sagging and broken seams of the cover."),
    Document("d", "Gift cards are sold in every branch and never expire, whatever the amount on them is."),
)
DATASET = Dataset("shop", DOCUMENTS, (Question("How can I cancel my order?", ("a",)),))


class Echo(Generator):
    """Asks about words of the answer that depend on kind and attempt; counts what it was asked."""

    def __init__(self, name: str = "echo", batch_size: int = 5) -> None:
        self.name = name
        self.fingerprint = f"print of {name}"
        self.batch_size = batch_size
        self.batches: list[tuple[Request, ...]] = []

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        self.batches.append(tuple(requests))
        return [self.text(request, seed) for request in requests]

    def text(self, request: Request, seed: int) -> str:
        words = request.document.split()
        start = (len(request.kind) + 3 * request.attempt + seed) % (len(words) - 2)
        return f"{request.kind} {self.name} about {' '.join(words[start : start + 2])} {request.attempt}?"

    @property
    def asked(self) -> list[Request]:
        return [request for batch in self.batches for request in batch]


class Saying(Echo):
    """Says the same whatever it is asked."""

    def __init__(self, said: str) -> None:
        super().__init__("saying")
        self.said = said

    def text(self, request: Request, seed: int) -> str:
        return self.said


def section(**values: object) -> AugmentSection:
    return AugmentSection.model_validate({"generators": ["template"], "per_answer": 6, "spans": 0, **values})


def drafts(*texts: str, kind: str = "question", document: str = "a", answer: str = DOCUMENTS[0].text) -> list[Draft]:
    return [Draft(text, document, answer, "echo", kind) for text in texts]


def cleaned(items: Sequence[Draft], **values: object) -> tuple[list[str], dict[str, int]]:
    questions, removed = clean(items, DATASET.questions, **{"held_out": HeldOut(), **values})  # type: ignore[arg-type]
    return [question.text for question in questions], {rule: count for rule, count in removed.items() if count}


# --- planning ---------------------------------------------------------------------------------------------------------


def test_every_answer_gets_per_answer_requests_and_every_kind_its_turn() -> None:
    planned = plan(DATASET, section(), [1.0])
    per_document = Counter(item.document_id for item in planned)
    assert per_document == dict.fromkeys("abcd", 6)
    for document in "abcd":
        assert {item.request.kind for item in planned if item.document_id == document} == set(KINDS)
    # A plan with one request for each answer starts each answer at another kind.
    assert [item.request.kind for item in planned[:4]] == list(KINDS[:4])


def test_attempts_make_repeated_kinds_different_items() -> None:
    planned = plan(DATASET, section(per_answer=13), [1.0])
    assert len({item.request for item in planned}) == len(planned) == 4 * 13
    assert max(item.request.attempt for item in planned) == 2


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what sets how many questions are asked for in all."""
    return lambda number: monkeypatch.setattr("expertune.augment.plan.MOST", number)


def test_a_large_corpus_shrinks_per_answer_but_never_to_nothing(most: Callable[[int], None]) -> None:
    most(11)
    assert len(plan(DATASET, section(), [1.0])) == 11
    most(2)
    assert len(plan(DATASET, section(), [1.0])) == 4


def test_answers_with_a_question_get_up_to_half_of_what_a_large_corpus_is_asked_for(
    most: Callable[[int], None],
) -> None:
    assert questions_each(section(per_answer=12), 100, 619) == (12, 1)
    assert questions_each(section(per_answer=12), 719, 0)[0] == 3  # nobody else: all is theirs
    assert questions_each(section(per_answer=12), 20, 25) == (12, 12)
    most(11)
    counts = Counter(item.document_id for item in plan(DATASET, section(), [1.0]))
    assert counts == {"a": 5, "b": 2, "c": 2, "d": 2}


def test_what_is_written_for_one_of_several_equal_answers_leads_to_all() -> None:
    asked = (
        Question("Can I cancel?", ("a", "c")),
        Question("How long is delivery?", ("b",)),
        Question("Ever?", ("b", "d")),
    )
    made = augment(replace(DATASET, questions=asked), section(per_answer=2, spans=2), [Echo()])
    leading = {item.document_ids for item in made.items if not item.labelled}
    # b answers a question that d does not, so nothing makes them one.
    assert leading == {("a", "c"), ("c", "a"), ("b",), ("d",)}


def test_a_budget_that_ends_early_leaves_the_same_proportions(most: Callable[[int], None]) -> None:
    most(11)
    half = Counter(item.document_id for item in plan(DATASET, section(), [1.0])[:6])
    assert half == {"a": 3, "b": 1, "c": 1, "d": 1}


def test_a_smaller_plan_is_the_beginning_of_a_larger_one() -> None:
    assert plan(DATASET, section(per_answer=9), [1.0])[:24] == plan(DATASET, section(), [1.0])


def test_the_user_question_is_passed_on_where_there_is_one() -> None:
    for item in plan(DATASET, section(), [1.0]):
        assert item.request.question == ("How can I cancel my order?" if item.document_id == "a" else "")


@pytest.mark.parametrize("documents", [4, 21, 36])
def test_shares_are_kept_for_every_kind(documents: int) -> None:
    many = Dataset("many", tuple(Document(f"d{i}", f"Text number {i}.") for i in range(documents)), ())
    planned = plan(many, section(per_answer=36), [5.0, 1.0])
    second = Counter(item.request.kind for item in planned if item.generator == 1)
    assert sum(second.values()) == pytest.approx(len(planned) / 6, abs=2)
    # Evenly over kinds, though six kinds take turns and every sixth request goes to the second generator.
    assert min(second.values()) >= 0.5 * documents
    assert max(second.values()) <= 1.5 * documents + 1


def test_no_questions_asked_for_leaves_the_own_questions() -> None:
    assert augment(DATASET, section(per_answer=0), []) == Questions(DATASET.questions, {})


def test_spans_are_cut_only_from_what_is_read_of_an_answer():
    read = [document.text.split(" ", 1)[0] for document in DATASET.documents]
    made = augment(DATASET, section(per_answer=0, spans=5), [], read=read)
    words = {word.strip(".,").lower() for word in read}
    cut = [item.text for item in made.items if item.span]
    assert {text.lower() for text in cut} <= words
    assert len(augment(DATASET, section(per_answer=0, spans=5), []).items) > len(made.items)


def test_spans_of_answers_join_and_no_held_out_question_among_them(most: Callable[[int], None]) -> None:
    questions = augment(DATASET, section(per_answer=0, spans=5), [])
    cut = [item for item in questions.items if item.span]
    assert {item.document_ids[0] for item in cut} == set("abcd")
    assert all(not item.labelled and not item.generator and not item.kind for item in cut)
    secret = normalise(cut[0].text)
    again = augment(DATASET, section(per_answer=0, spans=5), [], held_out=HeldOut.of([secret]))
    assert secret not in {normalise(item.text) for item in again.items}
    assert again.removed["held-out"] >= 1
    most(4)
    few = augment(DATASET, section(per_answer=0, spans=5), [])
    assert max(Counter(item.document_ids[0] for item in few.items if item.span).values()) <= 2


# --- asking -----------------------------------------------------------------------------------------------------------


def test_own_questions_come_first_and_generated_ones_name_their_origin() -> None:
    questions = augment(DATASET, section(), [Echo()])
    assert questions.items[0] == DATASET.questions[0]
    generated = questions.items[1:]
    assert len(generated) == 24 - sum(questions.removed.values())
    assert {question.source for question in generated} == {"echo"}
    assert all(question.text.startswith(question.kind) for question in generated)


def test_a_finished_batch_is_never_generated_again() -> None:
    cache, first, second = MemoryCache(), Echo(), Echo()
    assert isinstance(first, Generator)
    made = augment(DATASET, section(), [first], cache=cache)
    assert augment(DATASET, section(), [second], cache=cache) == made
    assert len(first.asked) == 24
    assert second.asked == []


class Dying(Echo):
    """Stops the program in its third batch."""

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        if len(self.batches) == 2:
            raise KeyboardInterrupt
        return super().generate(requests, seed=seed)


def test_a_killed_run_goes_on_with_the_same_batches() -> None:
    cache, dying, resumed, whole = MemoryCache(), Dying(), Echo(), Echo()
    with pytest.raises(KeyboardInterrupt):
        augment(DATASET, section(), [dying], cache=cache)
    assert augment(DATASET, section(), [resumed], cache=cache) == augment(DATASET, section(), [whole])
    assert dying.batches + resumed.batches == whole.batches


@pytest.mark.parametrize("change", ["seed", "fingerprint"])
def test_another_seed_or_generator_shares_no_texts(change: str) -> None:
    cache, other = MemoryCache(), Echo()
    augment(DATASET, section(), [Echo()], cache=cache)
    if change == "fingerprint":
        other.fingerprint = "another"
    augment(DATASET, section(), [other], cache=cache, seed=int(change == "seed"))
    assert len(other.asked) == 24


def test_a_generator_over_budget_is_asked_no_more_and_it_is_told() -> None:
    echo = Echo()
    questions = augment(DATASET, section(budget_seconds=1e-9), [echo])
    assert len(echo.batches) == 1
    assert questions.removed["over budget"] == 24 - 5
    assert len(questions.items) > 1


def test_a_budget_does_not_forbid_what_the_cache_knows() -> None:
    cache = MemoryCache()
    made = augment(DATASET, section(), [Echo()], cache=cache)
    assert augment(DATASET, section(budget_seconds=1e-9), [Echo()], cache=cache) == made


def test_a_wrong_number_of_texts_is_the_plug_ins_fault() -> None:
    class Short(Echo):
        def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
            return super().generate(requests, seed=seed)[1:]

    with pytest.raises(PluginError, match="4 items for 5 requests"):
        augment(DATASET, section(), [Short()])


@pytest.mark.parametrize("said", ["", "As an AI language model, I do not ask questions."])
def test_a_generator_without_a_usable_text_is_named(said: str) -> None:
    with pytest.raises(PluginError, match=r"generator saying: none of 24 texts") as caught:
        augment(DATASET, section(), [Saying(said)])
    assert "augment.generators" in caught.value.hint


def test_held_out_questions_never_come_back() -> None:
    everything = augment(DATASET, section(), [Echo()])
    held_out = frozenset(normalise(question.text) for question in everything.items[1:8])
    questions = augment(DATASET, section(), [Echo()], held_out=HeldOut.of(held_out))
    assert questions.removed["held-out"] >= 7
    assert not held_out & {normalise(question.text) for question in questions.items[1:]}


# --- cleaning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "clean_text"),
    [
        ("Sure, here is a question:\n\n1. Can I cancel?", "Can I cancel?"),
        ("Certainly! Here's a short question: Can I cancel?", "Can I cancel?"),
        ('Question: "Can I cancel?"', "Can I cancel?"),
        ("**Question 2:** Can I cancel?\nAnswer: Yes.", "Can I cancel?"),
        ("- Can   I\tcancel?", "Can I cancel?"),
        ("“Can I cancel?”", "Can I cancel?"),
        ("3 months of warranty?", "3 months of warranty?"),
        ("Sure I can cancel?", "Sure I can cancel?"),
        ("Is 6.5 inches enough?", "Is 6.5 inches enough?"),
        ("   \n ", ""),
    ],
)
def test_what_surrounds_a_question_is_stripped(raw: str, clean_text: str) -> None:
    assert tidy(raw) == clean_text


@pytest.mark.parametrize(
    ("text", "kind", "rule"),
    [
        ("", "question", "empty"),
        ("?!", "question", "empty"),
        ("As an AI language model I cannot know", "question", "refusal"),
        ("I'm sorry, but there is no question", "indirect", "refusal"),
        ("I can't log in any more", "indirect", ""),
        ("What is the answer: Orders can", "question", "prompt echo"),
        ("Cancel", "question", "too short"),
        ("Cancel", "keyword", ""),
        ("取消订单吗", "question", ""),
        (" ".join(f"word{i}" for i in range(61)), "question", "too long"),
        ("I want it, I want it, I want it", "indirect", "repetition"),
        ("We deliver everywhere in the country.", "question", "not a question"),
        ("We deliver everywhere in the country.", "keyword", ""),
        ("Your site says no, can I still pay?", "question", ""),
        ("Orders can be cancelled until they leave the warehouse?", "question", "copied answer"),
        ("Orders can be cancelled until they leave the warehouse.", "keyword", ""),
        ("Can orders be cancelled late?", "question", ""),
    ],
)
def test_each_rule_catches_what_it_is_for(text: str, kind: str, rule: str) -> None:
    assert fault(drafts(text, kind=kind)[0]) == rule


def test_removed_counts_add_up_to_what_is_missing() -> None:
    items = drafts("Can I cancel late?", "Can I cancel late", "", "Cancel", "How can I cancel my order", "My parcel?")
    texts, removed = cleaned(items)
    assert texts == ["Can I cancel late?", "My parcel?"]
    assert removed == {"empty": 1, "too short": 1, "duplicate": 2}


def test_one_wording_for_two_answers_leads_to_both_and_for_three_to_none() -> None:
    item = drafts("What is the problem?")[0]
    for_two = [item, replace(item, document_id="b")]
    questions, _ = clean(for_two, (), held_out=HeldOut())
    assert [question.document_ids for question in questions] == [("a", "b")]
    texts, removed = cleaned([*for_two, replace(item, document_id="c"), *drafts("Is there more to know?")])
    assert texts == ["Is there more to know?"]
    assert removed == {"generic": 3}


def test_near_duplicates_go_for_the_same_answer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = "How do I cancel the order I placed yesterday?", "How do I cancel the orders I placed yesterday?"
    assert cleaned(drafts(first, second)) == ([first], {"near duplicate": 1})
    other = [*drafts(first), *drafts(second, document="b")]
    assert cleaned(other)[0] == [first, second]
    monkeypatch.setattr("expertune.augment.filters.NEAR_DUPLICATE", 1.0)
    assert cleaned(drafts(first, second))[0] == [first, second]


def test_nearly_a_held_out_question_is_one() -> None:
    text = "Is it possible to cancel the order that I have placed yesterday evening?"
    held_out = HeldOut.of([text.replace("evening", "evenings")])
    assert cleaned(drafts(text, "Can I cancel late?"), held_out=held_out) == (["Can I cancel late?"], {"held-out": 1})


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.text(max_size=40), st.sampled_from("abcd")), max_size=12), st.sets(st.text(max_size=20)))
def test_whatever_is_written_cleaning_keeps_its_promises(written: list[tuple[str, str]], held_out: set[str]) -> None:
    items = [Draft(text, document, DOCUMENTS[0].text, "echo", "keyword") for text, document in written]
    known = {normalise(text) for text in held_out}
    questions, removed = clean(items, DATASET.questions, held_out=HeldOut.of(known))
    kept = [normalise(question.text) for question in questions]
    assert len(set(kept)) == len(kept)
    assert not known & set(kept)
    assert all(1 <= len(question.document_ids) <= 2 for question in questions)
    merged = sum(len(question.document_ids) - 1 for question in questions)
    assert len(items) - merged <= len(questions) + sum(removed.values()) <= len(items)


# --- loading ----------------------------------------------------------------------------------------------------------


def test_generators_are_made_by_name_and_numbered_where_labels_repeat() -> None:
    generators = load_generators([PluginSpec(use="template"), PluginSpec(use="template")], offline=True)
    assert [generator.name for generator in generators] == ["template", "template-2"]


def test_wrong_options_and_unknown_plug_ins_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="colour"):
        load_generators([PluginSpec(use="template", options={"colour": 1})], offline=True)
    with pytest.raises(ConfigError, match="no generator plug-in"):
        load_generators([PluginSpec(use="nobody")], offline=True)


def test_every_missing_model_is_told_at_once() -> None:
    specs = [PluginSpec(model="no-such-model"), PluginSpec(model="nor-this-one")]
    with pytest.raises(ModelUnavailableError, match="2 of 2 generators") as caught:
        load_generators(specs, offline=True)
    assert "no-such-model" in str(caught.value)
    assert "nor-this-one" in str(caught.value)


def test_a_model_that_scores_cannot_write() -> None:
    from expertune import models

    entry = models.find("all-minilm-l6-v2")
    if entry is None or not models.installed(entry):
        pytest.skip("all-minilm-l6-v2 is not installed")
    with pytest.raises(ConfigError, match="cannot write"):
        load_generators([PluginSpec(model="all-minilm-l6-v2")], offline=True)
