"""One person judging one log: which question comes next, what is shown of it, how far one is. Knows no network."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, isfinite, isnan, nan
from statistics import median

import numpy as np
from numpy.typing import NDArray

from expertune.commands.judge.ledger import Entry, Ledger
from expertune.commands.judge.panel import FirstAnswers
from expertune.data.leakage import HeldOut
from expertune.data.wording import normalise
from expertune.evaluate import sampling
from expertune.evaluate.statistics import Interval, bootstrap_interval, detectable_difference
from expertune.records import Document

SHOWN = 6
"""Answers shown of a question, unless the models' first answers alone are more: reading them is what takes time."""

MOST_SHOWN = 9
"""Keys 1 to 9."""

OVERLAP = 20
"""Questions of another judge that come again, so that agreement can be told; then new ones."""

MOST_QUESTIONS = 500
"""Questions of a log that the models answer: of more, so many are drawn uniformly first. Few people judge that many,
and a panel needs about a tenth of a second for each the first time."""


def population(texts: Iterable[str], ledger: Ledger, held_out: HeldOut, labelled: Sequence[str]) -> tuple[str, ...]:
    """Return the questions of a log that can be judged, at most `MOST_QUESTIONS` of them drawn uniformly.

    Those that repeat a labelled question would take it from training, and those that the user holds out already are
    judged. Both go; what was judged here stays, so that the drawing remains the same.
    """
    ours = {normalise(entry.question) for entry in ledger.entries}
    theirs = [text for key, text in held_out.wording.items() if key not in ours]
    taken = HeldOut.of([*theirs, *labelled])
    asked = sorted(dict.fromkeys(texts), key=sampling.lot)
    free: list[str] = []
    for start in range(0, len(asked), MOST_QUESTIONS):  # looking at a whole long log takes many seconds
        some = asked[start : start + MOST_QUESTIONS]
        free += [text for text, gone in zip(some, taken.repeated_by(some), strict=True) if not gone]
        if len(free) >= MOST_QUESTIONS:
            break
    return tuple(free[:MOST_QUESTIONS])


@dataclass(frozen=True, slots=True)
class Shown:
    """One question as a person sees it; `again` where another judge had it too."""

    id: str
    text: str
    answers: tuple[Document, ...]
    again: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the judgements of a log have come.

    Attributes:
        judged: Questions with a judgement.
        unanswered: Those of them that no answer fits.
        mine: Questions that this person judged.
        left: Questions that nobody has seen.
        more: How many more judgements should show a difference of 3 points; 0: enough.
        detectable: Smallest difference of nDCG@10 that would be shown by now; NaN as long as judgements are so few that
            `more` rests on the models' rankings alone.
        kappa: How far judges agree on `shared` questions that several judged; NaN where it cannot be told.
    """

    judged: int
    unanswered: int
    mine: int
    left: int
    more: int
    detectable: float
    kappa: float
    shared: int

    @property
    def enough(self) -> bool:
        """Whether a difference of 3 points would be shown by now."""
        return self.more == 0


class Session:
    """Judge the questions of a log.

    Args:
        ledger: Where judgements are kept.
        texts: The questions that can be judged.
        firsts: The first answers to them.
        judge: Who judges.
    """

    def __init__(self, ledger: Ledger, texts: Sequence[str], firsts: FirstAnswers, judge: str) -> None:
        self.ledger, self.judge, self.firsts = ledger, judge, firsts
        self.documents = {document.id: document for document in firsts.documents}
        self._texts = tuple(texts)
        self._row = {Entry(text, judge).id: row for row, text in enumerate(self._texts)}
        self._ids = list(self._row)
        self._apart = sampling.spread(firsts.tops["base"], firsts.rivals, tuple(firsts.tops.values()))
        self._chances = sampling.chances(self._apart)
        rounded = [f"{chance:.3g}" for chance in self._chances.tolist()]
        self._plan = blake2b("\0".join((*self._texts, *rounded)).encode(), digest_size=8).hexdigest()
        self._drawing = self._number()
        keys = sampling.keys(self._texts, self._chances, drawing=self._drawing)
        before = {entry.id for entry in ledger.judged if entry.drawing != self._drawing}
        self._order = [row for row in np.argsort(keys, kind="stable").tolist() if self._ids[row] not in before]
        self._place = {row: place for place, row in enumerate(self._order)}
        self._keys = keys

    def _number(self) -> int:
        """Return the number of the drawing that these questions and chances belong to: the last one's, or a new one."""
        last = max(self.ledger.entries, key=lambda entry: entry.drawing, default=None)
        if last is None or not last.drawing:
            return 1
        return last.drawing if last.plan == self._plan else last.drawing + 1

    # --- what comes next ------------------------------------------------------------------------------------------

    def next(self) -> Shown | None:
        """Return the next question: some that another judge had, then new ones; None where the log is through."""
        mine = {entry.id for entry in self.ledger.entries if entry.judge == self.judge}
        others = [entry for entry in self.ledger.judged if entry.judge != self.judge and entry.id in self._row]
        shared = list(dict.fromkeys(entry.id for entry in others))[:OVERLAP]
        again = next((name for name in shared if name not in mine), "")
        if again:
            return self.shown(again)
        seen = {entry.id for entry in self.ledger.entries}
        fresh = next((row for row in self._order if self._ids[row] not in seen), None)
        return None if fresh is None else self.shown(self._ids[fresh])

    def shown(self, name: str) -> Shown:
        """Return a question as a person sees it: pooled first answers in an order that tells nothing.

        Raises:
            KeyError: it is no question of this log.
        """
        row = self._row[name]
        answers = list(self._pool(row))
        random.Random(name).shuffle(answers)
        others = any(entry.id == name and entry.judge != self.judge for entry in self.ledger.judged)
        return Shown(name, self._texts[row], tuple(self.documents[item] for item in answers), others)

    def _pool(self, row: int) -> dict[str, tuple[str, ...]]:
        """Return the pooled answers of a question, and which models found each among those that count here.

        The first answer of every model, and second ones and so on as long as there are few.
        """
        names = [document.id for document in self.firsts.documents]
        pool: dict[str, list[str]] = {}
        depth = self.firsts.tops["base"].shape[1]
        for rank in range(depth):
            for model, top in self.firsts.tops.items():
                answer = names[top[row, rank]]
                if answer in pool:
                    pool[answer].append(model)
                elif len(pool) < (MOST_SHOWN if rank == 0 else SHOWN):
                    pool[answer] = [model]
            if len(pool) >= SHOWN:
                break
        return {answer: tuple(models) for answer, models in pool.items()}

    # --- what is said ---------------------------------------------------------------------------------------------

    def judged(self, name: str, right: Iterable[str], *, skipped: bool = False) -> None:
        """Keep what was said: the right answers' ids, none for "no answer fits", or that it was skipped.

        Raises:
            KeyError: the question or an answer is not there.
        """
        question, row = self.shown(name), self._row[name]
        place = self._place.get(row)
        following = None if place is None or place + 1 == len(self._order) else self._order[place + 1]
        self.ledger.record(
            Entry(
                question=question.text,
                judge=self.judge,
                right={answer: self.documents[answer].text for answer in dict.fromkeys(right)},
                skipped=skipped,
                shown=tuple(document.id for document in question.answers),
                found_by=self._pool(row),
                drawing=0 if place is None else self._drawing,
                plan="" if place is None else self._plan,
                place=0 if place is None else place + 1,
                chance=float(self._chances[row]),
                next_key=None if following is None else float(self._keys[following]),
            )
        )

    def undo(self) -> None:
        """Take back what this person said last; that question comes again."""
        last = self.ledger.last_of(self.judge)
        if last is not None:
            self.ledger.forget(last)

    # --- how far one is -------------------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """Count, and say how many more judgements should show a difference of 3 points."""
        questions = self.ledger.questions()
        answered = [item for item in questions if item.right]
        seen = {entry.id for entry in self.ledger.entries}
        differences, weights = self._differences()
        count, detectable = len(weights), nan
        wanted = sampling.planned(self._apart, self._chances)
        if count >= sampling.FEW:
            detectable = median(detectable_difference(row, weights=weights) for row in differences)
            wanted = sampling.needed(count, detectable)
        more = max(0, wanted - count) * len(questions) / max(1, len(answered)) if answered else wanted
        kappa, shared = self.ledger.kappa()
        return Progress(
            judged=len(questions),
            unanswered=len(questions) - len(answered),
            mine=sum(entry.judge == self.judge for entry in self.ledger.judged),
            left=sum(name not in seen for name in self._ids),
            more=ceil(more),
            detectable=detectable,
            kappa=kappa,
            shared=shared,
        )

    def estimate(self) -> Interval | None:
        """Return tuned minus base in nDCG@10 on this log, weighted back; None without a tuned model or judgements."""
        differences, weights = self._differences()
        if "tuned" not in self.firsts.tops or not weights:
            return None
        return bootstrap_interval(differences[0], weights=weights)

    def _differences(self) -> tuple[NDArray[np.float64], list[float]]:
        """Return rival minus base `[rivals, n]` and weights `[n]` of the questions that were drawn and answered."""
        drawn = {entry.id for entry in self.ledger.judged if entry.drawing}
        items = [item for item in self.ledger.questions() if item.right and item.id in drawn and item.id in self._row]
        names = [document.id for document in self.firsts.documents]

        def gains(top: NDArray[np.int64]) -> list[float]:
            return [sampling.ndcg([names[at] for at in top[self._row[item.id]]], item.right) for item in items]

        before = np.array(gains(self.firsts.tops["base"]))
        differences = np.array([np.array(gains(top)) - before for top in self.firsts.rivals])
        return differences, [item.weight or 1.0 for item in items]


def said(progress: Progress, estimate: Interval | None) -> tuple[str, ...]:
    """Say in lines how far one is, for the page and the terminal."""
    lines = [f"{progress.judged} question(s) judged, {progress.unanswered} of them without an answer that fits."]
    if progress.enough:
        lines.append("Enough: a difference of 3 points between the models would be shown by now.")
    elif progress.more > progress.left:
        lines.append(f"A difference of 3 points needs about {progress.more} more; this log has {progress.left} left.")
    else:
        guess = ", by how far the models' rankings lie apart" if isnan(progress.detectable) else ""
        lines.append(f"About {progress.more} more would show a difference of 3 points{guess}.")
    if not progress.enough and not isnan(progress.detectable):
        lines.append(f"By now one of {100 * progress.detectable:.1f} points would be shown.")
    if progress.shared:
        kappa = f"Cohen's kappa {progress.kappa:.2f}" if isfinite(progress.kappa) else "too few for a figure"
        lines.append(f"Judges agree on {progress.shared} question(s) that several judged: {kappa}.")
    if estimate is not None and isfinite(estimate.standard_error) and estimate.clusters > 1:
        ends = f"{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"
        lines.append(
            f"Tuned minus base on this log: {100 * estimate.mean:+.1f} points of nDCG@10 (95 % interval {ends})."
        )
    return tuple(lines)
