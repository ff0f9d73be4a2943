"""Put the page, the summary and the machine-readable results of a finished run into its folder.

Computes no metric: everything shown was measured before. Only our own charts, style and script enter the
page unescaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expertune.evaluate.statistics import CONFIDENCE
from expertune.records import METRIC, METRICS, Basis, Document
from expertune.report.alternatives import cost, lead, shown, to_do
from expertune.report.finished import FinishedRun
from expertune.report.formats import cut
from expertune.report.page import asset, environment, policy_hash
from expertune.report.results import EXPANDED, GEOMETRY, results, to_json
from expertune.report.rows import held_out_rows, hits_by_training, index_rows, losses, sample_rows, set_rows, wins
from expertune.report.threshold import refusals, threshold_sentence
from expertune.report.unanswered import unanswered_rows, write_unanswered

PACKAGE = "expertune.report"
MOST_BYTES = 3_000_000
ROW_LIMITS = (1500, 1000, 500, 200, 50)
"""Rows of the held-out table, tried in order until the page is small enough."""
MOST_ANSWERS = 200
"""Answers that need work on the page; results.json has all."""


def write_report(run: FinishedRun, folder: Path) -> Path:
    """Write report.html, report.md, results.json and the texts to index into `folder`; return the path of the page.

    The same inputs give the same bytes. The page holds everything it needs, opens no connection and stays under
    `MOST_BYTES`; long tables are cut to keep it so, and say it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = results(run, folder)
    context = _context(run, values)
    page = folder / "report.html"
    _write(page, _fitting_page(run, context))
    _write(folder / "report.md", environment(PACKAGE).get_template("report.md.j2").render(context))
    _write(folder / "results.json", to_json(values))
    write_index(run.index, folder)
    write_unanswered(run.unanswered, run.dataset.documents, folder)
    return page


def write_index(documents: Sequence[Document], folder: Path) -> None:
    """Write the texts to index as a BEIR corpus; where they are the answers alone, leave none of another run."""
    lines = [json.dumps({"_id": item.id, "text": item.text}, ensure_ascii=False) for item in documents]
    if lines:
        (folder / EXPANDED).write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        (folder / EXPANDED).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace", newline="\n")


def _fitting_page(run: FinishedRun, context: Mapping[str, Any]) -> str:
    template = environment(PACKAGE).get_template("report.html.j2")
    page = ""
    rows = held_out_rows(run.judged, run.evaluation.measured)
    for most in ROW_LIMITS:
        page = template.render(context, rows=rows[:most], row_count=len(rows), wins=wins(rows), losses=losses(rows))
        if len(page.encode("utf-8", errors="replace")) < MOST_BYTES:
            break
    return page


def _context(run: FinishedRun, values: Mapping[str, Any]) -> dict[str, Any]:
    style, script = asset(PACKAGE, "report.css"), asset(PACKAGE, "report.js")
    clouds = run.geometry or {}
    verdict, beside = run.evaluation.verdict, run.evaluation.alternatives
    return {
        "run": run,
        "results": values,
        "verdict": verdict,
        "asked": verdict.basis.questions,
        "own": verdict.basis is Basis.OWN,
        "alternatives": beside,
        "lead": beside and lead(beside),
        "ways": shown(beside) if beside else (),
        "to_do": to_do(verdict, beside),
        "cost": cost,
        "sets": set_rows(run.evaluation),
        "taught": hits_by_training(run.dataset, run.judged, run.evaluation),
        "answers": run.answers[:MOST_ANSWERS],
        "metrics": METRICS,
        "confidence": f"{100 * CONFIDENCE:g}",
        "index": index_rows(run.evaluation),
        "expanded_file": EXPANDED,
        "threshold": threshold_sentence(run.threshold) if run.threshold else "",
        "refusals": refusals(run.threshold) if run.threshold else [],
        "unanswered": unanswered_rows(run),
        "samples": sample_rows(run.dataset, run.questions, run.scores, run.labels),
        "geometry": {title: [getattr(cloud, name) for cloud in clouds.values()] for name, title in GEOMETRY.items()},
        "clouds": [f">{cut(name)}" for name in clouds],
        "charts": _charts(run),
        "style": style,
        "script": script,
        "style_hash": policy_hash(style),
        "script_hash": policy_hash(script),
    }


def _charts(run: FinishedRun) -> dict[str, str]:
    from expertune.report import charts  # loads matplotlib, which takes longer than all of `check`

    svgs: dict[str, str] = {}
    deciding = [row for row in run.evaluation.compared if row.metric == METRIC]
    if deciding:
        svgs["levels"] = charts.levels(deciding)
        svgs["differences"] = charts.differences(deciding)
    if run.evaluation.alternatives is not None:
        svgs["alternatives"] = charts.alternatives(run.evaluation.alternatives, shown(run.evaluation.alternatives))
    if run.model.selection.candidates:
        svgs["frontier"] = charts.frontier(run.model.selection.candidates)
    for index, pair in enumerate(run.separations):
        limits = (min(item.edges[0] for item in pair), max(item.edges[-1] for item in pair))
        for item, title in zip(pair, ("Before (base)", "After (tuned)"), strict=True):
            name = f"similarity-{index}-{item.model}"
            svgs[name] = charts.similarity(item, name=name, limits=limits, title=title)
    if run.labels.panel:
        svgs["panel"] = charts.panel(run.labels.panel)
    if run.agreement is not None:
        svgs["agreement"] = charts.agreement(run.agreement)
    if run.timings:
        svgs["stages"] = charts.stages(run.timings)
    return svgs
