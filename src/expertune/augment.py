"""Write training questions with several small language models, clean them, and keep held-out questions out. No labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from expertune.config import AugmentSection
from expertune.records import Dataset, ItemCache, Questions, Report, ignore_progress


@dataclass(frozen=True, slots=True)
class Request:
    """One question to write: for which answer, of which kind, and the user's own question where there is one.

    `attempt` numbers repeated requests of one kind for one answer, so that each is a different item.
    """

    document: str
    question: str
    kind: str
    attempt: int = 0


@runtime_checkable
class Generator(Protocol):
    """Write questions. Made as `Class(model: ModelSource | None, **options)`."""

    name: str
    fingerprint: str
    batch_size: int

    def generate(self, requests: Sequence[Request], *, seed: int) -> list[str]:
        """Return one raw text per request, in order; "" where nothing came. Same requests and seed: same texts."""
        ...


def augment(
    dataset: Dataset,
    section: AugmentSection,
    generators: Sequence[Generator],
    *,
    held_out: Collection[str] = (),
    cache: ItemCache | None = None,
    report: Report = ignore_progress,
) -> Questions:
    raise NotImplementedError
