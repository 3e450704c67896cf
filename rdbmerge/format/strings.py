"""Decodes the strings of an RDB: raw, integer and LZF forms into bytes (rdb-format.md 2), and writes them raw.

Finds ends with the core's cursor. Knows nothing of keys or files.
"""

from __future__ import annotations

from rdbmerge.errors import FormatError
from rdbmerge.format.core import Cursor, unpack_lzf
from rdbmerge.format.findings import cursor_error

_DAMAGED = "the file is damaged; pull or copy it again"


def read_string(view: memoryview, pos: int, end: int | None = None) -> tuple[bytes, int]:
    """The decoded string at `pos` and the position after it.

    Raises FormatError or TruncatedError with the offset of what was wrong.
    """
    limit = len(view) if end is None else end
    cursor = Cursor(view, limit)
    after = cursor.string(pos)
    if after < 0:
        raise cursor_error(cursor, limit)
    first = view[pos]
    if first < 0xC0:
        return bytes(view[after - cursor.value : after]), after
    if first < 0xC3:
        return str(int.from_bytes(view[pos + 1 : after], "little", signed=True)).encode(), after
    return _read_lzf(view, pos, after, cursor), after


def _read_lzf(view: memoryview, pos: int, after: int, cursor: Cursor) -> bytes:
    packed_at = cursor.length(pos + 1)
    packed_bytes = cursor.value
    start = cursor.length(packed_at)
    out = bytearray(cursor.value)
    if not unpack_lzf(view[start : start + packed_bytes], out):
        raise FormatError("a compressed string does not unpack", offset=pos, remedy=_DAMAGED)
    return bytes(out)


def read_length(view: memoryview, pos: int, end: int | None = None) -> tuple[int, int]:
    """The length at `pos` (0 .. 2^64 - 1) and the position after it. Raises FormatError or TruncatedError."""
    limit = len(view) if end is None else end
    cursor = Cursor(view, limit)
    after = cursor.length(pos)
    if after < 0:
        raise cursor_error(cursor, limit)
    return int(cursor.value), after


def length_bytes(number: int) -> bytes:
    """`number` (0 .. 2^64 - 1) in the shortest form of a length."""
    if number < 0x40:
        return bytes((number,))
    if number < 0x4000:
        return bytes((0x40 | number >> 8, number & 0xFF))
    if number <= 0xFFFFFFFF:
        return b"\x80" + number.to_bytes(4, "big")
    return b"\x81" + number.to_bytes(8, "big")


def string_bytes(text: bytes) -> bytes:
    """`text` as a raw string."""
    return length_bytes(len(text)) + text
