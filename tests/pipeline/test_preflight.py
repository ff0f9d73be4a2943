"""What can be said before a run without doing any of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from expertune import config, models
from expertune.data import Files
from expertune.errors import ConfigError, DataError, ModelUnavailableError, UntrustedModelError
from expertune.pipeline import costs, preflight
from expertune.train import select

PAIRS = 4
FREE = {"augment": {"per_answer": 0}, "score": {"experts": ["bm25", "ngrams"]}}


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    """Return a folder with four questions and answers."""
    folder = tmp_path / "faq"
    folder.mkdir()
    rows = [{"question": f"Question {number}?", "answer": f"Answer {number}."} for number in range(PAIRS)]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the catalogue's packages and the hub's cache look absent."""
    monkeypatch.setattr(models, "present", lambda layout: False)
    monkeypatch.setattr(models, "_downloaded", lambda hub: None)


def _values(faq: Path, base: str = "", **sections: dict[str, object]) -> dict[str, object]:
    return {"data": {"path": str(faq)}, "train": {"base": base}, **FREE, **sections}


def test_a_complete_config_has_no_problems(faq, tiny_model):
    findings = preflight.check(_values(faq, str(tiny_model)))
    assert findings.problems == ()
    assert findings.dataset is not None
    assert len(findings.dataset.documents) == PAIRS
    assert [judged.name for judged in findings.judged] == ["general-dev/test"]
    assert [(part.role, part.name, part.source) for part in findings.parts] == [
        ("expert", "bm25", "built in"),
        ("expert", "ngrams", "built in"),
        ("base", tiny_model.name, "folder"),
    ]


def test_problems_of_config_data_and_models_come_together(faq, nothing_installed):
    values = _values(faq / "nowhere.jsonl", "all-minilm-l6-v2", label={"strategi": "hard"}, evaluate={"confidence": 7})
    findings = preflight.check(values, place="my.toml")
    kinds = [type(problem) for problem in findings.problems]
    assert kinds == [ConfigError, DataError, ModelUnavailableError]
    wrong, data, model = findings.problems
    assert isinstance(wrong, ConfigError)
    assert len(wrong.problems) == 2
    assert wrong.place == "my.toml"
    assert "strategy" in str(wrong)
    assert "nowhere.jsonl" in str(data)
    assert "expertune models install all-minilm-l6-v2" in str(model)
    assert findings.config is None


def test_one_wrong_section_does_not_hide_the_others(faq, tiny_model):
    findings = preflight.check(_values(faq, str(tiny_model), score={"experts": 5}))
    assert [type(problem) for problem in findings.problems] == [ConfigError]
    assert findings.dataset is not None
    assert findings.parts[-1].found


def test_a_wrong_key_leaves_the_rest_of_its_section_readable(faq, tiny_model):
    values = _values(faq, str(tiny_model))
    findings = preflight.check({**values, "data": {**values["data"], "train_splitt": "x"}})
    (problem,) = findings.problems
    assert "data.train_splitt" in str(problem)
    assert findings.dataset is not None
    assert len(findings.dataset.questions) == PAIRS


def test_the_same_data_problem_is_told_once(faq, tiny_model):
    (faq / "qa.jsonl").write_text('{"question": "One?", "answer": ""}\n')
    findings = preflight.check(_values(faq, str(tiny_model)))
    assert len(findings.problems) == 1
    assert "qa.jsonl:1" in str(findings.problems[0])


def test_a_hub_id_is_missing_offline_and_fetched_otherwise(faq, nothing_installed):
    offline = preflight.check(_values(faq, "BAAI/bge-m3"))
    assert [type(problem) for problem in offline.problems] == [ModelUnavailableError]
    assert not offline.parts[-1].found
    online = preflight.check(_values(faq, "BAAI/bge-m3", run={"offline": False}))
    assert online.problems == ()
    assert online.parts[-1].source == "hub, fetched on first use (2271 MB)"


def test_a_name_that_is_nothing_is_missing_even_online(faq, nothing_installed):
    findings = preflight.check(_values(faq, "all-minilm", run={"offline": False}))
    assert [type(problem) for problem in findings.problems] == [ModelUnavailableError]
    assert "did you mean" in str(findings.problems[0])


def test_a_model_whose_files_are_refused_is_a_problem(faq, tmp_path):
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"\x80")
    findings = preflight.check(_values(faq, str(pickled)))
    assert [type(problem) for problem in findings.problems] == [UntrustedModelError]


def test_unknown_plug_ins_are_listed_with_the_known_ones(faq, tiny_model):
    spec = {"use": "bm26", "model": ""}
    findings = preflight.check(_values(faq, str(tiny_model), score={"experts": [spec]}))
    assert [type(problem) for problem in findings.problems] == [ConfigError]
    assert "bm25" in str(findings.problems[0])


def test_a_plug_in_with_a_model_must_take_its_options_and_find_its_libraries(faq, tiny_model, monkeypatch):
    wrong = {"use": "sentence_transformer", "model": str(tiny_model), "options": {"k9": 1}}
    (problem,) = preflight.check(_values(faq, str(tiny_model), score={"experts": ["bm25", wrong]})).problems
    assert "unknown option 'k9'" in str(problem)
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    file = tiny_model.parent / "small.gguf"
    file.write_bytes(b"GGUF")
    values = _values(faq, str(tiny_model), augment={"generators": [f"llama_cpp:{file}"], "per_answer": 1})
    (problem,) = preflight.check(values).problems
    assert "expertune[llama-cpp]" in str(problem)


def test_a_tracker_that_is_not_installed_is_told_before_the_run(faq, tiny_model, monkeypatch):
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    values = {**_values(faq), "train": {"base": str(tiny_model), "report_to": ["tensorboard"]}}
    (problem,) = preflight.check(values).problems
    assert "train.report_to" in str(problem)
    assert "pip install tensorboard" in str(problem)


def test_a_panel_needs_an_expert_and_a_combination_repeats_no_config(faq, tiny_model):
    (problem,) = preflight.check(_values(faq, str(tiny_model), score={"experts": []})).problems
    assert "score.experts" in str(problem)
    together = {"label": {"strategy": "weighted"}, "train": {"loss": "pairwise"}}
    (problem,) = preflight.check(_values(faq, str(tiny_model), **together), place="my.toml").problems
    assert str(problem).startswith("my.toml: label.strategy = 'weighted'")
    assert "got" not in str(problem)


def test_a_generator_is_no_expert_and_an_expert_no_generator(faq, tiny_model, monkeypatch):
    monkeypatch.setattr(models, "present", lambda layout: True)
    sections = {
        "score": {"experts": ["smollm2-135m-instruct"]},
        "augment": {"generators": ["all-minilm-l6-v2"], "per_answer": 1},
    }
    first, second = preflight.check(_values(faq, str(tiny_model), **sections)).problems
    assert "'all-minilm-l6-v2' scores questions, it cannot write them" in str(first)
    assert "'smollm2-135m-instruct' writes questions, it cannot score them" in str(second)


def test_models_are_required_all_at_once(nothing_installed):
    wanted = config.from_mapping({"train": {"base": "all-mpnet-base-v2"}, "augment": {"per_answer": 1}})
    with pytest.raises(ModelUnavailableError) as caught:
        preflight.require_models(wanted)
    for name in ("smollm2-135m-instruct", "gemma-3-270m", "wordllama-256", "all-mpnet-base-v2"):
        assert name in str(caught.value)


def test_a_single_missing_model_keeps_its_own_error(nothing_installed, tiny_model):
    wanted = config.from_mapping({**FREE, "train": {"base": "all-minilm-l6-v2"}})
    with pytest.raises(ModelUnavailableError, match="'all-minilm-l6-v2' is not installed"):
        preflight.require_models(wanted)
    preflight.require_models(config.from_mapping({**FREE, "train": {"base": str(tiny_model)}}))


@pytest.mark.parametrize(("fewest", "tunings"), [(2, 2), (1000, 1)])
def test_the_cost_follows_from_the_counts(faq, tiny_model, monkeypatch, fewest, tunings):
    monkeypatch.setattr(select, "FEWEST", fewest)
    sections = {
        "augment": {"generators": ["template"], "per_answer": 3, "spans": 2},
        "train": {"base": str(tiny_model), "steps": 10, "batch_size": 8},
    }
    findings = preflight.check({**_values(faq), **sections})
    by_stage = {cost.stage: cost for cost in findings.costs}
    questions = 3 * PAIRS + 2 * PAIRS + PAIRS
    (general,) = findings.judged
    assert by_stage["augment"].items == 3 * PAIRS
    assert by_stage["score"].items == 2 * (questions + 2 * PAIRS)  # every answer once more behind its question
    assert by_stage["train"].items == tunings * 10 * 8
    assert by_stage["evaluate"].items == 2 * len(general.queries) + len(general.documents)
    assert findings.seconds == pytest.approx(sum(cost.seconds for cost in findings.costs))


@pytest.mark.parametrize(("privileged", "expand", "times"), [(False, 0, 1), (True, 0, 2), (False, 1, 2), (True, 1, 2)])
def test_answers_that_the_panel_reads_with_questions_are_read_plain_as_well(faq, privileged, expand, times):
    values = _values(faq, data={"path": str(faq), "expand": expand}, augment={"spans": 0, "per_answer": 0})
    settings = config.from_mapping({**values, "score": {"experts": ["bm25"], "privileged": privileged}})
    texts = ["Question 0?", "Answer 0.", "Question 0? Answer 0."][: 1 + times]
    each = sum(len(text) + costs.TEXT_CHARACTERS for text in texts)
    assert costs.reading(settings, Files(settings.data).train) == costs.Reading(len(texts) * PAIRS, each * PAIRS)


def test_what_is_made_and_what_users_asked_is_read_too(faq):
    augment = {"generators": ["template"], "per_answer": 3, "spans": 2}
    settings = config.from_mapping({**_values(faq), "augment": augment})
    dataset = Files(settings.data).train
    before, log = costs.reading(settings, dataset), ["short", "a longer one"]
    made = 3 * costs.QUESTION_CHARACTERS + 2 * costs.SPAN_CHARACTERS + 5 * costs.TEXT_CHARACTERS
    bare = config.from_mapping({**_values(faq), "augment": {"per_answer": 0, "spans": 0}})
    plain = costs.reading(bare, dataset)
    assert before == costs.Reading(plain.texts + 5 * PAIRS, plain.characters + PAIRS * made)
    assert costs.reading(settings, dataset, log) == costs.Reading(
        before.texts + 2, before.characters + 17 + 2 * costs.TEXT_CHARACTERS
    )
    # Of a long log some are taken, which are as long as the others.
    many = costs.reading(settings, dataset, log * 1000)
    assert many == costs.Reading(before.texts + 600, before.characters + 300 * (17 + 2 * costs.TEXT_CHARACTERS))
    hard = settings.model_copy(update={"label": settings.label.model_copy(update={"strategy": "hard"})})
    assert costs.reading(hard, dataset, log) == before


def test_a_search_log_costs_what_its_questions_cost(faq, tiny_model, tmp_path):
    (tmp_path / "log.txt").write_text("how do i pay\nwhere is my parcel\nhow do i pay\nhello\n")
    data = {"path": str(faq), "log": [str(tmp_path / "log.txt")]}
    without, found = (preflight.check(_values(faq, str(tiny_model), **more)) for more in ({}, {"data": data}))
    assert found.problems == ()
    scoring = [next(cost for cost in findings.costs if cost.stage == "score") for findings in (without, found)]
    assert scoring[1].items - scoring[0].items == 2 * 2  # two questions are left, and there are two experts
    assert any("4 lines: 2 questions" in note for note in found.notes)


def test_a_large_corpus_shrinks_what_is_written_per_answer(faq, tiny_model, monkeypatch):
    for most, expected in ((100, 3 * PAIRS), (2 * PAIRS + 1, 2 * PAIRS), (1, PAIRS)):
        monkeypatch.setattr("expertune.augment.plan.MOST", most)
        augment = {"generators": ["template"], "per_answer": 3}
        (writing, *_) = preflight.check(_values(faq, str(tiny_model), augment=augment)).costs
        assert writing.items == expected


def test_writing_costs_at_most_the_budget(faq, monkeypatch):
    monkeypatch.setattr(models, "present", lambda layout: True)
    augment = {"generators": ["smollm2-135m-instruct"], "budget_seconds": 1.0, "per_answer": 100}
    (writing, *_) = preflight.check(_values(faq, "all-minilm-l6-v2", augment=augment)).costs
    assert (writing.items, writing.seconds) == (100 * PAIRS, 1.0 + costs.LOADING)


def test_longer_texts_and_larger_models_cost_more(faq, tiny_model):
    def evaluating(base: str) -> float:
        return preflight.check(_values(faq, base, run={"offline": False})).costs[-1].seconds

    small, large = evaluating("all-minilm-l6-v2"), evaluating("BAAI/bge-m3")
    assert 0 < evaluating(str(tiny_model)) < small < large
    rows = [{"question": f"Question {number}?", "answer": "long " * 100 + str(number)} for number in range(PAIRS)]
    rows.append({"question": "Held out?", "answer": rows[0]["answer"], "split": "heldout"})
    (faq / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluating("all-minilm-l6-v2") > small


def test_looking_loads_no_torch(faq, tiny_model):
    code = (
        "import sys; from expertune.commands import check, cli; from expertune.pipeline import preflight as checking;"
        f"found = checking.check({_values(faq, str(tiny_model))!r}); assert not found.problems;"
        "check._show(found);"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'datasets', 'matplotlib'};"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_base_that_cannot_be_tuned_is_refused_before_anybody_fetches_it(faq, nothing_installed):
    (problem,) = preflight.check(_values(faq, "multi-qa-mpnet-base-dot-v1")).problems
    assert isinstance(problem, ConfigError)
    assert "ranks by 'dot'" in str(problem)
