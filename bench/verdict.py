"""Is the verdict itself right? Many small test sets for models whose true quality a large hidden half tells.

    python bench/verdict.py                  # data in ../shared/data; about an hour of one core
    python bench/verdict.py DATA --work DIR  # kept in DIR (default runs/bench-verdict): a killed run goes on
    python bench/verdict.py --logs           # the search logs alone, to bench/results/verdict-logs.json

Models are tuned well and badly: honestly, with few questions, with shuffled labels, with experts replaced by noise,
with an adversarial expert, on another domain than the tested one, and with few questions beside a search log: the
domain's own, one of another domain, one of shuffled words and one of noise.

Each tuning gives three models: what the tool chose by itself, and the tuned weights a quarter and all of the way,
whatever selection would have said. All of them are measured once on every test question. Then each model is judged many
times by the library's own verdict, from small test sets drawn out of one half of the questions; what is true is its
mean difference to the base on the other half.

Writes a line for each run to DIR/runs-DEFAULTS-STEPS-BATCH-REACH.jsonl, the rates to
bench/results/verdict.json (with --logs: verdict-logs.json).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import filterfalse, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import logging

from expertune import data, models
from expertune.config import DataSection, EvaluateSection, LabelSection, PluginSpec, TrainSection
from expertune.evaluate import verdict as rule
from expertune.evaluate.ranking import Encoder
from expertune.evaluate.stage import compare, measure
from expertune.evaluate.statistics import bootstrap_interval
from expertune.label import stage
from expertune.models.encoder import CachedEncoder, sentence_encoder, trial_encoder
from expertune.models.load import load_model
from expertune.pipeline import artefacts
from expertune.pipeline.store import Store, fingerprint
from expertune.records import (
    METRIC,
    METRICS,
    Dataset,
    JudgedSet,
    Measurement,
    Provenance,
    Question,
    Questions,
    Role,
    Scores,
)
from expertune.score.stage import load_experts, score
from expertune.train import trainer
from expertune.train.tuning import VERSION as CHOICE
from expertune.train.tuning import Tuner, tune_and_choose

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from main_job import machine  # noqa: E402

ROOT = HERE.parent
BASE = "all-minilm-l6-v2"
DOMAINS = ("banking77_faq", "stackfaq")
HIDDEN_GENERAL = ("cranfield",)
PANEL = ("all-minilm-l6-v2", "wordllama-256", "bm25", "ngrams")
MOST_QUERIES = 1600
"""Test questions used of one domain: half of them are hidden, and 800 tell a mean to about a point."""
SIZES = (20, 50, 100, 200, 300)
FORCED = (0.25, 1.0)
TOLERANCE = EvaluateSection().general_tolerance
BINS = (-1.0, -0.03, -0.01, 0.0, 0.01, 0.03, 1.0)
DEFAULTS = [section().model_dump(mode="json") for section in (LabelSection, TrainSection)]
"""What models are made by: those of other defaults are other models."""

LOGS = ("foreign log", "shuffled log", "noise log", "own log")
"""Scenarios with few labelled questions beside a log of `LOG_SIZE` questions."""
LOG_SIZE = 300

WORTH = 0.01
"""A tuning really helped if the hidden half shows at least this gain, with an interval that leaves out zero."""


@dataclass(frozen=True)
class Tuning:
    """How models are made on purpose: from which domain, how, with which seed; and on which domains they are judged."""

    domain: str
    scenario: str
    seed: int
    tested: tuple[str, ...]

    @property
    def name(self) -> str:
        """What lines and messages call it."""
        return f"{self.domain}-{self.scenario}-{self.seed}"


def tunings() -> Iterator[Tuning]:
    """Yield every tuning; honest ones are judged on the other domain too, which is training on another domain."""
    for seed in (0, 1):
        for domain in DOMAINS:
            for scenario in ("honest", "few", "shuffled", "noise", "adversary"):
                both = scenario in ("honest", "few")
                yield Tuning(domain, scenario, seed, DOMAINS if both else (domain,))
    for domain in DOMAINS:
        for scenario in LOGS:
            yield Tuning(domain, scenario, 0, (domain,))


# --- making models --------------------------------------------------------------------------------------------------


def training_questions(dataset: Dataset, tuning: Tuning) -> Questions:
    """Return the questions of a scenario: 300 of the user's (few: 40), with wrong answers where labels are shuffled."""
    generator = np.random.default_rng(tuning.seed)
    most = 40 if tuning.scenario in ("few", *LOGS) else 300
    chosen = generator.permutation(len(dataset.questions))[:most]
    items = [dataset.questions[index] for index in chosen]
    if tuning.scenario == "shuffled":
        turned = generator.permutation(len(items))
        items = [
            replace(item, document_ids=items[other].document_ids) for item, other in zip(items, turned, strict=True)
        ]
    return Questions(tuple(items))


def log_questions(dataset: Dataset, other: Dataset, tuning: Tuning) -> tuple[Question, ...]:
    """Return the unlabelled questions of a scenario with a log; none of the others has any.

    Args:
        dataset: Of the domain; its labelled questions that are trained on as such come first in the same order.
        other: Of another domain.
        tuning: The scenario.
    """
    generator = np.random.default_rng(tuning.seed)
    order = generator.permutation(len(dataset.questions))
    own = [dataset.questions[index].text for index in order[40 : 40 + LOG_SIZE]]
    words = sorted({word for document in dataset.documents for word in document.text.split()})
    texts = {
        "own log": lambda: own,
        "foreign log": lambda: [item.text for item in generator.permutation(np.array(other.questions, dtype=object))],
        "shuffled log": lambda: _dealt([text.split() for text in own], generator),
        "noise log": lambda: [" ".join(generator.choice(words, 6)) for _ in range(LOG_SIZE)],
    }
    found = texts[tuning.scenario]()[:LOG_SIZE] if tuning.scenario in LOGS else []
    return tuple(Question(text, (), Provenance.LOG) for text in found)


def _dealt(texts: Sequence[list[str]], generator: np.random.Generator) -> list[str]:
    """Deal the words of all texts anew: every text keeps its length, and none its meaning."""
    words = iter(generator.permutation([word for text in texts for word in text]).tolist())
    return [" ".join(next(words) for _ in text) for text in texts]


def judged_by(scores: Scores, tuning: Tuning) -> tuple[Scores, LabelSection]:
    """Return the scores and the default labels; where experts are bad, a strategy that trusts all of them alike."""
    if tuning.scenario not in ("noise", "adversary"):
        return scores, LabelSection()
    values = np.array(scores.values)
    if tuning.scenario == "noise":
        values[:] = np.random.default_rng(tuning.seed).standard_normal(values.shape)
    else:
        values[:, :, 0] *= -1.0  # The strongest expert says the opposite of what it thinks.
    return replace(scores, values=values), LabelSection(strategy="calibrated")


@dataclass(frozen=True)
class Bench:
    """What all tunings share."""

    root: Path
    store: Store
    steps: int
    batch_size: int

    def base(self) -> CachedEncoder:
        """Return the untouched model; its vectors are kept in the store."""
        expert = sentence_encoder(BASE)
        return CachedEncoder("base", expert, cache=self.store.items)

    def section(self, domain: str) -> DataSection:
        """Return where a domain lies: people's questions to train on, and others to test on."""
        return DataSection(path=str(self.root / domain), train_split="train", test_splits=("test",))

    def judged(self, domain: str) -> JudgedSet:
        """Return the test questions of a domain, a fixed sample where they are many."""
        (judged,) = (item for item in data.Files(self.section(domain)).judged if item.role is Role.DOMAIN)
        kept = np.random.default_rng(0).permutation(len(judged.queries))[:MOST_QUERIES]
        queries = tuple(judged.queries[index] for index in sorted(kept))
        return replace(judged, queries=queries, qrels={query.id: judged.qrels[query.id] for query in queries})

    def measured(self, tuning: Tuning, sets: Sequence[JudgedSet]) -> dict[str, list[Measurement]]:
        """Return the measurements of every model of a tuning on these sets; the second time they are read."""

        def make(folder: Path) -> None:
            artefacts.save(dict(measured_models(self, tuning, sets)), folder)

        key = fingerprint(CHOICE, DEFAULTS, tuning.name, self.steps, self.batch_size, [item.name for item in sets])
        return artefacts.load(dict[str, list[Measurement]], self.store.obtain("measured", key, make).folder)

    def general(self) -> list[JudgedSet]:
        """Return the built-in general dev set, which the tool sees, and one that it never sees."""
        hidden = tuple(str(self.root / name) for name in HIDDEN_GENERAL)
        sets = [*data.Files(DataSection()).judged, *data.Files(DataSection(general=hidden)).judged]
        return [item for item in sets if item.role is Role.GENERAL]


def measured_models(bench: Bench, tuning: Tuning, sets: Sequence[JudgedSet]) -> Iterator[tuple[str, list[Measurement]]]:
    """Tune once as the tool does and once to the end; yield each model's name and measurements."""
    base = models.resolve(BASE)
    encoder = bench.base()
    dataset = data.Files(bench.section(tuning.domain)).train
    questions = training_questions(dataset, tuning)
    other = next(name for name in DOMAINS if name != tuning.domain)
    logged = log_questions(dataset, data.Files(bench.section(other)).train, tuning)
    questions = replace(questions, items=(*questions.items, *logged))
    experts = load_experts([PluginSpec.model_validate(_spec(name)) for name in PANEL], offline=True)
    scores = score(dataset, questions, experts, cache=bench.store.items)
    scores, label_section = judged_by(scores, tuning)
    soft = stage.label(dataset, questions, scores, label_section, base=base.name)
    section = TrainSection(steps=bench.steps, batch_size=bench.batch_size)
    tuner = Tuner(base, encoder, section, data.reference_sentences(), tuning.seed)

    def measurements(model: Any) -> list[Measurement]:
        trial: Encoder = trial_encoder("tuned", model, encoder)
        return [measure(trial, judged, "tuned") for judged in sets]

    if tuning.seed == 0:  # What selection does is the same question every time; once a scenario is enough.
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            tune_and_choose(
                tuner,
                stage.Labeller(dataset, questions, scores, label_section, base.name),
                soft,
                data.load_general_dev_set(),
                folder,
                scratch=Path(scratch),
                general_tolerance=TOLERANCE,
            )
            yield "chosen", measurements(load_model(models.resolve(str(folder))))
    with tempfile.TemporaryDirectory() as scratch:
        tuner.tune(tuner.data(dataset.documents, questions, soft), Path(scratch))
        start, end = load_model(base), load_model(models.resolve(scratch))
        for factor in FORCED:
            yield f"factor {factor:g}", measurements(trainer.interpolate(start, end, factor))


def _spec(name: str) -> dict[str, str]:
    return {"use": name} if name in ("bm25", "ngrams") else {"model": name}


# --- judging them ---------------------------------------------------------------------------------------------------


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


def halves(count: int) -> tuple[list[int], list[int]]:
    """Split rows into those that test sets are drawn from and those that stay hidden."""
    order = np.random.default_rng(0).permutation(count).tolist()
    return sorted(order[: count // 2]), sorted(order[count // 2 :])


def difference(base: Measurement, tuned: Measurement) -> dict[str, float]:
    """Return the mean difference of nDCG@10 and its interval."""
    found = bootstrap_interval(tuned.values[METRIC] - base.values[METRIC], base.clusters)
    return {"difference": round(found.mean, 5), "low": round(found.low, 5), "high": round(found.high, 5)}


def judge(base: Sequence[Measurement], tuned: Sequence[Measurement], rows: Sequence[int]) -> dict[str, Any]:
    """Give the library's verdict from some questions of the domain (first set) and the general dev set (second)."""
    pairs = [(part(base[0], rows), part(tuned[0], rows)), (base[1], tuned[1])]
    comparisons = [item for pair in pairs for item in compare(*pair)]
    said = rule.verdict(comparisons, [item for pair in pairs for item in pair], [], tolerance=TOLERANCE)
    own = next(item for item in comparisons if item.metric == METRIC)
    return {
        "difference": round(own.difference, 5),
        "detectable": round(own.detectable, 5),
        "domain": said.domain,
        "general": said.general,
        "ship": said.ship,
    }


def runs(
    model: str,
    tuning: Tuning,
    base: Sequence[Measurement],
    tuned: Sequence[Measurement],
    *,
    draws: int,
    done: Set[str] = frozenset(),
) -> Iterator[dict[str, Any]]:
    """Yield a line for each test set of one model that is not among those done: what is true, what was said.

    Args:
        model: Name of the model within its tuning.
        tuning: How it was made.
        base: Of the base: the domain, the general dev set, then general ones that the verdict never sees.
        tuned: The same of the model.
        draws: Test sets of each size.
        done: Keys of finished runs.
    """
    seen, hidden = halves(len(base[0].query_ids))
    target = base[0].dataset
    general = [after.mean(METRIC) - before.mean(METRIC) for before, after in zip(base[2:], tuned[2:], strict=True)]
    truth = {
        **difference(part(base[0], hidden), part(tuned[0], hidden)),
        "general": round(float(np.mean(general)), 5),
    }
    scenario = tuning.scenario if tuning.domain == target else "foreign"
    for size in SIZES:
        for draw in range(draws):
            key = f"{tuning.name} {model} on {target} {size} {draw}"
            if key in done or size > len(seen):
                continue
            generator = np.random.default_rng(zlib.crc32(key.encode()))  # Each model has test sets of its own.
            rows = sorted(generator.choice(seen, size, replace=False).tolist())
            yield {
                "key": key,
                "model": f"{tuning.name} {model} on {target}",
                "kind": model,
                "scenario": scenario,
                "target": target,
                "size": size,
                "truth": truth,
                "said": judge(base, tuned, rows),
            }


# --- what follows ---------------------------------------------------------------------------------------------------


def rate(lines: Iterable[dict[str, Any]], happened: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """Return how often something happened, with a 95 % interval over models; None where nothing could.

    Runs of one model are no independent observations, so models are resampled. Where it never (or always) happened,
    the open end of the interval is the exact one, every model counting as one observation.
    """
    lines = list(lines)
    if not lines:
        return None
    values = [float(happened(line)) for line in lines]
    names = [line["model"] for line in lines]
    found = bootstrap_interval(values, names)
    count = len(set(names))
    reach = 1 - 0.025 ** (1 / count)
    low = max(0.0, found.low) if found.mean < 1 else 1 - reach
    high = min(1.0, found.high) if found.mean > 0 else reach
    return {
        "rate": round(found.mean, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "runs": len(lines),
        "models": count,
    }


def worse(line: dict[str, Any]) -> bool:
    """Whether the hidden half says that the model is worse than the base, by however little."""
    return bool(line["truth"]["difference"] < 0)


def helped(line: dict[str, Any]) -> bool:
    """Whether the hidden half shows a gain worth having."""
    return bool(line["truth"]["low"] > 0 and line["truth"]["difference"] >= WORTH)


def shipped(line: dict[str, Any]) -> bool:
    """Whether the verdict said ship."""
    return bool(line["said"]["ship"])


def kept_base(line: dict[str, Any]) -> bool:
    """Whether the verdict said not to ship."""
    return not shipped(line)


def forgot(line: dict[str, Any]) -> bool:
    """Whether general ability, on sets that the verdict never sees, fell by more than the tolerance."""
    return bool(line["truth"]["general"] < -TOLERANCE)


def visible(line: dict[str, Any]) -> bool:
    """Whether the test set could have shown the true gain, by what the verdict itself calls detectable."""
    return bool(line["said"]["detectable"] <= line["truth"]["difference"])


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the two rates, over all runs and by what they depend on."""

    def both(some: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "ships_worse": rate(filter(worse, some), shipped),
            "keeps_base_though_it_helped": rate(filter(helped, some), kept_base),
        }

    def by(name: str) -> dict[str, Any]:
        values = sorted({line[name] for line in lines})
        return {str(value): both([line for line in lines if line[name] == value]) for value in values}

    return {
        "runs": len(lines),
        "models": len({line["model"] for line in lines}),
        "goals": {"ships_worse": 0.05, "keeps_base_though_it_helped": 0.2},
        **both(lines),
        "worse_of_shipped": rate(filter(shipped, lines), worse),
        "keeps_base_though_it_helped_and_nothing_was_lost": rate(filterfalse(forgot, filter(helped, lines)), kept_base),
        "keeps_base_though_it_helped_and_the_set_could_show_it": rate(
            filter(visible, filter(helped, lines)), kept_base
        ),
        "ships_though_general_fell_by_more_than_the_tolerance": rate(filter(forgot, lines), shipped),
        "shipped_by_true_difference": {
            f"{low:+.2f} to {high:+.2f}": rate(
                (line for line in lines if low <= line["truth"]["difference"] < high), shipped
            )
            for low, high in pairwise(BINS)
        },
        "by_size": by("size"),
        "by_scenario": by("scenario"),
        "by_kind": by("kind"),
        "by_target": by("target"),
        "truth": {line["model"]: line["truth"] for line in lines},
    }


def main() -> None:
    """Make what is missing, judge it, print the rates and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "bench-verdict")
    parser.add_argument("--steps", type=int, default=30, help="of each tuning")
    parser.add_argument("--batch-size", type=int, default=32, help="questions a step")
    parser.add_argument("--draws", type=int, default=5, help="test sets of each size for each model")
    parser.add_argument("--reach", type=float, default=rule.REACH, help="below zero, of a gain that is likely; 0: none")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=DOMAINS)
    parser.add_argument("--logs", action="store_true", help="only the scenarios with a search log")
    parser.add_argument("--most", type=int, help="only the first so many tunings: a trial that writes no result")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    logging.disable_progress_bar()  # transformers draws one for every model that is loaded
    started = time.perf_counter()
    bench = Bench(given.data, Store(given.work / "store"), given.steps, given.batch_size)
    wanted = [item for item in tunings() if item.domain in given.domains and (item.scenario in LOGS or not given.logs)]
    sets = {domain: bench.judged(domain) for item in wanted for domain in item.tested}
    general = bench.general()
    base = {judged.dataset: measure(bench.base(), judged, "base") for judged in (*sets.values(), *general)}
    usual, rule.REACH = rule.REACH, given.reach
    made = fingerprint(CHOICE, DEFAULTS)[:8]
    file = given.work / f"runs-{made}-{given.steps}-{given.batch_size}-{given.reach:g}.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    lines = [line for line in lines if line["scenario"] in LOGS or not given.logs]
    done = {line["key"] for line in lines}
    for tuning in wanted[: given.most]:
        tested = [*(sets[name] for name in tuning.tested), *general]
        for model, tuned in bench.measured(tuning, tested).items():
            for place in range(len(tuning.tested)):
                own = [tuned[place], *tuned[len(tuning.tested) :]]
                with file.open("a", encoding="utf-8") as log:
                    before = [base[item.dataset] for item in own]
                    for line in runs(model, tuning, before, own, draws=given.draws, done=done):
                        lines.append(line)
                        log.write(json.dumps(line) + "\n")
        seconds = f"{time.perf_counter() - started:.0f} s ({time.process_time():.0f} s of the processor)"
        print(f"{tuning.name}: {len(lines)} runs, {seconds}", flush=True)
    found = summary(lines)
    print(json.dumps(found, indent=1))
    if given.most is None:
        names = ("steps", "batch_size", "draws", "reach")
        settings = {"base": BASE, **{name: getattr(given, name) for name in names}}
        kept = {"machine": machine(), "settings": settings, **found}
        suffix = "" if given.reach == usual else f"-{given.reach:g}"
        target = HERE / "results" / f"verdict{'-logs' if given.logs else ''}{suffix}.json"
        target.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
