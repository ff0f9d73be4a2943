"""Forecast how far a run is and when it ends: what its parts were expected to cost, corrected by what they took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from expertune.records import Progress, Report

if TYPE_CHECKING:
    from expertune.pipeline.costs import Cost

SURE_SECONDS = 5.0
"""Expected work that has to be done before its pace corrects what is left; less may be loading."""

REUSED_BELOW = 0.2
"""A stage that took less than this share of what was expected was mostly found in the store: it tells no pace."""


@dataclass(slots=True)
class _Part:
    """One expert, generator or tuning: what it was expected to take, and how much of it is done (0 to 1)."""

    stage: str
    name: str
    expected: float
    done: float = 0.0


@dataclass
class Forecast:
    """Pass progress on, together with the share of the whole run that is done and the seconds that are left.

    Args:
        report: Told of everything, as it is where nothing is expected yet.
        now: A clock, in seconds.
    """

    report: Report
    now: Callable[[], float] = time.perf_counter
    _parts: list[_Part] = field(default_factory=list)
    _ended: list[str] = field(default_factory=list)
    _last: Progress | None = None
    _began: float = 0.0
    _worked: float = 0.0
    _paid: float = 0.0

    def expect(self, costs: Sequence[Cost]) -> None:
        """Begin: these stages are to come, in this order."""
        self._parts = [_Part(cost.stage, name, seconds) for cost in costs for name, seconds in cost.parts]
        self._ended, self._worked, self._paid, self._began = [], 0.0, 0.0, self.now()

    def end(self, stage: str) -> None:
        """Note that a stage has ended, and how long it took."""
        took, self._began = self.now() - self._began, self.now()
        own = [part for part in self._parts if part.stage == stage]
        expected = sum(part.expected for part in own)
        if took > REUSED_BELOW * expected:
            self._worked, self._paid = self._worked + took, self._paid + expected
        for part in own:
            part.done = 1.0
        self._ended.append(stage)

    def __call__(self, event: Progress) -> None:
        """Tell one event."""
        if part := self._part(event):
            part.done = max(part.done, event.done / max(1, event.total))
        total = sum(part.expected for part in self._parts)
        if total > 0:
            left = sum(part.expected * (1.0 - part.done) for part in self._parts)
            event = replace(event, share=1.0 - left / total, seconds_left=left * self._pace())
        self.report(event)

    def _part(self, event: Progress) -> _Part | None:
        """Return the part of the present stage that an event is about, and end those before it.

        Generators and experts tell their names, tunings by `begins_again` that the next one has begun.
        """
        own = [part for part in self._parts if part.stage not in self._ended]
        own = [part for part in own if part.stage == own[0].stage]
        at = next((place for place, part in enumerate(own) if part.name and part.name == event.detail), -1)
        if at < 0 and own and event.stage == own[0].stage and not own[0].name:
            at = 1 if begins_again(event, self._last) else sum(part.done == 1.0 for part in own)
            at = min(at, len(own) - 1)
        self._last = event
        # The stage of scores counts its experts; what they do is told under other names.
        if at < 0 or event.stage == "score":
            return None
        for part in own[:at]:
            part.done = 1.0
        return own[at]

    def _pace(self) -> float:
        """Return how many seconds an expected second took so far."""
        open_stage = [part for part in self._parts if part.stage not in self._ended]
        paid = self._paid + sum(part.expected * part.done for part in open_stage)
        worked = self._worked + self.now() - self._began
        return worked / paid if paid > SURE_SECONDS else 1.0


def begins_again(event: Progress, last: Progress | None) -> bool:
    """Tell whether the next tuning has begun: the count of steps of the same stage falls back."""
    return last is not None and last.stage == event.stage and event.done < last.done
