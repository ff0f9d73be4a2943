"""What a run leaves behind to be shown: the one record that page, summary, results and model card derive from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from expertune.data.inspection import DataFindings
from expertune.evaluate.answers import AnswerWork, need_work
from expertune.records import (
    Agreement,
    Dataset,
    Document,
    Evaluation,
    Geometry,
    JudgedSet,
    PanelFit,
    Questions,
    Role,
    Scores,
    Separation,
    SoftLabels,
    Threshold,
    Timing,
    TunedModel,
    Unanswered,
)


@dataclass(frozen=True)
class FinishedRun:
    """Everything that a finished run made and measured.

    `config_toml` is the resolved config as TOML text. `index` holds the texts to index, document by document, where
    answers are expanded by questions; it is empty where they are indexed as they are. `unanswered` is None without a
    log, `threshold` without held-out questions. `notes` say how the files were read, and `fit` how well the panel finds
    the answers of the labelled questions. `judged` holds these too, where they were cross-validated.
    """

    config_toml: str
    dataset: Dataset
    questions: Questions
    scores: Scores
    labels: SoftLabels
    model: TunedModel
    evaluation: Evaluation
    judged: Sequence[JudgedSet]
    timings: Sequence[Timing]
    agreement: Agreement | None = None
    geometry: Mapping[str, Geometry] | None = None
    index: Sequence[Document] = ()
    texts: DataFindings = field(default_factory=DataFindings)
    unanswered: Unanswered | None = None
    threshold: Threshold | None = None
    notes: tuple[str, ...] = ()
    fit: PanelFit | None = None

    @property
    def expanded(self) -> int:
        """How many answers are indexed with questions of their own."""
        texts = {document.id: document.text for document in self.dataset.documents}
        return sum(document.text != texts[document.id] for document in self.index)

    @cached_property
    def answers(self) -> tuple[AnswerWork, ...]:
        """The answers that need work, those with most lost questions first."""
        return need_work(self.dataset, self.judged, self.evaluation.measured)

    @property
    def separations(self) -> tuple[tuple[Separation, Separation], ...]:
        """Base and tuned side by side, for every domain set that has both."""
        of_model = {(item.dataset, item.split, item.model): item for item in self.evaluation.separations}
        sets = dict.fromkeys(
            (item.dataset, item.split) for item in self.evaluation.measurements if item.role is Role.DOMAIN
        )
        pairs = ((of_model.get((*key, "base")), of_model.get((*key, "tuned"))) for key in sets)
        return tuple((base, tuned) for base, tuned in pairs if base and tuned)
