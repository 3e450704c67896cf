"""Values that a target gets in another form: the right file passes, and every defect planted in it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blobbytes import listpack
from rdbbytes import aux, entry, function, idle, length, rdb, record, string
from verify.rewritten import (
    DEAD_MS,
    IDS,
    SOURCE,
    Target,
    check_target,
    double,
    expiring,
    packed_hash,
    plain_hash,
    plain_list,
    plain_set,
    plain_zset,
    redis_28,
    redis_62,
    stream_of,
    time,
    timed_plain,
    timed_valkey,
    valkey_91,
)
from verify.world import HOUR_MS, LATE_MS, LIBRARY, failed

from rdbmerge.errors import FormatError

LEVELS = ["digest", "full"]
MOVED = LATE_MS + HOUR_MS
Defect = Callable[[dict[str, bytes]], Any]


@pytest.mark.parametrize("target", [redis_62, valkey_91, redis_28])
@pytest.mark.parametrize("level", ["counts", *LEVELS])
def test_the_right_file_passes(tmp_path: Path, target: Callable[[], Target], level: str) -> None:
    report = check_target(tmp_path, target(), level=level)
    assert (failed(report), report.differences, report.verdict) == ({}, [], "passed")


@pytest.mark.parametrize(
    ("target", "expected", "rejected", "stripped"), [(redis_62, 8, 1, 2), (valkey_91, 8, 1, 1), (redis_28, 7, 2, 1)]
)
def test_the_ledger_says_what_the_target_cannot_hold(
    tmp_path: Path, target: Callable[[], Target], expected: int, rejected: int, stripped: int
) -> None:
    (line,) = check_target(tmp_path, target()).ledger
    assert (line.read, line.expected, line.rejected, line.stripped, line.found) == (
        9, expected, rejected, stripped, expected,
    )  # fmt: skip


# Everything else of the file is right, so the one key is named and no other.
CHANGED: dict[str, tuple[str, bytes]] = {
    "list element changed": ("value", plain_list(b"a", b"6", b"c" * 70)),
    "list element of one more byte": ("value", plain_list(b"a", b"05", b"c" * 70)),
    "list element dropped": ("value", plain_list(b"a", b"5")),
    "list element doubled": ("value", plain_list(b"a", b"5", b"5", b"c" * 70)),
    "list elements swapped": ("value", plain_list(b"5", b"a", b"c" * 70)),
    "list elements joined": ("value", plain_list(b"a5", b"", b"c" * 70)),
    "list emptied": ("value", plain_list()),
    "list as a set": ("type", record(2, b"list", plain_list(b"a", b"5", b"c" * 70)[6:])),
    "set member changed": ("value", expiring(plain_set(b"x", b"1", b"y"))),
    "set member dropped": ("value", expiring(plain_set(b"x", b"y"))),
    "set member added": ("value", expiring(plain_set(b"x", b"-1", b"y", b"z"))),
    "set later": ("expiry", b"\xfc" + time(MOVED + 1) + plain_set(b"x", b"-1", b"y")),
    "set without its hour": ("expiry", b"\xfc" + time(LATE_MS) + plain_set(b"x", b"-1", b"y")),
    "score changed": ("field", plain_zset((b"m", 1.0), (b"n", 2.5000000000000004), (b"o", float("-inf")))),
    "scores swapped": ("field", plain_zset((b"m", 2.5), (b"n", 1.0), (b"o", float("-inf")))),
    "score of the other sign": ("field", plain_zset((b"m", 1.0), (b"n", 2.5), (b"o", float("inf")))),
    "member changed": ("field", plain_zset((b"m", 1.0), (b"N", 2.5), (b"o", float("-inf")))),
    "member dropped": ("field", plain_zset((b"m", 1.0), (b"n", 2.5))),
    "field changed": ("field", plain_hash(f=b"1", G=b"70000")),
    "value of a field changed": ("field", plain_hash(f=b"1", g=b"70001")),
    "field dropped": ("field", plain_hash(f=b"1")),
    "field and value swapped": ("field", record(4, b"hash", b"\x02\x011\x01f\x01g\x0570000")),
    "values of fields swapped": ("field", plain_hash(f=b"70000", g=b"1")),
    "dead field kept": ("field", timed_plain(f=b"1", old=b"x", g=b"w")),
    "field without an expiry dropped": ("field", timed_plain(f=b"1")),
    "field with an expiry dropped": ("field", timed_plain(g=b"w")),
    "stream entry lost": ("value", stream_of(1, 15, ids=IDS[1:])),
    "stream entry changed": ("value", stream_of(1, 15, text=b"w")),
    "stream emptied": ("value", stream_of(1, 15, ids=())),
    "pending entry lost": ("value", stream_of(1, 15, pending=IDS[:1], owner=())),
    "pending entry of another": ("value", stream_of(1, 15, alice=IDS[:2], owner=())),
    "pending entry nobody's": ("value", stream_of(1, 15, owner=None)),
    "pending entry not its consumer's": ("value", stream_of(1, 15, alice=())),
}
OF_KEY = {
    name: next(key for key in ("list", "zset", "set", "hash", "timed", "stream") if string(key.encode()) in one[:20])
    for name, (_, one) in CHANGED.items()
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", CHANGED)
def test_a_value_that_was_changed_on_its_way_is_named(tmp_path: Path, name: str, level: str) -> None:
    kind, changed = CHANGED[name]
    target = redis_62()
    assert target.records[OF_KEY[name]] != changed
    target.records[OF_KEY[name]] = changed
    report = check_target(tmp_path, target, level=level)
    assert report.verdict == "failed"
    assert "contents" in failed(report)
    assert [(one.kind, one.key, one.source) for one in report.differences] == [
        (kind, f'"{OF_KEY[name]}"', "source.rdb")
    ]


TIMED: dict[str, tuple[bytes, str]] = {
    "not shifted": (timed_valkey((b"f", b"1", LATE_MS), (b"g", b"w", -1)), f"{MOVED} ms"),
    "off by one": (timed_valkey((b"f", b"1", MOVED + 1), (b"g", b"w", -1)), f"{MOVED} ms"),
    "lost": (timed_valkey((b"f", b"1", -1), (b"g", b"w", -1)), f"{MOVED} ms"),
    "another field's": (timed_valkey((b"f", b"1", -1), (b"g", b"w", MOVED)), f"{MOVED} ms"),
    "given to all": (timed_valkey((b"f", b"1", MOVED), (b"g", b"w", MOVED)), "never"),
    "all lost": (timed_plain(f=b"1", g=b"w"), f"{MOVED} ms"),
    "dead kept": (timed_valkey((b"f", b"1", MOVED), (b"old", b"x", DEAD_MS + HOUR_MS), (b"g", b"w", -1)), "2 fields"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", TIMED)
def test_the_expiry_of_a_field_that_is_not_what_it_should_be_is_named(tmp_path: Path, name: str, level: str) -> None:
    changed, expected = TIMED[name]
    target = valkey_91()
    target.records["timed"] = changed
    report = check_target(tmp_path, target, level=level)
    assert [(one.kind, one.key) for one in report.differences] == [("field", '"timed"')]
    assert expected in report.differences[0].expected


STREAMS: dict[str, dict[str, Any]] = {
    "entry lost": {"ids": IDS[1:]}, "pending lost": {"pending": IDS[:1], "owner": ()}, "owner lost": {"owner": None},
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_of_a_newer_form_is_compared_as_far_as_that_goes(tmp_path: Path, name: str) -> None:
    target = valkey_91()
    target.records["stream"] = stream_of(3, 21, **STREAMS[name])
    report = check_target(tmp_path, target, level="full")
    assert [(one.kind, one.key) for one in report.differences] == [("value", '"stream"')]


# --- what the target cannot load ----------------------------------------------------------------------------------

ARRAY = record(28, b"array", length(1) + b"\x00" + b"\x00\x00\x03abc")


@pytest.mark.parametrize("level", LEVELS)
def test_a_key_that_the_target_cannot_hold_and_was_written_is_named(tmp_path: Path, level: str) -> None:
    target = redis_62()
    target.extra.append(ARRAY)
    report = check_target(tmp_path, target, level=level)
    assert "redis-6.2 does not know type 28 (array)" in failed(report)["target"]
    ((kind, key, expected),) = [(one.kind, one.key, one.expected) for one in report.differences]
    assert (kind, key, expected) == ("unexpected", '"array"', "nothing: more than the target can hold")


@pytest.mark.parametrize("level", LEVELS)
def test_a_stream_for_a_target_that_has_none_is_named(tmp_path: Path, level: str) -> None:
    target = redis_28()
    target.extra.append(stream_of(1, 15))
    report = check_target(tmp_path, target, level=level)
    assert "redis-2.8 does not know type 15" in failed(report)["target"]
    assert [(one.kind, one.key) for one in report.differences] == [("unexpected", '"stream"')]


@pytest.mark.parametrize("level", ["counts", *LEVELS])
@pytest.mark.parametrize("lost", ["stream", "timed", "list", "plain"])
def test_a_key_that_the_target_can_hold_and_was_left_out_is_named(tmp_path: Path, lost: str, level: str) -> None:
    target = redis_62()
    del target.records[lost]
    report = check_target(tmp_path, target, level=level)
    assert [(one.kind, one.key) for one in report.differences] == [("missing", f'"{lost}"')]
    assert "keys per db" in failed(report)


UNLOADABLE: list[tuple[str, bytes, str]] = [
    ("set", expiring(record(20, b"set", string(listpack(b"x", -1, b"y")))), "type 20 (set_listpack)"),
    ("hash", record(16, b"hash", packed_hash(b"f", b"1", b"g", 70_000)), "type 16 (hash_listpack)"),
    ("stream", stream_of(3, 21, owner=IDS[1:2]), "type 21 (stream_listpacks_3)"),
    # Here the expiries of fields should have been stripped.
    ("timed", record(25, b"timed", time(MOVED) + packed_hash(b"f", 1, MOVED, b"g", b"w", 0)), "type 25 (hash_listp"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "kept", "said"), UNLOADABLE, ids=[said for *_, said in UNLOADABLE])
@pytest.mark.parametrize("level", ["counts", *LEVELS])
def test_a_form_that_the_target_does_not_know_is_named(
    tmp_path: Path, key: str, kept: bytes, said: str, level: str
) -> None:
    target = redis_62()
    target.records[key] = kept
    report = check_target(tmp_path, target, level=level)
    assert f"redis-6.2 does not know {said}" in failed(report)["target"]
    assert report.verdict == "failed"


def test_a_type_number_of_the_other_line_is_named(tmp_path: Path) -> None:
    target = valkey_91()
    target.magic, target.version = None, 12
    times = length(MOVED) + string(b"f") + string(b"1") + length(0) + string(b"g") + string(b"w")
    target.records["timed"] = record(22, b"timed", length(2) + times)
    said = failed(check_target(tmp_path, target))["target"]
    assert "valkey-9.1 refuses REDIS0012" in said
    assert "valkey-9.1 does not know type 22" in said


def test_a_version_that_the_target_refuses_is_named(tmp_path: Path) -> None:
    target = redis_62()
    target.version = 10
    assert failed(check_target(tmp_path, target)) == {"target": "redis-6.2 refuses REDIS0010"}


def test_hints_for_a_target_without_them_are_named(tmp_path: Path) -> None:
    target = redis_28()
    target.records["idle"] = record(0, b"idle", string(b"v"), attributes=idle(7))
    assert "redis-2.8 does not know idle times" in failed(check_target(tmp_path, target))["target"]


@pytest.mark.parametrize("level", ["counts", *LEVELS])
def test_functions_for_a_target_without_them_are_named(tmp_path: Path, level: str) -> None:
    target = redis_62()
    target.head = [aux(b"ctime", b"1700000001"), function(LIBRARY)]
    said = failed(check_target(tmp_path, target, level=level))
    assert "redis-6.2 has no functions" in said["target"]
    assert "'lib'" in said["function libraries"]


def test_module_data_for_a_target_without_modules_is_named(tmp_path: Path) -> None:
    target = redis_62()
    target.name = "elasticache-redis-6.2"
    target.head.append(b"\xf7\x81" + bytes(8) + b"\x02\x02\x02\x05\x00")
    said = failed(check_target(tmp_path, target))
    assert "elasticache-redis-6.2 loads no modules" in said["target"]
    assert "module data" in said


def test_more_dbs_than_the_target_has_are_named(tmp_path: Path) -> None:
    target = redis_62()
    target.name = "memorydb-redis-6.2"
    assert "one db" not in failed(check_target(tmp_path, target))
    target.extra = [b"\xfe\x01\xfb\x01\x00", entry(b"elsewhere")]
    assert "db 1 holds keys" in failed(check_target(tmp_path, target))["one db"]


# --- the policies -------------------------------------------------------------------------------------------------


def test_under_the_policy_to_fail_nothing_may_be_left_out(tmp_path: Path) -> None:
    said = failed(check_target(tmp_path, redis_62(), on_unsupported="fail"))
    assert "3 keys cannot be held" in said["unsupported"]
    assert "redis-6.2 has no functions" in said["function libraries"]


def test_under_the_policy_to_skip_what_is_not_whole_is_left_out(tmp_path: Path) -> None:
    target = redis_62()
    report = check_target(tmp_path / "kept", target, on_unsupported="skip")
    assert {(one.kind, one.key) for one in report.differences} == {
        ("unexpected", '"timed"'),
        ("unexpected", '"stream"'),
    }
    del target.records["timed"], target.records["stream"]
    report = check_target(tmp_path / "left out", target, on_unsupported="skip", level="full")
    assert failed(report) == {}
    assert (report.ledger[0].rejected, report.ledger[0].stripped) == (3, 0)


def test_another_target_than_was_written_for_fails(tmp_path: Path) -> None:
    for written, asked in (("redis_62", "redis-2.8"), ("redis_62", "redis-8.8"), ("valkey_91", "redis-6.2")):
        target = {"redis_62": redis_62, "valkey_91": valkey_91}[written]()
        target.name = asked
        assert check_target(tmp_path, target).verdict == "failed"


def test_the_contents_check_says_what_was_decoded(tmp_path: Path) -> None:
    (contents,) = (one for one in check_target(tmp_path, redis_62()).checks if one.name == "contents")
    assert "values of type hash, list, set, stream, zset are decoded on both sides" in contents.proves


@pytest.mark.parametrize("level", LEVELS)
def test_a_value_that_does_not_decode_is_an_error_of_the_file(tmp_path: Path, level: str) -> None:
    target = redis_62()
    target.records["hash"] = record(13, b"hash", string(b"no ziplist"))
    with pytest.raises(FormatError, match=r"merged\.rdb at byte \d+: a ziplist whose size"):
        check_target(tmp_path, target, level=level)


def test_the_source_is_read_by_servers_of_its_version() -> None:
    assert rdb(14, entry(b"k"))[:9] == SOURCE[:9]
    assert double(1.0) == b"\x00\x00\x00\x00\x00\x00\xf0?"
