"""Redis and Valkey lines of the format: the magic, the versions, and which table of types is meant.

Consulted once, at the header (rdb-format.md 1 and 3); numbers 22 to 243 mean different things under the two magics.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdbmerge.errors import FormatError, TruncatedError, UnsupportedError
from rdbmerge.format.values import REDIS_TYPES, VALKEY_TYPES, ValueType

MAGIC_BYTES = 9
NEWEST_REDIS = 15
VALKEY_VERSIONS = range(80, 81)
FIRST_WITH_CHECKSUM = 5
FIRST_WITH_AUX = 7


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which line of the format a file speaks."""

    line: str  # "redis" or "valkey"
    version: int  # 1..15, or 80

    @property
    def types(self) -> dict[int, ValueType]:
        """Type number -> row."""
        return VALKEY_TYPES if self.line == "valkey" else REDIS_TYPES

    @property
    def magic(self) -> bytes:
        """The nine bytes a file of this dialect starts with."""
        return b"VALKEY%03d" % self.version if self.line == "valkey" else b"REDIS%04d" % self.version

    @property
    def has_checksum(self) -> bool:
        """From version 5 on, eight bytes of CRC-64 follow the end of the file's records."""
        return self.version >= FIRST_WITH_CHECKSUM

    @property
    def has_aux(self) -> bool:
        """AUX and RESIZEDB are understood from version 7 on (rdb-format.md 4)."""
        return self.version >= FIRST_WITH_AUX

    def __str__(self) -> str:
        return self.magic.decode()


_NOT_RDB = "give an RDB file: its first bytes are REDIS or VALKEY and a version"


def read_dialect(head: bytes) -> Dialect:
    """The dialect of a file whose first bytes are `head` (9 or more, fewer only if the file is that short).

    Raises:
        TruncatedError: an empty file, or a magic cut short.
        FormatError: not an RDB.
        UnsupportedError: an RDB of a version that is not known here.
    """
    if not head:
        raise TruncatedError("the file is empty", offset=0, remedy="pull or copy the snapshot again")
    magic = head[:MAGIC_BYTES]
    if len(magic) < MAGIC_BYTES and (magic[:5] == b"REDIS"[: len(magic)] or magic[:6] == b"VALKEY"[: len(magic)]):
        raise TruncatedError(
            f"the file ends inside its magic, after {len(magic)} bytes", offset=len(magic), remedy="copy it again"
        )
    for name, line in ((b"VALKEY", "valkey"), (b"REDIS", "redis")):
        digits = magic[len(name) :]
        if magic.startswith(name) and len(digits) == MAGIC_BYTES - len(name) and digits.isdigit():
            return _known(Dialect(line, int(digits)))
    raise FormatError(f"not an RDB file: it starts with {_show(magic)}", offset=0, remedy=_not_rdb_remedy(magic))


def _known(dialect: Dialect) -> Dialect:
    if dialect.line == "redis" and 1 <= dialect.version <= NEWEST_REDIS:
        return dialect
    if dialect.line == "valkey" and dialect.version in VALKEY_VERSIONS:
        return dialect
    newer = (
        NEWEST_REDIS < dialect.version < VALKEY_VERSIONS[0]
        if dialect.line == "redis"
        else dialect.version > VALKEY_VERSIONS[-1]
    )
    raise UnsupportedError(
        f"RDB version {dialect.version} of the {dialect.line.capitalize()} line is not known"
        f" (known: Redis 1 to {NEWEST_REDIS}, Valkey {VALKEY_VERSIONS[0]})",
        offset=0,
        remedy="use a newer rdbmerge" if newer else "check where the file comes from; no server writes this version",
    )


def _show(magic: bytes) -> str:
    return repr(magic)[1:]


def _not_rdb_remedy(magic: bytes) -> str:
    if magic[:1] in b"*$":
        return "this looks like an append-only file (commands); give the RDB, or the .base.rdb beside it"
    if magic[:2] == b"\x1f\x8b":
        return "this is gzip: unpack it first"
    return _NOT_RDB
