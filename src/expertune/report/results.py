"""Turn the records of a finished run into `results.json`. Knows no files but its schema, and computes no metric."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from expertune.records import (
    Dataset,
    Evaluation,
    Measurement,
    Questions,
    Scores,
    Selection,
    SoftLabels,
    Timing,
    TunedModel,
)

SCHEMA = 2
PUBLISHED = "model"
"""Name of the tuned model's folder beside the results."""
EXPANDED = "expanded.jsonl"
"""Name of the file with the texts to index, beside the results of a run that expands answers."""
METRICS = ("ndcg@10", "map@10", "mrr@10", "recall@10")
GEOMETRY = {
    "mean_cosine": "mean cosine of random pairs",
    "iso_score": "IsoScore",
    "effective_rank": "effective rank",
    "top_share": "share of the top dimension",
    "alignment": "alignment",
    "uniformity": "uniformity",
}
"""Geometry measures that are shown where an object has them, in this order, and what they are called."""


class PanelAgreement(Protocol):
    """How far the experts agree: pairwise Spearman `[K, K]`, Krippendorff's alpha and Kendall's W."""

    @property
    def experts(self) -> Sequence[str]:
        """Names, in the order of the matrix."""
        ...

    @property
    def spearman(self) -> NDArray[Any] | Sequence[Sequence[float]]:
        """Pairwise rank correlations `[K, K]` in [-1, 1]."""
        ...

    @property
    def alpha(self) -> float:
        """Krippendorff's alpha, at most 1."""
        ...

    @property
    def kendall_w(self) -> float:
        """Kendall's W in [0, 1]."""
        ...


def results(
    *,
    dataset: Dataset,
    questions: Questions,
    scores: Scores,
    labels: SoftLabels,
    model: TunedModel,
    evaluation: Evaluation,
    timings: Sequence[Timing],
    folder: Path | None = None,
    agreement: PanelAgreement | None = None,
    geometry: Mapping[str, object] | None = None,
    expanded: int = 0,
) -> dict[str, Any]:
    """Return the machine-readable results of a run, valid against `schema()`.

    Metric values are in [0, 1] and every float is rounded to 6 digits; what could not be measured (NaN) is
    None. `folder` is where the results will lie: the model's path is written relative to it. `expanded` is how many
    answers are indexed with questions of their own.
    """
    verdict = evaluation.verdict
    optional = {
        "agreement": _agreement(agreement) if agreement is not None else None,
        "geometry": _geometry(geometry) if geometry is not None else None,
        "similarities": [_record(row) for row in evaluation.similarities] or None,
        "benchmarks": [_record(row) for row in evaluation.benchmarks] or None,
        "index": _index(evaluation, expanded) if expanded else None,
        "used": [*questions.used, *scores.used] or None,
    }
    return {
        "schema": SCHEMA,
        "expertune": version("expertune"),
        "base": _base_name(model.base),
        "tuned": _tuned_path(model.folder, folder),
        "training": {"mode": model.mode, "steps": model.steps, "strategy": model.strategy},
        "questions": _questions(dataset, questions),
        "panel": _panel(scores, labels),
        "selection": _selection(model.selection),
        "evaluations": [_evaluation(measurement) for measurement in evaluation.measurements],
        "comparisons": [_record(row) for row in evaluation.comparisons],
        "separations": [_record(row) for row in evaluation.separations],
        "verdict": {
            "domain": verdict.domain,
            "general": verdict.general,
            "ship": verdict.ship,
            "why": verdict.why,
            "diagnostics": list(verdict.diagnostics),
        },
        "timings": [_record(timing) for timing in timings],
        **{key: value for key, value in optional.items() if value is not None},
    }


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `results.json`."""
    text = files("expertune.report").joinpath("results.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def to_json(values: Mapping[str, Any]) -> str:
    """Return the text of `results.json`: readable, deterministic, ending in a newline."""
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def metric_mean(measurement: Measurement, metric: str) -> float | None:
    """Return the mean of a metric over queries in [0, 1]; None where it was not measured. Case is ignored."""
    for name in measurement.values:
        if name.casefold() == metric.casefold():
            return number(measurement.mean(name))
    return None


def geometry_values(measured: object) -> dict[str, float | None]:
    """Return the known geometry measures that an object has, in the order they are shown."""
    return {name: number(getattr(measured, name)) for name in GEOMETRY if hasattr(measured, name)}


def number(value: float | None) -> float | None:
    """Return a plain float rounded to 6 digits; None where there is no finite number."""
    return round(float(value), 6) + 0.0 if value is not None and math.isfinite(value) else None


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


def _record(row: object) -> dict[str, Any]:
    """Return the fields of a flat frozen record as JSON values."""
    return {name: _plain(getattr(row, name)) for name in row.__dataclass_fields__}  # type: ignore[attr-defined]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int) else number(value)


def _evaluation(measurement: Measurement) -> dict[str, Any]:
    return {
        "dataset": measurement.dataset,
        "split": measurement.split,
        "role": str(measurement.role),
        "model": measurement.model,
        **{metric: metric_mean(measurement, metric) for metric in METRICS},
        "queries": len(measurement.query_ids),
        "ties": int(measurement.ties),
    }


def _index(evaluation: Evaluation, expanded: int) -> dict[str, Any]:
    """Compare both models on the index of questions + answer with the base on the index of answers."""
    rows = [("base", row) for row in evaluation.indexing] + [("tuned", row) for row in evaluation.overall]
    renamed = {"base": "plain", "tuned": "expanded"}
    return {
        "file": EXPANDED,
        "expanded": expanded,
        "comparisons": [
            {"model": model, **{renamed.get(key, key): value for key, value in _record(row).items()}}
            for model, row in rows
        ],
    }


def _panel(scores: Scores, labels: SoftLabels) -> list[dict[str, Any]]:
    """List the panel in the order of the scores; an expert whose quality was not measured has None."""
    quality = {entry.expert: entry for entry in labels.panel}
    seconds = dict(zip(scores.experts, scores.seconds, strict=False))
    return [
        {
            "expert": name,
            "ndcg": number(quality[name].ndcg) if name in quality else None,
            "weight": number(quality[name].weight) if name in quality else None,
            "seconds": number(seconds[name]) if name in seconds else None,
        }
        for name in scores.experts
    ]


def _questions(dataset: Dataset, questions: Questions) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "documents": len(dataset.documents),
        "total": len(questions.items),
        "by_source": _counts(question.source for question in questions.items),
        "by_kind": _counts(question.kind or question.source for question in questions.items),
        "removed": {rule: int(count) for rule, count in sorted(questions.removed.items())},
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _selection(selection: Selection) -> dict[str, Any]:
    return {
        "factor": number(selection.factor),
        "step": int(selection.step),
        "why": selection.why,
        "candidates": [_record(candidate) for candidate in selection.candidates],
    }


def _agreement(agreement: PanelAgreement) -> dict[str, Any]:
    return {
        "experts": list(agreement.experts),
        "spearman": [[number(value) for value in row] for row in agreement.spearman],
        "alpha": number(agreement.alpha),
        "kendall_w": number(agreement.kendall_w),
    }


def _geometry(geometry: Mapping[str, object]) -> dict[str, dict[str, float | None]]:
    return {name: geometry_values(measured) for name, measured in geometry.items()}
