"""What a run tells of the whole, with a clock that the tests turn."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from expertune.pipeline.costs import Cost
from expertune.pipeline.forecast import Forecast
from expertune.records import Progress

COSTS = (
    Cost("score", 8, "texts", (("large", 30.0), ("small", 10.0))),
    Cost("train", 100, "questions", (("", 30.0), ("", 30.0))),
)


@dataclass
class Watched:
    """A forecast, its clock, and what it told."""

    time: float = 0.0
    told: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forecast = Forecast(self.told.append, lambda: self.time)
        self.forecast.expect(COSTS)

    def tell(self, after: float, stage: str, done: int, total: int, detail: str = "") -> tuple[float, float]:
        self.time += after
        self.forecast(Progress(stage, done, total, detail))
        last = self.told[-1]
        assert last.share is not None
        assert last.seconds_left is not None
        return last.share, last.seconds_left


def test_nothing_is_added_before_a_run_knows_what_is_to_come() -> None:
    told: list[Progress] = []
    Forecast(told.append)(Progress("train", 1, 4))
    assert told == [Progress("train", 1, 4)]


def test_the_parts_weigh_what_they_were_expected_to_cost_and_what_took_longer_corrects_the_rest() -> None:
    run = Watched()
    assert run.tell(0.0, "score", 0, 2, "large") == (0.0, 100.0)
    # Half of the large expert: 15 of 100 expected seconds, which took twice as long.
    assert run.tell(30.0, "embed", 2, 4, "large") == pytest.approx((0.15, 170.0))
    # The small one has begun, so the large one is finished.
    assert run.tell(30.0, "embed", 0, 4, "small") == pytest.approx((0.30, 140.0))
    run.time += 20.0
    run.forecast.end("score")
    assert run.tell(0.0, "train", 0, 10) == pytest.approx((0.40, 120.0))
    assert run.tell(60.0, "train", 10, 10) == pytest.approx((0.70, 60.0))
    # Steps begin again: the second tuning.
    assert run.tell(0.0, "train", 1, 10)[0] == pytest.approx(0.73)
    assert run.tell(6.0, "train", 2, 10)[0] == pytest.approx(0.76)


def test_what_was_found_in_the_store_says_nothing_of_the_pace() -> None:
    run = Watched()
    run.time += 0.1
    run.forecast.end("score")
    assert run.tell(60.0, "train", 10, 10) == pytest.approx((0.70, 60.0))


def test_a_share_never_falls_and_other_events_leave_it_as_it_is() -> None:
    run = Watched()
    run.tell(1.0, "embed", 4, 4, "large")
    assert run.tell(1.0, "embed", 0, 9, "large")[0] == pytest.approx(0.3)  # its answers, after its questions
    assert run.tell(1.0, "embed", 3, 3, "somebody else")[0] == pytest.approx(0.3)
    assert run.tell(1.0, "train", 3, 3)[0] == pytest.approx(0.3)
