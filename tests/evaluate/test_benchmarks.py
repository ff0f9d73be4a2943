"""mteb itself on BEIR folders: its figures are ours, ties included; both sides of a query-side model are used."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from expertune import data
from expertune.config import DataSection
from expertune.errors import DataError
from expertune.evaluate.stage import measure
from expertune.models.cache import MemoryCache
from expertune.models.encoder import CachedEncoder
from expertune.models.plugins import EmbeddingExpert
from expertune.records import Role

pytest.importorskip("mteb", reason="the extra mteb is not installed")

from expertune.evaluate import benchmarks

SHARED = Path(__file__).parents[3] / "shared" / "data"

# mteb and what it imports warn of their own futures.
pytestmark = pytest.mark.filterwarnings("ignore")


class HashedWords(EmbeddingExpert):
    """Embed a text as the sum of its words' random vectors; `side` makes questions and documents differ."""

    def __init__(self, name: str, *, turned: float = 0.0) -> None:
        self.name = name
        self.fingerprint = f"{name} {turned}"
        self._turned = turned

    def embed(self, texts, *, is_query):
        rows = []
        for text in texts:
            vectors = [np.random.default_rng(list(word.encode())).normal(size=24) for word in text.lower().split()]
            rows.append(np.sum(vectors or [np.ones(24)], axis=0))
        vectors = np.array(rows)
        if is_query:
            vectors += self._turned * np.roll(vectors, 1, axis=1)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


WORDS = ("order", "refund", "card", "parcel", "track", "size", "colour", "price", "cost", "return", "days", "cancel")


def write_set(folder: Path, *, documents: int = 120, queries: int = 30, name: str = "words") -> Path:
    """Write a BEIR set with graded judgements, two documents of equal text, and two test splits."""
    generator = np.random.default_rng(5)
    target = folder / name
    (target / "qrels").mkdir(parents=True)
    texts = [" ".join(generator.choice(WORDS, 6)) for _ in range(documents)]
    texts[7] = texts[8]
    titles = ["the" if index % 3 else "" for index in range(documents)]
    corpus = [{"_id": f"d{i}", "title": titles[i], "text": texts[i]} for i in range(documents)]
    asked, qrels = [], {"test_a": [], "test_b": []}
    for index in range(queries):
        own = generator.choice(documents, 3, replace=False)
        asked.append({"_id": f"q{index}", "text": " ".join(texts[own[0]].split()[:4])})
        rows = qrels["test_a" if index % 2 else "test_b"]
        rows += [f"q{index}\td{document}\t{grade}" for document, grade in zip(own, (2, 1, 0), strict=True)]
    qrels["test_a"].append("q1\td7\t1")
    for file, rows in (("corpus.jsonl", corpus), ("queries.jsonl", asked)):
        (target / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for split, lines in qrels.items():
        text = "\n".join(["query-id\tcorpus-id\tscore", *dict.fromkeys(lines)])
        (target / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return target


def encoder(turned: float = 0.0) -> CachedEncoder:
    expert = HashedWords("words", turned=turned)
    return CachedEncoder("words", expert, cache=MemoryCache())


def measured_by_mteb(folder: Path, encoder, out: Path):
    (found,) = benchmarks.find([str(folder)], offline=True)
    benchmarks.run(found, encoder, out, name="words", fingerprint="1")
    return {score.split: score for score in benchmarks.scores(out, "words")}


def judged_sets(folder: Path):
    files = data.Files(DataSection(path=str(folder)), join=False)
    return [item for item in files.judged if item.role is Role.DOMAIN]


@pytest.mark.parametrize("turned", [0.0, 0.7])
def test_figures_equal_those_of_mteb_ties_included(tmp_path, turned):
    folder = write_set(tmp_path)
    scores = measured_by_mteb(folder, encoder(turned), tmp_path / "out")
    sets = judged_sets(folder)
    assert set(scores) == {item.split for item in sets} == {"test_a", "test_b"}
    for item in sets:
        ours = measure(encoder(turned), item, "words")
        assert ours.mean("ndcg@10") == pytest.approx(scores[item.split].ndcg, abs=1e-6)
        assert ours.mean("map@10") == pytest.approx(scores[item.split].map, abs=1e-6)
        assert scores[item.split].main == pytest.approx(scores[item.split].ndcg, abs=1e-5)
        assert 0.05 < scores[item.split].ndcg < 0.99, "a set at an end of the scale would compare nothing"
    assert any(measure(encoder(turned), item, "words").ties for item in sets), "the set is meant to have ties"


def test_questions_and_documents_go_to_their_own_side(tmp_path):
    folder = write_set(tmp_path)
    alike = measured_by_mteb(folder, encoder(0.0), tmp_path / "alike")
    turned = measured_by_mteb(folder, encoder(3.0), tmp_path / "turned")
    assert turned["test_a"].ndcg < alike["test_a"].ndcg - 0.1


def test_the_saved_model_gives_the_same_in_mteb_without_us(tmp_path, tiny_model):
    """What a user loads with sentence-transformers goes through mteb's own wrapper: same figures as ours."""
    import mteb
    from sentence_transformers import SentenceTransformer

    from expertune.models import ModelSource
    from expertune.models.encoder import sentence_encoder
    from expertune.models.load import load_model
    from expertune.train import trainer

    folder = write_set(tmp_path)
    source = ModelSource(name="tiny", location=str(tiny_model), fingerprint="")
    other = load_model(source)
    for value in other.state_dict().values():
        if value.is_floating_point():
            value.mul_(1.0).add_(0.05)
    trainer.assemble(other, load_model(source), tmp_path / "model")
    tuned = sentence_encoder(str(tmp_path / "model"))
    ours = CachedEncoder("tuned", tuned, cache=MemoryCache())
    (found,) = benchmarks.find([str(folder)], offline=True)
    model = SentenceTransformer(str(tmp_path / "model"), local_files_only=True)
    result = mteb.evaluate(model, found.task, cache=None, co2_tracker=False, show_progress_bar=False)
    for item in judged_sets(folder):
        (scores,) = result.task_results[0].scores[item.split]
        # Their cosines are not rounded, so near-ties may fall the other way in one question of many.
        assert measure(ours, item, "tuned").mean("ndcg@10") == pytest.approx(scores["ndcg_at_10"], abs=0.02)


def test_results_lie_in_mtebs_own_layout(tmp_path):
    from mteb.results import TaskResult

    measured_by_mteb(write_set(tmp_path), encoder(), tmp_path / "out")
    (file,) = (tmp_path / "out" / "results").glob("*/*/words.json")
    assert (file.parent / "model_meta.json").exists()
    assert TaskResult.from_disk(file).task_name == "words"


def test_an_official_name_without_a_hub_is_told_plainly():
    with pytest.raises(DataError, match="needs a hub") as caught:
        benchmarks.find(["SciFact"], offline=True)
    assert "run.offline = false" in caught.value.hint


@pytest.mark.slow  # mteb imports every task it knows
def test_an_unknown_name_is_told_with_a_suggestion():
    with pytest.raises(DataError, match="SciFact"):
        benchmarks.find(["SciFacct"], offline=False)


@pytest.mark.slow
def test_a_benchmark_stands_for_its_retrieval_tasks():
    found = benchmarks.find(["MTEB(eng, v2)"], offline=False)
    assert {item.task.metadata.type for item in found} == {"Retrieval"}
    assert len(found) > 3


@pytest.mark.slow
def test_official_data_that_cannot_be_fetched_is_one_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (found,) = benchmarks.find(["SciFact"], offline=False)
    with pytest.raises(DataError, match="cannot be fetched"):
        benchmarks.run(found, encoder(), tmp_path, name="words", fingerprint="1")


def test_the_same_task_twice_and_a_folder_without_tests_are_refused(tmp_path):
    folder = write_set(tmp_path)
    with pytest.raises(DataError, match="named twice"):
        benchmarks.find([str(folder), str(folder)], offline=True)
    shutil.rmtree(folder / "qrels")
    with pytest.raises(DataError):
        benchmarks.find([str(folder)], offline=True)


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("scifact", 0.6451), ("cranfield", None), ("stackfaq", None)])
def test_figures_equal_those_of_mteb_on_real_sets(tmp_path, name, expected):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the benchmark set {name} is not on this machine")
    from expertune.models.encoder import sentence_encoder
    from expertune.pipeline.store import SqliteItems

    expert = sentence_encoder("all-minilm-l6-v2")
    base = CachedEncoder("base", expert, cache=SqliteItems(tmp_path / "items.sqlite"))
    scores = measured_by_mteb(folder, base, tmp_path / "out")
    for item in judged_sets(folder):
        ours = measure(base, item, "base")
        assert ours.mean("ndcg@10") == pytest.approx(scores[item.split].ndcg, abs=1e-6)
        assert ours.mean("map@10") == pytest.approx(scores[item.split].map, abs=1e-6)
    if expected is not None:
        assert scores["test"].ndcg == pytest.approx(expected, abs=5e-5)


def test_a_run_measures_mteb_and_sentence_similarity_once(tmp_path, tiny_model, monkeypatch):
    import jsonschema
    import mteb

    from expertune.config import from_mapping
    from expertune.pipeline.run import Run
    from expertune.report.results import schema
    from small_shop import FILES, write_files

    shop = write_files(tmp_path / "shop", FILES)
    pairs = "".join(f"{a}\t{b}\t{n}\n" for n, (a, b) in enumerate(pairwise(WORDS)))
    sts = write_files(tmp_path / "alike", {"pairs.tsv": f"text1\ttext2\tscore\n{pairs}"})
    config = from_mapping(
        {
            "run": {"out": str(tmp_path / "out")},
            "data": {"path": str(shop)},
            "augment": {"generators": ["template"], "per_answer": 2},
            "score": {"experts": ["bm25", "ngrams", str(tiny_model)]},
            "train": {"base": str(tiny_model), "steps": 2, "batch_size": 8},
            "evaluate": {"mteb": [str(shop)], "sts": [str(sts)]},
        }
    )
    evaluation = Run(config).execute().evaluation
    ours = {(item.dataset, item.model): item.mean("ndcg@10") for item in evaluation.measurements}
    assert {score.model for score in evaluation.benchmarks} == {"base", "tuned"}
    for score in evaluation.benchmarks:
        assert score.ndcg == pytest.approx(ours[score.task, score.model], abs=1e-6)
    (similarity,) = evaluation.similarities
    assert (similarity.dataset, similarity.pairs) == ("alike", len(WORDS) - 1)
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(results, schema())
    assert len(results["benchmarks"]) == 2
    assert results["similarities"][0]["base"] == pytest.approx(similarity.base, abs=1e-6)
    assert len(list((tmp_path / "out" / "mteb" / "results").glob("*/*/shop.json"))) == 2
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Sentence similarity, before and after" in page
    assert "Results of mteb" in page

    monkeypatch.setattr(mteb, "evaluate", lambda *_, **__: pytest.fail("a second run must not evaluate again"))
    assert Run(config).execute().evaluation.benchmarks == evaluation.benchmarks
