"""The form in which DUMP gives one value and RESTORE takes it: type, payload, stamp, CRC-64 (rdb-format.md 10).

Makes that form and takes it apart. Knows nothing of keys, expiries or servers; what a payload means is `decode`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

import anycrc

from rdbmerge.errors import ChecksumError, FormatError, TruncatedError, UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.core import Cursor
from rdbmerge.format.dialects import NEWEST_REDIS, VALKEY_VERSIONS, Dialect
from rdbmerge.format.strings import read_length, read_string, string_bytes

STAMP = 6  # every server takes it with every type it knows, except for the two below
VALKEY_STAMP = 80  # with Valkey's own types: nobody may take its 22 for that of Redis
FOOTER_BYTES = 10
_STAMP_BYTES, _CRC_BYTES, _CLASS_BYTES = 2, 8, 4
_FIRST_OF_VALKEY = 22
_CRC64 = anycrc.Model("CRC64-REDIS")
_AGAIN = "dump the key again; if it stays so, the server's memory or the way to it is damaged"

Bytes = bytes | bytearray | memoryview


def stamp_of(number: int, line: str) -> int:
    """The stamp for a value of type `number` of a line ("redis" or "valkey").

    One server wants another: Redis 3.2.0 takes 7 and nothing else.
    """
    return VALKEY_STAMP if line == "valkey" and number >= _FIRST_OF_VALKEY else STAMP


def footer(pieces: Iterable[Bytes], stamp: int) -> bytes:
    """What follows the pieces (from the type byte on): the stamp, and the CRC-64 over all of it."""
    crc = 0
    for piece in pieces:
        crc = _CRC64.calc(piece, crc)
    tail = stamp.to_bytes(_STAMP_BYTES, "little")
    return tail + int(_CRC64.calc(tail, crc)).to_bytes(_CRC_BYTES, "little")


def dump(number: int, value: Bytes, *, line: str = "redis", stamp: int | None = None) -> bytes:
    """The dump of a value: its type's number in `line` and its payload as in an RDB.

    Hash templates (types 30 and 32) have no such form: they are written as plain hashes before.
    """
    head = bytes((number,))
    return head + value + footer((head, value), stamp_of(number, line) if stamp is None else stamp)


def undump(data: bytes) -> tuple[int, bytes]:
    """The type number and the payload in a dump, for `dump_dialect(data)`; metadata of modules at the key is left away.

    Raises:
        TruncatedError: too short for a dump.
        ChecksumError: the CRC-64 is not that of the bytes before it.
        UnsupportedError: the stamp is of no version that is known.
        FormatError: metadata that does not end.
    """
    end = len(data) - FOOTER_BYTES
    if end < 1:
        raise TruncatedError(f"a dump of {len(data)} bytes has no room for type and checksum", offset=0, remedy=_AGAIN)
    stored = int.from_bytes(data[-_CRC_BYTES:], "little")
    found = _CRC64.calc(memoryview(data)[:-_CRC_BYTES])
    if stored != found:
        raise ChecksumError(
            f"a dump whose checksum is {stored:016x}, its bytes make {found:016x}",
            offset=len(data) - _CRC_BYTES,
            remedy=_AGAIN,
        )
    dialect = dump_dialect(data)
    start = 0
    if data[0] == codes.OP_KEY_META and dialect.line == "redis":
        start = after_metadata(memoryview(data), end)
    return data[start], data[start + 1 : end]


def dump_dialect(data: bytes) -> Dialect:
    """The dialect by whose table the type number of a dump is meant: its stamp tells. Raises UnsupportedError."""
    return stamp_dialect(int.from_bytes(data[-FOOTER_BYTES:-_CRC_BYTES], "little"))


def stamp_dialect(stamp: int) -> Dialect:
    """The dialect that a stamp names. Raises UnsupportedError."""
    if stamp in VALKEY_VERSIONS:
        return Dialect("valkey", stamp)
    if 1 <= stamp <= NEWEST_REDIS:
        return Dialect("redis", stamp)
    raise UnsupportedError(
        f"a dump of RDB version {stamp} is not known (known: Redis 1 to {NEWEST_REDIS}, Valkey {VALKEY_VERSIONS[0]})",
        offset=0,
        remedy="use a newer rdbmerge",
    )


def after_metadata(view: memoryview, end: int) -> int:
    """Where the type byte stands in a dump that begins with key metadata (rdb-format.md 4); `end`: of the value.

    Raises FormatError for metadata that does not end.
    """
    count, pos = read_length(view, 1, end)
    for _ in range(count):
        cursor = Cursor(view, end)
        pos = cursor.module(pos + _CLASS_BYTES) if end - pos > _CLASS_BYTES else -1
        if pos < 0:
            raise FormatError("key metadata that does not end in its dump", offset=0, remedy=_AGAIN)
    if pos >= end:
        raise FormatError("a dump that holds key metadata and no value", offset=pos, remedy=_AGAIN)
    return pos


def dump_libraries(codes_of_libraries: Iterable[bytes]) -> bytes:
    """Function libraries in the form that FUNCTION RESTORE takes (Redis 7.0 and later)."""
    body = b"".join(bytes((codes.OP_FUNCTION2,)) + string_bytes(code) for code in codes_of_libraries)
    return body + footer((body,), STAMP)


def undump_libraries(data: bytes) -> list[bytes]:
    """The codes of the function libraries in what FUNCTION DUMP gave. Raises FormatError and its kinds."""
    if len(data) == FOOTER_BYTES:
        return []
    undump(data)  # its checksum
    view, pos, end, found = memoryview(data), 0, len(data) - FOOTER_BYTES, []
    while pos < end:
        if view[pos] != codes.OP_FUNCTION2:
            raise FormatError(f"a dump of function libraries with {view[pos]} in it", offset=pos, remedy=_AGAIN)
        code, pos = read_string(view, pos + 1, end)
        found.append(code)
    return found
