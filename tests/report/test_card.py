"""The model card: what a hub reads of it, what a reader finds, and what text from data cannot do to it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from expertune.records import Provenance, Question, Questions
from expertune.report.card import influences, write_card
from finished_run import HOSTILE, comparison, evaluation, expanded_run, run

SENTENCE = "Where is my order?"


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return ModelCard.load(write_card(run(), tmp_path))


def test_a_hub_reads_base_licence_language_and_results(card: ModelCard):
    data = card.data.to_dict()
    assert data["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert data["license"] == "apache-2.0"
    assert data["language"] == ["en"]
    assert data["library_name"] == "sentence-transformers"
    assert data["pipeline_tag"] == "sentence-similarity"
    _, results = model_index_to_eval_results(data["model-index"])
    assert [(item.dataset_split, item.metric_type, item.metric_value) for item in results] == [
        ("test_seen", "hit_at_1", 0.25),
        ("test_seen", "hit_at_3", 1.0),
        ("test_seen", "ndcg_at_10", 0.78),
        ("general-dev", "hit_at_1", 0.5),
        ("general-dev", "hit_at_3", 1.0),
        ("general-dev", "ndcg_at_10", 0.696),
    ]


def test_a_base_nobody_knows_gets_no_licence_and_no_hub_id(tmp_path: Path):
    inputs = run()
    inputs = replace(inputs, model=replace(inputs.model, base="my-own-model"))
    card = ModelCard.load(write_card(inputs, tmp_path))
    assert {"license", "base_model", "language"}.isdisjoint(card.data.to_dict())
    assert "| base | my-own-model | not known: look it up |" in card.text


def test_a_reader_finds_results_with_intervals_panel_and_limits(card: ModelCard):
    assert "| shop/test_seen | domain | 4 | 1 → 1 | 3 → 4 | 70.0 → 78.0 | +8.0 | +6.0 to +10.0 | better |" in card.text
    assert "95 % interval" in card.text
    assert "| strong | 87.5 | 0.75 |" in card.text
    assert "| silent | – | 0.00 |" in card.text
    assert "- 81 synthetic questions written by small-llm." in card.text
    assert "interpolation weight\n  0.5 between" in card.text
    assert "an index made with it stays valid" in card.text
    assert "5.0 points" in card.text
    assert "**Better. Right answer first: 1 of 4 questions before, 1 after.**" in card.text


def test_the_verdict_and_the_mode_change_what_is_said(tmp_path: Path):
    inputs = run(evaluation=evaluation(ship=False, domain="no difference shown"))
    inputs = replace(inputs, model=replace(inputs.model, mode="full"))
    text = write_card(inputs, tmp_path).read_text(encoding="utf-8")
    assert "**No difference shown. Right answer first: 1 of 4" in text
    assert "has to be made again" in text
    assert "encode_query`;" not in text


def test_how_to_index_questions_and_answers_is_said_where_it_was_done(card: ModelCard, tmp_path: Path):
    assert "expanded.jsonl" not in card.text
    text = write_card(expanded_run(), tmp_path).read_text(encoding="utf-8")
    assert "Index each answer as its labelled questions followed by the answer" in text
    assert "`expanded.jsonl` beside the model's folder" in text
    assert "an index of these texts made with it stays valid" in text
    assert "| shop/test_seen | 65.0 | 70.0 | 78.0 | +5.0 | +8.0 | +13.0 | +11.0 to +15.0 |" in text
    assert SENTENCE not in text


def test_the_lines_of_use_are_five_and_run(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = write_card(run(), tmp_path).read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    assert len(code.splitlines()) == 5
    exec(code.replace("this-folder", str(tiny_model)), {})
    assert "tensor" in capsys.readouterr().out


def test_every_model_that_shaped_it_is_named_once_a_role_with_its_licence():
    inputs = run()
    named = replace(
        inputs.questions.items[1], generator="gemma-3-270m"
    )  # a generator of the catalogue, whose terms are no usual licence
    inputs = replace(inputs, questions=Questions((*inputs.questions.items, named)))
    found = {(item.role, item.name): item for item in influences(inputs)}
    assert len(found) == len(influences(inputs))
    assert found["base", "all-minilm-l6-v2"].licence == "Apache-2.0"
    assert found["wrote questions", "gemma-3-270m"].licence == "Gemma Terms of Use"
    assert found["scored", "strong"].licence == ""


def test_no_question_and_no_answer_is_published(card: ModelCard):
    inputs = run()
    texts = [item.text for item in (*inputs.dataset.documents, *inputs.questions.items)]
    texts += [query.text for item in inputs.judged for query in item.queries]
    assert [text for text in texts if text in card.content] == []


NASTY = (
    "x\n---\nlicense: mit\n",
    HOSTILE,
    "](https://evil.example) ![x](http://evil.example/p.png)",
    "| cell | `code` # head",
    "a: &x !!python/object:os.system b",
    "{{ 7 * 7 }}",
)


@pytest.mark.parametrize("name", NASTY)
def test_names_from_data_stay_text(name: str, tmp_path: Path):
    inputs = run()
    row = replace(comparison("test_seen", inputs.judged[0].role), dataset=name, split=name)
    measured = tuple(replace(item, dataset=name, split=name) for item in inputs.evaluation.measurements[:2])
    inputs = replace(
        inputs,
        dataset=replace(inputs.dataset, name=name),
        model=replace(inputs.model, base=name),
        evaluation=replace(inputs.evaluation, comparisons=(row,), measurements=measured),
        questions=Questions((Question("a?", ("d0",), Provenance.SYNTHETIC, name),)),
    )
    card = ModelCard.load(write_card(inputs, tmp_path))
    assert "license" not in card.data.to_dict()
    assert card.data.library_name == "sentence-transformers"
    plain, table = tmp_path / "plain", card.text.split("## Results")[1]
    plain.mkdir()
    usual = write_card(run(), plain).read_text(encoding="utf-8")
    assert re.findall(r"^#.*", card.text, re.M)[1:] == re.findall(r"^#.*", usual.split("---\n")[2], re.M)[1:]
    assert "<script" not in card.text
    assert not re.search(r"(?<!\\)\]\((?!https://sbert.net|https://github.com/expertune)", card.text)
    assert "http://evil" not in card.text
    (line,) = [line for line in table.splitlines() if "+8.0" in line]
    assert len(re.findall(r"(?<!\\)\|", line)) == 10


def test_spans_are_no_questions_that_a_model_wrote(tmp_path: Path):
    asked = run().questions
    span = Question("cut out of it", ("d1",), Provenance.SPAN)
    more = run(questions=Questions((*asked.items, span, span)))
    assert influences(more) == influences(run())
    text = write_card(more, tmp_path).read_text("utf-8")
    assert "2 spans cut out of the answers" in text
    assert "85 of its training questions were written by small language models" in text


def test_plain_sentences_are_written_as_they_are(tmp_path: Path):
    verdict = replace(run().evaluation.verdict, why="The user's nDCG@10 rose; write to a@b.org")
    text = write_card(run(evaluation=replace(run().evaluation, verdict=verdict)), tmp_path).read_text("utf-8")
    assert "The user's nDCG@10 rose; write to a&#64;b.org" in text
