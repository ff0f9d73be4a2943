"""Estimate roughly what a run costs, from counts and a small table of measured rates. Runs and loads nothing.

The rates were measured on two cores of a server processor; elsewhere all may take twice or half as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from expertune import data, models
from expertune.augment.plan import questions_each, spans_each
from expertune.config import AugmentSection, Config, PluginSpec, keeps_documents
from expertune.data import log_choice
from expertune.pipeline.context import CROSS_VALIDATION, read_by_panel
from expertune.records import Dataset, JudgedSet, Role
from expertune.train import crossval, select, trainer

SECONDS_PER_QUESTION: Mapping[str, float] = {"smollm2-135m-instruct": 0.2, "gemma-3-270m": 0.35, "template": 0.0}
"""To write one question."""

SECONDS_PER_MILLION: Mapping[str, float] = {
    "all-mpnet-base-v2": 170.0,
    "all-minilm-l6-v2": 30.0,
    "universal-sentence-encoder-multilingual": 30.0,
    "paraphrase-minilm-l3-v2": 10.0,
    "wordllama-256": 1.0,
}
"""To embed a million characters: for encoders the time grows with the length of a text, up to what they read of it."""

SECONDS_PER_MEGABYTE = 0.35
"""To embed a million characters, for each megabyte of a model that is not listed."""

SECONDS_PER_EXAMPLE = 0.006
"""To tune every layer on one question with MiniLM's 91 megabytes, its share of a reference sentence included."""

FROZEN_SAVES = 0.9
"""How much of a step's price a share of frozen layers saves, for each unit of it: 45 % where half of them stay."""

FULL_MODE = 15.0
"""How many times a step costs more where documents are tuned too."""

LOADING = 5.0
"""To import the libraries or load the models of one stage."""

MOST_CHARACTERS = 1200
"""About what the usual encoders read of a text."""

TEXT_CHARACTERS = 20
"""What a text costs besides its own characters, in characters: two models of the catalogue had 15 to 30 of them."""

QUESTION_CHARACTERS = 60
"""The length of a question that is still to be written."""

SPAN_CHARACTERS = 25
"""The length of a span that is still to be cut."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage has to do: `items` things called `unit`, and roughly the seconds of its parts by their names."""

    stage: str
    items: int
    unit: str
    parts: tuple[tuple[str, float], ...]

    @property
    def seconds(self) -> float:
        """Of all parts together."""
        return sum(seconds for _, seconds in self.parts)


@dataclass(frozen=True, slots=True)
class Reading:
    """What each expert of a run reads: so many texts, and what that costs, in characters as `characters` has them."""

    texts: int
    characters: int


def reading(config: Config, dataset: Dataset, searches: Sequence[str] = ()) -> Reading:
    """Return what each expert reads: answers, those with questions before them once more, and all questions.

    Args:
        config: Says how many questions are made, and which answers are read twice.
        dataset: Answers and labelled questions.
        searches: What is left of the search log.
    """
    written, cut, _ = _writing(config.augment, dataset)
    read = read_by_panel(config, dataset)
    twice = [item.text for item in read.documents(dataset.documents) if item.id in read.questions]
    texts = [*(item.text for item in dataset.documents), *twice, *(item.text for item in dataset.questions)]
    log = _taken(config, searches)
    made = written * (QUESTION_CHARACTERS + TEXT_CHARACTERS) + cut * (SPAN_CHARACTERS + TEXT_CHARACTERS)
    asked = round(characters(searches) * log / max(1, len(searches)))
    return Reading(len(texts) + written + cut + log, characters(texts) + made + asked)


def estimate(
    config: Config, dataset: Dataset, judged: Sequence[JudgedSet], searches: Sequence[str] = ()
) -> tuple[Cost, ...]:
    """Return what each stage that takes time has to do, as if nothing could be reused; arguments as of `reading`."""
    written, cut, parts = _writing(config.augment, dataset)
    questions = written + cut + len(dataset.questions) + _taken(config, searches)
    every = reading(config, dataset, searches)
    experts = config.score.experts
    scoring = tuple((spec.label, LOADING / len(experts) + _embedding(spec, every.characters)) for spec in experts)
    training = _training(config, questions, (len(dataset.questions), written))
    held_out = any(item.role is Role.DOMAIN for item in judged)
    return (
        Cost("augment", written, "questions to write", parts),
        Cost("score", every.texts * len(experts), "texts to embed or index", scoring),
        training,
        *(() if held_out or not crossval.possible(dataset.questions) else (_cross_validating(training),)),
        _evaluating(config, judged),
    )


def writing(config: Config, dataset: Dataset, per_answer: int) -> Cost:
    """Return the price of having so many questions written for each answer."""
    section = config.augment.model_copy(update={"per_answer": per_answer})
    written, _, parts = _writing(section, dataset)
    return Cost("augment", written, "questions to write", parts)


def _writing(section: AugmentSection, dataset: Dataset) -> tuple[int, int, tuple[tuple[str, float], ...]]:
    """Return how many questions are asked for, how many spans are cut, and each generator's seconds, within budgets."""
    labelled = len(dataset.labelled_ids)
    others = len(dataset.documents) - labelled
    each_labelled, each_other = questions_each(section, labelled, others)
    wanted = labelled * each_labelled + others * each_other
    cut = (labelled + others) * spans_each(section, labelled + others)
    shares = sum(spec.share for spec in section.generators)
    parts = []
    for spec in section.generators:
        each = SECONDS_PER_QUESTION.get(_known_name(spec), _weight(spec) * 0.002)
        loading = LOADING if wanted and each else 0.0
        parts.append((spec.label, loading + min(wanted * spec.share / shares * each, section.budget_seconds)))
    return wanted, cut, tuple(parts)


def _taken(config: Config, searches: Sequence[str]) -> int:
    """Return how many questions of a log are labelled and trained on."""
    return 0 if config.label.strategy == "hard" else min(len(searches), log_choice.MOST_QUESTIONS)


def _training(config: Config, questions: int, able: tuple[int, int]) -> Cost:
    """Return the price of tuning, choosing and, where enough questions can be left out, tuning again on all.

    Args:
        config: Says how to tune.
        questions: All that are tuned on.
        able: How many of them are labelled and how many written: these can validate, spans cannot.
    """
    section = trainer.planned(config.train, questions)
    base, general = PluginSpec(model=section.base), data.load_general_dev_set()
    left_out = select.left_out(*able)
    tunings = 2 if left_out >= select.FEWEST else 1
    steps = tunings * section.steps
    paid = section.steps * (FULL_MODE if section.mode == "full" else 1.0)
    scale = _rate(base) / SECONDS_PER_MILLION["all-minilm-l6-v2"]
    asked = (left_out if tunings > 1 else sum(able)) * (QUESTION_CHARACTERS + TEXT_CHARACTERS)
    asked += characters(item.text for item in general.queries)
    documents = characters(item.text for item in general.documents)
    choosing = _embedding(base, len(select.INTERPOLATION_WEIGHTS) * asked + documents)
    example = SECONDS_PER_EXAMPLE * (1.0 - FROZEN_SAVES * section.frozen_layers)
    tuning = LOADING / tunings + paid * section.batch_size * example * scale
    parts = (("", tuning + choosing), *([("", tuning)] * (tunings - 1)))
    return Cost("train", steps * section.batch_size, f"questions in {steps} steps", parts)


def _cross_validating(training: Cost) -> Cost:
    """Return the price of tuning and choosing again in every fold."""
    parts = tuple((f"fold {number}", training.seconds) for number in range(1, crossval.FOLDS + 1))
    return Cost(CROSS_VALIDATION, crossval.FOLDS * training.items, "questions in the folds", parts)


def _evaluating(config: Config, judged: Sequence[JudgedSet]) -> Cost:
    """Return the price of embedding the held-out sets; documents that keep the base's vectors are embedded once."""
    times = 1 if keeps_documents(config.train.mode) else 2
    documents = [document.text for item in judged for document in item.documents]
    queries = [query.text for item in judged for query in item.queries]
    priced = times * characters(documents) + 2 * characters(queries)
    seconds = _embedding(PluginSpec(model=config.train.base), priced)
    return Cost("evaluate", times * len(documents) + 2 * len(queries), "texts to embed", (("", seconds),))


def characters(texts: Iterable[str]) -> int:
    """Return what it costs to embed these texts, in characters: as far as encoders read them, and for each text."""
    return sum(TEXT_CHARACTERS + min(len(text), MOST_CHARACTERS) for text in texts)


def _known_name(spec: PluginSpec) -> str:
    entry = models.find(spec.model) if spec.model else None
    return entry.name if entry is not None else spec.model or spec.use


def _weight(spec: PluginSpec) -> float:
    """Return the megabytes of a model, or a guess of 400 where nobody knows."""
    size = models.megabytes(spec.model) if spec.model else 0.0
    return 400.0 if math.isnan(size) else size


def _embedding(spec: PluginSpec, characters: float) -> float:
    return _rate(spec) * characters / 1e6


def _rate(spec: PluginSpec) -> float:
    """Return the seconds a model takes for a million characters; plug-ins without weights cost next to nothing."""
    return SECONDS_PER_MILLION.get(_known_name(spec), _weight(spec) * SECONDS_PER_MEGABYTE)
