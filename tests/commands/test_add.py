"""The exported index and answers added to it, with a real (tiny) model: what the written code finds is what is said."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from typer.testing import CliRunner

from expertune.commands import cli
from expertune.commands.add import add_answers
from expertune.commands.export.index import TunedRun, named, write_index
from expertune.commands.export.index_notes import DATABASES
from expertune.data import load
from expertune.errors import ConfigError, DataError, ExportError
from expertune.index import Layout, files
from expertune.models.encoder import SentenceEncoder
from expertune.train.trainer import assemble
from moved_model import moved
from small_shop import FILES, PAIRS, lines, write_files

NEW = lines(
    {"id": "open", "answer": "The shop is open from 9 to 5.", "question": "When is the shop open?"},
    {"id": "color", "answer": "We list the colour of each item."},
)
QA = lines(*({"id": key, "question": asked, "answer": text} for key, (asked, text) in PAIRS.items() if key != "pay"))


@pytest.fixture(scope="module")
def published(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on a shop in which one of eight answers has no question; treat it as read-only."""
    root = tmp_path_factory.mktemp("shop")
    write_files(root / "data", {**FILES, "qa.jsonl": QA})
    assemble(
        moved(tiny_model, "everything"), SentenceTransformer(str(tiny_model), device="cpu"), root / "run" / "model"
    )
    config = f'[data]\npath = "../data"\n[train]\nbase = "{tiny_model}"\n'
    (root / "run" / "config.toml").write_text(config, encoding="utf-8")
    return root / "run"


@pytest.fixture
def run(published: Path, tmp_path: Path) -> Path:
    """Return a copy of the run and its data that a test may change."""
    shutil.copytree(published.parent, tmp_path / "shop")
    return tmp_path / "shop" / "run"


def code(
    folder: Path, heading: str = "Search without a database", replaced: dict[str, str] | None = None
) -> dict[str, object]:
    """Run the lines that read an index and search it in one of the ways beside it, and return their names."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^## (.*?)\n\n```python\n(.*?)```", text, re.M | re.S))
    body = (blocks["Read it"] + blocks[heading]).replace("this-folder", str(folder))
    for old, new in (replaced or {}).items():
        assert old in body
        body = body.replace(old, new)
    names: dict[str, object] = {}
    exec(body, names)
    return names


@pytest.mark.parametrize("layout", Layout)
def test_the_code_beside_an_index_finds_what_the_index_scores(published: Path, tmp_path: Path, layout: Layout) -> None:
    about = write_index(published, tmp_path / "index", layout)
    run = TunedRun.of(published)
    index = run.index(run.training_set(load(run.config.data)), layout, about.mixing)
    scores = index.scores(run.tuned.encode_queries(["where is my parcel"]))[0]
    found = code(tmp_path / "index")["search"]("where is my parcel")
    assert dict(found) == pytest.approx(dict(zip(index.documents, scores.tolist(), strict=True)), abs=1e-5)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert {kind: item.questions for kind, item in about.expected.items()} == {files.WITH: 3}


def test_documents_that_kept_the_bases_vectors_are_encoded_once(published: Path, tmp_path: Path, monkeypatch) -> None:
    encoded: list[str] = []
    embed = SentenceEncoder.embed

    def counted(self: SentenceEncoder, texts: list[str], *, is_query: bool) -> np.ndarray:
        encoded.extend(() if is_query else texts)
        return embed(self, texts, is_query=is_query)

    monkeypatch.setattr(SentenceEncoder, "embed", counted)
    write_index(published, tmp_path / "index", Layout.MIXED)
    assert encoded
    assert len(encoded) == len(set(encoded))


@pytest.mark.parametrize("layout", [Layout.ANSWERS, Layout.MIXED, Layout.SEPARATE])
@pytest.mark.parametrize(
    ("heading", "library"), [("FAISS", "faiss"), ("Qdrant", "qdrant_client"), ("pgvector", "pgserver")]
)
@pytest.mark.filterwarnings("ignore")  # those of other libraries are none of ours
def test_a_database_finds_what_the_search_without_one_finds(published, tmp_path, layout, heading, library, request):
    pytest.importorskip(library, reason=f"{library} is not installed")
    write_index(published, tmp_path / "index", layout)
    expected = code(tmp_path / "index")["search"]("where is my parcel", 4)
    replaced = {'"dbname=faq"': repr(request.getfixturevalue("postgres"))} if library == "pgserver" else {}
    names = code(tmp_path / "index", heading, replaced)
    found = names["search"]("where is my parcel", 4)
    if library == "pgserver":
        names["database"].close()
    assert [key for key, _ in found] == [key for key, _ in expected]
    assert dict(found) == pytest.approx(dict(expected), abs=1e-4)


def test_the_page_on_deploying_has_the_lines_beside_an_index() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    for name, written in DATABASES.items():
        assert f"### {name}\n\n```py\n{written.format(dimensions=384, rows='most')}```" in page


def test_added_answers_are_found_and_the_next_run_reads_them(run: Path, tmp_path: Path) -> None:
    write_index(run, run / "index", Layout.MIXED)
    (tmp_path / "new.jsonl").write_text(NEW, encoding="utf-8")
    result = CliRunner().invoke(cli.app, ["add", str(run), str(tmp_path / "new.jsonl")])
    assert result.exit_code == 0, result.output
    assert "2 more answers" in result.output
    found = dict(code(run / "index")["search"]("When is the shop open?", 100))
    assert set(found) == {*PAIRS, "open", "color"}
    about, model = files.read(run / "index"), SentenceTransformer(str(run / "model"), device="cpu")
    (asked,) = model.encode_query(["When is the shop open?"])
    color, answer, question = model.encode_document(
        ["We list the colour of each item.", "The shop is open from 9 to 5.", "When is the shop open?"]
    )
    weight, surplus, bonus = about.mixing.weight, about.mixing.surplus, about.mixing.bonus
    assert found["color"] == pytest.approx(asked @ color + bonus, abs=1e-5)
    assert found["open"] == pytest.approx(
        (1 - weight) * (asked @ answer) + weight * (asked @ question - surplus), abs=1e-5
    )
    assert {document.id for document in load(TunedRun.of(run).config.data).train.documents} == set(found)


def test_a_data_folder_with_a_table_alone_gets_a_corpus(run: Path, tmp_path: Path) -> None:
    data = run.parent / "data"
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (data / name).unlink()
    write_index(run, run / "index", Layout.ANSWERS)
    (tmp_path / "new.jsonl").write_text(NEW, encoding="utf-8")
    assert "so the next run takes them up" in add_answers(run, tmp_path / "new.jsonl", run / "index").data
    assert len(load(TunedRun.of(run).config.data).train.documents) == len(PAIRS) - 1 + 2


def test_an_answer_without_an_id_gets_one_that_neither_index_nor_data_has(run: Path, tmp_path: Path) -> None:
    write_index(run, tmp_path / "one", Layout.ANSWERS)
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # it does not know what is added to the first one
    for name in ("one", "two"):
        answer = {"answer": f"We answer letters about {name} within a week."}
        (tmp_path / "new.jsonl").write_text(lines(answer), encoding="utf-8")
        add_answers(run, tmp_path / "new.jsonl", tmp_path / name)
    texts = {document.id: document.text for document in load(TunedRun.of(run).config.data).train.documents}
    assert texts["new1"] == files.texts(tmp_path / "one")["new1"] == "We answer letters about one within a week."
    assert texts["new2"] == files.texts(tmp_path / "two")["new2"] == "We answer letters about two within a week."


def test_an_id_that_the_data_has_for_another_answer_is_refused_and_nothing_is_added(run: Path, tmp_path: Path) -> None:
    write_index(run, run / "index", Layout.ANSWERS)
    corpus = run.parent / "data" / "corpus.jsonl"
    with corpus.open("a", encoding="utf-8") as handle:
        handle.write(lines({"_id": "open", "text": "Closed on Sundays."}, {"_id": "none", "text": ""}))
    before = corpus.read_text(encoding="utf-8")
    (tmp_path / "new.jsonl").write_text(NEW, encoding="utf-8")
    with pytest.raises(DataError, match=r"new\.jsonl:1: the id 'open' has another answer in the data"):
        add_answers(run, tmp_path / "new.jsonl", run / "index")
    (tmp_path / "new.jsonl").write_text(lines({"id": "none", "answer": "Not empty."}), encoding="utf-8")
    with pytest.raises(DataError, match="the id 'none' has another answer in the data"):
        add_answers(run, tmp_path / "new.jsonl", run / "index")
    assert corpus.read_text(encoding="utf-8") == before
    assert len(files.texts(run / "index")) == len(PAIRS)


def test_data_stays_as_it_is_where_that_is_asked_or_where_it_cannot_be_written(run: Path, tmp_path: Path) -> None:
    write_index(run, run / "index", Layout.ANSWERS)
    (tmp_path / "new.jsonl").write_text(NEW, encoding="utf-8")
    corpus = run.parent / "data" / "corpus.jsonl"
    before = corpus.read_text(encoding="utf-8")
    (corpus.parent / f".corpus.jsonl.{os.getpid()}").mkdir()  # where the new file would be written
    with pytest.raises(DataError, match="--keep-data"):
        add_answers(run, tmp_path / "new.jsonl", run / "index")
    assert len(files.texts(run / "index")) == len(PAIRS)
    add_answers(run, tmp_path / "new.jsonl", run / "index", keep_data=True)
    assert corpus.read_text(encoding="utf-8") == before


def test_the_same_answers_again_change_nothing(run: Path, tmp_path: Path) -> None:
    write_index(run, run / "index", Layout.ANSWERS)
    (tmp_path / "new.jsonl").write_text(NEW, encoding="utf-8")
    add_answers(run, tmp_path / "new.jsonl", run / "index")
    before = {path: path.read_bytes() for path in (run / "index").iterdir()}
    with pytest.raises(DataError, match="'open' is there already"):
        add_answers(run, tmp_path / "new.jsonl", run / "index")
    assert {path: path.read_bytes() for path in (run / "index").iterdir()} == before


def test_an_index_of_another_model_is_refused(run: Path, tmp_path: Path) -> None:
    write_index(run, run / "index", Layout.ANSWERS)
    values = json.loads((run / "index" / "index.json").read_text(encoding="utf-8"))
    (run / "index" / "index.json").write_text(json.dumps({**values, "model": "other"}), encoding="utf-8")
    (tmp_path / "new.jsonl").write_text(NEW, encoding="utf-8")
    with pytest.raises(ExportError, match="another model"):
        add_answers(run, tmp_path / "new.jsonl", run / "index")


def test_what_is_missing_is_said(published: Path, tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_text(NEW, encoding="utf-8")
    for arguments, message in (
        (["add", str(tmp_path), str(tmp_path / "new.jsonl")], "holds no sentence-transformers model"),
        (["add", str(published), str(tmp_path / "new.jsonl")], "there is no index"),
        (["export", str(published), "--to", "index", "--out", str(tmp_path / "x"), "--layout", "y"], "no layout 'y'"),
        (["export", str(published), "--to", "index", "--out", str(tmp_path)], "something at that path"),
    ):
        result = CliRunner().invoke(cli.app, arguments)
        assert (result.exit_code, message in result.output) == (2, True), result.output
    assert not (tmp_path / "x").exists()


def test_a_model_without_its_run_has_no_index(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published / "model", tmp_path / "model")
    with pytest.raises(DataError, match=re.escape("config.toml")):
        write_index(tmp_path / "model", tmp_path / "index", Layout.ANSWERS)


def test_layouts_have_a_name_for_the_command_line() -> None:
    assert [named(layout.option) for layout in Layout] == list(Layout)
    with pytest.raises(ConfigError, match="answers-and-questions"):
        named("mixed")


def test_vectors_are_a_plain_numpy_file(published: Path, tmp_path: Path) -> None:
    write_index(published, tmp_path / "index", Layout.ANSWERS)
    vectors = np.load(tmp_path / "index" / "vectors.npy", allow_pickle=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
