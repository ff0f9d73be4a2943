"""Turn the panel's scores into training targets: calibrate, weigh the experts, merge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expertune.config import LabelSection
from expertune.data import expansion
from expertune.data.expansion import Expansion
from expertune.data.repeats import Repeats
from expertune.label import strategies
from expertune.label.calibrate import calibrate
from expertune.label.clicks import with_clicks
from expertune.label.hard_labels import led_to, share_equal_texts
from expertune.label.weights import unbeaten_base, weigh
from expertune.records import Dataset, Document, FloatArray, Questions, Scores, SoftLabels

NOT_EXPANDED = Expansion({})
NOT_REPEATED = Repeats()

LABELLED_HARD_WEIGHT = 1.0
"""Weight of the hard label in mixed targets of labelled questions: people named their answers, so nothing is mixed."""


def label(
    dataset: Dataset,
    questions: Questions,
    scores: Scores,
    section: LabelSection,
    *,
    base: str = "",
    listwise: bool = True,
) -> SoftLabels:
    """Return targets `[Q, D]` for training, or `[Q, C]` where the scores are of candidates.

    Documents that no training question leads to are inactive: they get no mass and never serve as negatives.
    Documents with the same text share their target mass, so that equal answers are not pushed apart.

    Args:
        dataset: The documents.
        questions: Rows of the scores.
        scores: `[Q, D, K]`, or of candidates `[Q, C, K]`.
        section: Strategy and calibration.
        base: Name of the model to tune. Where it sits on the panel and no other expert ranks the labelled questions
            better, there is little to learn from the panel: mixed labels halve its share, and a warning says so.
        listwise: Whether targets are one distribution a question, or single similarities in [0, 1].
    """
    columns = scores.columns
    hard = share_equal_texts(questions.hard_labels(dataset.documents, columns), dataset, columns)
    active = led_to(hard, dataset, columns)
    offered = active if columns is None else active[columns]
    labelled = questions.labelled
    calibrated = calibrate(scores.values, hard, labelled, method=section.calibration)
    panel, sharpness = weigh(scores.experts, calibrated[labelled], hard[labelled])
    unbeaten = unbeaten_base(panel, base)
    if section.strategy in strategies.SIMILARITIES:
        view = strategies.PanelScores(strategies.on_one_scale(scores.values), calibrated, hard)
        if listwise:
            targets = strategies.similarity_distribution(section.strategy, view, offered)
        else:
            targets = strategies.similarity(section.strategy, view)
    else:
        weights = np.array([expert.weight for expert in panel])
        targets = strategies.softmax_over(strategies.weighted_mean(calibrated, weights) * sharpness, offered)
        if section.strategy == "mixed":
            hard_weight = _hard_weights(questions, section.hard_weight, halve_panel=bool(unbeaten))
            targets = strategies.mixed(targets, hard, hard_weight)
            targets = with_clicks(targets, questions.items, dataset.documents, active, columns)
    return SoftLabels(
        strategy=section.strategy,
        targets=targets,
        active=active,
        listwise=listwise,
        panel=panel,
        warnings=(*_unscored(scores), *unbeaten),
        columns=columns,
    )


def _hard_weights(questions: Questions, hard_weight: float, *, halve_panel: bool) -> FloatArray:
    """Return the weight of the hard label of each question `[Q]`; that of synthetic ones is given.

    A question of a search log has no hard label: the panel alone speaks.
    """
    synthetic = (1.0 + hard_weight) / 2 if halve_panel else hard_weight
    weights = np.where(questions.labelled, LABELLED_HARD_WEIGHT, synthetic)
    return np.where(questions.logged, 0.0, weights).astype(np.float32)


def _unscored(scores: Scores) -> Iterator[str]:
    """Yield a warning for each expert that left pairs unscored."""
    for k, name in enumerate(scores.experts):
        missing = float(np.isnan(scores.values[:, :, k]).mean())
        if missing > 0:
            yield f"{name} left {missing:.1%} of the pairs unscored; they are labelled by the other experts"


@dataclass(frozen=True, slots=True)
class Labeller:
    """Label some of the questions as if the others did not exist: what validates a model must not have taught it.

    Args:
        dataset: The documents as they are.
        questions: Rows of the scores.
        scores: Of all questions; where the panel read expanded answers, joined with those of plain ones.
        section: Strategy and calibration.
        base: Name of the model to tune.
        listwise: Whether targets are distributions.
        read: Which labelled questions the panel read before which documents.
        indexed: Which labelled questions stand before which documents in the index.
        repeats: Which labelled questions documents repeat by themselves.
    """

    dataset: Dataset
    questions: Questions
    scores: Scores
    section: LabelSection
    base: str = ""
    listwise: bool = True
    read: Expansion = NOT_EXPANDED
    indexed: Expansion = NOT_EXPANDED
    repeats: Repeats = NOT_REPEATED

    def of(self, rows: NDArray[np.int64]) -> Questions:
        """Return the questions of some rows."""
        return Questions(tuple(self.questions.items[int(row)] for row in rows))

    def part(self, rows: NDArray[np.int64]) -> Labeller:
        """Return what labels these questions, and again some of them, as if the others did not exist."""
        questions = self.of(rows)
        read = self.read.knowing(questions.items)
        known = self._as_if(questions)
        # The plain scores stay: they are asked for again where the part is split for choosing.
        scores = replace(known, plain=self.scores.plain).of(rows)
        indexed = self.indexed.knowing(questions.items)
        return replace(self, questions=questions, scores=scores, read=read, indexed=indexed)

    def targets(self, rows: NDArray[np.int64]) -> SoftLabels:
        """Return targets `[len(rows), D]`, learned from these questions alone."""
        questions = self.of(rows)
        scores = self._as_if(questions).of(rows)
        return label(self.dataset, questions, scores, self.section, base=self.base, listwise=self.listwise)

    def _as_if(self, questions: Questions) -> Scores:
        """Return all scores as if there were no other labelled questions than these."""
        whole = self.repeats.beside(self.read)
        return expansion.as_if(self.scores, self.dataset.documents, whole, whole.knowing(questions.items))

    def documents(self, rows: NDArray[np.int64]) -> tuple[Document, ...]:
        """Return the documents as an index holds them that knows these questions alone."""
        questions = self.of(rows).items
        return self.indexed.knowing(questions).documents(self.repeats.documents(self.dataset.documents, questions))
