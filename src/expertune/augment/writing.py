"""Have a generator write what is asked for, batch by batch, within a budget. Knows no prompt and no filter.

Every text is kept in the item cache as soon as it or its batch is finished, so a killed run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple

from expertune.errors import PluginError
from expertune.models.cache import ItemCache
from expertune.models.plugins import Generator, Request, StreamingGenerator
from expertune.records import Progress, Report

# So many batches are sorted together by length: little padding, and a budget that ends early treats answers alike.
_SORTED_BATCHES = 8

Batch = dict[int, Request]
"""Requests by their position in the plan."""


def write(
    generator: Generator,
    requests: Mapping[int, Request],
    *,
    seed: int,
    budget_seconds: float,
    cache: ItemCache,
    report: Report,
) -> dict[int, str]:
    """Return the texts of one generator by position in the plan; what is missing was over budget.

    Raises:
        PluginError: the generator returned a wrong number of texts.
    """
    space = f"{generator.fingerprint}|seed={seed}"
    keys = {index: _key(request) for index, request in requests.items()}
    texts: dict[int, str] = {}
    asked: set[str] = set()

    def cached(indices: Sequence[int]) -> dict[int, str]:
        items = cache.read(space, [keys[index] for index in indices])
        return {index: items[keys[index]].decode("utf-8") for index in indices if keys[index] in items}

    def missing() -> Iterator[Batch]:
        """Take what the cache knows, and yield the rest of each batch as long as there is time."""
        until = float("inf")
        for indices in _batches(requests, generator.batch_size):
            texts.update(cached(indices))
            report(Progress("augment", len(texts), len(requests), generator.name))
            # Equal requests of an earlier batch may still be under way; their texts serve both.
            rest = {index: requests[index] for index in indices if index not in texts and keys[index] not in asked}
            if rest and (now := time.perf_counter()) < until:
                until = min(until, now + budget_seconds)
                asked.update(keys[index] for index in rest)
                yield rest

    report(Progress("augment", 0, len(requests), generator.name))
    for finished in _finished(generator, missing(), seed):
        cache.write(space, {keys[index]: text.encode("utf-8") for index, text in finished.items()})
        texts.update(finished)
        report(Progress("augment", len(texts), len(requests), generator.name))
    texts.update(cached([index for index in requests if index not in texts and keys[index] in asked]))
    return dict(sorted(texts.items()))


def _batches(requests: Mapping[int, Request], size: int) -> Iterator[list[int]]:
    """Yield the positions batch by batch, answers of like length together; the same batches in every run."""
    indices = list(requests)
    for start in range(0, len(indices), size * _SORTED_BATCHES):
        by_length = sorted(indices[start : start + size * _SORTED_BATCHES], key=lambda i: len(requests[i].document))
        for first in range(0, len(by_length), size):
            yield by_length[first : first + size]


def _finished(generator: Generator, batches: Iterator[Batch], seed: int) -> Iterator[dict[int, str]]:
    """Yield texts by position in the plan as they are finished: singly from a streaming generator, else by batch."""
    if isinstance(generator, StreamingGenerator):
        for batch in batches:
            yield from _streamed(generator, batch, seed)
        return
    begun: deque[Batch] = deque()

    def requests() -> Iterator[list[Request]]:
        for batch in batches:
            begun.append(batch)
            yield list(batch.values())

    for texts in generator.each("generate", requests(), seed=seed):
        batch = begun.popleft()
        if len(texts) != len(batch) or not all(isinstance(text, str) for text in texts):
            raise _miscounted(generator, len(texts), len(batch))
        yield {index: _storable(text) for index, text in zip(batch, texts, strict=True)}


def _streamed(generator: StreamingGenerator, batch: Batch, seed: int) -> Iterator[dict[int, str]]:
    left = dict(enumerate(batch))
    for position, text in generator.stream(list(batch.values()), seed=seed):
        if position not in left or not isinstance(text, str):
            raise _miscounted(generator, len(batch) - len(left) + 1, len(batch))
        yield {left.pop(position): _storable(text)}
    if left:
        raise _miscounted(generator, len(batch) - len(left), len(batch))


def _miscounted(generator: Generator, returned: int, requested: int) -> PluginError:
    return PluginError(
        f"generate returned {returned} items for {requested} requests, expected one text for each",
        place=f"generator {generator.name}",
        hint='A plug-in returns "" where nothing came.',
    )


def _storable(text: str) -> str:
    """Return the text without lone surrogates, which cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _key(request: Request) -> str:
    return hashlib.sha256(json.dumps(astuple(request)).encode("utf-8")).hexdigest()
