"""Recommend a panel: try every expert in reach on the user's own known pairs, and keep those worth their time.

What counts is how likely the experts together make the known answers, on pairs their weights were not fitted to. So
a near-duplicate of an expert that is already in adds nothing and stays out. Trains nothing and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from expertune import models
from expertune.config import MODEL_FREE, Config, PluginSpec
from expertune.errors import DataError, ExpertuneError
from expertune.label.stage import calibrate, share_equal_texts, weigh
from expertune.models import registry
from expertune.models.cache import MemoryCache
from expertune.models.contract import Expert
from expertune.pipeline.costs import MOST_CHARACTERS, QUESTION_CHARACTERS, estimate
from expertune.records import Dataset, FloatArray, Questions, Report, Scores, ignore_progress
from expertune.score.agreement import agreement
from expertune.score.stage import load_experts, score

FEWEST_PAIRS = 8
"""Known pairs below which nothing can be told apart."""

LEAST_GAIN = 0.01
"""Nats of likelihood a question that an expert must add to be worth its time; below it lies noise."""

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Tried:
    """One expert on the known pairs.

    `ndcg` is its nDCG@10 in [0, 1] alone, `seconds` what the configured run would take it, `nearest` the expert whose
    rankings are most like its own and `likeness` their mean Spearman correlation in [-1, 1]. `verdict` says in words
    whether it is on the panel.
    """

    name: str
    spec: PluginSpec
    ndcg: float
    seconds: float
    nearest: str
    likeness: float
    chosen: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Every expert that was tried, the chosen ones first, and the names that could not be (with the reason)."""

    tried: tuple[Tried, ...]
    out_of_reach: tuple[tuple[str, str], ...]
    pairs: int

    @property
    def toml(self) -> str:
        """The lines to put into a config."""
        lines = "".join(f"    {_inline(item.spec)},\n" for item in self.tried if item.chosen)
        return f"[score]\nexperts = [\n{lines}]\n"


def recommend(
    config: Config, dataset: Dataset, *, most_seconds: float, report: Report = ignore_progress
) -> Recommendation:
    """Try every expert in reach and recommend a panel that scores the configured run within a time.

    Args:
        config: Its own experts are tried, and the catalogue's; its size of a run decides what an expert takes.
        dataset: The known pairs and all answers.
        most_seconds: For scoring the whole run.
        report: Told of the experts.

    Raises:
        DataError: there are too few known pairs.
    """
    if len(dataset.questions) < FEWEST_PAIRS:
        raise DataError(
            f"{len(dataset.questions)} known pairs of question and answer cannot tell experts apart",
            place=dataset.name,
            hint=f"Give at least {FEWEST_PAIRS}, or keep the default panel.",
        )
    specs, experts, out_of_reach = _in_reach(config)
    questions = Questions(dataset.questions)
    starting = [_starting_seconds(expert) for expert in experts]
    scores = score(dataset, questions, experts, cache=MemoryCache(), report=report)
    growth = _growth(config, dataset)
    seconds = [start + growth * took for start, took in zip(starting, scores.seconds, strict=True)]
    hard = share_equal_texts(questions.hard_labels(dataset.documents), dataset)
    choice = choose(scores, hard, seconds, most_seconds=most_seconds, shrinkage=config.label.shrinkage)
    found = [_tried(index, specs[index], scores, seconds, choice) for index in range(len(experts))]
    found.sort(key=lambda item: (not item.chosen, choice.order.get(item.name, 0), -item.ndcg))
    return Recommendation(tuple(found), out_of_reach, len(dataset.questions))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which experts were chosen, in that order, with each one's nDCG@10 alone and the gain (nats) it would add now."""

    order: dict[str, int]
    qualities: tuple[float, ...]
    gains: tuple[float, ...]
    fits: tuple[bool, ...]
    likeness: NDArray[np.float64]


def choose(
    scores: Scores, hard: FloatArray, seconds: Sequence[float], *, most_seconds: float, shrinkage: float
) -> Choice:
    """Add the expert that helps most, as long as one helps and fits into the time that is left.

    Args:
        scores: `[N, D, K]` of the known questions.
        hard: `[N, D]` in {0, 1}.
        seconds: What each expert takes, `K` of them.
        most_seconds: What all chosen ones may take together.
        shrinkage: Pull of the weights towards uniform, as in the labels.
    """
    count = len(scores.experts)
    calibrated = calibrate(scores.values, hard, np.ones(len(hard), dtype=bool), method="zscore")
    folds = _folds(hard)
    alone = tuple(item.ndcg for item in weigh(scores.experts, calibrated, hard, shrinkage=shrinkage)[0])
    chosen: list[int] = []
    reached, left = -float(np.log(hard.shape[1])), most_seconds
    while True:
        rest = [index for index in range(count) if index not in chosen]
        gains = {
            index: likelihood(calibrated[:, :, [*chosen, index]], hard, folds, shrinkage=shrinkage) - reached
            for index in rest
        }
        useful = [index for index in rest if gains[index] > LEAST_GAIN and seconds[index] <= left]
        if not useful:
            break
        best = max(useful, key=gains.__getitem__)
        chosen.append(best)
        reached += gains[best]
        left -= seconds[best]
    return Choice(
        order={scores.experts[index]: place for place, index in enumerate(chosen)},
        qualities=alone,
        gains=tuple(gains.get(index, float("nan")) for index in range(count)),
        fits=tuple(seconds[index] <= left for index in range(count)),
        likeness=agreement(scores).spearman,
    )


def likelihood(calibrated: FloatArray, hard: FloatArray, folds: NDArray[np.int64], *, shrinkage: float) -> float:
    """Return the mean log-likelihood (nats, at most 0) of the known answers under weights fitted to the other folds."""
    names = tuple(str(index) for index in range(calibrated.shape[2]))
    logs = np.zeros(len(hard))
    for fold in np.unique(folds):
        held = folds == fold
        panel, sharpness = weigh(names, calibrated[~held], hard[~held], shrinkage=shrinkage)
        weights = np.array([item.weight for item in panel]) * sharpness
        log_p = special.log_softmax(np.nan_to_num(calibrated[held]) @ weights, axis=1)
        logs[held] = special.logsumexp(np.where(hard[held] > 0, log_p, -np.inf), axis=1)
    return float(logs.mean())


def _folds(hard: FloatArray) -> NDArray[np.int64]:
    """Return the fold of each question `[N]`; questions with one answer share a fold."""
    answers = np.unique(hard.argmax(axis=1), return_inverse=True)[1]
    turn = np.random.default_rng(0).permutation(answers.max() + 1)
    folds: NDArray[np.int64] = turn[answers] % _FOLDS
    return folds


def _in_reach(config: Config) -> tuple[list[PluginSpec], list[Expert], tuple[tuple[str, str], ...]]:
    """Return what can be tried: the config's experts, the catalogue's, and those that need no model."""
    free = sorted(MODEL_FREE.intersection(registry.names("experts")))
    catalogued = [PluginSpec(model=entry.name) for entry in models.catalog() if entry.expert]
    known = {_identity(spec) for spec in config.score.experts}
    others = [spec for spec in (*catalogued, *(PluginSpec(use=name) for name in free)) if _identity(spec) not in known]
    specs: list[PluginSpec] = []
    lost: list[tuple[str, str]] = []
    for spec in (*config.score.experts, *others):
        try:
            load_experts([spec], offline=config.run.offline)
        except ExpertuneError as error:
            lost.append((spec.label, str(error).splitlines()[0]))
        else:
            specs.append(spec)
    return specs, list(load_experts(specs, offline=config.run.offline)), tuple(lost)


def _identity(spec: PluginSpec) -> str:
    entry = models.find(spec.model) if spec.model else None
    return (
        entry.name if entry is not None and not spec.options else repr(spec) if spec.model or spec.options else spec.use
    )


def _starting_seconds(expert: Expert) -> float:
    """Return what an expert takes before it scores anything: reading its weights."""
    started = time.perf_counter()
    expert.score(["a question"], ["an answer", "another one"])
    return time.perf_counter() - started


def _growth(config: Config, dataset: Dataset) -> float:
    """Return how many times the text of the known pairs the configured run has to read."""
    answers = sum(min(len(document.text), MOST_CHARACTERS) for document in dataset.documents)
    asked = sum(len(question.text) for question in dataset.questions)
    written = next(cost.items for cost in estimate(config, dataset, ()) if cost.stage == "augment")
    return (answers + asked + written * QUESTION_CHARACTERS) / max(1, answers + asked)


def _tried(index: int, spec: PluginSpec, scores: Scores, seconds: Sequence[float], choice: Choice) -> Tried:
    name = scores.experts[index]
    likeness = choice.likeness[index].copy()
    likeness[index] = np.nan
    others = not np.isnan(likeness).all()
    nearest = int(np.nanargmax(likeness)) if others else index
    chosen = name in choice.order
    if chosen:
        verdict = f"take it ({choice.order[name] + 1})"
    elif choice.gains[index] > LEAST_GAIN:
        verdict = "helps, but takes too long"
    else:
        verdict = "adds nothing to those taken"
    return Tried(
        name=name,
        spec=spec,
        ndcg=choice.qualities[index],
        seconds=seconds[index],
        nearest=scores.experts[nearest] if others else "",
        likeness=float(likeness[nearest]) if others else float("nan"),
        chosen=chosen,
        verdict=verdict,
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
