"""Is the verdict itself right? Many small test sets for models whose true quality other answers tell.

    python bench/verdict.py                   # data in ../shared/data; makes its models, 15 minutes of one core
    python bench/verdict.py --runs DIR        # the models of runs in the store of bench/layouts.py are judged as well
    python bench/verdict.py --decomposed DIR  # and the tunings in the store of bench/decompose.py

Three questions, each with its own answer:

*Real models*, good and bad on purpose (bench/verdict_models.py). Test sets are drawn from the questions about one half
of a set's answers; what is true is the mean difference to the base on the questions about the other half. So what is
true has an error of its own, and near zero its sign is a guess.

*Models whose true effect is known*, as many near zero as far from it. The differences of each real model, question by
question, are moved so that their mean over the answers is 0, a point less, a point more and so on; questions that the
model does not change stay so, and a few answers that fall much still do. Test sets are drawn with replacement, answers
first, so their expected difference is the known one. At 0 nothing can be gained: whatever ships, ships by chance.

*Choices* that a run makes otherwise: the estimate by cross-validation against held-out questions (bench/crossval.py),
and an index of answers and questions against one of answers (bench/layouts.py), from their result files.

Writes bench/results/verdict.json. Models are kept in --work: a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import filterfalse, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers.utils import logging

from expertune.config import EvaluateSection
from expertune.evaluate import statistics
from expertune.evaluate import verdict as rule
from expertune.evaluate.stage import compare
from expertune.evaluate.statistics import bootstrap_interval
from expertune.records import METRIC, METRICS, Measurement, Outcome

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from origin import origin  # noqa: E402
from verdict_models import BASE, DOMAINS, SCENARIOS, Bench, Model, part, tunings  # noqa: E402

ROOT = HERE.parent
RESULTS = HERE / "results"
SIZES = (20, 50, 100, 200, 300)
FEWEST_ANSWERS = 40
"""A set with fewer answers is not split: its hidden half would tell nothing."""
TOLERANCE = EvaluateSection().general_tolerance
BINS = (-1.0, -0.03, -0.01, -0.003, 0.0, 0.003, 0.01, 0.03, 1.0)
EFFECTS = (-0.03, -0.01, -0.005, 0.0, 0.005, 0.01, 0.03)
"""True differences that models are moved to."""
LEAST_CHANGED = 0.1
"""A model that changes a smaller share of the questions is not moved: few questions would have to carry all of it."""
WORTH = 0.01
"""A tuning really helped if the hidden half shows at least this gain, with an interval that leaves out zero."""
RESAMPLES = 2_000
"""Of each judgement, where a run takes 10,000: tens of thousands are made."""
GOALS = {"ships_worse": 0.05, "keeps_base_though_it_helped": 0.15}

Line = dict[str, Any]

# --- judging --------------------------------------------------------------------------------------------------------


def halves(clusters: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Split rows by answer into those that test sets are drawn from and those that stay hidden."""
    answers = sorted(set(clusters))
    shown = set(np.random.default_rng(seed).permutation(answers)[: len(answers) // 2].tolist())
    rows = range(len(clusters))
    return [row for row in rows if clusters[row] in shown], [row for row in rows if clusters[row] not in shown]


def difference(base: Measurement, tuned: Measurement) -> dict[str, float]:
    """Return the mean difference of nDCG@10 and its interval."""
    found = bootstrap_interval(tuned.values[METRIC] - base.values[METRIC], base.clusters)
    return {"difference": round(found.mean, 5), "low": round(found.low, 5), "high": round(found.high, 5)}


def judge(base: Sequence[Measurement], tuned: Sequence[Measurement]) -> Line:
    """Give the library's verdict from a test set of the domain (first) and the general dev set (second)."""
    pairs = list(zip(base[:2], tuned[:2], strict=True))
    comparisons = [item for pair in pairs for item in compare(*pair)]
    named = [replace(item, model=name) for pair in pairs for item, name in zip(pair, ("base", "tuned"), strict=True)]
    said = rule.verdict(comparisons, named, [], tolerance=TOLERANCE)
    own = next(item for item in comparisons if item.metric == METRIC)
    return {
        "difference": round(own.difference, 5),
        "detectable": round(own.detectable, 5),
        "domain": said.domain,
        "general": said.general,
        "ship": bool(said.ship),
    }


def _generator(key: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(key.encode()))  # Each model has test sets of its own.


def runs(model: Model, *, draws: int, splits: int = 2) -> Iterator[Line]:
    """Yield a line for each test set of a real model: what is true, what was said.

    Args:
        model: Judged by its domain and the general dev set.
        draws: Test sets of each size, for each split of the answers.
        splits: How often the answers are split anew.
    """
    base, tuned = model.base, model.tuned
    if len(set(base[0].clusters)) < FEWEST_ANSWERS:
        return
    general = [after.mean(METRIC) - before.mean(METRIC) for before, after in zip(base[2:], tuned[2:], strict=True)]
    for split in range(splits):
        shown, hidden = halves(base[0].clusters, split)
        truth = {
            **difference(part(base[0], hidden), part(tuned[0], hidden)),
            "general": round(float(np.mean(general)), 5) if general else None,
        }
        for size in SIZES:
            for draw in range(draws if size <= len(shown) else 0):
                generator = _generator(f"{model.name} {split} {size} {draw}")
                rows = sorted(generator.choice(shown, size, replace=False).tolist())
                said = judge([part(base[0], rows), base[1]], [part(tuned[0], rows), tuned[1]])
                yield {**_of(model, size), "truth": truth, "said": said}


def _of(model: Model, size: int) -> Line:
    return {
        "model": model.name,
        "kind": model.kind,
        "scenario": model.scenario,
        "target": model.target,
        "size": size,
    }


# --- models whose true effect is known ------------------------------------------------------------------------------


def moved(
    values: NDArray[np.float64], clusters: Sequence[str], effect: float, *, least: float = LEAST_CHANGED
) -> NDArray[np.float64] | None:
    """Return differences whose mean over the answers is this effect; a question without a difference stays without.

    None where fewer than `least` of the questions have one.
    """
    _, place, count = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    shares = 1.0 / (len(count) * count[place])
    changed = values != 0
    if shares[changed].sum() < least:
        return None
    found: NDArray[np.float64] = values + changed * (effect - shares @ values) / shares[changed].sum()
    return found


def drawn(clusters: Sequence[str], size: int, generator: np.random.Generator) -> tuple[list[int], list[str]]:
    """Draw about `size` questions: answers with replacement, as many questions of each; return rows and new answers."""
    answers = sorted(set(clusters))
    count = min(size, len(answers))
    rows: list[int] = []
    named: list[str] = []
    of = {name: np.flatnonzero(np.asarray(clusters) == name) for name in answers}
    for number, name in enumerate(generator.choice(answers, count)):
        chosen = generator.choice(of[str(name)], size // count)
        rows += chosen.tolist()
        named += [f"{number}"] * len(chosen)
    return rows, named


def known(model: Model, *, draws: int) -> Iterator[Line]:
    """Yield a line for each effect and test set of a model that was moved to it; in general it changes nothing."""
    base, tuned = model.base[0], model.tuned[0]
    if len(set(base.clusters)) < FEWEST_ANSWERS:
        return
    for effect in EFFECTS:
        values = moved(tuned.values[METRIC] - base.values[METRIC], base.clusters, effect)
        if values is None:
            return
        for size in SIZES:
            for draw in range(draws):
                rows, answers = drawn(base.clusters, size, _generator(f"{model.name} {effect} {size} {draw}"))
                before = replace(part(base, rows), clusters=tuple(answers), query_ids=tuple(map(str, range(len(rows)))))
                after = dict.fromkeys(METRICS, before.values[METRIC] + values[rows])
                said = judge([before, model.base[1]], [replace(before, values=after), model.base[1]])
                yield {**_of(model, size), "truth": {"difference": effect}, "said": said}


# --- what follows ---------------------------------------------------------------------------------------------------


def rate(lines: Iterable[Line], happened: Callable[[Line], bool]) -> Line | None:
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


def worse(line: Line) -> bool:
    """Whether the hidden half says that the model is worse than the base, by however little."""
    return bool(line["truth"]["difference"] < 0)


def surely_worse(line: Line) -> bool:
    """Whether the hidden half shows that the model is worse than the base."""
    return bool(line["truth"]["high"] < 0)


def helped(line: Line) -> bool:
    """Whether the hidden half shows a gain worth having."""
    return bool(line["truth"]["low"] > 0 and line["truth"]["difference"] >= WORTH)


def shipped(line: Line) -> bool:
    """Whether the verdict said ship."""
    return bool(line["said"]["ship"])


def kept_base(line: Line) -> bool:
    """Whether the verdict said not to ship."""
    return not shipped(line)


def forgot(line: Line) -> bool:
    """Whether general ability, on a set that the verdict never sees, fell by more than the tolerance."""
    return line["truth"]["general"] is not None and bool(line["truth"]["general"] < -TOLERANCE)


def visible(line: Line) -> bool:
    """Whether the test set could have shown the true gain, by what the verdict itself calls detectable."""
    return bool(line["said"]["detectable"] <= line["truth"]["difference"])


def summary(lines: Sequence[Line]) -> Line:
    """Return the rates of real models, over all runs and by what they depend on."""

    def both(some: Sequence[Line]) -> Line:
        return {
            "ships_worse": rate(filter(worse, some), shipped),
            "ships_surely_worse": rate(filter(surely_worse, some), shipped),
            "keeps_base_though_it_helped": rate(filter(helped, some), kept_base),
        }

    def by(name: str) -> Line:
        values = sorted({line[name] for line in lines})
        return {str(value): both([line for line in lines if line[name] == value]) for value in values}

    return {
        "runs": len(lines),
        "models": len({line["model"] for line in lines}),
        **both(lines),
        "worse_of_shipped": rate(filter(shipped, lines), worse),
        "keeps_base_though_it_helped_and_nothing_was_lost": rate(filterfalse(forgot, filter(helped, lines)), kept_base),
        "keeps_base_though_it_helped_and_the_set_could_show_it": rate(
            filter(visible, filter(helped, lines)), kept_base
        ),
        "ships_though_general_fell_by_more_than_the_tolerance": rate(filter(forgot, lines), shipped),
        "shipped_by_true_difference": {
            f"{low:+.3f} to {high:+.3f}": rate(
                (line for line in lines if low <= line["truth"]["difference"] < high), shipped
            )
            for low, high in pairwise(BINS)
        },
        "by_size": by("size"),
        "by_scenario": by("scenario"),
        "by_kind": by("kind"),
        "by_target": by("target"),
    }


def of_known(lines: Sequence[Line]) -> Line:
    """Return how often each known effect ships, over all sizes and by size."""

    def rates(some: Sequence[Line]) -> Line:
        return {
            f"{effect:+.3f}": rate((line for line in some if line["truth"]["difference"] == effect), shipped)
            for effect in EFFECTS
        }

    sizes = {str(size): rates([line for line in lines if line["size"] == size]) for size in SIZES}
    return {"models": len({line["model"] for line in lines}), "shipped": rates(lines), "by_size": sizes}


# --- other choices of a run -----------------------------------------------------------------------------------------


def cross_validated(entries: Sequence[Mapping[str, Any]]) -> Line:
    """Return what the estimate by cross-validation says beside the truth of held-out questions, run by run."""
    rows = []
    for entry in entries:
        own, truth = entry["estimate"]["rows"][0], entry["truth"]["pooled"]
        said = rule.read(own["difference"], own["low"], own["high"])
        rows.append(
            {
                "set": entry["set"],
                "tag": entry["tag"],
                "said": said,
                "estimate": round(own["difference"], 4),
                **{f"truth_{name}": round(truth[name], 4) for name in ("mean", "low", "high")},
            }
        )
    try_it = [row["said"] in (Outcome.BETTER, Outcome.LIKELY_BETTER) for row in rows]
    return {
        "rows": rows,
        "worse": sum(row["truth_mean"] < 0 for row in rows),
        "recommended_though_worse": sum(
            wanted and row["truth_mean"] < 0 for row, wanted in zip(rows, try_it, strict=True)
        ),
        "helped": sum(row["truth_low"] > 0 for row in rows),
        "not_recommended_though_it_helped": sum(
            not wanted and row["truth_low"] > 0 for row, wanted in zip(rows, try_it, strict=True)
        ),
    }


def layouts(rows: Sequence[Mapping[str, Any]]) -> Line:
    """Return what an index of answers and questions gains over one of answers for the tuned model, in points."""
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in rows:
        if row["model"] == "tuned":
            key = tuple(row[name] for name in ("base", "set", "log", "answers"))
            found.setdefault(key, {})[row["layout"]] = row["ndcg"]
    gains = [
        {"base": key[0], "set": key[1], "log": key[2], "questions": key[3], "gain": round(both[MIXED] - both[PLAIN], 2)}
        for key, both in sorted(found.items())
        if MIXED in both and PLAIN in both
    ]
    kinds = sorted({row["questions"] for row in gains})
    by_kind = {kind: [row["gain"] for row in gains if row["questions"] == kind] for kind in kinds}
    return {
        "rows": gains,
        "by_kind": {
            kind: {
                "cases": len(values),
                "worse": sum(value < 0 for value in values),
                "mean": round(float(np.mean(values)), 2),
                "least": min(values),
            }
            for kind, values in by_kind.items()
        },
    }


PLAIN, MIXED = "answers", "answers and questions"


def choices() -> Line:
    """Return what the result files of other benches say of the choices that a run makes, as far as there are any."""
    found: Line = {}
    estimates, indexes = RESULTS / "crossval.json", RESULTS / "layouts.json"
    if estimates.exists():
        found["cross_validation"] = cross_validated(json.loads(estimates.read_text(encoding="utf-8")))
    if indexes.exists():
        measured = json.loads(indexes.read_text(encoding="utf-8"))
        found["layout"] = {"commit": measured["commit"], **layouts(measured["rows"])}
    return found


# --- running --------------------------------------------------------------------------------------------------------


def main() -> None:
    """Make what is missing, judge it, print the rates and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "bench-verdict")
    parser.add_argument("--steps", type=int, default=30, help="of each tuning")
    parser.add_argument("--batch-size", type=int, default=32, help="questions a step")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--draws", type=int, default=4, help="test sets of each size for each model and split")
    parser.add_argument("--reach", type=float, default=rule.REACH, help="below zero, of a gain that is likely; 0: none")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=DOMAINS)
    parser.add_argument("--scenarios", nargs="*", choices=SCENARIOS, default=SCENARIOS, help="none: make no models")
    parser.add_argument("--runs", type=Path, help="store of bench/layouts.py, whose models are judged as well")
    parser.add_argument("--decomposed", type=Path, help="store of bench/decompose.py, whose tunings are judged as well")
    parser.add_argument("--most", type=int, help="only the first so many tunings: a trial that writes no result")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    logging.disable_progress_bar()  # transformers draws one for every model that is loaded
    usual, rule.REACH = rule.REACH, given.reach
    statistics.RESAMPLES = RESAMPLES
    real, exact = judged(given)
    found = {**summary(real), "known_effect": of_known(exact)}
    print(json.dumps(found, indent=1))
    if given.most is None:
        names = ("steps", "batch_size", "seeds", "draws", "reach")
        settings = {"base": BASE, **{name: getattr(given, name) for name in names}}
        settings |= {"scenarios": given.scenarios, "others": [bool(given.runs), bool(given.decomposed)]}
        kept = {**origin(), "settings": settings, "goals": GOALS, **found, **choices()}
        suffix = "" if given.reach == usual else f"-{given.reach:g}"
        target = RESULTS / f"verdict{suffix}.json"
        target.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def judged(given: argparse.Namespace) -> tuple[list[Line], list[Line]]:
    """Return the lines of all models, as they are and moved to known effects."""
    started = time.perf_counter()
    bench = Bench(given.data, given.work, given.steps, given.batch_size)
    wanted = [item for item in tunings(given.seeds, given.scenarios) if item.domain in given.domains]
    real: list[Line] = []
    exact: list[Line] = []

    def add(model: Model) -> None:
        real.extend(runs(model, draws=given.draws))
        exact.extend(known(model, draws=1))

    for tuning in wanted[: given.most]:
        for model in bench.models(tuning):
            add(model)
        seconds = f"{time.perf_counter() - started:.0f} s ({time.process_time():.0f} s of the processor)"
        print(f"{tuning.name}: {len(real)} runs, {seconds}", flush=True)
    for store, found in ((given.runs, bench.kept), (given.decomposed, bench.decomposed)):
        for model in found(store) if store else ():
            add(model)
        print(f"with those of {store}: {len(real)} runs", flush=True)
    return real, exact


if __name__ == "__main__":
    main()
