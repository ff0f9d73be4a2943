"""Collect finished pieces into rows: gains over the base, and differences to ours. Knows no model and no page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from expertune.evaluate.statistics import seeds_interval
from expertune.records import reading

Line = dict[str, Any]
Found = dict[str, float]
"""`gain` in points, with `low` and `high`, or with `answers`: too few for an interval."""

Values = Mapping[str, Sequence[float]]
"""nDCG@10 of every question, by split."""

Stratum = tuple[str, NDArray[np.float64], Sequence[Any]]
"""Name, differences `[seeds, queries]`, and the cluster of each query."""

BASE, OURS, WITH_LOG = "base", "expertune", "expertune, log"
RESAMPLES = 4000
DOMAIN, GENERAL = ("seen", "unseen"), ("general",)
"""Kinds of splits whose plain mean counts."""


def gain(groups: Iterable[Sequence[Stratum]]) -> float | None:
    """Return the plain mean over all strata, x 100."""
    means = [float(values.mean()) for group in groups for _, values, _ in group]
    return round(100 * float(np.mean(means)), 3) if means else None


def interval(groups: Iterable[Sequence[Stratum]]) -> Found | None:
    """Return the plain mean over all strata with a 95 % paired bootstrap interval over queries and seeds.

    One stratum has the package's interval. Of several, each group is one data set: its strata share the resampled
    seeds. Queries are resampled by answer; strata with the same name (a general set, measured after tuning on several
    domains) share the resampled queries. The deviations of each stratum are stretched to its standard error, and the
    quantiles are those of a Student t, as the package does it.

    A single split with too few answers (`Interval.too_few`) has no ends: they would be a guess.
    """
    groups = [group for group in groups if group]
    strata = [stratum for group in groups for stratum in group]
    mean = gain([strata])
    if mean is None:
        return None
    found = [seeds_interval(values, clusters) for _, values, clusters in strata]
    if len(strata) == 1:
        if found[0].too_few:
            return {"gain": mean, "answers": found[0].clusters}
        return {"gain": mean, "low": round(100 * found[0].low, 3), "high": round(100 * found[0].high, 3)}
    errors = np.array([max(one.standard_error, 1e-12) for one in found])
    squares = (errors / errors.max()) ** 2  # relative, so that tiny errors do not underflow
    freedom = float(squares.sum() ** 2 / sum(squares**2 / np.maximum([one.clusters - 1 for one in found], 1)))
    tail = float(stats.norm.cdf(-stats.t.ppf(0.975, freedom)))
    low, high = np.quantile(_deviations(groups, errors), [tail, 1.0 - tail])
    return {"gain": mean, "low": round(mean + 100 * float(low), 3), "high": round(mean + 100 * float(high), 3)}


def _deviations(groups: Iterable[Sequence[Stratum]], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw how far the mean over all strata lies from itself `[RESAMPLES]`; `errors` has a standard error a stratum."""
    generator = np.random.default_rng(0)
    drawn: dict[str, NDArray[np.int64]] = {}
    total, number = np.zeros(RESAMPLES), 0
    for group in groups:
        seeds = len(group[0][1])
        shares = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
        for name, values, clusters in group:
            _, of = np.unique(np.asarray(clusters), return_inverse=True)
            sizes = np.bincount(of).astype(np.float64)
            sums = np.stack([np.bincount(of, weights=row) for row in values])
            if name not in drawn:
                drawn[name] = generator.integers(0, len(sizes), (RESAMPLES, len(sizes)))
            chosen = drawn[name]
            means = np.take_along_axis(shares @ sums, chosen, axis=1).sum(axis=1) / sizes[chosen].sum(axis=1)
            spread = float(means.std())
            total += (means - float(values.mean())) * (errors[number] / spread if spread > 0 else 1.0)
            number += 1
    return total / number


class Collected:
    """All finished pieces, and differences between two contenders.

    Args:
        pieces: Lines, each with `name`, `set`, `seed` and what it `measured`; those of the base have `clusters`.
        kinds: Of each set, the kind of every split: seen, unseen or general.
    """

    def __init__(self, pieces: Sequence[Line], kinds: Mapping[str, Mapping[str, str]]) -> None:
        self.kinds = kinds
        self.base = {piece["set"]: piece for piece in pieces if piece["name"] == BASE}
        self.pieces = [piece for piece in pieces if piece["set"] in self.base and piece["name"] != BASE]

    @property
    def names(self) -> list[str]:
        """Everybody but the base: ours, what needs no tuning, peers."""
        order = {"ours": 0, "alternative": 1, "peer": 2}
        kinds = {piece["name"]: piece["kind"] for piece in self.pieces}
        return sorted(kinds, key=lambda name: (order[kinds[name]], name))

    @property
    def ours(self) -> list[str]:
        """The package with its defaults, with and without the log, and with a default changed."""
        return sorted({piece["name"] for piece in self.pieces if piece["kind"] == "ours"})

    def of(self, name: str) -> dict[tuple[str, int], Line]:
        """Return somebody's pieces by set and seed."""
        return {(piece["set"], piece["seed"]): piece for piece in self.pieces if piece["name"] == name}

    def strata(self, name: str, kinds: Sequence[str], *, than: str = BASE) -> dict[str, list[Stratum]]:
        """Return the paired differences of two contenders by set, over the sets and seeds that both have.

        What needs no tuning has no seed: it is set beside every seed of the other.
        """
        groups: dict[str, list[Stratum]] = {}
        for on, base in self.base.items():
            pairs = _pairs(self._seeds(name, on), self._seeds(than, on))
            for split, kind in self.kinds[on].items():
                both = [(own, other) for own, other in pairs if split in own and split in other]
                if kind in kinds and both:
                    values = np.array([np.subtract(own[split], other[split]) for own, other in both])
                    label = split if kind == "general" else f"{on}/{split}"
                    groups.setdefault(on, []).append((label, values, base["clusters"][split]))
        return groups

    def _seeds(self, name: str, on: str) -> dict[int | None, Values]:
        """Return what somebody measured on a set, by seed; None where there is none to choose."""
        if name == BASE:
            return {None: self.base[on]["measured"]}
        found = {piece["seed"]: piece for (other, _), piece in self.of(name).items() if other == on}
        return {None if piece["kind"] == "alternative" else seed: piece["measured"] for seed, piece in found.items()}

    def row(self, name: str) -> dict[str, Any]:
        """Return somebody's row of the table."""
        mine = list(self.of(name).values())
        domain = self.strata(name, DOMAIN)
        return {
            "name": name,
            "kind": mine[0]["kind"],
            "domain": interval(domain.values()),
            "seen": interval(self.strata(name, ("seen",)).values()),
            "unseen": interval(self.strata(name, ("unseen",)).values()),
            "general": interval(self.strata(name, GENERAL).values()),
            "splits": {
                label: {"seeds": len(values), **(interval([[(label, values, clusters)]]) or {})}
                for group in domain.values()
                for label, values, clusters in group
            },
            "by_set": {on: interval([group]) for on, group in domain.items()},
            "ours_minus_this": {ours: self.ahead(ours, name) for ours in self.ours if ours != name},
            "seconds": _mean(piece.get("seconds") for piece in mine),
            "choosing_seconds": _mean(piece["choosing_seconds"] for piece in mine if piece.get("tried")),
            "peak_megabytes": max((piece.get("peak_megabytes", 0) for piece in mine), default=0),
            "seeds_of_a_set": dict(sorted(Counter(piece["set"] for piece in mine).items())),
            "chosen": {f"{piece['set']}/{piece['seed']}": piece.get("chosen", {}) for piece in mine},
            "points": {f"{piece['set']}/{piece['seed']}": len(piece.get("tried", ())) for piece in mine},
        }

    def ahead(self, first: str, second: str) -> dict[str, Any]:
        """Return how far the first is ahead of the second in the domain and in general, and by set in the domain."""
        domain = self.strata(first, DOMAIN, than=second)
        return {
            "domain": interval(domain.values()),
            "general": interval(self.strata(first, GENERAL, than=second).values()),
            "by_set": {on: interval([group]) for on, group in domain.items()},
        }

    def best(self, kind: str, on: str) -> str | None:
        """Return who of a kind has the highest mean in the domain of a set: picked by the test questions themselves."""
        names = {piece["name"] for piece in self.pieces if piece["kind"] == kind and piece["set"] == on}
        gains = {name: gain([self.strata(name, DOMAIN).get(on, [])]) for name in names}
        known = {name: value for name, value in gains.items() if value is not None}
        return max(sorted(known), key=lambda name: known[name], default=None)


def _pairs(mine: Mapping[int | None, Values], theirs: Mapping[int | None, Values]) -> list[tuple[Values, Values]]:
    """Pair what two contenders measured with the same seed; what has none (None) goes with every seed of the other."""
    if None in mine or None in theirs:
        return [(own, other) for own in mine.values() for other in theirs.values()]
    return [(mine[seed], theirs[seed]) for seed in sorted(mine.keys() & theirs.keys())]


def outcome(found: Found | None) -> str:
    """Say "better", "worse" or "no difference shown" of a difference; "" where there is none."""
    if not found:
        return ""
    return reading(found.get("low", -100.0), found.get("high", 100.0))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 1) if known else None
