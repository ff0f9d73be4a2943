"""Show what a change did to the ratios of bench/speed.py.

    python bench/speed.py --out after.json && python bench/compare.py after.json
    python bench/compare.py after.json before.json --tolerance 0.1

Without a second file, the first is held against bench/results/speed.json. Seconds differ from machine to machine and
hour to hour; ratios of contenders that ran in turn do so much less. A ratio counts as worse only where it lost more
than the tolerance and its turns do not overlap with those of before. The exit code is 1 if one is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).parent / "results" / "speed.json"


@dataclass(frozen=True, slots=True)
class Change:
    """One ratio before and after; `factor` above 1 is better, whichever direction is."""

    what: str
    before: float
    after: float
    factor: float
    overlap: bool

    def reading(self, tolerance: float) -> str:
        """Return better, worse, or the same within tolerance and turns."""
        if self.overlap or 1 / (1 + tolerance) <= self.factor <= 1 + tolerance:
            return "same"
        return "better" if self.factor > 1 else "worse"


def changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    """Yield every ratio that both files have."""
    for name, section in after["sections"].items():
        known = {ratio["what"]: ratio for ratio in before["sections"].get(name, {}).get("ratios", [])}
        for ratio in section["ratios"]:
            old = known.get(ratio["what"])
            if old is None or not old["value"] or not ratio["value"]:
                continue
            factor = ratio["value"] / old["value"]
            overlap = ratio["low"] <= old["high"] and old["low"] <= ratio["high"]
            better = factor if ratio["bound"] == "least" else 1 / factor
            yield Change(f"{name}: {ratio['what']}", old["value"], ratio["value"], better, overlap)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("after", type=Path)
    parser.add_argument("before", type=Path, nargs="?", default=COMMITTED)
    parser.add_argument("--tolerance", type=float, default=0.15)
    given = parser.parse_args()
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (given.before, given.after))
    found = list(changes(before, after))
    print(f"{'before':>10} {'after':>10}  {'change':7} ratio")
    for change in found:
        print(f"{change.before:10.3g} {change.after:10.3g}  {change.reading(given.tolerance):7} {change.what}")
    if not found:
        sys.exit("the files have no ratio in common")
    if any(change.reading(given.tolerance) == "worse" for change in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
