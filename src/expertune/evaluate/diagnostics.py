"""Name the known signs of a failed tuning, each as a sentence with its numbers. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from expertune.records import METRIC, Comparison, PanelDiagnostics, Separation

LEAST_AUROC = 0.6
LEAST_KS = 0.2
"""Below either, relevant and irrelevant pairs hardly lie apart."""

LEAST_AGREEMENT = 0.15
"""Mean rank correlation of two experts below which their mean is mostly noise."""

LEAST_NDCG = 0.25
"""nDCG@10 on labelled questions that base or best expert reaches wherever answers belong to their questions.

Shuffled answers end at chance: 0.22 with 21 answers, 0.06 with 77.
"""

MOST_SHARPNESS = 1.5
"""How many times sharper the panel may be than left-out questions bear out. On five data sets of ours with 16 to 56
labelled questions it was 0.8 to 1.0 times as sharp."""

MOST_UNTRACED = 0.25
"""Share of synthetic questions that no expert leads back to their answer, above which they are mostly noise too."""


def of_changes(changes: Mapping[str, Sequence[float]], tolerance: float, *, domain_fell: bool) -> Iterator[str]:
    """Yield the signs in how nDCG@10 changed on each set.

    Args:
        changes: By role ("domain", "general") tuned minus base of every set; a role without sets is not there.
        tolerance: Loss of nDCG@10 that matters, in [0, 1].
        domain_fell: Whether the domain is significantly worse.
    """
    means = {role: float(np.mean(each)) for role, each in changes.items()}
    if domain_fell and means.get("general", 0.0) > 0:
        yield (
            f"Held-out domain questions fall by {as_points(-means['domain'])} points while general sets "
            f"rise by {as_points(means['general'])}: the training questions are probably unlike real ones."
        )
    for role, each in changes.items():
        spread = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
        # Around a mean of nothing any spread is more than twice the mean, so it must matter by itself as well.
        if spread > 2 * abs(means[role]) and spread > tolerance:
            yield (
                f"The change differs widely between the {role} sets: its standard deviation is "
                f"{as_points(spread)} points, its mean {as_change(means[role])}."
            )


def of_separations(separations: Iterable[Separation]) -> Iterator[str]:
    """Yield the sets whose relevant and irrelevant pairs the tuned model hardly tells apart."""
    for row in separations:
        if row.model == "tuned" and (row.auroc < LEAST_AUROC or row.ks < LEAST_KS):
            yield (
                f"Relevant and irrelevant pairs of {row.dataset}/{row.split} hardly lie apart: AUROC "
                f"{row.auroc:.2f}, Kolmogorov-Smirnov distance {row.ks:.2f}."
            )


def of_labels(panel: PanelDiagnostics) -> Iterator[str]:
    """Yield the signs that the labels themselves are poor. Comparisons with NaN are false: unknown is no sign."""
    if panel.agreement < LEAST_AGREEMENT:
        yield (
            f"The experts disagree: two of them rank the answers to a question with a mean correlation of "
            f"{panel.agreement:.2f}, so that their common opinion is mostly chance."
        )
    if panel.base < LEAST_NDCG and not panel.best >= LEAST_NDCG:
        yield (
            f"Neither the base nor any expert finds the answers of the labelled questions (nDCG@10 "
            f"{as_points(max(panel.base, panel.best))} points at most): look whether each stands beside its question."
        )
    elif panel.best < panel.base:
        yield (
            f"The base ranks the labelled questions better (nDCG@10 {as_points(panel.base)} points) than any other "
            f"expert ({panel.best_expert}: {as_points(panel.best)}): the panel has little to teach it."
        )
    if panel.fit and panel.fit.sharpness > MOST_SHARPNESS * panel.fit.left_out_sharpness:
        yield (
            f"The panel is surer of its opinion than it should be: its sharpness is {panel.fit.sharpness:.1f}, where "
            f"labelled questions that are left out bear out {panel.fit.left_out_sharpness:.1f}. More labelled "
            f"questions or fewer experts help."
        )
    if panel.untraced > MOST_UNTRACED:
        yield (
            f"No expert can trace {panel.untraced:.0%} of the synthetic questions back to their answer (among its "
            f"first {panel.top}): they may ask about something else."
        )


def of_index(indexing: Iterable[Comparison]) -> Iterator[str]:
    """Yield the sets on which the base finds less where answers are expanded: no verdict on tuning tells of it."""
    for row in indexing:
        if row.metric == METRIC and row.outcome == "worse":
            yield (
                f"Indexing question + answer costs {row.name} {as_points(-row.difference)} points before any tuning: "
                f"among answers with a question of their own, those without are found less easily."
            )


def as_points(value: float) -> str:
    """Write a value in [0, 1] in points as records hold it, with plain minus signs: 0.744 is "74.4"."""
    return f"{value * 100:.1f}"


def as_change(value: float) -> str:
    """Write a difference in points with its sign, as records hold it: 0.078 is "+7.8"."""
    return f"{value * 100:+z.1f}"
