"""Where a task's gain begins to cost general ability: one setting at a time, at every interpolation factor.

    python bench/balance.py stackfaq      # shop, or a domain set of the shared data; tunings are kept in the store

Prints domain and general gain over the base in points, with intervals, and writes bench/results/balance-SET.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

from expertune.commands.study.lab import FACTORS, Lab, at
from expertune.commands.study.result import in_points, plain
from expertune.config import Mode, assignment, from_mapping, overlaid
from expertune.records import ignore_progress

HERE = Path(__file__).parent
ROOT = HERE.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="shop, or a folder of the shared data")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--general", nargs="*", default=["cranfield", "medline1033"])
    parser.add_argument("--data-root", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    shop = given.set == "shop"
    path = ROOT / "examples" / "shop" if shop else given.data_root / given.set
    general = [] if shop else [str(given.data_root / name) for name in given.general]
    values = {
        "run": {"out": str(ROOT / "runs" / f"studies-{given.set}")},
        "data": {"path": str(path), "general": general},
    }
    config = from_mapping(overlaid(values, [assignment(change) for change in given.changes]))
    lab = Lab(config, ignore_progress, seeds=given.seeds)
    steps, usual = lab.config.train.steps, lab.labels()
    variants = [("steps", str(count), usual, {"steps": count}) for count in (steps // 4, steps // 2, steps, 2 * steps)]
    variants += [("labels", name, lab.labels(name), {}) for name in ("hard", "soft-1", "soft-2", "soft-3", "weighted")]
    variants += [("mode", mode, usual, {"mode": mode}) for mode in get_args(Mode)]
    rows = []
    for varied, value, labelled, changes in variants:
        tunings = lab.tuned(labelled, seeds=lab.seeds(1), **changes)
        for factor in FACTORS:
            gains = lab.gains(at(tunings, factor))
            rows.append((varied, value, factor, *in_points(gains["domain"]), *in_points(gains["general"])))
            print(*rows[-1], sep="\t", flush=True)
    heads = ("varied", "value", "factor", "domain gain", "low", "high", "general gain", "low", "high")
    found = {"study": "balance", "set": given.set, "columns": heads, "rows": rows, "figures": {"seeds": given.seeds}}
    target = HERE / "results" / f"balance-{given.set}.json"
    target.write_text(json.dumps(plain(found), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
