"""The losses of sentence-transformers, used as its documentation shows: the whole model, its own Trainer.

Soft labels come from the one expert that ranks the user's own questions best, as GPL and the distillation examples
have one teacher. Hard negatives are the teacher's next best answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contenders.task import Contender, Outcome, Settings, Task, affordable, best_of
from expertune.models.encoder import CachedEncoder, trial_encoder
from expertune.models.load import load_model
from expertune.train import trainer

Columns = dict[str, list[Any]]
RATES: Sequence[Settings] = [
    {"learning_rate": rate, "epochs": epochs} for rate, epochs in ((2e-5, 1), (2e-5, 4), (5e-5, 4), (5e-5, 12))
]
LABELLED: Sequence[Settings] = [
    {"learning_rate": rate, "epochs": 4, "labels": labels} for rate in (2e-5, 5e-5) for labels in ("hard", "teacher")
]
NEGATIVES = 3


@dataclass(frozen=True)
class _Recipe:
    """How one loss is used: its columns, the loss, the grid and the batch size."""

    columns: Callable[[Task, Settings, NDArray[np.int64]], Columns]
    loss: Callable[[Any, Task], Any]
    grid: Sequence[Settings]
    batch_size: int
    in_batch: bool = False


def released(name: str) -> Contender:
    """Return the contender that uses one released loss."""
    recipe = _RECIPES[name]

    def run(task: Task) -> Outcome:
        taken, pace = 0, 0.0

        def steps(point: Settings, columns: Columns) -> int:
            nonlocal pace
            pace = pace or _seconds_a_step(task, recipe, point, columns)
            wanted = point["epochs"] * math.ceil(len(columns["question"]) / recipe.batch_size)
            return affordable(wanted, task, pace)

        def fit(point: Settings, rows: NDArray[np.int64]) -> CachedEncoder:
            nonlocal taken
            columns = recipe.columns(task, point, rows)
            taken = point.get("steps", 0) or steps(point, columns)
            return trial_encoder(name, _train(task, recipe, point, columns, taken), None)

        def distinct() -> list[Settings]:
            # Points that differ only in epochs which the budget does not allow are one training: the longest stays.
            rows = np.arange(len(task.questions.items))
            kept = {}
            for point in recipe.grid:
                others = {key: value for key, value in point.items() if key != "epochs"}
                kept[steps(point, recipe.columns(task, point, rows)), *others.values()] = point
            return list(kept.values())

        outcome = best_of(task, recipe.grid if task.chosen else distinct(), fit)
        return Outcome(outcome.encoder, {**outcome.chosen, "steps": taken}, outcome.choosing_seconds, outcome.seconds)

    return run


def _train(
    task: Task, recipe: _Recipe, point: Settings, columns: Columns, steps: int, callbacks: Sequence[Any] = ()
) -> Any:
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers
    from transformers import set_seed
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    set_seed(task.seed)
    model = load_model(task.base)
    rows = Dataset.from_dict(columns)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(task.scratch / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=min(recipe.batch_size, len(rows)),
        learning_rate=point["learning_rate"],
        warmup_steps=steps // 10,
        bf16=trainer.use_bfloat16("auto"),
        use_cpu=not torch.cuda.is_available(),
        # In-batch negatives: the documentation asks for batches without repeated texts.
        batch_sampler=BatchSamplers.NO_DUPLICATES if recipe.in_batch else BatchSamplers.BATCH_SAMPLER,
        seed=task.seed,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    fitting = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=rows, loss=recipe.loss(model, task), callbacks=list(callbacks)
    )
    fitting.remove_callback(PrinterCallback)
    fitting.remove_callback(ProgressCallback)
    fitting.train()
    return model.eval()


def _seconds_a_step(task: Task, recipe: _Recipe, point: Settings, columns: Columns) -> float:
    from transformers import TrainerCallback

    moments: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        """Note the time after every step."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())

    _train(task, recipe, point, columns, 4, [Watch()])
    # A data set of fewer than two batches still takes four steps: the Trainer begins the next epoch.
    return (moments[-1] - moments[0]) / (len(moments) - 1)


# --- columns -------------------------------------------------------------------------------------------------------


def _pairs(task: Task, rows: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Return row and column of every hard positive."""
    hard = task.hard[rows]
    at, columns = np.nonzero(hard)
    return [int(rows[i]) for i in at], [int(column) for column in columns]


def _positives(task: Task, point: Settings, rows: NDArray[np.int64]) -> Columns:  # noqa: ARG001
    at, columns = _pairs(task, rows)
    texts, documents = task.texts, task.documents
    return {"question": [texts[row] for row in at], "answer": [documents[column] for column in columns]}


def _negatives(task: Task, teacher: NDArray[np.float32], at: Sequence[int]) -> NDArray[np.int64]:
    """Return for every pair the teacher's next best answers, `[pairs, NEGATIVES]`; fewer on tiny corpora."""
    masked = np.where(task.hard > 0, -np.inf, teacher)[list(at)]
    count = min(NEGATIVES, masked.shape[1] - 1)
    return np.argsort(-masked, axis=1)[:, :count]


def _graded(task: Task, point: Settings, rows: NDArray[np.int64]) -> Columns:
    """Pairs with a score: every positive, and as many of the teacher's near misses as random answers."""
    texts, documents, teacher = task.texts, task.documents, task.teacher
    at, columns = _pairs(task, rows)
    near = _negatives(task, teacher, at)[:, 0]
    other = np.random.default_rng(task.seed).integers(len(documents), size=len(at))
    values = task.hard if point["labels"] == "hard" else teacher
    made: Columns = {"question": [], "answer": [], "score": []}
    for row, *choices in zip(at, columns, near, other, strict=True):
        for column in choices:
            made["question"].append(texts[row])
            made["answer"].append(documents[column])
            made["score"].append(float(np.clip(values[row, column], 0.0, 1.0)))
    return made


def _margins(task: Task, point: Settings, rows: NDArray[np.int64]) -> Columns:  # noqa: ARG001
    """Triples with the teacher's margin, as GPL (Wang et al. 2022) makes them."""
    texts, documents, teacher = task.texts, task.documents, task.teacher
    at, columns = _pairs(task, rows)
    near = _negatives(task, teacher, at)
    picked = near[np.arange(len(at)), np.random.default_rng(task.seed).integers(near.shape[1], size=len(at))]
    return {
        "question": [texts[row] for row in at],
        "answer": [documents[column] for column in columns],
        "negative": [documents[column] for column in picked],
        "label": [float(teacher[row, c] - teacher[row, n]) for row, c, n in zip(at, columns, picked, strict=True)],
    }


def _distilled(task: Task, point: Settings, rows: NDArray[np.int64]) -> Columns:  # noqa: ARG001
    """A positive and the near misses, with the teacher's score of each."""
    texts, documents, teacher = task.texts, task.documents, task.teacher
    at, columns = _pairs(task, rows)
    near = _negatives(task, teacher, at)
    made: Columns = {
        "question": [texts[row] for row in at],
        "answer": [documents[column] for column in columns],
    }
    for number in range(near.shape[1]):
        made[f"negative_{number + 1}"] = [documents[column] for column in near[:, number]]
    made["label"] = [
        [float(teacher[row, column]) for column in (own, *others)]
        for row, own, others in zip(at, columns, near, strict=True)
    ]
    return made


# --- losses --------------------------------------------------------------------------------------------------------


def _mnrl(model: Any, _: Task) -> Any:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    return MultipleNegativesRankingLoss(model)


def _gist(model: Any, task: Task) -> Any:
    from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss

    return CachedGISTEmbedLoss(model, guide=load_model(task.base), mini_batch_size=32)


def _cosent(model: Any, _: Task) -> Any:
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    return CoSENTLoss(model)


def _cosine(model: Any, _: Task) -> Any:
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    return CosineSimilarityLoss(model)


def _margin_mse(model: Any, _: Task) -> Any:
    from sentence_transformers.sentence_transformer.losses import MarginMSELoss

    return MarginMSELoss(model)


def _distill_kl(model: Any, _: Task) -> Any:
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss

    # The default temperature of 1 is for dot products of long vectors: on cosines it flattens everything.
    return DistillKLDivLoss(model, temperature=0.05)


_RECIPES = {
    "mnrl": _Recipe(_positives, _mnrl, RATES, 64, in_batch=True),
    "gist": _Recipe(_positives, _gist, RATES, 64, in_batch=True),
    "cosent": _Recipe(_graded, _cosent, LABELLED, 64),
    "cosine": _Recipe(_graded, _cosine, LABELLED, 64),
    "margin-mse": _Recipe(_margins, _margin_mse, RATES, 32),
    "distill-kl": _Recipe(_distilled, _distill_kl, RATES, 32),
}
