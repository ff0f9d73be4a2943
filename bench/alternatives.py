"""Set finished runs beside what their users could have had without tuning, and keep the figures.

    expertune run --data ../shared/data/covidfaq_jhu --log covid.log.txt --out runs/covidfaq_jhu
    python bench/alternatives.py runs/covidfaq_jhu runs/shop --store runs/store

Prints for every run each way to search with nDCG@10 x 100 in the mean of its held-out sets, beside the tuned model on
the index that users have, and keeps bench/results/alternatives.json. Sets of other calls stay in the file.
Milliseconds are those of the machine that ran this.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from expertune import config
from expertune.models import hardware
from expertune.pipeline.run import Run
from expertune.records import Alternatives
from expertune.report.alternatives import values
from expertune.report.results import plain

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders that `expertune run` wrote")
    parser.add_argument("--store", type=Path, help="where vectors are; default: the store of each run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "alternatives.json")
    given = parser.parse_args()
    hardware.use_machine(given.threads, offline=True)
    kept = json.loads(given.out.read_text(encoding="utf-8"))["sets"] if given.out.exists() else {}
    for folder in given.runs:
        settings = config.read(folder / "config.toml")
        section = settings.run.model_copy(update={"store": given.store or settings.run.store, "threads": given.threads})
        settings = settings.model_copy(
            update={"run": section, "augment": settings.augment.model_copy(update={"per_answer": 0})}
        )
        found = Run(settings).compare(str(folder))
        kept[folder.name] = entry(found, log=bool(settings.data.log))
        show(folder.name, found)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"sets": kept}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def entry(found: Alternatives, *, log: bool) -> dict[str, Any]:
    """Return what is kept of one set; `ahead` is True where nothing untuned has the higher mean."""
    ahead = all(row.difference <= 0 for row in found.untuned)
    return {"log": log, "ahead": ahead, **plain(values(found))}


def show(name: str, found: Alternatives) -> None:
    print(f"\n{name}: {found.questions} held-out questions")
    for row in found.rows:
        mark = "*" if row is found.reference else "t" if row.tuned else " "
        sets = "  ".join(f"{item.split} {100 * item.tuned:.1f}" for item in row.sets)
        difference = f"{100 * row.difference:+6.1f} [{100 * row.low:+5.1f}, {100 * row.high:+5.1f}]"
        print(f"{mark} {row.name:48}{100 * row.ndcg:6.1f} {difference}  {sets}", flush=True)


if __name__ == "__main__":
    main()
