"""Tuning and comparing in one call from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from sentence_transformers import SentenceTransformer

import expertune
from expertune.errors import ConfigError, DataError, StoreError
from expertune.pipeline import calls
from expertune.records import ignore_progress
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


def made(pairs: Any, out: Path, log: Any = (), base: Any = "") -> calls.Run:
    return calls._run(pairs, log, base, out, {}, ignore_progress)


ASKED = ["when do i get my money", "where is it"]


@pytest.mark.parametrize(
    "log",
    [
        pandas.Series(ASKED, index=[3, 4]),
        pandas.Series([*ASKED, None, float("nan"), pandas.NA], dtype=object),
        numpy.array(ASKED),
        iter(ASKED),
        dict.fromkeys(ASKED).keys(),
    ],
)
def test_the_questions_of_a_log_come_in_whatever_holds_them(log: Any, tmp_path: Path):
    (file,) = made(list(PAIRS.values()), tmp_path, log).config.data.log
    assert Path(file).read_text(encoding="utf-8").splitlines() == ASKED


@pytest.mark.parametrize("log", [(), [], "", None, pandas.Series([], dtype=object), numpy.array([]), iter(())])
def test_a_log_of_nothing_is_none(log: Any, tmp_path: Path):
    assert made(list(PAIRS.values()), tmp_path, log).config.data.log == ()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (pandas.DataFrame({"query": ASKED}), "log: is a DataFrame, expected questions"),
        (dict.fromkeys(ASKED, 3), "log: is a mapping, expected questions"),
        (5, "log: is a number, expected questions"),
        ([0, "where is it"], "log: holds a number, expected texts"),
        (numpy.array([ASKED]), "log: holds a ndarray, expected texts"),
    ],
)
def test_what_is_no_log_is_refused(log: Any, said: str, tmp_path: Path):
    with pytest.raises(DataError, match=said):
        made(list(PAIRS.values()), tmp_path, log)


@pytest.mark.parametrize("kind", [numpy.array, iter, tuple, lambda pairs: [iter(pair) for pair in pairs]])
def test_pairs_come_in_whatever_holds_them(kind: Any, tmp_path: Path):
    run = made(kind(list(PAIRS.values())), tmp_path)
    rows = [json.loads(line) for line in Path(run.config.data.path).read_text(encoding="utf-8").splitlines()]
    assert [(row["question"], row["answer"]) for row in rows] == list(PAIRS.values())


def test_a_base_may_be_a_path(tmp_path: Path):
    assert made(list(PAIRS.values()), tmp_path, base=tmp_path / "model").config.train.base == str(tmp_path / "model")


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "b", "c")],
        ["ab", "cd"],
        [{"question": "a", "answer": "b"}, {"question": "c", "answer": "d"}],
        {"a": "b"},
        pandas.Series(["ab", "cd"]),
        [1, 2],
        None,
    ],
)
def test_what_is_no_pair_is_refused(pairs: Any, tmp_path: Path):
    with pytest.raises(DataError, match=r"^pairs: .*expected \(question, answer\) tuples|something else than pairs"):
        expertune.tune(pairs, out=tmp_path)


def test_settings_may_be_arrays(tmp_path: Path):
    settings = {"data.general": numpy.array(["a", "b"]), "score.experts": numpy.array(["bm25"])}
    config = calls._run(list(PAIRS.values()), (), "", tmp_path, settings, ignore_progress).config
    assert (config.data.general, [spec.use for spec in config.score.experts]) == (("a", "b"), ["bm25"])
    with pytest.raises(ConfigError, match=r"score\.experts: Tuple should have at least 1 item"):
        calls._run(list(PAIRS.values()), (), "", tmp_path, {"score.experts": numpy.array([])}, ignore_progress)


def test_files_of_ones_own_in_the_output_folder_stay(tmp_path: Path):
    own = [tmp_path / "data" / name for name in ("frame.jsonl", "log.txt")]
    own[0].parent.mkdir()
    for file in own:
        file.write_text("mine")
    first = made(list(PAIRS.values()), tmp_path, ASKED).config
    other = made(list(PAIRS.values())[::-1], tmp_path, ASKED[::-1]).config
    assert [file.read_text() for file in own] == ["mine", "mine"]
    assert first.data.path != other.data.path
    assert Path(first.data.log[0]).read_text().splitlines() == Path(other.data.log[0]).read_text().splitlines()[::-1]
    assert made(list(PAIRS.values()), tmp_path, ASKED).config == first


@pytest.mark.parametrize("asked", [[], ASKED])
def test_a_folder_that_cannot_be_written_is_an_error_with_its_place(asked: list[str], tmp_path: Path):
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(StoreError, match=r"data/[0-9a-f]{8}/(log\.txt|frame\.jsonl): cannot be written"):
        made(list(PAIRS.values()), tmp_path, asked)
    assert (tmp_path / "data").read_text() == "a file, not a folder"
