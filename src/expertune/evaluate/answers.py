"""Find the answers that lose half of the questions which belong to them, and suggest what to do about each.

The suggestions follow simple rules over counts and words; nothing measures whether following one helps.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from expertune.evaluate.stage import measured_by_both
from expertune.records import Dataset, JudgedSet, Measurement

MISSED = 0.5
"""Share of its held-out questions that an answer misses at least, to be named."""

FEW_QUESTIONS = 1
"""Labelled questions up to which an answer is asked to get more first: it is what costs least."""

ALIKE = 0.5
"""Share of common words (of all words of both answers) from which two answers say much the same."""

SCATTERED = 3
"""Other answers that take questions, from which one answer seems to speak of several things."""


class Advice(StrEnum):
    """What to do about an answer; `how` says it in a sentence."""

    ADD = "add a question"
    MERGE = "merge the two"
    APART = "tell them apart"
    SPLIT = "split it"
    REWRITE = "rewrite it"

    @property
    def how(self) -> str:
        """Say how to do it."""
        return _HOW[self]


_HOW = {
    Advice.ADD: "Hardly a question of yours leads to it: write one or two in your users' words.",
    Advice.MERGE: "They say much the same in the same words: join them, or say how they differ.",
    Advice.APART: "They take each other's questions, but differ: write questions that only one of them answers.",
    Advice.SPLIT: "Its questions end up in many places: give each matter an answer of its own.",
    Advice.REWRITE: "It has questions and still is not found: use the words that users use.",
}


@dataclass(frozen=True, slots=True)
class Taker:
    """Another answer that comes first for questions it is not right for, and for how many."""

    id: str
    text: str
    questions: int


@dataclass(frozen=True, slots=True)
class AnswerWork:
    """One answer that comes first for at most half of its held-out questions, with the tuned model.

    `labelled` counts its labelled questions and `asked` its held-out ones; of those a right answer comes first `before`
    (base) and `after` (tuned). `missed` are the texts of the others, `takers` what comes first for them, most first.
    """

    id: str
    text: str
    labelled: int
    asked: int
    before: int
    after: int
    missed: tuple[str, ...]
    takers: tuple[Taker, ...]
    advice: Advice


@dataclass(slots=True)
class _Tally:
    asked: int = 0
    before: int = 0
    after: int = 0
    missed: list[str] = field(default_factory=list)
    takers: Counter[str] = field(default_factory=Counter)


def need_work(
    dataset: Dataset, judged: Sequence[JudgedSet], measurements: Sequence[Measurement]
) -> tuple[AnswerWork, ...]:
    """Return the answers that miss half of their questions or more with the tuned model, those that miss most first.

    A question with several right answers counts for each of them, and is missed where none comes first.

    Args:
        dataset: Answers and labelled questions.
        judged: Held-out sets; general ones are left out.
        measurements: Of the models "base" and "tuned".
    """
    tallies = _tallies(judged, measurements)
    texts = {document.id: document.text for document in dataset.documents}
    labelled = dataset.labelled_questions()
    found = [
        AnswerWork(
            id=name,
            text=texts.get(name, ""),
            labelled=len(labelled.get(name, ())),
            asked=tally.asked,
            before=tally.before,
            after=tally.after,
            missed=tuple(tally.missed),
            takers=tuple(Taker(other, texts.get(other, ""), count) for other, count in tally.takers.most_common()),
            advice=_advice(name, tallies, texts, len(labelled.get(name, ()))),
        )
        for name, tally in tallies.items()
        if len(tally.missed) >= MISSED * tally.asked
    ]
    return tuple(sorted(found, key=lambda row: (-len(row.missed), row.after / row.asked, row.id)))


def _tallies(judged: Sequence[JudgedSet], measurements: Sequence[Measurement]) -> dict[str, _Tally]:
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    for both in measured_by_both(judged, measurements):
        for name, text, before, after, first in _outcomes(*both):
            tally = tallies[name]
            tally.asked += 1
            tally.before += before
            tally.after += after
            if not after:
                tally.missed.append(text)
                tally.takers.update(first)
    return dict(tallies)


def _outcomes(
    judged: JudgedSet, base: Measurement, tuned: Measurement
) -> Iterator[tuple[str, str, bool, bool, Sequence[str]]]:
    """Yield by question and right answer: answer, question, whether it is first before and after, the first answer."""
    texts = {query.id: query.text for query in judged.queries}
    rows = zip(tuned.query_ids, base.hits(1).tolist(), tuned.hits(1).tolist(), tuned.top, strict=True)
    for query_id, before, after, top in rows:
        for name, grade in judged.qrels[query_id].items():
            if grade >= 1:
                yield name, texts.get(query_id, ""), before, after, top[:1]


def _advice(name: str, tallies: Mapping[str, _Tally], texts: Mapping[str, str], labelled: int) -> Advice:
    takers = tallies[name].takers
    if takers:
        other, _ = takers.most_common(1)[0]
        if _alike(texts.get(name, ""), texts.get(other, "")) >= ALIKE:
            return Advice.MERGE
        if other in tallies and tallies[other].takers[name] > 0:
            return Advice.APART
    if labelled <= FEW_QUESTIONS:
        return Advice.ADD
    return Advice.SPLIT if len(takers) >= SCATTERED else Advice.REWRITE


def _alike(first: str, second: str) -> float:
    """Return the share of common words of two texts, of all words that either has."""
    one, two = (set(text.casefold().split()) for text in (first, second))
    return len(one & two) / len(one | two) if one | two else 0.0
