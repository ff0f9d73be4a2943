"""Linear maps over the base's vectors: nothing of the base itself is tuned, and their seconds need no limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from contenders.task import Fitted, Outcome, Rows, Settings, Task, best_of
from expertune.evaluate.ranking import Encoder
from expertune.models.embed import unit_rows
from expertune.records import FloatArray

GRID: Sequence[Settings] = [
    {"learning_rate": rate, "epochs": epochs} for rate in (2e-5, 1e-4, 1e-3) for epochs in (1, 4, 16)
]
BATCH = 10
SCALE = 20.0


class _Mapped:
    """The base's vectors, with one matrix on the questions and maybe one on the documents."""

    def __init__(self, encoder: Encoder, queries: FloatArray, documents: FloatArray | None) -> None:
        self.name = "adapter"
        self._encoder = encoder
        self._queries = queries
        self._documents = documents

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        return unit_rows(self._encoder.encode_queries(texts) @ self._queries)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 `[len(texts), dimension]`, rows of unit length."""
        vectors = self._encoder.encode_documents(texts)
        return vectors if self._documents is None else unit_rows(vectors @ self._documents)


def _vectors(task: Task, rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Return the base's vectors of every pair of question and known answer; the log has none."""
    texts, rows = task.texts, rows[~task.questions.logged[rows]]
    at, columns = np.nonzero(task.hard[rows])
    questions = task.base_encoder.encode_queries([texts[int(row)] for row in rows])
    documents = task.base_encoder.encode_documents(task.documents)
    return questions[at], documents[columns]


def llama_index_linear(task: Task) -> Outcome:
    """Tune a linear map of the question vectors as llama_index's EmbeddingAdapterFinetuneEngine does.

    From its source (finetuning/embeddings/adapter.py, adapter_utils.py): identity at the start, no bias, batches of 10
    in the given order, AdamW, a tenth of linear warm-up, gradients clipped to 1, in-batch negatives with cosine x 20.
    Its default is one epoch at 2e-5.
    """
    import torch
    from torch.nn import functional
    from transformers import get_linear_schedule_with_warmup

    def fit(point: Settings, rows: Rows, validate: bool) -> Fitted:  # noqa: ARG001
        order = np.random.default_rng(task.seed).permutation(rows)
        questions, documents = (torch.from_numpy(vectors) for vectors in _vectors(task, order))
        matrix = torch.eye(questions.shape[1], requires_grad=True)
        optimizer = torch.optim.AdamW([matrix], lr=point["learning_rate"])
        starts = range(0, len(questions), BATCH)
        steps = len(starts) * point["epochs"]
        schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * steps), steps)
        for _ in range(point["epochs"]):
            for start in starts:
                mapped = functional.normalize(questions[start : start + BATCH] @ matrix, dim=1)
                similar = SCALE * mapped @ documents[start : start + BATCH].T
                functional.cross_entropy(similar, torch.arange(len(similar))).backward()
                torch.nn.utils.clip_grad_norm_([matrix], 1.0)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
        return Fitted(_Mapped(task.base_encoder, matrix.detach().numpy(), None))

    return best_of(task, GRID, fit)


def litfit_linear(task: Task) -> Outcome:
    """Solve for a linear map of all vectors with litfit's own fast projections; which one is chosen on validation."""
    from litfit import compute_stats_streaming, generate_fast_projections

    def fit(point: Settings, rows: Rows, validate: bool) -> Fitted:  # noqa: ARG001
        matrix = projections(rows)[tuple(point["method"])].cpu().numpy().astype(np.float32)
        return Fitted(_Mapped(task.base_encoder, matrix, matrix))

    solved: dict[int, dict[tuple[Any, ...], Any]] = {}

    def projections(rows: Rows) -> dict[tuple[Any, ...], Any]:
        if len(rows) not in solved:
            import torch

            pairs = tuple(torch.from_numpy(vectors) for vectors in _vectors(task, rows))
            solved[len(rows)] = generate_fast_projections(compute_stats_streaming([pairs]), verbose=False)
        return solved[len(rows)]

    keys = list(projections(np.arange(len(task.questions.items))))
    return best_of(task, [{"method": list(key)} for key in keys], fit)
