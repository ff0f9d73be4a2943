"""How many experts, which ones, and merged how: as retrievers of held-out questions, then in tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expertune.commands.study.lab import VERSION, Lab, at
from expertune.commands.study.result import Study, rounded, spelled
from expertune.evaluate.ranking import answers_name
from expertune.evaluate.statistics import bootstrap_interval
from expertune.label.weights import ndcg
from expertune.pipeline import artefacts
from expertune.pipeline.store import fingerprint
from expertune.records import FloatArray, Provenance, Question, Questions, Role, Scores
from expertune.score.stage import load_experts, score

FEW = 4
"""Experts of the smaller panel: the first of the greedy order."""

MERGED = "weighted"
"""The strategy by which panels are ranked: the panel's opinion without the hard labels."""

STRATEGIES = ("soft-1", "median", "trimmed", "calibrated", MERGED)
SEEDS = 2


def study(lab: Lab) -> Study:
    """Rank panels of every size and every way to merge them on held-out questions, then tune with one, few and all."""
    names = lab.scores.experts
    held_out = HeldOutQuestions(lab)
    order = _greedy(held_out, len(names))
    everyone, few = tuple(range(len(names))), tuple(sorted(order[:FEW]))
    alone = [held_out.quality([expert]) for expert in everyone]
    without = [held_out.quality([*everyone[:expert], *everyone[expert + 1 :]]) for expert in everyone]
    reached = [held_out.quality(order[: size + 1]) for size in everyone]
    merged = {name: held_out.quality(everyone, name) for name in STRATEGIES}
    difference = held_out.rows(few) - held_out.rows(everyone)
    cheap = bootstrap_interval(difference, held_out.clusters, weights=held_out.weights, seed=lab.config.run.seed)
    panels = {"one": order[:1], "few": few, "all": everyone}
    tuned = {name: at(lab.tuned(lab.labels(experts=of), seeds=lab.seeds(SEEDS))) for name, of in panels.items()}
    few_minus_all = lab.gain(tuned["few"], Role.DOMAIN, over=tuned["all"])
    seconds = dict(zip(names, lab.scores.seconds, strict=False))
    best = max(merged, key=merged.__getitem__)
    sizes = f"{len(few)} experts (chosen on labelled questions) against all {len(names)}"
    return Study(
        name="experts",
        question="How do the number, the choice and the merging of experts affect the labels and the tuned model?",
        answers=(
            f"As retrievers of held-out questions, {sizes}: {spelled(cheap)}.",
            f"Of the ways to merge all experts {best} ranks best, nDCG@10 {rounded(merged[best])}; the plain mean has "
            f"{rounded(merged['soft-1'])}.",
            f"In tuning, {sizes}: {spelled(few_minus_all)}.",
        ),
        columns=("experts", "added", "nDCG@10 together", "alone", "all without it", "seconds to score"),
        rows=tuple(
            (
                size + 1,
                names[expert],
                rounded(reached[size]),
                rounded(alone[expert]),
                rounded(without[expert]),
                round(seconds.get(names[expert], 0.0), 1),
            )
            for size, expert in enumerate(order)
        ),
        figures={
            "order": [names[expert] for expert in order],
            "merged": merged,
            "few_against_all": cheap,
            "seconds": seconds,
            "tuned": {"gains": {name: lab.gains(of) for name, of in tuned.items()}, "few_minus_all": few_minus_all},
        },
    )


class HeldOutQuestions:
    """The domain's held-out questions as panels rank them: for looking at panels, never for tuning.

    Weights and scales are learned from the labelled questions, as in a run; held-out ones are only ranked.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        judged = [item for item in lab.basis.judged if item.role is Role.DOMAIN]
        answers = {
            query.text: tuple(sorted(document for document, grade in item.qrels[query.id].items() if grade >= 1))
            for item in judged
            for query in item.queries
            if item.qrels.get(query.id)
        }
        asked = tuple(Question(text, ids, Provenance.HELD_OUT) for text, ids in answers.items())
        labelled = tuple(lab.questions.items[int(row)] for row in lab.labelled)
        self.clusters = [answers_name(item.document_ids) for item in asked]
        drawn = {query.text: query.weight for item in judged for query in item.queries if query.weight is not None}
        self.weights = np.array([drawn.get(item.text, 1.0) for item in asked]) if drawn else None
        self._questions = Questions((*labelled, *asked))
        self._hard = self._questions.hard_labels(lab.dataset.documents)
        seen = np.asarray(lab.scores.values)[lab.labelled]
        self._values = np.concatenate([seen, np.asarray(_scores(lab, Questions(asked)).values)])

    def merged(self, experts: Sequence[int], strategy: str = MERGED) -> FloatArray:
        """Return what some experts together say of the labelled and then the held-out questions `[L + H, D]`."""
        names = tuple(self._lab.scores.experts[expert] for expert in experts)
        scores = Scores(names, self._values[:, :, list(experts)])
        return self._lab.label(self._questions, scores, strategy).targets

    def quality(self, experts: Sequence[int], strategy: str = MERGED) -> float:
        """Return the weighted mean nDCG@10 of held-out questions, in [0, 1]."""
        asked = slice(len(self._lab.labelled), None)
        return ndcg(self.merged(experts, strategy)[asked], self._hard[asked], self.weights)

    def labelled_quality(self, experts: Sequence[int]) -> float:
        """Return nDCG@10 of the labelled questions in [0, 1]: what may choose a panel."""
        seen = slice(len(self._lab.labelled))
        return ndcg(self.merged(experts)[seen], self._hard[seen])

    def rows(self, experts: Sequence[int]) -> NDArray[np.float64]:
        """Return nDCG@10 of each held-out question `[H]`."""
        merged = self.merged(experts)
        asked = range(len(self._lab.labelled), len(merged))
        return np.array([ndcg(merged[row : row + 1], self._hard[row : row + 1]) for row in asked])


def _scores(lab: Lab, asked: Questions) -> Scores:
    """Let the panel score held-out questions; kept in the store."""
    experts = load_experts(lab.config.score.experts, offline=lab.config.run.offline)
    texts = [[item.text for item in asked.items], [document.text for document in lab.dataset.documents]]
    key = fingerprint(VERSION, [expert.fingerprint for expert in experts], *texts)

    def make(folder: Path) -> None:
        scores = score(lab.dataset, asked, experts, cache=lab.store.items, report=lab.report)
        artefacts.save(scores, folder)

    return artefacts.load(Scores, lab.store.obtain("study-scores", key, make).folder)


def _greedy(held_out: HeldOutQuestions, count: int) -> list[int]:
    """Return the experts in the order in which each next one helps most on the labelled questions."""
    order: list[int] = []
    while len(order) < count:
        rest = [expert for expert in range(count) if expert not in order]
        order.append(max(rest, key=lambda expert: held_out.labelled_quality([*order, expert])))
    return order
