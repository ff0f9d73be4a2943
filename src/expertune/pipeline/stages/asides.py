"""What report and verdict show besides: agreement, geometry, diagnostics of the labels, a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from expertune import data
from expertune.pipeline.context import Context, repeats_of
from expertune.records import (
    Agreement,
    Dataset,
    Geometry,
    JudgedSet,
    PanelDiagnostics,
    Questions,
    Role,
    Scores,
    SoftLabels,
    Threshold,
    Unanswered,
)

if TYPE_CHECKING:
    from expertune.models.encoder import CachedEncoder


def diagnosed(
    context: Context,
    dataset: Dataset,
    questions: Questions,
    scores: Scores,
    labels: SoftLabels,
    agreement: Agreement | None,
    key: str,
) -> PanelDiagnostics:
    """Look at the labels that were tuned on; an aside of the verdict, kept like an artefact."""
    from expertune.label.diagnostics import VERSION, panel_evidence

    def make() -> PanelDiagnostics:
        labelled = [question.text for question in questions.items if question.labelled]
        # Labelled questions are not looked for in texts that repeat them; neither were they by the experts.
        answers = [document.text for document in repeats_of(dataset).documents(dataset.documents)]
        vectors = (context.base.encode_queries(labelled), context.base.encode_documents(answers))
        return panel_evidence(
            dataset,
            questions,
            scores,
            labels,
            agreement,
            base=context.base_name,
            base_vectors=vectors,
            calibration=context.config.label.calibration,
        )

    key = context.keeper.key("diagnostics", key, VERSION)
    return context.keeper.aside("diagnostics", key, PanelDiagnostics, make)


def agreement_of(context: Context, scores: Scores, key: str) -> Agreement:
    """Measure how far the panel agrees; an aside of verdict and report as well."""
    from expertune.score.agreement import agreement

    return context.keeper.aside("agreement", key, Agreement, lambda: agreement(scores))


def geometry_of(
    context: Context, judged: Sequence[JudgedSet], encoders: Mapping[str, CachedEncoder], key: str
) -> dict[str, Geometry]:
    """Measure the cloud of held-out question vectors before and after; an aside of the report as well."""
    from expertune.evaluate.geometry import geometry

    def make() -> dict[str, Geometry]:
        texts = sorted({query.text for item in judged for query in item.queries})
        return {name: geometry(encoder.encode_queries(texts)) for name, encoder in encoders.items()}

    return context.keeper.aside("geometry", key, dict[str, Geometry], make)


def threshold_of(
    context: Context,
    dataset: Dataset,
    loaded: data.Loaded,
    encoders: Mapping[str, CachedEncoder],
    unanswered: Unanswered | None,
    key: str,
) -> Threshold | None:
    """Find what score of the tuned model means an answer; an aside of the report as well."""
    from expertune.evaluate.threshold import threshold

    groups = [group.questions for group in unanswered.groups] if unanswered else []
    sets = [context.indexed(dataset).judged(item) for item in loaded.judged if item.role is Role.DOMAIN]
    if not sets:
        return None
    everyone = [*(query for item in sets for query in item.queries), *loaded.unanswered]
    weights = [query.weight for query in everyone]
    weighted = [weights] if any(weights) else []
    key = context.keeper.key("threshold", key, groups, tuple(query.text for query in loaded.unanswered), *weighted)
    return context.keeper.aside(
        "threshold", key, Threshold, lambda: threshold(encoders["tuned"], sets, groups, loaded.unanswered)
    )
