"""Which answers lose their questions, and what is suggested, on sets made by hand."""

import numpy as np

from expertune.evaluate.answers import Advice, Taker, need_work
from expertune.records import METRIC, Dataset, Document, JudgedSet, Measurement, Provenance, Query, Question, Role

ANSWERS = {
    "refund": "Money comes back within ten days.",
    "return": "Send parcels to our warehouse.",
    "opening": "We are open from nine to five.",
    "open-late": "We are open from nine to six.",
    "contact": "Write, call or visit.",
    "gift": "Vouchers never expire.",
}


def found(asked, labelled=(), role=Role.DOMAIN):
    """`asked` maps a question to (right answer, first answer of the base, first answer of the tuned model)."""
    documents = tuple(Document(name, text) for name, text in ANSWERS.items())
    ids = tuple(f"q{index}" for index in range(len(asked)))
    judged = JudgedSet(
        "shop",
        "test",
        role,
        documents,
        tuple(map(Query, ids, asked)),
        {name: {"contact": 0, right: 1} for name, (right, _, _) in zip(ids, asked.values(), strict=True)},
    )

    def measured(model, side):
        ranks = tuple(1 if row[side] == row[0] else 2 for row in asked.values())
        values = {METRIC: 1 / np.array(ranks)}
        return Measurement(
            "shop", "test", role, model, ids, ids, values, ranks, tuple((r[side],) for r in asked.values())
        )

    questions = tuple(Question(f"about {name}", (name,), Provenance.PAIR) for name in labelled)
    return need_work(Dataset("shop", documents, questions), [judged], [measured("base", 1), measured("tuned", 2)])


def test_counts_before_and_after_and_who_takes_the_questions():
    rows = found(
        {
            "money?": ("refund", "refund", "gift"),
            "cash?": ("refund", "return", "refund"),
            "pay back?": ("refund", "gift", "gift"),
            "parcel?": ("return", "gift", "return"),
        }
    )
    (row,) = rows
    assert (row.id, row.labelled, row.asked, row.before, row.after) == ("refund", 0, 3, 1, 1)
    assert row.missed == ("money?", "pay back?")
    assert row.takers == (Taker("gift", ANSWERS["gift"], 2),)


def test_an_answer_with_hardly_a_question_gets_one_first():
    (row,) = found({"money?": ("refund", "gift", "gift")}, labelled=["refund"])
    assert row.advice is Advice.ADD
    (row,) = found({"money?": ("refund", "gift", "gift")}, labelled=["refund", "refund"])
    assert row.advice is Advice.REWRITE


def test_answers_that_say_the_same_are_to_be_merged_and_others_that_take_questions_told_apart():
    mutual = found({"money?": ("refund", "return", "return"), "parcel?": ("return", "refund", "refund")})
    assert [row.advice for row in mutual] == [Advice.APART, Advice.APART]
    (alike,) = found({"when?": ("opening", "open-late", "open-late")})
    assert alike.advice is Advice.MERGE


def test_an_answer_whose_questions_go_everywhere_is_to_be_split():
    asked = {"a": ("contact", "gift", "gift"), "b": ("contact", "gift", "return"), "c": ("contact", "gift", "opening")}
    (row,) = found(asked, labelled=["contact", "contact"])
    assert row.advice is Advice.SPLIT
    assert [taker.questions for taker in row.takers] == [1, 1, 1]


def test_answers_that_mostly_come_first_and_general_sets_are_left_out():
    assert found({"money?": ("refund", "gift", "refund")}) == ()
    thrice = dict.fromkeys("ab", ("refund", "gift", "refund")) | {"c": ("refund", "gift", "gift")}
    assert found(thrice) == ()
    assert found({"money?": ("refund", "gift", "gift")}, role=Role.GENERAL) == ()


def test_those_that_miss_most_come_first():
    rows = found(
        {
            "a": ("refund", "gift", "gift"),
            "b": ("return", "gift", "gift"),
            "c": ("return", "gift", "gift"),
            "d": ("opening", "gift", "gift"),
            "e": ("opening", "opening", "opening"),
        }
    )
    assert [row.id for row in rows] == ["return", "refund", "opening"]
