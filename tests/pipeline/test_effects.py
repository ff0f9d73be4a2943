"""Every field of the config does something: it is changed, and what its stage makes is another thing.

`test_keys.py` shows that a changed field makes its stage run again; here the stage is run. A field whose effect wants
special circumstances has a test of its own, which is named.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expertune import config
from expertune.pipeline import artefacts
from expertune.pipeline.run import Run, RunResult, Stage

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.runs import write_data

PLAIN: dict[str, Any] = {
    "run.threads": 1,
    "augment.generators": ["template"],
    "augment.per_answer": 4,
    "augment.spans": 0,
    "score.experts": ["bm25", "ngrams"],
    "train.steps": 3,
    "train.batch_size": 8,
    "label.hard_weight": 0.5,
    "train.learning_rate": 2e-3,
    "evaluate.general_tolerance": 1.0,
    "train.precision": "float32",
}

# Field: its other value, what is set on both sides, and the first stage whose result is another one.
CHANGES: dict[str, tuple[Any, dict[str, Any], Stage]] = {
    "data.expand": (1, {}, Stage.TRAIN),
    "augment.per_answer": (2, {}, Stage.AUGMENT),
    "augment.spans": (2, {}, Stage.AUGMENT),
    "run.seed": (1, {}, Stage.AUGMENT),
    "score.experts": (["bm25", "latent"], {}, Stage.SCORE),
    "score.privileged": (False, {}, Stage.SCORE),
    "label.strategy": ("weighted", {}, Stage.LABEL),
    "label.calibration": ("rank", {}, Stage.LABEL),
    "label.hard_weight": (0.25, {}, Stage.LABEL),
    "train.mode": ("full", {}, Stage.TRAIN),
    "train.frozen_layers": (0.0, {}, Stage.TRAIN),
    "train.loss": ("pairwise", {"label.strategy": "soft-1"}, Stage.LABEL),
    "train.steps": (2, {}, Stage.TRAIN),
    "train.batch_size": (3, {}, Stage.TRAIN),
    "train.learning_rate": (1e-4, {}, Stage.TRAIN),
    "train.reference_weight": (0.0, {}, Stage.TRAIN),
}

# Their effect wants more than another value.
ELSEWHERE = {
    "run.out": "test_cli.py::test_a_run_goes_through_every_stage_and_reuses_what_does_not_change",
    "run.store": "test_effects.py::test_results_and_store_go_where_they_are_told",
    "run.threads": "test_effects.py::test_threads_are_set",
    "run.offline": "test_security.py::test_an_offline_run_opens_no_socket",
    "data.path": "test_data.py::test_missing_data",
    "data.log": "test_log.py::test_a_log_is_trained_on_without_what_is_held_out_or_labelled",
    "data.general": "test_data.py::test_general_folders_replace_the_built_in_set",
    "data.test_splits": "test_data.py::test_chosen_splits_are_taken_in_order_and_may_be_rows",
    "data.train_split": "test_data.py::test_train_split_adds_labelled_questions_with_several_documents",
    "data.question_column": "test_data.py::test_other_column_names",
    "data.answer_column": "test_data.py::test_other_column_names",
    "data.id_column": "test_data.py::test_other_column_names",
    "data.split_column": "test_tables.py::test_a_column_that_looks_like_a_split_is_never_trained_on",
    "augment.questions": "test_edited.py::test_an_edited_file_is_read_again",
    "augment.generators": "test_augment.py::test_generators_are_made_by_name_and_numbered_where_labels_repeat",
    "augment.budget_seconds": "test_augment.py::test_a_generator_over_budget_is_asked_no_more_and_it_is_told",
    "label.round_trip": "test_round_trip.py::test_round_trip_keeps_what_the_panel_finds_again",
    "train.preferred_weight": "test_select.py::test_what_is_as_good_as_the_best_and_nearest_to_the_preferred_is_kept",
    "train.report_to": "test_trainer.py::test_tensorboard_is_told_of_every_step",
    "cluster.address": "test_ray.py::test_a_run_makes_the_same_artefacts_as_in_one_process",
    "cluster.gpus": "test_ray.py::test_a_cluster_started_for_plug_ins_ends_with_them",
    "train.base": "test_tuning.py::test_one_question_is_enough_to_end_with_the_base",
    "train.lora_rank": "test_trainer.py::test_every_mode_tunes_and_saves_a_plain_model",
    "train.reference_texts": "test_data.py::test_reference_sentences_of_a_file",
    "train.precision": "test_trainer.py::test_bfloat16_is_only_used_where_asked_or_found",
    "evaluate.general_tolerance": "test_verdict.py::test_a_general_loss_above_the_tolerance_forbids_shipping",
    "evaluate.sts": "test_sts.py::test_a_better_model_shows_with_its_interval",
    "evaluate.mteb": "test_benchmarks.py::test_a_run_measures_mteb_and_sentence_similarity_once",
}


def test_every_field_is_changed_somewhere():
    """A new field of the config fails here until a test shows what it is for."""
    named = set(CHANGES) | set(ELSEWHERE)
    assert set(config.known_keys()) - named == set()
    for place in ELSEWHERE.values():
        file, _, name = place.partition("::")
        assert f"def {name}" in next(Path(__file__).parents[1].rglob(file)).read_text(encoding="utf-8"), place


def _digest(result: RunResult, stage: Stage) -> str:
    """Return a hash of what a stage made: weights for the training, the record for the others."""
    folder = result.folder / "compared"
    folder.mkdir(parents=True, exist_ok=True)
    if stage is Stage.TRAIN:
        assert result.model
        artefacts.save(result.model.at(Path()), folder)
        files = [*sorted(result.model.folder.rglob("*.safetensors")), *sorted(folder.iterdir())]
    else:
        name = {Stage.AUGMENT: "questions", Stage.SCORE: "scores", Stage.LABEL: "labels", Stage.EVALUATE: "evaluation"}
        record = getattr(result, name[stage])
        if stage is Stage.SCORE:
            record = (
                record.experts,
                record.values.tolist(),
                None if record.columns is None else record.columns.tolist(),
            )
        artefacts.save(record, folder)
        files = sorted(folder.iterdir())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    for path in folder.iterdir():
        path.unlink()
    return digest


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Callable[..., str]:
    """Return a function from changed fields and a stage to a hash of what that stage makes; one store for all."""
    home = tmp_path_factory.mktemp("effects")
    shop = write_data(home / "shop")
    places = {
        "data.path": str(shop),
        "data.general": [str(shop / "general")],
        "run.out": str(home / "out"),
        "run.store": str(home / "store"),
        "train.base": str(tiny_model),
    }

    def of(changes: dict[str, Any], stage: Stage) -> str:
        wanted = config.from_mapping(config.overlaid({}, {**PLAIN, **places, **changes}.items()))
        return _digest(Run(wanted).execute(until=stage), stage)

    return of


@pytest.mark.slow
@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_field_changes_what_its_stage_makes(field, run):
    value, both, stage = CHANGES[field]
    assert run(both, stage) != run({**both, field: value}, stage)


def test_results_and_store_go_where_they_are_told(tmp_path, tiny_model):
    shop = write_data(tmp_path / "shop")
    places = {"out": str(tmp_path / "out"), "store": str(tmp_path / "kept"), "threads": 1}
    wanted = {
        "data": {"path": str(shop)},
        "run": places,
        "augment": {"per_answer": 0},
        "score": {"experts": ["bm25"]},
        "train": {"base": str(tiny_model)},
    }
    Run(config.from_mapping(wanted)).execute(until=Stage.SCORE)
    assert (tmp_path / "kept" / "items.sqlite").is_file()
    assert not (tmp_path / "out" / "store").exists()


def test_threads_are_set(tmp_path, tiny_model, monkeypatch):
    import torch

    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    shop = write_data(tmp_path / "shop")
    wanted = {"data": {"path": str(shop)}, "run": {"out": str(tmp_path / "out"), "threads": 3}}
    Run(config.from_mapping(wanted)).execute(until=Stage.LOAD)
    assert asked == [3]
