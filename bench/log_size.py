"""How does the gain grow with the number of log questions? Whole runs with parts of one log.

    python bench/log_size.py covidfaq_jhu sofmattress_faq                  # about 3 minutes of one core a run
    python bench/log_size.py sofmattress_faq --sizes 25 100 --store DIR    # a store that has vectors and scores
    python bench/log_size.py --plot                                        # draws docs/log-size.svg anew, and no more

The log is the text of the questions of `qrels/train.tsv`, without their labels. What cleaning leaves of it is put into
one random order, and each size takes the first so many, so that a smaller log is part of every larger one. 0 is a run
without a log. Synthetic questions are off, everything else is at its default. One seed and one order: a curve shows
where the gain comes from, and single steps of it may be chance.

Keeps bench/results/log-size.json; rows of other calls stay in the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import sets
from expertune.config import Config, from_mapping
from expertune.pipeline.run import Run, Stage
from expertune.records import METRIC, Comparison, Role

HERE = Path(__file__).parent
ROOT = HERE.parent
SIZES = (0, 25, 50, 100, 200, 400)
RESULTS = HERE / "results" / "log-size.json"
PLOT = ROOT / "docs" / "log-size.svg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="log questions; more than there are: all")
    parser.add_argument("--seed", type=int, default=0, help="of the run, and of the order of the log")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "log-size")
    parser.add_argument("--store", type=Path, help="default: in the work folder")
    parser.add_argument("--plot", action="store_true", help="draw the plot")
    given = parser.parse_args()
    for name in given.sets:
        questions = usable(given, name)
        for size in sorted({min(size, len(questions)) for size in given.sizes}):
            keep(measured(given, name, questions[:size]))
    if given.plot:
        PLOT.write_text(drawn(rows()), encoding="utf-8")


def usable(given: argparse.Namespace, name: str) -> list[str]:
    """Return the questions that a run takes from the whole log, in a random order."""
    file = sets.log(sets.folder(name, given.data_root), given.work)
    if file is None:
        raise SystemExit(f"{name} has no log and no qrels/train.tsv")
    lines = file.read_text(encoding="utf-8").splitlines()
    found = Run(config(given, name, lines)).execute(until=Stage.AUGMENT)
    assert found.questions is not None
    logged = [question.text for question in found.questions.items if question.logged]
    return [logged[place] for place in np.random.default_rng(given.seed).permutation(len(logged))]


def config(given: argparse.Namespace, name: str, log: Sequence[str]) -> Config:
    """Return the config of a run with these lines as its log, which are written to a file."""
    out = given.work / f"{name}-{len(log)}-{given.seed}"
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.txt").write_text("\n".join(log) + "\n", encoding="utf-8")
    store = given.store or given.work / "store"
    return from_mapping(
        {
            "run": {"out": str(out), "store": str(store), "seed": given.seed, "threads": 1},
            "data": {"path": str(sets.folder(name, given.data_root)), "log": [str(out / "log.txt")] if log else []},
            "augment": {"per_answer": 0},
        }
    )


def measured(given: argparse.Namespace, name: str, log: Sequence[str]) -> dict[str, Any]:
    """Run with these questions as the log and return its figures."""
    result = Run(config(given, name, log)).execute()
    assert result.questions is not None
    assert result.evaluation is not None
    assert result.model is not None
    compared = [row for row in result.evaluation.comparisons if row.metric == METRIC]
    return {
        "set": name,
        "seed": given.seed,
        "log": len(log),
        "trained_on": int(result.questions.logged.sum()),
        "labelled": int(result.questions.labelled.sum()),
        "interpolation_weight": result.model.selection.interpolation_weight,
        **{row.split if row.role is Role.DOMAIN else "general": figures(row) for row in compared},
    }


def figures(row: Comparison) -> dict[str, float]:
    values = {name: getattr(row, name) for name in ("base", "tuned", "difference", "low", "high")}
    return {"queries": row.queries, **{name: round(100 * value, 2) for name, value in values.items()}}


def rows() -> list[dict[str, Any]]:
    return list(json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]) if RESULTS.exists() else []


def keep(row: dict[str, Any]) -> None:
    """Put a row into the file in place of an earlier one of the same run."""
    key = ("set", "seed", "log")
    kept = [other for other in rows() if any(other[name] != row[name] for name in key)] + [row]
    kept.sort(key=lambda item: tuple(item[name] for name in key))
    RESULTS.write_text(json.dumps({"rows": kept}, indent=1) + "\n", encoding="utf-8")
    gains = ", ".join(f"{name} {value['difference']:+.1f}" for name, value in row.items() if isinstance(value, dict))
    print(f"{row['set']}, {row['log']} log questions: {gains}", flush=True)


def drawn(found: Sequence[dict[str, Any]]) -> str:
    """Draw the gain of each split over the number of log questions, one panel a set, with 95 % intervals."""
    import io

    import matplotlib

    names = sorted({row["set"] for row in found})
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "expertune", "font.size": 10}):
        figure = Figure(figsize=(4.4 * len(names), 3.4), layout="constrained")
        for axes, name in zip(np.ravel(figure.subplots(1, len(names), sharey=True)), names, strict=True):
            part = [row for row in found if row["set"] == name]
            for shift, split in enumerate(key for key, value in part[0].items() if isinstance(value, dict)):
                sizes = [row["log"] + 1.5 * (shift - 1) for row in part]
                middle, low, high = ([row[split][what] for row in part] for what in ("difference", "low", "high"))
                axes.plot(sizes, middle, "o-", markersize=4, label=split.removeprefix("test_"), color=f"C{shift}")
                axes.vlines(sizes, low, high, color=f"C{shift}", alpha=0.35)
            axes.axhline(0, color="0.6", linewidth=0.8)
            axes.set(title=name, xlabel="log questions", xticks=[row["log"] for row in part])
        figure.axes[0].set_ylabel("nDCG@10 x 100, tuned minus base")
        figure.axes[0].legend(frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


if __name__ == "__main__":
    main()
