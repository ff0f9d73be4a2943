"""Seconds of a training step for each supervised pair: documents that stay, documents encoded, and pair by pair."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from speed_parts import texts
from speed_parts.measuring import Section, in_turn, ratio, row

DOCUMENTS = 96
"""Of the matrix: as many as can be encoded with gradients in a few gigabytes."""


def run(given: Namespace) -> Section:
    """Measure one optimiser step of each way, on the same base, batch size, texts and precision."""
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    from expertune import data
    from expertune.config import TrainSection
    from expertune.models import resolve
    from expertune.models.load import load_model
    from expertune.train.trainer import use_bfloat16

    section = TrainSection()
    folder = next((path for path in given.data if path.name == "stackfaq"), given.data[0])
    documents = texts.drawn(texts.read(folder, "corpus"), given.texts or DOCUMENTS)
    pool = texts.read(folder, "qa") or texts.read(folder, "queries")
    asked = (texts.drawn(pool, section.batch_size) * section.batch_size)[: section.batch_size]
    reference = list(data.reference_sentences())[: section.batch_size]
    source = resolve(section.base)
    autocast = use_bfloat16(section.precision)
    ours, whole, pairwise = (load_model(source) for _ in range(3))
    cosine = CosineSimilarityLoss(pairwise)
    partners = (documents * section.batch_size)[: len(asked)]
    labels = torch.rand(len(asked))
    steps: dict[str, Callable[[], Any]] = {
        "query-side": _step(
            ours, _matrix_loss(ours, asked, documents, reference, section, encoded=False), [asked, reference],
            torch.arange(len(asked)), section, autocast,
        ),
        "documents in the step": _step(
            whole, _matrix_loss(whole, asked, documents, reference, section, encoded=True), [asked, reference],
            torch.arange(len(asked)), section, autocast,
        ),
        "CosineSimilarityLoss": _step(pairwise, cosine, [asked, partners], labels, section, autocast),
    }  # fmt: skip
    seconds = in_turn(steps, given.turns)
    pairs = len(asked) * len(documents)
    per_pair = {name: [value / pairs for value in values] for name, values in seconds.items()}
    per_pair["CosineSimilarityLoss"] = [value / len(asked) for value in seconds["CosineSimilarityLoss"]]
    rows = [row(f"{name}, a step", "s", values) for name, values in seconds.items()]
    rows += [row(f"{name}, a supervised pair", "us", [1e6 * value for value in per_pair[name]]) for name in per_pair]
    own = per_pair["query-side"]
    return Section(
        {
            "base": section.base,
            "set": folder.name,
            "questions a step": len(asked),
            "documents": len(documents),
            "pairs a step": {"query-side": pairs, "documents in the step": pairs, "CosineSimilarityLoss": len(asked)},
            "bf16": autocast,
        },
        rows,
        [
            ratio("documents in the step / query-side", per_pair["documents in the step"], own, goal=10.0),
            ratio("CosineSimilarityLoss / query-side", per_pair["CosineSimilarityLoss"], own, goal=100.0),
        ],
        [
            "Both ratios grow with the number of documents. Query-side includes its reference sentences. Targets are "
            "random: what each way does for quality is measured by bench/quality.py (contenders expertune and cosine).",
        ],
    )


def _matrix_loss(
    model: Any, asked: list[str], documents: list[str], reference: list[str], section: Any, *, encoded: bool
) -> Any:
    """Return the listwise loss with all documents of the matrix: vectors that stay, or encoded with gradients."""
    from torch.nn import functional

    from expertune.train.losses import MatrixLoss
    from expertune.train.trainer import TEMPERATURE

    targets = torch.softmax(torch.randn(len(asked), len(documents), generator=torch.Generator().manual_seed(0)), dim=1)
    with torch.no_grad():
        fixed = torch.from_numpy(np.array(model.encode(documents, normalize_embeddings=True, show_progress_bar=False)))
        base = torch.from_numpy(np.array(model.encode(reference, normalize_embeddings=True, show_progress_bar=False)))
    columns = torch.arange(len(documents))

    def source(_: Any) -> tuple[Any, Any]:
        if not encoded:
            return columns, fixed
        vectors = model(model.preprocess(documents))["sentence_embedding"].float()
        return columns, functional.normalize(vectors, dim=1)

    return MatrixLoss(
        model, targets=targets, documents=source, objective=section.loss, temperature=TEMPERATURE,
        reference_vectors=base, reference_weight=section.reference_weight,
    )  # fmt: skip


def _step(
    model: Any, loss: Any, columns: list[list[str]], labels: Any, section: Any, autocast: bool
) -> Callable[[], None]:
    """Return a whole optimiser step: tokenise, forward, backward, update."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=section.learning_rate)
    model.train()

    def step() -> None:
        features = [model.preprocess(column) for column in columns]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            value = loss(features, labels)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step
