"""Run one study of the method on one set and keep its figures.

    python bench/studies.py sizes shop                           # examples/shop and the built-in general dev set
    python bench/studies.py labels stackfaq --data-root DATA     # a domain set of the shared data, three general sets

Writes bench/results/study-NAME-SET.json. All studies of one set share a store: what one has made, the others reuse,
and a study that was killed goes on after its last finished tuning.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import sets

HERE = Path(__file__).parent
GENERAL = ("scifact", "cranfield", "medline1033")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("on", metavar="set", help="shop, or a folder of the shared data")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--general", nargs="*", default=GENERAL, help="general sets of the shared data")
    parser.add_argument("--seeds", default="0", help="repeats of a tuning; 0: the study's own number")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="passed on")
    given = parser.parse_args()
    out = sets.ROOT / "runs" / f"studies-{given.on}"
    shop = given.on == "shop"
    data = sets.folder(given.on, given.data_root)
    command = [str(Path(sys.executable).with_name("expertune")), "study", given.study, "--seeds", given.seeds]
    command += ["--data", str(data), "--out", str(out)]
    for general in () if shop else given.general:
        command += ["--general", str(given.data_root / general)]
    for change in given.changes:
        command += ["--set", change]
    subprocess.run(command, cwd=sets.ROOT, check=True)
    target = HERE / "results" / f"study-{given.study}-{given.on}.json"
    target.write_bytes((out / f"study-{given.study}.json").read_bytes())
    print(f"kept as {target.relative_to(sets.ROOT)}")


if __name__ == "__main__":
    main()
