"""Make the questions that a run trains on: labelled, written, cut out as spans, edited, and those of the search log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from expertune import data
from expertune.data import HeldOut, leakage, log_choice
from expertune.data.inspection import read_by
from expertune.data.search_log import SearchLog, read_log
from expertune.data.wording import normalise
from expertune.pipeline.context import Context
from expertune.pipeline.keeper import Kept
from expertune.pipeline.stages import Stage
from expertune.records import (
    Dataset,
    Provenance,
    Question,
    Questions,
)

logger = logging.getLogger(__name__)


def augmented(context: Context, dataset: Kept[Dataset], held_out: HeldOut) -> Kept[Questions]:
    """Return the questions that are trained on: labelled, written by generators, cut out as spans; or those edited."""
    from expertune.augment.stage import augment, load_generators

    section, seed = context.config.augment, context.config.run.seed
    if section.questions:
        return edited(context, dataset, held_out)
    specs = section.generators if section.per_answer else ()
    generators = load_generators(specs, offline=context.config.run.offline)
    fingerprints = [generator.fingerprint for generator in generators]
    texts = [document.text for document in dataset.value.documents]
    read = read_by(context.config.train.base, texts) if section.spans else texts
    # Another base makes other questions only where it reads less of an answer.
    cut = [[row, len(part)] for row, (part, text) in enumerate(zip(read, texts, strict=True)) if part != text]
    key = context.keeper.key(Stage.AUGMENT, dataset.key, section, seed, fingerprints, *([cut] if cut else []))

    def make() -> Questions:
        with context.spread(load_generators, specs, generators) as spread:
            return augment(
                dataset.value,
                section,
                spread,
                held_out=held_out,
                cache=context.store.items,
                report=context.forecast,
                seed=seed,
                read=read,
            )

    return context.keeper.stage(Stage.AUGMENT, key, Questions, make)


def edited(context: Context, dataset: Kept[Dataset], held_out: HeldOut) -> Kept[Questions]:
    """Take the questions that a person edited instead of making any."""
    from expertune.augment.edited import read_edited

    items, repeats = held_out.drop(read_edited(Path(context.config.augment.questions), dataset.value))
    key = context.keeper.key(Stage.AUGMENT, "edited", dataset.key, [asdict(item) for item in items])

    def make() -> Questions:
        return Questions((*dataset.value.questions, *items), {"held-out": repeats} if repeats else {})

    return context.keeper.stage(Stage.AUGMENT, key, Questions, make)


def read_searches(context: Context, dataset: Dataset, loaded: data.Loaded) -> SearchLog:
    """Read what users asked, without what is labelled or held out; a run without a log has an empty one.

    Hard labels learn nothing from a question that nobody labelled, so they are given none.
    """
    if not context.config.data.log or context.config.label.strategy == "hard":
        return SearchLog(())
    answers = {document.id: document.text for document in dataset.documents}
    log = read_log([Path(path) for path in context.config.data.log], answers=answers, same=loaded.same)
    log = log.without(loaded.held_out.repeated_by(log.texts), "held-out")
    labelled = {normalise(question.text) for question in dataset.questions}
    log = log.without([normalise(text) in labelled for text in log.texts], "labelled question")
    return log_choice.pool(log, seed=context.config.run.seed)


def with_searches(context: Context, questions: Kept[Questions], log: SearchLog, held_out: HeldOut) -> Kept[Questions]:
    """Add the questions of the log, chosen for spread where there are too many."""
    if not log.lines:
        return questions
    log = log.without(repeats(context, log.texts, held_out), leakage.RULE)
    if len(log.questions) > log_choice.MOST_QUESTIONS:
        log = log_choice.choose(log, context.base.encode_queries(log.texts), seed=context.config.run.seed)
    for note in log.notes:
        logger.log(logging.INFO if log.questions else logging.WARNING, "log: %s", note)
    asked = tuple(
        Question(item.text, (), Provenance.LOG, count=item.count, clicks=item.clicks) for item in log.questions
    )
    removed = {**questions.value.removed, **{f"log: {rule}": count for rule, count in log.removed.items()}}
    whole = replace(questions.value, items=(*questions.value.items, *asked), removed=removed)
    clicks = {item.text: item.clicks for item in asked if item.clicks}
    return Kept(whole, context.keeper.key("log", questions.key, log.texts, *([clicks] if clicks else [])))


def apart_by_meaning(context: Context, dataset: Kept[Dataset], held_out: HeldOut) -> Kept[Dataset]:
    """Leave out labelled questions that mean the same as a held-out one, and say so."""
    copies = repeats(context, [question.text for question in dataset.value.questions], held_out)
    if not any(copies):
        return dataset
    return Kept(leakage.without(dataset.value, copies), context.keeper.key("leaks", dataset.key, copies))


def counted_out(context: Context, questions: Kept[Questions], held_out: HeldOut) -> Kept[Questions]:
    """Leave out synthetic questions that mean the same as a held-out one; they are counted like other rules'."""
    copies = repeats(context, [question.text for question in questions.value.items], held_out)
    # The key changes only where something goes: another base does not have everything scored again.
    if not any(copies):
        return questions
    return Kept(leakage.counted_out(questions.value, copies), context.keeper.key("leaks", questions.key, copies))


def repeats(context: Context, texts: Sequence[str], held_out: HeldOut) -> tuple[bool, ...]:
    """Tell which texts the base model can hardly tell from a held-out question; kept like an artefact."""
    if not held_out.wording:
        return (False,) * len(texts)
    settings = (context.base_expert.fingerprint, leakage.MEANING_SIMILARITY)
    key = context.keeper.key("leaks", *settings, texts, held_out.texts)

    def make() -> tuple[bool, ...]:
        return held_out.meant_by(texts, context.base.encode_queries, reference=data.reference_sentences())

    return context.keeper.aside("leaks", key, tuple[bool, ...], make)
