"""The objectives that pull a question x document similarity matrix towards its targets. No experts, no data files.

Every objective is a function of one batch: `similarities` float `[B, C]` (of B questions and C documents), `targets`
float `[B, C]`, NaN where a document is no candidate of a question, and the temperature. Register another one in
`OBJECTIVES`. Similarities are cosines, but for angle.

| name | targets | what it does | source |
|---|---|---|---|
| listwise | rows sum to 1 | KL(targets, softmax(similarities / temperature)) | ListNet, Cao et al. 2007 |
| symmetric | rows sum to 1 | mean of listwise over rows and over columns | ours, as CLIP's loss is to InfoNCE |
| pairwise | similarities in [0, 1] | mean squared error of the cosine | our reading of arXiv 2408.11868 |
| cosent | any order-preserving value | log-sum-exp over wrongly ordered pairs of a row | CoSENT, Su 2022 |
| angle | any order-preserving value | cosent over angles in complex space | AnglE, Li and Li 2023 |
| margin-mse | similarities in [0, 1] | squared error of margins to a row's best | Hofstätter et al. 2020 |
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


def listwise(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of KL(targets || softmax(similarities / temperature)), in nats, >= 0."""
    known = ~targets.isnan()
    logits = similarities.masked_fill(~known, _NOWHERE) / temperature
    return functional.kl_div(functional.log_softmax(logits, dim=1), targets.nan_to_num(), reduction="batchmean")


def symmetric(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean of `listwise` over rows and over columns; a column counts by its share of the target mass."""
    known = ~targets.isnan()
    mass = targets.nan_to_num()
    totals = mass.sum(dim=0)
    logits = similarities.masked_fill(~known, _NOWHERE) / temperature
    shares = mass / totals.clamp_min(1e-9)
    per_column = functional.kl_div(functional.log_softmax(logits, dim=0), shares, reduction="none").sum(dim=0)
    columns = (totals * per_column).sum() / totals.sum()
    return (listwise(similarities, targets, temperature) + columns) / 2


def pairwise(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:  # noqa: ARG001
    """Return the mean squared difference of cosine and target over all pairs."""
    known = ~targets.isnan()
    return functional.mse_loss(similarities[known], targets[known])


def cosent(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of log(1 + sum of exp((s_j - s_i) / temperature) over target_i > target_j)."""
    gaps = (similarities[:, None, :] - similarities[:, :, None]) / temperature
    ordered = targets[:, :, None] > targets[:, None, :]  # False where either is NaN
    wrong = gaps.masked_fill(~ordered, -torch.inf).flatten(1)
    return torch.logsumexp(functional.pad(wrong, (1, 0), value=0.0), dim=1).mean()


def margin_mse(similarities: Tensor, targets: Tensor, temperature: float) -> Tensor:  # noqa: ARG001
    """Return the mean squared difference of margins to each row's best document, on the cosine scale."""
    known = ~targets.isnan()
    best = targets.nan_to_num(nan=-1.0).argmax(dim=1, keepdim=True)
    margins, wanted = similarities.gather(1, best) - similarities, targets.gather(1, best) - targets
    return functional.mse_loss(margins[known], wanted[known])


OBJECTIVES: dict[str, Objective] = {
    "listwise": listwise,
    "symmetric": symmetric,
    "pairwise": pairwise,
    "cosent": cosent,
    "angle": cosent,
    "margin-mse": margin_mse,
}

LISTWISE_OBJECTIVES = frozenset({"listwise", "symmetric"})


def cosines(questions: Tensor, documents: Tensor) -> Tensor:
    """Return the cosines `[B, C]` in [-1, 1] of unit vectors."""
    return questions @ documents.T


def angles(questions: Tensor, documents: Tensor) -> Tensor:
    """Return AnglE's similarity `[B, C]` in [0, sqrt(2)] of unit vectors of even dimension.

    A vector is read as complex numbers, real parts first; the value is the absolute sum of real and imaginary parts of
    the quotient of the two vectors. For unit vectors that is one product with the documents turned by a fixed matrix.
    """
    real, imaginary = documents.chunk(2, dim=1)
    return (questions @ torch.cat([real - imaginary, real + imaginary], dim=1).T).abs()


SIMILARITIES = {"angle": angles}
"""What an objective compares by, where it is not the cosine."""


ANCHOR_STRIDE = 4
"""Each step holds every fourth of its unrelated sentences: as many texts as there are questions cost more than those.

Sixteen of 64 kept general ability as well (docs/performance.md). Counted by place, so that processes that share a
batch hold the same sentences between them as one would.
"""


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
        targets: float32 `[Q, D]`, or `[Q, C]` with `candidates`.
        documents: Vectors for a batch; fixed ones in query-side training, encoded ones in full training.
        objective: A name in `OBJECTIVES`.
        temperature: Of the student, > 0.
        unrelated_vectors: The base's unit vectors of the unrelated sentences, float32 `[Q, dimension]`, by row; None
            where there is no `unrelated` column.
        anchor_weight: Weight of mean(1 - cosine) between tuned and base vectors of every fourth unrelated sentence.
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
        unrelated_vectors: Tensor | None = None,
        anchor_weight: float = 0.0,
        candidates: Tensor | None = None,
        log_prior: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.targets = targets
        self.documents = documents
        self.objective = OBJECTIVES[objective]
        self.similarity = SIMILARITIES.get(objective, cosines)
        self.candidates = candidates
        self.log_prior = log_prior
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
        questions = functional.normalize(packing.embed(self.model, sentence_features[0]).float(), dim=1)
        columns, vectors = self.documents(labels)
        targets = self._targets(labels.cpu(), columns).to(vectors.device)
        if self.listwise:
            # The documents of a batch hold part of a row: what they hold is renormalised to a distribution.
            targets = targets / targets.nansum(dim=1, keepdim=True).clamp_min(1e-9)
        # Autocast would take this product in bfloat16, whose steps of 0.004 are coarse beside a temperature of 0.05.
        with torch.autocast(device_type=vectors.device.type, enabled=False):
            similarities = self.similarity(questions, vectors)
            if self.log_prior is not None:
                similarities = similarities + self.temperature * self.log_prior[columns].to(vectors.device)
        loss = self.objective(similarities, targets, self.temperature)
        if self.unrelated_vectors is not None:
            base = self.unrelated_vectors[labels.cpu()[::ANCHOR_STRIDE]].to(vectors.device)
            held = packing.embed(self.model, sentence_features[1], stride=ANCHOR_STRIDE).float()
            loss = loss + self.anchor_weight * (1.0 - functional.cosine_similarity(held, base)).mean()
        return loss

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
