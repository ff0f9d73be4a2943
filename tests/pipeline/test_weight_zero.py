"""A run that keeps the base changes nothing: every difference is zero, on every held-out set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from expertune.pipeline.run import Run
from small_shop import FILES, PAIRS, general, quick, write_files


@pytest.mark.parametrize("mode", ["query", "tied"])
def test_interpolation_weight_zero_is_the_base(tmp_path: Path, tiny_model: Path, mode: str):
    write_files(tmp_path / "shop", FILES)
    changes = {"train.mode": mode, "train.preferred_weight": 0.0, "train.learning_rate": 1e-5}
    result = Run(quick(tmp_path, tiny_model, **{"data.general": [str(general(tmp_path))], **changes})).execute()
    assert result.model is not None
    assert result.model.selection.interpolation_weight == 0.0
    assert result.evaluation is not None
    assert {row.difference for row in result.evaluation.comparisons} == {0.0}
    base, kept = (SentenceTransformer(str(folder)) for folder in (tiny_model, tmp_path / "out" / "model"))
    answers = [answer for _, answer in PAIRS.values()]
    np.testing.assert_array_equal(kept.encode_document(answers), base.encode_document(answers))
    np.testing.assert_array_equal(kept.encode_query(answers), base.encode_query(answers))
