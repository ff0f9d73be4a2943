"""The losses of sentence-transformers, unchanged, with its own Trainer: the whole model, or questions alone.

With questions alone, documents go the other way through a Router, to a module that looks their vectors up: those of the
base, made once. What a loss is shown stands in columns.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from contenders import columns
from contenders.columns import Columns
from contenders.task import Contender, Fitted, Outcome, Rows, Settings, Task, best_of
from expertune.models import packing
from expertune.models.encoder import CachedEncoder, trial_encoder
from expertune.models.load import load_model, one_side
from expertune.train import trainer

BATCH = {"query": 64, "full": 32}
NEGATIVES = 3
EVERY, PATIENCE, MOST = 10, 3, 400
"""Steps between two looks at the validation, looks without a gain until a training ends, and steps at most."""

FIRST = {"query": 1e-4, "full": 5e-5}
RATES = {"query": (3e-4, 3e-5), "full": (1e-4, 2e-5)}


@dataclass(frozen=True)
class Loss:
    """How one loss is used: its columns, itself, and the changes to the first point that only its grid has."""

    columns: Callable[[Task, Settings, Rows], Columns]
    make: Callable[[Any], Any]
    first: Settings
    changes: Sequence[Settings] = ()
    in_batch: bool = False


def grid(side: str, loss: Loss) -> list[Settings]:
    """Return the points to try, the likeliest first: one thing after the other is changed.

    `repeat`: labelled questions (and those of the log) come as often as with us; `log`: those of the log have the
    teacher's first answer as label; `negatives`: hard ones a question.
    """
    first = {"learning_rate": FIRST[side], "repeat": True, "log": False, **loss.first}
    if side == "full" and loss.in_batch:
        first["negatives"] = 0  # each costs as much as an answer
    higher, lower = ({"learning_rate": rate} for rate in RATES[side])
    return [{**first, **change} for change in ({}, {"log": True}, higher, lower, {"repeat": False}, *loss.changes)]


def released(side: str, name: str) -> Contender:
    """Return the contender that tunes the `query` side or the `full` model with one released loss."""
    loss = LOSSES[name]

    def run(task: Task) -> Outcome:
        points = grid(side, loss)
        if not task.questions.logged.any():
            points = [point for point in points if not point["log"]]

        def fit(point: Settings, rows: Rows, validate: bool) -> Fitted:
            shown = loss.columns(task, point, columns.training_rows(task, point, rows, BATCH[side]))
            training = _Training(task, side, loss, point, shown)
            ends = _Ends(training, validates=validate and task.limit == "validation")
            if "steps" in point:
                steps = point["steps"]
            elif task.limit == "seconds":
                steps = max(1, int(task.budget / training.seconds_a_step()))
            else:
                steps = MOST if task.limit == "validation" else task.steps
            model = training.train(steps, ends.step)
            return Fitted(training.encoder(model), ends.best_step or steps, ends.best)

        return best_of(task, points, fit)

    return run


@dataclass(frozen=True)
class _Training:
    """One training: everything but for how long."""

    task: Task
    side: str
    loss: Loss
    point: Settings
    columns: Columns

    def train(self, steps: int, watch: Callable[[Any, int], bool]) -> Any:
        """Return the tuned model; `watch` is told the model and the step after each, and says whether to go on."""
        from datasets import Dataset
        from transformers import TrainerCallback, set_seed
        from transformers.trainer_callback import PrinterCallback, ProgressCallback

        class Watch(TrainerCallback):  # type: ignore[misc]
            """Ask after every step whether to go on."""

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
                control.should_training_stop |= not watch(model, state.global_step)

        set_seed(self.task.seed)
        model = load_model(self.task.base)
        whole = _with_fixed_documents(model, self.task) if self.side == "query" else model
        rows = Dataset.from_dict(self.columns)
        fitting = trainer._trainer_class()(
            model=whole,
            args=self._arguments(model, steps, len(rows)),
            train_dataset=rows,
            loss=self.loss.make(whole),
            callbacks=[Watch()],
        )
        fitting.remove_callback(PrinterCallback)
        fitting.remove_callback(ProgressCallback)
        fitting.train()
        return one_side(whole, "query").eval()

    def encoder(self, model: Any) -> CachedEncoder:
        """Return what encodes with a tuned model: questions alone, or documents too."""
        return trial_encoder(f"{self.side} side", model, self.task.base_encoder if self.side == "query" else None)

    def seconds_a_step(self) -> float:
        """Time three steps after the first. A data set of one batch still takes them: the next epoch begins."""
        moments: list[float] = []

        def watch(_: Any, __: int) -> bool:
            moments.append(time.perf_counter())
            return True

        self.train(4, watch)
        return (moments[-1] - moments[0]) / (len(moments) - 1)

    def _arguments(self, model: Any, steps: int, rows: int) -> Any:
        import torch
        from sentence_transformers import SentenceTransformerTrainingArguments
        from sentence_transformers.base.sampler import BatchSamplers

        sides = {name: "query" if name == "question" else "document" for name in self.columns if name != "label"}
        prompts = {name: packing.own_prompt(model, side) for name, side in sides.items()}
        # In-batch negatives: the documentation asks for batches without repeated texts. Where documents are fixed, a
        # repeated answer only counts twice in the softmax, and twenty answers would allow batches of twenty.
        unique = self.loss.in_batch and self.side == "full"
        return SentenceTransformerTrainingArguments(
            output_dir=str(self.task.scratch / "trainer"),
            max_steps=steps,
            per_device_train_batch_size=min(BATCH[self.side], rows),
            learning_rate=self.point["learning_rate"],
            lr_scheduler_type="constant_with_warmup" if self.task.limit == "validation" else "linear",
            warmup_steps=EVERY if self.task.limit == "validation" else steps // 10,
            bf16=trainer.use_bfloat16("auto"),
            use_cpu=not torch.cuda.is_available(),
            batch_sampler=BatchSamplers.NO_DUPLICATES if unique else BatchSamplers.BATCH_SAMPLER,
            router_mapping=sides if self.side == "query" else {},
            prompts={name: prompt for name, prompt in prompts.items() if prompt} or None,
            seed=self.task.seed,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )


class _Ends:
    """Looks at the validation every few steps, and ends a training that has stopped gaining there."""

    def __init__(self, training: _Training, *, validates: bool) -> None:
        self._training, self._validates = training, validates
        self.best: float | None = None
        self.best_step = 0

    def step(self, model: Any, step: int) -> bool:
        """Say whether to go on after a step."""
        if not self._validates or step % EVERY:
            return True
        found = self._training.task.validated(self._training.encoder(model.eval()))
        model.train()
        if self.best is None or found > self.best:
            self.best, self.best_step = found, step
        return step - self.best_step < PATIENCE * EVERY


def _with_fixed_documents(model: Any, task: Task) -> Any:
    """Return a model whose questions go through `model` and whose documents have the base's vectors."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule, Router

    vectors = torch.from_numpy(np.array(task.base_encoder.encode_documents(task.documents)))
    row = {text: number for number, text in enumerate(task.documents)}

    class Vectors(InputModule):  # type: ignore[misc]
        """Look the vectors of documents up."""

        def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Any]:  # noqa: ARG002
            return {"sentence_embedding": vectors[[row[text] for text in inputs]]}

        def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
            return features

        def save(self, output_path: str, *_: Any, **__: Any) -> None:
            raise NotImplementedError(output_path)

    router = Router.for_query_document(query_modules=list(model.children()), document_modules=[Vectors()])
    return SentenceTransformer(modules=[router], device=str(model.device), prompts=dict(model.prompts))


def _exact(similarity: Callable[..., Any]) -> Callable[..., Any]:
    """Return a similarity outside of autocast: steps of bfloat16 are coarse for cosines."""

    @wraps(similarity)
    def of(left: Any, right: Any) -> Any:
        import torch

        with torch.autocast(left.device.type, enabled=False):
            return similarity(left.float(), right.float())

    return of


def _mnrl(model: Any) -> Any:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.util import cos_sim

    return MultipleNegativesRankingLoss(model, similarity_fct=_exact(cos_sim))


def _cosent(model: Any) -> Any:
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss
    from sentence_transformers.util import pairwise_cos_sim

    return CoSENTLoss(model, similarity_fct=_exact(pairwise_cos_sim))


def _margin_mse(model: Any) -> Any:
    from sentence_transformers.sentence_transformer.losses import MarginMSELoss
    from sentence_transformers.util import pairwise_cos_sim

    return MarginMSELoss(model, similarity_fct=_exact(pairwise_cos_sim))


def _distill_kl(model: Any) -> Any:
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
    from sentence_transformers.util import pairwise_cos_sim

    # The default temperature of 1 is for dot products of long vectors: on cosines it flattens everything.
    return DistillKLDivLoss(model, similarity_fct=_exact(pairwise_cos_sim), temperature=0.05)


_THREE: Settings = {"negatives": NEGATIVES}
LOSSES: Mapping[str, Loss] = {
    "mnrl": Loss(columns.pairs_and_negatives, _mnrl, _THREE, [{"negatives": 0}, {"negatives": 1}], in_batch=True),
    "distill-kl": Loss(columns.scored, _distill_kl, _THREE),
    "margin-mse": Loss(columns.scored, _margin_mse, _THREE),
    "cosent": Loss(columns.graded, _cosent, {"labels": "hard"}, [{"labels": "teacher"}]),
}
