"""The objectives that pull a question x document similarity matrix towards its targets. No experts, no data files.

Every objective is a function of one batch: `similarities` float `[B, C]` (cosines of B questions and C documents),
`targets` float `[B, C]`, and the temperature. Register another one in `OBJECTIVES`.

| name | targets | what it does | source |
|---|---|---|---|
| listwise | rows sum to 1 | KL(targets, softmax(similarities / temperature)) | ListNet, Cao et al. 2007 |
| pairwise | similarities in [0, 1] | mean squared error of the cosine | our reading of arXiv 2408.11868 |
| cosent | any order-preserving value | log-sum-exp over wrongly ordered pairs of a row | CoSENT, Su 2022 |
| margin-mse | similarities in [0, 1] | squared error of margins to a row's best | Hofstätter et al. 2020 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

Objective = Callable[[Tensor, Tensor, float], Tensor]


def listwise(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of KL(targets || softmax(similarities / temperature)), in nats, >= 0."""
    return functional.kl_div(functional.log_softmax(similarities / temperature, dim=1), targets, reduction="batchmean")


def pairwise(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:  # noqa: ARG001
    """Return the mean squared difference of cosine and target over all pairs."""
    return functional.mse_loss(similarities, targets)


def cosent(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of log(1 + sum of exp((s_j - s_i) / temperature) over target_i > target_j)."""
    gaps = (similarities[:, None, :] - similarities[:, :, None]) / temperature
    ordered = targets[:, :, None] > targets[:, None, :]
    wrong = gaps.masked_fill(~ordered, -torch.inf).flatten(1)
    return torch.logsumexp(functional.pad(wrong, (1, 0), value=0.0), dim=1).mean()


def margin_mse(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:  # noqa: ARG001
    """Return the mean squared difference of margins to each row's best document, on the cosine scale."""
    best = targets.argmax(dim=1, keepdim=True)
    return functional.mse_loss(similarities.gather(1, best) - similarities, targets.gather(1, best) - targets)


OBJECTIVES: dict[str, Objective] = {
    "listwise": listwise,
    "pairwise": pairwise,
    "cosent": cosent,
    "margin-mse": margin_mse,
}

LISTWISE_OBJECTIVES = frozenset({"listwise"})


class DocumentSource(Protocol):
    """Give the vectors of the documents that one batch is judged against."""

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return document columns (int64 `[C]`) and their unit vectors (float `[C, dimension]`) for question rows."""
        ...


class MatrixLoss(nn.Module):
    """Supervise every question of a batch against many documents at once, and hold unrelated sentences in place.

    Used by the sentence-transformers Trainer with the columns `question`, optionally `unrelated` (an unlabelled
    sentence), and `label`: the row of `targets` that belongs to the question.

    Args:
        model: The encoder that is tuned.
        targets: float32 `[Q, D]`.
        documents: Vectors for a batch; fixed ones in query-side training, encoded ones in full training.
        objective: A name in `OBJECTIVES`.
        temperature: Of the student, > 0.
        unrelated_vectors: The base's unit vectors of the unrelated sentences, float32 `[Q, dimension]`, by row; None
            where there is no `unrelated` column.
        anchor_weight: Weight of mean(1 - cosine) between tuned and base vectors of unrelated sentences.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        targets: Tensor,
        documents: DocumentSource,
        objective: str,
        temperature: float,
        unrelated_vectors: Tensor | None = None,
        anchor_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.targets = targets
        self.documents = documents
        self.objective = OBJECTIVES[objective]
        self.listwise = objective in LISTWISE_OBJECTIVES
        self.temperature = temperature
        self.unrelated_vectors = unrelated_vectors
        self.anchor_weight = anchor_weight

    def forward(self, sentence_features: list[dict[str, Any]], labels: Tensor) -> Tensor:
        """Return the loss of one batch.

        Args:
            sentence_features: Tokenised questions, then tokenised unrelated sentences if there are any.
            labels: int64 `[B]`, rows of `targets`.
        """
        embeddings = [
            functional.normalize(self.model(features)["sentence_embedding"].float(), dim=1)
            for features in sentence_features
        ]
        columns, vectors = self.documents(labels)
        targets = self.targets[labels.cpu()][:, columns].to(vectors.device)
        if self.listwise:
            # A candidate set holds part of a row: what it holds is renormalised to a distribution.
            targets = targets / targets.sum(dim=1, keepdim=True).clamp_min(1e-9)
        # Autocast would take this product in bfloat16, whose steps of 0.004 are coarse beside a temperature of 0.05.
        with torch.autocast(device_type=vectors.device.type, enabled=False):
            similarities = embeddings[0] @ vectors.T
        loss = self.objective(similarities, targets, self.temperature)
        if self.unrelated_vectors is not None:
            base = self.unrelated_vectors[labels.cpu()].to(vectors.device)
            loss = loss + self.anchor_weight * (1.0 - (embeddings[1] * base).sum(dim=1)).mean()
        return loss
