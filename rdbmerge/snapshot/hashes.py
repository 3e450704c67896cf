"""Collects key hashes by db and gives them back sorted; spills sorted runs to disk above a limit.

Bounded memory: the limit, plus one bucket while runs are merged. Knows nothing of keys.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

LIMIT_HASHES = 16_000_000
_BUCKET_HASHES = 1_000_000


class HashCollector:
    """Takes batches of hashes in any order; `sorted_hashes` yields them in ascending order, db by db.

    `spill_dir` is where runs go when more than `limit_hashes` are held; its files vanish with `close`.
    """

    def __init__(self, spill_dir: Path | None = None, *, limit_hashes: int = LIMIT_HASHES) -> None:
        self._limit = limit_hashes
        self._spill_dir = spill_dir
        self._held: dict[int, list[Hashes]] = {}
        self._held_count = 0
        self._in_order: set[int] = set()  # dbs whose held hashes are sorted already
        self._runs: dict[int, list[Hashes]] = {}
        self._sums: dict[int, int] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, db: int, hashes: Hashes) -> None:
        """Take a copy of a batch's hashes."""
        self._held.setdefault(db, []).append(hashes.copy())
        self._in_order.discard(db)
        self._held_count += len(hashes)
        self._sums[db] = (self._sums.get(db, 0) + wrapping_sum(hashes)) % (1 << 64)
        if self._held_count > self._limit:
            self._spill()

    def dbs(self) -> list[int]:
        """The dbs that have hashes, ascending."""
        return sorted(self._held.keys() | self._runs.keys())

    def sum_of(self, db: int) -> int:
        """The sum of all hashes of one db modulo 2^64: what tells later whether they are all there."""
        return self._sums.get(db, 0)

    def sorted_hashes(self, db: int) -> Iterator[Hashes]:
        """The hashes of one db in ascending order, in pieces; equal hashes are never split over two pieces."""
        runs = self._runs.get(db, [])
        held = self._held.get(db, [])
        if held:
            joined = np.concatenate(held) if len(held) > 1 else held[0]
            held[:] = [joined]
            if db not in self._in_order:
                joined.sort()
                self._in_order.add(db)
            runs = [*runs, joined]
        if len(runs) == 1:
            yield runs[0]
        else:
            yield from merge_sorted(runs)

    def close(self) -> None:
        """Remove the spilled runs."""
        self._held.clear()
        self._runs.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=".rdbmerge-", dir=self._spill_dir)
        for db, parts in self._held.items():
            run = np.concatenate(parts)
            run.sort()
            path = Path(self._folder.name) / f"{db}-{len(self._runs.get(db, []))}.run"
            run.tofile(path)
            self._runs.setdefault(db, []).append(np.memmap(path, np.uint64, "r"))
        self._held = {}
        self._in_order.clear()
        self._held_count = 0


def wrapping_sum(hashes: Hashes) -> int:
    """The sum modulo 2^64."""
    return int(np.add.reduce(hashes, dtype=np.uint64))


def merge_sorted(runs: Sequence[Hashes]) -> Iterator[Hashes]:
    """Merge sorted runs into one ascending sequence, in pieces of about a million; equal hashes stay together."""
    total = sum(len(run) for run in runs)
    if total == 0:
        return
    pieces = max(1, total // _BUCKET_HASHES)
    # Hashes are spread evenly, so equal slices of the number range make pieces of about equal size.
    borders = [np.uint64(int((1 << 64) * i // pieces)) for i in range(1, pieces)]
    starts = [0] * len(runs)
    for border in [*borders, None]:
        stops = [len(run) if border is None else int(np.searchsorted(run, border)) for run in runs]
        piece = np.concatenate([run[start:stop] for run, start, stop in zip(runs, starts, stops, strict=True)])
        piece.sort()
        starts = stops
        if len(piece):
            yield piece


def repeated(sorted_hashes: Hashes) -> Hashes:
    """The values that occur more than once in an ascending array, each once."""
    same = sorted_hashes[1:] == sorted_hashes[:-1]
    return np.unique(sorted_hashes[1:][same])
