"""Odd texts and sizes: what can be worked with goes through a whole run, what cannot is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from expertune import config
from expertune.config import LabelSection, Strategy
from expertune.errors import DataError
from expertune.evaluate.ranking import rank
from expertune.evaluate.separation import separation
from expertune.label.stage import label
from expertune.pipeline.run import Run, Stage
from expertune.records import Dataset, Document, JudgedSet, Query, Question, Questions, Role, Scores
from expertune.score import stage

ODD = {
    "long": "We ship the parcel to your account address. " * 2273,  # 100,012 characters
    "one endless word": "a" * 100_000,
    "emoji": "🎉📦👩‍👩‍👧‍👦🏳️‍🌈 ✅",
    "right to left": "يمكنك إرجاع المنتج خلال 30 يومًا. \u202eהפוך\u202c",
    "zero width": "Pay\u200bment \u2060by\ufeff ca\u00adrd",
    "combining": "Z\u0351\u036b\u0343\u032aa\u0302l\u0301g\u0329o\u0335 text" + "\u0301" * 500,
    "one letter": "x",
    "symbols": "€ + % = ± ∑",
    "markup": "<script>alert(1)</script> & {{ 7 * 7 }}",
    "lone surrogate": "card \ud800 pay",
}


def _wanted(folder: Path, model: Path, **sections: dict[str, Any]) -> config.Config:
    plain = {
        "data": {"path": str(folder)},
        "run": {"out": str(folder / "out"), "threads": 1},
        "augment": {"generators": ["template"], "per_answer": 2},
        "score": {"experts": ["bm25", "ngrams", "latent", str(model)]},
        "train": {"base": str(model), "steps": 2, "batch_size": 8, "precision": "float32"},
    }
    return config.from_mapping({**plain, **sections})


def _write(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _odd_rows() -> list[dict[str, str]]:
    usable = {name: text for name, text in ODD.items() if name != "lone surrogate"}
    rows = [
        {"id": f"d{n}", "question": f"{name} {text[:300]} ?", "answer": text}
        for n, (name, text) in enumerate(usable.items())
    ]
    rows += [{"id": f"h{n}", "question": f"held out {name}: {text[::-1][:200]}", "answer": text, "split": "heldout"}
             for n, (name, text) in enumerate(usable.items())]  # fmt: skip
    # The same text under another id.
    rows += [
        {"id": "twin-1", "question": "What is the cost?", "answer": "You pay 5."},
        {"id": "twin-2", "question": "How much?", "answer": "You pay 5."},
    ]
    return rows


@pytest.mark.slow
def test_odd_texts_go_through_a_whole_run(tmp_path, tiny_model):
    _write(tmp_path, _odd_rows())
    result = Run(_wanted(tmp_path, tiny_model)).execute()
    assert result.evaluation is not None
    for measured in result.evaluation.measurements:
        assert all(np.isfinite(values).all() for values in measured.values.values())
    assert result.labels is not None
    np.testing.assert_allclose(np.asarray(result.labels.targets).sum(axis=1), 1.0, atol=1e-5)
    texts = [document.text for document in result.dataset.documents]
    assert len(set(texts)) == len(texts)  # twins are one document
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"question": "a", "answer": "only one"}, {"question": "b", "answer": "only one"}], "all answers are equal"),
        ([{"question": "a", "answer": "one"}], "expected 2 to train on"),
        ([{"question": "a", "answer": "one"}, {"question": "", "answer": "two"}], "'question' is empty"),
        ([{"question": "a", "answer": "one"}, {"question": "b", "answer": "\u200b \ufeff"}], "'answer' is empty"),
        ([{"question": "a", "answer": "one"}, {"question": "b", "answer": "t\0o"}], "no text may hold"),
        ([{"question": "a", "answer": "one"}, {"question": "b", "answer": ODD["lone surrogate"]}], "no text may hold"),
    ],
)
def test_what_cannot_be_worked_with_is_refused_in_one_sentence(rows, expected, tmp_path, tiny_model):
    _write(tmp_path, rows)
    with pytest.raises(DataError, match=expected):
        Run(_wanted(tmp_path, tiny_model)).execute(until=Stage.LOAD)


@pytest.mark.slow
def test_fifty_thousand_documents_are_labelled(tmp_path, tiny_model, monkeypatch):
    """Above `FULL_MATRIX` a question has candidates, and its target is a distribution over the active ones."""
    monkeypatch.setattr(stage, "CANDIDATES", 64)
    corpus = [{"_id": f"d{n}", "text": f"item {n} costs {n % 97} and ships in {n % 13} days"} for n in range(50_000)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus), encoding="utf-8")
    rows = [{"question": f"What about item {n} ?", "answer": corpus[n]["text"]} for n in range(0, 50_000, 2500)]
    _write(tmp_path, rows)
    wanted = _wanted(tmp_path, tiny_model, augment={"per_answer": 0, "spans": 0}, score={"experts": ["bm25"]})
    result = Run(wanted).execute(until=Stage.LABEL)
    assert len(result.dataset.documents) == 50_000
    assert result.labels is not None
    assert result.labels.targets.shape == (20, 64)
    np.testing.assert_allclose(np.asarray(result.labels.targets).sum(axis=1), 1.0, atol=1e-5)
    assert int(np.sum(result.labels.active)) == 20


def test_fifty_thousand_documents_are_ranked():
    vectors = np.random.default_rng(0).normal(size=(50_003, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    documents = tuple(Document(f"d{n}", str(n)) for n in range(50_000))
    queries = tuple(Query(f"q{n}", str(50_000 + n)) for n in range(3))
    judged = JudgedSet("many", "test", Role.DOMAIN, documents, queries, {f"q{n}": {f"d{n}": 1} for n in range(3)})
    found = rank(Table(vectors), judged)
    for row in range(3):
        cosines = np.round(vectors[50_000 + row] @ vectors[:50_000].T, 6)
        assert found.first[row] == pytest.approx(
            1 + int((cosines > cosines[row]).sum()), abs=float((cosines == cosines[row]).sum())
        )


class Table:
    """Vectors by number."""

    name = "table"

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors[[int(text) for text in texts]]

    encode_documents = encode_queries


def test_zero_vectors_rank_by_chance_and_separate_nothing():
    documents = tuple(Document(f"d{n}", str(n)) for n in range(5))
    judged = JudgedSet("zero", "test", Role.DOMAIN, documents, (Query("q0", "0"),), {"q0": {"d3": 1}})
    encoder = Table(np.zeros((5, 3), np.float32))
    found = rank(encoder, judged)
    assert found.ties == 1
    assert 1 <= found.first[0] <= 5
    assert separation(encoder, judged, "base").auroc == 0.5


@pytest.mark.parametrize("calibration", ["zscore", "rank", "percentile", "isotonic"])
@pytest.mark.parametrize("strategy", get_args(Strategy))
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0, -3.0, 1e30])
def test_all_equal_scores_give_targets_that_prefer_nothing_but_the_known_answer(strategy, calibration, score):
    documents = tuple(Document(f"d{n}", f"text {n}") for n in range(4))
    items = tuple(Question(f"q{n}", (f"d{n}",)) for n in range(4))
    scores = Scores(("a", "b"), np.full((4, 4, 2), score, np.float32))
    chosen = LabelSection(strategy=strategy, calibration=calibration)
    made = label(Dataset("flat", documents, items), Questions(items), scores, chosen)
    targets = np.asarray(made.targets)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-5)
    off_diagonal = targets[~np.eye(4, dtype=bool)]
    np.testing.assert_allclose(off_diagonal, off_diagonal[0], atol=1e-6)
    assert (np.diag(targets) >= off_diagonal[0] - 1e-6).all()
