"""Soft, hard or mixed labels: tune with each strategy and compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expertune.commands.study.lab import Lab, Point, at
from expertune.commands.study.result import Study, in_points, rounded, spelled
from expertune.records import Role

STRATEGIES = ("hard", "soft-1", "soft-2", "soft-3", "weighted")
"""Tuned beside the config's own strategy."""

SEEDS = 3
METRICS = ("ndcg@10", "map@10")


def study(lab: Lab) -> Study:
    """Tune with every strategy's labels and measure domain, general ability and how far pairs lie apart."""
    configured = lab.config.label.strategy
    seeds = lab.seeds(SEEDS)
    tuned, right = {}, {}
    for strategy in dict.fromkeys((*STRATEGIES, configured)):
        questions, labels = lab.labels(strategy)
        tuned[strategy] = at(lab.tuned((questions, labels), seeds=seeds))
        known = questions.hard_labels(lab.dataset.documents) > 0
        shares = np.asarray(labels.targets, dtype=np.float64)[known.any(axis=1)]
        right[strategy] = float(((shares * known[known.any(axis=1)]).sum(axis=1) / shares.sum(axis=1)).mean())
    gains = {name: lab.gains(reached) for name, reached in tuned.items()}
    against = {name: lab.gains(tuned[configured], over=tuned[name]) for name in tuned if name != configured}
    over_sets = {name: _over_sets(reached) for name, reached in {"base": [lab.base], **tuned}.items()}
    answers = [
        f"{configured} against {name}: {spelled(against[name]['domain'])}, in the domain, "
        f"{spelled(against[name]['general'])}, in general."
        for name in ("hard", "soft-1")
        if name in against
    ]
    means = (f"{name} {rounded(of['ndcg@10'])} ({rounded(of['ndcg@10 sd'])})" for name, of in over_sets.items())
    answers.append(f"Mean nDCG@10 over {len(lab.base.measurements)} sets (standard deviation): {', '.join(means)}.")
    return Study(
        name="labels",
        question="Which labels tune best: hard, soft or mixed?",
        answers=tuple(answers),
        columns=("labels", "mass on the right answer", "domain gain", "low", "high", "general gain", "low", "high"),
        rows=tuple(
            (name, round(right[name], 3), *in_points(of["domain"]), *in_points(of["general"]))
            for name, of in gains.items()
        ),
        figures={
            "gains": {
                name: {
                    **of,
                    "domain_map": lab.gain(tuned[name], Role.DOMAIN, metric="map@10"),
                    "sets": _each_set(lab, tuned[name]),
                    "separation": _separation(tuned[name]),
                }
                for name, of in gains.items()
            },
            f"{configured}_against": against,
            "base_separation": _separation([lab.base]),
            "over_sets": over_sets,
            "seeds": len(seeds),
        },
    )


def _each_set(lab: Lab, tuned: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Return nDCG@10 and mAP@10 of each judged set, base and mean over seeds: the rows of the paper's table."""
    return {
        f"{base.dataset}/{base.split}": {
            f"{metric} {name}": float(np.mean([point.measurements[index].mean(metric) for point in of]))
            for metric in METRICS
            for name, of in (("base", [lab.base]), ("tuned", tuned))
        }
        for index, base in enumerate(lab.base.measurements)
    }


def _over_sets(tuned: Sequence[Point]) -> dict[str, float]:
    """Return mean and standard deviation over the judged sets of nDCG@10 and mAP@10, each the mean over seeds."""
    over_sets: dict[str, float] = {}
    for metric in METRICS:
        sets = np.mean([[item.mean(metric) for item in point.measurements] for point in tuned], axis=0)
        over_sets |= {metric: float(sets.mean()), f"{metric} sd": float(sets.std(ddof=1)) if len(sets) > 1 else 0.0}
    return over_sets


def _separation(tuned: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Return how far right and other answers lie apart on each domain split, mean over seeds."""
    return {
        first.split: {
            name: float(np.mean([getattr(point.separations[index], name) for point in tuned]))
            for name in ("auprc", "auroc", "ks", "overlap", "prevalence")
        }
        for index, first in enumerate(tuned[0].separations)
    }
