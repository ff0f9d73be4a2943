"""Turn a finished run into `results.json`. Knows no files but its schema, and computes no metric."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from expertune.evaluate.answers import AnswerWork
from expertune.records import METRICS, Evaluation, Measurement, Verdict
from expertune.report import alternatives
from expertune.report.finished import FinishedRun
from expertune.report.unanswered import unanswered_results

SCHEMA = 3
PUBLISHED = "model"
"""Name of the tuned model's folder beside the results."""
EXPANDED = "expanded.jsonl"
"""Name of the file with the texts to index, beside the results of a run that expands answers."""
GEOMETRY = {
    "mean_cosine": "mean cosine of random pairs",
    "iso_score": "IsoScore",
    "effective_rank": "effective rank",
    "top_share": "share of the top dimension",
    "uniformity": "uniformity",
}
"""The geometry measures that are shown, in this order, and what they are called."""


def results(run: FinishedRun, folder: Path | None = None) -> dict[str, Any]:
    """Return the machine-readable results of a run, valid against `schema()`.

    Metric values are in [0, 1] and every float is rounded to 6 digits; what could not be measured (NaN) is
    None. `folder` is where the results will lie: the model's path is written relative to it.
    """
    evaluation, model = run.evaluation, run.model
    optional = {
        "panel_fit": run.fit,
        "agreement": run.agreement and _part(run.agreement, ("experts", "spearman", "alpha", "kendall_w")),
        "geometry": {name: _part(cloud, GEOMETRY) for name, cloud in (run.geometry or {}).items()},
        "similarities": evaluation.similarities,
        "benchmarks": evaluation.benchmarks,
        "alternatives": evaluation.alternatives and alternatives.values(evaluation.alternatives),
        "index": _index(evaluation, run.expanded) if run.expanded else None,
        "unanswered": run.unanswered and unanswered_results(run.unanswered),
        "threshold": run.threshold,
        "data": run.texts if run.texts.notes else None,
        "data_notes": run.notes,
        "answers": [_answer(row) for row in run.answers],
        "used": (*run.questions.used, *run.scores.used),
    }
    values: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "expertune": version("expertune"),
            "base": _base_name(model.base),
            "tuned": _tuned_path(model.folder, folder),
            "training": _part(model, ("mode", "steps", "strategy")),
            "questions": _questions(run),
            "panel": _panel(run),
            "selection": model.selection,
            "evaluations": [_evaluation(measurement) for measurement in evaluation.measurements],
            "comparisons": evaluation.comparisons,
            "separations": evaluation.separations,
            "verdict": _verdict(evaluation.verdict),
            "timings": run.timings,
            **{key: value for key, value in optional.items() if value},
        }
    )
    return values


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `results.json`."""
    text = files("expertune.report").joinpath("results.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def to_json(values: Mapping[str, Any]) -> str:
    """Return the text of `results.json`: readable, deterministic, ending in a newline."""
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Return JSON values: records become objects; floats are rounded to 6 digits, None where they are not finite."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) + 0.0 if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def _part(record: object, names: Iterable[str]) -> dict[str, Any]:
    """Return a few fields of a record."""
    return {name: getattr(record, name) for name in names}


def _tuned_path(model: Path, folder: Path | None) -> str:
    """Return where the model lies as seen from the results: no machine's layout leaves the run.

    A copy published beside the results comes first, then a model inside their folder, then the bare name.
    """
    if folder is None:
        return model.name
    if (folder / PUBLISHED).is_dir():
        return PUBLISHED
    if model.resolve().is_relative_to(folder.resolve()):
        return model.resolve().relative_to(folder.resolve()).as_posix()
    return model.name


def _base_name(base: str) -> str:
    """Return a hub id or catalogue name as it is, and of a folder only the name."""
    return Path(base).name if Path(base).is_absolute() else base


def _evaluation(measurement: Measurement) -> dict[str, Any]:
    means = {name: measurement.mean(name) if name in measurement.values else None for name in METRICS}
    weights = measurement.weights or None
    return {
        **_part(measurement, ("dataset", "split", "role", "model", "ties")),
        **{f"hit@{most}": np.average(measurement.hits(most), weights=weights) for most in (1, 3)},
        **means,
        "queries": len(measurement.query_ids),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict with the words that people read."""
    return {"decision": verdict.decision, **plain(verdict)}


def _answer(row: AnswerWork) -> dict[str, Any]:
    """Return one answer that needs work, by ids: no text of a question or an answer leaves the run."""
    takers = [_part(taker, ("id", "questions")) for taker in row.takers]
    return {**_part(row, ("id", "labelled", "asked", "before", "after", "advice")), "takers": takers}


def _index(evaluation: Evaluation, expanded: int) -> dict[str, Any]:
    """Compare both models on the index of questions + answer with the base on the index of answers."""
    renamed = {"base": "plain", "tuned": "expanded"}
    rows = [("base", row) for row in evaluation.indexing] + [("tuned", row) for row in evaluation.overall]
    comparisons = [
        {"model": model, **{renamed.get(key, key): value for key, value in plain(row).items()}} for model, row in rows
    ]
    return {"file": EXPANDED, "expanded": expanded, "comparisons": comparisons}


def _panel(run: FinishedRun) -> list[dict[str, Any]]:
    """List the panel in the order of the scores; an expert whose quality was not measured has None."""
    quality = {entry.expert: entry for entry in run.labels.panel}
    seconds = dict(zip(run.scores.experts, run.scores.seconds, strict=False))
    return [
        {
            "expert": name,
            "ndcg": quality[name].ndcg if name in quality else None,
            "weight": quality[name].weight if name in quality else None,
            "seconds": seconds.get(name),
        }
        for name in run.scores.experts
    ]


def _questions(run: FinishedRun) -> dict[str, Any]:
    items = run.questions.items
    return {
        "dataset": run.dataset.name,
        "documents": len(run.dataset.documents),
        "total": len(items),
        "by_source": dict(sorted(Counter(question.source for question in items).items())),
        "by_kind": dict(sorted(Counter(question.kind or question.source for question in items).items())),
        "removed": dict(sorted(run.questions.removed.items())),
    }
