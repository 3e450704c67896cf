"""Rows of columns into the bytes of an RDB: measures them first, then writes them in pieces.

The core does the rows that keep their form and those whose items are written in another; the few that must be written
anew are done here. What to leave out is told by the caller. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes, fields, streams
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import (
    Cursor,
    ItemReader,
    Recoder,
    StreamReader,
    Templates,
    emit_rows,
    find_long_lengths,
    survey_rows,
)
from rdbmerge.format.decode import item_failure
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.forms import KEEP, NONE, form_table, plain_table, written_row
from rdbmerge.format.strings import length_bytes, read_length, string_bytes
from rdbmerge.format.values import Logical, item_tables, shape_table

BUFFER_BYTES = 512 << 10  # small enough to stay in the cache between filling and writing
_EXPIRY_MS_BYTES = 9
_GROWTH_OF_SECONDS_BYTES = 4
_NEVER_DEAD_MS = -(1 << 62)
_HINTS = codes.HAS_IDLE | codes.HAS_FREQ

Rows = NDArray[np.uint8]
Piece = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """What reads the file that is written, as far as its bytes depend on it: a line, and what it understands."""

    line: str
    types: frozenset[int]
    hints: bool = True  # idle times and use counters of keys
    key_metadata: bool = True
    long_lengths: bool = True


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happens to every entry of a source on its way into the merged file.

    `loader` None: whoever reads what the source's server reads. `templates` are the hash templates of the source.
    """

    dialect: Dialect
    ttl_offset_ms: int = 0
    key_prefix: bytes = b""
    fields_dead_before_ms: int | None = None  # hash fields that expired before this are left out; None: keep all
    loader: Loader | None = None
    templates: Templates | None = None

    @cached_property
    def line(self) -> str:
        """Of the file that is written."""
        return self.dialect.line if self.loader is None else self.loader.line

    @cached_property
    def forms(self) -> bytes:
        """256 cells, by type: the one it is written as, KEEP or NONE."""
        return form_table(self.dialect, self.line, None if self.loader is None else self.loader.types)

    @cached_property
    def plain_forms(self) -> bytes:
        """The same with nothing kept that could be written plainly."""
        known = self.dialect.types if self.loader is None else self.loader.types
        return plain_table(self.dialect, self.line, known)

    @property
    def dropped_flags(self) -> int:
        """Flags of rows whose attributes are not written."""
        if self.loader is None:
            return 0
        return (0 if self.loader.hints else _HINTS) | (0 if self.loader.key_metadata else codes.HAS_META)

    @property
    def short_lengths(self) -> bool:
        """Whether lengths of 64 bits must not be written."""
        return self.loader is not None and not self.loader.long_lengths

    def looks_into(self, number: int) -> bool:
        """Whether values of this type may come out in another size, or not at all."""
        return self.forms[number] != KEEP or (
            self.dialect.types[number].holds_expiry
            and (bool(self.ttl_offset_ms) or self.fields_dead_before_ms is not None)
        )

    def judge(self, view: memoryview) -> fields.FieldJudge:
        """What tells of each row's hash fields what this change means for them."""
        return fields.FieldJudge(
            view, self.dialect, dead_before_ms=self.fields_dead_before_ms, ttl_offset_ms=self.ttl_offset_ms
        )

    def recoder(self, view: memoryview, forms: bytes | None = None) -> Any:
        """What writes values in other forms."""
        dead_before_ms = self.fields_dead_before_ms
        return Recoder(
            ItemReader(view, item_tables(self.dialect.types), self.templates),
            self.forms if forms is None else forms,
            self.ttl_offset_ms,
            _NEVER_DEAD_MS if dead_before_ms is None else dead_before_ms,
            codes.LATEST_EXPIRY_MS if self.line == "valkey" else codes.LATEST_FIELD_EXPIRY_MS,
        )


class Emission:
    """One batch on its way: how each row is written, and the core's instruments for it."""

    def __init__(self, view: memoryview, columns: Columns, change: Change) -> None:
        self.view = view
        self.columns = columns
        self.change = change
        self.judge = change.judge(view)
        self.recoder = change.recoder(view)
        self.long_rows = _long_rows(view, columns, change)
        self.treatments = self._treatments()

    def value_treatments(self) -> Rows:
        """How the value of each row is written, whatever becomes of its key and attributes."""
        columns, change = self.columns, self.change
        types = columns.type[: columns.rows]
        verdicts = self.judge.verdicts(columns)
        treatments = np.where(verdicts > codes.IN_PLACE, codes.ANEW, verdicts == codes.IN_PLACE).astype(np.uint8)
        treatments[(_treatment_table(change) != codes.COPIED)[types]] = 0
        treatments = np.maximum(treatments, _treatment_table(change)[types])
        treatments[self.long_rows] = codes.ANEW
        return treatments

    def _treatments(self) -> Rows:
        change, treatments = self.change, self.value_treatments()
        slow = codes.IRREGULAR | (change.dropped_flags & codes.HAS_META)
        slow |= codes.KEY_ENCODED if change.key_prefix else 0
        treatments[(self.columns.flags[: self.columns.rows] & slow) != 0] = codes.ANEW
        return treatments

    @property
    def recoded(self) -> NDArray[np.bool_]:
        """The rows whose value is written in another form."""
        changed = np.frombuffer(self.change.forms, np.uint8) != KEEP
        rows: NDArray[np.bool_] = changed[self.columns.type[: self.columns.rows]] | self.long_rows
        return rows

    def measure(self, left_out: Rows) -> int:
        """The bytes that `pieces` will make of the rows that are not left out.

        Raises FormatError for damaged values.
        """
        columns, change, rows = self.columns, self.change, self.columns.rows
        kept = left_out[:rows] == 0
        plain = kept & (self.treatments != codes.ANEW)
        sizes = columns.end[:rows] - columns.value_start[:rows]
        recoded = kept & (self.treatments == codes.RECODED)
        if recoded.any():
            survey(self.recoder, columns, recoded, sizes, np.empty(rows, np.int64))
        heads = columns.value_start[:rows] - columns.entry_start[:rows]
        if change.dropped_flags & _HINTS:
            heads = heads - self._hint_bytes()
        total = int((heads + sizes)[plain].sum())
        seconds = np.count_nonzero(columns.flags[:rows][plain] & codes.EXPIRY_SECONDS)
        total += _GROWTH_OF_SECONDS_BYTES * int(seconds)
        if change.key_prefix:
            old = (columns.value_start[:rows] - columns.key_start[:rows])[plain]
            lengths = columns.key_len[:rows][plain].astype(np.int64) + len(change.key_prefix)
            total += int((lengths + np.where(lengths < 0x40, 1, np.where(lengths < 0x4000, 2, 5)) - old).sum())
        for row in np.flatnonzero(kept & (self.treatments == codes.ANEW)):
            total += sum(len(piece) for piece in self.entry_anew(int(row)))
        return total

    def _hint_bytes(self) -> NDArray[np.int64]:
        """What idle times and use counters take; they stand between expiry and type."""
        columns, rows = self.columns, self.columns.rows
        flags = columns.flags[:rows]
        expiry = np.where(columns.expire_at_ms[:rows] == codes.NO_EXPIRY, 0, _EXPIRY_MS_BYTES)
        expiry -= np.where(flags & codes.EXPIRY_SECONDS, _GROWTH_OF_SECONDS_BYTES, 0)
        between = columns.key_start[:rows] - 1 - columns.entry_start[:rows] - expiry
        hint_bytes: NDArray[np.int64] = np.where(flags & _HINTS, between, 0)
        return hint_bytes

    def pieces(self, left_out: Rows, buffer: bytearray) -> Iterator[Piece]:
        """The bytes of the rows that are not left out, in pieces.

        A piece is of `buffer` (use one before asking for the next), or of the file itself where an entry is larger.
        """
        columns, change, out, row = self.columns, self.change, memoryview(buffer), 0
        while row < columns.rows:
            row, used = emit_rows(
                self.view, columns.type, columns.flags, columns.expire_at_ms, columns.entry_start, columns.key_start,
                columns.key_len, columns.value_start, columns.end, left_out, self.treatments, row, columns.rows,
                change.ttl_offset_ms, change.key_prefix, bool(change.dropped_flags & _HINTS), self.judge.survey,
                self.judge.shapes, self.recoder, out,
            )  # fmt: skip
            if self.recoder.has_failed():
                raise item_failure(self.recoder.get_reader())
            if used:
                yield out[:used]
            # The row at which the core stopped had no room behind the others (then it goes on with an empty buffer),
            # or it must be done here.
            if row < columns.rows and (not used or self.treatments[row] == codes.ANEW):
                yield from self.entry_anew(row)
                row += 1

    def entry_anew(self, row: int) -> Iterator[Piece]:
        """An entry: attributes, type and key written anew, then its value."""
        yield self._head_anew(row, self.type_anew(row))
        yield from self.value_anew(row)

    def type_anew(self, row: int) -> int:
        """The type that the value of a row is written as."""
        change, number = self.change, int(self.columns.type[row])
        form = self._forms(row)[number]
        if form == NONE:
            raise AssertionError("an entry that the target knows no form of is left out by the plan")
        return written_row(number, form, change.dialect, change.line)[0]

    def value_anew(self, row: int) -> Iterator[Piece]:
        """The value of a row alone, the file's own bytes where it can be; use a piece before asking for the next."""
        columns, change = self.columns, self.change
        number = int(columns.type[row])
        start, end = int(columns.value_start[row]), int(columns.end[row])
        form = self._forms(row)[number]
        if form == KEEP:
            yield self._same_form(number, start, end)
        elif change.dialect.types[number].logical == Logical.STREAM:
            yield from self._older_stream(number, form, start, end)
        else:
            yield from self._recoded(row, number, start, end)

    def _forms(self, row: int) -> bytes:
        return self.change.plain_forms if self.long_rows[row] else self.change.forms

    def _head_anew(self, row: int, number: int) -> bytearray:
        columns, change, view = self.columns, self.change, self.view
        flags = int(columns.flags[row]) & ~change.dropped_flags
        expire_at_ms = int(columns.expire_at_ms[row])
        key_start, value_start = int(columns.key_start[row]), int(columns.value_start[row])
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
            head += self.metadata(row)
        head.append(number)
        if change.key_prefix or self.long_rows[row]:
            head += string_bytes(change.key_prefix + columns.key(view, row))
        else:
            head += view[key_start:value_start]
        return head

    def metadata(self, row: int) -> Piece:
        """The record of key metadata that the row has."""
        columns = self.columns
        return self.view[_meta_start(self.view, columns, row) : int(columns.key_start[row]) - 1]

    def _same_form(self, number: int, start: int, end: int) -> Piece:
        change = self.change
        if not change.looks_into(number):
            return self.view[start:end]
        rewritten = fields.rewrite(
            self.view,
            change.dialect.types[number].shape,
            start,
            end,
            ttl_offset_ms=change.ttl_offset_ms,
            dead_before_ms=change.fields_dead_before_ms,
        )
        if rewritten.payload is None:
            raise AssertionError("an entry without live fields is left out by the plan")
        return rewritten.payload

    def _older_stream(self, number: int, form: int, start: int, end: int) -> Iterator[Piece]:
        types = self.change.dialect.types
        # Nodes are copied, but what is made anew must be sound, so their entries are walked.
        reader = StreamReader(ItemReader(self.view, item_tables(types)))
        nodes_end = reader.walk(start, end)
        if nodes_end < 0:
            raise item_failure(reader)
        tail = streams.read_tail(self.view, types[number].shape, nodes_end, end)
        yield self.view[start:nodes_end]
        yield streams.write_tail(self.view, tail, streams.LEVELS[types[form].shape])

    def _recoded(self, row: int, number: int, start: int, end: int) -> Iterator[Piece]:
        recoder = self.change.recoder(self.view, self._forms(row))
        ready, buffer = recoder.start(number, start, end), memoryview(bytearray(BUFFER_BYTES))
        while ready and (size := recoder.write(buffer)):
            if size < 0:
                break
            yield buffer[:size]
        if recoder.has_failed():
            raise item_failure(recoder.get_reader())


def survey(
    recoder: Any, columns: Columns, wanted: NDArray[np.bool_], sizes: NDArray[np.int64], timed: NDArray[np.int64]
) -> None:
    """Fill in, for wanted rows, the bytes of the value when re-encoded and its fields with expiries.

    Raises FormatError for damaged values.
    """
    if not survey_rows(
        recoder, columns.type, columns.value_start, columns.end, wanted.view(np.uint8), columns.rows, sizes, timed
    ):
        raise item_failure(recoder.get_reader())


def _treatment_table(change: Change) -> Rows:
    """256 cells, by type: COPIED, RECODED, or ANEW for streams that are written in an older form."""
    table = np.full(256, codes.COPIED, np.uint8)
    for number, row in change.dialect.types.items():
        if change.forms[number] not in (KEEP, NONE):
            table[number] = codes.ANEW if row.logical == Logical.STREAM else codes.RECODED
    return table


def _long_rows(view: memoryview, columns: Columns, change: Change) -> NDArray[np.bool_]:
    """The rows that hold lengths which the target cannot read."""
    found = np.zeros(columns.rows, np.uint8)
    if change.short_lengths:
        cursor: Any = Cursor(view, len(view), change.templates)
        shapes = shape_table(change.dialect.types)
        find_long_lengths(cursor, shapes, columns.type, columns.key_start, columns.rows, found)
    long_rows: NDArray[np.bool_] = found != 0
    return long_rows


def measure(view: memoryview, columns: Columns, left_out: Rows, change: Change) -> int:
    """The bytes that `emit` will make of the rows that are not left out."""
    return Emission(view, columns, change).measure(left_out)


def emit(view: memoryview, columns: Columns, left_out: Rows, change: Change, buffer: bytearray) -> Iterator[Piece]:
    """The bytes of the rows that are not left out, in pieces; see `Emission.pieces`."""
    return Emission(view, columns, change).pieces(left_out, buffer)


def shift(expire_at_ms: int, ttl_offset_ms: int) -> int:
    """Move an expiry (Unix ms) by an offset; at least 1, so that a dead key stays dead and does not live for ever."""
    moved = min(expire_at_ms, codes.LATEST_EXPIRY_MS) + ttl_offset_ms
    return max(codes.FIRST_EXPIRY_MS, min(moved, codes.LATEST_EXPIRY_MS))


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
