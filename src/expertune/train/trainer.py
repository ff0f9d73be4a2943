"""Tune the base model on soft labels with the sentence-transformers Trainer. Knows no experts and no test data."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from expertune.config import TrainSection
from expertune.errors import TrainingError
from expertune.models import ModelSource, packing
from expertune.models.folders import honour_umask
from expertune.models.hardware import computes_bfloat16
from expertune.models.load import load_model, one_side
from expertune.records import FloatArray, Progress, Report, ignore_progress
from expertune.train import checkpoints, distributed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

logger = logging.getLogger(__name__)

VERSION = 6
"""Raise when the same data and settings give other weights, so that no older tuning is reused."""

PASSES, FEWEST, MOST = 2, 50, 200
"""How often each question is tuned on, and the least and most steps for it, where a config sets no steps.

Measured on three development sets (docs/performance.md). Raise VERSION with them: keys hold only what a config sets.
"""

TEMPERATURE = 0.1
"""Of the student: lower ones gained no more in the domain on three sets, and cost general ability."""

LABELLED_SHARE = 0.25
"""Least share of labelled questions among those tuned on; they are repeated for it.

Their answers are certain, and beside thousands of spans and synthetic questions a batch would hardly hold one.
"""

LOGIT_ADJUSTMENT = 1.0
"""Weight of a document's log prior in its logits; 1 is what Menon et al. 2021 derive for a balanced error."""

WARMUP = 0.1
"""Share of the steps in which the learning rate rises: the common choice for sentence encoders."""

LOG_SHARE = 1.0
"""Questions of a search log in a pass for each other one: they are what users ask, and no span or synthetic one is."""

MOST_LOG_REPEATS = 12
"""How often a question of a search log comes in a pass at most: five lines must not be half of the training."""

_WEIGHTS = "weights.safetensors"
_LOSSES = "losses.json"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What one tuning sees: questions and their targets, documents, and reference sentences.

    `targets` is float32 `[Q, D]`, `active` `[D]`. With `columns` int64 `[Q, C]`, targets are `[Q, C]`, of these
    documents for each question. The vectors are the base's own, unit length:
    `document_vectors` `[D, dimension]`, `reference_vectors` `[len(reference), dimension]`. `labelled` `[Q]` tells which
    questions are labelled ones; None: they are not told apart.
    """

    questions: Sequence[str]
    documents: Sequence[str]
    targets: FloatArray
    active: NDArray[np.bool_]
    document_vectors: FloatArray
    reference: Sequence[str]
    reference_vectors: FloatArray
    columns: NDArray[np.int64] | None = None
    labelled: NDArray[np.bool_] | None = None
    logged: NDArray[np.bool_] | None = None


def planned(section: TrainSection, questions: int) -> TrainSection:
    """Return the section with its optimiser steps: those it sets, else PASSES over so many questions."""
    steps = math.ceil(PASSES * questions / section.batch_size)
    return section if section.steps else section.model_copy(update={"steps": min(max(steps, FEWEST), MOST)})


def tune(
    base: ModelSource,
    data: TrainingData,
    section: TrainSection,
    folder: Path,
    *,
    seed: int = 0,
    report: Report = ignore_progress,
) -> tuple[float, ...]:
    """Tune a copy of the base, save it as a plain SentenceTransformer in `folder` and return the logged losses.

    In query and tied mode documents have the base's vectors and only questions are encoded; in full mode both are. What
    lies beside `folder` lets a killed tuning go on and end with the same weights. Where memory runs out, the questions
    of a step are encoded in two halves.

    In one of several processes (see distributed.py), the others take their share of each batch.

    Raises:
        TrainingError: the loss stopped being a number, memory runs out with halves too, or a batch cannot be shared.
    """
    _check(section, data)
    section = planned(section, len(data.questions))
    part = folder.with_name(f"{folder.name}.part")
    if (folder / _LOSSES).exists():
        return tuple(json.loads((folder / _LOSSES).read_text(encoding="utf-8")))
    for halves in (False, True):
        try:
            job = (base, data, section, seed, part, checkpoints.newest(part), halves)
            distributed.share(job)
            model, losses = _train(*job, report=report)
            break
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            # One of several processes cannot begin again alone.
            if halves or distributed.count() > 1:
                tried = ", in halves as well" if halves else ""
                raise TrainingError(
                    f"memory ran out with batches of {section.batch_size} questions{tried}",
                    place="train",
                    hint="Lower train.batch_size, or tune a smaller train.base; everything before training is kept.",
                ) from None
            logger.warning("memory ran out in training: each batch is now split into two halves")
    if section.lora_rank:
        _merge_adapters(model)
    _save(model, part / "model")
    (part / "model" / _LOSSES).write_text(json.dumps(losses), encoding="utf-8")
    (part / "model").rename(folder)
    shutil.rmtree(part)
    return losses


def _out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out: a GPU has an error of its own, of a processor's only the words tell."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def follow() -> None:
    """Take this process's share of every training that the leading process begins, until it needs no more."""
    for job in distributed.jobs():
        _train(*job, report=ignore_progress)


def _train(
    base: ModelSource,
    data: TrainingData,
    section: TrainSection,
    seed: int,
    folder: Path,
    newest: Path | None,
    halves: bool,
    *,
    report: Report,
) -> tuple[SentenceTransformer, tuple[float, ...]]:
    """Return the tuned model and the logged losses; checkpoints lie in `folder`, and `newest` is gone on from."""
    from transformers import set_seed
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    set_seed(seed)
    model = one_side(load_model(base), "query")
    if section.lora_rank:
        _add_adapters(model, section.lora_rank)
    _freeze(model, section.frozen_layers)
    rows = _training_rows(data, section.batch_size)
    drawn = None
    if section.reference_weight > 0 and len(data.reference) > 0:
        drawn = np.random.default_rng(seed).integers(len(data.reference), size=len(data.questions))
    trainer = _trainer_class()(
        model=model,
        args=_arguments(section, len(rows), folder, packing.own_prompt(model, "query"), seed=seed, halves=halves),
        train_dataset=_dataset(data, rows, drawn),
        loss=_loss(model, data, section, rows, drawn),
        callbacks=[_watcher(section.steps, report), checkpoints.keeper()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    return model, tuple(float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)


def _arguments(
    section: TrainSection, rows: int, folder: Path, query_prompt: str | None, *, seed: int, halves: bool
) -> Any:
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    batch = min(section.batch_size, rows) // distributed.count()
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=section.steps,
        per_device_train_batch_size=(batch + 1) // 2 if halves else batch,
        gradient_accumulation_steps=2 if halves else 1,
        learning_rate=section.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(WARMUP * section.steps),
        bf16=use_bfloat16(section.precision),
        use_cpu=not torch.cuda.is_available(),
        prompts={"question": query_prompt, "reference": query_prompt} if query_prompt else None,
        seed=seed,
        data_seed=seed,
        dataloader_drop_last=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=list(section.report_to) or "none",
        disable_tqdm=True,
    )


def _loss(
    model: SentenceTransformer,
    data: TrainingData,
    section: TrainSection,
    rows: Sequence[int],
    drawn: NDArray[np.int64] | None,
) -> Any:
    """Return the loss; `drawn` `[Q]` is the reference sentence that goes with each question, None: there are none."""
    import torch

    from expertune.train.losses import MatrixLoss

    return MatrixLoss(
        model,
        targets=torch.from_numpy(data.targets),
        documents=_document_source(model, data, section),
        objective=section.loss,
        temperature=TEMPERATURE,
        reference_vectors=None if drawn is None else torch.from_numpy(data.reference_vectors[drawn]),
        reference_weight=section.reference_weight,
        candidates=None if data.columns is None else torch.from_numpy(np.asarray(data.columns)),
        log_prior=_log_prior(data, rows) if section.listwise else None,
    )


def _dataset(data: TrainingData, rows: Sequence[int], drawn: NDArray[np.int64] | None) -> Any:
    """Return what the Trainer reads: a question a row, the reference sentence that goes with it, and its row number."""
    from datasets import Dataset

    columns: dict[str, list[Any]] = {"question": [data.questions[row] for row in rows]}
    if drawn is not None:
        columns["reference"] = [data.reference[drawn[row]] for row in rows]
    columns["label"] = list(rows)
    return Dataset.from_dict(columns)


def _save(model: SentenceTransformer, folder: Path) -> None:
    """Save without a model card; a full disk is an OSError, as with any other file."""
    from safetensors import SafetensorError

    try:
        model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
        honour_umask(folder)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _trainer_class() -> Any:
    from safetensors.torch import load_file, save_file
    from sentence_transformers import SentenceTransformerTrainer

    class QuietTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
        """The library's trainer without its automatic model card, which encodes examples before the first step.

        Its checkpoints hold the weights as one file, adapters among them, and no pickled arguments.
        """

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """Add nothing: the model card is written from the evaluation, after it."""

        def store_flos(self) -> None:
            """Count nothing: the count would wait for all processes, and only one writes checkpoints, by its clock."""

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            if not self.args.should_save:  # another process does
                return
            checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            checkpoints.write(checkpoint, lambda: super(QuietTrainer, self)._save_checkpoint(model, trial))

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file({name: value.contiguous() for name, value in self.model.state_dict().items()}, folder / _WEIGHTS)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ARG002
            self.model.load_state_dict(load_file(Path(resume_from_checkpoint) / _WEIGHTS))

    return QuietTrainer


def _check(section: TrainSection, data: TrainingData) -> None:
    sums = data.targets.sum(axis=1)
    if section.listwise and not (sums > 0).all():
        raise TrainingError(
            "some questions have no target mass at all",
            hint="This is a fault in the labels: check score.experts.",
        )
    if not np.isfinite(data.targets).all() or data.targets.min() < 0 or data.targets.max() > 1 + 1e-5:
        raise TrainingError("labels must lie in [0, 1]", hint="Check the label strategy and the experts' scores.")
    if section.batch_size % distributed.count():
        raise TrainingError(
            f"a batch of {section.batch_size} questions cannot be shared evenly by {distributed.count()} processes",
            hint="Set train.batch_size to a multiple of the number of processes.",
        )


def _training_rows(data: TrainingData, batch_size: int) -> list[int]:
    """Return question rows; labelled and logged ones come again for their share, all until a batch is full."""
    rows = np.arange(len(data.questions))
    logged = np.zeros(len(rows), dtype=np.bool_) if data.logged is None else data.logged
    if data.labelled is not None and data.labelled.any() and not data.labelled.all():
        labelled, others = rows[data.labelled], rows[~data.labelled & ~logged]
        least = round(LABELLED_SHARE / (1.0 - LABELLED_SHARE) * len(others))
        rows = np.concatenate([np.resize(labelled, max(least, len(labelled))), others, rows[logged]])
    if logged.any() and not logged.all():
        asked, others = rows[logged[rows]], rows[~logged[rows]]
        wanted = min(round(LOG_SHARE * len(others)), MOST_LOG_REPEATS * len(asked))
        rows = np.concatenate([others, np.resize(asked, max(wanted, len(asked)))])
    repeats = max(1, math.ceil(batch_size / len(rows)))
    return [int(row) for row in np.tile(rows, repeats)]


def _log_prior(data: TrainingData, rows: Sequence[int]) -> Tensor:
    """Return the log of each document's share of the target mass of all training rows `[D]`, relative to the mean.

    A document that hardly any mass leads to counts as one with a tenth of the mean: a softmax still sees it.
    """
    import torch

    times = np.bincount(rows, minlength=len(data.questions)).astype(np.float32)
    if data.columns is None:
        mass: FloatArray = times @ data.targets
    else:
        weights = (times[:, None] * data.targets).ravel()
        mass = np.bincount(data.columns.ravel(), weights=weights, minlength=len(data.documents)).astype(np.float32)
    relative = mass / mass[np.asarray(data.active)].mean()
    return torch.from_numpy((LOGIT_ADJUSTMENT * np.log(np.maximum(relative, 0.1))).astype(np.float32))


def use_bfloat16(precision: str) -> bool:
    """Say whether bfloat16 autocast is used: on request, or by itself where the processor or GPU computes in it."""
    return computes_bfloat16() if precision == "auto" else precision == "bfloat16"


def _document_source(model: Any, data: TrainingData, section: TrainSection) -> Any:
    import torch

    if section.mode == "full":
        return _EncodedDocuments(model, data, section)
    vectors, pool = torch.from_numpy(data.document_vectors), _pool(data)

    def fixed(rows: Tensor) -> tuple[Tensor, Tensor]:
        columns = pool(rows)
        return columns, vectors[columns].to(rows.device)

    return fixed


def _pool(data: TrainingData) -> Callable[[Tensor], Tensor]:
    """Return what gives the documents that question rows are judged against, ascending: active ones, or candidates."""
    import torch

    active = torch.from_numpy(np.asarray(data.active))
    if data.columns is None:
        everything = active.nonzero()[:, 0]
        return lambda _: everything
    candidates = torch.from_numpy(np.asarray(data.columns))

    def of(rows: Tensor) -> Tensor:
        columns: Tensor = torch.unique(candidates[rows.cpu()])
        kept: Tensor = columns[active[columns]]
        return kept

    return of


class _EncodedDocuments:
    """Encode a batch's likely answers and a random rest of what its questions are judged against, with gradients."""

    def __init__(self, model: Any, data: TrainingData, section: TrainSection) -> None:
        import torch

        self.model = model
        self.texts = data.documents
        self.pool = _pool(data)
        self.limit = max(2 * section.batch_size, 64)
        best = data.targets.argmax(axis=1)
        self.best = torch.from_numpy(best if data.columns is None else data.columns[np.arange(len(best)), best])

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        import torch
        from torch.nn import functional

        columns, pool = torch.unique(self.best[rows.cpu()]), self.pool(rows)
        if len(pool) <= self.limit:
            columns = pool
        else:
            extra = pool[torch.randperm(len(pool))[: self.limit - len(columns)]]
            columns = torch.unique(torch.cat([columns, extra]))
        prompt = packing.own_prompt(self.model, "document")
        features = self.model.preprocess([self.texts[int(column)] for column in columns], prompt=prompt)
        features = {key: value.to(rows.device) if hasattr(value, "to") else value for key, value in features.items()}
        vectors = packing.embed(self.model, features).float()
        return columns, functional.normalize(vectors[:, : self.model.truncate_dim], dim=1)


def _watcher(steps: int, report: Report) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc]
        """Tell the progress and stop at the first loss that is not a number."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
            value = (logs or {}).get("loss")
            if value is None:
                return
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"the loss became {value} at step {state.global_step}",
                    place="train",
                    hint='Lower train.learning_rate or set train.precision = "float32"; all before training is kept.',
                )
            report(Progress("train", state.global_step, steps, f"loss {float(value):.3f}"))

    return Watcher()


def _add_adapters(model: Any, rank: int) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    model[0].model = get_peft_model(model[0].model, config)


def _freeze(model: Any, share: float) -> None:
    """Keep the embeddings and the lower `share` of the layers as they are: they hold the language, not the task.

    What no gradient passes is not computed backwards either. A model without layers is tuned as a whole.
    """
    from torch.nn import ModuleList

    lists = {name: part for name, part in model[0].named_modules() if isinstance(part, ModuleList)}
    # A layer may hold a longer list itself: its experts.
    outer = [part for name, part in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    layers = max(outer, key=len, default=())
    if not share or not layers:
        return
    upper = {id(weight) for layer in layers[math.floor(share * len(layers)) :] for weight in layer.parameters()}
    for weight in model[0].parameters():
        if id(weight) not in upper:
            weight.requires_grad_(False)


def _merge_adapters(model: Any) -> None:
    """Fold the adapters into the weights, so that the result is a plain model for everybody."""
    model[0].model = model[0].model.merge_and_unload()


def interpolate(base: SentenceTransformer, tuned: SentenceTransformer, weight: float) -> SentenceTransformer:
    """Return a copy of the base moved to the tuned model by a weight in [0, 1] (WiSE-FT, Wortsman et al. 2022)."""
    import copy

    import torch

    mixed = copy.deepcopy(base)
    target = dict(_tensors(tuned))
    with torch.no_grad():
        for name, value in _tensors(mixed):
            if value.is_floating_point():
                value.lerp_(target[name].to(value.dtype), weight)
    return mixed


def _tensors(model: SentenceTransformer) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers, each once: one that two modules share has two names in the state."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def assemble(queries: SentenceTransformer, documents: SentenceTransformer | None, folder: Path) -> None:
    """Save one model: a Router when questions and documents have encoders of their own, else a plain one.

    `encode_query` and `encode_document` pick their encoder and prompt; plain `encode` takes the document side. Prompts,
    dimension and similarity are those of the two models.
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
        prompts = {
            **documents.prompts,
            "query": packing.own_prompt(queries, "query") or "",
            "document": packing.own_prompt(documents, "document") or "",
        }
        model = SentenceTransformer(
            modules=[router],
            prompts=prompts,
            default_prompt_name=documents.default_prompt_name,
            similarity_fn_name=documents.similarity_fn_name,
            truncate_dim=documents.truncate_dim,
        )
    _save(model, folder)
