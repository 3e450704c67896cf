"""The rules as verification reads them: what each one leaves out, and what it does to keys, dbs and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rdbbytes import aux, entry, rdb, record, resize, select, string, strings
from verify.world import DEAD_MS, HASH_METADATA, HOUR_MS, LATE_MS, SNAPSHOT_MS, check, failed, field_hash

from rdbmerge.plan.model import KeyPattern, Rules
from rdbmerge.verify.origin import offset_of

CTIME = aux(b"ctime", b"1700000000")
SOURCE = rdb(
    12, CTIME, select(0), resize(0, 0),
    entry(b"a:1", expire_at_ms=LATE_MS),
    entry(b"b:1"),
    record(1, b"b:list", strings([b"x"])),
    entry(b"b:dead", expire_at_ms=DEAD_MS),
    record(HASH_METADATA, b"b:hash", field_hash((b"f", b"1", DEAD_MS))),
    select(4), entry(b"a:4"),
)  # fmt: skip


def glob(text: bytes) -> KeyPattern:
    return KeyPattern(kind="glob", text=text)


def part(db: int, *entries: bytes, expires: int = 0) -> bytes:
    return select(db) + resize(len(entries), expires) + b"".join(entries)


A1, B1, LIST, A4 = (
    entry(b"a:1", expire_at_ms=LATE_MS), entry(b"b:1"), record(1, b"b:list", strings([b"x"])), entry(b"a:4"),
)  # fmt: skip

CASES: list[tuple[str, dict[str, Any], list[bytes]]] = [
    ("nothing", {}, [part(0, A1, B1, LIST, expires=1), part(4, A4)]),
    ("dbs", {"dbs": [4]}, [part(4, A4)]),
    ("types", {"types": ["list"]}, [part(0, LIST)]),
    ("include", {"include_keys": [glob(b"a:*")]}, [part(0, A1, expires=1), part(4, A4)]),
    ("exclude", {"exclude_keys": [glob(b"a:*")]}, [part(0, B1, LIST)]),
    ("both", {"include_keys": [glob(b"b:*")], "exclude_keys": [glob(b"*1")]}, [part(0, LIST)]),
    ("db map", {"db_map": {4: 0, 0: 7}}, [part(0, A4), part(7, A1, B1, LIST, expires=1)]),
    ("prefix", {"key_prefix": b"p:", "dbs": [4]}, [part(4, entry(b"p:a:4"))]),
    ("offset", {"ttl_offset_ms": -HOUR_MS, "include_keys": [glob(b"a:1")]},
     [part(0, entry(b"a:1", expire_at_ms=LATE_MS - HOUR_MS), expires=1)]),
    ("freeze", {"ttl_freeze_until_ms": SNAPSHOT_MS + 5, "ttl_offset_ms": 2, "include_keys": [glob(b"a:1")]},
     [part(0, entry(b"a:1", expire_at_ms=LATE_MS + 7), expires=1)]),
    ("far", {"ttl_offset_ms": -(1 << 46), "include_keys": [glob(b"a:1")]},
     [part(0, entry(b"a:1", expire_at_ms=1), expires=1)]),
    ("snapshot time", {"snapshot_at_ms": LATE_MS + 1}, [part(0, B1, LIST), part(4, A4)]),
    ("the very moment", {"snapshot_at_ms": LATE_MS, "dbs": [0]}, [part(0, A1, B1, LIST, expires=1)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rules", "parts"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_means_this_and_nothing_else(
    tmp_path: Path, name: str, rules: dict[str, Any], parts: list[bytes]
) -> None:
    merged = rdb(12, CTIME, *parts)
    report = check(tmp_path, merged, [SOURCE], level="full", **{"on_conflict": "fail", **rules})
    assert failed(report) == {}
    for _, other, other_parts in CASES:
        # The same file under other rules is wrong, or the case above proved nothing.
        verdict = check(tmp_path, merged, [SOURCE], **{"on_conflict": "fail", **other}).verdict
        assert (verdict == "passed") == (other_parts == parts)


def test_a_fields_expiry_counts_for_the_key_only_when_all_are_dead(tmp_path: Path) -> None:
    fields = (b"f", b"1", DEAD_MS), (b"g", b"2", LATE_MS)
    source = rdb(12, CTIME, select(0), record(HASH_METADATA, b"h", field_hash(*fields)))
    merged = rdb(12, CTIME, part(0, record(HASH_METADATA, b"h", field_hash(fields[1]))))
    assert failed(check(tmp_path, merged, [source], on_conflict="fail")) == {}
    kept = rdb(12, CTIME, part(0, record(HASH_METADATA, b"h", field_hash(*fields))))
    assert failed(check(tmp_path, kept, [source], drop_expired=False)) == {}
    assert "contents" in failed(check(tmp_path, kept, [source], on_conflict="fail"))


def test_an_expiry_of_minus_one_is_none(tmp_path: Path) -> None:
    source = rdb(9, CTIME, select(0), entry(b"k", expire_at_ms=-1))
    assert failed(check(tmp_path, rdb(9, CTIME, part(0, entry(b"k"))), [source], ttl_offset_ms=5)) == {}


def test_one_key_in_three_forms_is_one_key(tmp_path: Path) -> None:
    for form in (b"\xc0\x05", b"\x015", b"\x80\x00\x00\x00\x015"):
        source = rdb(9, CTIME, select(0), record(0, b"", string(b"v"), key_bytes=form))
        assert failed(check(tmp_path, rdb(9, CTIME, part(0, entry(b"5"))), [source], level="full", dbs=[0])) == {}
        prefixed = rdb(9, CTIME, part(0, entry(b"x5")))
        assert failed(check(tmp_path, prefixed, [source], level="full", key_prefix=b"x")) == {}


def test_a_prefix_that_one_key_lacks_is_found(tmp_path: Path) -> None:
    source = rdb(9, CTIME, select(0), entry(b"one"), entry(b"two"))
    merged = rdb(9, CTIME, part(0, entry(b"pone"), entry(b"two")))
    report = check(tmp_path, merged, [source], key_prefix=b"p")
    assert {(one.kind, one.key_base64) for one in report.differences} == {("missing", b"ptwo"), ("unexpected", b"two")}


def test_the_offset_of_a_frozen_source_is_what_was_left_at_its_snapshot() -> None:
    rules = Rules(ttl_freeze_until_ms=1_000, ttl_offset_ms=10)
    assert offset_of(rules, 400) == 610
    assert offset_of(Rules(ttl_offset_ms=10), 400) == 10
