"""Plan which questions are asked for: about which answer, of which kind, by which generator, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expertune.config import AugmentSection
from expertune.models.plugins import Request
from expertune.records import Dataset

KINDS = ("question", "rephrase", "keyword", "indirect", "vocabulary", "short")
"""Kinds of questions, in turn: those that a tuning gains from (docs/performance.md)."""
MOST = 2400
"""Questions asked for in all; more on a large corpus cost time and gained nothing."""
SPANS_PER_QUESTION = 2
"""Spans cost no model's time, so a large corpus gets more of them than of synthetic questions."""

# Multiples of it spread evenly whatever step they are looked at with, so no kind and no answer goes to one generator.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Planned:
    """A request, the answer it is for, and the generator (by index) that is asked."""

    request: Request
    document_id: str
    generator: int


def plan(dataset: Dataset, section: AugmentSection, shares: Sequence[float]) -> tuple[Planned, ...]:
    """Return every request in the order of asking: a first question for each answer, then a second one, and so on.

    Answers with a labelled question take their turns oftener where they get more (`questions_each`). Kinds take
    turns, beginning elsewhere for each answer, so that a small plan has all kinds. What is asked does not depend on
    `per_answer`, which only decides how much of it.

    Args:
        dataset: Its documents are asked about.
        section: How many questions.
        shares: Of each generator, relative to the others; none: nothing is planned.
    """
    if not shares or not section.per_answer:
        return ()
    labelled = dataset.labelled_questions()
    documents = dataset.documents
    with_labelled = sum(document.id in labelled for document in documents)
    each, each_other = questions_each(section, with_labelled, len(documents) - with_labelled)
    rounds = [each if document.id in labelled else each_other for document in documents]
    # Everyone is equally far at any time, so that a budget that ends early leaves the same proportions.
    order = sorted((turn / count, turn, place) for place, count in enumerate(rounds) for turn in range(count))
    limits = np.cumsum(shares) / np.sum(shares)
    planned: list[Planned] = []
    for _, turn, place in order:
        document = documents[place]
        kind = KINDS[(place + turn) % len(KINDS)]
        questions = labelled.get(document.id, ())
        question = questions[turn % len(questions)].text if questions else ""
        generator = int((limits[:-1] <= len(planned) * _GOLDEN % 1.0).sum())
        planned.append(Planned(Request(document.text, question, kind, turn // len(KINDS)), document.id, generator))
    return tuple(planned)


def questions_each(section: AugmentSection, labelled: int, others: int) -> tuple[int, int]:
    """Return how many questions are asked for each answer that has a labelled one, and for each of the others.

    A corpus that is too large for `per_answer` everywhere has answers that nobody ever asked about. Those with a
    question get up to half of `MOST` before the others share the rest; what they leave goes back.
    """

    def share(budget: int, answers: int) -> int:
        return min(section.per_answer, max(1, budget // max(1, answers)))

    evenly = share(MOST, labelled + others)
    each_other = min(evenly, share(MOST - labelled * share(MOST // 2, labelled), others))
    return share(MOST - others * each_other, labelled), each_other


def spans_each(section: AugmentSection, answers: int) -> int:
    """Return how many spans are cut out of each of so many answers."""
    return min(section.spans, max(1, SPANS_PER_QUESTION * MOST // max(1, answers)))
