"""Answers with their own question before them: what is indexed, and that nothing finds itself."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from expertune import config, data
from expertune.data import expansion
from expertune.data.expansion import Expansion
from expertune.data.wording import normalise
from expertune.pipeline.run import Run, RunResult
from expertune.records import PLAIN_INDEX, Document, Provenance, Question, Questions, Role, Scores
from expertune.report.results import schema
from expertune.report.write import write_index

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.runs import HELD_OUT, PAIRS, write_data

DOCUMENTS = (Document("d0", "By card."), Document("d1", "By post."), Document("d2", "Every day."))
PAY, SEND, ALSO = Question("How to pay?", ("d0",)), Question("Send it?", ("d1",)), Question("Which card?", ("d0",))
WRITTEN = Question("open today", ("d2",), Provenance.SYNTHETIC, "llm", "question")


def texts(expansion: Expansion) -> list[str]:
    return [document.text for document in expansion.documents(DOCUMENTS)]


def test_own_questions_stand_before_their_answer_and_others_stay_as_they_are():
    asked = (WRITTEN, PAY, SEND, ALSO)
    assert texts(Expansion.of(asked, 1)) == ["How to pay? By card.", "Send it? By post.", "Every day."]
    assert texts(Expansion.of(asked, 2)) == ["How to pay? Which card? By card.", "Send it? By post.", "Every day."]
    assert [document.id for document in Expansion.of(asked, 1).documents(DOCUMENTS)] == ["d0", "d1", "d2"]


def test_a_question_about_several_answers_stands_before_all_of_them():
    asked = (Question("Anything?", ("d2", "d1"), Provenance.JUDGED), SEND)
    assert Expansion.of(asked, 1).questions == {"d2": ("Anything?",), "d1": ("Anything?",)}


@pytest.mark.parametrize("nothing", [Expansion.of((), 3), Expansion.of((PAY, SEND), 0)])
def test_without_questions_nothing_changes(nothing):
    assert nothing.questions == {}
    assert nothing.documents(DOCUMENTS) == DOCUMENTS


def test_a_question_that_is_not_known_stands_nowhere_and_no_other_takes_its_place():
    whole, known = Expansion.of((PAY, SEND, ALSO), 1), (SEND, ALSO, replace(PAY, provenance=Provenance.SYNTHETIC))
    assert texts(whole.knowing(known)) == ["By card.", "Send it? By post.", "Every day."]
    assert texts(Expansion.of((PAY, SEND, ALSO), 2).knowing(known))[0] == "Which card? By card."


def scores(start: float, columns: list[list[int]] | None = None, seconds: float = 1.0) -> Scores:
    shape = (3, 3, 2) if columns is None else (3, 2, 2)
    values = start + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Scores(("a", "b"), values, (seconds, 2 * seconds), None if columns is None else np.array(columns))


QUESTIONS = Questions((PAY, WRITTEN, SEND))


def test_own_questions_are_judged_on_plain_answers_and_written_ones_on_expanded():
    plain, expanded = scores(0), scores(100, seconds=10.0)
    made = expansion.joined(plain, expanded, QUESTIONS.labelled)
    np.testing.assert_array_equal(made.values[[0, 2]], plain.values[[0, 2]])
    np.testing.assert_array_equal(made.values[1], expanded.values[1])
    np.testing.assert_array_equal(made.plain, plain.values)
    assert made.seconds == (11.0, 22.0)


def test_an_answer_is_judged_as_it_is_where_its_question_does_not_count():
    plain, expanded = scores(0), scores(100)
    made = expansion.joined(plain, expanded, QUESTIONS.labelled).of(np.array([1, 2]))
    whole = Expansion.of((PAY, SEND), 1)
    judged = expansion.as_if(made, DOCUMENTS, whole, whole.knowing((SEND,)))
    written = judged.values[0]
    np.testing.assert_array_equal(written[0], plain.values[1, 0])  # its question is not known
    np.testing.assert_array_equal(written[1], expanded.values[1, 1])
    np.testing.assert_array_equal(written[2], expanded.values[1, 2])  # it has none to lose
    np.testing.assert_array_equal(judged.values[1], plain.values[2])  # the user's own question
    assert judged.plain is None


def test_scores_of_plain_answers_come_back_as_they_are():
    assert expansion.as_if(given := scores(0), DOCUMENTS, Expansion.of((PAY,), 1), Expansion({})) is given


def test_candidates_keep_their_own_columns():
    plain = scores(0, [[0, 1], [0, 1], [1, 2]])
    expanded = scores(100, [[1, 2], [1, 2], [0, 1]])
    made = expansion.joined(plain, expanded, QUESTIONS.labelled)
    assert made.columns is not None
    assert made.columns.tolist() == [[0, 1], [1, 2], [1, 2]]
    np.testing.assert_array_equal(made.values, np.stack([plain.values[0], expanded.values[1], plain.values[2]]))
    # Of the written question, d1 was a candidate both times; d2 only expanded, so it is the worst of the plain ones.
    np.testing.assert_array_equal(made.plain[1], [plain.values[1, 1], plain.values[1, 0]])
    whole = Expansion.of((PAY, SEND, Question("When?", ("d2",))), 1)
    judged = expansion.as_if(made, DOCUMENTS, whole, whole.knowing((PAY,)))
    np.testing.assert_array_equal(judged.values[1], made.plain[1])


# --- a whole run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[int, RunResult]:
    """Return two runs over one store: answers as they are, and expanded with up to two questions."""
    home = tmp_path_factory.mktemp("expansion")
    shop = write_data(home / "shop")
    more = [{"id": "track", "question": "Where does my parcel stay?", "answer": PAIRS["track"][1]}]
    with (shop / "qa.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in more)
    plain = {
        "run.store": str(home / "store"),
        "run.threads": 1,
        "data.path": str(shop),
        "data.general": [str(shop / "general")],
        "augment.generators": ["template"],
        "augment.per_answer": 3,
        "augment.spans": 2,
        "score.experts": ["bm25", "ngrams"],
        "score.privileged": False,
        "train.base": str(tiny_model),
        "train.steps": 2,
        "train.batch_size": 8,
        "train.precision": "float32",
    }

    def run(expand: int) -> RunResult:
        changes = {**plain, "data.expand": expand, "run.out": str(home / f"out-{expand}")}
        return Run(config.from_mapping(config.overlaid({}, changes.items()))).execute()

    return {expand: run(expand) for expand in (0, 2)}


def indexed(result: RunResult) -> dict[str, str]:
    lines = (result.folder / "expanded.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["_id"]: row["text"] for row in map(json.loads, lines)}


def test_the_texts_to_index_are_written_for_every_answer(made):
    texts = indexed(made[2])
    assert list(texts) == [document.id for document in made[2].dataset.documents]
    assert texts["pay"] == " ".join(PAIRS["pay"])
    assert texts["track"] == f"Where is my parcel? Where does my parcel stay? {PAIRS['track'][1]}"
    assert [item.text for item in data.load_corpus(made[2].folder / "expanded.jsonl")] == list(texts.values())
    assert not (made[0].folder / "expanded.jsonl").exists()


def test_no_held_out_question_and_no_generated_one_is_indexed(made):
    own = {question.text for question in made[2].dataset.questions}
    answers = {document.id: document.text for document in made[2].dataset.documents}
    for document_id, text in indexed(made[2]).items():
        before = text.removesuffix(answers[document_id]).strip()
        assert text.endswith(answers[document_id])
        for held_out in HELD_OUT.values():
            assert normalise(held_out) not in normalise(text)
        for question in own:
            before = before.replace(question, "")
        assert before.strip() == ""


def test_own_questions_are_never_scored_against_themselves(made):
    plain, expanded = made[0].scores, made[2].scores
    assert made[0].questions == made[2].questions
    known = made[0].questions.labelled
    np.testing.assert_array_equal(expanded.values[known], plain.values[known])
    np.testing.assert_array_equal(expanded.plain, plain.values)
    assert not np.array_equal(expanded.values[~known], plain.values[~known])
    # What is learned from known answers, the weights of the experts, is the same.
    assert made[0].labels.panel == made[2].labels.panel


def test_base_and_tuned_find_expanded_answers_of_the_domain_and_plain_ones_elsewhere(made):
    plain, expanded = made[0].evaluation, made[2].evaluation
    assert {item.model for item in plain.measurements} == {"base", "tuned"}
    assert {item.model for item in expanded.measurements} == {"base", "tuned", PLAIN_INDEX}
    values = {(item.model, item.role): item.values for item in expanded.measurements}
    before = {(item.model, item.role): item.values for item in plain.measurements}
    for metric in ("ndcg@10", "mrr@10"):
        np.testing.assert_array_equal(values[PLAIN_INDEX, Role.DOMAIN][metric], before["base", Role.DOMAIN][metric])
        np.testing.assert_array_equal(values["base", Role.GENERAL][metric], before["base", Role.GENERAL][metric])
    assert {row.role for row in (*expanded.indexing, *expanded.overall)} == {Role.DOMAIN}


def test_results_say_what_comes_from_the_index(made):
    plain, expanded = (json.loads((made[n].folder / "results.json").read_text(encoding="utf-8")) for n in (0, 2))
    jsonschema.validate(expanded, schema(), cls=jsonschema.Draft202012Validator)
    assert "index" not in plain
    assert expanded["index"]["expanded"] == len(PAIRS)
    assert "expanded.jsonl" in (made[2].folder / "report.html").read_text(encoding="utf-8")
    assert "expanded.jsonl" in (made[2].folder / "model" / "README.md").read_text(encoding="utf-8")


def test_a_plain_run_into_the_same_folder_leaves_no_texts_of_another(made):
    folder = made[2].folder
    (folder / "expanded.jsonl").rename(folder / "kept")
    write_index(made[2].dataset.documents, folder)
    assert len(indexed(made[2])) == len(PAIRS)
    write_index((), folder)
    assert not (folder / "expanded.jsonl").exists()
    (folder / "kept").rename(folder / "expanded.jsonl")
