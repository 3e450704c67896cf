"""A fair sample of values from a run too long to look at each: the same number of every type and size class, by chance.

Estimates a sum over all of them with its error from what the sampled ones weigh. Knows places, not bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format.values import ValueType
from rdbmerge.snapshot.allocation import LAYOUTS, Layout

_SAMPLED_BYTES = 2 << 20  # of one class, about
_FEWEST, _MOST = 4, 256
_SEED = 2_026  # the same file gives the same estimate
_SIZE_BITS = 64

Weigh = Callable[[int, int, int], Mapping[Layout, int]]
Places = NDArray[np.int64]


@dataclass(slots=True)
class _Class:
    """Values of one type between two powers of 2 of bytes: how many, and those drawn (the lowest lots)."""

    count: int = 0
    size_bytes: int = 0
    lots: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    starts: Places = field(default_factory=lambda: np.empty(0, np.int64))
    ends: Places = field(default_factory=lambda: np.empty(0, np.int64))

    def draw(self, lots: NDArray[np.float64], starts: Places, ends: Places, most: int) -> None:
        """Take in more values, of which the `most` with the lowest lots of all stay."""
        lots = np.concatenate((self.lots, lots))
        starts, ends = np.concatenate((self.starts, starts)), np.concatenate((self.ends, ends))
        if len(lots) > most:
            kept = np.argpartition(lots, most)[:most]
            lots, starts, ends = lots[kept], starts[kept], ends[kept]
        self.lots, self.starts, self.ends = lots, starts, ends


@dataclass(frozen=True, slots=True)
class Estimate:
    """Sums over all values, by layout; `error` is twice the standard error."""

    total: dict[Layout, float]
    error: dict[Layout, float]
    by_type: dict[Layout, dict[int, float]]
    size_by_type: dict[int, int]

    def ratios(self, layout: Layout, types: Mapping[int, ValueType]) -> dict[int, float]:
        """Weight a byte of the file, by logical type."""
        weights: dict[int, float] = {}
        sizes: dict[int, int] = {}
        for number, size in self.size_by_type.items():
            logical = int(types[number].logical)
            weights[logical] = weights.get(logical, 0.0) + self.by_type[layout][number]
            sizes[logical] = sizes.get(logical, 0) + size
        return {logical: weights[logical] / sizes[logical] for logical in sizes if sizes[logical]}


class Samples:
    """Draws as values come by; `join` those of other threads, then `estimate`."""

    def __init__(self, number: int = 0) -> None:
        """`number` tells those of one file apart: each throws its own dice."""
        self._classes: dict[int, _Class] = {}
        self._random = np.random.default_rng((_SEED, number))

    def add(self, types: NDArray[np.uint8], starts: Places, ends: Places) -> None:
        """Values of these type numbers at these places."""
        sizes = ends - starts
        _, bits = np.frexp(sizes.astype(np.float64))
        keys = types.astype(np.int64) * _SIZE_BITS + bits
        lots = self._random.random(len(keys))
        for key in np.unique(keys).tolist():
            chosen = keys == key
            one = self._classes.setdefault(key, _Class())
            one.count += int(np.count_nonzero(chosen))
            one.size_bytes += int(sizes[chosen].sum())
            one.draw(lots[chosen], starts[chosen], ends[chosen], _most(key))

    def join(self, other: Samples) -> None:
        """Take in another's."""
        for key, theirs in other._classes.items():
            one = self._classes.setdefault(key, _Class())
            one.count += theirs.count
            one.size_bytes += theirs.size_bytes
            one.draw(theirs.lots, theirs.starts, theirs.ends, _most(key))

    def estimate(self, weigh: Weigh) -> Estimate:
        """The sum of `weigh` over all values, from those drawn."""
        total, error = dict.fromkeys(LAYOUTS, 0.0), dict.fromkeys(LAYOUTS, 0.0)
        by_type: dict[Layout, dict[int, float]] = {layout: {} for layout in LAYOUTS}
        size_by_type: dict[int, int] = {}
        for key, one in sorted(self._classes.items()):
            number = key // _SIZE_BITS
            size_by_type[number] = size_by_type.get(number, 0) + one.size_bytes
            order = np.argsort(one.starts)  # the file is read forwards
            places = list(zip(one.starts[order].tolist(), one.ends[order].tolist(), strict=True))
            weights = [weigh(number, start, end) for start, end in places]
            sizes = np.array([end - start for start, end in places], np.float64)
            for layout in LAYOUTS:
                summed, variance = _sum_over(one, sizes, np.array([weight[layout] for weight in weights], np.float64))
                total[layout] += summed
                error[layout] += variance
                by_type[layout][number] = by_type[layout].get(number, 0.0) + summed
        return Estimate(total, {layout: 2 * variance**0.5 for layout, variance in error.items()}, by_type, size_by_type)


def _most(key: int) -> int:
    return max(_FEWEST, min(_MOST, _SAMPLED_BYTES >> key % _SIZE_BITS))


def _sum_over(one: _Class, sizes: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """The sum over a class by the ratio of weight to size, and the variance of that estimate."""
    drawn = len(sizes)
    if drawn == one.count:
        return float(weights.sum()), 0.0
    ratio = weights.sum() / sizes.sum()
    spread = float(((weights - ratio * sizes) ** 2).sum()) / max(1, drawn - 1)
    return float(ratio * one.size_bytes), one.count**2 * (1 - drawn / one.count) * spread / drawn
