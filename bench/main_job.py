"""Run the main job as a user would and keep its figures: gains with intervals, seconds and peak memory.

    python bench/main_job.py shop                       # examples/shop, first and second run
    python bench/main_job.py stackfaq --data-root DATA  # one domain set of the shared data, three general sets

Writes bench/results/main-job-NAME.json. Every run is a fresh process; the second one shows what is reused.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import sets
from origin import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
GENERAL = ("scifact", "cranfield", "medline1033")
FIRST = "first-results.json"
"""Where the first run's seconds stay: the second run's results tell of a store that has everything."""


def measure(command: list[str]) -> dict[str, float]:
    """Run a command to its end; return wall-clock seconds and peak memory (MB) of its process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return {"seconds": round(time.perf_counter() - started, 1), "peak_megabytes": round(usage.ru_maxrss / 1024)}


def main() -> None:
    """Run one set, print its table and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--set", action="append", default=[], help="passed on to expertune run")
    parser.add_argument("--tag", default="", help="suffix of the output and of the result file")
    parser.add_argument("--keep", action="store_true", help="go on with an existing output instead of a fresh one")
    given = parser.parse_args()
    label = given.name + (f"-{given.tag}" if given.tag else "")
    out = ROOT / "runs" / f"bench-{label}"
    if out.exists() and not given.keep:
        shutil.rmtree(out)
    shop = given.name == "shop"
    data = sets.folder(given.name, given.data_root)
    command = [str(Path(sys.executable).with_name("expertune")), "run", "--data", str(data), "--out", str(out)]
    if not shop:
        for general in GENERAL:
            command += ["--general", str(given.data_root / general)]
    for change in given.set:
        command += ["--set", change]
    environment = machine()
    runs = [measure(command)]
    shutil.copyfile(out / "results.json", out / FIRST)
    runs.append(measure(command))
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    kept = {
        "set": given.name,
        "changes": given.set,
        "machine": environment,
        "first_run": runs[0],
        "second_run": runs[1],
        # Questions and vectors that an earlier run left in the store (--keep) make a first run shorter.
        "kept_store": given.keep,
        "verdict": results["verdict"],
        "questions": results["questions"],
        "panel": results["panel"],
        "selection": results["selection"],
        "comparisons": [row for row in results["comparisons"] if row["metric"] in ("ndcg@10", "map@10")],
    }
    target = HERE / "results" / f"main-job-{label}.json"
    target.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"\n{'set':32} {'base':>6} {'tuned':>6} {'gain':>6}  95 % interval   p")
    for row in kept["comparisons"]:
        if row["metric"] == "ndcg@10":
            base, tuned, gain, low, high = (100 * row[key] for key in ("base", "tuned", "difference", "low", "high"))
            name = f"{row['dataset']}/{row['split']}"
            print(f"{name:32} {base:6.2f} {tuned:6.2f} {gain:+6.2f}  {low:+6.2f} {high:+6.2f}  {row['p']:.4f}")
    print(f"first run {runs[0]}, second run {runs[1]}")


if __name__ == "__main__":
    main()
