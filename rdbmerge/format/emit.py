"""Rows of columns into the bytes of an RDB: measures them first, then writes them in pieces.

The core does the rows that keep their form; the few that must be written anew are done here. What to leave out is
told by the caller. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes, fields
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import emit_rows
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.strings import length_bytes, read_length, string_bytes

BUFFER_BYTES = 512 << 10  # small enough to stay in the cache between filling and writing
_EXPIRY_MS_BYTES = 9
_GROWTH_OF_SECONDS_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to every entry of a source on its way into the merged file."""

    dialect: Dialect
    ttl_offset_ms: int = 0
    key_prefix: bytes = b""
    fields_dead_before_ms: int | None = None  # hash fields that expired before this are left out; None: keep all

    def looks_into(self, number: int) -> bool:
        """Whether values of this type may come out in another size, or not at all."""
        return self.dialect.types[number].holds_expiry and (
            bool(self.ttl_offset_ms) or self.fields_dead_before_ms is not None
        )

    def judge(self, view: memoryview) -> fields.FieldJudge:
        """What tells of each row's hash fields what this change means for them."""
        return fields.FieldJudge(
            view, self.dialect, dead_before_ms=self.fields_dead_before_ms, ttl_offset_ms=self.ttl_offset_ms
        )


def _rows_anew(columns: Columns, verdicts: NDArray[np.uint8], change: Change) -> NDArray[np.bool_]:
    """The rows that the core cannot do."""
    slow_flags = codes.IRREGULAR | (codes.KEY_ENCODED if change.key_prefix else 0)
    anew: NDArray[np.bool_] = (verdicts > codes.IN_PLACE) | ((columns.flags[: columns.rows] & slow_flags) != 0)
    return anew


def measure(view: memoryview, columns: Columns, left_out: NDArray[np.uint8], change: Change) -> int:
    """The bytes that `emit` will make of the rows that are not left out."""
    kept = left_out[: columns.rows] == 0
    anew = _rows_anew(columns, change.judge(view).verdicts(columns), change) & kept
    plain = kept & ~anew
    sizes = (columns.end[: columns.rows] - columns.entry_start[: columns.rows])[plain]
    seconds = np.count_nonzero(columns.flags[: columns.rows][plain] & codes.EXPIRY_SECONDS)
    total = int(sizes.sum()) + _GROWTH_OF_SECONDS_BYTES * int(seconds)
    if change.key_prefix:
        old = (columns.value_start[: columns.rows] - columns.key_start[: columns.rows])[plain]
        lengths = columns.key_len[: columns.rows][plain].astype(np.int64) + len(change.key_prefix)
        heads = np.where(lengths < 0x40, 1, np.where(lengths < 0x4000, 2, 5))
        total += int((lengths + heads - old).sum())
    for row in np.flatnonzero(anew):
        head, body = _entry_anew(view, columns, int(row), change)
        total += len(head) + len(body)
    return total


def emit(
    view: memoryview, columns: Columns, left_out: NDArray[np.uint8], change: Change, buffer: bytearray
) -> Iterator[memoryview]:
    """The bytes of the rows that are not left out, in pieces: of `buffer` (use one before asking for the next), or of
    `view` itself where an entry is larger than the buffer."""
    out = memoryview(buffer)
    judge = change.judge(view)
    verdicts = judge.verdicts(columns)
    anew = _rows_anew(columns, verdicts, change)
    row = 0
    while row < columns.rows:
        row, used = emit_rows(
            view,
            columns.type,
            columns.flags,
            columns.expire_at_ms,
            columns.entry_start,
            columns.key_start,
            columns.key_len,
            columns.value_start,
            columns.end,
            left_out,
            row,
            columns.rows,
            change.ttl_offset_ms,
            change.key_prefix,
            judge.survey,
            judge.shapes,
            verdicts,
            out,
        )
        if used:
            yield out[:used]
        # The row at which the core stopped had no room behind the others (then it goes on with an empty buffer),
        # or it must be done here.
        if row < columns.rows and (not used or anew[row]):
            yield from _entry_anew(view, columns, row, change)
            row += 1


def shift(expire_at_ms: int, ttl_offset_ms: int) -> int:
    """Move an expiry (Unix ms) by an offset; at least 1, so that a dead key stays dead and does not live for ever."""
    moved = min(expire_at_ms, codes.LATEST_EXPIRY_MS) + ttl_offset_ms
    return max(codes.FIRST_EXPIRY_MS, min(moved, codes.LATEST_EXPIRY_MS))


def _entry_anew(view: memoryview, columns: Columns, row: int, change: Change) -> tuple[memoryview, memoryview]:
    """An entry in two pieces: attributes, type and key written anew; and the value, the file's own unless changed."""
    number, flags = int(columns.type[row]), int(columns.flags[row])
    expire_at_ms = int(columns.expire_at_ms[row])
    key_start, value_start, end = int(columns.key_start[row]), int(columns.value_start[row]), int(columns.end[row])
    head = bytearray()
    if expire_at_ms != codes.NO_EXPIRY:
        head.append(codes.OP_EXPIRETIME_MS)
        head += shift(expire_at_ms, change.ttl_offset_ms).to_bytes(8, "little")
    if flags & codes.HAS_IDLE:
        head.append(codes.OP_IDLE)
        head += length_bytes(int(columns.hint[row]))
    if flags & codes.HAS_FREQ:
        head += bytes((codes.OP_FREQ, int(columns.hint[row])))
    if flags & codes.HAS_META:
        head += view[_meta_start(view, columns, row) : key_start - 1]
    head.append(number)
    if change.key_prefix:
        head += string_bytes(change.key_prefix + columns.key(view, row))
    else:
        head += view[key_start:value_start]
    value = view[value_start:end]
    if change.looks_into(number):
        shape = change.dialect.types[number].shape
        rewritten = fields.rewrite(
            view,
            shape,
            value_start,
            end,
            ttl_offset_ms=change.ttl_offset_ms,
            dead_before_ms=change.fields_dead_before_ms,
        )
        if rewritten.payload is None:
            raise AssertionError("an entry without live fields is left out by the plan")
        value = memoryview(rewritten.payload)
    return memoryview(head), value


def _meta_start(view: memoryview, columns: Columns, row: int) -> int:
    """Where the key metadata starts: it is the last attribute, so the others are passed over."""
    pos = int(columns.entry_start[row])
    while True:
        opcode = view[pos]
        if opcode == codes.OP_KEY_META:
            return pos
        if opcode in (codes.OP_EXPIRETIME_MS, codes.OP_EXPIRETIME):
            pos += _EXPIRY_MS_BYTES if opcode == codes.OP_EXPIRETIME_MS else 5
        elif opcode == codes.OP_FREQ:
            pos += 2
        elif opcode == codes.OP_IDLE:
            pos = read_length(view, pos + 1)[1]
        else:
            raise AssertionError("key metadata stands behind the other attributes")
