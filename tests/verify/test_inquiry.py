"""One planted defect of each kind, each named by the checks and by key; and the file without any, which passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rdbbytes import aux, entry, function, idle, record, resize, select, string, strings
from verify.world import (
    DEAD_MS,
    HASH_METADATA,
    HOUR_MS,
    LATE_MS,
    LIBRARY,
    SOURCE_A,
    SOURCE_B,
    Merged,
    check,
    failed,
    field_hash,
    timed,
)

LEVELS = ["counts", "digest", "full"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_right_file_passes(tmp_path: Path, level: str) -> None:
    report = check(tmp_path, Merged().bytes(), level=level)
    assert failed(report) == {}
    assert report.verdict == "passed"
    assert report.differences_total == 0


def test_the_ledger_says_what_became_of_every_entry(tmp_path: Path) -> None:
    lines = {(line.source, line.db): line for line in check(tmp_path, Merged().bytes()).ledger}
    a, b = lines["a.rdb", 0], lines["b.rdb", 0]
    assert (a.read, a.expected, a.expired, a.filtered, a.conflict_dropped, a.found) == (6, 4, 1, 1, 0, 4)
    assert (b.read, b.expected, b.expired, b.filtered, b.conflict_dropped, b.found) == (2, 1, 0, 0, 1, 1)


def lost(m: Merged) -> None:
    del m.db0[1]
    m.open0 = select(0) + resize(4, 1)


def doubled_in_another_db(m: Merged) -> None:
    m.db1.append(m.db0[1])
    m.open1 = select(1) + resize(2, 0)


def value_byte(m: Merged) -> None:
    m.db0[1] = entry(b"plain", b"vAlue")


def expiry_off_by_one(m: Merged) -> None:
    m.db0[0] = entry(b"k", b"from a", expire_at_ms=LATE_MS + HOUR_MS + 1)


def expiry_lost(m: Merged) -> None:
    m.db0[0] = entry(b"k", b"from a")
    m.open0 = select(0) + resize(5, 0)


def swapped_dbs(m: Merged) -> None:
    m.db0, m.db1 = m.db1, m.db0
    m.open0, m.open1 = select(0) + resize(1, 0), select(1) + resize(5, 1)


def dead_brought_back(m: Merged) -> None:
    m.db0.append(entry(b"dead", b"x", expire_at_ms=DEAD_MS + HOUR_MS))
    m.open0 = select(0) + resize(6, 2)


def field_not_moved(m: Merged) -> None:
    m.db0[3] = timed(0)


def dead_field_kept(m: Merged) -> None:
    fields = (b"f", b"1", LATE_MS + HOUR_MS), (b"old", b"x", DEAD_MS + HOUR_MS), (b"g", b"2", None)
    m.db0[3] = record(HASH_METADATA, b"fields", field_hash(*fields))


def wrong_winner(m: Merged) -> None:
    m.db0[0] = entry(b"k", b"from b", expire_at_ms=LATE_MS + 1 + HOUR_MS)


def other_type(m: Merged) -> None:
    m.db1[0] = record(2, b"list", strings([b"a", b"b"]))


def other_hint(m: Merged) -> None:
    m.db0[2] = record(0, b"", string(b"12"), attributes=idle(8), key_bytes=b"\xc0\x05")


def stranger(m: Merged) -> None:
    m.db1.append(entry(b"stranger"))
    m.open1 = select(1) + resize(2, 0)


DEFECTS: list[tuple[Callable[[Merged], None], set[tuple[str, int, bytes]], str]] = [
    (lost, {("missing", 0, b"plain")}, "the entry"),
    (doubled_in_another_db, {("unexpected", 1, b"plain")}, "nothing here: it belongs in db 0"),
    (value_byte, {("value", 0, b"plain")}, "6 bytes"),
    (expiry_off_by_one, {("expiry", 0, b"k")}, f"{LATE_MS + HOUR_MS} ms"),
    (expiry_lost, {("expiry", 0, b"k")}, f"{LATE_MS + HOUR_MS} ms"),
    (dead_brought_back, {("unexpected", 0, b"dead")}, "dead when its snapshot was taken"),
    (field_not_moved, {("field", 0, b"fields")}, f"{LATE_MS + HOUR_MS} ms"),
    (dead_field_kept, {("field", 0, b"fields")}, "2 fields"),
    (wrong_winner, {("value", 0, b"k"), ("expiry", 0, b"k")}, ""),
    (other_type, {("type", 1, b"list")}, "list"),
    (other_hint, {("hint", 0, b"5")}, "idle s 7"),
    (stranger, {("unexpected", 1, b"stranger")}, "no source has this key"),
]


@pytest.mark.parametrize("level", ["digest", "full"])
@pytest.mark.parametrize(("plant", "named", "expected"), DEFECTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_defect_is_named(
    tmp_path: Path, level: str, plant: Callable[[Merged], None], named: set[tuple[str, int, bytes]], expected: str
) -> None:
    merged = Merged()
    plant(merged)
    report = check(tmp_path, merged.bytes(), level=level)
    assert report.verdict == "failed"
    assert "contents" in failed(report)
    assert {(one.kind, one.db, one.key_base64) for one in report.differences} == named
    assert all(expected in one.expected for one in report.differences)
    assert report.differences_total == len(named)


def test_swapped_dbs_are_told_as_such(tmp_path: Path) -> None:
    merged = Merged()
    swapped_dbs(merged)
    report = check(tmp_path, merged.bytes())
    found = {(one.kind, one.db, one.key_base64): one.found for one in report.differences}
    assert found["missing", 0, b"plain"] == "nothing; the key is in db 1"
    assert found["missing", 1, b"list"] == "nothing; the key is in db 0"
    assert report.differences_total == 12


def test_counts_alone_see_a_lost_key_and_find_it(tmp_path: Path) -> None:
    merged = Merged()
    lost(merged)
    report = check(tmp_path, merged.bytes(), level="counts")
    assert "keys per db" in failed(report)
    assert [(one.kind, one.key_base64) for one in report.differences] == [("missing", b"plain")]


def test_a_key_twice_in_a_db_is_named(tmp_path: Path) -> None:
    merged = Merged()
    merged.db0.append(merged.db0[1])
    merged.open0 = select(0) + resize(6, 1)
    report = check(tmp_path, merged.bytes())
    assert '"plain" of db 0' in failed(report)["unique keys"]
    assert [(one.kind, one.expected) for one in report.differences] == [("unexpected", "the key once")]


LIBRARIES = [
    ([aux(b"ctime", b"1")], "'lib' is missing"),
    ([function(LIBRARY.replace(b"return 1", b"return 2"))], "'lib' is not the one that wins"),
    ([function(LIBRARY), function(b"#!lua name=more\n")], "'more' is in no source"),
]


@pytest.mark.parametrize(("head", "said"), LIBRARIES)
def test_a_wrong_library_is_named(tmp_path: Path, head: list[bytes], said: str) -> None:
    assert said in failed(check(tmp_path, Merged(head=head).bytes()))["function libraries"]


def test_a_conflict_under_the_policy_to_fail_fails(tmp_path: Path) -> None:
    report = check(tmp_path, Merged().bytes(), ttl_offset_ms=HOUR_MS)
    assert '"k" of db 0' in failed(report)["conflicts"]


@pytest.mark.parametrize(("policy", "winner"), [("last", "b"), ("longest-ttl", "b"), ("first", "a")])
def test_each_policy_has_its_winner(tmp_path: Path, policy: str, winner: str) -> None:
    merged = Merged()
    if winner == "b":
        wrong_winner(merged)
    assert check(tmp_path, merged.bytes(), ttl_offset_ms=HOUR_MS, on_conflict=policy).verdict == "passed"


def test_what_a_source_damaged_by_one_bit_says_is_not_what_is_merged(tmp_path: Path) -> None:
    other = SOURCE_B.replace(b"only b", b"only c")[:-8] + bytes(8)
    report = check(tmp_path, Merged().bytes(), [SOURCE_A, other])
    assert {(one.kind, one.key_base64) for one in report.differences} == {
        ("missing", b"only c"),
        ("unexpected", b"only b"),
    }
    assert "rdbchecksum no" in report.warnings[0]
