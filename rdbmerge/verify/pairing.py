"""Pairs every entry of the merged file with the source entry it comes from, and names those that do not agree.

By ranges of key hashes, one after another, so that memory stays bounded however many keys there are. Within a range
equal hashes find the pairs and the decoded keys confirm them. `comparison` says what differs between two entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format.digest import Reading, hash_keys_of
from rdbmerge.snapshot.hashes import repeated
from rdbmerge.snapshot.index import Chunk
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify import entries
from rdbmerge.verify.comparison import Comparison
from rdbmerge.verify.entries import Entries
from rdbmerge.verify.expectation import Line, SourceReader, chunks_of
from rdbmerge.verify.origin import EXPECTED
from rdbmerge.verify.report import Difference
from rdbmerge.verify.rivals import Rivalry
from rdbmerge.verify.structure import Part

LOST = 3  # a verdict: another source's entry won
_MOST_SHOWN = 100
_BYTES_AN_ENTRY = 4 * entries.ENTRY.itemsize  # with the copies that sorting makes
_ROOM_BYTES, _ROOM_BYTES_A_KEY = 50 << 20, 12
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # keeps equal keys of different dbs apart
_WHOLE = 1 << 64

Places = NDArray[np.intp]


@dataclass(slots=True)
class Paired:
    """What the pairing found."""

    differences: list[Difference] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    found: Counter[tuple[int, int]] = field(default_factory=Counter)  # (source, its db) -> entries found
    pairs: int = 0

    @property
    def total(self) -> int:
        """Differences of all kinds, those not listed included."""
        return self.kinds.total()

    def note(self, difference: Difference) -> None:
        """Count a difference; list it while there is room."""
        self.kinds[difference.kind] += 1
        if len(self.differences) < _MOST_SHOWN:
            self.differences.append(difference)


class Pairing:
    """The search over some dbs of the merged file."""

    def __init__(
        self,
        merged: Segment,
        reading: Reading,
        parts: Iterable[Part],
        lines: Sequence[Line],
        rivalries: Mapping[int, Rivalry],
        reader: SourceReader,
        *,
        dbs: Iterable[int],
        jobs: int,
    ) -> None:
        wanted = set(dbs)
        self.merged = merged
        self.reading = reading
        self.parts = [part for part in parts if part.db in wanted]
        self.lines = [line for line in lines if line.target_db in wanted]
        self.losers = [
            rivalries[line.target_db].losers_of(line) if line.target_db in rivalries else np.empty(0, np.int64)
            for line in self.lines
        ]
        self.reader = reader
        self.jobs = jobs
        self.comparison = Comparison(merged, reading, self.lines)
        self.paired = Paired()

    def run(self, merged_keys: int) -> Paired:
        """Compare all entries; `merged_keys` is how many the merged file has in these dbs."""
        keys = sum(line.read for line in self.lines) + merged_keys
        room = _ROOM_BYTES + _ROOM_BYTES_A_KEY * keys // 2
        ranges = max(1, -(-keys * _BYTES_AN_ENTRY // room))
        borders = [_WHOLE * i // ranges for i in range(ranges + 1)]
        for low, high in pairwise(borders):
            self._range(np.uint64(low), np.uint64(high - 1))
        return self.paired

    def _range(self, low: np.uint64, high: np.uint64) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            lines = {id(line): place for place, line in enumerate(self.lines)}
            tasks = [(lines[id(line)], chunk, low, high) for line, chunk in chunks_of(self.lines)]
            ours = _join(pool.map(self._of_source, tasks))
            theirs = _join(pool.map(self._of_merged, [(part, low, high) for part in self.parts]))
        wanted = ours["verdict"] == EXPECTED
        expected = ours if wanted.all() else ours[wanted]
        left, right, missing, unexpected = match(expected, theirs, self.comparison)
        self.paired.pairs += len(left)
        for line, count in zip(
            self.lines, np.bincount(expected["origin"][left], minlength=len(self.lines)), strict=True
        ):
            self.paired.found[line.origin.number, line.db] += int(count)
        self.comparison.compare(expected[left], theirs[right], self.paired.note)
        self.comparison.name_missing(expected[missing], theirs[unexpected], self.paired.note)
        self.comparison.name_unexpected(theirs[unexpected], ours, self.paired.note)

    def _of_source(self, task: tuple[int, Chunk, np.uint64, np.uint64]) -> Entries:
        place, chunk, low, high = task
        line, losers, found = self.lines[place], self.losers[place], []
        origin = line.origin
        with origin.segment.naming_errors():
            for batch in origin.segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=self.reader.columns()):
                rows = _within(origin.hash_keys(batch), low, high)
                picked = entries.pick(batch, rows, db=line.target_db, origin=place)
                picked["verdict"] = line.verdicts(batch)[rows]
                picked["verdict"][(picked["verdict"] == EXPECTED) & np.isin(picked["entry"], losers)] = LOST
                found.append(picked)
        return _join(found)

    def _of_merged(self, task: tuple[Part, np.uint64, np.uint64]) -> Entries:
        part, low, high = task
        found = []
        for batch in self.merged.walk_part(part.start, part.stop, part.db, columns=self.reader.columns()):
            hash_keys_of(self.merged.view, batch, self.reading)
            rows = _within(batch.key_hash[: batch.rows], low, high)
            found.append(entries.pick(batch, rows, db=part.db))
        return _join(found)


def _within(hashes: NDArray[np.uint64], low: np.uint64, high: np.uint64) -> Places:
    return np.flatnonzero((hashes >= low) & (hashes <= high))


def _join(parts: Iterable[Entries]) -> Entries:
    found = list(parts)
    return np.concatenate(found) if found else entries.NONE


def marks(some: Entries) -> NDArray[np.uint64]:
    """A number for each entry that is equal for equal keys of one db."""
    apart: NDArray[np.uint64] = some["hash"] + some["db"].astype(np.uint64) * _SPREAD
    return apart


def match(expected: Entries, found: Entries, comparison: Comparison) -> tuple[Places, Places, Places, Places]:
    """Places of pairs on both sides, then of what is left on each side."""
    ours, theirs = marks(expected), marks(found)
    order = np.argsort(theirs)
    at = np.searchsorted(theirs, ours, sorter=order)
    at[at == len(theirs)] = 0
    partner = order[at] if len(theirs) else at
    paired = theirs[partner] == ours if len(theirs) else np.zeros(len(ours), bool)
    # Hashes that occur twice on a side say nothing about who belongs to whom: those go by their keys alone.
    unclear = np.concatenate((repeated(np.sort(ours)), repeated(theirs[order])))
    paired &= ~np.isin(ours, unclear)
    left = np.flatnonzero(paired)
    right = partner[left]
    same = comparison.same_keys(expected[left], found[right])
    left, right = left[same], right[same]
    if len(unclear):
        more_left, more_right = _by_key(expected, found, ours, theirs, unclear, comparison)
        left, right = np.append(left, more_left), np.append(right, more_right)
    return left, right, _rest(len(ours), left), _rest(len(theirs), right)


def _rest(count: int, taken: Places) -> Places:
    free = np.ones(count, bool)
    free[taken] = False
    return np.flatnonzero(free)


def _by_key(
    expected: Entries,
    found: Entries,
    ours: NDArray[np.uint64],
    theirs: NDArray[np.uint64],
    unclear: NDArray[np.uint64],
    comparison: Comparison,
) -> tuple[Places, Places]:
    waiting: dict[tuple[int, bytes], list[int]] = {}
    for place in np.flatnonzero(np.isin(ours, unclear)).tolist():
        waiting.setdefault((int(expected[place]["db"]), comparison.expected_key(expected[place])), []).append(place)
    left, right = [], []
    for place in np.flatnonzero(np.isin(theirs, unclear)).tolist():
        partners = waiting.get((int(found[place]["db"]), comparison.found_key(found[place])))
        if partners:
            left.append(partners.pop(0))
            right.append(place)
    return np.array(left, np.intp), np.array(right, np.intp)
