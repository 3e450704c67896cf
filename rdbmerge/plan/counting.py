"""What becomes of each entry of a chunk, in numbers: from the index where the rules leave it alone, else by reading it.

One count a shard, in one reading. Pure apart from reading the segment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes, fields
from rdbmerge.format.columns import Columns
from rdbmerge.format.emit import Change, Emission
from rdbmerge.format.forms import KEEP, NONE, written_row
from rdbmerge.format.streams import COUNTERS, LEVELS
from rdbmerge.format.values import REDIS_TYPES, Logical
from rdbmerge.plan.selection import CONFLICT, EXPIRED, FILTERED, KEPT, REJECTED, Reasons, Selection
from rdbmerge.plan.sharding import ELSEWHERE, Sharding, in_shard
from rdbmerge.snapshot.index import Chunk
from rdbmerge.snapshot.segment import Segment

_GROWTH_OF_SECONDS_BYTES = 4
_HINTS = codes.HAS_IDLE | codes.HAS_FREQ


@dataclass(frozen=True, slots=True)
class Task:
    """A chunk to be counted."""

    segment: Segment
    selection: Selection
    change: Change
    sharding: Sharding
    chunk: Chunk


@dataclass(slots=True)
class Counted:
    """What becomes of the rows of a chunk in one file, and what of it a header version depends on."""

    written: int = 0
    written_expires: int = 0
    expired: int = 0
    filtered: int = 0
    conflict_dropped: int = 0
    rejected: int = 0
    elsewhere: int = 0
    stripped: int = 0
    recoded: int = 0
    hints_dropped: int = 0
    counters_lost: int = 0
    empty: int = 0
    fields_expired: int = 0
    output_bytes: int = 0
    flags: int = 0
    types: set[tuple[str, int]] = field(default_factory=set)  # line and number, as they are written
    largest_entry_bytes: int = 0


def count(task: Task) -> list[Counted]:
    """Count a chunk, for each shard, the cheaper way if it gives the same.

    Raises FormatError for a damaged key, or a damaged value that is looked into.
    """
    return [count_from_index(task)] if is_plain(task) else count_by_reading(task)


def is_plain(task: Task) -> bool:
    """Whether every row of the chunk is written, in a size that the index knows."""
    chunk, selection, change = task.chunk, task.selection, task.change
    dead_before_ms = selection.dead_before_ms
    fitting = selection.fitting
    return not (
        task.sharding.slots is not None
        or not selection.takes_db(chunk.db)
        or selection.filters_keys
        or selection.filters_types(chunk.types)
        or change.key_prefix
        or change.short_lengths
        or any(change.looks_into(number) for number in chunk.types)
        or chunk.flags & (codes.IRREGULAR | codes.EMPTY | change.dropped_flags)
        or (dead_before_ms is not None and chunk.first_expiry_ms is not None and chunk.first_expiry_ms < dead_before_ms)
        or np.searchsorted(selection.losers, chunk.start) != np.searchsorted(selection.losers, chunk.stop)
        or (fitting is not None and not fitting.fits_all(chunk.types, chunk.flags, chunk.largest_entry_bytes))
    )


def count_from_index(task: Task) -> Counted:
    """The numbers of a plain chunk."""
    chunk = task.chunk
    return Counted(
        written=chunk.rows,
        written_expires=chunk.expires,
        output_bytes=chunk.entry_bytes + _GROWTH_OF_SECONDS_BYTES * chunk.seconds,
        flags=chunk.flags,
        types={(task.change.dialect.line, number) for number in chunk.types},
        largest_entry_bytes=chunk.largest_entry_bytes,
    )


def count_by_reading(task: Task) -> list[Counted]:
    """The numbers of any chunk, for each shard."""
    chunk, segment, sharding = task.chunk, task.segment, task.sharding
    if sharding.slots is None and not task.selection.takes_db(chunk.db):
        return [Counted(filtered=chunk.rows)]
    totals = [Counted() for _ in range(sharding.count)]
    for batch in segment.walk_part(chunk.start, chunk.stop, chunk.db):
        with segment.naming_errors():
            reasons = task.selection.reasons(segment.view, batch)
            stripped = task.selection.stripped(segment.view, batch, reasons)
            emission = Emission(segment.view, batch, task.change)
            dead = _dead_fields(task, batch, reasons)
            shards = sharding.shards_of(segment.view, batch, task.change.key_prefix)
            for shard, total in enumerate(totals):
                mine = in_shard(reasons, shards, shard)
                total.output_bytes += emission.measure(mine)
                total.fields_expired += int(dead[mine == KEPT].sum())
                _book(total, batch, mine, emission, stripped)
    return totals


def _book(total: Counted, batch: Columns, reasons: Reasons, emission: Emission, stripped: NDArray[np.bool_]) -> None:
    kept = reasons == KEPT
    flags, types = batch.flags[: batch.rows], batch.type[: batch.rows]
    total.written += int(np.count_nonzero(kept))
    total.written_expires += int(np.count_nonzero(kept & (batch.expire_at_ms[: batch.rows] != codes.NO_EXPIRY)))
    total.expired += int(np.count_nonzero(reasons == EXPIRED))
    total.filtered += int(np.count_nonzero(reasons == FILTERED))
    total.conflict_dropped += int(np.count_nonzero(reasons == CONFLICT))
    total.rejected += int(np.count_nonzero(reasons == REJECTED))
    total.elsewhere += int(np.count_nonzero(reasons == ELSEWHERE))
    total.stripped += int(np.count_nonzero(kept & stripped))
    total.recoded += int(np.count_nonzero(kept & emission.recoded))
    total.empty += int(np.count_nonzero(((flags & codes.EMPTY) != 0) & (reasons != ELSEWHERE)))
    if kept.any():
        change = emission.change
        total.flags |= int(np.bitwise_or.reduce(flags[kept])) & ~change.dropped_flags
        for number, rows in zip(
            *(column.tolist() for column in np.unique(types[kept], return_counts=True)), strict=True
        ):
            total.types.add(_written_type(change, number))
            total.counters_lost += rows * _loses_counters(change, number)
        total.hints_dropped += int(np.count_nonzero(flags[kept] & change.dropped_flags & _HINTS))
        sizes = (batch.end[: batch.rows] - batch.entry_start[: batch.rows])[kept]
        total.largest_entry_bytes = max(total.largest_entry_bytes, int(sizes.max()))


def _written_type(change: Change, number: int) -> tuple[str, int]:
    form = change.forms[number]
    line = change.dialect.line if form == KEEP else change.line
    return line, written_row(number, form, change.dialect, change.line)[0]


def _loses_counters(change: Change, number: int) -> bool:
    """Whether a stream of this type is written in the first form, which holds no counters."""
    row, form = change.dialect.types[number], change.forms[number]
    if row.logical != Logical.STREAM or form in (KEEP, NONE):
        return False
    return LEVELS[REDIS_TYPES[form].shape] < COUNTERS <= LEVELS[row.shape]


def _dead_fields(task: Task, batch: Columns, reasons: Reasons) -> NDArray[np.int64]:
    """Of each row that is kept: how many of its fields are dead."""
    dead = np.zeros(batch.rows, np.int64)
    dead_before_ms = task.change.fields_dead_before_ms
    if dead_before_ms is None:
        return dead
    view, types = task.segment.view, task.change.dialect.types
    verdicts = task.change.judge(view).verdicts(batch)
    for row in np.flatnonzero((verdicts > codes.IN_PLACE) & (reasons == KEPT)):
        shape = types[int(batch.type[row])].shape
        held = fields.read_fields(view, shape, int(batch.value_start[row]), int(batch.end[row]))
        dead[row] = sum(item.expire_at_ms is not None and item.expire_at_ms < dead_before_ms for item in held)
    return dead
