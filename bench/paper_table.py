"""Print the paper's table from what `study labels` found: every set by every label strategy.

    python bench/studies.py labels stackfaq --general scifact cranfield medline1033 npl adi cisi nfcorpus_filtered
    python bench/paper_table.py stackfaq shop             # bench/results/study-labels-SET.json of each
    python bench/paper_table.py --files runs/a/study-labels.json runs/b/study-labels.json

Rows are sets, columns the base and the label strategies; then average and standard deviation over the sets, and how
far right and other answers lie apart on the domain's held-out questions. A set that several files measured (a general
one beside several domains) is one row for each of them. Writes bench/results/paper-table.json and, with `--markdown`, a
table to paste.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
BASE = "base"
STRATEGIES = ("hard", "soft-1", "soft-2", "soft-3")
METRICS = {"ndcg@10": "nDCG@10", "map@10": "mAP@10"}
SEPARATION = {"auprc": "AUPRC", "prevalence": "prevalence", "ks": "KS", "overlap": "overlap", "auroc": "AUROC"}

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="of bench/results/study-labels-SET.json")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="results of `study labels` elsewhere")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "paper-table.json")
    given = parser.parse_args()
    files = [HERE / "results" / f"study-labels-{name}.json" for name in given.sets] + given.files
    if not files:
        parser.error("name at least one set or file")
    found = table([json.loads(file.read_text(encoding="utf-8")) for file in files])
    for metric, title in METRICS.items():
        show(title, found["strategies"], found[metric], markdown=given.markdown)
    for row in found["separation"]:
        title = f"{row['set']}: right and other answers"
        lines = [{"set": name, **row["measures"][measure]} for measure, name in SEPARATION.items()]
        show(title, found["strategies"], lines, markdown=given.markdown)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def table(studies: Sequence[Row]) -> Row:
    """Join studies: of each metric the sets by strategies with mean and standard deviation, then the separations.

    The default strategy is the one that the first study's config has.
    """
    default = studies[0]["settings"]["label"]["strategy"]
    strategies = [BASE, *dict.fromkeys((*STRATEGIES, default))]
    found: Row = {"strategies": strategies, "default": default, "seeds": [item["figures"]["seeds"] for item in studies]}
    for metric in METRICS:
        rows = [row for item in studies for row in _sets(item, strategies, metric)]
        values = np.array([[row[name] for name in strategies] for row in rows], dtype=np.float64)
        spread = values.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(len(strategies))
        summary = {"average": values.mean(axis=0), "standard deviation": spread}
        rows += [
            {"set": name, **dict(zip(strategies, figures.round(6).tolist(), strict=True))}
            for name, figures in summary.items()
        ]
        found[metric] = rows
    found["separation"] = [row for item in studies for row in _separations(item, strategies)]
    return found


def _sets(study: Row, strategies: Sequence[str], metric: str) -> list[Row]:
    gains = study["figures"]["gains"]
    own = study["set"]
    rows = []
    for name, base in gains[strategies[1]]["sets"].items():
        tuned = {strategy: gains[strategy]["sets"][name][f"{metric} tuned"] for strategy in strategies[1:]}
        said = name if name.split("/")[0] == own else f"{name} (tuned to {own})"
        rows.append({"set": said, BASE: base[f"{metric} base"], **tuned})
    return rows


def _separations(study: Row, strategies: Sequence[str]) -> list[Row]:
    figures = study["figures"]
    measured = {BASE: figures["base_separation"]}
    measured |= {name: figures["gains"][name]["separation"] for name in strategies[1:]}
    return [
        {
            "set": f"{study['set']}/{split}",
            "measures": {
                measure: {name: measured[name][split][measure] for name in strategies} for measure in SEPARATION
            },
        }
        for split in figures["base_separation"]
    ]


def show(title: str, strategies: Sequence[str], rows: Sequence[Row], *, markdown: bool) -> None:
    """Print one table in points."""
    cells = [[title, *strategies], *([row["set"], *(f"{100 * row[name]:.2f}" for name in strategies)] for row in rows)]
    if markdown:
        cells.insert(1, ["---", *["---:"] * len(strategies)])
        print("\n".join("| " + " | ".join(line) + " |" for line in cells), end="\n\n")
        return
    wide = max(len(line[0]) for line in cells)
    print("\n".join(line[0].ljust(wide) + "".join(cell.rjust(11) for cell in line[1:]) for line in cells), end="\n\n")


if __name__ == "__main__":
    main()
