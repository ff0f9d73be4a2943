"""Sentence similarity: reading scored pairs, Spearman against SciPy, and what base and tuned make of it."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from expertune.data import read_scored_pairs
from expertune.errors import DataError
from expertune.evaluate import sts
from expertune.evaluate.sts import similarity_change, spearman
from expertune.records import ScoredPairs

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.usefixtures("few_resamples")


class AngleEncoder:
    """Embed "n" as the angle n * `factor` (or, where the factor is None, as noise)."""

    name = "angles"

    def __init__(self, factor):
        self.factor = factor

    def encode_queries(self, texts):
        if self.factor is None:
            angles = np.random.default_rng(0).uniform(0, 6, len(texts))
        else:
            angles = np.array([float(text) * self.factor for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def encode_documents(self, texts):
        raise AssertionError("pairs are encoded on the side that tuning moves")


def pairs(count=60):
    generator = np.random.default_rng(1)
    gaps = generator.uniform(0, 3, count)
    scores = tuple(float(-gap) for gap in gaps)
    return ScoredPairs("gaps", ("0",) * count, tuple(str(gap) for gap in gaps), scores)


def test_spearman_with_ties_equals_scipy():
    generator = np.random.default_rng(3)
    left, right = generator.integers(0, 9, 200).astype(float), generator.normal(size=200)
    right += left / 3
    assert spearman(left, right) == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_a_better_model_shows_with_its_interval():
    found = similarity_change(pairs(), AngleEncoder(None), AngleEncoder(1.0))
    assert found.tuned == pytest.approx(1.0)
    assert found.difference == pytest.approx(found.tuned - found.base)
    assert 0 < found.low <= found.difference <= found.high
    assert (found.dataset, found.pairs) == ("gaps", 60)


def test_equal_models_differ_by_nothing():
    found = similarity_change(pairs(), AngleEncoder(0.5), AngleEncoder(0.5))
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_tsv_cells_are_taken_as_they_stand(tmp_path):
    file = tmp_path / "news.tsv"
    file.write_text('text1\ttext2\tscore\n"a\tb "c\t5\nd\te\t0.5\nf\tg\t2\n', encoding="utf-8")
    found = read_scored_pairs(file)
    assert found == ScoredPairs("news", ('"a', "d", "f"), ('b "c', "e", "g"), (5.0, 0.5, 2.0))


def test_jsonl_in_a_folder_takes_the_folders_name(tmp_path):
    folder = tmp_path / "stsb"
    folder.mkdir()
    lines = [f'{{"sentence1": "a{n}", "sentence2": "b{n}", "score": {n}}}' for n in range(3)]
    (folder / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert read_scored_pairs(folder) == ScoredPairs("stsb", ("a0", "a1", "a2"), ("b0", "b1", "b2"), (0.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text1\ttext2\tscore\na\tb\t1\nc\td\thigh\ne\tf\t2\n", "is no number"),
        ("text1\ttext2\tscore\na\tb\n", "has 2 cells"),
        ("text1\ttext2\tscore\na\tb\t1\nc\td\t1\ne\tf\t1\n", "different scores"),
        ("text1\ttext2\na\tb\n", "no column 'score'"),
        ("text1\ttext2\tscore\na\t\t1\nc\td\t2\n", "'text2' is empty"),
    ],
)
def test_bad_pairs_are_told_with_their_place(tmp_path, text, message):
    file = tmp_path / "pairs.tsv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_scored_pairs(file)
    assert str(file) in str(caught.value)


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"neither a \.tsv nor"):
        read_scored_pairs(tmp_path)


def test_the_development_part_of_the_sts_benchmark():
    if not (SHARED / "stsb_dev").is_dir():
        pytest.skip("the set stsb_dev is not on this machine")
    found = read_scored_pairs(SHARED / "stsb_dev")
    overlap = []
    for left, right in zip(found.left, found.right, strict=True):
        a, b = (set(re.findall(r"\w+", text.lower())) for text in (left, right))
        overlap.append(len(a & b) / len(a | b))
    assert len(found.scores) == 1500
    # What the set's own page says of plain word overlap.
    assert spearman(np.array(overlap), np.array(found.scores)) == pytest.approx(0.653, abs=0.005)


def test_the_interval_is_the_bootstrap_of_scipys_correlations():
    data, generator = pairs(40), np.random.default_rng(9)
    base, tuned = AngleEncoder(2.0), AngleEncoder(0.9)
    people = np.array(data.scores)
    cosines = [
        (encoder.encode_queries(data.left) * encoder.encode_queries(data.right)).sum(axis=1)
        for encoder in (base, tuned)
    ]
    drawn = []
    for _ in range(sts.RESAMPLES):
        rows = generator.integers(0, 40, 40)
        before, after = (stats.spearmanr(values[rows], people[rows]).statistic for values in cosines)
        drawn.append(after - before)
    found = similarity_change(data, base, tuned, seed=9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=2e-3)
    assert found.base == pytest.approx(stats.spearmanr(cosines[0], people).statistic, abs=1e-3)
    assert similarity_change(data, base, tuned, seed=9) == found
