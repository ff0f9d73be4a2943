"""Estimate what tuning gains from the labelled questions alone, where nobody held any out.

Each labelled question is left out once, and a model tuned without it, and without what was made from it, is asked for
its answer. Half of the answers with several questions, and all with one, are left out whole: their questions stand for
answers that nobody asked about yet. The others keep some of their questions: those left out stand for a new question
about an answer that people asked about. What a user asks is in neither: labelled questions are the maintainer's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from expertune.evaluate.stage import compare, measure
from expertune.evaluate.statistics import FEWEST_CLUSTERS
from expertune.label.stage import Labeller
from expertune.records import (
    Comparison,
    CrossValidation,
    Dataset,
    Document,
    JudgedSet,
    Measurement,
    Question,
    Questions,
)
from expertune.train import select, tuning
from expertune.train.tuning import Tuner

VERSION = 1
"""Raise when the same questions lead to other folds or another measurement."""

FOLDS = 3
"""Parts of the labelled questions: each costs a tuning or two, and more would leave out fewer questions at a time."""

FEWEST_ANSWERS = FEWEST_CLUSTERS
"""Below this many answers with a labelled question, nothing is estimated: no interval would leave out zero."""

SPLIT = "own questions"
"""What the estimate is called where held-out sets have their split; the two kinds of questions follow."""
KINDS = {True: f"{SPLIT}, answer asked about", False: f"{SPLIT}, answer not asked about"}


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers of the labelled questions that are left out and of all that may be trained on; ascending."""

    left_out: NDArray[np.int64]
    train: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FoldResult:
    """Base and tuned model on the questions that one fold left out; `known` as in `CrossValidation`."""

    base: Measurement
    tuned: Measurement
    known: tuple[bool, ...]


def possible(questions: Sequence[Question]) -> bool:
    """Tell whether the labelled questions lead to enough answers for an estimate."""
    answers = {document_id for item in questions if item.labelled for document_id in item.document_ids}
    return len(answers) >= FEWEST_ANSWERS


def left_out(questions: Questions, *, folds: int = FOLDS, seed: int = 0) -> tuple[NDArray[np.int64], ...]:
    """Return for each fold the row numbers of the labelled questions it leaves out, each question once.

    Questions that share an answer stay together, but for every second group of several questions, whose questions are
    spread over the folds.
    """
    rows = np.flatnonzero(questions.labelled)
    generator = np.random.default_rng(seed)
    groups = [group.tolist() for group in _sharing_answers(questions.items, rows)]
    groups = [groups[index] for index in generator.permutation(len(groups))]
    spread = [group for group in groups if len(group) > 1][::2]
    whole = sorted((group for group in groups if group not in spread), key=len, reverse=True)
    parts: list[list[int]] = [[] for _ in range(folds)]
    for unit in (*whole, *([row] for group in spread for row in group)):
        min(parts, key=len).extend(unit)
    return tuple(np.array(sorted(part), dtype=np.int64) for part in parts if part)


def fold(questions: Questions, rows: NDArray[np.int64], copies: Sequence[bool]) -> Fold:
    """Return what may be trained on where some labelled questions are left out; see `select.apart`."""
    return Fold(rows, select.apart(questions, rows, copies))


def measure_fold(
    tuner: Tuner, labeller: Labeller, part: Fold, general: JudgedSet, *, scratch: Path, general_tolerance: float
) -> FoldResult:
    """Tune and choose without the left-out questions, and ask base and tuned model for their answers.

    See `tuning.tune_and_choose` for the arguments; nothing of the fold's model is kept.
    """
    known = labeller.part(part.train)
    rows = np.arange(len(part.train))
    found = tuning.chosen(
        tuner, known, known.targets(rows), general, scratch=scratch, general_tolerance=general_tolerance
    )
    asked = labeller.of(part.left_out).items
    judged = _judged(labeller.dataset.name, known.documents(rows), asked, part.left_out)
    answered = {document_id for item in known.questions.items if item.labelled for document_id in item.document_ids}
    return FoldResult(
        base=measure(tuner.encoder, judged, "base"),
        tuned=measure(found.encoder("tuned"), judged, "tuned"),
        known=tuple(not answered.isdisjoint(item.document_ids) for item in asked),
    )


def pooled(results: Sequence[FoldResult], *, seed: int = 0) -> CrossValidation:
    """Return the estimate over all folds, with comparisons of base and tuned clustered by answer.

    Raises:
        ValueError: there is no fold.
    """
    base, tuned = (_joined([getattr(item, name) for item in results]) for name in ("base", "tuned"))
    known = np.array([value for item in results for value in item.known], dtype=np.bool_)
    comparisons: list[Comparison] = [*compare(base, tuned, seed=seed)]
    for kind, split in KINDS.items() if known.any() and not known.all() else ():
        rows = np.flatnonzero(known == kind)
        comparisons += compare(_of(base, rows, split), _of(tuned, rows, split), seed=seed)
    return CrossValidation(len(results), base, tuned, tuple(known.tolist()), tuple(comparisons))


def asked(own: CrossValidation, dataset: Dataset, questions: Questions) -> JudgedSet:
    """Return the questions of all folds as one judged set, for people to look at."""
    items = {query_id: questions.items[int(query_id.removeprefix("q"))] for query_id in own.base.query_ids}
    return JudgedSet.asking(dataset.name, SPLIT, dataset.documents, items)


def _sharing_answers(items: Sequence[Question], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows in groups that share answers, also by way of a third question."""
    number: dict[str, int] = {}
    edges = [
        (place, len(rows) + number.setdefault(document_id, len(number)))
        for place, row in enumerate(rows)
        for document_id in items[int(row)].document_ids
    ]
    size = len(rows) + len(number)
    start, end = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), (start, end)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][: len(rows)]
    return [rows[group == value] for value in dict.fromkeys(group.tolist())]


def _judged(
    name: str, documents: tuple[Document, ...], asked: Sequence[Question], rows: NDArray[np.int64]
) -> JudgedSet:
    """Return left-out questions as a judged set; their ids are their row numbers in the run."""
    return JudgedSet.asking(name, SPLIT, documents, {f"q{row}": item for row, item in zip(rows, asked, strict=True)})


def _joined(parts: Sequence[Measurement]) -> Measurement:
    """Return the measurements of one model on the folds' questions as one."""
    first = parts[0]
    return replace(
        first,
        query_ids=tuple(value for part in parts for value in part.query_ids),
        clusters=tuple(value for part in parts for value in part.clusters),
        values={metric: np.concatenate([part.values[metric] for part in parts]) for metric in first.values},
        ranks=tuple(value for part in parts for value in part.ranks),
        top=tuple(value for part in parts for value in part.top),
        ties=sum(part.ties for part in parts),
    )


def _of(whole: Measurement, rows: NDArray[np.int64], split: str) -> Measurement:
    """Return the measurement of some of the questions under another name; ties are not counted apart."""
    return replace(
        whole,
        split=split,
        query_ids=tuple(whole.query_ids[row] for row in rows),
        clusters=tuple(whole.clusters[row] for row in rows),
        values={metric: values[rows] for metric, values in whole.values.items()},
        ranks=tuple(whole.ranks[row] for row in rows),
        top=tuple(whole.top[row] for row in rows),
        ties=0,
    )
