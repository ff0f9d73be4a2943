"""Cache keys: every field of the config changes the keys of exactly the stages it can change, and of all after them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expertune import config
from expertune.models import ray
from expertune.pipeline import artefacts, preflight, run
from expertune.pipeline.context import Context
from expertune.pipeline.keeper import Keeper, Kept
from expertune.pipeline.run import Run, Stage
from expertune.pipeline.stages import questions
from expertune.pipeline.store import Artefact, Store
from expertune.records import (
    Evaluation,
    Outcome,
    PanelDiagnostics,
    Questions,
    Scores,
    Selection,
    SoftLabels,
    TunedModel,
    Verdict,
)

ANSWERS = ["We ship in two days.", "Send it back within a month.", "We take cards.", "By the river."]
KEYED = [Stage.AUGMENT, Stage.SCORE, Stage.LABEL, Stage.TRAIN, Stage.EVALUATE]
# Recorded apart from the stages: each has its own key, tested beside what it does.
ASIDES = {"evaluate.sts", "evaluate.mteb"}

# For each field another value, and the first stage whose key it changes; None: it changes no result, so no key.
CHANGES: dict[str, tuple[Any, Stage | None]] = {
    "run.out": ("elsewhere", None),
    "run.store": ("elsewhere/store", None),
    "run.threads": (1, None),
    "run.offline": (False, None),
    "run.seed": (1, Stage.AUGMENT),
    "cluster.address": ("auto", None),
    "cluster.gpus": (0.5, None),
    "data.path": ("other", Stage.AUGMENT),
    "data.general": (["general"], Stage.EVALUATE),
    "data.test_splits": (["dev_b"], Stage.AUGMENT),
    "data.train_split": ("more", Stage.AUGMENT),
    "data.question_column": ("asked", Stage.AUGMENT),
    "data.answer_column": ("answered", Stage.AUGMENT),
    "data.id_column": ("number", Stage.AUGMENT),
    "data.split_column": ("part", Stage.AUGMENT),
    "data.log": (["log.txt"], Stage.SCORE),
    "data.expand": (1, Stage.TRAIN),
    "augment.generators": ([{"use": "template", "options": {}}, "template"], Stage.AUGMENT),
    "augment.per_answer": (2, Stage.AUGMENT),
    "augment.spans": (2, Stage.AUGMENT),
    "augment.questions": ("questions.jsonl", Stage.AUGMENT),
    "augment.budget_seconds": (5.0, Stage.AUGMENT),
    "score.experts": (["bm25", "latent"], Stage.SCORE),
    "label.strategy": ("weighted", Stage.LABEL),
    "label.calibration": ("rank", Stage.LABEL),
    "score.privileged": (False, Stage.SCORE),
    "label.hard_weight": (0.25, Stage.LABEL),
    "label.round_trip": (3, Stage.LABEL),
    "train.base": ("base-2", Stage.LABEL),
    "train.mode": ("full", Stage.TRAIN),
    "train.frozen_layers": (0.0, Stage.TRAIN),
    "train.lora_rank": (4, Stage.TRAIN),
    "train.loss": ("pairwise", Stage.LABEL),
    "train.steps": (7, Stage.TRAIN),
    "train.batch_size": (3, Stage.TRAIN),
    "train.learning_rate": (1e-3, Stage.TRAIN),
    "train.reference_weight": (1.0, Stage.TRAIN),
    "train.reference_texts": ("reference.txt", Stage.TRAIN),
    "train.precision": ("float32", Stage.TRAIN),
    "train.preferred_weight": (0.0, Stage.TRAIN),
    "train.report_to": (["tensorboard"], None),
    "evaluate.general_tolerance": (0.5, Stage.TRAIN),
}
# Some values are valid only together with others; those are set on both sides of the comparison.
TOGETHER: dict[str, dict[str, Any]] = {
    "train.loss": {"label.strategy": "soft-1"},
    "train.precision": {"train.precision": "bfloat16"},
}


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write(folder: Path) -> None:
    """Write a Q&A set with judged splits, a copy with one more question, a general set and two bases."""
    names = ("question", "asked", "answer", "answered", "id", "number", "part")
    values = ((f"q{n}", f"p{n}", answer, ANSWERS[n - 1], f"d{n}", "", "") for n, answer in enumerate(ANSWERS))
    rows = [dict(zip(names, row, strict=True)) for row in values]
    queries = [{"_id": f"t{n}", "text": f"held out {n}{n}"} for n in range(4)]
    for name in ("data", "other", "general"):
        (folder / name / "qrels").mkdir(parents=True)
        corpus = [{"_id": f"d{n}", "text": answer} for n, answer in enumerate(ANSWERS)]
        (folder / name / "corpus.jsonl").write_text(_lines(corpus))
        (folder / name / "queries.jsonl").write_text(_lines(queries))
        for number, split in enumerate(("test", "dev_b", "more", "train")):
            (folder / name / "qrels" / f"{split}.tsv").write_text(f"t{number}\td{number}\t1\n")
    (folder / "general" / "qrels" / "more.tsv").unlink()
    (folder / "data" / "qa.jsonl").write_text(_lines(rows))
    (folder / "other" / "qa.jsonl").write_text(_lines(rows[1:]))
    (folder / "questions.jsonl").write_text(_lines([{"question": "is it heavy", "answers": ["d1"]}]))
    (folder / "log.txt").write_text("what does it weigh\n")
    (folder / "reference.txt").write_text("The moon is far.\n")
    for name in ("base", "base-2"):
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_text(name)
        (folder / name / "config.json").write_text("{}")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, str]]:
    """Return a function from changed fields to the key of each stage; the stages themselves do nothing."""
    _write(tmp_path)
    monkeypatch.chdir(tmp_path)
    recorded: dict[str, str] = {}
    asked: list[Any] = []

    def made(self: Keeper, stage: Stage, key: str, kind: type, make: object) -> Kept[Any]:
        recorded[stage] = key
        items = tuple(asked)
        value = {
            Questions: lambda: Questions(items),
            Scores: lambda: Scores(("bm25",), np.zeros((len(items), 4, 1), np.float32)),
            SoftLabels: lambda: SoftLabels("hard", np.ones((len(items), 4), np.float32), np.ones(4, bool), True),
            Evaluation: lambda: Evaluation(
                (), (), (), Verdict(Outcome.NOT_MEASURED, Outcome.NOT_MEASURED, None, "", "", "")
            ),
        }[kind]()
        return Kept(value, key)

    augment_stage = run.augmented

    def remember(context: Context, dataset: Any, *rest: Any) -> Any:
        asked[:] = dataset.value.questions
        return augment_stage(context, dataset, *rest)

    def obtain(self: Store, stage: str, key: str, make: object) -> Artefact:
        recorded[stage] = key
        return Artefact(tmp_path, reused=True)

    tuned = TunedModel(tmp_path, "base", "mixed", "query", Selection(0.0, (), ""), 1)
    monkeypatch.setattr(preflight, "require_models", lambda config: None)  # nothing is made, so nothing need be there
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # what a run sets is undone
    monkeypatch.setattr(run, "augmented", remember)
    monkeypatch.setattr(Keeper, "stage", made)
    monkeypatch.setattr(Context, "base_and_tuned", lambda self, model: {})
    monkeypatch.setattr(questions, "repeats", lambda context, texts, held_out: (False,) * len(texts))
    # Keys do not depend on what is installed.
    monkeypatch.setattr(ray, "require", lambda section: None)
    monkeypatch.setattr(run, "agreement_of", lambda *arguments: None)
    monkeypatch.setattr(run, "alternatives_to", lambda *arguments: None)
    monkeypatch.setattr(run, "diagnosed", lambda *arguments: PanelDiagnostics(0.0, 0.0, 0.0, "", 0.0, 1))
    monkeypatch.setattr(Store, "obtain", obtain)
    monkeypatch.setattr(artefacts, "load", lambda kind, folder: tuned)
    plain = {
        "data.path": "data",
        "run.out": "out",
        "augment.generators": ["template"],
        "augment.per_answer": 3,
        "score.experts": ["bm25", "ngrams"],
        "train.base": "base",
    }

    def of(changes: dict[str, Any]) -> dict[str, str]:
        recorded.clear()
        wanted = config.from_mapping(config.overlaid({}, {**plain, **changes}.items()))
        Run(wanted).execute(until=Stage.EVALUATE)
        return {stage: recorded[stage] for stage in KEYED}

    return of


def test_every_field_is_looked_at():
    assert set(CHANGES) | ASIDES == set(config.known_keys())


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_changes_exactly_the_stages_after_it(field, keys):
    value, first = CHANGES[field]
    both = TOGETHER.get(field, {})
    before, after = keys(both), keys({**both, field: value})
    changed = [stage for stage in KEYED if before[stage] != after[stage]]
    assert changed == (KEYED[KEYED.index(first) :] if first else [])


def test_the_key_holds_what_is_computed_in_and_not_that_it_was_left_open(keys, monkeypatch):
    monkeypatch.setattr("expertune.train.trainer.computes_bfloat16", lambda: True)
    assert keys({}) == keys({"train.precision": "bfloat16"}) != keys({"train.precision": "float32"})
    monkeypatch.setattr("expertune.train.trainer.computes_bfloat16", lambda: False)
    assert keys({}) == keys({"train.precision": "float32"})


def test_the_same_config_has_the_same_keys_wherever_its_data_lie(keys, tmp_path, monkeypatch):
    before = keys({})
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("data", "base"):
        shutil.copytree(name, moved / name)
    monkeypatch.chdir(moved)
    assert keys({}) == before
