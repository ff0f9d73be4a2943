"""Set expertune beside what a user would do instead and beside other methods, on the same held-out questions.

    python bench/quality.py --sets my/beir-folder                    # your own set: tables, plots and a page, in one go
    python bench/quality.py --sets covidfaq_jhu shop --seeds 0 1     # sets of the shared data; what is done stays done
    python bench/quality.py --contenders query-mnrl --limit seconds  # peers train as long as ours, not as many steps
    python bench/quality.py --contenders expertune --vary train.base=all-mpnet-base-v2
    python bench/quality.py --table                                  # only the page, from what there is

A set is a BEIR folder with `qa.jsonl`: by name, or a path of your own. Its log.txt, or else the questions of its
qrels/train.tsv without their labels, are what users typed: `expertune, log` learns from them, peers may.

Every way to search without tuning that a run's report has is a row. Every peer has the same training questions, the
same share of labelled ones, the log, hard negatives of the panel's best expert, and a grid that it is tuned over on a
fifth of the labelled questions (`--points`: how many points of it), for the first of its seeds; the other seeds take
that choice. One training of a peer ends with `--limit steps` after as many steps as ours, with `seconds` after as many
seconds as ours takes to tune and choose, with `validation` when its own validation stops rising.

A piece is one contender on one set with one seed, in a process of its own, and one line of OUT/pieces.jsonl. A piece of
other data or of earlier defaults leaves the table. Gains are nDCG@10 x 100 over the base.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import sets
from origin import origin
from pages import put
from quality_parts import page, plots
from quality_parts.pieces import ALTERNATIVES, Line, Options, Piece, described, made
from quality_parts.table import BASE, OURS, WITH_LOG, Collected

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "quality"
SETS = ("sofmattress_faq", "covidfaq_jhu", "banking77_faq", "shop", "ecommerce_faq79", "stackfaq")
LOSSES = ("mnrl", "distill-kl", "margin-mse", "cosent")
PEERS = tuple(f"{side}-{loss}" for side in ("query", "full") for loss in LOSSES)
KINDS = {OURS: "ours", WITH_LOG: "ours", ALTERNATIVES: "alternative", BASE: BASE}
TITLE = "# Is it better than what you would do instead?"
Made = TypeVar("Made")


def main() -> None:
    """Make the pieces that are asked for, then the table and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of sets, or paths of BEIR folders with qa.jsonl")
    parser.add_argument("--contenders", nargs="*", default=(OURS, WITH_LOG, ALTERNATIVES, *PEERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,))
    parser.add_argument("--limit", choices=("steps", "seconds", "validation"), default="steps")
    parser.add_argument("--points", type=int, default=0, help="points of its grid that a peer looks at; 0: all")
    parser.add_argument("--general", nargs="*", default=(), help="general sets; default: the built-in one")
    parser.add_argument("--base", default="all-minilm-l6-v2", help="model that all tune; each has an OUT of its own")
    parser.add_argument(
        "--vary", action="append", default=[], metavar="KEY=VALUE", help="change a default; names then say so"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--data-root", type=Path, default=sets.DATA)
    parser.add_argument("--work", type=Path, default=sets.ROOT / "runs" / "quality")
    parser.add_argument("--store", type=Path, help="default: WORK/store")
    parser.add_argument("--out", type=Path, help="default: bench/results/quality; WORK where a set is a path")
    parser.add_argument("--page", type=Path, help="default: OUT/page.md; a page that has the marks keeps the rest")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    given.out = given.out or (given.work if any(len(Path(name).parts) > 1 for name in given.sets) else RESULTS)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.table:
        run(given)
    collect(given)


def options(given: argparse.Namespace) -> Options:
    return Options(
        data_root=given.data_root,
        work=given.work,
        store=given.store or given.work / "store",
        threads=given.threads,
        general=tuple(given.general),
        vary=(f"train.base={given.base}", *given.vary),
        points=given.points,
    )


def run(given: argparse.Namespace) -> None:
    """Make what is not there yet, each piece in a fresh process: ours first, which tells the peers' seconds."""
    file = given.out / "pieces.jsonl"
    for on in given.sets:
        set_file = given.out / f"{Path(on).name}.json"
        shared = json.loads(set_file.read_text(encoding="utf-8")) if set_file.exists() else {}
        shared[" ".join(given.vary)] = fresh = apart(described, options(given), on)
        if any(other["keys"][BASE] != fresh["keys"][BASE] for other in shared.values()):
            sys.exit(f"{given.out} has pieces of another base, or of other questions to test on: give another --out")
        set_file.write_text(json.dumps(shared, indent=1) + "\n", encoding="utf-8")
        for piece in wanted(given, on, fresh):
            done = lines(file)
            key, name = key_of(piece, fresh), name_of(piece, given.vary)
            mine = [line for line in done if (line["made_by"], line["set"], line["key"]) == (name, Path(on).name, key)]
            if any(line["seed"] == piece.seed and fresh["kinds"].keys() <= _covers(line, fresh) for line in mine):
                continue
            print(f"{Path(on).name:18} {name:34} seed {piece.seed}", flush=True)
            if piece.is_peer:
                chosen = mine[0]["chosen"] if mine else None
                budget = budget_of(done, fresh, on, given.vary) if piece.limit == "seconds" else 0.0
                piece = Piece(piece.contender, piece.on, piece.seed, piece.limit, budget, chosen)
            started = time.perf_counter()
            try:
                found = apart(made, options(given), piece)
            except Exception:  # whatever it is, the other pieces go on
                traceback.print_exc()
                continue
            common = {"made_by": name, "set": Path(on).name, "seed": piece.seed, "key": key, **origin()}
            kind = KINDS.get(piece.contender, "peer")
            with file.open("a", encoding="utf-8") as pieces:
                pieces.writelines(json.dumps({"name": name, "kind": kind, **common, **line}) + "\n" for line in found)
            print(f"  {time.perf_counter() - started:.0f} s in all, chosen {found[0].get('chosen')}", flush=True)


def apart(function: Callable[..., Made], *arguments: Any) -> Made:
    """Call a function in a process of its own, so that peak memory is one piece's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def wanted(given: argparse.Namespace, on: str, shared: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield every piece of a set that is asked for."""
    yield Piece(BASE, on, 0)
    for contender in sorted(given.contenders, key=lambda name: KINDS.get(name, "peer") != "ours"):
        if contender == WITH_LOG and not shared["counts"]["log"]:
            continue
        for seed in given.seeds[:1] if contender == ALTERNATIVES else given.seeds:
            yield Piece(contender, on, seed, given.limit)


def name_of(piece: Piece, vary: list[str]) -> str:
    """Return what the row of a piece is called."""
    return " ".join([f"{piece.contender}, equal {piece.limit}" if piece.is_peer else piece.contender, *vary])


def key_of(piece: Piece, shared: Mapping[str, Any]) -> str:
    return str(shared["keys"]["peers" if piece.is_peer else piece.contender])


def _covers(line: Line, shared: Mapping[str, Any]) -> set[str]:
    """Return the splits that a line tells of; alternatives are not measured on general sets."""
    general = {split for split, kind in shared["kinds"].items() if kind == "general"}
    return set(line["measured"]) | (general if line["kind"] == "alternative" else set())


def budget_of(done: list[Line], shared: Mapping[str, Any], on: str, vary: list[str]) -> float:
    """Return the mean seconds of ours on a set, with the log where there is one."""
    ours = WITH_LOG if shared["counts"]["log"] else OURS
    name, key = " ".join([ours, *vary]), shared["keys"][ours]
    made = [line for line in done if (line["name"], line["set"], line["key"]) == (name, Path(on).name, key)]
    known = [line["seconds"] for line in made if line["seconds"]]
    if not known:
        sys.exit(f"{on}: peers get the seconds that {ours} took, which are not known: run it first, with a fresh store")
    return float(np.mean(known))


def lines(file: Path) -> list[Line]:
    """Return the finished pieces, each only once: the newest."""
    if not file.exists():
        return []
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return list({(line["name"], line["set"], line["seed"]): line for line in found}.values())


def collect(given: argparse.Namespace) -> None:
    """Write OUT/table.json, the plots and the page, and print the table."""
    files = {Path(on).name: given.out / f"{Path(on).name}.json" for on in given.sets}
    shared = {on: json.loads(file.read_text(encoding="utf-8")) for on, file in files.items() if file.exists()}
    keys = {on: {key for made in recipes.values() for key in made["keys"].values()} for on, recipes in shared.items()}
    pieces = [line for line in lines(given.out / "pieces.jsonl") if line["key"] in keys.get(line["set"], ())]
    first = {on: next(iter(recipes.values())) for on, recipes in shared.items()}
    found = Collected(pieces, {on: each["kinds"] for on, each in first.items()})
    table = page.table_of(found, first)
    commits = sorted({line["commit"] for line in pieces})
    kept = {**origin(), "commits_of_pieces": commits, **table}
    (given.out / "table.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    file = given.page or given.out / "page.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(f"{TITLE}\n\n{page.BEGIN}\n{page.END}\n", encoding="utf-8")
    put(file, page.BEGIN, page.END, page.body(table, missing(given, found), plots.draw(table, file.parent)))
    print(
        "\n".join(
            [*page.rows_table(table["rows"]), "", *page.sets_table(table), "", *page.said(table), "", f"page: {file}"]
        )
    )


def missing(given: argparse.Namespace, found: Collected) -> dict[str, list[str]]:
    """Return what was asked for and is not there, by contender."""
    there = {(piece["made_by"], piece["set"], piece["seed"]) for piece in found.pieces}
    absent: dict[str, list[str]] = {}
    for on in given.sets:
        for piece in wanted(given, on, {"counts": {"log": 1}}):
            name = name_of(piece, given.vary)
            if piece.contender != BASE and (name, Path(on).name, piece.seed) not in there:
                absent.setdefault(name, []).append(f"{Path(on).name} (seed {piece.seed})")
    return absent


if __name__ == "__main__":
    main()
