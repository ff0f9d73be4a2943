"""Choose and join the rows that the report's tables show. Knows no page; computes no metric beyond ordering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expertune.evaluate.stage import measured_by_both
from expertune.evaluate.verdict import count_hits
from expertune.records import (
    METRIC,
    Comparison,
    Dataset,
    Document,
    Evaluation,
    FloatArray,
    Hits,
    JudgedSet,
    Measurement,
    Query,
    Question,
    Questions,
    Scores,
    SoftLabels,
)

CASES = 3
"""Wins, and losses, that are told in full; the table below them has every question."""


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """A document as a page shows it, cut by the page; `right` where the judges call it relevant."""

    id: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class HeldOutRow:
    """One held-out question: 1-based rank of its first right answer by base and tuned, and the first answers of both.

    A rank of 0 means that no right answer was ranked.
    """

    split: str
    query: Query
    answer: ShownAnswer | None
    before: int
    after: int
    top_before: tuple[ShownAnswer, ...]
    top_after: tuple[ShownAnswer, ...]

    @property
    def gain(self) -> float:
        """Change of 1/rank in [-1, 1]: moves near the top weigh most, as they do for a reader."""
        return _reciprocal(self.after) - _reciprocal(self.before)

    @property
    def places(self) -> int | None:
        """How many places the right answer climbed; None where one of the two did not rank it."""
        return self.before - self.after if self.before > 0 and self.after > 0 else None

    @property
    def outcome(self) -> str:
        """Read the ranks: "better", "worse" or "same"."""
        if self.gain == 0:
            return "same"
        return "better" if self.gain > 0 else "worse"


@dataclass(frozen=True, slots=True)
class ExpertOpinion:
    """What one expert thinks of the answer a question belongs to: its raw score, and the rank among what was scored."""

    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One synthetic question or span, the answer it belongs to, its share of the target, every expert's opinion."""

    question: Question
    answer: ShownAnswer
    target: float
    opinions: tuple[ExpertOpinion | None, ...]


@dataclass(frozen=True, slots=True)
class IndexRow:
    """nDCG@10 on one domain set: what an index of questions + answer changed, what tuning did, and both."""

    indexing: Comparison
    tuning: Comparison
    overall: Comparison


@dataclass(frozen=True, slots=True)
class SetRow:
    """One judged set: its questions that find a right answer first, and the change of the metric that decides."""

    change: Comparison
    hits: Hits


def set_rows(evaluation: Evaluation) -> tuple[SetRow, ...]:
    """Join hits and comparison of every judged set that both models were measured on; cross-validation first."""
    measured = {(item.dataset, item.split, item.model): item for item in evaluation.measured}
    rows = []
    for row in evaluation.compared:
        base, tuned = (measured.get((row.dataset, row.split, model)) for model in ("base", "tuned"))
        if row.metric == METRIC and base is not None and tuned is not None:
            rows.append(SetRow(row, count_hits([(base, tuned)])))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class TaughtRow:
    """Held-out questions whose answer had a labelled question to train on, or had none.

    `outcome` reads the change of the metric that decides, where these questions are those of one set; else it is empty.
    """

    hits: Hits
    outcome: str


def hits_by_training(dataset: Dataset, judged: Sequence[JudgedSet], evaluation: Evaluation) -> tuple[TaughtRow, ...]:
    """Count the held-out questions whose answer had a labelled question to train on, then those whose had none.

    Empty where all are of one kind: the count of all says it.
    """
    labelled = dataset.labelled_questions().keys()
    outcomes = {(row.dataset, row.split): row.outcome for row in evaluation.compared if row.metric == METRIC}
    parts: tuple[list[tuple[Measurement, Measurement]], ...] = ([], [])
    sets: tuple[list[str], ...] = ([], [])
    for own, base, tuned in measured_by_both(judged, evaluation.measurements):
        right = [{key for key, grade in own.qrels[name].items() if grade >= 1} for name in base.query_ids]
        for part, read, wanted in zip(parts, sets, (True, False), strict=True):
            places = [place for place, answers in enumerate(right) if bool(answers & labelled) is wanted]
            part.append((_only(base, places), _only(tuned, places)))
            if places:
                whole = len(places) == len(right)
                read.append(outcomes.get((base.dataset, base.split), "") if whole else "")
    counted = tuple(
        TaughtRow(count_hits(part), read[0] if len(read) == 1 else "") for part, read in zip(parts, sets, strict=True)
    )
    return counted if all(row.hits.questions for row in counted) else ()


def index_rows(evaluation: Evaluation) -> tuple[IndexRow, ...]:
    """Join the comparisons of the metric that decides, set by set; none where answers are not expanded."""
    tuning = {(row.dataset, row.split, row.metric): row for row in evaluation.comparisons}
    pairs = zip(evaluation.indexing, evaluation.overall, strict=True)
    return tuple(
        IndexRow(indexing, tuning[indexing.dataset, indexing.split, indexing.metric], overall)
        for indexing, overall in pairs
        if indexing.metric == METRIC
    )


def held_out_rows(
    judged: Sequence[JudgedSet], measurements: Sequence[Measurement], *, first: int = 1
) -> tuple[HeldOutRow, ...]:
    """Join base and tuned for every held-out question of the domain, largest change of 1/rank first.

    Args:
        judged: The judged sets; general ones are left out.
        measurements: Of the models "base" and "tuned"; a set that lacks one of them is left out.
        first: How many of the first answers to show.
    """
    rows = [row for both in measured_by_both(judged, measurements) for row in _join(*both, first)]
    return tuple(sorted(rows, key=lambda row: (-abs(row.gain), -abs(row.places or 0))))


def wins(rows: Sequence[HeldOutRow], most: int = CASES) -> tuple[HeldOutRow, ...]:
    """Return the questions that gained most; fewer than `most` if fewer gained."""
    return tuple(row for row in rows if row.outcome == "better")[:most]


def losses(rows: Sequence[HeldOutRow], most: int = CASES) -> tuple[HeldOutRow, ...]:
    """Return the questions that lost most; fewer than `most` if fewer lost."""
    return tuple(row for row in rows if row.outcome == "worse")[:most]


def sample_rows(
    dataset: Dataset, questions: Questions, scores: Scores, labels: SoftLabels, *, most: int = 30
) -> tuple[SampleRow, ...]:
    """Return a sample of the questions that nobody labelled, spread evenly over generators, kinds and the corpus.

    The choice looks at no score, so the sample is as good or bad as the rest. It is the same for the same inputs.
    """
    column = {document.id: index for index, document in enumerate(dataset.documents)}
    rows = []
    for row in _spread(questions, most):
        question = questions.items[row]
        if question.document_ids:
            document = column[question.document_ids[0]]
            place = document if scores.columns is None else int(np.searchsorted(scores.columns[row], document))
        else:  # a question of a log: the answer that the panel thinks of first
            place = int(np.argmax(labels.targets[row]))
            document = place if scores.columns is None else int(scores.columns[row, place])
        shown = dataset.documents[document]
        answer = ShownAnswer(shown.id, shown.text, right=bool(question.document_ids))
        opinions = tuple(_opinion(values, place) for values in np.asarray(scores.values[row]).T)
        rows.append(SampleRow(question, answer, float(labels.targets[row, place]), opinions))
    return tuple(rows)


def _join(judged: JudgedSet, base: Measurement, tuned: Measurement, first: int) -> list[HeldOutRow]:
    queries = {query.id: query for query in judged.queries}
    documents = {document.id: document for document in judged.documents}
    place = {query_id: index for index, query_id in enumerate(tuned.query_ids)}
    rows = []
    for index, query_id in enumerate(base.query_ids):
        other = place.get(query_id)
        if other is None or query_id not in queries:
            continue
        grades = judged.qrels.get(query_id, {})
        right = [document_id for document_id, grade in grades.items() if grade >= 1]
        rows.append(
            HeldOutRow(
                split=judged.split,
                query=queries[query_id],
                answer=_shown(right[0], documents, grades) if right else None,
                before=base.ranks[index],
                after=tuned.ranks[other],
                top_before=tuple(_shown(item, documents, grades) for item in base.top[index][:first]),
                top_after=tuple(_shown(item, documents, grades) for item in tuned.top[other][:first]),
            )
        )
    return rows


def _only(measured: Measurement, places: Sequence[int]) -> Measurement:
    """Return ranks and names of some questions; the values stay behind."""
    names, ranks = measured.query_ids, measured.ranks
    return replace(
        measured,
        query_ids=tuple(names[place] for place in places),
        ranks=tuple(ranks[place] for place in places),
        values={},
    )


def _shown(document_id: str, documents: Mapping[str, Document], grades: Mapping[str, int]) -> ShownAnswer:
    text = documents[document_id].text if document_id in documents else ""
    return ShownAnswer(document_id, text, grades.get(document_id, 0) >= 1)


def _reciprocal(rank: int) -> float:
    return 1 / rank if rank > 0 else 0.0


def _spread(questions: Questions, most: int) -> list[int]:
    """Choose rows in turn from every (generator, kind), each time from the middle of the group's next even part."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, question in enumerate(questions.items):
        if not question.labelled:
            groups.setdefault((question.source, question.kind), []).append(row)
    names = sorted(groups)
    shares = dict.fromkeys(names, 0)
    while sum(shares.values()) < most and (open_names := [name for name in names if shares[name] < len(groups[name])]):
        for name in open_names[: most - sum(shares.values())]:
            shares[name] += 1
    return [
        groups[name][(2 * part + 1) * len(groups[name]) // (2 * shares[name])]
        for name in names
        for part in range(shares[name])
    ]


def _opinion(values: FloatArray, place: int) -> ExpertOpinion | None:
    """Return the score of one document of `[C]` and its rank; None where it was not scored."""
    score = float(values[place])
    return None if np.isnan(score) else ExpertOpinion(score, 1 + int(np.sum(values > score)))
