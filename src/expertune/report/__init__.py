"""Write the report of a finished run: one offline HTML page, a Markdown summary, results.json.

Computes no metric: everything shown was measured before. Only our own charts, style and script enter the
page unescaped.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment

from expertune.records import (
    Comparison,
    Dataset,
    Document,
    Evaluation,
    JudgedSet,
    Questions,
    Role,
    Scores,
    Separation,
    SoftLabels,
    Timing,
    TunedModel,
)
from expertune.report.formats import cut, points, signed
from expertune.report.page import asset, environment, policy_hash
from expertune.report.results import EXPANDED, GEOMETRY, PanelAgreement, geometry_values, results, to_json
from expertune.report.rows import held_out_rows, index_rows, losses, sample_rows, wins

MOST_BYTES = 3_000_000
ROW_LIMITS = ((1500, 3), (1500, 1), (1000, 1), (500, 1), (200, 1), (50, 1))
"""(rows, first answers shown) of the held-out table, tried in order until the page is small enough."""
HEADLINE = "ndcg@10"
METRIC_NAMES = {"ndcg@10": "nDCG@10", "map@10": "mAP@10", "mrr@10": "MRR@10", "recall@10": "recall@10"}


@dataclass(frozen=True)
class ReportInputs:
    """Everything the report shows.

    `config_toml` is the resolved config as TOML text, `expanded` the number of answers that are indexed with questions
    of their own.
    """

    config_toml: str
    dataset: Dataset
    questions: Questions
    scores: Scores
    labels: SoftLabels
    model: TunedModel
    evaluation: Evaluation
    judged: Sequence[JudgedSet]
    timings: Sequence[Timing]
    agreement: PanelAgreement | None = None
    geometry: Mapping[str, object] | None = None
    expanded: int = 0


def write_report(inputs: ReportInputs, folder: Path) -> Path:
    """Write report.html, report.md and results.json into `folder` and return the path of the page.

    The same inputs give the same bytes. The page holds everything it needs, opens no connection and stays under
    `MOST_BYTES`; long tables are cut to keep it so, and say it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = results(
        dataset=inputs.dataset,
        questions=inputs.questions,
        scores=inputs.scores,
        labels=inputs.labels,
        model=inputs.model,
        evaluation=inputs.evaluation,
        timings=inputs.timings,
        folder=folder,
        agreement=inputs.agreement,
        geometry=inputs.geometry,
        expanded=inputs.expanded,
    )
    context = _context(inputs, values)
    page = folder / "report.html"
    _write(page, _fitting_page(inputs, context))
    _write(folder / "report.md", _environment().get_template("report.md.j2").render(context))
    _write(folder / "results.json", to_json(values))
    return page


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace", newline="\n")


def _fitting_page(inputs: ReportInputs, context: Mapping[str, Any]) -> str:
    template = _environment().get_template("report.html.j2")
    page = ""
    for most, first in ROW_LIMITS:
        rows = held_out_rows(inputs.judged, inputs.evaluation.measurements, first=first)
        page = template.render(context, rows=rows[:most], row_count=len(rows), wins=wins(rows), losses=losses(rows))
        if len(page.encode("utf-8", errors="replace")) < MOST_BYTES:
            break
    return page


def write_index(documents: Sequence[Document], folder: Path) -> None:
    """Write the texts to index as a BEIR corpus; where they are the answers alone, leave none of another run."""
    lines = [json.dumps({"_id": item.id, "text": item.text}, ensure_ascii=False) for item in documents]
    if lines:
        (folder / EXPANDED).write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        (folder / EXPANDED).unlink(missing_ok=True)


def _context(inputs: ReportInputs, values: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = inputs.evaluation
    headline = [row for row in evaluation.comparisons if row.metric.casefold() == HEADLINE]
    style, script = asset(__name__, "report.css"), asset(__name__, "report.js")
    return {
        "results": values,
        "dataset": inputs.dataset,
        "model": inputs.model,
        "labels": inputs.labels,
        "verdict": evaluation.verdict,
        "banner": banner(evaluation),
        "sentence": sentence(headline, confidence(inputs.config_toml)),
        "index": index_rows(evaluation, HEADLINE),
        "expanded": inputs.expanded,
        "expanded_file": EXPANDED,
        "confidence": f"{100 * confidence(inputs.config_toml):g}",
        "headline": headline,
        "comparisons": [
            list(rows) for _, rows in groupby(evaluation.comparisons, lambda row: (row.dataset, row.split))
        ],
        "separations": _domain_separations(evaluation),
        "samples": sample_rows(inputs.dataset, inputs.questions, inputs.scores, inputs.labels),
        "experts": inputs.scores.experts,
        "agreement": inputs.agreement,
        "geometry": _geometry(inputs.geometry),
        "config_toml": inputs.config_toml.strip(),
        "charts": _charts(inputs, headline),
        "style": style,
        "script": script,
        "style_hash": policy_hash(style),
        "script_hash": policy_hash(script),
    }


def banner(evaluation: Evaluation) -> str:
    """Return the verdict in two words.

    "Ship it" where a gain was shown and "Likely better" where one is only likely; "Keep the base" or, where nothing was
    shown, "No evidence" where it does not ship.
    """
    verdict = evaluation.verdict
    if verdict.ship:
        return "Ship it" if verdict.domain == "better" else "Likely better"
    return "No evidence" if verdict.domain == "no evidence" and verdict.general != "worse" else "Keep the base"


def sentence(headline: Sequence[Comparison], level: float) -> str:
    """Say what happened to nDCG@10 in one sentence with the numbers, in points.

    Args:
        headline: The nDCG@10 comparisons of all sets.
        level: Confidence of the intervals, in (0, 1).
    """
    domain = [row for row in headline if row.role == Role.DOMAIN]
    general = [row for row in headline if row.role == Role.GENERAL]
    parts = [
        f"from {points(row.base)} to {points(row.tuned)} on {cut(row.dataset, 30)}/{cut(row.split, 30)} "
        f"({signed(row.difference)}, {100 * level:g} % interval {signed(row.low)} to {signed(row.high)})"
        for row in domain
    ]
    said = "On held-out questions nDCG@10 goes " + " and ".join(parts) if parts else "No domain set was measured"
    if general:
        low, high = min(row.difference for row in general), max(row.difference for row in general)
        sets = "the general set" if len(general) == 1 else f"{len(general)} general sets"
        change = signed(low) if signed(low) == signed(high) else f"{signed(low)} to {signed(high)}"
        said += f"; on {sets} it changes by {change}"
    return said + "."


def confidence(config_toml: str) -> float:
    """Return the confidence of the run's intervals in (0, 1), as its config says."""
    try:
        return float(tomllib.loads(config_toml)["evaluate"]["confidence"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError):
        return 0.95


def _domain_separations(evaluation: Evaluation) -> list[tuple[Separation, Separation]]:
    """Pair base and tuned of every domain split."""
    domain = {(item.dataset, item.split) for item in evaluation.measurements if item.role == Role.DOMAIN}
    found = {(item.dataset, item.split, item.model): item for item in evaluation.separations}
    keys = dict.fromkeys((item.dataset, item.split) for item in evaluation.separations)
    return [
        (found[*key, "base"], found[*key, "tuned"])
        for key in keys
        if key in domain and (*key, "base") in found and (*key, "tuned") in found
    ]


def _charts(inputs: ReportInputs, headline: Sequence[Comparison]) -> dict[str, str]:
    from expertune.report import charts  # loads matplotlib, which takes longer than all of `check`

    drawn: dict[str, str] = {}
    if headline:
        drawn["levels"] = charts.levels(headline)
        drawn["differences"] = charts.differences(headline)
    if inputs.model.selection.candidates:
        drawn["frontier"] = charts.frontier(inputs.model.selection.candidates)
    for index, pair in enumerate(_domain_separations(inputs.evaluation)):
        limits = (min(item.edges[0] for item in pair), max(item.edges[-1] for item in pair))
        for item, title in zip(pair, ("Before (base)", "After (tuned)"), strict=True):
            name = f"similarity-{index}-{item.model}"
            drawn[name] = charts.similarity(item, name=name, limits=limits, title=title)
    if inputs.labels.panel:
        drawn["panel"] = charts.panel(inputs.labels.panel)
    if inputs.agreement is not None:
        matrix = [[float(value) for value in row] for row in inputs.agreement.spearman]
        drawn["agreement"] = charts.agreement(inputs.agreement.experts, matrix)
    if inputs.timings:
        drawn["stages"] = charts.stages(inputs.timings)
    return drawn


def _geometry(geometry: Mapping[str, object] | None) -> dict[str, list[tuple[str, float | None]]] | None:
    """Return for each measure that was taken its value under every name."""
    if not geometry:
        return None
    measured = {name: geometry_values(item) for name, item in geometry.items()}
    shown = [measure for measure in GEOMETRY if any(item.get(measure) is not None for item in measured.values())]
    return {GEOMETRY[measure]: [(name, item.get(measure)) for name, item in measured.items()] for measure in shown}


@cache
def _environment() -> Environment:
    made = environment(__name__)
    made.filters |= {
        "metric": lambda name: METRIC_NAMES.get(name.casefold(), name),
        "cell": lambda text: cut(text, 80).replace("|", "\\|"),
    }
    return made
