"""The objectives that pull a question x document similarity matrix towards its targets.

Every objective is a function of one batch: the cosines float `[B, C]` of B questions and C documents, `targets` float
`[B, C]`, NaN where a document is no candidate of a question, and the temperature.

| name | targets | what it does | source |
|---|---|---|---|
| listwise | rows sum to 1 | KL(targets, softmax(cosines / temperature)) | ListNet, Cao et al. 2007 |
| pairwise | similarities in [0, 1] | mean squared error of the cosine | our reading of arXiv 2408.11868 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from expertune.models import packing

Objective = Callable[[Tensor, Tensor, float], Tensor]


_NOWHERE = -1e4
"""A similarity that no softmax sees; finite, so that a target of 0 there costs 0 and not NaN."""


def listwise(cosines: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of KL(targets || softmax(cosines / temperature)), in nats, >= 0."""
    candidates = ~targets.isnan()
    logits = cosines.masked_fill(~candidates, _NOWHERE) / temperature
    return functional.kl_div(functional.log_softmax(logits, dim=1), targets.nan_to_num(), reduction="batchmean")


def pairwise(cosines: Tensor, targets: Tensor, temperature: float) -> Tensor:  # noqa: ARG001
    """Return the mean squared difference of cosine and target over all pairs."""
    candidates = ~targets.isnan()
    return functional.mse_loss(cosines[candidates], targets[candidates])


OBJECTIVES: dict[str, Objective] = {"listwise": listwise, "pairwise": pairwise}


REFERENCE_STRIDE = 4
"""Each step holds every fourth of its reference sentences: as many texts as there are questions cost more than those.

Sixteen of 64 kept general ability as well (docs/performance.md). Counted by place, so that processes that share a
batch hold the same sentences between them as one would.
"""


class DocumentSource(Protocol):
    """Give the vectors of the documents that one batch is judged against."""

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return document columns (int64 `[C]`) and their unit vectors (float `[C, dimension]`) for question rows."""
        ...


class MatrixLoss(nn.Module):
    """Supervise every question of a batch against many documents at once, and hold reference sentences in place.

    Used by the sentence-transformers Trainer with the columns `question`, optionally `reference` (an unlabelled
    sentence), and `label`: the row of `targets` that belongs to the question.

    Args:
        model: The encoder that is tuned.
        targets: float32 `[Q, D]`, or `[Q, C]` with `candidates`.
        documents: Vectors for a batch; fixed ones in query-side training, encoded ones in full training.
        objective: A name in `OBJECTIVES`.
        temperature: Of the student, > 0.
        reference_vectors: The base's unit vectors of the reference sentences, float32 `[Q, dimension]`, by row; None
            where there is no `reference` column.
        reference_weight: Weight of mean(1 - cosine) between tuned and base vectors of every fourth of them.
        candidates: int64 `[Q, C]`, the documents that a question has targets for; None: all, in order.
        log_prior: float32 `[D]`, log of how much target mass a document has, added to the logits of a softmax (logit
            adjustment, Menon et al. 2021): what many training questions lead to need not be learned from its vector,
            so that it draws no question of the answers that few lead to. None: nothing is added.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        targets: Tensor,
        documents: DocumentSource,
        objective: str,
        temperature: float,
        reference_vectors: Tensor | None = None,
        reference_weight: float = 0.0,
        candidates: Tensor | None = None,
        log_prior: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        # What the model is wrapped in during training does not tell.
        self.dimension = getattr(model, "truncate_dim", None)
        self.targets = targets
        self.documents = documents
        self.objective = OBJECTIVES[objective]
        self.candidates = candidates
        self.log_prior = log_prior
        self.listwise = objective == "listwise"
        self.temperature = temperature
        self.reference_vectors = reference_vectors
        self.reference_weight = reference_weight

    def forward(self, sentence_features: list[dict[str, Any]], labels: Tensor) -> Tensor:
        """Return the loss of one batch.

        Args:
            sentence_features: Tokenised questions, then tokenised reference sentences if there are any.
            labels: int64 `[B]`, rows of `targets`.
        """
        questions = functional.normalize(self._embed(sentence_features[0]), dim=1)
        columns, vectors = self.documents(labels)
        targets = self._targets(labels.cpu(), columns).to(vectors.device)
        if self.listwise:
            # The documents of a batch hold part of a row: what they hold is renormalised to a distribution.
            targets = targets / targets.nansum(dim=1, keepdim=True).clamp_min(1e-9)
        # Autocast would take this product in bfloat16, whose steps of 0.004 are coarse beside a temperature of 0.05.
        with torch.autocast(device_type=vectors.device.type, enabled=False):
            cosines = questions @ vectors.T
            if self.log_prior is not None:
                cosines = cosines + self.temperature * self.log_prior[columns].to(vectors.device)
        loss = self.objective(cosines, targets, self.temperature)
        if self.reference_vectors is not None:
            base = self.reference_vectors[labels.cpu()[::REFERENCE_STRIDE]].to(vectors.device)
            now = self._embed(sentence_features[1], stride=REFERENCE_STRIDE)
            loss = loss + self.reference_weight * (1.0 - functional.cosine_similarity(now, base)).mean()
        return loss

    def _embed(self, features: dict[str, Any], stride: int = 1) -> Tensor:
        """Return the vectors of every `stride`-th text, cut to the dimension that the model is used with."""
        return packing.embed(self.model, features, stride=stride).float()[:, : self.dimension]

    def _targets(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the targets `[B, C]` of question rows for ascending document columns, NaN where there is none."""
        if self.candidates is None:
            return self.targets[rows][:, columns]
        own = self.candidates[rows]
        place = torch.searchsorted(columns, own).clamp_max(len(columns) - 1)
        found = columns[place] == own
        targets = torch.full((len(rows), len(columns)), torch.nan)
        row = torch.arange(len(rows))[:, None].expand_as(own)
        targets[row[found], place[found]] = self.targets[rows][found]
        return targets
