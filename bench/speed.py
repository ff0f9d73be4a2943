"""Measure how fast expertune is beside the plain way, section by section, and keep the figures.

    python bench/speed.py                                  # all sections, about a quarter of an hour on two quiet cores
    python bench/speed.py embedding training --turns 5     # some of them
    python bench/speed.py profile --run runs/bench-shop    # where the seconds of a finished run went, and the floor
    python bench/speed.py --out before.json embedding      # not into bench/results/speed.json
    python bench/speed.py --tables                         # only write the tables of bench/results/speed.md

Every section runs in a process of its own; its contenders run in turn, several times, so that other load strikes all
alike. Figures are medians with minimum and maximum, ratios are taken turn by turn. bench/compare.py shows what a change
did to the ratios.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "speed.json"
PAGE = HERE / "results" / "speed.md"
SECTIONS = {
    "embedding": "speed_parts.embedding",
    "scoring": "speed_parts.scoring",
    "training": "speed_parts.training",
    "generation": "speed_parts.generation",
    "runs": "speed_parts.runs",
    "threads": "speed_parts.threads",
    "startup": "speed_parts.startup",
    "profile": "speed_parts.floor",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of: {', '.join(SECTIONS)}")
    shared = ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, action="append", help="BEIR folders to take texts from")
    parser.add_argument("--shop", type=Path, default=ROOT / "examples" / "shop")
    parser.add_argument("--run", type=Path, help="a finished run, for the profile")
    parser.add_argument("--stackfaq", type=Path, help="its folder, for the section runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--models", nargs="*", help="of the embedding section")
    parser.add_argument("--texts", type=int, default=0, help="of each kind; 0: what a section takes by itself")
    parser.add_argument("--pairs", type=int, default=12, help="that the naive way scores one by one")
    parser.add_argument("--answers", type=int, default=12, help="that questions are written for")
    parser.add_argument("--alone", type=int, default=12, help="prompts that are continued one by one")
    parser.add_argument("--tables", action="store_true", help="only write the tables of bench/results/speed.md")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.data = given.data or [shared / "stackfaq", shared / "scifact"]
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if missing := [str(path) for path in given.data if not path.is_dir()]:
        parser.error(f"no such folder: {', '.join(missing)}; name BEIR folders with --data")
    given.sections = given.sections or [name for name in SECTIONS if name != "profile" or given.run]
    return given


def measure(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run one section in this process and return what is kept of it."""
    import torch

    from speed_parts.measuring import Watch, machine

    torch.set_num_threads(given.threads)
    described, watch = machine(given.threads), Watch()
    made = importlib.import_module(SECTIONS[name]).run(given)
    described["cores_busy_with_others"] = round(watch.others(), 2)
    return {"machine": described, **made.as_json()}


def keep(path: Path, name: str, section: dict[str, Any]) -> None:
    """Write one section into the file of results; the others stay as they are."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sections": {}}
    kept["sections"][name] = section
    kept["sections"] = {known: kept["sections"][known] for known in SECTIONS if known in kept["sections"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure every section named, each in a process of its own, and print its table."""
    from speed_parts import tables

    given = arguments()
    if given.here:
        (name,) = given.sections
        section = measure(name, given)
        keep(given.out, name, section)
        print(tables.section(name, section))
        return
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment.setdefault("OMP_NUM_THREADS", str(given.threads))
    names = [] if given.tables else given.sections
    words = [word for word in sys.argv[1:] if word not in SECTIONS]
    failed = [
        name
        for name in names
        if subprocess.run([sys.executable, __file__, name, "--here", *words], env=environment, check=False).returncode
    ]
    if given.out == RESULTS and RESULTS.exists():
        tables.write(PAGE, json.loads(RESULTS.read_text(encoding="utf-8")))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
