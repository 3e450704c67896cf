"""The records of an RDB that are not entries, as bytes; mirrors `records` name by name (rdb-format.md 1 and 4)."""

from __future__ import annotations

from collections.abc import Sequence

from rdbmerge.format import codes
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.strings import length_bytes, string_bytes


def header(dialect: Dialect, aux: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Magic and, where the version has them, AUX fields."""
    out = bytearray(dialect.magic)
    if dialect.has_aux:
        for name, value in aux:
            out.append(codes.OP_AUX)
            out += string_bytes(name) + string_bytes(value)
    return bytes(out)


def select_db(dialect: Dialect, db: int, keys: int, expires: int) -> bytes:
    """What opens a db: SELECTDB and, where the version has it, RESIZEDB with exact counts."""
    out = bytes((codes.OP_SELECTDB,)) + length_bytes(db)
    if dialect.has_aux:
        out += bytes((codes.OP_RESIZEDB,)) + length_bytes(keys) + length_bytes(expires)
    return out


def function(code: bytes) -> bytes:
    """A function library."""
    return bytes((codes.OP_FUNCTION2,)) + string_bytes(code)


def end() -> bytes:
    """The end of the records; the checksum follows."""
    return bytes((codes.OP_EOF,))


def checksum(crc64: int) -> bytes:
    """The footer."""
    return crc64.to_bytes(8, "little")
