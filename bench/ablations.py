"""Change one default at a time, tune, and write the table of docs/ablations.md.

    python bench/ablations.py sofmattress_faq shop           # half an hour a set and seed on one core
    python bench/ablations.py shop --only steps mode --seeds 3

Each row is one tuning with each seed on the same questions and scores of a run of the defaults with a search log,
without selection, measured at every interpolation weight. Differences to the default's row are paired over questions.
What the parts of the recipe are worth (spans, share, log, panel) is bench/decompose.py's. Writes
bench/results/ablations-SET.json after every row; tunings are kept in the store, so a killed call goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

import sets
from expertune.commands.study.lab import FACTORS, KEPT, Lab, Tuning, at
from expertune.commands.study.result import plain
from expertune.config import Mode, TrainSection
from expertune.records import Questions, Role, SoftLabels, ignore_progress
from expertune.train import trainer
from origin import origin
from pages import put
from weak_expert import joined

HERE = Path(__file__).parent
PAGE = sets.ROOT / "docs" / "ablations.md"
BEGIN, END = "<!-- ablations:begin -->", "<!-- ablations:end -->"
GENERAL = ("cranfield", "medline1033")
SHOWN = (KEPT, 1.0)
"""Interpolation weights of the table: what a run prefers, and all of the way."""


@dataclass(frozen=True)
class Change:
    """One default changed: options of the sections `label` and `train`, or how many times the steps are taken."""

    what: str
    value: str
    label: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    steps: float = 1.0


DEFAULT = Change("default", "")
NOISE = Change("experts", "one more that scores at random")
CHANGES = (
    DEFAULT,
    *(Change("labels", name, label={"strategy": name}) for name in ("hard", "soft-1", "weighted")),
    Change(
        "loss",
        "pairwise on soft-1, the paper's",
        label={"strategy": "soft-1", "listwise": False},
        train={"loss": "pairwise"},
    ),
    *(Change("hard weight", f"{value:g}", label={"hard_weight": value}) for value in (0.0, 0.6)),
    *(Change("peak rate", f"{value:g}", train={"learning_rate": value}) for value in (1e-4, 2e-4)),
    *(Change("steps", f"{factor:g} times as many", steps=factor) for factor in (0.5, 2.0)),
    *(Change("reference weight", f"{value:g}", train={"reference_weight": value}) for value in (0.0, 30.0)),
    Change("share of the layers held", "0", train={"frozen_layers": 0.0}),
    NOISE,
    *(Change("mode", mode, train={"mode": mode}) for mode in get_args(Mode) if mode != "query"),
    Change("mode", "LoRA, rank 16", train={"lora_rank": 16}),
    Change("calibration", "rank", label={"calibration": "rank"}),
)


def main() -> None:
    """Tune what is wanted and write table and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="shop, or folders of the shared data; none: write the page anew")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="what is changed, such as loss; default: everything")
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--work", type=Path, default=sets.ROOT / "runs" / "ablations")
    parser.add_argument("--store", type=Path, help="default: WORK/store")
    given = parser.parse_args()
    given.no_log = False
    for name in given.sets:
        ablate(given, name)
    write_page()


def ablate(given: argparse.Namespace, name: str) -> None:
    """Tune every wanted change on one set, and keep its figures after each."""
    lab = Lab(sets.configured(given, name, 0, general=GENERAL), ignore_progress, seeds=given.seeds)
    steps = trainer.planned(TrainSection(), len(lab.questions.items)).steps
    rows = []
    usual: list[Tuning] = []
    for change in CHANGES:
        if given.only is not None and change.what not in ("default", *given.only):
            continue
        tunings = lab.tuned(
            labelled(lab, change), seeds=range(given.seeds), steps=round(change.steps * steps), **change.train
        )
        usual = usual or tunings
        rows.append(row(lab, change, tunings, usual))
        found = {"set": name, "seeds": given.seeds, "steps": steps, **origin(), "rows": rows}
        target = HERE / "results" / f"ablations-{name}.json"
        target.write_text(json.dumps(plain(found), indent=1) + "\n", encoding="utf-8")
        cells = " | ".join(_cell(cell) for cell in _cells(plain(rows[-1])))
        print(f"{name}: {change.what} {change.value} | {cells}", flush=True)


def labelled(lab: Lab, change: Change) -> tuple[Questions, SoftLabels]:
    """Return the questions that a change tunes on, and their targets."""
    if change is NOISE:
        # Judged like any other expert: what it is worth has to be found out from the labelled questions.
        noise = np.random.default_rng(0).random((*np.shape(lab.scores.values)[:2], 1), dtype=np.float32)
        return lab.questions, lab.label(lab.questions, joined(lab.scores, noise, name="random"))
    return lab.labels(**change.label)


def row(lab: Lab, change: Change, tunings: Sequence[Tuning], usual: Sequence[Tuning]) -> dict[str, Any]:
    """Return gains over the base and differences to the default at every interpolation weight."""
    found: dict[str, Any] = {"what": change.what, "value": change.value, "weights": {}}
    found["seconds"] = [tuning.seconds for tuning in tunings]
    for factor in FACTORS:
        points, others = at(tunings, factor), at(usual, factor)
        found["weights"][f"{factor:g}"] = {
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
        yield f"| {line['what']} | {line['value']} | {' | '.join(map(_cell, _cells(line)))} |"
    yield ""
    usual = found["rows"][0]["weights"]
    parts = [
        f"{factor}: {_signed(both['domain']['gain'])} / {_signed(both['general']['gain'])}"
        for factor, both in usual.items()
    ]
    yield f"The default by interpolation weight, domain / general: {'; '.join(parts)}.\n"


def _cells(line: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [line["weights"][f"{factor:g}"][role] for factor in SHOWN for role in ("domain", "general")]


def _cell(measured: Mapping[str, Any]) -> str:
    return _signed(measured["more"] or measured["gain"])


def _signed(interval: Mapping[str, float]) -> str:
    mean, low, high = (f"{100 * interval[key]:+z.1f}".replace("-", "\N{MINUS SIGN}") for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
