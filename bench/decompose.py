"""What is the gain made of? The parts of the recipe added one by one, and the panel against fewer experts.

    python bench/decompose.py sofmattress_faq covidfaq_jhu banking77_faq --seeds 0 1   # 5 to 20 minutes a set and seed
    python bench/decompose.py --page                                                   # write page and plot anew

Every row is one tuning with each seed, on the questions and scores of one run of the defaults with a search log: the
questions of qrels/train.tsv without their labels. All rows of a set take as many steps as that run would. Nothing is
chosen on held-out questions: the best expert is the one that ranks the labelled questions best. The last row searches
the model of the row before in an index of answers and questions; nothing is tuned for it.

Tunings are kept in the store, so a killed call goes on after its last one. Writes bench/results/decomposition.json;
sets of other calls stay in the file.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from expertune import data
from expertune.commands.study.lab import FACTORS, KEPT, Lab, Point, Tuning
from expertune.config import DataSection, PluginSpec
from expertune.evaluate.ranking import DECIMALS, Encoder, judged_queries, rank_scores
from expertune.evaluate.stage import measure, measurement
from expertune.evaluate.statistics import FEWEST_FOR_INTERVAL, seeds_interval
from expertune.index import Layout, layouts_of
from expertune.records import (
    METRIC,
    JudgedSet,
    Measurement,
    Provenance,
    Questions,
    Report,
    Role,
    SoftLabels,
    ignore_progress,
)
from expertune.train import trainer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from origin import origin  # noqa: E402
from pages import put  # noqa: E402
from sets import DATA, configured  # noqa: E402
from sets import folder as set_folder  # noqa: E402

ROOT = HERE.parent

RESULT = HERE / "results" / "decomposition.json"
PAGE = ROOT / "docs" / "findings" / "what-the-gain-is-made-of.md"
PLOT = ROOT / "docs" / "panel-worth.svg"
BEGIN, END = "<!-- decomposition:begin -->", "<!-- decomposition:end -->"
ON_QUESTIONS = " on answers and questions"
"""Behind the split of what an index of answers and questions finds."""
FURTHER = ("covidfaq_jhu", "shop")
"""Domain sets that tunings on other sets are measured on as well, for bench/verdict.py: another domain's model."""


@dataclass(frozen=True)
class Row:
    """One recipe. `train` is laid over the train section.

    `experts`: all, best, base, none (hard labels), or even: hard labels as `mixed` weighs them, and instead of the
    panel the same share for every answer.
    """

    name: str
    experts: str = "all"
    spans: bool = True
    share: bool = True
    privileged: bool = True
    log: bool = True
    train: Mapping[str, Any] = field(default_factory=dict)
    layout: bool = False

    @property
    def tuned_as(self) -> str:
        """The name of the row whose model this is: another index of it is not tuned again."""
        return LOG.name if self.layout else self.name


FREE = {"reference_weight": 0.0, "frozen_layers": 0.0}
ALONE = Row("labelled questions alone", "none", False, False, False, False, FREE)
SPANS = replace(ALONE, name="+ spans of the answers", spans=True)
SHARE = replace(SPANS, name="+ a quarter of the questions are labelled ones", share=True)
HELD = replace(SHARE, name="+ reference sentences, half of the layers held", train={})
BEST = replace(HELD, name="+ soft labels of the best expert", experts="best")
PANEL = replace(BEST, name="+ of all eight experts, weighted", experts="all")
READING = replace(PANEL, name="+ they read the labelled questions with the answers", privileged=True)
LOG = replace(READING, name="+ the search log", log=True)
LAYOUT = replace(LOG, name="+ an index of answers and questions", layout=True)
CHAIN = (ALONE, SPANS, SHARE, HELD, BEST, PANEL, READING, LOG, LAYOUT)
"""Each adds one thing to the one before it."""

ONE = replace(LOG, name="the whole recipe, the best expert alone", experts="best")
BASE = replace(LOG, name="the whole recipe, the base as the only expert", experts="base")
GENTLE = replace(ALONE, name="labelled questions alone, rate 5e-5", train={**FREE, "learning_rate": 5e-5})
EVEN = replace(HELD, name="hard labels, smoothed evenly instead of by experts", experts="even")
BESIDE = (ONE, BASE, GENTLE, EVEN)
"""Rows that stand beside the chain."""

ORDER = (HELD, LOG, ONE, READING, PANEL, BEST, ALONE, SPANS, SHARE, BASE, EVEN, GENTLE)
"""In which rows are tuned: where time runs out, what the panel is worth is there."""

WORTH = {
    "the panel instead of its best expert, no log": (PANEL, BEST),
    "the panel instead of its best expert": (LOG, ONE),
    "the panel instead of the base as the only expert": (LOG, BASE),
    "the panel instead of hard labels, no log": (READING, HELD),
    "the panel instead of an even smoothing, no log": (READING, EVEN),
    "the panel and the log instead of hard labels": (LOG, HELD),
}
"""What the panel of eight is worth: one row minus another."""


class Bench(Lab):
    """A lab whose points also hold what an index of answers and questions finds, and sets of other domains."""

    def __init__(self, given: argparse.Namespace, name: str, report: Report = ignore_progress) -> None:
        config = configured(given, name, 0)
        super().__init__(config, report)
        self.name = name
        steps = given.steps or trainer.planned(config.train, len(self.questions.items)).steps
        self.config = self.config.model_copy(update={"train": self.config.train.model_copy(update={"steps": steps})})
        root = given.data_root
        sections = [DataSection(path=str(set_folder(other, root))) for other in FURTHER if other != name]
        self.further = [item for section in sections for item in data.Files(section).judged if item.role is Role.DOMAIN]

    def _point(self, encoder: Encoder, factor: float) -> Point:
        point = super()._point(encoder, factor)
        if factor not in (0.0, KEPT):
            return point
        domain = [item for item in self.basis.judged if item.role is Role.DOMAIN]
        layouts = [self._on_questions(encoder, item) for item in domain]
        further = [measure(encoder, item, encoder.name) for item in self.further]
        return replace(point, measurements=(*point.measurements, *layouts, *further))

    def _on_questions(self, encoder: Encoder, judged: JudgedSet) -> Measurement:
        """Measure what an index of answers and questions finds; how they are mixed is chosen as an export does."""
        layouts = layouts_of(encoder, self.dataset, documents=judged.documents, base=self._base_encoder)
        texts = list(judged_queries(judged)[0].values())
        scores = np.round(layouts[Layout.MIXED].scores(encoder.encode_queries(texts)), DECIMALS)
        found = measurement(rank_scores(scores, judged), judged, encoder.name)
        return replace(found, split=found.split + ON_QUESTIONS)

    @property
    def kinds(self) -> list[str]:
        """Where each question of the whole recipe comes from."""
        return [str(item.provenance) for item in self.questions.items]

    # --- what a row tunes on ---------------------------------------------------------------------------------------

    def tunings(self, row: Row, seeds: Sequence[int]) -> list[Tuning]:
        """Return one tuning a seed."""
        return self.tuned(self.taught(row), seeds=seeds, **row.train)

    def taught(self, row: Row) -> tuple[Questions, SoftLabels]:
        """Return the questions of a row and their targets."""
        rows = np.array([place for place, item in enumerate(self.questions.items) if _asked(item.provenance, row)])
        questions, labels = self.labels(
            "hard" if row.experts in ("none", "even") else "",
            rows=rows,
            experts=self.columns(row.experts),
            plain=not row.privileged,
        )
        if row.experts == "even":
            labels = smoothed(labels, questions, self.config.label.hard_weight)
        return (questions if row.share or not row.spans else unshared(questions)), labels

    def columns(self, experts: str) -> list[int]:
        """Return which experts of the panel speak."""
        if experts == "best":
            return [self.best]
        if experts == "base":
            return [self.scores.experts.index(PluginSpec(model=self.config.train.base).label)]
        return list(range(len(self.scores.experts)))

    @cached_property
    def best(self) -> int:
        """The expert that ranks the labelled questions best, each against plain answers."""
        _, labels = self.labels()
        return int(np.nanargmax([expert.ndcg for expert in labels.panel]))


def _asked(provenance: Provenance, row: Row) -> bool:
    if provenance is Provenance.SPAN:
        return row.spans
    return provenance is not Provenance.LOG or row.log


def smoothed(labels: SoftLabels, questions: Questions, hard_weight: float) -> SoftLabels:
    """Return hard labels in which spans give all but this weight to every active answer alike."""
    even = np.asarray(labels.active, dtype=np.float32) / np.float32(np.sum(labels.active))
    weight = np.where(questions.labelled, 1.0, hard_weight).astype(np.float32)[:, None]
    return replace(labels, targets=weight * labels.targets + (1 - weight) * even)


def unshared(questions: Questions) -> Questions:
    """Return the same questions without telling which are labelled ones, so that training repeats none of them."""
    return Questions(tuple(replace(item, provenance=Provenance.SPAN) for item in questions.items))


# --- gains ----------------------------------------------------------------------------------------------------------

Differences = dict[str, tuple[NDArray[np.float64], tuple[str, ...]]]
"""By kind of questions: values `[S, Q]`, seeds x questions, and the cluster of each question."""


def values(points: Sequence[Point], name: str, *, layout: bool) -> Differences:
    """Return nDCG@10 of repeated models by kind: seen, unseen and the general dev set."""
    found: Differences = {}
    for number, item in enumerate(points[0].measurements):
        kind = kind_of(item, name, layout=layout)
        if kind:
            table = np.stack([point.measurements[number].values[METRIC] for point in points])
            found[kind] = (table, item.clusters)
    return found


def kind_of(item: Measurement, name: str, *, layout: bool) -> str:
    """Return the kind of questions of a measurement; empty: it is for others."""
    if item.role is Role.GENERAL:
        return "general"
    if item.dataset != name or item.split.endswith(ON_QUESTIONS) is not layout:
        return ""
    return item.split.removesuffix(ON_QUESTIONS).removeprefix("test_")


def differences(after: Differences, before: Differences) -> dict[str, dict[str, float]]:
    """Return mean and interval of each kind, and of the domain, whose kinds count the same; points of nDCG@10 x 100."""
    parts = {kind: (table - before[kind][0], clusters) for kind, (table, clusters) in after.items()}
    domain = {kind: part for kind, part in parts.items() if kind != "general"}
    total = sum(table.shape[1] for table, _ in domain.values())
    weighted = [table * (total / (len(domain) * table.shape[1])) for table, _ in domain.values()]
    clusters = tuple(f"{kind} {name}" for kind, (_, names) in domain.items() for name in names)
    parts["domain"] = (np.concatenate(weighted, axis=1), clusters)
    return {kind: _points(table, names) for kind, (table, names) in parts.items()}


def _points(table: NDArray[np.float64], clusters: Sequence[str]) -> dict[str, float]:
    found = seeds_interval(table, clusters)
    return {name: round(100 * getattr(found, name), 2) for name in ("mean", "low", "high")} | {
        "answers": found.clusters
    }


def described(bench: Bench, tuned: Mapping[str, list[Tuning]], seeds: Sequence[int]) -> dict[str, Any]:
    """Return every row that is tuned: its gain over the base at each weight, and what it adds to the row before."""

    def of(row: Row, factor: float) -> Differences:
        points = [tuning.at(factor) for tuning in tuned[row.tuned_as]]
        return values(points, bench.name, layout=row.layout)

    base = values([bench.base] * len(seeds), bench.name, layout=False)
    done = [row for row in (*CHAIN, *BESIDE) if row.tuned_as in tuned]
    rows = []
    for row in done:
        line: dict[str, Any] = {"row": row.name}
        factors = [KEPT] if row.layout else FACTORS
        line["gain"] = {f"{factor:g}": differences(of(row, factor), base) for factor in factors}
        before = CHAIN[CHAIN.index(row) - 1] if row in CHAIN[1:] else None
        line["step"] = differences(of(row, KEPT), of(before, KEPT)) if before in done else None
        line["seconds"] = [round(tuning.seconds, 1) for tuning in tuned[row.tuned_as]]
        rows.append(line)
    worth = {
        name: differences(of(first, KEPT), of(second, KEPT))
        for name, (first, second) in WORTH.items()
        if first in done and second in done
    }
    return {
        "set": bench.name,
        "seeds": list(seeds),
        "steps": bench.config.train.steps,
        "questions": {str(kind): bench.kinds.count(kind) for kind in sorted(set(bench.kinds))},
        "best_expert": bench.scores.experts[bench.best],
        "weight": KEPT,
        "rows": rows,
        "worth": worth,
    }


# --- running and keeping --------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="shop, or folders of the shared data")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=0, help="of every tuning: a trial that writes no result")
    parser.add_argument("--data-root", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "decomposition")
    parser.add_argument("--store", type=Path, help="one that no study has tuned in; default: WORK/store")
    parser.add_argument("--page", action="store_true", help="write page and plot from the file, tune nothing")
    given = parser.parse_args()
    given.no_log = False
    benches: dict[str, Bench] = {}
    tuned: dict[str, dict[str, list[Tuning]]] = {}
    for number, seed in enumerate(given.seeds, start=1):
        for name in given.sets:
            if name not in benches:
                benches[name] = Bench(given, name)
            bench = benches[name]
            own = tuned.setdefault(name, {})
            for row in ORDER:
                own.setdefault(row.name, []).extend(bench.tunings(row, [seed]))
                print(f"{name}, seed {seed}: {row.name}, {own[row.name][-1].seconds:.0f} s", flush=True)
                # Rows of one seed stand by themselves; with further seeds, all rows must have them.
                if not given.steps and (number == 1 or row is ORDER[-1]):
                    keep(described(bench, own, given.seeds[:number]))
    if given.page or (given.sets and not given.steps):
        write_page(kept()["sets"])


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"sets": []}
    return found


def keep(entry: dict[str, Any]) -> None:
    """Put the figures of a set into the file in place of earlier ones, and write page and plot."""
    sets = [other for other in kept()["sets"] if other["set"] != entry["set"]]
    sets = sorted([*sets, {**entry, "origin": origin()}], key=lambda item: str(item["set"]))
    RESULT.write_text(json.dumps({"sets": sets}, indent=1) + "\n", encoding="utf-8")
    write_page(sets)


# --- the page -------------------------------------------------------------------------------------------------------


def write_page(sets: Sequence[Mapping[str, Any]]) -> None:
    """Put the tables between the marks of the page, and draw the plot."""
    put(PAGE, BEGIN, END, "\n".join(_tables(sets)) + "\n")
    PLOT.write_text(drawn(sets), encoding="utf-8")


def _tables(sets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _summary(sets)
    for entry in sets:
        count = len(entry["seeds"])
        seeds = "one seed" if count == 1 else f"{count} seeds"
        yield f"### {entry['set']}, {seeds}, {entry['steps']} steps\n"
        kinds = [kind for kind in entry["rows"][0]["gain"][f"{KEPT:g}"] if kind not in ("general", "domain")]
        heads = [*kinds, "general", "adds in the domain", "adds in general"]
        yield f"| what is tuned on | {' | '.join(heads)} |"
        yield "|---|" + "--:|" * len(heads)
        for line in entry["rows"]:
            gain, step = line["gain"][f"{KEPT:g}"], line["step"] or {}
            cells = [shown(gain[kind]) for kind in (*kinds, "general")]
            cells += [shown(step[kind]) if step else "" for kind in ("domain", "general")]
            yield f"| {line['row']} | {' | '.join(cells)} |"
        asked = ", ".join(f"{number} {kind}" for kind, number in entry["questions"].items())
        yield f"\nQuestions: {asked}. Best expert on the labelled questions: {entry['best_expert']}.\n"
        yield f"| what the panel of eight is worth | {' | '.join((*kinds, 'general'))} |"
        yield "|---|" + "--:|" * (len(kinds) + 1)
        for name, found in entry["worth"].items():
            yield f"| {name} | {' | '.join(shown(found[kind]) for kind in (*kinds, 'general'))} |"
        yield ""


def _summary(sets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say of each step on how many sets it was shown to help or to harm, and its mean over the sets."""
    yield "| step | domain, mean of the sets | better / worse / not shown | general | better / worse / not shown |"
    yield "|---|--:|---|--:|---|"
    for row in CHAIN[1:]:
        lines = [line for entry in sets for line in entry["rows"] if line["row"] == row.name and line["step"]]
        yield _counted(row.name, [line["step"] for line in lines])
    for name in WORTH:
        yield _counted(f"*{name}*", [entry["worth"][name] for entry in sets if name in entry["worth"]])
    yield ""


def _counted(name: str, steps: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    cells = []
    for kind in ("domain", "general"):
        found = [step[kind] for step in steps]
        better = sum(item["low"] > 0 for item in found)
        worse = sum(item["high"] < 0 for item in found)
        mean = f"{np.mean([item['mean'] for item in found]):+z.1f}" if found else ""
        cells += [mean.replace("-", MINUS), f"{better} / {worse} / {len(found) - better - worse}"]
    return f"| {name} | {' | '.join(cells)} |"


def _sure(interval: Mapping[str, float]) -> bool:
    return interval["answers"] >= FEWEST_FOR_INTERVAL


MINUS = "\N{MINUS SIGN}"


def shown(interval: Mapping[str, float]) -> str:
    """Return a difference in points as people read it, with its interval unless it rests on too few answers."""
    mean, low, high = (f"{interval[key]:+z.1f}".replace("-", MINUS) for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})" if _sure(interval) else mean


def drawn(sets: Sequence[Mapping[str, Any]]) -> str:
    """Draw what the panel is worth on each set: over its best expert, over the base alone and over hard labels."""
    import matplotlib

    kinds = ("seen", "unseen")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "expertune", "font.size": 10}):
        figure = Figure(figsize=(9.6, 1.4 + 1.1 * len(sets)), layout="constrained")
        panels = figure.subplots(1, len(kinds), sharey=True, sharex=True)
        for axes, kind in zip(panels, kinds, strict=True):
            for shift, name in enumerate(WORTH):
                part = [
                    (place, entry["worth"][name][kind]) for place, entry in enumerate(sets) if name in entry["worth"]
                ]
                rows = [place + 0.15 * (shift - (len(WORTH) - 1) / 2) for place, _ in part]
                axes.plot([item["mean"] for _, item in part], rows, "o", markersize=4, color=f"C{shift}", label=name)
                # No line where an interval would rest on too few answers.
                lines = [(row, item) for row, (_, item) in zip(rows, part, strict=True) if _sure(item)]
                lows, highs = ([item[end] for _, item in lines] for end in ("low", "high"))
                axes.hlines([row for row, _ in lines], lows, highs, color=f"C{shift}", alpha=0.5)
            axes.axvline(0, color="0.6", linewidth=0.8)
            axes.set(title=f"{kind} answers", xlabel="nDCG@10 x 100, one minus the other")
            axes.set_yticks(range(len(sets)), [entry["set"] for entry in sets])
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


if __name__ == "__main__":
    main()
