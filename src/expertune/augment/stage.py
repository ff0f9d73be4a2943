"""Make training questions: written by small language models, cut out of answers, cleaned. No labels.

Spans of the answers cost nothing and ask about all of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from expertune import models
from expertune.augment.filters import Draft, clean, tally, usable
from expertune.augment.plan import Planned, plan, spans_each
from expertune.augment.spans import spans
from expertune.augment.writing import write
from expertune.config import AugmentSection, PluginSpec
from expertune.data.leakage import HeldOut
from expertune.errors import PluginError
from expertune.models.cache import ItemCache, MemoryCache
from expertune.models.plugins import Generator
from expertune.models.registry import all_used, log_used, make_all, refuse_role
from expertune.records import Dataset, Question, Questions, Report, ignore_progress

# Fewer useless texts than this may be chance.
_TELLING = 6


def augment(
    dataset: Dataset,
    section: AugmentSection,
    generators: Sequence[Generator],
    *,
    held_out: HeldOut | None = None,
    cache: ItemCache | None = None,
    report: Report = ignore_progress,
    seed: int = 0,
    read: Sequence[str] = (),
) -> Questions:
    """Return the labelled questions, then synthetic ones, then spans, and how many each rule removed.

    Args:
        dataset: Questions are written for its documents.
        section: How many, by whom.
        generators: Those of `section.generators`, in order, or none; names must differ.
        held_out: Questions that none may nearly repeat; default: none.
        cache: Where raw texts are kept, batch by batch.
        report: Told after every batch.
        seed: Of sampling.
        read: The part of each answer that spans are cut from; default: all of it. What the base does not read of an
            answer cannot be learned to be found.

    Raises:
        PluginError: a generator returned a wrong number of texts, or nothing that can be used.
    """
    cache = cache if cache is not None else MemoryCache()
    shares = [spec.share for spec, _ in zip(section.generators, generators, strict=True)] if generators else []
    planned = plan(dataset, section, shares)
    by_position: dict[int, Draft] = {}
    for number, generator in enumerate(generators):
        requests = {index: item.request for index, item in enumerate(planned) if item.generator == number}
        try:
            texts = write(
                generator,
                requests,
                seed=seed,
                budget_seconds=section.budget_seconds,
                cache=cache,
                report=report,
            )
        finally:
            log_used(generator)
        drafts = {index: _draft(planned[index], text, generator) for index, text in texts.items()}
        _check_usable(generator, list(drafts.values()))
        by_position |= drafts
    written = [by_position[index] for index in sorted(by_position)]
    questions, removed = clean(
        [*written, *_spans(dataset, section, seed, read)], dataset.questions, held_out=held_out or HeldOut()
    )
    together = _interchangeable(dataset)
    leading = (replace(item, document_ids=together.get(item.document_ids[0], item.document_ids)) for item in questions)
    late = {"over budget": len(planned) - len(written)}
    return Questions((*dataset.questions, *leading), tally(late, removed), all_used(generators))


def load_generators(specs: Sequence[PluginSpec], *, offline: bool) -> tuple[Generator, ...]:
    """Make the generators: find each one's model and plug-in. Labels that occur twice are numbered.

    Raises:
        ModelUnavailableError: one error for all models that cannot be found.
        UntrustedModelError: a model's files are refused.
        ConfigError: an unknown plug-in, or options it does not take.
    """
    return make_all("generators", specs, place="augment.generators", pick=_plug_in, offline=offline)


def _plug_in(spec: PluginSpec, source: models.ModelSource | None) -> str:
    """Pick the plug-in for a model that names none; transformers reads folders, GGUF files and hub ids alike."""
    if source is None or source.entry is None:
        return "transformers"
    refuse_role("generators", spec, able=bool(source.entry.generator))
    return source.entry.generator


def _spans(dataset: Dataset, section: AugmentSection, seed: int, read: Sequence[str]) -> Iterator[Draft]:
    """Yield spans of every answer as drafts."""
    count = spans_each(section, len(dataset.documents))
    parts = read or [document.text for document in dataset.documents]
    for document, part in zip(dataset.documents, parts, strict=True):
        for text in spans(part, count, seed=seed):
            yield Draft(text, document.id, document.text)


def _interchangeable(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return for each answer with a labelled question all that answer exactly the same ones, itself first.

    What is written for one of them is taken to lead to all: nothing that the user said tells them apart.
    """
    groups: dict[tuple[Question, ...], list[str]] = {}
    for document_id, questions in dataset.labelled_questions().items():
        groups.setdefault(questions, []).append(document_id)
    return {own: (own, *(other for other in group if other != own)) for group in groups.values() for own in group}


def _draft(item: Planned, text: str, generator: Generator) -> Draft:
    return Draft(text, item.document_id, item.request.document, generator.name, item.request.kind)


def _check_usable(generator: Generator, drafts: Sequence[Draft]) -> None:
    if len(drafts) < _TELLING or any(usable(draft) for draft in drafts):
        return
    example = next((draft.text for draft in drafts if draft.text.strip()), "")
    shown = f", for example {example[:60]!r}" if example else ": all were empty"
    raise PluginError(
        f"none of {len(drafts)} texts can be used{shown}",
        place=f"generator {generator.name}",
        hint="Remove it from augment.generators, or name another model.",
    )
