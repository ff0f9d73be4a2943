"""Tune a stronger base: what a run gains over it, and how far the peak rate and the reference sentences decide that.

    python bench/stronger_base.py covidfaq_jhu sofmattress_faq           # runs, at their defaults
    python bench/stronger_base.py covidfaq_jhu --rates 4e-4 2e-4 1e-4    # one tuning each, without selection

With rates, one tuning on all questions is measured at every interpolation weight. The questions of `qrels/train.tsv`
are the search log, without their labels; synthetic questions are off. Test questions only measure. Writes
bench/results/stronger-base.json; rows of other calls stay in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expertune.commands.study.lab import Lab
from expertune.config import Config
from expertune.evaluate.stage import compare
from expertune.pipeline.run import Run, Stage
from expertune.records import METRIC, Measurement, Role, ignore_progress
from expertune.train.trainer import planned

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from origin import origin  # noqa: E402
from sets import DATA, configured  # noqa: E402

ROOT = HERE.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--base", default="all-mpnet-base-v2")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rates", nargs="+", type=float, default=[], help="peak rates to tune with; none: a run")
    parser.add_argument("--reference-weights", nargs="+", type=float, default=[10.0])
    parser.add_argument("--no-log", action="store_true")
    parser.add_argument("--data-root", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "stronger-base")
    parser.add_argument("--store", type=Path, help="default: WORK/store")
    parser.add_argument("--tuned-at", default="", help="commit of what is tuned with, where it is another one")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "stronger-base.json")
    given = parser.parse_args()
    for name in given.sets:
        for seed in given.seeds:
            config = configured(given, name, seed, base=given.base)
            common = {"set": name, "base": given.base, "log": bool(config.data.log), "seed": seed}
            for row in tunings(given, config) if given.rates else [ran(config)]:
                print(json.dumps(common | row), flush=True)
                keep(given.out, common | row, given.tuned_at)


def tunings(given: argparse.Namespace, config: Config) -> Iterator[dict[str, Any]]:
    """Yield a row for each rate, reference weight and interpolation weight."""
    lab = Lab(config, ignore_progress)
    labelled = lab.labels()
    steps = planned(config.train, len(labelled[0].items)).steps
    for reference_weight in given.reference_weights:
        for rate in given.rates:
            changes = {"learning_rate": rate, "reference_weight": reference_weight, "steps": steps}
            (tuning,) = lab.tuned(labelled, seeds=[config.run.seed], **changes)
            for point in tuning.points:
                common = {**changes, "interpolation_weight": point.factor, "seconds": round(tuning.seconds, 1)}
                yield {"what": "tuning", **common, "sets": figures(lab.base.measurements, point.measurements)}


def ran(config: Config) -> dict[str, Any]:
    """Run as `expertune run` does, up to its evaluation; a run of which all is in the store tells no seconds."""
    result = Run(config).execute(until=Stage.EVALUATE)
    assert result.model is not None
    assert result.evaluation is not None
    by_model = {
        model: [item for item in result.evaluation.measurements if item.model == model] for model in ("base", "tuned")
    }
    return {
        "what": "run",
        "steps": result.model.steps,
        "interpolation_weight": result.model.selection.interpolation_weight,
        "why": result.model.selection.why,
        "verdict": result.evaluation.verdict.decision,
        "seconds": {item.stage: None if item.reused else round(item.seconds, 1) for item in result.timings},
        "sets": figures(by_model["base"], by_model["tuned"]),
    }


def figures(base: Sequence[Measurement], tuned: Sequence[Measurement]) -> dict[str, Any]:
    """Return nDCG@10 x 100 with its paired interval, and the share of right first answers, of each judged set."""
    found = {}
    for before, after in zip(base, tuned, strict=True):
        (row,) = (row for row in compare(before, after) if row.metric == METRIC)
        values = {name: round(100 * getattr(row, name), 2) for name in ("base", "tuned", "difference", "low", "high")}
        hits = [round(100 * float((np.array(item.ranks) == 1).mean()), 1) for item in (before, after)]
        found[row.split if row.role is Role.DOMAIN else row.name] = {"queries": row.queries, **values, "hit@1": hits}
    return found


def keep(out: Path, row: Mapping[str, Any], tuned_at: str) -> None:
    """Put a row into the file in place of an earlier one of the same settings."""
    own = ("set", "base", "log", "seed", "what", "learning_rate", "reference_weight", "steps")
    own += ("interpolation_weight",) if row["what"] == "tuning" else ()
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
    rows = [other for other in rows if any(other.get(name) != row.get(name) for name in own)] + [dict(row)]
    rows.sort(key=lambda item: [str(item.get(name, "")) for name in ("what", *own)])
    found = origin()
    kept = {**found, "tuned_at": tuned_at or found["commit"], "rows": rows}
    out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
