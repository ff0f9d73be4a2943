"""Change one default at a time, tune, and write the table of docs/ablations.md.

    python bench/ablations.py sofmattress_faq              # three seeds; a killed one goes on after its last tuning
    python bench/ablations.py sofmattress_faq --only loss labels --seeds 1

Each row is one tuning with each seed on the same questions and scores, without selection, measured at every
interpolation factor. Differences to the default's row are paired over questions. Writes
bench/results/ablations-SET.json; tunings are kept in the store and shared with `expertune study`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expertune.commands.study.lab import FACTORS, Lab, Tuning, at
from expertune.commands.study.result import plain
from expertune.config import assignment, from_mapping, overlaid
from expertune.label.round_trip import round_trip
from expertune.records import Questions, Role, SoftLabels, ignore_progress
from main_job import GENERAL, machine
from pages import put
from weak_expert import joined

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "ablations.md"
BEGIN, END = "<!-- ablations:begin -->", "<!-- ablations:end -->"
SHOWN = (0.75, 1.0)
KEPT = 3
"""The round-trip filter of the ablation keeps a generated question whose answer the panel ranks this high."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """One default changed: options of the sections `label` and `train`, other questions, or other experts."""

    what: str
    value: str
    label: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    questions: str = ""
    experts: str = ""


DEFAULT = Change("default", "")
PAPER = {"strategy": "soft-1", "listwise": False}
CHANGES = (
    DEFAULT,
    Change("loss", "pairwise on soft-1, the paper's", label=PAPER, train={"loss": "pairwise"}),
    *(Change("labels", name, label={"strategy": name}) for name in ("hard", "soft-1", "soft-2", "soft-3", "weighted")),
    *(Change("calibration", name, label={"calibration": name}) for name in ("rank", "percentile", "isotonic")),
    *(Change("hard weight", f"{value:g}", label={"hard_weight": value}) for value in (0.0, 0.6)),
    Change("round-trip filter", f"rank {KEPT} or better", questions="round trip"),
    Change("synthetic questions an answer", "0", questions="synthetic 0"),
    Change("synthetic questions an answer", "4 at most", questions="synthetic 4"),
    Change("spans", "none", questions="no spans"),
    *(Change("peak rate", f"{value:g}", train={"learning_rate": value}) for value in (1e-4, 2e-4)),
    *(Change("reference weight", f"{value:g}", train={"reference_weight": value}) for value in (0.0, 5.0)),
    Change("share of the layers that stay", "0", train={"frozen_layers": 0.0}),
    Change("experts", "the best alone", experts="best"),
    Change("experts", "one more that scores at random", experts="noise"),
    *(Change("mode", mode, train={"mode": mode}) for mode in ("tied", "full")),
    Change("mode", "LoRA, rank 16", train={"lora_rank": 16}),
)


def main() -> None:
    """Tune what is wanted and write table and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="a folder of the shared data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="what is changed, such as loss; default: everything")
    parser.add_argument("--data-root", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    values = {
        "run": {"out": str(ROOT / "runs" / f"ablations-{given.set}")},
        "data": {
            "path": str(given.data_root / given.set),
            "general": [str(given.data_root / name) for name in GENERAL],
        },
    }
    config = from_mapping(overlaid(values, [assignment(change) for change in given.changes]))
    lab = Lab(config, ignore_progress, seeds=given.seeds)
    rows = []
    usual: list[Tuning] = []
    for change in CHANGES:
        if given.only is not None and change.what not in ("default", *given.only):
            continue
        tunings = lab.tuned(labelled(lab, change), seeds=lab.seeds(3), **change.train)
        usual = usual or tunings
        rows.append(row(lab, change, tunings, usual))
        print(json.dumps(plain(rows[-1])), flush=True)
        # After every row: what is finished is kept where the rest is stopped.
        found = {"set": given.set, "seeds": given.seeds, "machine": machine(), "steps": config.train.steps}
        target = HERE / "results" / f"ablations-{given.set}.json"
        target.write_text(json.dumps(plain({**found, "rows": rows}), indent=1) + "\n", encoding="utf-8")
        write_page()


def labelled(lab: Lab, change: Change) -> tuple[Questions, SoftLabels]:
    """Return the questions that a change tunes on, and their targets."""
    if change.experts == "noise":
        # Judged like any other expert: what it is worth has to be found out from the labelled questions.
        noise = np.random.default_rng(0).random((*np.shape(lab.scores.values)[:2], 1), dtype=np.float32)
        return lab.questions, lab.label(lab.questions, joined(lab.scores, noise, name="random"), **change.label)
    if change.experts == "best":
        _, everything = lab.labels(**change.label)
        best = int(np.nanargmax([expert.ndcg for expert in everything.panel]))
        return lab.labels(experts=[best], **change.label)
    return lab.labels(rows=chosen(lab, change.questions), **change.label)


def chosen(lab: Lab, which: str) -> Rows | None:
    """Return the rows of the questions that are tuned on; None: all."""
    items = lab.questions.items
    if not which:
        return None
    if which == "round trip":
        return np.flatnonzero(round_trip(lab.questions, lab.dataset, lab.scores, most_rank=KEPT))
    if which == "no spans":
        return np.array([row for row, item in enumerate(items) if not item.span])
    most, seen, kept = int(which.split()[1]), Counter[str](), []
    for number, item in enumerate(items):
        written = item.synthetic
        seen.update(item.document_ids if written else ())
        if not written or max(seen[answer] for answer in item.document_ids) <= most:
            kept.append(number)
    return np.array(kept)


def row(lab: Lab, change: Change, tunings: Sequence[Tuning], usual: Sequence[Tuning]) -> dict[str, Any]:
    """Return gains over the base and differences to the default at every factor."""
    found: dict[str, Any] = {"what": change.what, "value": change.value, "factors": {}}
    found["seconds"] = [tuning.seconds for tuning in tunings]
    for factor in FACTORS:
        points, others = at(tunings, factor), at(usual, factor)
        found["factors"][f"{factor:g}"] = {
            str(role): {
                "gain": lab.gain(points, role),
                "more": None if change is DEFAULT else lab.gain(points, role, over=others),
            }
            for role in (Role.DOMAIN, Role.GENERAL)
        }
    return found


# --- the page ------------------------------------------------------------------------------------------------------


def write_page() -> None:
    """Put one table a set between the marks of docs/ablations.md."""
    files = sorted((HERE / "results").glob("ablations-*.json"))
    body = "\n".join(line for file in files for line in _table(json.loads(file.read_text(encoding="utf-8"))))
    put(PAGE, BEGIN, END, f"{body}\n")


def _table(found: Mapping[str, Any]) -> Iterator[str]:
    seeds = "one seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    yield f"### {found['set']}, {seeds}\n"
    heads = [f"{role}, {factor:g}" for factor in SHOWN for role in ("domain", "general")]
    yield f"| changed | to | {' | '.join(heads)} |"
    yield "|---|---|" + "--:|" * len(heads)
    for line in found["rows"]:
        cells = [line["factors"][f"{factor:g}"][role] for factor in SHOWN for role in ("domain", "general")]
        yield f"| {line['what']} | {line['value']} | {' | '.join(map(_cell, cells))} |"
    yield ""
    usual = found["rows"][0]["factors"]
    parts = [
        f"{factor}: {_signed(both['domain']['gain'])} / {_signed(both['general']['gain'])}"
        for factor, both in usual.items()
    ]
    yield f"The default by interpolation factor, domain / general: {'; '.join(parts)}.\n"


def _cell(measured: Mapping[str, Any]) -> str:
    return _signed(measured["more"] or measured["gain"])


def _signed(interval: Mapping[str, float]) -> str:
    mean, low, high = (f"{100 * interval[key]:+z.1f}".replace("-", "\N{MINUS SIGN}") for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
