"""Two sources, and the file that merging them should make, all byte by byte; and `verify` over any variant of it.

Source a holds dbs 0 and 1, source b db 0; `k` conflicts. Nothing here uses rdbmerge to make bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdbbytes import aux, crc64, entry, expiry, function, idle, length, rdb, record, resize, select, string, strings

from rdbmerge.plan.model import Rules
from rdbmerge.steps.verify import verify
from rdbmerge.verify.report import VerifyReport

SNAPSHOT_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
DEAD_MS = SNAPSHOT_MS - 1
LATE_MS = SNAPSHOT_MS + 50 * HOUR_MS
LIBRARY = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)"
HASH_METADATA = 24


def field_hash(*fields: tuple[bytes, bytes, int | None], base_ms: int | None = None) -> bytes:
    """The payload of type 24: field, value, expiry."""
    times = [at_ms for *_, at_ms in fields if at_ms is not None]
    base = base_ms if base_ms is not None else min(times, default=0)
    out = struct.pack("<q", base) + length(len(fields))
    for name, value, at_ms in fields:
        out += length(0 if at_ms is None else at_ms - base + 1) + string(name) + string(value)
    return out


def timed(offset_ms: int) -> bytes:
    return record(
        HASH_METADATA,
        b"fields",
        field_hash((b"f", b"1", LATE_MS + offset_ms), (b"g", b"2", None)),
    )


SOURCE_A = rdb(
    12, aux(b"ctime", b"1700000000"), aux(b"repl-id", b"x" * 40), function(LIBRARY),
    select(0), resize(6, 3),
    entry(b"k", b"from a", expire_at_ms=LATE_MS),
    entry(b"plain", b"value"),
    entry(b"dead", b"x", expire_at_ms=DEAD_MS),
    record(0, b"", string(b"12"), attributes=idle(7), key_bytes=b"\xc0\x05"),
    record(HASH_METADATA, b"fields",
           field_hash((b"f", b"1", LATE_MS), (b"old", b"x", DEAD_MS), (b"g", b"2", None))),
    record(2, b"empty", strings([])),
    select(1), resize(1, 0),
    record(1, b"list", strings([b"a", b"b"])),
)  # fmt: skip

SOURCE_B = rdb(
    9, aux(b"ctime", b"1700000000"),
    select(0), resize(2, 1),
    entry(b"k", b"from b", expire_at_ms=LATE_MS + 1),
    entry(b"only b", b"value"),
)  # fmt: skip


@dataclass
class Merged:
    """The right file for an offset of one hour and policy `first`; change parts to plant a defect."""

    version: int = 12
    head: list[bytes] = field(default_factory=lambda: [aux(b"ctime", b"1700000001"), function(LIBRARY)])
    db0: list[bytes] = field(
        default_factory=lambda: [
            entry(b"k", b"from a", expire_at_ms=LATE_MS + HOUR_MS),
            entry(b"plain", b"value"),
            record(0, b"", string(b"12"), attributes=idle(7), key_bytes=b"\xc0\x05"),
            timed(HOUR_MS),
            entry(b"only b", b"value"),
        ]
    )
    db1: list[bytes] = field(default_factory=lambda: [record(1, b"list", strings([b"a", b"b"]))])
    open0: bytes = select(0) + resize(5, 1)
    open1: bytes = select(1) + resize(1, 0)
    after: list[bytes] = field(default_factory=list)
    checksum: int | None = None
    tail: bytes = b""

    def bytes(self) -> bytes:
        parts = [*self.head, self.open0, *self.db0, self.open1, *self.db1, *self.after]
        return rdb(self.version, *parts, checksum=self.checksum, tail=self.tail)


RULES: dict[str, Any] = {"ttl_offset_ms": HOUR_MS, "on_conflict": "first"}


def check(
    folder: Path,
    merged: bytes,
    sources: Sequence[bytes] = (SOURCE_A, SOURCE_B),
    /,
    *,
    level: str = "digest",
    **rules: Any,
) -> VerifyReport:
    """Verify those bytes against those sources, which become a.rdb, b.rdb, ..."""
    folder.mkdir(exist_ok=True)
    (folder / "merged.rdb").write_bytes(merged)
    paths = []
    for name, source in zip("abcdefgh", sources, strict=False):
        path = folder / f"{name}.rdb"
        path.write_bytes(source)
        paths.append(path)
    return verify(
        folder / "merged.rdb", against=paths, rules=Rules(**(rules or RULES)), level=level, jobs=2, now_ms=SNAPSHOT_MS
    )


def failed(report: VerifyReport) -> dict[str, str]:
    """The failed checks and what they say."""
    return {check.name: check.detail for check in report.failed_checks}


def with_checksum(body: bytes) -> bytes:
    """`body` (magic to end opcode) with its footer."""
    return body + struct.pack("<Q", crc64(body))


__all__ = ["expiry", "Merged", "check", "failed"]
