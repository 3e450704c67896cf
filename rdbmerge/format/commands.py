"""Rows of columns into RESTORE commands, batch by batch; the core does most, the large and the odd are done here.

What to send is told by the caller, row by row, and what each answer is about is told back. Knows nothing of servers,
nor of what their answers mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anycrc
import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.core import RestoreWriter
from rdbmerge.format.decode import item_failure
from rdbmerge.format.dump import FOOTER_BYTES, STAMP, VALKEY_STAMP, stamp_of
from rdbmerge.format.emit import Emission, Piece, shift

BUFFER_BYTES = 256 << 10  # small enough to stay in the cache between filling and sending
MOST_ANSWERS = 16_384  # of one batch
_LARGE_BYTES = 32 << 10  # from here on a value is sent from where it lies instead of being copied
_GROWTH = codes.LZF_MOST_GROWTH  # of a value that is stored compressed and sent plainly, at most
_STRING = 0  # the type of strings, whichever the line
_FRAME_BYTES = FOOTER_BYTES + 1  # of a payload, besides the value
_CRC64 = anycrc.Model("CRC64-REDIS")

Rows = NDArray[np.uint8]
Sent = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreForm:
    """How a server wants RESTORE."""

    absolute: bool  # ABSTTL is known (5.0 and later)
    replace: bool = False
    deletes: bool = False  # where REPLACE is not known (2.6, 2.8): DEL before
    hints: bool = False  # IDLETIME and FREQ are known (5.0 and later)
    stamp: int = STAMP

    @property
    def options(self) -> int:
        """As the core wants them."""
        return (
            (codes.ABSOLUTE if self.absolute else 0)
            | (codes.REPLACE if self.replace and not self.deletes else 0)
            | (codes.DELETING if self.replace and self.deletes else 0)
            | (codes.HINTED if self.hints else 0)
        )


@dataclass(frozen=True, slots=True)
class Commands:
    """Some commands: the pieces of their bytes, each to be used before the next is asked for, and for every answer to
    come the row it is about (-1: none)."""

    pieces: Iterator[Piece]
    rows: Sent


class Restoration:
    """One batch of columns on its way into a server: `emission` tells how values are written, `form` how commands."""

    def __init__(self, emission: Emission, form: RestoreForm) -> None:
        self.emission = emission
        self.form = form
        columns, change = emission.columns, emission.change
        self._sizes = columns.end[: columns.rows] - columns.value_start[: columns.rows]
        treatments = emission.value_treatments()
        odd = codes.HAS_META & ~change.dropped_flags
        treatments[(columns.flags[: columns.rows] & odd) != 0] = codes.ANEW
        treatments[(self._sizes >= _LARGE_BYTES)] = codes.ANEW
        self._treatments = treatments
        self._writer = RestoreWriter(
            emission.judge.survey, emission.recoder, emission.judge.shapes, change.key_prefix, change.ttl_offset_ms,
            change.line == "valkey", form.stamp, VALKEY_STAMP,
        )  # fmt: skip

    def larger_than(self, most_bytes: int, most_string_bytes: int) -> NDArray[np.intp]:
        """The rows whose payload, in the form in which it would be sent, is larger than a value may be that is made
        anew of its items, or a string, which cannot. Raises FormatError."""
        types, recoded = self.emission.columns.type[: len(self._sizes)], self.emission.recoded
        most = np.where(types == _STRING, most_string_bytes, most_bytes)
        suspects = np.flatnonzero(np.where(recoded, self._sizes * _GROWTH, self._sizes) + _FRAME_BYTES > most)
        chosen = [row for row in suspects.tolist() if not recoded[row] or self._payload_bytes(row) > most[row]]
        return np.array(chosen, np.intp)

    def batches(
        self, wanted: Rows, now_ms: Callable[[], int], buffer: bytearray, *, asking: bool = False
    ) -> Iterator[Commands]:
        """The commands of the rows whose `wanted` is 1.

        Rows that are dead by `now_ms` (Unix ms, the server's clock) are not sent; their `wanted` becomes `LAPSED`.
        `asking`: for a server that the rows' slots are on their way to. The bytes are in `buffer`: use a batch before
        asking for the next. Raises FormatError for damaged keys or values.
        """
        columns, view, row = self.emission.columns, self.emission.view, 0
        options = self.form.options | (codes.ASKING if asking else 0)
        sent, out = np.empty(MOST_ANSWERS, np.int32), memoryview(buffer)
        while row < columns.rows:
            at_ms = now_ms()
            row, used, count = self._writer.write(
                view, columns.type, columns.flags, columns.expire_at_ms, columns.hint, columns.key_start,
                columns.key_len, columns.value_start, columns.end, self._treatments, wanted, row, columns.rows,
                at_ms, options, sent, out,
            )  # fmt: skip
            if self.emission.recoder.has_failed():
                raise item_failure(self.emission.recoder.get_reader())
            if count:
                yield Commands(iter((out[:used],)), sent[:count].copy())
            # The row at which the core stopped had no room behind the others (then it goes on with an empty buffer),
            # or it must be done here.
            if row < columns.rows and (not count or self._treatments[row] == codes.ANEW):
                yield self._one(row, at_ms, options)
                row += 1

    def _one(self, row: int, now_ms: int, options: int) -> Commands:
        """The command of one row that is not dead; its value goes out piece by piece."""
        columns = self.emission.columns
        key = self.emission.change.key_prefix + columns.key(self.emission.view, row)
        before = [_command(b"ASKING")] if options & codes.ASKING else []
        if options & codes.DELETING:
            before = [*before, _command(b"DEL", key), *before]
        rows = np.array([-1] * len(before) + [row], np.int32)
        return Commands(self._pieces(row, b"".join(before), key, now_ms, options), rows)

    def _pieces(self, row: int, before: bytes, key: bytes, now_ms: int, options: int) -> Iterator[Piece]:
        ttl_ms = self.ttl_ms(row, now_ms)
        extra = [b"REPLACE"] if options & codes.REPLACE else []
        extra += [b"ABSTTL"] if ttl_ms and options & codes.ABSOLUTE else []
        extra += self._hint(row) if options & codes.HINTED else []
        head = self._payload_head(row)
        size = len(head) + self._value_bytes(row) + FOOTER_BYTES
        yield b"%s*%d\r\n%s$%d\r\n%s" % (
            before, 4 + len(extra), b"".join(map(_bulk, (b"RESTORE", key, b"%d" % ttl_ms))), size, head,
        )  # fmt: skip
        crc = _CRC64.calc(head)
        for piece in self._value(row):
            crc = _CRC64.calc(piece, crc)
            yield piece
        stamp = self._stamp(row).to_bytes(2, "little")
        yield stamp + int(_CRC64.calc(stamp, crc)).to_bytes(8, "little") + b"\r\n" + b"".join(map(_bulk, extra))

    def ttl_ms(self, row: int, now_ms: int) -> int:
        """What RESTORE is told: 0 for never, else when (ABSTTL) or how long from `now_ms` on, at least 1."""
        expire_at_ms = int(self.emission.columns.expire_at_ms[row])
        if expire_at_ms == codes.NO_EXPIRY:
            return 0
        at_ms = shift(expire_at_ms, self.emission.change.ttl_offset_ms)
        return at_ms if self.form.absolute else max(1, at_ms - now_ms)

    def _hint(self, row: int) -> list[bytes]:
        columns = self.emission.columns
        number = b"%d" % columns.hint[row]
        if columns.flags[row] & codes.HAS_IDLE:
            return [b"IDLETIME", number]
        return [b"FREQ", number] if columns.flags[row] & codes.HAS_FREQ else []

    def _payload_head(self, row: int) -> bytes:
        emission = self.emission
        kept = int(emission.columns.flags[row]) & codes.HAS_META & ~emission.change.dropped_flags
        return (bytes(emission.metadata(row)) if kept else b"") + bytes((emission.type_anew(row),))

    def _stamp(self, row: int) -> int:
        stamp = stamp_of(self.emission.type_anew(row), self.emission.change.line)
        return self.form.stamp if stamp == STAMP else stamp

    def _value(self, row: int) -> Iterator[Piece]:
        return self.emission.value_anew(row)

    def _value_bytes(self, row: int) -> int:
        return sum(len(piece) for piece in self._value(row))

    def _payload_bytes(self, row: int) -> int:
        return self._value_bytes(row) + _FRAME_BYTES


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(word), word)


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n%s" % (len(words), b"".join(map(_bulk, words)))
