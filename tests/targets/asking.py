"""Requests and contents for the tests of targets."""

from __future__ import annotations

from typing import Any

from rdbmerge.snapshot.contents import Contents
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.request import SeedOptions, SeedRequest, make_request

ARN = "arn:aws:s3:::seed/merged.rdb"
GROUP = {
    "kind": Kind.REPLICATION_GROUP,
    "name": "Sessions",
    "engine": "valkey",
    "engine_version": "8.1",
    "node_type": "cache.r7g.large",
}
SERVERLESS = {"kind": Kind.SERVERLESS, "name": "sessions", "engine": "valkey", "engine_version": "8"}
MEMORYDB = {
    "kind": Kind.MEMORYDB,
    "name": "sessions",
    "engine": "valkey",
    "engine_version": "7.3",
    "node_type": "db.r7g.large",
}
EVEN_TWO = [[(0, 8_191)], [(8_192, 16_383)]]


def request(
    said: dict[str, Any] = GROUP, *, arns: tuple[str, ...] = (ARN,), beneath: dict | None = None, **more: Any
) -> SeedRequest:
    return make_request(SeedOptions(**{**said, **more}), arns, beneath)


def contents(**more: Any) -> Contents:
    values: dict[str, Any] = {
        "magic": "REDIS0010",
        "size_bytes": 1_000,
        "crc64": "0" * 16,
        "keys": {0: 100},
        "types": {0: 90, 16: 10},
        "longest_key_bytes": 40,
        "memory_bytes": {"redis": 2 << 30, "valkey": 1 << 30},
    }
    return Contents(**{**values, **more})
