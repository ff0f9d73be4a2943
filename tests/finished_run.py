"""A small but complete finished run, written by hand, for the tests of results and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from expertune.records import (
    METRICS,
    PLAIN_INDEX,
    Agreement,
    Alternative,
    Alternatives,
    Basis,
    Candidate,
    Comparison,
    CrossValidation,
    Cut,
    Dataset,
    Document,
    Evaluation,
    ExpertQuality,
    Geometry,
    Hits,
    IndexWork,
    JudgedSet,
    Measurement,
    Outcome,
    Provenance,
    Query,
    Question,
    Questions,
    Refusal,
    Role,
    Scores,
    Selection,
    Separation,
    SoftLabels,
    Threshold,
    Timing,
    TunedModel,
    Unanswered,
    UnansweredGroup,
    Verdict,
)
from expertune.report import FinishedRun

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'too'"
EXPERTS = ("strong", "weak", "silent")
DOCUMENTS = tuple(Document(f"d{index}", f"Answer number {index} about <b>parcels</b>") for index in range(4))
QUERIES = (
    Query("q1", "where is my parcel"),
    Query("q2", HOSTILE),
    Query("q3", "send it back"),
    Query("q4", "zebra crossing"),
)
QRELS = {"q1": {"d0": 1}, "q2": {"d1": 1, "d0": 0}, "q3": {"d2": 2}, "q4": {"d3": 1}}
BASE_RANKS, TUNED_RANKS = (4, 2, 1, 3), (1, 3, 2, 3)


def measurement(split: str, role: Role, model: str, ranks: tuple[int, ...]) -> Measurement:
    values = {metric: np.array([1 / rank for rank in ranks]) for metric in METRICS}
    ids = tuple(query.id for query in QUERIES[: len(ranks)])
    right = ("d0", "d1", "d2", "d3")
    tops = []
    for rank, own in zip(ranks, right, strict=False):
        others = [document.id for document in DOCUMENTS if document.id != own]
        tops.append((*others[: rank - 1], own, *others[rank - 1 :]))
    return Measurement("shop", split, role, model, ids, right[: len(ids)], values, ranks, tuple(tops), ties=1)


def comparison(split: str, role: Role, metric: str = "ndcg@10", difference: float = 0.08) -> Comparison:
    low, high = difference - 0.02, difference + 0.02
    tested = (0.004, 4, 0.05, 0.008, 0.1)
    return Comparison("shop", split, role, metric, 0.7, 0.7 + difference, difference, low, high, *tested)


def separation(split: str, model: str) -> Separation:
    edges = (-0.5, 0.0, 0.5, 1.0)
    relevant, irrelevant = (0.0, 0.5, 1.5), (0.5, 1.25, 0.25)
    return Separation("shop", split, model, 0.4, 0.25, 0.9, 0.7, 0.2, edges, relevant, irrelevant)


def evaluation(
    *,
    ship: bool | None = True,
    domain: str = "better",
    general: str = "no difference shown",
    basis: str = Basis.HELD_OUT,
) -> Evaluation:
    why = "Domain nDCG@10 rises from 70.0 to 78.0."
    said = Verdict(
        Outcome(domain),
        Outcome(general),
        ship,
        "Right answer first: 1 of 4 questions before, 1 after.",
        "Use the tuned model.",
        why,
        ("High variance & <i>more</i>.",),
        Basis(basis),
        Hits(4, (1, 1), (3, 4), gained=1, lost=1),
    )
    return Evaluation(
        measurements=(
            measurement("test_seen", Role.DOMAIN, "base", BASE_RANKS),
            measurement("test_seen", Role.DOMAIN, "tuned", TUNED_RANKS),
            measurement("general-dev", Role.GENERAL, "base", (1, 1)),
            measurement("general-dev", Role.GENERAL, "tuned", (1, 2)),
        ),
        separations=tuple(
            separation(split, model) for split in ("test_seen", "general-dev") for model in ("base", "tuned")
        ),
        comparisons=(
            *(comparison("test_seen", Role.DOMAIN, metric) for metric in METRICS),
            comparison("general-dev", Role.GENERAL, difference=-0.004),
        ),
        verdict=said,
    )


def candidate(factor: float, domain: float, general: float, *, chosen: bool = False) -> Candidate:
    return Candidate(factor, 0.7 + domain, 0.6 + general, domain, 0.01, general, 0.005, chosen)


def questions() -> Questions:
    pair = Question("Where is my order?", ("d0",))
    written = tuple(
        Question(f"{source} {kind} {index}?", (f"d{index % 4}",), Provenance.SYNTHETIC, source, kind)
        for source, count in (("small-llm", 40), ("tiny-llm", 2))
        for kind in ("keyword", "story")
        for index in range(count)
    )
    return Questions(
        (pair, *written, Question(HOSTILE, ("d1",), Provenance.SYNTHETIC, "small-llm", "short")), {"duplicate": 7}
    )


def scores(count: int) -> Scores:
    values = np.zeros((count, len(DOCUMENTS), len(EXPERTS)), dtype=np.float32)
    values[:, :, 0] = [0.9, 0.5, 0.3, 0.1]  # ranks d0 first, d1 second ...
    values[:, :, 1] = [0.1, 0.3, 0.5, 0.9]
    values[:, :, 2] = np.nan
    return Scores(EXPERTS, values, (2.5, 0.25, 0.0))


def geometry(mean_cosine: float, iso_score: float, effective_rank: float) -> Geometry:
    return Geometry(384, 384, mean_cosine, iso_score, effective_rank, top_share=0.04, uniformity=-3.7)


def run(model_folder: Path = Path("runs/shop/model"), **changes: object) -> FinishedRun:
    asked = questions()
    panel = (
        ExpertQuality("strong", 0.875, 0.75),
        ExpertQuality("weak", 0.5, 0.25),
        ExpertQuality("silent", float("nan"), 0.0),
    )
    why = "Interpolation weight 0.5 was best on validation data."
    selection = Selection(
        0.5, (candidate(0, 0, 0), candidate(0.5, 0.05, -0.001, chosen=True), candidate(1, 0.08, -0.02)), why
    )
    inputs = FinishedRun(
        config_toml='[data]\npath = "a <b> & c"\n',
        dataset=Dataset("shop", DOCUMENTS, asked.items[:1]),
        questions=asked,
        scores=scores(len(asked.items)),
        labels=SoftLabels("mixed", np.full((len(asked.items), 4), 0.25, np.float32), np.ones(4, bool), True, panel),
        model=TunedModel(model_folder, "all-minilm-l6-v2", "mixed", "query", selection, 100),
        evaluation=evaluation(),
        judged=(
            JudgedSet("shop", "test_seen", Role.DOMAIN, DOCUMENTS, QUERIES, QRELS),
            JudgedSet("shop", "general-dev", Role.GENERAL, DOCUMENTS, QUERIES[:2], QRELS),
        ),
        timings=(Timing("augment", 62.4, False), Timing("score", 0.04, True)),
        agreement=Agreement(
            experts=EXPERTS,
            alpha=0.4321,
            kendall_w=0.6,
            icc=0.5,
            spearman=np.array([[1, -0.5, np.nan], [-0.5, 1, np.nan], [np.nan, np.nan, np.nan]]),
            jaccard=np.eye(3),
            questions=(0, 1),
            disagreement=np.array([0.5, 1.5]),
            most_disagreed=(1, 0),
            top=10,
        ),
        geometry={"base": geometry(0.031, 0.42, 188.0), "tuned": geometry(0.027, 0.44, 193.4)},
    )
    return replace(inputs, **changes)


def expanded_run() -> FinishedRun:
    """Return a run whose answers are indexed with questions: the base gains 5 points by that, 8 more by tuning."""
    inputs = run(index=(replace(DOCUMENTS[0], text=f"Where is my order? {DOCUMENTS[0].text}"), *DOCUMENTS[1:]))
    plain = measurement("test_seen", Role.DOMAIN, PLAIN_INDEX, BASE_RANKS)
    changes = {
        name: tuple(
            replace(row, base=0.65, tuned=0.65 + difference)
            for row in (comparison("test_seen", Role.DOMAIN, metric, difference) for metric in METRICS)
        )
        for name, difference in (("indexing", 0.05), ("overall", 0.13))
    }
    measurements = (*inputs.evaluation.measurements, plain)
    return replace(inputs, evaluation=replace(inputs.evaluation, measurements=measurements, **changes))


def many_rows(count: int, filler: str) -> FinishedRun:
    """A run with `count` held-out questions, of which only the last ten changed."""
    documents = DOCUMENTS
    queries = tuple(Query(f"q{index}", f"question {index} {filler}") for index in range(count))
    ids = tuple(query.id for query in queries)
    before = (2,) * count
    after = (2,) * (count - 10) + (1,) * 9 + (3,)
    order = tuple(document.id for document in documents)

    def measured(model: str, ranks: tuple[int, ...]) -> Measurement:
        values = {metric: np.array([1 / rank for rank in ranks]) for metric in METRICS}
        return Measurement("shop", "test_seen", Role.DOMAIN, model, ids, ids, values, ranks, (order,) * count)

    inputs = run()
    judged = JudgedSet("shop", "test_seen", Role.DOMAIN, documents, queries, {query: {"d1": 1} for query in ids})
    measurements = (measured("base", before), measured("tuned", after))
    return replace(inputs, judged=(judged,), evaluation=replace(inputs.evaluation, measurements=measurements))


def alternative(model: str, ndcg: float, work: IndexWork = IndexWork.ANEW, *, tuned: bool = False) -> Alternative:
    """Return a way to search whose difference to one at 70 points has an interval of 4 points to each side."""
    change = comparison("test_seen", Role.DOMAIN)
    difference = ndcg - 0.7
    around = (difference - 0.04, difference + 0.04)
    return Alternative(
        model, "answers", work, tuned, ndcg - 0.1, ndcg + 0.1, ndcg, difference, *around, (change,), 384, 91.0, 9.5
    )


def large_run() -> FinishedRun:
    """Return a run with more of everything than a page shows at once, and with long texts."""
    long = "which has to be told from all the others by what it says in the middle of a rather long sentence"
    documents = tuple(Document(f"d{index}", f"Answer number {index}, {long}, {long}") for index in range(60))
    queries = tuple(Query(f"q{index}", f"A question about number {index}, {long}") for index in range(180))
    ids = tuple(query.id for query in queries)
    right = tuple(f"d{index % 60}" for index in range(180))
    qrels = {query_id: {name: 1} for query_id, name in zip(ids, right, strict=True)}

    def measured(model: str, turn: int) -> Measurement:
        ranks = tuple(1 + (index * 7 + turn) % 5 for index in range(180))
        tops = tuple(
            (f"d{(index + 1) % 60}", own) if rank > 1 else (own, f"d{(index + 1) % 60}")
            for index, (own, rank) in enumerate(zip(right, ranks, strict=True))
        )
        values = {metric: np.array([1 / rank for rank in ranks]) for metric in METRICS}
        return Measurement("shop", "test_seen", Role.DOMAIN, model, ids, right, values, ranks, tops)

    inputs = run()
    ours = alternative("tuned", 0.7, IndexWork.KEPT, tuned=True)
    others = [alternative(f"a-model-of-a-rather-long-name-{index}", 0.8 - 0.02 * index) for index in range(15)]
    found = Alternatives(ours, (*others, alternative("all-minilm-l6-v2", 0.3, IndexWork.KEPT)), 180)
    groups = tuple(
        UnansweredGroup((f"nobody answers {index}, {long}", f"or {index}, {long}"), (9, 1), ("d0", "d1"))
        for index in range(30)
    )
    refused = Refusal("held-out questions with their answers left out", 180, 0.06, 0.03, 0.1)
    said = inputs.evaluation
    return replace(
        inputs,
        dataset=replace(inputs.dataset, documents=documents),
        judged=(JudgedSet("shop", "test_seen", Role.DOMAIN, documents, queries, qrels),),
        evaluation=replace(
            said,
            measurements=(measured("base", 0), measured("tuned", 3), *said.measurements[2:]),
            alternatives=found,
        ),
        unanswered=Unanswered(groups, 300, 400),
        threshold=Threshold(180, 60, (Cut(0.23, 0.9, 0.91, 0.86, 0.94, (refused,)),)),
    )


def own_run() -> FinishedRun:
    """Return a run without held-out questions of the domain: its four questions were cross-validated."""
    inputs = run()
    said = evaluation(ship=None, basis=Basis.OWN)
    base, tuned = (replace(item, split="own questions") for item in said.measurements[:2])
    rows = tuple(replace(row, split="own questions") for row in said.comparisons[: len(METRICS)])
    own = CrossValidation(3, base, tuned, (True,) * 4, rows)
    return replace(
        inputs,
        judged=(replace(inputs.judged[0], split="own questions"), inputs.judged[1]),
        evaluation=replace(
            said,
            own=own,
            measurements=said.measurements[2:],
            separations=said.separations[2:],
            comparisons=said.comparisons[len(METRICS) :],
        ),
    )
