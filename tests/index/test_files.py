"""An index in files: what is written is what is searched, and whoever is killed while adding has lost nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from expertune.errors import DataError
from expertune.index import Index, Layout, Mixing, Vectors, build, files, with_offset
from expertune.records import Document

MIXING = Mixing(0.5, 0.1, 0.2)


def index(names: str, *, asked: bool, layout: Layout = Layout.MIXED) -> Index:
    generator = np.random.default_rng(len(names))
    rows = generator.standard_normal((3 * len(names), 4)).astype(np.float32)
    answers, questions, joined = np.split(rows / np.linalg.norm(rows, axis=1, keepdims=True), 3)
    owns = np.eye(len(names), dtype=np.bool_) if asked else np.zeros((len(names), len(names)), np.bool_)
    return build(Vectors(tuple(names), tuple(names), answers, questions, owns, joined), layout, MIXING)


def documents(names: str) -> list[Document]:
    return [Document(name, f"the answer\u2028{name}") for name in names]


@pytest.mark.parametrize("layout", Layout)
def test_files_give_the_scores_of_the_index(tmp_path: Path, layout: Layout) -> None:
    first = index("abc", asked=True, layout=layout)
    about = files.write(tmp_path, first, documents("abc"), "model")
    assert files.read(tmp_path) == about
    assert (about.layout, about.has_offset) == (layout, layout is Layout.MIXED)
    vectors = np.load(tmp_path / "vectors.npy")
    assert (len(vectors), vectors.shape[1], vectors.dtype) == (about.rows, about.dimensions, np.float32)
    asked = np.eye(4, dtype=np.float32)
    rows = (with_offset(asked) if about.has_offset else asked) @ vectors.T
    owners = np.array(files.ids(tmp_path))
    best = np.stack([rows[:, owners == name].max(axis=1) for name in "abc"], axis=1)
    np.testing.assert_allclose(best, first.scores(asked), atol=1e-6)
    assert files.texts(tmp_path) == {name: f"the answer\u2028{name}" for name in "abc"}


def test_added_rows_follow_and_the_others_stay(tmp_path: Path) -> None:
    before = files.write(tmp_path, index("abc", asked=True), documents("abc"), "model")
    old, added = np.load(tmp_path / "vectors.npy"), index("de", asked=False)
    after = files.extend(tmp_path, added, documents("de"))
    assert after.rows == before.rows + 2
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), np.concatenate([old, added.searchable]))
    assert files.ids(tmp_path) == ["a", "b", "c", "d", "e"]
    assert np.load(tmp_path / "vectors.npy")[-1, -1] == pytest.approx(MIXING.bonus)


@pytest.mark.parametrize("last", [files.VECTORS, files.IDS])
def test_a_killed_addition_leaves_the_index_as_it_was(tmp_path: Path, monkeypatch, last: str) -> None:
    files.write(tmp_path, index("abc", asked=True), documents("abc"), "model")
    put = files.write_whole

    def killed(path: Path, content: str | bytes) -> None:
        put(path, content)
        if path.name == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        files.extend(tmp_path, index("de", asked=False), documents("de"))
    monkeypatch.undo()
    assert set(files.texts(tmp_path)) == set("abc")
    files.extend(tmp_path, index("de", asked=False), documents("de"))
    assert files.ids(tmp_path) == ["a", "b", "c", "d", "e"]
    assert len(np.load(tmp_path / "vectors.npy")) == 5


def test_a_folder_that_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no index"):
        files.read(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"layout": "by colour"}), encoding="utf-8")
    with pytest.raises(DataError, match="not what export wrote"):
        files.read(tmp_path)
