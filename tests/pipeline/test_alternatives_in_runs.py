"""Ways to search in a whole run and before one: what is measured, that it is kept, and what the panel leaves out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tiny_model
from expertune import config
from expertune.data.repeats import Repeats
from expertune.errors import DataError
from expertune.evaluate.alternatives import Search
from expertune.index import Layout
from expertune.models.cache import MemoryCache
from expertune.models.encoder import sentence_encoder
from expertune.pipeline import ways
from expertune.pipeline.alternatives import Panel, tuned_model
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.pipeline.ways import _each_alone, labelled_set
from expertune.records import Dataset, Document, IndexWork, Question
from faults.runs import write_data
from small_shop import qa, quick, write_files


def settings(home: Path, base: Path, **changes: Any) -> config.Config:
    panel = ["bm25", str(home / "other"), str(home / "copy")]
    plain = {"data.general": [str(home / "shop" / "general")], "score.experts": panel}
    return quick(home, base, **{**plain, **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A data set, another model, and a copy of the base under another name."""
    home = tmp_path_factory.mktemp("rivals")
    write_data(home / "shop")
    write_tiny_model(home / "made", seed=1).rename(home / "other")
    shutil.copytree(tiny_model, home / "copy")
    return home


@pytest.fixture(scope="module")
def result(home: Path, tiny_model: Path) -> RunResult:
    return Run(settings(home, tiny_model)).execute()


def test_a_run_measures_base_panel_and_words_beside_the_tuned_model(result: RunResult) -> None:
    assert result.evaluation
    found = result.evaluation.alternatives
    assert found
    rows = {row.name: row for row in found.rows}
    assert found.reference.model == "tuned"
    # The copy of the base is no other model.
    layouts = [f"{model}, {layout}" for model in ("tuned", "model") for layout in Layout if layout != Layout.ANSWERS]
    assert {name: row.work for name, row in rows.items()} == {
        **dict.fromkeys(layouts, IndexWork.ANEW),
        "tuned": IndexWork.KEPT,
        "model": IndexWork.KEPT,
        "other": IndexWork.ANEW,
        "BM25": IndexWork.ANEW,
        "model + BM25": IndexWork.ADDED,
    }
    (headline,) = (row for row in result.evaluation.comparisons if row.role == "domain" and row.metric == "ndcg@10")
    assert found.reference.ndcg == pytest.approx(headline.tuned)
    assert rows["model"].ndcg == pytest.approx(headline.base)
    assert rows["model"].difference == pytest.approx(-headline.difference)
    # An offset beside the vector is one more dimension, words have none.
    odd = {"BM25": 0, "tuned, answers and questions": 33, "model, answers and questions": 33}
    assert {row.name: row.dimensions for row in found.rows} == {**dict.fromkeys(rows, 32), **odd}
    assert all(row.milliseconds > 0 for row in found.rows)


def test_what_was_measured_is_kept(result: RunResult, home: Path, tiny_model: Path) -> None:
    again = Run(settings(home, tiny_model)).execute()
    assert {timing.stage for timing in again.timings if timing.reused} >= {"evaluate", "alternatives"}
    assert again.evaluation
    assert result.evaluation
    assert again.evaluation.alternatives == result.evaluation.alternatives  # also the milliseconds


def test_comparing_before_a_run_gives_the_same_without_the_tuned_model(
    result: RunResult, home: Path, tiny_model: Path
) -> None:
    assert result.evaluation
    assert result.evaluation.alternatives
    found = Run(settings(home, tiny_model, **{"run.store": str(home / "another")})).compare()
    assert (found.reference.model, found.left_one_out) == ("model", False)
    expected = {row.name: row.ndcg for row in result.evaluation.alternatives.rows if not row.tuned}
    assert {row.name: row.ndcg for row in found.rows} == pytest.approx(expected)


def test_comparing_with_a_run_takes_its_model(result: RunResult, home: Path, tiny_model: Path) -> None:
    assert result.evaluation
    assert result.evaluation.alternatives
    found = Run(settings(home, tiny_model)).compare(str(result.folder))
    assert found.reference.work == IndexWork.KEPT
    assert found.reference.ndcg == pytest.approx(result.evaluation.alternatives.reference.ndcg)


def test_a_tuned_model_of_unknown_origin_needs_an_index_of_its_own(
    result: RunResult, tiny_model: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(result.folder / "model", moved)
    base = sentence_encoder(str(tiny_model))
    assert not tuned_model(str(moved), base, cache=MemoryCache()).kept
    assert tuned_model(str(result.folder), base, cache=MemoryCache()).kept


def test_without_held_out_questions_the_labelled_ones_are_searched(
    home: Path, tiny_model: Path, tmp_path: Path
) -> None:
    unjudged = tmp_path / "unjudged"
    unjudged.mkdir()
    shutil.copy(home / "shop" / "qa.jsonl", unjudged)
    run = Run(settings(home, tiny_model, **{"data.path": str(unjudged)}))
    found = run.compare()
    dataset = run.execute(until=Stage.LOAD).dataset
    assert found.left_one_out
    assert found.questions == len(dataset.questions)
    # In an index of its own text a question finds its answer first, always.
    (separate,) = (row for row in found.rows if row.holds == Layout.SEPARATE)
    assert separate.hit1 < 1
    assert labelled_set(dataset).qrels["q1"] == {dataset.questions[0].document_ids[0]: 1}
    with pytest.raises(DataError, match="no held-out questions"):
        run.compare(str(tiny_model))


def test_no_labelled_question_is_searched_in_an_answer_that_repeats_it(tiny_model: Path, tmp_path: Path) -> None:
    words = {"a": "red", "b": "blue", "c": "green", "d": "black", "e": "white", "f": "brown"}
    rows = {key: (f"{word} and {key}{key}{key}?", f"nothing but {word[::-1]}") for key, word in words.items()}
    repeating = {key: (asked, f"{asked} {answer}") for key, (asked, answer) in rows.items()}
    for name, pairs in (("plain", rows), ("repeating", repeating)):
        write_files(tmp_path / name, {"qa.jsonl": qa(pairs)})
    found = {
        name: Run(quick(tmp_path, tiny_model, **{"data.path": str(tmp_path / name)})).compare()
        for name in ("plain", "repeating")
    }
    hits = {name: {row.name: row.hit1 for row in item.rows} for name, item in found.items()}
    # No answer shares a word with its question but by repeating it, so words find none of them first but by chance.
    assert hits["repeating"]["BM25"] == hits["plain"]["BM25"] < 0.5
    assert max(hits["repeating"].values()) < 1


def test_other_answers_keep_their_questions_while_one_is_searched() -> None:
    documents = (Document("a", "how much? five"), Document("b", "how long? a day"), Document("c", "open at nine"))
    questions = tuple(Question(text, (key,)) for text, key in (("how much?", "a"), ("how long?", "b"), ("when?", "c")))
    dataset, seen = Dataset("shop", documents, questions), []

    def make(known: Dataset, answers: Sequence[Document]) -> Search:
        seen.append(([item.text for item in known.questions], [item.text for item in answers]))
        return lambda texts: np.zeros((len(texts), len(answers)), dtype=np.float32)

    _each_alone(make, dataset, Repeats.of(dataset), documents)(["how much?", "when?"])
    assert seen == [
        (["how long?", "when?"], ["five", "how long? a day", "open at nine"]),
        (["how much?", "how long?"], ["how much? five", "how long? a day", "open at nine"]),
    ]


def test_layouts_of_a_large_corpus_are_left_out(home: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MOST_PAIRS", 10)
    found = Run(settings(home, tiny_model)).compare()
    assert {row.holds for row in found.rows} == {Layout.ANSWERS}


def test_ours_is_measured_on_the_index_that_users_have(home: Path, tiny_model: Path) -> None:
    evaluation = Run(settings(home, tiny_model, **{"data.expand": 1})).execute(until=Stage.EVALUATE).evaluation
    assert evaluation
    assert evaluation.alternatives
    rows = {row.name: row for row in evaluation.alternatives.rows}
    assert evaluation.alternatives.reference is rows["tuned, 1 question + answer"]
    (tuning,) = (row for row in evaluation.comparisons if row.role == "domain" and row.metric == "ndcg@10")
    (indexing,) = (row for row in evaluation.indexing if row.metric == "ndcg@10")
    assert rows["tuned, 1 question + answer"].ndcg == pytest.approx(tuning.tuned)
    assert rows["model, 1 question + answer"].ndcg == pytest.approx(tuning.base)
    assert rows["model"].ndcg == pytest.approx(indexing.base)


def test_the_panel_is_what_embeds_and_is_not_the_base(home: Path, tiny_model: Path) -> None:
    wanted = settings(home, tiny_model, **{"score.experts": ["ngrams", str(tiny_model), str(home / "other")]})
    panel = Panel.of(wanted, ["what"], ["this", "that"], cache=MemoryCache())
    assert [model.name for model in panel.models] == ["other"]
    weights = (home / "other" / "model.safetensors").stat().st_size
    assert panel.models[0].megabytes == pytest.approx(weights / 1e6)
    assert panel.models[0].base == str(home / "other")
    assert panel.words.name == "bm25"


def test_a_model_that_cannot_be_tuned_is_no_base(home: Path, tiny_model: Path) -> None:
    modules = home / "other" / "modules.json"
    parts = json.loads(modules.read_text(encoding="utf-8"))
    modules.write_text(json.dumps([part for part in parts if "Normalize" not in part["type"]]), encoding="utf-8")
    settings_file = home / "other" / "config_sentence_transformers.json"
    written = json.loads(settings_file.read_text(encoding="utf-8")) | {"similarity_fn_name": "dot"}
    settings_file.write_text(json.dumps(written), encoding="utf-8")
    wanted = settings(home, tiny_model, **{"score.experts": ["ngrams", str(home / "other")]})
    panel = Panel.of(wanted, ["what"], ["this", "that"], cache=MemoryCache())
    assert [(model.name, model.base) for model in panel.models] == [("other", "")]
