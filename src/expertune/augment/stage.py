"""Write training questions with several small language models, clean them, and keep held-out questions out. No labels.

Pieces of the answers themselves join them: they cost nothing and ask about all of the corpus.

Every text is kept in the item cache as soon as it or its batch is finished, so a killed run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expertune import models
from expertune.augment.filters import Draft, clean, tally, usable
from expertune.augment.spans import fragments
from expertune.config import AugmentSection, PluginSpec
from expertune.errors import ConfigError, PluginError
from expertune.models.cache import ItemCache, MemoryCache
from expertune.models.plugins import Generator, Request, StreamingGenerator
from expertune.models.registry import all_used, log_used, make_all
from expertune.records import Dataset, Document, Progress, Question, Questions, Report, Scores, ignore_progress

# Multiples of it spread evenly whatever step they are looked at with, so no kind and no answer goes to one generator.
_GOLDEN = 0.6180339887498949
# So many batches are sorted together by length: little padding, and a budget that ends early treats answers alike.
_SORTED_BATCHES = 8
# Pieces of answers cost no model's time, so a large corpus gets more of them than of written questions.
_PIECES_PER_QUESTION = 2
# Fewer useless texts than this may be chance.
_TELLING = 6


@dataclass(frozen=True, slots=True)
class _Planned:
    """A request, the answer it is for, and the generator (by index) that is asked."""

    request: Request
    document_id: str
    generator: int


def load_generators(specs: Sequence[PluginSpec], *, offline: bool) -> tuple[Generator, ...]:
    """Make the generators: find each one's model and plug-in. Labels that occur twice are numbered.

    Raises:
        ModelUnavailableError: one error for all models that cannot be found.
        UntrustedModelError: a model's files are refused.
        ConfigError: an unknown plug-in, or options it does not take.
    """
    return make_all("generators", specs, place="augment.generators", pick=_plug_in, offline=offline)


def augment(
    dataset: Dataset,
    section: AugmentSection,
    generators: Sequence[Generator],
    *,
    held_out: Collection[str] = (),
    cache: ItemCache | None = None,
    report: Report = ignore_progress,
) -> Questions:
    """Return the user's own questions, then generated ones, then pieces of answers, and how many each rule removed.

    Args:
        dataset: Questions are written for its documents.
        section: How many, of which kinds, by whom.
        generators: As many as `section.shares`; names must differ.
        held_out: Normalised texts (`wording.normalise`) of held-out questions.
        cache: Where raw texts are kept, batch by batch.
        report: Told after every batch.

    Raises:
        ConfigError: there are not as many generators as shares.
        PluginError: a generator returned a wrong number of texts, or nothing that can be used.
    """
    cache = cache if cache is not None else MemoryCache()
    planned = plan(dataset, section, len(generators))
    texts: dict[int, str] = {}
    late = 0
    for number, generator in enumerate(generators):
        mine = [index for index, item in enumerate(planned) if item.generator == number]
        try:
            written = _write(generator, {index: planned[index].request for index in mine}, section, cache, report)
        finally:
            log_used(generator)
        _check_usable(generator, [_draft(planned[index], text, generator) for index, text in written.items()])
        texts.update(written)
        late += len(mine) - len(written)
    drafts = [
        _draft(item, texts[index], generators[item.generator]) for index, item in enumerate(planned) if index in texts
    ]
    drafts.extend(_pieces(dataset, section))
    questions, removed = clean(drafts, dataset.questions, held_out=held_out, near_duplicate=section.near_duplicate)
    together = _interchangeable(dataset)
    leading = (replace(item, document_ids=together.get(item.document_ids[0], item.document_ids)) for item in questions)
    used = all_used(generators)
    return Questions((*dataset.questions, *leading), tally({"over budget": late}, removed), used)


def plan(dataset: Dataset, section: AugmentSection, generators: int) -> tuple[_Planned, ...]:
    """Return every request in the order of asking: a first question for each answer, then a second one, and so on.

    Answers with a question of the user's take their turns oftener where they get more (`questions_each`). Kinds take
    turns, beginning elsewhere for each answer, so that a small plan has all kinds. What is asked does not depend on
    `per_answer`, which only decides how much of it.

    Raises:
        ConfigError: there are not as many generators as shares.
    """
    if not generators or not section.per_answer:
        return ()
    if generators != len(section.shares):
        raise ConfigError(
            [f"augment.shares has {len(section.shares)} numbers for {generators} generators"],
            hint="Give one share for each generator.",
        )
    own = dataset.labelled_questions()
    documents = _asked_about(dataset, section)
    labelled = sum(document.id in own for document in documents)
    asked, otherwise = questions_each(section, labelled, len(documents) - labelled)
    rounds = [asked if document.id in own else otherwise for document in documents]
    # Everyone is equally far at any time, so that a budget that ends early leaves the same proportions.
    order = sorted((turn / count, turn, place) for place, count in enumerate(rounds) for turn in range(count))
    limits = np.cumsum(section.shares) / np.sum(section.shares)
    planned: list[_Planned] = []
    for _, turn, place in order:
        document = documents[place]
        kind = section.kinds[(place + turn) % len(section.kinds)]
        attempt = turn // len(section.kinds)
        known = own.get(document.id, ())
        request = Request(document.text, known[turn % len(known)].text if known else "", kind, attempt)
        generator = int((limits[:-1] <= len(planned) * _GOLDEN % 1.0).sum())
        planned.append(_Planned(request, document.id, generator))
    return tuple(planned)


def _interchangeable(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return for each answer with a question of the user's all that answer exactly the same ones, itself first.

    What is written for one of them is taken to lead to all: nothing that the user said tells them apart.
    """
    groups: dict[tuple[Question, ...], list[str]] = {}
    for document_id, questions in dataset.labelled_questions().items():
        groups.setdefault(questions, []).append(document_id)
    return {own: (own, *(other for other in group if other != own)) for group in groups.values() for own in group}


def round_trip(questions: Questions, dataset: Dataset, scores: Scores, *, most_rank: int) -> NDArray[np.bool_]:
    """Return which questions `[Q]` to keep: those whose answer the panel finds again.

    The user's own questions stay. A generated one stays if the panel ranks one of its answers `most_rank` or better.
    Each expert's scores are standardised over the documents of a question before they are averaged; a pair that no
    expert scored ranks last.
    """
    values = np.asarray(scores.values, dtype=np.float64)
    scored = ~np.isnan(values)
    counts = scored.sum(axis=1, keepdims=True)
    filled = np.where(scored, values, 0.0)
    means = filled.sum(axis=1, keepdims=True) / np.maximum(counts, 1)
    deviations = np.where(scored, values - means, 0.0)
    spread = np.sqrt((deviations**2).sum(axis=1, keepdims=True) / np.maximum(counts, 1))
    standard = np.divide(deviations, spread, out=np.zeros_like(deviations), where=spread > 0)
    experts = scored.sum(axis=2)
    panel = np.where(experts > 0, standard.sum(axis=2) / np.maximum(experts, 1), -np.inf)
    labels = questions.hard_labels(dataset.documents, scores.columns) > 0
    best = np.where(labels, panel, -np.inf).max(axis=1, initial=-np.inf)
    ranks = 1 + (panel > best[:, None]).sum(axis=1)
    kept: NDArray[np.bool_] = questions.known | ((ranks <= most_rank) & np.isfinite(best))
    return kept


def questions_each(section: AugmentSection, labelled: int, others: int) -> tuple[int, int]:
    """Return how many questions are asked for each answer that has one of the user's, and for each of the others.

    A corpus that is too large for `per_answer` everywhere has answers that nobody ever asked about. Those with a
    question get up to half of `most` before the others share the rest; what they leave goes back.
    """

    def share(budget: int, answers: int) -> int:
        return min(section.per_answer, max(1, budget // max(1, answers)))

    evenly = share(section.most, labelled + others)
    otherwise = min(evenly, share(section.most - labelled * share(section.most // 2, labelled), others))
    return share(section.most - others * otherwise, labelled), otherwise


def pieces_each(section: AugmentSection, answers: int) -> int:
    """Return how many pieces are cut out of each of so many answers."""
    return min(section.fragments, max(1, _PIECES_PER_QUESTION * section.most // max(1, answers)))


def _asked_about(dataset: Dataset, section: AugmentSection) -> list[Document]:
    """Return the documents that questions are made for."""
    labelled = dataset.labelled_ids
    return [item for item in dataset.documents if not section.only_labelled or item.id in labelled]


def _pieces(dataset: Dataset, section: AugmentSection) -> Iterator[Draft]:
    """Yield pieces of every answer as drafts; fewer an answer on large corpora, like questions."""
    documents = _asked_about(dataset, section)
    count = pieces_each(section, len(documents))
    for document in documents:
        for text in fragments(document.text, count, seed=section.seed):
            yield Draft(text, document.id, document.text)


# --- asking -----------------------------------------------------------------------------------------------------------


def _write(
    generator: Generator,
    requests: dict[int, Request],
    section: AugmentSection,
    cache: ItemCache,
    report: Report,
) -> dict[int, str]:
    """Return the texts of one generator by position in the plan; what is missing was over budget."""
    space = f"{generator.fingerprint}|seed={section.seed}"
    keys = {index: _key(request) for index, request in requests.items()}
    texts: dict[int, str] = {}
    asked: set[str] = set()

    def known(indices: Sequence[int]) -> dict[int, str]:
        found = cache.read(space, [keys[index] for index in indices])
        return {index: found[keys[index]].decode("utf-8") for index in indices if keys[index] in found}

    def missing() -> Iterator[dict[int, Request]]:
        """Take what is known from the cache, and yield the rest of each batch as long as there is time."""
        until = float("inf")
        for batch in _batches(requests, generator.batch_size):
            texts.update(known(batch))
            report(Progress("augment", len(texts), len(requests), generator.name))
            # Equal requests of an earlier batch may still be under way; their texts serve both.
            rest = {index: requests[index] for index in batch if index not in texts and keys[index] not in asked}
            if rest and (now := time.perf_counter()) < until:
                until = min(until, now + section.budget_seconds)
                asked.update(keys[index] for index in rest)
                yield rest

    report(Progress("augment", 0, len(requests), generator.name))
    for made in _finished(generator, missing(), section.seed):
        cache.write(space, {keys[index]: text.encode("utf-8") for index, text in made.items()})
        texts.update(made)
        report(Progress("augment", len(texts), len(requests), generator.name))
    texts.update(known([index for index in requests if index not in texts and keys[index] in asked]))
    return dict(sorted(texts.items()))


def _batches(requests: dict[int, Request], size: int) -> Iterator[list[int]]:
    """Yield the positions batch by batch, answers of like length together; the same batches in every run."""
    indices = list(requests)
    for start in range(0, len(indices), size * _SORTED_BATCHES):
        some = sorted(indices[start : start + size * _SORTED_BATCHES], key=lambda i: len(requests[i].document))
        for first in range(0, len(some), size):
            yield some[first : first + size]


def _finished(generator: Generator, batches: Iterator[dict[int, Request]], seed: int) -> Iterator[dict[int, str]]:
    """Yield texts by position in the plan as they are finished: singly from a streaming generator, else by batch."""
    if isinstance(generator, StreamingGenerator):
        for batch in batches:
            yield from _streamed(generator, batch, seed)
        return
    taken: deque[dict[int, Request]] = deque()

    def requests() -> Iterator[list[Request]]:
        for batch in batches:
            taken.append(batch)
            yield list(batch.values())

    for made in generator.each("generate", requests(), seed=seed):
        batch = taken.popleft()
        if len(made) != len(batch) or not all(isinstance(text, str) for text in made):
            raise _miscounted(generator, len(made), len(batch))
        yield {index: _storable(text) for index, text in zip(batch, made, strict=True)}


def _streamed(generator: StreamingGenerator, batch: dict[int, Request], seed: int) -> Iterator[dict[int, str]]:
    left = dict(enumerate(batch))
    for position, text in generator.stream(list(batch.values()), seed=seed):
        if position not in left or not isinstance(text, str):
            raise _miscounted(generator, len(batch) - len(left) + 1, len(batch))
        yield {left.pop(position): _storable(text)}
    if left:
        raise _miscounted(generator, len(batch) - len(left), len(batch))


def _miscounted(generator: Generator, made: int, wanted: int) -> PluginError:
    return PluginError(
        f"generate returned {made} items for {wanted} requests, expected one text for each",
        place=f"generator {generator.name}",
        hint='A plug-in returns "" where nothing came.',
    )


def _storable(text: str) -> str:
    """Return the text without lone surrogates, which cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _key(request: Request) -> str:
    return hashlib.sha256(json.dumps(astuple(request)).encode("utf-8")).hexdigest()


def _draft(item: _Planned, text: str, generator: Generator) -> Draft:
    return Draft(text, item.document_id, item.request.document, generator.name, item.request.kind)


def _check_usable(generator: Generator, drafts: Sequence[Draft]) -> None:
    if len(drafts) < _TELLING or any(usable(draft) for draft in drafts):
        return
    example = next((draft.text for draft in drafts if draft.text.strip()), "")
    told = f", for example {example[:60]!r}" if example else ": all were empty"
    raise PluginError(
        f"none of {len(drafts)} texts can be used{told}",
        place=f"generator {generator.name}",
        hint="Remove it from augment.generators, or name another model.",
    )


# --- making -----------------------------------------------------------------------------------------------------------


def _plug_in(spec: PluginSpec, source: models.ModelSource | None) -> str:
    """Pick the plug-in for a model that names none; transformers reads folders, GGUF files and hub ids alike."""
    if source is None or source.entry is None:
        return "transformers"
    if not source.entry.generator:
        raise ConfigError(
            [f"the model '{spec.model}' scores questions, it cannot write them"],
            place="augment.generators",
            hint="Name it under score.experts.",
        )
    return source.entry.generator
