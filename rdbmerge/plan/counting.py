"""What becomes of each entry of a chunk, in numbers: from the index where the rules leave it alone, else by reading it.

Pure apart from reading the segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdbmerge.format import codes, fields
from rdbmerge.format.columns import Columns
from rdbmerge.format.emit import Change, measure
from rdbmerge.plan.selection import CONFLICT, EXPIRED, FILTERED, KEPT, Reasons, Selection
from rdbmerge.snapshot.index import Chunk
from rdbmerge.snapshot.segment import Segment

_GROWTH_OF_SECONDS_BYTES = 4


@dataclass(frozen=True, slots=True)
class Task:
    """A chunk to be counted."""

    segment: Segment
    selection: Selection
    change: Change
    chunk: Chunk


@dataclass(slots=True)
class Counted:
    """What becomes of the rows of a chunk, and what of it a header version depends on."""

    written: int = 0
    written_expires: int = 0
    expired: int = 0
    filtered: int = 0
    conflict_dropped: int = 0
    empty: int = 0
    fields_expired: int = 0
    output_bytes: int = 0
    flags: int = 0
    types: tuple[int, ...] = ()
    largest_entry_bytes: int = 0


def count(task: Task) -> Counted:
    """Count a chunk, the cheaper way if it gives the same. Raises FormatError for a damaged key or hash field."""
    return count_from_index(task.chunk) if is_plain(task) else count_by_reading(task)


def is_plain(task: Task) -> bool:
    """Whether every row of the chunk is written, in a size that the index knows."""
    chunk, selection, change = task.chunk, task.selection, task.change
    dead_before_ms = selection.dead_before_ms
    return not (
        not selection.takes_db(chunk.db)
        or selection.filters_keys
        or selection.filters_types(chunk.types)
        or change.key_prefix
        or any(change.looks_into(number) for number in chunk.types)
        or chunk.flags & (codes.IRREGULAR | codes.EMPTY)
        or (dead_before_ms is not None and chunk.first_expiry_ms is not None and chunk.first_expiry_ms < dead_before_ms)
        or np.searchsorted(selection.losers, chunk.start) != np.searchsorted(selection.losers, chunk.stop)
    )


def count_from_index(chunk: Chunk) -> Counted:
    """The numbers of a plain chunk."""
    return Counted(
        written=chunk.rows,
        written_expires=chunk.expires,
        output_bytes=chunk.entry_bytes + _GROWTH_OF_SECONDS_BYTES * chunk.seconds,
        flags=chunk.flags,
        types=tuple(chunk.types),
        largest_entry_bytes=chunk.largest_entry_bytes,
    )


def count_by_reading(task: Task) -> Counted:
    """The numbers of any chunk."""
    chunk, segment = task.chunk, task.segment
    if not task.selection.takes_db(chunk.db):
        return Counted(filtered=chunk.rows)
    total = Counted()
    for batch in segment.walk_part(chunk.start, chunk.stop, chunk.db):
        with segment.naming_errors():
            reasons = task.selection.reasons(segment.view, batch)
            total.output_bytes += measure(segment.view, batch, reasons, task.change)
            total.fields_expired += _dead_fields(task, batch, reasons)
        _book(total, batch, reasons)
    return total


def _book(total: Counted, batch: Columns, reasons: Reasons) -> None:
    kept = reasons == KEPT
    total.written += int(np.count_nonzero(kept))
    total.written_expires += int(np.count_nonzero(kept & (batch.expire_at_ms[: batch.rows] != codes.NO_EXPIRY)))
    total.expired += int(np.count_nonzero(reasons == EXPIRED))
    total.filtered += int(np.count_nonzero(reasons == FILTERED))
    total.conflict_dropped += int(np.count_nonzero(reasons == CONFLICT))
    flags = batch.flags[: batch.rows]
    total.empty += int(np.count_nonzero((flags & codes.EMPTY) != 0))
    if kept.any():
        total.flags |= int(np.bitwise_or.reduce(flags[kept]))
        total.types = tuple(sorted({*total.types, *np.unique(batch.type[: batch.rows][kept]).tolist()}))
        sizes = (batch.end[: batch.rows] - batch.entry_start[: batch.rows])[kept]
        total.largest_entry_bytes = max(total.largest_entry_bytes, int(sizes.max()))


def _dead_fields(task: Task, batch: Columns, reasons: Reasons) -> int:
    """Dead fields of hashes that are written."""
    dead_before_ms = task.change.fields_dead_before_ms
    if dead_before_ms is None:
        return 0
    view, types = task.segment.view, task.change.dialect.types
    verdicts = task.change.judge(view).verdicts(batch)
    dead = 0
    for row in np.flatnonzero((verdicts > codes.IN_PLACE) & (reasons == KEPT)):
        shape = types[int(batch.type[row])].shape
        held = fields.read_fields(view, shape, int(batch.value_start[row]), int(batch.end[row]))
        dead += sum(item.expire_at_ms is not None and item.expire_at_ms < dead_before_ms for item in held)
    return dead
