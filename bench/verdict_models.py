"""Make models that are good and bad on purpose, for bench/verdict.py, and measure them.

Each is a run of the package over a domain's training questions, with one thing done to it: few questions, shuffled
answers, experts that are noise or an adversary, a log of another domain, of shuffled words or of noise. What it tunes
gives three models: the one that the run keeps, and the tuned weights a quarter and all of the way.

Models that other benches left in their stores are judged as well, on their own domain and on others: those of whole
runs (bench/layouts.py), and every step of the recipe (bench/decompose.py).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from expertune import data, models
from expertune.commands.study.lab import Point
from expertune.commands.study.lab import Tuning as StudyTuning
from expertune.config import Config, DataSection, PluginSpec, from_mapping, keeps_documents
from expertune.evaluate.stage import measure
from expertune.models.encoder import CachedEncoder, sentence_encoder, trial_encoder
from expertune.models.load import load_model, one_side
from expertune.pipeline import artefacts
from expertune.pipeline.keeper import Kept
from expertune.pipeline.run import Run, Stage
from expertune.pipeline.stages.labels import labelled
from expertune.pipeline.stages.training import trained
from expertune.pipeline.store import Store, fingerprint
from expertune.records import METRICS, Dataset, JudgedSet, Measurement, Questions, Role, Scores, TunedModel
from expertune.train import trainer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from sets import folder as set_folder  # noqa: E402

BASE = "all-minilm-l6-v2"
DOMAINS = ("banking77_faq", "stackfaq")
HIDDEN_GENERAL = "cranfield"
"""A general set that no run looks at."""
MEASURED = ("banking77_faq", "covidfaq_jhu", "shop")
"""Domains with enough answers that models of other benches are judged on."""
PANEL = ("all-minilm-l6-v2", "wordllama-256", "bm25", "ngrams")
MOST_QUERIES = 1600
"""Test questions used of one domain: half of their answers are hidden."""
FORCED = (0.25, 1.0)
FEW, MANY = 40, 300
LOGS = ("own log", "foreign log", "shuffled log", "noise log")
"""Scenarios with few labelled questions beside a log of `LOG_SIZE` questions."""
LOG_SIZE = 300
SCENARIOS = ("honest", "few", "shuffled", "noise", "adversary", *LOGS)


@dataclass(frozen=True)
class Tuning:
    """How models are made: from which domain, how and with which seed; and on which domains they are judged."""

    domain: str
    scenario: str
    seed: int
    tested: tuple[str, ...]

    @property
    def name(self) -> str:
        """What lines and messages call it."""
        return f"{self.domain}-{self.scenario}-{self.seed}"


@dataclass(frozen=True)
class Model:
    """One model beside the base on one domain, question by question.

    `base` and `tuned` hold the domain, the general dev set, and a general set that no verdict sees, where it was
    measured.
    """

    name: str
    kind: str
    scenario: str
    target: str
    base: tuple[Measurement, ...]
    tuned: tuple[Measurement, ...]


def tunings(seeds: Sequence[int] = (0,), scenarios: Sequence[str] = SCENARIOS) -> Iterator[Tuning]:
    """Yield every tuning; honest ones are judged on the other domain too, which is training on another domain."""
    for seed in seeds:
        for domain in DOMAINS:
            for scenario in scenarios:
                both = scenario in ("honest", "few")
                yield Tuning(domain, scenario, seed, DOMAINS if both else (domain,))


# --- what a scenario tunes on ---------------------------------------------------------------------------------------


def training_questions(dataset: Dataset, tuning: Tuning) -> Questions:
    """Return `MANY` of the user's questions (few: `FEW`), with wrong answers where labels are shuffled."""
    generator = np.random.default_rng(tuning.seed)
    most = FEW if tuning.scenario in ("few", *LOGS) else MANY
    chosen = generator.permutation(len(dataset.questions))[:most]
    items = [dataset.questions[index] for index in chosen]
    if tuning.scenario == "shuffled":
        turned = generator.permutation(len(items))
        items = [
            replace(item, document_ids=items[other].document_ids) for item, other in zip(items, turned, strict=True)
        ]
    return Questions(tuple(items))


def log_lines(dataset: Dataset, other: Dataset, tuning: Tuning) -> list[str]:
    """Return the log of a scenario; empty where it has none.

    Args:
        dataset: Of the domain; its labelled questions that are trained on as such come first in the same order.
        other: Of another domain.
        tuning: The scenario.
    """
    generator = np.random.default_rng(tuning.seed)
    order = generator.permutation(len(dataset.questions))
    own = [dataset.questions[index].text for index in order[FEW : FEW + LOG_SIZE]]
    words = sorted({word for document in dataset.documents for word in document.text.split()})
    texts = {
        "own log": lambda: own,
        "foreign log": lambda: [item.text for item in generator.permutation(np.array(other.questions, dtype=object))],
        "shuffled log": lambda: _dealt([text.split() for text in own], generator),
        "noise log": lambda: [" ".join(generator.choice(words, 6)) for _ in range(LOG_SIZE)],
    }
    found = texts[tuning.scenario]()[:LOG_SIZE] if tuning.scenario in LOGS else []
    return [" ".join(text.split()) for text in found]


def _dealt(texts: Sequence[list[str]], generator: np.random.Generator) -> list[str]:
    """Deal the words of all texts anew: every text keeps its length, and none its meaning."""
    words = iter(generator.permutation([word for text in texts for word in text]).tolist())
    return [" ".join(next(words) for _ in text) for text in texts]


def spoiled(scores: Scores, tuning: Tuning) -> Scores:
    """Return the panel's scores as a scenario wants them."""
    if tuning.scenario not in ("noise", "adversary"):
        return scores
    values = np.array(scores.values)
    if tuning.scenario == "noise":
        values[:] = np.random.default_rng(tuning.seed).standard_normal(values.shape)
    else:
        values[:, :, 0] *= -1.0  # The strongest expert says the opposite of what it thinks.
    return replace(scores, values=values, plain=None if scores.plain is None else values)


@dataclass
class Spoiled(Run):
    """A run of one scenario."""

    tuning: Tuning = field(default_factory=lambda: Tuning("", "honest", 0, ()))

    def _load(self) -> tuple[data.Loaded, Kept[Dataset]]:
        loaded = data.load(self.config.data)
        chosen = replace(loaded.train, questions=training_questions(loaded.train, self.tuning).items)
        key = self.context.keeper.key("scenario", loaded.fingerprint, self.tuning.name)
        return loaded, Kept(loaded.held_out.apart(chosen), key)

    def model(self) -> TunedModel:
        """Tune on what the panel, spoiled where the scenario says so, makes of the questions."""
        found = self.execute(until=Stage.SCORE)
        assert found.questions
        assert found.scores
        values = spoiled(found.scores, self.tuning)
        digest = hashlib.sha256(np.ascontiguousarray(values.values).tobytes()).hexdigest()
        asked = [(item.text, item.document_ids) for item in found.questions.items]
        key = self.context.keeper.key("spoiled", digest, asked)
        labels = labelled(self.context, found.dataset, found.questions, Kept(values, key))
        return trained(self.context, found.dataset, found.questions, values, labels).value


# --- making and measuring them --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """What all tunings share."""

    root: Path
    work: Path
    steps: int
    batch_size: int

    @cached_property
    def store(self) -> Store:
        """Where runs and measurements are kept."""
        return Store(self.work / "store")

    @cached_property
    def base(self) -> CachedEncoder:
        """The untouched model; its vectors are kept in the store."""
        return CachedEncoder("base", sentence_encoder(BASE), cache=self.store.items)

    def section(self, domain: str) -> DataSection:
        """Return where a domain lies: people's questions to train on, and others to test on."""
        return DataSection(path=str(self.root / domain), train_split="train", test_splits=("test",))

    def config(self, tuning: Tuning) -> Config:
        """Return the config of a scenario; its log is written to a file. Bad experts are trusted all alike."""
        other = next(name for name in DOMAINS if name != tuning.domain)
        first, second = (data.Files(self.section(name)).train for name in (tuning.domain, other))
        lines = log_lines(first, second, tuning)
        log = self.work / f"{tuning.name}.log.txt"
        log.write_text("\n".join(lines) + "\n", encoding="utf-8")
        bad = tuning.scenario in ("noise", "adversary")
        return from_mapping(
            {
                "run": {
                    "out": str(self.work / "run"),
                    "store": str(self.store.root),
                    "seed": tuning.seed,
                    "threads": 1,
                },
                "data": self.section(tuning.domain).model_dump() | {"log": [str(log)] if lines else []},
                "augment": {"per_answer": 0, "spans": 0},
                "score": {"experts": list(PANEL)},
                "label": {"strategy": "calibrated"} if bad else {},
                "train": {"base": BASE, "steps": self.steps, "batch_size": self.batch_size},
            }
        )

    def judged(self, domain: str) -> JudgedSet:
        """Return the test questions of a domain, a fixed sample where they are many."""
        (judged,) = (item for item in data.Files(self.section(domain)).judged if item.role is Role.DOMAIN)
        return sampled(judged, MOST_QUERIES)

    @cached_property
    def general(self) -> list[JudgedSet]:
        """The built-in general dev set, which a run sees, and one that it never sees."""
        hidden = DataSection(general=(str(self.root / HIDDEN_GENERAL),))
        sets = [*data.Files(DataSection()).judged, *data.Files(hidden).judged]
        return [item for item in sets if item.role is Role.GENERAL]

    def models(self, tuning: Tuning) -> Iterator[Model]:
        """Yield every model of a tuning on every domain that it is judged on."""
        sets = {name: self.judged(name) for name in tuning.tested}
        base = [measure(self.base, item, "base") for item in (*sets.values(), *self.general)]
        run = Spoiled(self.config(tuning), tuning=tuning)
        for kind, measured in self._measured(run, run.model(), [*sets.values(), *self.general]).items():
            for place, target in enumerate(sets):
                scenario = tuning.scenario if target == tuning.domain else "foreign"
                pairs = [side[place : place + 1] + side[len(sets) :] for side in (base, measured)]
                before, after = (tuple(pair) for pair in pairs)
                yield Model(f"{tuning.name} {kind} on {target}", kind, scenario, target, before, after)

    def _measured(self, run: Run, kept: TunedModel, sets: Sequence[JudgedSet]) -> dict[str, list[Measurement]]:
        """Return the measurements of the kept model and of those a part of the way; the second time they are read."""
        weight, folder = kept.selection.interpolation_weight, kept.folder

        def make(target: Path) -> None:
            start = one_side(load_model(models.resolve(BASE)), "query")
            end = one_side(load_model(models.resolve(str(folder))), "query")
            # The kept model lies at `weight` of the way: from there a line leads to any other part of it.
            parts = {f"factor {part:g}": part / weight for part in FORCED} if weight else {}
            artefacts.save(
                {
                    kind: [measure(trial_encoder("tuned", model, self.base), item, "tuned") for item in sets]
                    for kind, part in {"chosen": 1.0, **parts}.items()
                    for model in [trainer.interpolate(start, end, part)]
                },
                target,
            )

        key = run.context.keeper.key("measured", folder.parent.name, FORCED, MOST_QUERIES, [item.name for item in sets])
        return artefacts.load(dict[str, list[Measurement]], self.store.obtain("measured", key, make).folder)

    # --- what other benches left in their stores -------------------------------------------------------------------

    @cached_property
    def further(self) -> dict[str, list[JudgedSet]]:
        """The held-out sets of the domains that such models are judged on, and the general dev set."""
        found = {}
        for name in MEASURED:
            sets = data.Files(DataSection(path=str(set_folder(name, self.root)))).judged
            found[name] = [sampled(item, MOST_QUERIES // 4) for item in sets if item.role is Role.DOMAIN]
        return {**found, "general": self.general[:1]}

    @cached_property
    def untouched(self) -> dict[tuple[str, str], Measurement]:
        """The base on each of them, by name and split."""
        sets = [item for items in self.further.values() for item in items]
        return {(item.dataset, item.split): measure(self.base, item, "base") for item in sets}

    def decomposed(self, store: Path) -> Iterator[Model]:
        """Yield the models of every tuning of bench/decompose.py, on each domain that they were measured on."""
        # What begins with a dot is not finished yet.
        for folder in sorted((store / "study").glob("[!.]*")):
            for point in artefacts.load(StudyTuning, folder).points:
                yield from _of_point(folder.name[:8], point, self.untouched)

    def kept(self, store: Path) -> Iterator[Model]:
        """Yield the model of every run in a store, on each domain; on all but one of them it is a foreign one."""
        for folder in sorted((store / "train").glob("[!.]*")):
            made = artefacts.load(TunedModel, folder)
            if made.base != PluginSpec(model=BASE).label or not keeps_documents(made.mode):
                continue
            measured = self._kept_measured(folder)
            for target in MEASURED:
                names = [(item.dataset, item.split) for item in self.further[target]]
                general = [(item.dataset, item.split) for item in self.further["general"]]
                before, after = (
                    (joined([side[name] for name in names]), *(side[name] for name in general))
                    for side in (self.untouched, measured)
                )
                yield Model(f"run-{folder.name[:8]} on {target}", "chosen", "kept by a run", target, before, after)

    def _kept_measured(self, folder: Path) -> dict[tuple[str, str], Measurement]:
        """Return the measurements of a run's model, by name and split; the second time they are read."""
        sets = [item for items in self.further.values() for item in items]

        def make(target: Path) -> None:
            model = one_side(load_model(models.resolve(str(folder / "model"))), "query")
            encoder = trial_encoder("tuned", model, self.base)
            artefacts.save({"tuned": [measure(encoder, item, "tuned") for item in sets]}, target)

        key = fingerprint("kept", folder.name, [item.name for item in sets])
        found = artefacts.load(dict[str, list[Measurement]], self.store.obtain("measured", key, make).folder)
        return {(item.dataset, item.split): item for item in found["tuned"]}


def _of_point(name: str, point: Point, base: Mapping[tuple[str, str], Measurement]) -> Iterator[Model]:
    own = next(item.dataset for item in point.measurements if item.role is Role.DOMAIN)
    known = [
        _as_in(base[item.dataset, item.split], item)
        for item in point.measurements
        if (item.dataset, item.split) in base
    ]
    general = [item for item in known if item.role is Role.GENERAL]
    kind = f"factor {point.factor:g}"
    for target in dict.fromkeys(item.dataset for item in known if item.role is Role.DOMAIN):
        domain = [item for item in known if item.dataset == target]
        untouched = [[base[item.dataset, item.split] for item in items] for items in (domain, general)]
        yield Model(
            name=f"{own}-{name} {kind} on {target}",
            kind=kind,
            scenario="step of the recipe" if target == own else "foreign",
            target=target,
            base=(joined(untouched[0]), *untouched[1]),
            tuned=(joined(domain), *general),
        )


def _as_in(sample: Measurement, whole: Measurement) -> Measurement:
    """Return the measurement of the questions of a sample."""
    row = {name: number for number, name in enumerate(whole.query_ids)}
    return part(whole, [row[name] for name in sample.query_ids])


def part(measurement: Measurement, rows: Sequence[int]) -> Measurement:
    """Return the measurement of some of the questions, in the same order for every model."""
    return replace(
        measurement,
        query_ids=tuple(measurement.query_ids[row] for row in rows),
        clusters=tuple(measurement.clusters[row] for row in rows),
        values={metric: measurement.values[metric][list(rows)] for metric in METRICS},
        ranks=tuple(measurement.ranks[row] for row in rows),
        top=tuple(measurement.top[row] for row in rows),
    )


def sampled(judged: JudgedSet, most: int) -> JudgedSet:
    """Return a judged set with a fixed sample of its questions where they are many."""
    kept = np.random.default_rng(0).permutation(len(judged.queries))[:most]
    queries = tuple(judged.queries[index] for index in sorted(kept))
    return replace(judged, queries=queries, qrels={query.id: judged.qrels[query.id] for query in queries})


def joined(parts: Sequence[Measurement]) -> Measurement:
    """Return the splits of one set as one measurement."""
    first = parts[0]
    return replace(
        first,
        split="test",
        query_ids=tuple(f"{part.split} {name}" for part in parts for name in part.query_ids),
        clusters=tuple(name for part in parts for name in part.clusters),
        values={metric: np.concatenate([part.values[metric] for part in parts]) for metric in first.values},
        ranks=tuple(rank for part in parts for rank in part.ranks),
        top=tuple(top for part in parts for top in part.top),
        ties=0,
    )
