"""Tune the base model on soft labels with the sentence-transformers Trainer. Knows no experts and no test data."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from expertune.config import TrainSection
from expertune.errors import TrainingError
from expertune.models import ModelSource
from expertune.records import FloatArray, Progress, Report, ignore_progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What one tuning sees: questions and their targets, documents, and unrelated sentences.

    `targets` is float32 `[Q, D]`, `active` `[D]`. The vectors are the base's own, unit length:
    `document_vectors` `[D, dimension]`, `unrelated_vectors` `[len(unrelated), dimension]`.
    """

    questions: Sequence[str]
    documents: Sequence[str]
    targets: FloatArray
    active: NDArray[np.bool_]
    document_vectors: FloatArray
    unrelated: Sequence[str]
    unrelated_vectors: FloatArray


def load_encoder(source: ModelSource) -> SentenceTransformer:
    """Load a sentence-transformers model from a folder or hub id; never runs code that comes with it."""
    from sentence_transformers import SentenceTransformer

    local = Path(source.location).exists()
    return SentenceTransformer(source.location, device=None, local_files_only=local, trust_remote_code=False)


def tune(
    base: ModelSource,
    data: TrainingData,
    section: TrainSection,
    folder: Path,
    *,
    report: Report = ignore_progress,
) -> tuple[float, ...]:
    """Tune a copy of the base, save it as a plain SentenceTransformer in `folder` and return the logged losses.

    In query mode the documents keep the base's vectors and only questions are encoded; in full mode both are.

    Raises:
        TrainingError: the loss stopped being a number.
    """
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments
    from transformers import set_seed
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    from expertune.losses import MatrixLoss

    _check(section, data)
    set_seed(section.seed)
    model = load_encoder(base)
    if section.lora_rank:
        _add_adapters(model, section.lora_rank)
    rows = _training_rows(data, section)
    anchored = section.anchor_weight > 0 and len(data.unrelated) > 0
    order = (
        np.random.default_rng(section.seed).integers(len(data.unrelated), size=len(data.questions))
        if anchored
        else None
    )
    columns: dict[str, list[Any]] = {"question": [data.questions[row] for row in rows]}
    if order is not None:
        columns["unrelated"] = [data.unrelated[order[row]] for row in rows]
    columns["label"] = list(rows)
    loss = MatrixLoss(
        model,
        targets=torch.from_numpy(data.targets),
        documents=_document_source(model, data, section),
        objective=section.loss,
        temperature=section.temperature,
        unrelated_vectors=None if order is None else torch.from_numpy(data.unrelated_vectors[order]),
        anchor_weight=section.anchor_weight,
    )
    watcher = _watcher(section.steps, report)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            max_steps=section.steps,
            per_device_train_batch_size=min(section.batch_size, len(rows)),
            learning_rate=section.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=math.ceil(section.warmup * section.steps),
            bf16=use_bf16(section.bf16),
            use_cpu=not torch.cuda.is_available(),
            seed=section.seed,
            data_seed=section.seed,
            dataloader_drop_last=True,
            dataloader_pin_memory=torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = _trainer_class()(
            model=model, args=arguments, train_dataset=_dataset(columns), loss=loss, callbacks=[watcher]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.train()
    if section.lora_rank:
        _merge_adapters(model)
    model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
    return tuple(watcher.losses)


def _trainer_class() -> Any:
    from sentence_transformers import SentenceTransformerTrainer

    class QuietTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
        """The library's trainer without its automatic model card, which encodes examples before the first step."""

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """Add nothing: the model card is written from the evaluation, after it."""

    return QuietTrainer


def _check(section: TrainSection, data: TrainingData) -> None:
    from expertune.losses import LISTWISE_OBJECTIVES

    sums = data.targets.sum(axis=1)
    if section.loss in LISTWISE_OBJECTIVES and not (sums > 0).all():
        raise TrainingError(
            "some questions have no target mass at all",
            hint="This is a fault in the labels: check score.experts.",
        )
    if not np.isfinite(data.targets).all() or data.targets.min() < 0 or data.targets.max() > 1 + 1e-5:
        raise TrainingError("labels must lie in [0, 1]", hint="Check the label strategy and the experts' scores.")


def _training_rows(data: TrainingData, section: TrainSection) -> list[int]:
    """Return question rows; a set smaller than a batch is repeated until a batch is full."""
    count = len(data.questions)
    return list(range(count)) * max(1, math.ceil(section.batch_size / count))


def _dataset(columns: dict[str, list[Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(columns)


def use_bf16(choice: str) -> bool:
    """Say whether bfloat16 autocast is used: on request, or by itself where the processor or GPU computes in it."""
    import torch

    if choice != "auto":
        return choice == "on"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _native_bf16()


def _native_bf16() -> bool:
    """Whether the processor has bfloat16 instructions: without them autocast is emulated and slower than float32."""
    import torch

    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capability and capability()) or bool(torch.cpu._is_amx_tile_supported())


def _document_source(model: Any, data: TrainingData, section: TrainSection) -> Any:
    import torch

    active = torch.from_numpy(np.flatnonzero(data.active))
    if section.mode == "query":
        vectors = torch.from_numpy(data.document_vectors)[active]

        def fixed(rows: Tensor) -> tuple[Tensor, Tensor]:
            return active, vectors.to(rows.device)

        return fixed
    return _EncodedDocuments(model, data, active, section)


class _EncodedDocuments:
    """Encode a batch's likely answers and a random rest of the active documents, with gradients."""

    def __init__(self, model: Any, data: TrainingData, active: Tensor, section: TrainSection) -> None:
        import torch

        self.model = model
        self.texts = data.documents
        self.active = active
        self.limit = max(2 * section.batch_size, 64)
        self.best = torch.from_numpy(data.targets.argmax(axis=1))
        self.random = torch.Generator().manual_seed(section.seed)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        import torch
        from torch.nn import functional

        columns = torch.unique(self.best[rows.cpu()])
        if len(self.active) <= self.limit:
            columns = self.active
        else:
            extra = self.active[torch.randperm(len(self.active), generator=self.random)[: self.limit - len(columns)]]
            columns = torch.unique(torch.cat([columns, extra]))
        features = self.model.preprocess([self.texts[int(column)] for column in columns])
        features = {key: value.to(rows.device) if hasattr(value, "to") else value for key, value in features.items()}
        vectors = self.model(features)["sentence_embedding"].float()
        return columns, functional.normalize(vectors, dim=1)


def _watcher(steps: int, report: Report) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc]
        """Tell the progress and stop at the first loss that is not a number."""

        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
            value = (logs or {}).get("loss")
            if value is None:
                return
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"the loss became {value} at step {state.global_step}",
                    place="train",
                    hint='Lower train.learning_rate or set train.bf16 = "off"; everything before training is kept.',
                )
            self.losses.append(float(value))
            report(Progress("train", state.global_step, steps, f"loss {float(value):.3f}"))

    return Watcher()


def _add_adapters(model: Any, rank: int) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    model[0].model = get_peft_model(model[0].model, config)


def _merge_adapters(model: Any) -> None:
    """Fold the adapters into the weights, so that the result is a plain model for everybody."""
    model[0].model = model[0].model.merge_and_unload()


def interpolate(base: SentenceTransformer, tuned: SentenceTransformer, factor: float) -> SentenceTransformer:
    """Return a copy of the base moved `factor` of the way to the tuned weights (WiSE-FT, Wortsman et al. 2022)."""
    import copy

    import torch

    mixed = copy.deepcopy(base)
    target = tuned.state_dict()
    with torch.no_grad():
        for name, value in mixed.state_dict().items():
            if value.is_floating_point():
                value.lerp_(target[name].to(value.dtype), factor)
    return mixed


def assemble(queries: SentenceTransformer, documents: SentenceTransformer | None, folder: Path) -> None:
    """Save one model: a Router when questions and documents have encoders of their own, else a plain one.

    `encode_query` and `encode_document` pick their encoder; plain `encode` takes the document side.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    model = queries
    if documents is not None:
        router = Router.for_query_document(
            query_modules=list(queries.children()),
            document_modules=list(documents.children()),
            default_route="document",
        )
        model = SentenceTransformer(modules=[router], similarity_fn_name="cosine")
    model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
