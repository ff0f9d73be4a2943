"""Say which ways to search are measured beside each other: models, what an index holds, and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from expertune.data.expansion import Expansion
from expertune.data.repeats import Repeats
from expertune.evaluate.alternatives import Cost, Search, Way, alternatives, fused, milliseconds
from expertune.index import Index, Layout, layouts_of
from expertune.models.plugins import IndexingExpert
from expertune.pipeline.alternatives import Model, Panel
from expertune.records import (
    PLAIN_ANSWERS,
    Alternatives,
    Dataset,
    Document,
    FloatArray,
    IndexWork,
    JudgedSet,
    Report,
    ignore_progress,
)

WORDS = "BM25"

MOST_LABELLED = 200
"""Labelled questions that are searched where none are held out: each needs an index of its own."""

MOST_PAIRS = 10_000_000
"""Answers times labelled questions up to which layouts are measured: what they mix is chosen by all pairs at once."""

Make = Callable[[Dataset, Sequence[Document]], Search]
"""Makes an index of documents and of a data set's labelled questions, and returns what searches it."""

Prepare = Callable[[Sequence[Document]], Search]
"""Makes an index of documents, and returns what searches it."""

Prepared = Callable[[Make], Prepare]
"""Settles which labelled questions an index is made with."""


def measure(
    base: Model,
    tuned: Model | None,
    panel: Panel,
    dataset: Dataset,
    judged: Sequence[JudgedSet],
    report: Report = ignore_progress,
    *,
    expand: int = 0,
    seed: int = 0,
) -> Alternatives:
    """Measure every way to search; the reference is the tuned model, or else the base, on the index that users have.

    Args:
        base: The model that is tuned.
        tuned: The tuned one; None: there is none yet.
        panel: What else to search with.
        dataset: The answers and the labelled questions.
        judged: Held-out sets of the domain; without any, labelled questions are searched, each in an index without it.
        report: Told of every way.
        expand: Labelled questions that stand before an answer in the index that users have.
        seed: Seed of resampling.
    """
    sets = judged or [labelled_set(dataset)]
    ways = every_way(base, tuned, panel, dataset, held_out=bool(judged), expand=expand)
    costs = _costs([*_ours(base, tuned), *panel.models], base, panel.words, sets[0])
    return alternatives(ways, sets, costs, report, seed=seed, left_one_out=not judged)


def every_way(
    base: Model, tuned: Model | None, panel: Panel, dataset: Dataset, *, held_out: bool = True, expand: int = 0
) -> list[Way]:
    """Return every way to search, the reference first; see `measure`.

    Without `held_out` questions each labelled one is searched in an index made without it, and in answers that do not
    repeat it.
    """
    repeats = Repeats() if held_out else Repeats.of(dataset)

    def prepared(make: Make) -> Prepare:
        return partial(make, dataset) if held_out else partial(_each_alone, make, dataset, repeats)

    def plain(prepare: Prepare) -> Prepare:
        # Without repeats one index of the answers does for every question; with some, for those that none repeats.
        kept = lru_cache(maxsize=2)(prepare)
        return prepared(lambda _, documents: kept(tuple(documents))) if repeats.questions else prepare

    few = len(dataset.documents) * len(dataset.questions) <= MOST_PAIRS
    layouts = tuple(Layout) if few else (Layout.ANSWERS,)
    ours = _ours(base, tuned)
    ways = [_expanded(model, expand, prepared, tuned) for model in ours if expand]
    ways += [way for model in ours for way in _on_layouts(model, base, prepared, tuned, layouts)]
    ways += [Way(model.name, PLAIN_ANSWERS, IndexWork.ANEW, model.search, base=model.base) for model in panel.models]
    ways += _with_words(base, panel.words)
    return [replace(way, prepare=plain(way.prepare)) if way.holds == PLAIN_ANSWERS else way for way in ways]


def _ours(base: Model, tuned: Model | None) -> list[Model]:
    return [tuned, base] if tuned else [base]


def labelled_set(dataset: Dataset) -> JudgedSet:
    """Return labelled questions as if they were held out, evenly spread over all where they are many."""
    chosen = np.unique(np.linspace(0, len(dataset.questions) - 1, MOST_LABELLED).round().astype(int))
    questions = {f"q{number + 1}": dataset.questions[number] for number in chosen}
    return JudgedSet.asking(dataset.name, "labelled", dataset.documents, questions)


def _each_alone(make: Make, dataset: Dataset, repeats: Repeats, documents: Sequence[Document]) -> Search:
    """Search each question in an index that was made without it, also where answers repeat it."""

    def search(texts: Sequence[str]) -> FloatArray:
        rows = []
        for text in texts:
            others = tuple(question for question in dataset.questions if question.text != text)
            answers = repeats.documents(documents, known=others)
            rows.append(make(replace(dataset, questions=others), answers)([text]))
        return np.concatenate(rows)

    return search


def _expanded(model: Model, expand: int, prepared: Prepared, tuned: Model | None) -> Way:
    """Return a model on the index that users have where their questions stand before the answers."""

    def make(dataset: Dataset, documents: Sequence[Document]) -> Search:
        return model.search(Expansion.of(dataset.questions, expand).documents(documents))

    work = IndexWork.KEPT if model.kept else IndexWork.ANEW
    return Way(
        model.name, f"{expand} question{'s' if expand > 1 else ''} + answer", work, prepared(make), model is tuned
    )


def _on_layouts(
    model: Model, base: Model, prepared: Prepared, tuned: Model | None, layouts: Iterable[Layout]
) -> Iterator[Way]:
    """Yield a model on layouts of an index, in their order."""

    @lru_cache(maxsize=1)
    def indexes(dataset: Dataset, documents: tuple[Document, ...]) -> dict[Layout, Index]:
        return layouts_of(model.encoder, dataset, documents=documents, base=base.encoder)

    def make(layout: Layout, dataset: Dataset, documents: Sequence[Document]) -> Search:
        index = indexes(dataset, tuple(documents))[layout]
        return lambda texts: index.scores(model.encoder.encode_queries(texts))

    for layout in layouts:
        plain = layout is Layout.ANSWERS
        work = IndexWork.KEPT if model.kept and plain else IndexWork.ANEW
        prepare = model.search if plain else prepared(partial(make, layout))
        # An offset is one more dimension.
        yield Way(model.name, layout, work, prepare, model is tuned, extra=int(layout is Layout.MIXED))


def _with_words(base: Model, words: IndexingExpert) -> Iterator[Way]:
    """Yield search by words, alone and together with the base."""

    def by_words(documents: Sequence[Document]) -> Search:
        return words.index([document.text for document in documents])

    def by_both(documents: Sequence[Document]) -> Search:
        return fused(base.search(documents), by_words(documents))

    yield Way(WORDS, PLAIN_ANSWERS, IndexWork.ANEW, by_words)
    yield Way(_both(base), PLAIN_ANSWERS, IndexWork.ADDED, by_both)


def _both(base: Model) -> str:
    return f"{base.name} + {WORDS}"


def _costs(everyone: Sequence[Model], base: Model, words: IndexingExpert, judged: JudgedSet) -> dict[str, Cost]:
    """Measure what a question costs each way; a server's models are not timed, as each call may cost money."""
    questions = [query.text for query in judged.queries]
    local = [model for model in everyone if not model.encoder.served]
    for model in local:
        model.encoder.release()
    # The largest is loaded first, while no other fills the memory.
    ask: dict[str, Callable[[Sequence[str]], FloatArray]] = {
        model.name: model.encoder.encode_anew
        for model in sorted(local, key=lambda model: model.megabytes, reverse=True)
    }
    taken = milliseconds({**ask, WORDS: words.index([document.text for document in judged.documents])}, questions)
    for model in local:
        model.encoder.release()
    costs = {
        model.name: Cost(
            model.encoder.encode_queries(questions).shape[1], model.megabytes, taken.get(model.name, float("nan"))
        )
        for model in everyone
    }
    alone = costs[base.name]
    costs[WORDS] = Cost(0, 0.0, taken[WORDS])
    costs[_both(base)] = Cost(alone.dimensions, alone.megabytes, alone.milliseconds + taken[WORDS])
    return costs
