"""Counts what an RDB file holds and estimates the memory it takes once loaded: one pass over all entries.

Keys and strings are summed exactly as the model of `allocation` has them; of values that hold elements a fair sample of
each type and size is decoded (`footprint`), so that the time is bounded by the pass. Changes nothing but the index.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import key_slots, slot_of
from rdbmerge.format.decode import Values
from rdbmerge.format.scan import module_name
from rdbmerge.format.strings import read_length
from rdbmerge.format.values import Logical
from rdbmerge.snapshot.allocation import LAYOUTS, Layout, key_costs, string_costs, table_cost
from rdbmerge.snapshot.contents import PARTS, SLOTS, Contents, slot_shares_text
from rdbmerge.snapshot.footprint import footprint
from rdbmerge.snapshot.index import Chunk, IndexFacts, Progress
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.sampling import Samples
from rdbmerge.snapshot.segment import Segment

_LZF = 0xC3
_INTEGERS = 0xC0
_NUMBER_KEY_BYTES = 8  # of a key that is stored as an integer; its text has 1 to 11


def contents_of(path: Path, *, jobs: int = 1, progress: Progress | None = None) -> Contents:
    """What the file at `path` holds, over two passes at most (the index, if there is none yet, and this one).

    `progress` is told bytes read, twice the file in all. Raises UsageError and FormatError and its kinds.
    """
    with Segment(path) as segment:
        facts = read_index(segment, progress=progress).facts
        census = _count_all(segment, facts, max(1, jobs), progress)
        return _contents(segment, facts, census)


class _Census:
    """The sums of one thread's chunks."""

    def __init__(self, segment: Segment, number: int) -> None:
        self.segment = segment
        self.bytes = np.frombuffer(segment.view, np.uint8)
        self.strings: dict[Layout, int] = dict.fromkeys(LAYOUTS, 0)  # keys with their strings, and all other keys
        self.slots: dict[int, NDArray[np.float64]] = {}  # logical type -> bytes by slot; strings: of memory, else file
        self.samples = Samples(number)
        self.longest_key = 0
        self.longest_string = 0
        self.metadata = 0
        self.modules: set[str] = set()

    def take(self, chunks: Iterable[Chunk], progress: Progress | None) -> _Census:
        """Count these chunks."""
        columns = Columns()
        for chunk in chunks:
            for batch in self.segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=columns):
                self._add(batch)
            if progress:
                progress(chunk.stop - chunk.start)
        return self

    def _add(self, columns: Columns) -> None:
        rows = columns.rows
        if not rows:
            return
        types, flags = columns.type[:rows], columns.flags[:rows]
        logical = np.array(
            [int(self.segment.dialect.types[n].logical) if n in self.segment.dialect.types else 0 for n in range(256)],
            np.int64,
        )[types]
        keys = columns.key_len[:rows].astype(np.int64)
        keys[(keys == 0) & ((flags & codes.KEY_ENCODED) != 0)] = _NUMBER_KEY_BYTES
        expiring = columns.expire_at_ms[:rows] != codes.NO_EXPIRY
        self.longest_key = max(self.longest_key, int(keys.max()))
        self.metadata += int(np.count_nonzero(flags & codes.HAS_META))
        is_string = logical == Logical.STRING
        starts, ends = columns.value_start[:rows], columns.end[:rows]
        lengths, numbers = string_lengths(self.bytes, starts[is_string], ends[is_string])
        self.longest_string = max(self.longest_string, int(lengths.max(initial=0)))
        costs = np.zeros(rows, np.int64)
        for layout in LAYOUTS:
            costs[is_string] = string_costs(layout, keys[is_string], expiring[is_string], lengths, numbers)
            costs[~is_string] = key_costs(layout, keys[~is_string], expiring[~is_string])
            self.strings[layout] += int(costs.sum())
        self._add_slots(columns, logical, costs, ends - starts)
        others = np.flatnonzero(~is_string)
        if len(others):
            self.samples.add(types[others], starts[others], ends[others])
        for row in np.flatnonzero(logical == Logical.MODULE).tolist():
            self.modules.add(module_name(read_length(self.segment.view, int(starts[row]), int(ends[row]))[0]))

    def _add_slots(
        self, columns: Columns, logical: NDArray[np.int64], costs: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> None:
        rows = columns.rows
        slots = np.zeros(rows, np.uint16)
        key_slots(self.segment.view, columns.flags, columns.key_len, columns.value_start, rows, b"", slots)
        for row in np.flatnonzero(columns.flags[:rows] & codes.KEY_ENCODED).tolist():
            slots[row] = slot_of(columns.key(self.segment.view, row))
        self._book(int(Logical.STRING), slots, costs)
        for kind in np.unique(logical).tolist():
            if kind != Logical.STRING:
                chosen = logical == kind
                self._book(kind, slots[chosen], sizes[chosen])

    def _book(self, kind: int, slots: NDArray[np.uint16], weights: NDArray[np.int64]) -> None:
        booked = self.slots.setdefault(kind, np.zeros(SLOTS, np.float64))
        booked += np.bincount(slots, weights, SLOTS)

    def join(self, other: _Census) -> None:
        """Take in another thread's sums."""
        for layout in LAYOUTS:
            self.strings[layout] += other.strings[layout]
        for kind, weights in other.slots.items():
            self.slots.setdefault(kind, np.zeros(SLOTS, np.float64))
            self.slots[kind] += weights
        self.samples.join(other.samples)
        self.longest_key = max(self.longest_key, other.longest_key)
        self.longest_string = max(self.longest_string, other.longest_string)
        self.metadata += other.metadata
        self.modules |= other.modules


def _count_all(segment: Segment, facts: IndexFacts, jobs: int, progress: Progress | None) -> _Census:
    shares = [facts.chunks[start::jobs] for start in range(jobs)]
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="census") as pool:
        parts = list(pool.map(lambda n: _Census(segment, n).take(shares[n], progress), range(jobs)))
    census = parts[0]
    for part in parts[1:]:
        census.join(part)
    return census


def _contents(segment: Segment, facts: IndexFacts, census: _Census) -> Contents:
    values = Values(segment.view, segment.dialect, segment.templates, name=segment.name)
    memory: dict[Layout, int] = dict(census.strings)
    error, ratios = 0.0, {}
    estimates = census.samples.estimate(lambda number, start, end: footprint(values, number, start, end))
    for layout in LAYOUTS:
        memory[layout] += round(estimates.total[layout])
        memory[layout] += sum(table_cost(layout, db.keys) + table_cost(layout, db.expires) for db in facts.dbs)
        error = max(error, estimates.error[layout] / max(1, memory[layout]))
    heavier = max(LAYOUTS, key=lambda layout: memory[layout])
    ratios = estimates.ratios(heavier, segment.dialect.types)
    by_slot = sum(
        (weights * ratios.get(kind, 1.0) for kind, weights in census.slots.items()), start=np.zeros(SLOTS, np.float64)
    )
    types: dict[int, int] = {}
    for db in facts.dbs:
        for number, keys in db.types.items():
            types[number] = types.get(number, 0) + keys
    return Contents(
        magic=facts.magic,
        size_bytes=facts.size_bytes,
        crc64=f"{facts.crc64:016x}",
        keys={db.db: db.keys for db in facts.dbs if db.keys},
        expires=sum(db.expires for db in facts.dbs),
        types=dict(sorted(types.items())),
        libraries=len(facts.libraries),
        modules=sorted(census.modules | {data.module for data in facts.module_data}),
        key_metadata=census.metadata,
        longest_key_bytes=census.longest_key,
        longest_string_bytes=census.longest_string,
        largest_entry_bytes=max((chunk.largest_entry_bytes for chunk in facts.chunks), default=0),
        memory_bytes=memory,
        memory_error=round(error, 4),
        heaviest_slot_bytes=round(float(by_slot.max())),
        slot_shares=slot_shares_text(by_slot.reshape(PARTS, -1).sum(axis=1).tolist()),
    )


def string_lengths(
    view: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The decoded length of each string at `starts` to `ends` (sound ones), and which are stored as integers (0)."""
    first = view[starts]
    header = np.select([first < 0x40, first < 0x80, first == 0x80], [1, 2, 5], 9)
    lengths = ends - starts - header
    numbers = (first >= _INTEGERS) & (first < _LZF)
    lengths[numbers] = 0
    packed = np.flatnonzero(first == _LZF)
    if len(packed):
        at = starts[packed] + 1
        code = view[at]
        at = at + np.select([code < 0x40, code < 0x80, code == 0x80], [1, 2, 5], 9)
        lengths[packed] = _lengths_at(view, at)
    return lengths, numbers


def _lengths_at(view: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    code = view[at].astype(np.int64)
    # Behind a length there is at least the footer's or the string's own byte; what is not needed is cut off below.
    last = len(view) - 1
    following = [view[np.minimum(at + step, last)].astype(np.int64) for step in range(1, 9)]
    wide = np.zeros(len(at), np.int64)
    for byte in following[:4]:
        wide = wide << 8 | byte
    widest = np.zeros(len(at), np.int64)
    for byte in following:
        widest = widest << 8 | byte
    return np.select([code < 0x40, code < 0x80, code == 0x80], [code, (code & 0x3F) << 8 | following[0], wide], widest)
