"""Tune every contender on the same training questions, measure all alike, and print one table.

    python bench/quality.py                                          # everything; what is done is not done again
    python bench/quality.py --sets stackfaq --contenders expertune mnrl --seeds 0 1
    python bench/quality.py --contenders expertune --vary label.hard_weight=1.0  # one default changed, for ablations
    python bench/quality.py --table                                  # only collect what there is
    python bench/quality.py --table --sets stackfaq --result stackfaq.json  # what there is of one set alone

A piece is one contender on one set with one seed, in a process of its own; it becomes one line of
bench/results/quality/pieces.jsonl, which is kept with the code: another machine goes on from there. The table goes to
bench/results/quality.json. Gains are nDCG@10 x 100 over the base.

A piece belongs to the recipe that it was made with: data and how questions are written, for ours experts and settings
too. The same recipe writes almost the same questions on every machine, not quite: rounding decides between words that
are nearly as likely. Where the pieces of a set were made with several such lists, the table says so.

Every peer is tuned over a small grid on our validation fold, for the first of its seeds; the other seeds take that
choice. One training of a peer may take as long as `--budget`; by default as long as ours took on that set, which is why
ours runs first. `later` pieces leave out the answers without a training question: the inductive case.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from expertune.evaluate.statistics import seeds_interval
from main_job import machine
from pages import put

HERE = Path(__file__).parent
ROOT = HERE.parent
SETS = ("sofmattress_faq", "covidfaq_jhu", "ecommerce_faq79", "banking77_faq", "stackfaq")
GENERAL = ("cranfield", "medline1033")
PEERS = (
    "paper-hard", "paper-soft-1", "paper-soft-2", "paper-soft-3", "mnrl", "gist", "cosent", "cosine", "margin-mse",
    "distill-kl", "llama-index-linear", "litfit-linear",
)  # fmt: skip
OURS = "expertune"
METRIC = "ndcg@10"
BUDGET = 150.0
PIECES = HERE / "results" / "quality"
RESULT = HERE / "results" / "quality.json"
PAGE = ROOT / "docs" / "findings" / "peers.md"
BEGIN, END = "<!-- quality:begin -->", "<!-- quality:end -->"
RESAMPLES = 4000
AXES = {"domain": ("seen", "unseen"), "general": ("general",)}
"""What contenders are compared on: kinds of splits whose plain mean counts."""

Piece = dict[str, Any]
Stratum = tuple[str, NDArray[np.float64], Sequence[str]]
"""Name, differences `[seeds, queries]`, and the cluster of each query."""


# --- one piece, in its own process ---------------------------------------------------------------------------------


def prepare(given: argparse.Namespace, name: str) -> tuple[Any, Any]:
    """Run expertune over a set up to the labels, or take that from the shared store; return config and result."""
    from expertune.config import assignment, from_mapping, overlaid
    from expertune.pipeline.run import Run, Stage

    values = {
        "run": {"out": str(given.runs / name), "store": str(given.runs / "store"), "threads": given.threads},
        "data": {
            "path": str(given.shared / name),
            "general": [str(given.shared / general) for general in given.general],
        },
    }
    config = from_mapping(overlaid(values, [assignment(change) for change in given.vary]))
    return config, Run(config).execute(until=Stage.LABEL)


def write_prepared(given: argparse.Namespace, name: str) -> None:
    """Write what all pieces of a set share: kinds of splits, and for each recipe its keys and the stages' seconds."""
    from expertune import data
    from expertune.pipeline.store import fingerprint
    from expertune.records import Role
    from expertune.train import tuning

    config, result = prepare(given, name)
    labelled = result.dataset.labelled_ids

    def kind_of(judged: Any) -> str:
        if judged.role is Role.DOMAIN:
            return kind(judged, labelled)
        return "general" if judged.dataset in GENERAL else "further"

    file = given.pieces / f"{name}.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    fresh = {timing.stage: timing.seconds for timing in result.timings if not timing.reused}
    sections = config.model_dump(mode="json", include={"augment", "score", "label", "train"})
    questions = fingerprint(data.Files(config.data).fingerprint, sections.pop("augment"))
    ours = fingerprint(questions, sections, *tuning.VERSION)
    vary = " ".join(given.vary)
    recipes = before.get("recipes", {})
    recipe = {
        "questions": questions,
        "ours": ours,
        "counts": {"documents": len(result.dataset.documents), "questions": len(result.questions.items)},
        "seconds": {**recipes.get(vary, {}).get("seconds", {}), **fresh},
    }
    prepared = {
        "kinds": {**before.get("kinds", {}), **{_name(judged): kind_of(judged) for judged in result.judged}},
        "recipes": {**recipes, vary: recipe},
    }
    file.write_text(json.dumps(prepared) + "\n", encoding="utf-8")


def kind(judged: Any, labelled: Set[str]) -> str:
    """Call a domain split seen or unseen: by its name, else by whether half of its answers have a training question.

    A split that the set calls seen may have lost half of its training questions, because they repeat held-out ones.
    """
    for name in ("unseen", "seen"):
        if judged.split.endswith(name):
            return name
    relevant = [document for grades in judged.qrels.values() for document in grades]
    return "seen" if np.mean([document in labelled for document in relevant]) >= 0.5 else "unseen"


def run_piece(given: argparse.Namespace, wanted: Piece) -> None:
    """Tune and measure one contender; write its line to `given.into`."""
    import resource

    from contenders import CONTENDERS
    from contenders.task import Task
    from expertune import models
    from expertune.config import PluginSpec
    from expertune.evaluate.stage import measure
    from expertune.models.encoder import CachedEncoder
    from expertune.pipeline.store import Store, fingerprint
    from expertune.score.stage import load_experts
    from expertune.train.trainer import use_bfloat16

    config, result = prepare(given, wanted["set"])
    dataset, questions, scores = result.dataset, result.questions, result.scores
    if wanted["later"]:
        dataset, questions, scores = without_later_answers(dataset, questions, scores)
    (expert,) = load_experts([PluginSpec(use="sentence_transformer", model=config.train.base)], offline=True)
    encoder = CachedEncoder("base", expert, cache=Store(config.run.store).items)
    with tempfile.TemporaryDirectory() as scratch:
        task = Task(
            config=config,
            dataset=dataset,
            questions=questions,
            scores=scores,
            base=models.resolve(config.train.base, offline=True),
            base_encoder=encoder,
            seed=wanted["seed"],
            budget=wanted["budget"],
            scratch=Path(scratch),
            chosen=wanted["chosen"],
        )
        outcome = CONTENDERS[wanted["contender"].split()[0]](task)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        measured = {}
        for judged in result.judged:
            found = measure(outcome.encoder, judged, wanted["contender"])
            values = [round(float(value), 5) for value in found.values[METRIC]]
            part = measured[_name(judged)] = {"values": values}
            if wanted["contender"] == "base":
                # Numbers for the answers' ids: nothing of the data goes into the results.
                part["clusters"] = np.unique(found.clusters, return_inverse=True)[1].tolist()
    line = {
        **{key: wanted[key] for key in ("contender", "set", "seed", "later", "key")},
        "questions": fingerprint([[item.text, item.document_ids] for item in result.questions.items])[:16],
        "bf16": use_bfloat16("auto"),
        "chosen": dict(outcome.chosen),
        "searched": wanted["chosen"] is None,
        "seconds": round(outcome.seconds, 1),
        "choosing_seconds": round(outcome.choosing_seconds, 1),
        "peak_megabytes": round(peak),
        "measured": measured,
    }
    Path(given.into).write_text(json.dumps(line) + "\n", encoding="utf-8")


def without_later_answers(dataset: Any, questions: Any, scores: Any) -> tuple[Any, Any, Any]:
    """Leave out every answer that no question of the user's leads to, and what was written for it."""
    from expertune.records import Dataset, Questions, Scores

    labelled = dataset.labelled_ids
    columns = [index for index, document in enumerate(dataset.documents) if document.id in labelled]
    rows = [index for index, item in enumerate(questions.items) if set(item.document_ids) <= labelled]
    kept = np.asarray(scores.values)[np.ix_(rows, columns)]
    documents = tuple(dataset.documents[index] for index in columns)
    items = tuple(questions.items[index] for index in rows)
    return Dataset(dataset.name, documents, dataset.questions), Questions(items), Scores(scores.experts, kept)


def _name(judged: Any) -> str:
    return str(judged.split if judged.role == "domain" else judged.dataset)


# --- which pieces --------------------------------------------------------------------------------------------------


def wanted_pieces(given: argparse.Namespace) -> Iterator[Piece]:
    """Yield every piece that is asked for: the base first, then ours, which sets the peers' budget."""
    ordered = sorted(given.contenders, key=lambda name: name != OURS)
    for name in given.sets:
        yield {"contender": "base", "set": name, "seed": 0, "later": False}
        for contender in ordered:
            for seed in given.seeds:
                called = " ".join([contender, *given.vary])
                yield {"contender": called, "set": name, "seed": seed, "later": given.later}


def run_pieces(given: argparse.Namespace) -> None:
    """Run what is not there yet, each in a fresh process."""
    file = given.pieces / "pieces.jsonl"
    for name in given.sets:
        _child(given, ["--prepare", name])
    for piece in wanted_pieces(given):
        done = read_pieces(file)
        prepared = json.loads((given.pieces / f"{piece['set']}.json").read_text(encoding="utf-8"))
        ours = piece["contender"].startswith(OURS)
        piece["key"] = made_of(piece["contender"], prepared)
        wanted = {split for split, kind in prepared["kinds"].items() if kind in ("seen", "unseen")} | {*given.general}
        same = (other for other in done if _same(piece, other) and other["seed"] == piece["seed"])
        if any(wanted <= other["measured"].keys() for other in same):
            continue
        like = [other for other in done if _same(piece, other) and not ours]
        piece["chosen"] = like[0]["chosen"] if like else None
        own = [other["seconds"] for other in done if (other["contender"], other["set"]) == (OURS, piece["set"])]
        piece["budget"] = given.budget or (float(np.mean(own)) if own else BUDGET)
        print(f"{piece['set']:18} {piece['contender']:20} seed {piece['seed']}{' later' * piece['later']}", flush=True)
        started = time.perf_counter()
        with tempfile.NamedTemporaryFile(suffix=".json") as into:
            if not _child(given, ["--piece", json.dumps(piece), "--into", into.name], fatal=False):
                continue
            line = Path(into.name).read_text(encoding="utf-8")
        with file.open("a", encoding="utf-8") as pieces:
            pieces.write(line)
        made = json.loads(line)
        print(f"  {time.perf_counter() - started:.0f} s in all, chosen {made['chosen']}", flush=True)


def made_of(contender: str, prepared: Mapping[str, Any]) -> str | None:
    """Return the fingerprint of what a contender is made of now: the recipe of the questions, and ours of its settings.

    None: the set was never prepared with what the contender's name says is varied.
    """
    if contender == "base":
        return ""
    recipe = recipe_of(contender, prepared)
    return recipe and recipe["ours" if contender.split()[0] == OURS else "questions"]


def recipe_of(contender: str, prepared: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how a set was prepared with what the contender's name says is varied; None: it never was."""
    found: dict[str, Any] | None = prepared["recipes"].get(contender.partition(" ")[2])
    return found


def read_pieces(file: Path) -> list[Piece]:
    """Return the finished pieces, each only once: the newest."""
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return list({(line["contender"], line["set"], line["seed"], line["later"]): line for line in lines}.values())


def _same(piece: Piece, other: Piece) -> bool:
    return all(piece[key] == other[key] for key in ("contender", "set", "later", "key"))


def _child(given: argparse.Namespace, arguments: Sequence[str], *, fatal: bool = True) -> bool:
    command = [sys.executable, str(HERE / "quality.py"), *arguments, "--threads", str(given.threads)]
    command += [
        "--shared",
        str(given.shared),
        "--runs",
        str(given.runs),
        "--pieces",
        str(given.pieces),
        "--general",
        *given.general,
    ]
    for change in given.vary:
        command += ["--vary", change]
    failed = subprocess.run(command, check=False, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"}).returncode
    if failed and fatal:
        sys.exit(f"failed: {' '.join(command)}")
    if failed:
        print("  FAILED; going on with the next piece", flush=True)
    return not failed


# --- the table -----------------------------------------------------------------------------------------------------


def gain(groups: Iterable[Sequence[Stratum]]) -> float | None:
    """Return the plain mean over all strata, x 100."""
    means = [float(values.mean()) for group in groups for _, values, _ in group]
    return round(100 * float(np.mean(means)), 3) if means else None


def interval(groups: Iterable[Sequence[Stratum]]) -> dict[str, float] | None:
    """Return the plain mean over all strata with a 95 % paired bootstrap interval over queries and seeds.

    One stratum has the package's interval. Of several, each group is one data set: its strata share the resampled
    seeds. Queries are resampled by answer; strata with the same name and questions (a general set, measured after
    tuning on several domains) share the resampled queries. The deviations of each stratum are stretched to its standard
    error, and the quantiles are those of a Student t, as the package does it.

    A single split with too few answers (`Interval.too_few`) has no ends: they would be a guess.
    """
    groups = [group for group in groups if group]
    strata = [stratum for group in groups for stratum in group]
    mean = gain([strata])
    if mean is None:
        return None
    found = [seeds_interval(values, clusters) for _, values, clusters in strata]
    if len(strata) == 1:
        if found[0].too_few:
            return {"gain": mean, "answers": found[0].clusters}
        return {"gain": mean, "low": round(100 * found[0].low, 3), "high": round(100 * found[0].high, 3)}
    errors = np.array([max(one.standard_error, 1e-12) for one in found])
    squares = (errors / errors.max()) ** 2  # relative, so that tiny errors do not underflow
    freedom = float(squares.sum() ** 2 / sum(squares**2 / np.maximum([one.clusters - 1 for one in found], 1)))
    tail = float(stats.norm.cdf(-stats.t.ppf(0.975, freedom)))
    low, high = np.quantile(_deviations(groups, errors), [tail, 1.0 - tail])
    return {"gain": mean, "low": round(mean + 100 * float(low), 3), "high": round(mean + 100 * float(high), 3)}


def _deviations(groups: Iterable[Sequence[Stratum]], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw how far the mean over all strata lies from itself `[RESAMPLES]`; `errors` has a standard error a stratum."""
    generator = np.random.default_rng(0)
    drawn: dict[str, NDArray[np.int64]] = {}
    total, number = np.zeros(RESAMPLES), 0
    for group in groups:
        seeds = len(group[0][1])
        shares = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
        for name, values, clusters in group:
            _, of = np.unique(np.asarray(clusters), return_inverse=True)
            sizes = np.bincount(of).astype(np.float64)
            sums = np.stack([np.bincount(of, weights=row) for row in values])
            if name not in drawn:
                drawn[name] = generator.integers(0, len(sizes), (RESAMPLES, len(sizes)))
            chosen = drawn[name]
            means = np.take_along_axis(shares @ sums, chosen, axis=1).sum(axis=1) / sizes[chosen].sum(axis=1)
            spread = float(means.std())
            total += (means - float(values.mean())) * (errors[number] / spread if spread > 0 else 1.0)
            number += 1
    return total / number


class Collected:
    """All finished pieces, and differences between two contenders."""

    def __init__(self, pieces: Sequence[Piece], kinds: Mapping[str, Mapping[str, str]]) -> None:
        self.kinds = kinds
        self.pieces = pieces
        self.base = {piece["set"]: piece["measured"] for piece in pieces if piece["contender"] == "base"}

    def of(self, contender: str, *, later: bool = False) -> dict[tuple[str, int], Piece]:
        """Return a contender's pieces by set and seed."""
        return {
            (piece["set"], piece["seed"]): piece
            for piece in self.pieces
            if piece["contender"] == contender and piece["later"] == later and piece["set"] in self.base
        }

    def strata(
        self, contender: str, kinds: Sequence[str], *, later: bool = False, than: str = "base"
    ) -> dict[str, list[Stratum]]:
        """Return the paired differences of two contenders by set, over the sets and seeds that both have."""
        mine, theirs = self.of(contender, later=later), self.of(than, later=later)
        groups: dict[str, list[Stratum]] = {}
        for name in dict.fromkeys(key[0] for key in mine):
            base = self.base[name]
            for split, kind in self.kinds[name].items():
                if kind not in kinds or split not in base:
                    continue
                seeds = [
                    key[1]
                    for key, piece in mine.items()
                    if key[0] == name
                    and split in piece["measured"]
                    and (than == "base" or (key in theirs and split in theirs[key]["measured"]))
                ]
                if not seeds:
                    continue
                own = np.array([mine[name, seed]["measured"][split]["values"] for seed in seeds])
                other = [
                    (base if than == "base" else theirs[name, seed]["measured"])[split]["values"] for seed in seeds
                ]
                label = split if kind in ("general", "further") else f"{name}/{split}"
                groups.setdefault(name, []).append((label, own - np.array(other), base[split]["clusters"]))
        return groups

    def row(self, contender: str) -> dict[str, Any]:
        """Return one contender's row of the table."""
        domain, general = (self.strata(contender, kinds) for kinds in AXES.values())
        mine = (self.of(contender) or self.of(contender, later=True)).values()

        def over(kinds: Sequence[str], *, later: bool = False) -> dict[str, float] | None:
            return interval(self.strata(contender, kinds, later=later).values())

        everywhere = self.strata(contender, ("general", "further")).values()
        sets = {stratum[0] for group in everywhere for stratum in group}
        each = {name: interval([[s for s in group if s[0] == name] for group in everywhere]) for name in sorted(sets)}
        splits = {s[0]: {"seeds": len(s[1]), **interval([[s]])} for group in domain.values() for s in group}  # type: ignore[dict-item]
        pooled, general_pooled = interval(domain.values()), interval(general.values())
        return {
            "name": contender,
            "domain": pooled["gain"] if pooled else None,
            "general": general_pooled["gain"] if general_pooled else None,
            "worst_general": min((row["gain"] for row in each.values() if row), default=None),
            "intervals": {"domain": pooled, "general": general_pooled},
            "seen": over(("seen",)),
            "unseen": over(("unseen",)),
            "inductive": over(("unseen",), later=True),
            "inductive_seen": over(("seen",), later=True),
            "splits": splits,
            "general_sets": each,
            "seconds": _mean(piece["seconds"] for piece in mine),
            "choosing_seconds": _mean(piece["choosing_seconds"] for piece in mine if piece["searched"]),
            "peak_megabytes": max((piece["peak_megabytes"] for piece in mine), default=None),
            "sets": sorted({piece["set"] for piece in mine}),
            "seeds_of_a_set": dict(sorted(Counter(piece["set"] for piece in mine).items())),
            "seeds": sorted({piece["seed"] for piece in mine}),
            "chosen": {f"{p['set']}/{p['seed']}": p["chosen"] for p in mine},
        }

    def ahead(self, first: str, second: str) -> dict[str, Any]:
        """Return how far the first is ahead of the second on the sets and seeds that both have."""
        return {name: interval(self.strata(first, kinds, than=second).values()) for name, kinds in AXES.items()}

    def beats(self, first: str, second: str) -> bool:
        """Tell whether the first is ahead in the domain or in general and behind in neither, where both have pieces."""
        gains = [gain(self.strata(first, kinds, than=second).values()) for kinds in AXES.values()]
        known = [value for value in gains if value is not None]
        return len(known) == len(AXES) and min(known) >= 0 < max(known)


def lists_of_questions(pieces: Iterable[Piece], prepared: Mapping[str, Any]) -> int:
    """Return how many lists of training questions the pieces of one set had, where they should have had one."""
    lists: dict[str, set[str]] = {}
    for piece in pieces:
        recipe = recipe_of(piece["contender"], prepared)
        if piece["contender"] != "base" and recipe:
            lists.setdefault(recipe["questions"], set()).add(piece["questions"])
    return max(map(len, lists.values()), default=0)


def collect(given: argparse.Namespace) -> None:
    """Write bench/results/quality.json and print the table."""
    pieces = read_pieces(given.pieces / "pieces.jsonl")
    files = [file for file in sorted(given.pieces.glob("*.json")) if file.stem in given.sets]
    prepared = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    kinds = {name: made["kinds"] for name, made in prepared.items()}
    # Pieces of another recipe, or of earlier defaults, are of another contender that has the same name.
    pieces = [
        piece
        for piece in pieces
        if piece["set"] in kinds and piece["key"] == made_of(piece["contender"], prepared[piece["set"]])
    ]
    found = Collected(pieces, kinds)
    lists = {
        name: lists_of_questions((piece for piece in pieces if piece["set"] == name), made)
        for name, made in prepared.items()
    }
    for name in (name for name, count in lists.items() if count > 1):
        print(f"{name}: pieces with {lists[name]} lists of training questions, written on different machines")
    names = [name for name in dict.fromkeys(piece["contender"] for piece in pieces) if name != "base"]
    rows = [found.row(name) for name in sorted(names, key=lambda name: (not name.startswith(OURS), name))]
    for row in rows:
        row["ours_minus_this"] = found.ahead(OURS, row["name"]) if row["name"] != OURS else None
        row["on_front"] = not any(found.beats(other["name"], row["name"]) for other in rows)
    base = {
        name: {split: round(100 * float(np.mean(part["values"])), 2) for split, part in measured.items()}
        for name, measured in found.base.items()
    }
    kept = {
        "base_model": "all-minilm-l6-v2",
        "metric": "nDCG@10 x 100, gain over the base",
        "machine": machine(),
        "base": base,
        "preparation": {
            name: {
                "recipes": {
                    vary or "default": {key: recipe[key] for key in ("counts", "seconds")}
                    for vary, recipe in made["recipes"].items()
                },
                "lists_of_questions": lists[name],
            }
            for name, made in prepared.items()
        },
        "contenders": rows,
    }
    given.result.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print_table(rows)
    if given.result == RESULT:
        put(PAGE, BEGIN, END, page_table(rows))


def page_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of docs/findings/peers.md."""
    heads = ("sets x seeds", "seen", "unseen", "added later", "general", "worst set")
    heads += (f"{OURS} minus this, domain", "general", "seconds", "MB")
    lines = [f"| | {' | '.join(heads)} |", "|---|---|--:|--:|--:|--:|--:|---|---|--:|--:|"]
    for row in rows:
        parts = [(row[key] or {}).get("gain") for key in ("seen", "unseen", "inductive")]
        gains = ["-" if value is None else f"{value:+.1f}" for value in (*parts, row["general"], row["worst_general"])]
        ahead = row["ours_minus_this"] or {}
        differences = [_signed(ahead[key], 1) if ahead.get(key) else "-" for key in ("domain", "general")]
        size = _size(row)
        cost = (f"{row['seconds'] or 0:.0f}", f"{row['peak_megabytes'] or 0:.0f}")
        lines.append(f"| {row['name']} | {' | '.join((size, *gains, *differences, *cost))} |")
    return "\n".join(lines) + "\n"


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one line a contender."""
    columns = ("domain", "seen", "unseen", "inductive", "general", "worst")
    print(f"\n{'contender':26}" + "".join(f"{name:>10}" for name in columns) + f"{'seconds':>9}{'MB':>7}  sets seeds")
    for row in rows:
        values = [
            row["domain"],
            *((row[key] or {}).get("gain") for key in ("seen", "unseen", "inductive")),
            row["general"],
            row["worst_general"],
        ]
        cells = "".join(f"{value:+10.2f}" if value is not None else f"{'-':>10}" for value in values)
        size = _size(row)
        front = " front" if row["on_front"] else ""
        print(f"{row['name']:26}{cells}{row['seconds'] or 0:9.0f}{row['peak_megabytes'] or 0:7.0f}  {size}{front}")
        ahead = row["ours_minus_this"]
        if ahead and ahead["domain"]:
            parts = [f"{key} {_signed(ahead[key])}" for key in ("domain", "general") if ahead[key]]
            print(f"{'':26}  ours is ahead by: {', '.join(parts)}")


def _size(row: Mapping[str, Any]) -> str:
    """Say how many sets and seeds a row is of; seeds of a set may be more on some than on others."""
    each = row["seeds_of_a_set"].values()
    fewest, most = min(each, default=0), max(each, default=0)
    return f"{len(each)} x {fewest}" + (f" to {most}" if most > fewest else "")


def _signed(found: Mapping[str, float], digits: int = 2) -> str:
    if "low" not in found:
        return f"{found['gain']:+.{digits}f} (too few answers for an interval)"
    gain, low, high = (f"{found[key]:+.{digits}f}" for key in ("gain", "low", "high"))
    return f"{gain} ({low} to {high})"


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(float(np.mean(known)), 1) if known else None


def main() -> None:
    """Run the pieces that are asked for, then collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--contenders", nargs="*", default=(OURS, *PEERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--general", nargs="*", default=GENERAL, help="folders of --shared, to measure on")
    parser.add_argument("--later", action="store_true", help="measure the inductive case")
    parser.add_argument(
        "--vary", action="append", default=[], metavar="KEY=VALUE", help="change a default; names then say so"
    )
    parser.add_argument("--budget", type=float, default=0.0, help="seconds one training of a peer may take")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "quality")
    parser.add_argument("--pieces", type=Path, default=PIECES, help="where finished pieces are kept")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--prepare", metavar="SET", help=argparse.SUPPRESS)
    parser.add_argument("--piece", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--into", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.pieces.mkdir(parents=True, exist_ok=True)
    if given.prepare:
        return write_prepared(given, given.prepare)
    if given.piece:
        return run_piece(given, given.piece)
    if not given.table:
        run_pieces(given)
    return collect(given)


if __name__ == "__main__":
    main()
