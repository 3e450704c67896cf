"""Decodes the strings of an RDB: raw, integer and LZF forms into bytes (rdb-format.md 2), and writes them raw.

Finds ends with the core's cursor; makes its errors into ours. Knows nothing of keys or files.
"""

from __future__ import annotations

from rdbmerge.errors import FormatError, TruncatedError, UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.core import Cursor, unpack_lzf

_DAMAGED = "the file is damaged; pull or copy it again"
_CUT = "the file was cut short, or a length in it is damaged; pull or copy it again"


def cursor_error(cursor: Cursor, end: int) -> FormatError:
    """The cursor's error in words; `end` is where the bytes it may read stop."""
    code, pos, detail = int(cursor.error_code), int(cursor.error_pos), int(cursor.error_detail)
    if code == codes.TRUNCATED:
        return TruncatedError(
            f"{detail:,} {'byte' if detail == 1 else 'bytes'} expected, {end - pos:,} remain", offset=pos, remedy=_CUT
        )
    if code == codes.UNKNOWN_TYPE:
        return UnsupportedError(
            f"value type {detail} is not known",
            offset=pos,
            remedy="use a newer rdbmerge, or check the source's modules",
        )
    if code == codes.META_OUT_OF_PLACE:
        return UnsupportedError(
            "key metadata that does not stand directly before a value type",
            offset=pos,
            remedy="no server is known to write this; use a newer rdbmerge, or pull the source again",
        )
    findings = {
        codes.BAD_LENGTH: f"a length cannot start with byte 0x{detail:02x}",
        codes.BAD_STRING: f"a string cannot start with byte 0x{detail:02x}",
        codes.BAD_SCORE: f"a score of a sorted set cannot start with byte 0x{detail:02x}",
        codes.BAD_CONTAINER: f"a list node cannot have container {detail}",
        codes.BAD_MODULE_OPCODE: f"module data cannot hold opcode {detail}",
        codes.BAD_LZF: f"a compressed string claims to unpack to {detail:,} bytes, more than it can hold",
        codes.BAD_ARRAY_TAG: f"an array cannot hold tag {detail}",
        codes.BAD_STREAM_ID: f"a stream node's key must be 16 bytes, not {detail:,}",
    }
    return FormatError(findings[code], offset=pos, remedy=_DAMAGED)


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
