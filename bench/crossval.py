"""Hold the estimate by cross-validation against the truth: the held-out questions of the same run.

    python bench/crossval.py shop sofmattress_faq covidfaq_jhu --data-root DATA
    python bench/crossval.py covidfaq_jhu --data-root DATA --log LOG.txt --tag log

A run that has held-out questions does no cross-validation, so this asks for the folds beside it: tuned on the same
questions, the same way. Writes bench/results/crossval.json, one entry for each set and tag; known entries are replaced.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import sets
from expertune.config import Config, from_mapping
from expertune.evaluate.statistics import stratified_interval
from expertune.pipeline.run import Run, Stage
from expertune.pipeline.stages.training import cross_validated
from expertune.records import METRIC, Comparison, CrossValidation, Evaluation, Role

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "crossval.json"


def config(name: str, given: argparse.Namespace) -> Config:
    folder = sets.folder(name, given.data_root)
    return from_mapping(
        {
            "data": {"path": str(folder), "log": given.log},
            "augment": {"per_answer": 0},
            "run": {"out": str(ROOT / "runs" / f"crossval-{name}"), "store": str(given.store), "threads": 1},
        }
    )


def truth(evaluation: Evaluation) -> dict[str, Any]:
    """Return the differences on the held-out sets of the domain, pooled as the verdict pools them, and each."""
    rows = [row for row in evaluation.comparisons if row.role is Role.DOMAIN and row.metric == METRIC]
    measured = {(item.model, item.split): item for item in evaluation.measurements if item.role is Role.DOMAIN}
    pairs = [(measured["base", row.split], measured["tuned", row.split]) for row in rows]
    strata = [(tuned.values[METRIC] - base.values[METRIC], base.clusters) for base, tuned in pairs]
    pooled = stratified_interval(strata)
    return {"pooled": asdict(pooled) | {"outcome": pooled.outcome}, "sets": [figures(row) for row in rows]}


def figures(row: Comparison) -> dict[str, Any]:
    names = ("split", "queries", "base", "tuned", "difference", "low", "high", "p", "outcome")
    return {name: getattr(row, name) for name in names}


def estimate(own: CrossValidation) -> dict[str, Any]:
    """Return the estimate of all left-out questions and of each kind; `changed` counts those that moved."""
    rows = [figures(row) for row in own.comparisons if row.metric == METRIC]
    changed = np.count_nonzero(own.tuned.values[METRIC] != own.base.values[METRIC])
    return {"folds": own.folds, "asked_about": sum(own.known), "changed": int(changed), "rows": rows}


def measured(name: str, given: argparse.Namespace) -> dict[str, Any]:
    run = Run(config(name, given))
    result = run.execute(until=Stage.EVALUATE)
    assert result.questions
    assert result.scores
    assert result.model
    assert result.evaluation
    started = time.perf_counter()
    own = cross_validated(run.context, result.dataset, result.questions, result.scores, result.model.folder.parent.name)
    assert own is not None
    return {
        "set": name,
        "tag": given.tag,
        "labelled": int(result.questions.labelled.sum()),
        "answers": len(result.dataset.documents),
        "truth": truth(result.evaluation),
        "estimate": estimate(own.value),
        "seconds": round(time.perf_counter() - started, 1),
    }


def keep(entries: Sequence[dict[str, Any]]) -> None:
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    by_name = {(item["set"], item["tag"]): item for item in (*known, *entries)}
    lines = json.dumps([by_name[key] for key in sorted(by_name)], indent=1)
    RESULTS.write_text(lines + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--store", type=Path, default=ROOT / "runs" / "crossval-store")
    parser.add_argument("--log", action="append", default=[], help="a search log, as data.log")
    parser.add_argument("--tag", default="", help="tells entries of one set apart")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in given.sets:
        entry = measured(name, given)
        keep([entry])
        print(json.dumps(entry, indent=1))


if __name__ == "__main__":
    main()
