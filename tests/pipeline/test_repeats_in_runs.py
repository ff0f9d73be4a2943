"""A run over answers that have their question as a title: labelled questions are judged without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expertune import config
from expertune.data.expansion import Expansion
from expertune.data.repeats import Repeats
from expertune.label.stage import Labeller
from expertune.pipeline.context import READ_QUESTIONS
from expertune.pipeline.run import Run, RunResult, Stage
from expertune.pipeline.stages import questions
from small_shop import CORPUS, FILES, PAIRS, lines, write_files

TITLED = lines(*({"_id": key, "title": asked, "text": answer} for key, (asked, answer) in PAIRS.items()))


def scored(home: Path, corpus: str, *, privileged: bool) -> RunResult:
    values = {
        "run": {"out": str(home / "out"), "threads": 1},
        "data": {"path": str(write_files(home, {**FILES, "corpus.jsonl": corpus}))},
        "augment": {"generators": ["template"], "per_answer": 2, "spans": 0},
        "score": {"experts": ["bm25", "ngrams"], "privileged": privileged},
    }
    return Run(config.from_mapping(values)).execute(until=Stage.SCORE)


@pytest.fixture
def _no_model_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expertune.pipeline.preflight.require_models", lambda config: None)
    monkeypatch.setattr(questions, "repeats", lambda context, texts, held_out: (False,) * len(texts))


@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.usefixtures("_no_model_needed")
def test_a_title_gives_no_labelled_question_away(tmp_path: Path, privileged: bool):
    plain = scored(tmp_path / "plain", CORPUS, privileged=privileged)
    titled = scored(tmp_path / "titled", TITLED, privileged=privileged)
    assert titled.dataset.documents[0].text.startswith(titled.dataset.questions[0].text)
    assert plain.scores is not None
    assert titled.scores is not None
    assert titled.questions is not None
    labelled = titled.questions.labelled
    np.testing.assert_allclose(titled.scores.values[labelled], plain.scores.values[: labelled.sum()], rtol=1e-6)
    # All other questions may find their answer through its title.
    assert not np.allclose(titled.scores.values, titled.scores.plain)


@pytest.mark.usefixtures("_no_model_needed")
def test_what_chooses_the_model_is_judged_without_the_titles_that_repeat_it(tmp_path: Path):
    result = scored(tmp_path, TITLED, privileged=True)
    assert result.questions is not None
    assert result.scores is not None
    repeats = Repeats.of(result.dataset)
    read = Expansion.of(result.dataset.questions, READ_QUESTIONS)
    labeller = Labeller(
        result.dataset, result.questions, result.scores, config.LabelSection(), read=read, repeats=repeats
    )
    rows = np.arange(1, len(result.questions.items))  # the first question is kept for choosing
    first, *others = labeller.documents(rows)
    assert first.text == PAIRS[first.id][1]
    assert tuple(others) == result.dataset.documents[1:]
    assert labeller.documents(np.arange(len(result.questions.items))) == result.dataset.documents
