"""The rules as verification reads them: what each one leaves out, and what it does to keys, dbs and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rdbbytes import aux, entry, rdb, record, resize, select, string, strings
from verify.world import DEAD_MS, HASH_METADATA, HOUR_MS, LATE_MS, SNAPSHOT_MS, check, failed, field_hash

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import KeyPattern, Rules, SourceRules
from rdbmerge.verify.origin import declared_for, offset_of

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


def test_what_is_declared_for_a_source_comes_before_what_is_declared_for_all() -> None:
    own: dict[str, Any] = {
        "ttl_offset_ms": 0, "ttl_freeze_until_ms": 0, "snapshot_at_ms": 0, "drop_expired": False, "db_map": {},
        "dbs": [], "types": [], "include_keys": [], "exclude_keys": [], "key_prefix": b"",
    }  # fmt: skip
    all_: dict[str, Any] = {
        "ttl_offset_ms": 1, "ttl_freeze_until_ms": 2, "snapshot_at_ms": 3, "drop_expired": True, "db_map": {1: 0},
        "dbs": [1], "types": ["list"], "include_keys": [glob(b"a")], "exclude_keys": [glob(b"b")], "key_prefix": b"p",
    }  # fmt: skip
    assert own.keys() == SourceRules.model_fields.keys()
    shared: dict[str, Any] = {"on_conflict": "last", "target": "redis-7.0", "on_unsupported": "skip"}
    for name in own:
        rules = Rules(**all_, **shared, sources={"a.rdb": SourceRules(**{name: own[name]})})
        assert declared_for(rules, "a.rdb") == Rules(**{**all_, **shared, name: own[name]})
        assert declared_for(rules, "b.rdb") is rules


def test_rules_of_a_stranger_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"declared for x\.rdb, which is not among the sources"):
        check(tmp_path, rdb(12, CTIME, *CASES[0][2]), [SOURCE], sources={"x.rdb": SourceRules()})


def test_each_source_is_held_to_its_own_rules(tmp_path: Path) -> None:
    """One source as it is, and again with all that one source can have for itself; anything else is not this file."""
    merged = rdb(12, CTIME, part(0, A1, B1, LIST, expires=1), part(4, A4, entry(b"q:a:4")))
    own = {"key_prefix": b"q:", "dbs": [4]}
    passes = {"on_conflict": "fail", "sources": {"b.rdb": own}}
    for level in ("digest", "full"):
        report = check(tmp_path, merged, [SOURCE, SOURCE], level=level, **passes)
        assert (failed(report), report.verdict) == ({}, "passed")
        for other in (
            {"a.rdb": own, "b.rdb": own},
            {},
            {"b.rdb": {**own, "key_prefix": b"Q:"}},
            {"b.rdb": {**own, "db_map": {4: 5}}},
        ):
            rules = {**passes, "sources": other}
            assert check(tmp_path, merged, [SOURCE, SOURCE], level=level, **rules).verdict == "failed"


@pytest.mark.parametrize("level", ["digest", "full"])
def test_values_that_changed_places_behind_two_prefixes_are_found(tmp_path: Path, level: str) -> None:
    """Without their prefixes the keys are equal: the digest has to see which is which."""
    sources = [rdb(12, CTIME, part(0, entry(b"k", value))) for value in (b"1", b"2")]
    rules = {"sources": {"a.rdb": {"key_prefix": b"a:"}, "b.rdb": {"key_prefix": b"b:"}}}
    right = rdb(12, CTIME, part(0, entry(b"a:k", b"1"), entry(b"b:k", b"2")))
    wrong = rdb(12, CTIME, part(0, entry(b"a:k", b"2"), entry(b"b:k", b"1")))
    assert check(tmp_path, right, sources, level=level, **rules).verdict == "passed"
    report = check(tmp_path, wrong, sources, level=level, **rules)
    assert {(one.kind, one.key, one.source) for one in report.differences} == {
        ("value", '"a:k"', "a.rdb"), ("value", '"b:k"', "b.rdb"),
    }  # fmt: skip
