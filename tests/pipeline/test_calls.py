"""Tuning and comparing in one call from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest
from sentence_transformers import SentenceTransformer

import expertune
from expertune.errors import DataError
from small_shop import FILES, PAIRS, general, write_files


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "run.threads": 1,
        "data.general": [str(general(tmp_path))],
        "augment.spans": 1,
        "score.experts": ["bm25", "ngrams"],
        "train.steps": 2,
        "train.batch_size": 4,
        "train.precision": "float32",
    }


def test_pairs_and_a_log_are_tuned_in_one_call(settings: dict[str, Any], tiny_model: Path, tmp_path: Path):
    log = ["when do i get my money", "when do i get my money", "where is it"]
    out = tmp_path / "out"
    result = expertune.tune(list(PAIRS.values()), log=log, base=str(tiny_model), out=out, settings=settings)
    assert result.questions is not None
    assert {item.text for item in result.questions.items if item.logged} == {"when do i get my money", "where is it"}
    assert SentenceTransformer(str(out / "model")).encode("where").shape
    assert result.evaluation is not None
    frame = result.evaluation.to_frame()
    assert len(frame) == len(result.evaluation.comparisons)
    assert repr(result).startswith("RunResult(")
    assert str(out) in repr(result)
    assert "<table" in result._repr_html_()


def test_a_folder_is_compared_in_one_call(settings: dict[str, Any], tiny_model: Path, tmp_path: Path):
    shop = write_files(tmp_path / "shop", FILES)
    found = expertune.compare(shop, out=tmp_path / "out", settings={**settings, "train.base": str(tiny_model)})
    frame = found.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["name"]) == [row.name for row in found.rows]
    assert frame["ndcg"].is_monotonic_decreasing


def test_what_is_no_pair_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="something else than pairs"):
        expertune.tune([("a", "b", "c")], out=tmp_path)  # type: ignore[list-item]
