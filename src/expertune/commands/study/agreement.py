"""Do the experts agree, before and after they are brought to one scale, and where do they not?"""

from __future__ import annotations

import numpy as np

from expertune.commands.study.lab import Lab
from expertune.commands.study.quality import Floats, Panel
from expertune.commands.study.result import Study
from expertune.evaluate.statistics import Interval, bootstrap_interval
from expertune.label.stage import calibrate
from expertune.records import Agreement, Scores
from expertune.score.agreement import agreement

CALIBRATIONS = ("zscore", "rank", "percentile", "isotonic")
SHOWN = 10


def study(lab: Lab) -> Study:
    """Measure agreement over all questions, raw and after each calibration, per expert and per question."""
    values = np.asarray(lab.scores.values)
    measured = {"raw": agreement(lab.scores)}
    for method in CALIBRATIONS:
        calibrated = calibrate(values, lab.hard, lab.known, method=method)
        measured[method] = agreement(Scores(lab.scores.experts, calibrated))
    raw = measured["raw"]
    with_others = _with_others(raw.spearman)
    split, interval = _disagreement_and_quality(lab)
    ratio = f"{np.nanmean(with_others):.2f}"
    best = max(CALIBRATIONS, key=lambda method: measured[method].alpha)
    rows = tuple(
        (
            name,
            round(item.alpha, 3),
            round(item.kendall_w, 3),
            round(item.icc, 3),
            *_pair_means(item),
        )
        for name, item in measured.items()
    )
    worst = [
        {
            "question": lab.questions.items[row].text,
            "source": lab.questions.items[row].source,
            "disagreement": float(raw.disagreement[raw.questions.index(row)]),
            "first_answers": _firsts(lab, row),
        }
        for row in raw.most_disagreed[:SHOWN]
    ]
    low = lab.scores.experts[int(np.nanargmin(with_others))]
    halves = (
        f"On held-out questions where the experts agree more than usual their merged scores reach nDCG@10 "
        f"{100 * split[0]:.1f}, on the others {100 * split[1]:.1f} (interval of the difference "
        f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f})."
    )
    return Study(
        name="agreement",
        question="How far do the experts agree, and where do they not?",
        answers=(
            f"Two experts rank the answers to a question with a mean correlation of {ratio}.",
            f"Krippendorff's alpha is {raw.alpha:.2f} raw, at best {measured[best].alpha:.2f} calibrated ({best}).",
            f"{low} agrees least with the others (mean correlation {np.nanmin(with_others):.2f}).",
            halves,
        ),
        columns=(
            "scores",
            "alpha",
            "Kendall's W",
            "ICC(2,k)",
            "mean Spearman",
            "mean Jaccard of first 10",
        ),
        rows=rows,
        figures={
            "experts": raw.experts,
            "spearman": raw.spearman,
            "jaccard": raw.jaccard,
            "with_others": dict(zip(raw.experts, with_others, strict=True)),
            "leave_one_out_alpha": _left_out(lab),
            "agreed_against_disagreed": {
                "agreed": split[0],
                "disagreed": split[1],
                "difference": interval,
            },
            "most_disagreed": worst,
        },
    )


def _pair_means(item: Agreement) -> tuple[float, ...]:
    """Return the mean of both matrices over pairs of experts."""
    pairs = np.triu_indices(len(item.experts), k=1)
    return tuple(round(float(np.nanmean(matrix[pairs])), 3) for matrix in (item.spearman, item.jaccard))


def _with_others(matrix: Floats) -> Floats:
    """Return each expert's mean correlation with the others `[K]`."""
    alone = np.array(matrix, dtype=np.float64)
    np.fill_diagonal(alone, np.nan)
    return np.asarray(np.nanmean(alone, axis=1))


def _left_out(lab: Lab) -> dict[str, float]:
    """Return alpha without each expert in turn: what rises is the one that disagrees."""
    values, names = np.asarray(lab.scores.values), lab.scores.experts
    found = {}
    for index, name in enumerate(names if len(names) > 2 else ()):
        rest = [other for other in range(len(names)) if other != index]
        others = Scores(tuple(names[other] for other in rest), values[:, :, rest])
        found[name] = agreement(others, most_questions=300).alpha
    return found


def _firsts(lab: Lab, row: int) -> dict[str, str]:
    """Return the answer (cut) that each expert puts first for a question."""
    found = {}
    for index, name in enumerate(lab.scores.experts):
        scores = lab.scores.values[row, :, index]
        if not np.isnan(scores).all():
            found[name] = lab.dataset.documents[int(np.nanargmax(scores))].text[:120]
    return found


def _disagreement_and_quality(lab: Lab) -> tuple[tuple[float, float], Interval]:
    """Split held-out questions at the median disagreement; return the merge's nDCG@10 of both halves, and how sure."""
    held = agreement(lab.asked.scores, most_questions=len(lab.asked.texts))
    quality = Panel(lab, lab.config.label).held_out(range(len(lab.scores.experts)), "weighted")
    rows = np.array(held.questions)
    agreed = held.disagreement <= np.nanmedian(held.disagreement)
    quality = quality[rows]
    means = float(np.nanmean(quality[agreed])), float(np.nanmean(quality[~agreed]))
    # Centred, so that halves of uneven size in a resample do not count as a difference; the mean stays the same.
    centred = np.nan_to_num(quality - np.nanmean(quality))
    signed = np.where(agreed, centred / max(agreed.mean(), 1e-9), -centred / max((~agreed).mean(), 1e-9))
    clusters = [lab.asked.clusters[row] for row in rows]
    return means, bootstrap_interval(signed, clusters)
