"""The scripts of examples/ecosystem, each with the real library: they find what an exact search finds."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from conftest import WORDS, write_tiny_model
from expertune.train.trainer import assemble

SCRIPTS = Path(__file__).parents[1] / "examples" / "ecosystem"
LIBRARIES = {
    "semantic_search": "sentence_transformers",
    "faiss_index": "faiss",
    "chroma_collection": "chromadb",
    "lancedb_table": "lancedb",
    "pgvector_table": "pgserver",
    "langchain_embeddings": "langchain_core",
    "llamaindex_embedding": "llama_index.core",
    "haystack_pipeline": "haystack",
}
QUESTION = "how do i return my order"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose two sides differ, so that a script that mixes them up finds something else."""
    root = tmp_path_factory.mktemp("sides")
    sides = [SentenceTransformer(str(write_tiny_model(root / str(seed), seed=seed)), device="cpu") for seed in (1, 2)]
    assemble(sides[0], sides[1], root / "model")
    return root / "model"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = WORDS.split()
    rows = [{"_id": f"a{start}", "title": "", "text": " ".join(words[start : start + 6])} for start in range(0, 60, 4)]
    file = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def expected(model: Path, corpus: Path) -> list[tuple[str, float]]:
    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    loaded = SentenceTransformer(str(model), device="cpu")
    documents = loaded.encode_document([row["text"] for row in rows], normalize_embeddings=True)
    cosines = documents @ loaded.encode_query(QUESTION, normalize_embeddings=True)
    mixed_up = documents @ loaded.encode_document(QUESTION, normalize_embeddings=True)
    best = np.argsort(-cosines)[:3]
    assert list(best) != list(np.argsort(-mixed_up)[:3])
    return [(rows[row]["_id"], float(cosines[row])) for row in best]


def test_every_script_is_here_and_in_the_table():
    assert {file.stem for file in SCRIPTS.glob("*.py")} == set(LIBRARIES)
    readme = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}.py` |" in readme for name in LIBRARIES)


@pytest.mark.parametrize("name", LIBRARIES)
def test_scripts_stay_short(name: str):
    assert len((SCRIPTS / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_script_finds_what_an_exact_search_finds(name, model, corpus, expected, request, monkeypatch, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other libraries are none of ours
        pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]} is not installed")
        if name == "pgvector_table":
            pytest.importorskip("psycopg", reason="psycopg is not installed")
            pytest.importorskip("pgvector", reason="pgvector is not installed")
            monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres"))
        monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
        monkeypatch.setattr(sys, "argv", [name, str(model), str(corpus), QUESTION])
        capsys.readouterr()
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines() if line.count("\t") == 1]
    assert [key for key, _ in lines] == [key for key, _ in expected]
    np.testing.assert_allclose([float(score) for _, score in lines], [score for _, score in expected], atol=2e-4)
