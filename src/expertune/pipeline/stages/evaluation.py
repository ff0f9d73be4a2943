"""Measure base and tuned model, and what a user could take instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from expertune import data, models
from expertune.config import keeps_documents
from expertune.pipeline.context import Context
from expertune.pipeline.keeper import Kept
from expertune.pipeline.stages import Stage
from expertune.records import (
    Alternatives,
    BenchmarkScore,
    CrossValidation,
    Dataset,
    Evaluation,
    JudgedSet,
    PanelDiagnostics,
    Question,
    Questions,
    Role,
    SimilarityChange,
    TunedModel,
)

if TYPE_CHECKING:
    from expertune.models.encoder import CachedEncoder
    from expertune.pipeline.alternatives import Model


def evaluated(
    context: Context,
    dataset: Dataset,
    loaded: data.Loaded,
    model: Kept[TunedModel],
    encoders: Mapping[str, CachedEncoder],
    diagnostics: PanelDiagnostics,
    own: Kept[CrossValidation] | None,
) -> Kept[Evaluation]:
    """Return the comparison of base and tuned on every judged set, and the verdict."""
    from expertune.evaluate import verdict
    from expertune.evaluate.stage import evaluate

    seed, tolerance = context.config.run.seed, context.config.evaluate.general_tolerance
    key = context.keeper.key(
        Stage.EVALUATE,
        verdict.VERSION,
        model.key,
        seed,
        tolerance,
        loaded.judged_fingerprint,
        asdict(diagnostics),
    )
    if own is not None:
        key = context.keeper.key(Stage.EVALUATE, key, own.key)

    def make() -> Evaluation:
        plain = [item for item in loaded.judged if item.role is Role.DOMAIN] if context.config.data.expand else []
        sets = [context.indexed(dataset).judged(item) for item in loaded.judged]
        return evaluate(
            encoders,
            sets,
            context.forecast,
            tolerance=tolerance,
            seed=seed,
            panel=diagnostics,
            plain=plain,
            own=own.value if own is not None else None,
        )

    evaluation = context.keeper.stage(Stage.EVALUATE, key, Evaluation, make)
    similarities = tuple(similarity(context, path, encoders, model.key) for path in context.config.evaluate.sts)
    return replace(evaluation, value=replace(evaluation.value, similarities=similarities))


def similarity(context: Context, path: str, encoders: Mapping[str, CachedEncoder], model_key: str) -> SimilarityChange:
    """Compare base and tuned on one file of scored sentence pairs."""
    from expertune.evaluate.sts import similarity_change

    pairs = data.read_scored_pairs(Path(path))
    seed = context.config.run.seed
    key = context.keeper.key("sts", model_key, seed, asdict(pairs))

    def make() -> SimilarityChange:
        return similarity_change(pairs, encoders["base"], encoders["tuned"], seed=seed)

    return context.keeper.aside("sts", key, SimilarityChange, make)


def benchmarked(
    context: Context, encoders: Mapping[str, CachedEncoder], model_key: str
) -> tuple[tuple[BenchmarkScore, ...], list[Path]]:
    """Run base and tuned through mteb; return the scores, and the folders with what it writes in its own format."""
    from expertune.evaluate import benchmarks

    revisions = {"base": context.base_expert.fingerprint, "tuned": model_key}
    scores: list[BenchmarkScore] = []
    folders: list[Path] = []
    for task in benchmarks.find(context.config.evaluate.mteb, offline=context.config.run.offline):
        for name, encoder in encoders.items():
            run = partial(benchmarks.run, task, encoder, name=name, fingerprint=revisions[name])
            key = context.keeper.key("mteb", task.fingerprint, task.task.metadata.name, name, revisions[name])
            folders.append(context.store.obtain("mteb", key, run).folder)
            scores += benchmarks.scores(folders[-1], name)
    return tuple(scores), folders


def alternatives_to(
    context: Context,
    dataset: Dataset,
    questions: Questions,
    loaded: data.Loaded,
    model: Kept[TunedModel],
    encoders: Mapping[str, CachedEncoder],
) -> Alternatives | None:
    """Measure what a user could take instead on the same held-out questions; None without a domain set."""
    from expertune.evaluate.alternatives import VERSION
    from expertune.pipeline.alternatives import Model

    judged = [item for item in loaded.judged if item.role is Role.DOMAIN]
    if not judged:
        return None
    key = context.keeper.key("alternatives", VERSION, model.key, context.config.run.seed, loaded.judged_fingerprint)

    def make() -> Alternatives:
        size, kept = models.megabytes(str(model.value.folder)), keeps_documents(model.value.mode)
        return set_beside(context, dataset, questions.items, judged, Model("tuned", encoders["tuned"], size, kept))

    return context.keeper.stage("alternatives", key, Alternatives, make).value


def set_beside(
    context: Context, dataset: Dataset, questions: Sequence[Question], judged: Sequence[JudgedSet], tuned: Model | None
) -> Alternatives:
    """Measure base, panel and search by words beside the tuned model, or beside the base where there is none.

    Without a judged set it is the labelled questions that are searched, each in an index without it.
    """
    from expertune.pipeline.alternatives import Model, Panel
    from expertune.pipeline.ways import measure

    asked, answers = ([item.text for item in items] for items in (questions, dataset.documents))
    panel = Panel.of(context.config, asked, answers, cache=context.store.items, report=context.report)
    base = Model(context.base_name, context.base, models.megabytes(context.config.train.base), kept=True)
    expand, seed = context.config.data.expand, context.config.run.seed
    return measure(base, tuned, panel, dataset, judged, context.report, expand=expand, seed=seed)
