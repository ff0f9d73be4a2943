"""A run without held-out questions: it estimates from the labelled ones, and keeps every fold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expertune import config
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.pipeline.stages.training import of_fold
from expertune.records import METRIC, Basis, Progress
from expertune.report.rows import set_rows
from expertune.train import crossval
from small_shop import FILES, PAIRS, qa, quick, write_files


def settings(home: Path, model: Path, **changes: Any) -> config.Config:
    return quick(home, model, **{"train.steps": 1, **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("own")
    write_files(home / "shop", {"qa.jsonl": qa()})
    write_files(home / "judged", FILES)
    write_files(home / "few", {"qa.jsonl": qa(dict(list(PAIRS.items())[:5]))})
    return home


@pytest.fixture(scope="module")
def measured(home: Path, tiny_model: Path) -> Iterator[tuple[RunResult, list[int], RunResult]]:
    """The result of a run that was killed in its last fold and went on, the folds it had to make, and a third run."""
    made: list[int] = []
    measure, killed = crossval.measure_fold, {3}

    def count(*given: Any, **options: Any) -> crossval.FoldResult:
        made.append(len(made) + 1)
        if len(made) in killed:
            raise KeyboardInterrupt
        return measure(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossval, "measure_fold", count)
        run = Run(settings(home, tiny_model))
        with pytest.raises(KeyboardInterrupt):
            run.execute()
        went_on = run.execute()
        yield went_on, list(made), run.execute()


def test_each_labelled_question_is_measured_once(measured: tuple[RunResult, list[int], RunResult]) -> None:
    result, _, _ = measured
    assert result.evaluation
    own = result.evaluation.own
    assert own
    assert own.folds == 3
    said = result.evaluation.verdict
    assert (said.basis, said.ship) == (Basis.OWN, None)
    assert said.hits.questions == len(PAIRS)
    assert f"of {len(PAIRS)} of your own questions before" in said.headline
    assert len(own.base.query_ids) == len(set(own.base.query_ids)) == len(PAIRS)
    assert sorted(own.base.clusters) == sorted(own.tuned.clusters)
    assert not any(own.known)
    assert [row.queries for row in own.comparisons if row.metric == METRIC] == [len(PAIRS)]


def test_a_killed_run_makes_only_the_folds_that_are_missing(
    measured: tuple[RunResult, list[int], RunResult],
) -> None:
    went_on, made, again = measured
    assert made == [1, 2, 3, 4]
    assert went_on.evaluation
    assert again.evaluation
    assert json.dumps([str(row) for row in again.evaluation.comparisons]) == json.dumps(
        [str(row) for row in went_on.evaluation.comparisons]
    )
    assert all(timing.reused for timing in again.timings if timing.stage == "cross-validation")


def test_the_verdict_rests_on_them_and_ships_nothing(measured: tuple[RunResult, list[int], RunResult]) -> None:
    result, _, _ = measured
    assert result.evaluation
    own, said = result.evaluation.own, result.evaluation.verdict
    assert own
    assert (said.basis, said.ship) == (Basis.OWN, None)
    assert said.hits
    assert said.hits.questions == len(PAIRS)
    assert said.decision.endswith("on your own questions")
    first = set_rows(result.evaluation)[0]
    assert (first.change.split, first.hits) == (own.base.split, said.hits)
    # The card lists what the kept model was measured on: it was tuned on these questions, other models answered them.
    card = (result.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert own.base.split not in card.split("---")[1]
    assert own.base.split in card
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert f"All {len(PAIRS)} left-out questions" in page  # every one of them can be looked at
    assert "held-out" not in page.split("<main>")[1].split('<section id="details"')[0]


@pytest.mark.parametrize("folder", ["judged", "few"])
def test_nothing_is_estimated_with_held_out_questions_or_too_few_answers(
    folder: str, home: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossval, "measure_fold", None)
    result = Run(settings(home, tiny_model, **{"data.path": str(home / folder)})).execute(until=Stage.EVALUATE)
    assert result.evaluation
    assert result.evaluation.own is None


def test_the_two_tunings_of_a_fold_are_told_as_one_piece_of_work() -> None:
    told: list[Progress] = []
    report = of_fold(told.append, 2, tunings=2)
    for done in (2, 4, 2, 4):
        report(Progress("train", done, 4, "loss 0.1"))
    assert [(item.stage, item.done, item.total, item.detail) for item in told] == [
        ("cross-validation", done, 8, "fold 2") for done in (2, 4, 6, 8)
    ]
