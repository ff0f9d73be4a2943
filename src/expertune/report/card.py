"""Write the model card of a tuned model from a run's records: README.md with the metadata a model hub reads.

The card is made to be published, so it holds no question and no answer; names that come from data or file names are
untrusted and leave here escaped.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from expertune import models
from expertune.config import MODEL_FREE
from expertune.evaluate.statistics import CONFIDENCE
from expertune.records import Role
from expertune.report import alternatives
from expertune.report.finished import FinishedRun
from expertune.report.formats import cut
from expertune.report.page import environment
from expertune.report.results import EXPANDED
from expertune.report.rows import SetRow, index_rows, set_rows
from expertune.report.threshold import threshold_sentence

NAME = "README.md"
_HUB_LICENCES = frozenset({"apache-2.0", "mit"})
_LANGUAGE_CODES = re.compile(r"[a-z]{2}(, [a-z]{2})*")


@dataclass(frozen=True, slots=True)
class Influence:
    """One model that shaped the result: what it did, and under which terms it comes ("" where nobody here knows)."""

    role: str
    name: str
    hub: str
    licence: str


def write_card(run: FinishedRun, folder: Path) -> Path:
    """Write README.md into a model's folder and return its path; the same inputs give the same bytes."""
    card = folder / NAME
    template = environment("expertune.report").get_template("card.md.j2")
    text = f"---\n{_metadata(run)}\n---\n\n{template.render(_context(run))}"
    card.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return card


def influences(run: FinishedRun) -> tuple[Influence, ...]:
    """Return every model that shaped the tuned one: the base, who wrote questions, and who scored them."""
    wrote = dict.fromkeys(question.generator for question in run.questions.items if question.synthetic)
    roles = (("base", [run.model.base]), ("wrote questions", wrote), ("scored", run.scores.experts))
    return tuple(_influence(role, name) for role, names in roles for name in names)


def _influence(role: str, name: str) -> Influence:
    entry = models.find(name)
    if entry is not None:
        return Influence(role, entry.name, entry.hub, entry.licence)
    return Influence(role, name, "", "none: no model" if name in MODEL_FREE else "")


def _metadata(run: FinishedRun) -> str:
    """Return the YAML front matter; the hub's own library writes it, so that no name can break out of its value."""
    from huggingface_hub import EvalResult, ModelCardData

    base = models.find(run.model.base)
    licence = base.licence.casefold() if base is not None else ""
    spoken = base.languages if base is not None and _LANGUAGE_CODES.fullmatch(base.languages) else ""
    results = [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information retrieval",
            dataset_type=_slug(row.dataset),
            dataset_name=f"{cut(row.dataset)} ({row.role})",
            dataset_split=cut(row.split),
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for row, hits in ((item.change, item.hits) for item in _held_out_rows(run))
        for kind, name, value in (
            ("hit_at_1", "hit@1", hits.first[1] / hits.questions),
            ("hit_at_3", "hit@3", hits.three[1] / hits.questions),
            ("ndcg_at_10", "nDCG@10", row.tuned),
        )
    ]
    return ModelCardData(
        model_name=f"{cut(run.model.base)} tuned to {cut(run.dataset.name)}",
        license=licence if licence in _HUB_LICENCES else None,
        language=spoken.split(", ") if spoken else None,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "retrieval", "expertune"],
        base_model=base.hub if base is not None and base.hub else None,
        eval_results=results or None,
    ).to_yaml()


def _held_out_rows(run: FinishedRun) -> tuple[SetRow, ...]:
    """Return what this model was measured on; not what cross-validation says of others, tuned on other questions."""
    return set_rows(replace(run.evaluation, own=None))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_.-]+", "-", name.casefold()).strip("-.") or "unnamed"


def _context(run: FinishedRun) -> dict[str, Any]:
    generators = Counter(question.generator for question in run.questions.items if question.synthetic)
    held_out = _held_out_rows(run)
    return {
        "version": version("expertune"),
        "run": run,
        "verdict": run.evaluation.verdict,
        "alternatives": run.evaluation.alternatives and alternatives.sentence(run.evaluation.alternatives),
        "confidence": f"{100 * CONFIDENCE:g}",
        "sets": set_rows(run.evaluation),
        "own": run.evaluation.own,
        "index": index_rows(run.evaluation),
        "expanded_file": EXPANDED,
        "detectable": max((row.change.detectable for row in held_out if row.change.role is Role.DOMAIN), default=None),
        "generators": generators.most_common(),
        "spans": sum(question.span for question in run.questions.items),
        "influences": influences(run),
        "threshold": threshold_sentence(run.threshold) if run.threshold else "",
        "warnings": (*run.labels.warnings, *run.evaluation.verdict.diagnostics),
    }
