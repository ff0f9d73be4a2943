"""Recommend a panel: try every expert in reach on the labelled questions, and keep those worth their time.

An expert is worth its time if the answers that are known get likelier with it on the panel, for questions the weights
were not fitted to; one that repeats another adds nothing, however good it is alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expertune import models
from expertune.config import MODEL_FREE, Config, PluginSpec
from expertune.data.repeats import Repeats
from expertune.data.search_log import read_log
from expertune.errors import DataError, ExpertuneError
from expertune.label.calibrate import calibrate
from expertune.label.hard_labels import share_equal_texts
from expertune.label.weights import FEWEST_QUESTIONS, cross_entropy, folds_by_answer, left_out, weigh
from expertune.models import registry
from expertune.models.cache import MemoryCache
from expertune.models.plugins import Expert
from expertune.pipeline.costs import characters, reading
from expertune.records import Dataset, FloatArray, Questions, Report, Scores, ignore_progress
from expertune.score.agreement import agreement
from expertune.score.stage import load_experts, score

LEAST_GAIN = 0.01
"""Nats of likelihood a question that an expert must add to be worth its time; below it lies noise."""


@dataclass(frozen=True, slots=True)
class RatedExpert:
    """One expert on the labelled questions.

    `ndcg` is its nDCG@10 in [0, 1] alone, `seconds` what the configured run would take it, `nearest` the expert whose
    rankings are most like its own and `likeness` their mean Spearman correlation in [-1, 1]. `decision` says in words
    whether it is on the panel.
    """

    name: str
    spec: PluginSpec
    ndcg: float
    seconds: float
    nearest: str
    likeness: float
    chosen: bool
    decision: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Every expert that was tried, the chosen ones first, and the names that could not be (with the reason)."""

    experts: tuple[RatedExpert, ...]
    out_of_reach: tuple[tuple[str, str], ...]
    questions: int

    @property
    def toml(self) -> str:
        """The lines to put into a config."""
        lines = "".join(f"    {_inline(item.spec)},\n" for item in self.experts if item.chosen)
        return f"[score]\nexperts = [\n{lines}]\n"


def recommend(
    config: Config, dataset: Dataset, *, most_seconds: float, report: Report = ignore_progress
) -> Recommendation:
    """Try every expert in reach and recommend a panel that scores the configured run within a time.

    Args:
        config: Its own experts are tried, and the catalogue's; its size of a run decides what an expert takes.
        dataset: The labelled questions and all answers.
        most_seconds: For scoring the whole run.
        report: Told of the experts.

    Raises:
        DataError: there are too few labelled questions.
    """
    if len(dataset.questions) < FEWEST_QUESTIONS:
        raise DataError(
            f"{len(dataset.questions)} labelled questions cannot tell experts apart",
            place=dataset.name,
            hint=f"Give at least {FEWEST_QUESTIONS}, or keep the default panel.",
        )
    specs, experts, out_of_reach = _in_reach(config)
    questions = Questions(dataset.questions)
    starting = [_starting_seconds(expert) for expert in experts]
    stripped = replace(dataset, documents=Repeats.of(dataset).documents(dataset.documents))
    scores = score(stripped, questions, experts, cache=MemoryCache(), report=report)
    growth = _growth(config, dataset)
    seconds = [start + growth * took for start, took in zip(starting, scores.seconds, strict=True)]
    hard = share_equal_texts(questions.hard_labels(dataset.documents), dataset)
    choice = choose(scores, hard, seconds, most_seconds=most_seconds)
    rated = [_rated(index, specs[index], scores, seconds, choice) for index in range(len(experts))]
    rated.sort(key=lambda item: (not item.chosen, choice.order.get(item.name, 0), -item.ndcg))
    return Recommendation(tuple(rated), out_of_reach, len(dataset.questions))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which experts were chosen, in that order, with each one's nDCG@10 alone and the gain (nats) it would add now."""

    order: dict[str, int]
    qualities: tuple[float, ...]
    gains: tuple[float, ...]
    likeness: NDArray[np.float64]


def choose(scores: Scores, hard: FloatArray, seconds: Sequence[float], *, most_seconds: float) -> Choice:
    """Add the expert that helps most, as long as one helps and fits into the time that is left.

    Args:
        scores: `[N, D, K]` of the labelled questions.
        hard: `[N, D]` in {0, 1}.
        seconds: What each expert takes, `K` of them.
        most_seconds: What all chosen ones may take together.
    """
    calibrated = calibrate(scores.values, hard, np.ones(len(hard), dtype=bool), method="zscore")
    folds = folds_by_answer(hard)
    chosen: list[int] = []
    reached, seconds_left = -float(np.log(hard.shape[1])), most_seconds
    while True:
        gains = {
            index: likelihood(calibrated[:, :, [*chosen, index]], hard, folds) - reached
            for index in range(len(scores.experts))
            if index not in chosen
        }
        useful = [index for index, gain in gains.items() if gain > LEAST_GAIN and seconds[index] <= seconds_left]
        if not useful:
            break
        best = max(useful, key=gains.__getitem__)
        chosen.append(best)
        reached += gains[best]
        seconds_left -= seconds[best]
    return Choice(
        order={scores.experts[index]: place for place, index in enumerate(chosen)},
        qualities=tuple(item.ndcg for item in weigh(scores.experts, calibrated, hard)[0]),
        gains=tuple(gains.get(index, float("nan")) for index in range(len(scores.experts))),
        likeness=agreement(scores).spearman,
    )


def likelihood(calibrated: FloatArray, hard: FloatArray, folds: NDArray[np.int64]) -> float:
    """Return the mean log-likelihood (nats, at most 0) of the known answers under weights fitted to the other folds."""
    return -float(cross_entropy(left_out(calibrated, hard, folds), hard).mean())


def _in_reach(config: Config) -> tuple[list[PluginSpec], list[Expert], tuple[tuple[str, str], ...]]:
    """Return what can be tried: the config's experts, the catalogue's, and those that need no model."""
    model_free = sorted(MODEL_FREE.intersection(registry.names("experts")))
    others = [PluginSpec(model=entry.name) for entry in models.catalog() if entry.expert]
    others += [PluginSpec(use=name) for name in model_free]
    configured = {_identity(spec) for spec in config.score.experts}
    specs: list[PluginSpec] = []
    out_of_reach: list[tuple[str, str]] = []
    for spec in (*config.score.experts, *(spec for spec in others if _identity(spec) not in configured)):
        try:
            load_experts([spec], offline=config.run.offline)
        except ExpertuneError as error:
            out_of_reach.append((spec.label, str(error).splitlines()[0]))
        else:
            specs.append(spec)
    return specs, list(load_experts(specs, offline=config.run.offline)), tuple(out_of_reach)


def _identity(spec: PluginSpec) -> str:
    """Return what tells two experts apart: a known model's name, however it is spelled, or the whole spec."""
    if spec.options or (spec.model and models.find(spec.model) is None):
        return repr(spec)
    entry = models.find(spec.model) if spec.model else None
    return entry.name if entry else spec.use


def _starting_seconds(expert: Expert) -> float:
    """Return what an expert takes before it scores anything: reading its weights."""
    started = time.perf_counter()
    expert.score(["a question"], ["an answer", "another one"])
    return time.perf_counter() - started


def _growth(config: Config, dataset: Dataset) -> float:
    """Return how many times the text of the labelled questions and the answers the configured run has to read."""
    texts = {document.id: document.text for document in dataset.documents}
    paths = [Path(path) for path in config.data.log]
    searches = read_log(paths, answers=texts).texts if paths else ()
    tried = characters([*texts.values(), *(question.text for question in dataset.questions)])
    return reading(config, dataset, searches).characters / tried


def _rated(index: int, spec: PluginSpec, scores: Scores, seconds: Sequence[float], choice: Choice) -> RatedExpert:
    name = scores.experts[index]
    likeness = choice.likeness[index].copy()
    likeness[index] = np.nan
    others = not np.isnan(likeness).all()
    nearest = int(np.nanargmax(likeness)) if others else index
    if name in choice.order:
        decision = f"take it ({choice.order[name] + 1})"
    elif choice.gains[index] > LEAST_GAIN:
        decision = "helps, but takes too long"
    else:
        decision = "adds nothing to those taken"
    return RatedExpert(
        name=name,
        spec=spec,
        ndcg=choice.qualities[index],
        seconds=seconds[index],
        nearest=scores.experts[nearest] if others else "",
        likeness=float(likeness[nearest]),
        chosen=name in choice.order,
        decision=decision,
    )


def _inline(spec: PluginSpec) -> str:
    """Write one expert as a config names it: the short form, or a table where it has options."""
    import tomli_w

    def value(item: object) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{key} = {value(inner)}" for key, inner in item.items()) + " }"
        return tomli_w.dumps({"_": item}).removeprefix("_ = ").strip()

    if spec.options:
        return value({key: item for key, item in spec.model_dump().items() if item})
    return value(f"{spec.use}:{spec.model}" if spec.use and spec.model else spec.use or spec.model)
