"""Score questions against answers and label them; tell which questions of the log no answer fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from expertune import data
from expertune.data import expansion
from expertune.pipeline.context import Context, repeats_of
from expertune.pipeline.keeper import Kept
from expertune.pipeline.stages import Stage
from expertune.records import (
    Dataset,
    Questions,
    Scores,
    SoftLabels,
    Unanswered,
)


def scored(context: Context, dataset: Dataset, questions: Kept[Questions]) -> Kept[Scores]:
    """Return what every expert gives every question and answer, judged by what it reads."""
    from expertune.score.stage import load_experts, score

    specs = context.config.score.experts
    experts = load_experts(specs, offline=context.config.run.offline)
    key = context.keeper.key(Stage.SCORE, questions.key, [expert.fingerprint for expert in experts])

    def of(answers: Dataset) -> Scores:
        with context.spread(load_experts, specs, experts) as spread:
            return score(answers, questions.value, spread, cache=context.store.items, report=context.forecast)

    read, repeats = context.read(dataset), repeats_of(dataset)
    if not read.questions and not repeats.stripped:
        return context.keeper.stage(Stage.SCORE, key, Scores, lambda: of(dataset))
    if repeats.stripped:
        key = context.keeper.key(Stage.SCORE, "stripped", sorted(repeats.stripped.items()), key)
    stripped = replace(dataset, documents=repeats.documents(dataset.documents))
    expanded = replace(dataset, documents=read.documents(dataset.documents))

    def make() -> Scores:
        plain = context.keeper.aside(Stage.SCORE, key, Scores, lambda: of(stripped))
        return expansion.joined(plain, of(expanded), questions.value.labelled)

    expanded_key = context.keeper.key(Stage.SCORE, "expanded", sorted(read.questions.items()), key)
    return context.keeper.stage(Stage.SCORE, expanded_key, Scores, make)


def found_again(
    context: Context, dataset: Dataset, questions: Kept[Questions], scores: Kept[Scores]
) -> tuple[Kept[Questions], Kept[Scores]]:
    """Leave out synthetic questions whose answer the panel ranks too low; `label.round_trip` 0 leaves out none."""
    from expertune.label.round_trip import round_trip

    most_rank = context.config.label.round_trip
    if not most_rank:
        return questions, scores
    kept = np.asarray(round_trip(questions.value, dataset, scores.value, most_rank=most_rank))
    items = tuple(item for item, keep in zip(questions.value.items, kept, strict=True) if keep)
    removed = {**questions.value.removed, "round trip": int((~kept).sum())}
    key = context.keeper.key("round trip of synthetic ones", scores.key, most_rank)
    return Kept(replace(questions.value, items=items, removed=removed), key), Kept(scores.value.of(kept), key)


def labelled(context: Context, dataset: Dataset, questions: Questions, scores: Kept[Scores]) -> Kept[SoftLabels]:
    """Return the targets of every question."""
    from expertune.label import strategies
    from expertune.label.stage import label

    section, base, listwise = context.config.label, context.base_name, context.config.train.listwise
    version = [strategies.VERSION] if section.strategy in strategies.SIMILARITIES else []
    key = context.keeper.key(Stage.LABEL, scores.key, section, base, listwise, *version)

    def make() -> SoftLabels:
        return label(dataset, questions, scores.value, section, base=base, listwise=listwise)

    return context.keeper.stage(Stage.LABEL, key, SoftLabels, make)


def find_unanswered(
    context: Context, dataset: Dataset, questions: Questions, scores: Scores, labels: SoftLabels
) -> Unanswered | None:
    """Find what users ask in the search log and no answer fits."""
    from expertune.label.unanswered import find

    encode, reference = context.base.encode_queries, data.reference_sentences()
    return find(dataset, questions, scores, labels.panel, encode, reference=reference)
