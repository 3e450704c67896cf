"""One source of Redis 8.8, and what it must become for three targets, all byte by byte; and shards of a cluster.

A defect is planted by changing a record of the merged file. Nothing here uses rdbmerge to make bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blobbytes import consumer, group, listpack, node_of, own, stream
from rdbbytes import aux, entry, expiry, function, idle, length, pairs, rdb, record, resize, select, string, strings
from verify.world import HOUR_MS, LATE_MS, LIBRARY, SNAPSHOT_MS

from rdbmerge.plan.model import Rules
from rdbmerge.steps.verify import verify
from rdbmerge.verify.report import ShardsReport, VerifyReport
from rdbmerge.verify.shards import Runs

CTIME = aux(b"ctime", b"1700000000")
DEAD_MS = SNAPSHOT_MS - 1
RULES: dict[str, Any] = {"ttl_offset_ms": HOUR_MS, "on_unsupported": "strip"}
IDS = (5, 0), (6, 0), (7, 1)


def double(score: float) -> bytes:
    return struct.pack("<d", score)


def time(at_ms: int) -> bytes:
    return struct.pack("<q", at_ms)


def plain_list(*texts: bytes) -> bytes:
    return record(1, b"list", strings(texts))


def plain_set(*texts: bytes) -> bytes:
    return record(2, b"set", strings(texts))


def plain_hash(**fields: bytes) -> bytes:
    return record(4, b"hash", pairs({name.encode(): text for name, text in fields.items()}))


def plain_zset(*members: tuple[bytes, float]) -> bytes:
    return record(5, b"zset", length(len(members)) + b"".join(string(name) + double(score) for name, score in members))


def timed_plain(**fields: bytes) -> bytes:
    return record(4, b"timed", pairs({name.encode(): text for name, text in fields.items()}))


def timed_valkey(*fields: tuple[bytes, bytes, int]) -> bytes:
    body = b"".join(string(name) + string(text) + time(at_ms) for name, text, at_ms in fields)
    return record(22, b"timed", length(len(fields)) + body)


def stream_of(
    level: int,
    number: int,
    *,
    ids: Sequence[tuple[int, int]] = IDS,
    pending: Sequence[tuple[int, int]] = IDS[:2],
    alice: Sequence[tuple[int, int]] = IDS[:1],
    owner: Sequence[tuple[int, int]] | None = IDS[1:2],
    text: bytes = b"v",
) -> bytes:
    """The stream; below level 5 what nobody owned is `owner`'s."""
    consumers = [consumer(level, b"alice", *alice)]
    if level < 5 and owner is not None:
        consumers.append(consumer(level, b"rdbmerge:nacked", *owner, seen_at_ms=0, active_at_ms=-1))
    one = group(
        level,
        b"readers",
        last_id=(6, 0),
        entries_read=2,
        pending=[(each, LATE_MS, 3) for each in pending],
        consumers=consumers,
        nacked=IDS[1:2],
    )
    nodes = [node_of(each, [], own(0, 0, b"f", text if each == IDS[0] else b"v")) for each in ids]
    payload = stream(
        level, nodes, live=3, last_id=(7, 1), first_id=(5, 0), added=4, groups=[one],
        producers={b"p": {b"1": (5, 0)}},
    )  # fmt: skip
    return record(number, b"stream", payload)


def packed_hash(*parts: bytes | int) -> bytes:
    return string(listpack(*parts))


SOURCE = rdb(
    14, CTIME, function(LIBRARY), select(0),
    entry(b"plain", b"value", expire_at_ms=LATE_MS),
    record(0, b"idle", string(b"v"), attributes=idle(7)),
    record(18, b"list", b"\x02\x02" + string(listpack(b"a", 5)) + b"\x01" + string(b"c" * 70)),
    record(20, b"set", string(listpack(b"x", -1, b"y")), attributes=expiry(LATE_MS)),
    record(17, b"zset", string(listpack(b"m", 1, b"n", b"2.5", b"o", b"-inf"))),
    record(16, b"hash", packed_hash(b"f", b"1", b"g", 70_000)),
    record(25, b"timed", time(LATE_MS) + packed_hash(b"f", 1, LATE_MS, b"old", b"x", DEAD_MS, b"g", b"w", 0)),
    stream_of(5, 27),
    record(28, b"array", length(1) + b"\x00" + b"\x00\x00\x03abc"),
)  # fmt: skip


def expiring(one: bytes) -> bytes:
    return expiry(LATE_MS + HOUR_MS) + one


Records = dict[str, bytes]


def of_redis_62() -> Records:
    return {
        "plain": entry(b"plain", b"value", expire_at_ms=LATE_MS + HOUR_MS),
        "idle": record(0, b"idle", string(b"v"), attributes=idle(7)),
        "list": plain_list(b"a", b"5", b"c" * 70),
        "set": expiring(plain_set(b"x", b"-1", b"y")),
        "zset": plain_zset((b"m", 1.0), (b"n", 2.5), (b"o", float("-inf"))),
        "hash": plain_hash(f=b"1", g=b"70000"),
        "timed": timed_plain(f=b"1", g=b"w"),
        "stream": stream_of(1, 15),
    }


def of_valkey_91() -> Records:
    return {
        **of_redis_62(),
        "list": record(18, b"list", b"\x02\x02" + string(listpack(b"a", 5)) + b"\x01" + string(b"c" * 70)),
        "set": expiring(record(20, b"set", string(listpack(b"x", -1, b"y")))),
        "zset": record(17, b"zset", string(listpack(b"m", 1, b"n", b"2.5", b"o", b"-inf"))),
        "hash": plain_hash(f=b"1", g=b"70000"),
        "timed": timed_valkey((b"f", b"1", LATE_MS + HOUR_MS), (b"g", b"w", -1)),
        "stream": stream_of(3, 21),
    }


def of_redis_28() -> Records:
    """Neither streams nor idle times, and scores are text."""
    records = of_redis_62()
    del records["stream"]
    scores = length(3) + b"\x01m\x011" + b"\x01n\x032.5" + b"\x01o\xff"
    return {**records, "idle": entry(b"idle"), "zset": record(3, b"zset", scores)}


EXPIRING = ("plain", "set")


@dataclass
class Target:
    """A target, and the right file for it; change `records` to plant a defect."""

    name: str
    records: Records
    version: int
    magic: bytes | None = None
    head: list[bytes] = field(default_factory=lambda: [aux(b"ctime", b"1700000001")])
    extra: list[bytes] = field(default_factory=list)
    announced: bool = True

    def bytes(self) -> bytes:
        expires = sum(name in self.records for name in EXPIRING)
        every = [*self.records.values(), *self.extra]
        opening = select(0) + (resize(len(every), expires) if self.announced else b"")
        return rdb(self.version, *self.head, opening, *every, magic=self.magic)


def redis_62() -> Target:
    return Target("redis-6.2", of_redis_62(), 9)


def valkey_91() -> Target:
    return Target(
        "valkey-9.1", of_valkey_91(), 80, b"VALKEY080", head=[aux(b"ctime", b"1700000001"), function(LIBRARY)]
    )


def redis_28() -> Target:
    return Target("redis-2.8", of_redis_28(), 6, head=[], announced=False)


def check_target(folder: Path, target: Target, *, level: str = "digest", **rules: Any) -> VerifyReport:
    """Verify the file of a target against the source."""
    folder.mkdir(exist_ok=True)
    (folder / "source.rdb").write_bytes(SOURCE)
    (folder / "merged.rdb").write_bytes(target.bytes())
    report = verify(
        folder / "merged.rdb", against=[folder / "source.rdb"], rules=Rules(target=target.name, **{**RULES, **rules}),
        level=level, jobs=2, now_ms=SNAPSHOT_MS,
    )  # fmt: skip
    assert isinstance(report, VerifyReport)
    return report


def check_shards(
    folder: Path, files: dict[str, bytes], sources: Sequence[bytes], shards: Sequence[Runs], *, level: str = "digest",
    **rules: Any,
) -> ShardsReport:  # fmt: skip
    """Verify the files of shards, given by name in any order, against sources."""
    folder.mkdir(exist_ok=True)
    paths, against = [], []
    for name, data in files.items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    for number, source in enumerate(sources):
        against.append(folder / f"source{number}.rdb")
        against[-1].write_bytes(source)
    report = verify(
        paths, against=against, rules=Rules(**rules), shards=shards, level=level, jobs=2, now_ms=SNAPSHOT_MS
    )
    assert isinstance(report, ShardsReport)
    return report
