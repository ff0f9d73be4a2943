"""Soft against hard against anchored labels, over seeds."""

from __future__ import annotations

import numpy as np

from expertune.commands.study.lab import Lab, Point
from expertune.commands.study.result import Study, in_points, points, spelled
from expertune.config import LabelSection, Strategy
from expertune.records import Role, Separation

EVERY: tuple[Strategy, ...] = (
    "hard",
    "soft-1",
    "soft-2",
    "soft-3",
    "median",
    "trimmed",
    "calibrated",
    "weighted",
    "anchored",
)
TUNED: tuple[Strategy, ...] = (
    "hard",
    "soft-1",
    "soft-2",
    "soft-3",
    "weighted",
    "anchored",
)


def study(lab: Lab) -> Study:
    """Look at every strategy's targets, then tune with those that differ, with several seeds."""
    seen = {strategy: _targets(lab, _section(lab, strategy)) for strategy in EVERY}
    rows, gains = [], {}
    own = lab.config.label.strategy
    made: dict[str, list[Point]] = {}
    for strategy in dict.fromkeys((*TUNED, own)):
        pieces = lab.repeated(*lab.labels(_section(lab, strategy)), seeds=lab.seeds(3))
        made[strategy] = [piece.at(1.0) for piece in pieces]
        halfway = [piece.at(0.5) for piece in pieces]
        domain, general = (
            lab.gain(made[strategy], Role.DOMAIN),
            lab.gain(made[strategy], Role.GENERAL),
        )
        precision = lab.gain(made[strategy], Role.DOMAIN, metric="map@10")
        gains[strategy] = {
            "domain": domain,
            "general": general,
            "domain_map": precision,
            "halfway_domain": lab.gain(halfway, Role.DOMAIN),
            "halfway_general": lab.gain(halfway, Role.GENERAL),
            "sets": _each_set(lab, made[strategy]),
            "separation": _separation(made[strategy]),
        }
        rows.append(
            (
                strategy,
                round(seen[strategy]["right"], 3),
                *in_points(domain),
                *in_points(general),
            )
        )
    against = {
        name: {str(role): lab.gain(made[own], role, over=made[name]) for role in (Role.DOMAIN, Role.GENERAL)}
        for name in made
        if name != own
    }
    answers = []
    for name in ("hard", "soft-1"):
        if name in against:
            domain, general = against[name]["domain"], against[name]["general"]
            answers.append(
                f"{own} against {name}: {spelled(domain)} points in the domain ({domain.outcome}), "
                f"{spelled(general)} in general ({general.outcome})."
            )
    over = {name: _over_sets(reached) for name, reached in (("base", [lab.base]), *made.items())}
    answers.append(
        f"Mean nDCG@10 over {len(lab.base.measurements)} sets (standard deviation): "
        + ", ".join(
            f"{name} {points(found['ndcg@10'])} ({points(found['ndcg@10 sd'])})" for name, found in over.items()
        )
        + "."
    )
    return Study(
        name="labels",
        question="Which labels tune best: hard, soft or anchored?",
        answers=tuple(answers),
        columns=(
            "labels",
            "mass on the right answer",
            "domain gain",
            "low",
            "high",
            "general gain",
            "low",
            "high",
        ),
        rows=tuple(rows),
        figures={
            "targets": seen,
            "gains": gains,
            f"{own}_against": against,
            "base_separation": _separation([lab.base]),
            "over_sets": over,
            "seeds": len(lab.seeds(3)),
        },
    )


def _section(lab: Lab, strategy: Strategy) -> LabelSection:
    return lab.config.label.model_copy(update={"strategy": strategy})


def _targets(lab: Lab, section: LabelSection) -> dict[str, float]:
    """Say what targets look like: mass on a right answer, and how many answers share it (exp of the entropy)."""
    _, labels = lab.labels(section)
    targets = np.asarray(labels.targets, dtype=np.float64)
    shares = targets / np.maximum(targets.sum(axis=1, keepdims=True), 1e-12)
    entropy = -np.sum(np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-12)), 0.0), axis=1)
    right = (shares * (lab.hard > 0)).sum(axis=1)
    return {
        "right": float(right.mean()),
        "answers_sharing": float(np.exp(entropy).mean()),
    }


def _each_set(lab: Lab, made: list[Point]) -> dict[str, dict[str, float]]:
    """Return nDCG@10 and mAP@10 of each judged set, base and mean over seeds: the rows of the paper's table."""
    found = {}
    for index, base in enumerate(lab.base.measurements):
        metrics: dict[str, float] = {}
        for metric in ("ndcg@10", "map@10"):
            reached = [point.measurements[index].mean(metric) for point in made]
            metrics |= {
                f"{metric} base": base.mean(metric),
                f"{metric} tuned": float(np.mean(reached)),
            }
        found[f"{base.dataset}/{base.split}"] = metrics
    return found


def _over_sets(made: list[Point]) -> dict[str, float]:
    """Return mean and standard deviation over the judged sets of nDCG@10 and mAP@10, each the mean over seeds."""
    found: dict[str, float] = {}
    for metric in ("ndcg@10", "map@10"):
        sets = np.mean([[item.mean(metric) for item in point.measurements] for point in made], axis=0)
        found |= {metric: float(sets.mean()), f"{metric} sd": float(sets.std(ddof=1)) if len(sets) > 1 else 0.0}
    return found


def _separation(made: list[Point]) -> dict[str, dict[str, float]]:
    """Return the separation of right and other answers on each domain split, mean over seeds."""
    found = {}
    for index, first in enumerate(made[0].separations):
        own: list[Separation] = [point.separations[index] for point in made]
        values = {name: float(np.mean([getattr(item, name) for item in own])) for name in ("auprc", "auroc", "ks")}
        found[first.split] = {
            **values,
            "overlap": float(np.mean([s.overlap for s in own])),
            "prevalence": first.prevalence,
        }
    return found
