"""Every record comes back from a folder bit-equal."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from expertune.pipeline import artefacts
from expertune.records import (
    Candidate,
    ExpertQuality,
    Measurement,
    Provenance,
    Question,
    Questions,
    Role,
    Scores,
    Selection,
    SoftLabels,
    TunedModel,
)

CANDIDATE = Candidate(0.5, 0.7, 0.8, 0.1, 0.01, -0.001, 0.002, chosen=True)
RECORDS = [
    Questions((Question("how?", ("d1", "d2"), Provenance.SYNTHETIC, "llm", "keyword"),), {"empty": 3}),
    Scores(("a", "b"), np.random.default_rng(0).random((3, 4, 2)).astype(np.float32), (0.5, 1.5)),
    SoftLabels(
        "mixed",
        np.eye(3, dtype=np.float32),
        np.array([True, False, True]),
        True,
        (ExpertQuality("a", 0.5, 1.0),),
    ),
    TunedModel(Path(), "base", "mixed", "query", Selection(0.5, (CANDIDATE,), "why"), 100, (0.3, 0.2)),
    Measurement(
        "set",
        "test",
        Role.GENERAL,
        "base",
        ("q1",),
        ("d1",),
        {"ndcg@10": np.array([0.1 + 0.2])},
        (1,),
        (("d1",),),
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_equal(record, tmp_path):
    artefacts.save(record, tmp_path)
    back = artefacts.load(type(record), tmp_path)
    for field in dataclasses.fields(record):
        before, after = getattr(record, field.name), getattr(back, field.name)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(before, after)
        elif field.name == "values":
            np.testing.assert_array_equal(before["ndcg@10"], after["ndcg@10"])
        else:
            assert before == after


def test_large_arrays_are_mapped_not_read(tmp_path):
    artefacts.save(RECORDS[1], tmp_path)
    assert isinstance(artefacts.load(Scores, tmp_path).values, np.memmap)


def test_the_same_record_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        artefacts.save(RECORDS[2], tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
