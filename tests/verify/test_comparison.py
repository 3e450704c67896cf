"""The comparison of two entries in bulk agrees with the core's, entry by entry."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from blobbytes import Raw, consumer, group, intset, listpack, lzf, node, stream, ziplist, zipmap
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import aux, entry, freq, idle, length, rdb, record, resize, select, string, strings
from verify.world import check

from rdbmerge.format.core import shifted
from rdbmerge.verify import comparison
from rdbmerge.verify.entries import shifted_all, spans_equal

CTIME = aux(b"ctime", b"1700000000")
META = b"\xf3" + length(1) + struct.pack("<I", 7) + length(0)


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)), st.integers(-(1 << 47), 1 << 47))
def test_expiries_move_in_bulk_as_one_by_one(at_ms: list[int], offset_ms: int) -> None:
    moved = shifted_all(np.array(at_ms, np.int64), offset_ms)
    assert moved.tolist() == [shifted(one, offset_ms) for one in at_ms]


def test_spans_of_other_lengths_are_not_equal() -> None:
    view = memoryview(b"abcabc")
    starts, ends = np.array([0, 0]), np.array([3, 3])
    assert spans_equal(view, starts, ends, view, starts + 3, np.array([6, 5])).tolist() == [True, False]


def kinds(folder: Path, merged: bytes, source: bytes) -> list[tuple[str, str, str]]:
    report = check(
        folder,
        rdb(13, CTIME, select(0), resize(1, 0), merged),
        [rdb(13, CTIME, select(0), source)],
        level="full",
        on_conflict="fail",
    )
    return [(one.kind, one.expected, one.found) for one in report.differences]


def test_hints_of_another_kind_differ(tmp_path: Path) -> None:
    idle_5 = record(0, b"k", string(b"v"), attributes=idle(5))
    freq_5 = record(0, b"k", string(b"v"), attributes=freq(5))
    assert kinds(tmp_path, idle_5, idle_5) == []
    assert kinds(tmp_path, freq_5, idle_5) == [("hint", "idle s 5", "frequency 5")]
    assert kinds(tmp_path, entry(b"k"), idle_5) == [("hint", "idle s 5", "none")]


def test_key_metadata_counts(tmp_path: Path) -> None:
    with_meta = record(0, b"k", string(b"v"), attributes=META)
    other = record(0, b"k", string(b"v"), attributes=META.replace(b"\x07", b"\x08"))
    assert kinds(tmp_path, with_meta, with_meta) == []
    assert [kind for kind, *_ in kinds(tmp_path, other, with_meta)] == ["metadata"]
    assert [kind for kind, *_ in kinds(tmp_path, entry(b"k"), with_meta)] == ["metadata"]


def test_values_are_not_shown(tmp_path: Path) -> None:
    ((kind, expected, found),) = kinds(tmp_path, entry(b"k", b"secret 2"), entry(b"k", b"secret 1"))
    assert (kind, expected, found) == ("value", "9 bytes", "9 bytes, other from byte 8 of the value on")


# What a source had wrong inside, and a merge copied.
DAMAGED: dict[str, tuple[int, bytes, str]] = {
    "ziplist": (10, string(ziplist(b"a", Raw(b"\x80"))), "a ziplist"),
    "ziplist of pairs": (13, string(ziplist(b"f")), "a value whose elements do not come in pairs"),
    "listpack": (20, string(listpack(b"a", Raw(b"\xfe"))), "a listpack element cannot start with 0xfe"),
    "intset": (11, string(intset(2, 2, 1)), "an intset whose numbers do not ascend"),
    "zipmap": (9, string(zipmap({b"f": b"v"}, count=2)), "a zipmap that holds another number"),
    "score": (17, string(listpack(b"m", b"x")), "a score that is not a number"),
    "quicklist": (18, b"\x01\x02" + string(listpack(b"a", count=3)), "a listpack that holds another number"),
    "compressed": (0, lzf(b"a" * 30)[:-1] + b"\x7f", "a compressed string does not unpack"),
    "stream": (15, stream(1, [node((1, 0), listpack(1, 0, 0))], live=1), "a stream node"),
    "set": (2, strings([b"a", b"a"]), "a set that holds a member twice"),
    "sorted set": (17, string(listpack(b"m", 1, b"m", 2)), "a sorted set that holds a member twice"),
    "hash": (13, string(ziplist(b"f", 1, b"f", 2)), "a hash that holds a field twice"),
    "group": (
        15,
        stream(1, groups=[group(1, b"g", consumers=[consumer(1, b"c", (1, 0))])]),
        "do not fit its pending entries",
    ),
    "array": (28, length(2) + b"\x00" + (b"\x05\x00\x01a" * 2), "an array that holds index 5 twice"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("form", ["as it is", "twice"])
def test_damage_inside_a_copied_value_is_found_at_level_full_alone(tmp_path: Path, name: str, form: str) -> None:
    number, payload, finding = DAMAGED[name]
    records = [record(number, b"k", payload), entry(b"sound")] + [record(number, b"l", payload)] * (form == "twice")
    source = rdb(14, CTIME, select(0), *records)
    merged = rdb(14, CTIME, select(0), resize(len(records), 0), *records)
    assert check(tmp_path, merged, [source], level="digest", on_conflict="fail").verdict == "passed"
    report = check(tmp_path, merged, [source], level="full", on_conflict="fail")
    assert report.verdict == "failed"
    keys = ["k", "l"] if form == "twice" else ["k"]
    assert [(one.kind, one.key, one.source, one.expected) for one in report.differences] == [
        ("damaged", f'"{key}"', "a.rdb", "a value that decodes") for key in keys
    ]
    assert all(finding in one.found and "at byte" in one.found for one in report.differences)
    assert [check.name for check in report.failed_checks] == ["entry by entry"]


def test_a_large_value_is_opened_item_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "_WHOLE_BYTES", 4)
    for name, found in (("listpack", 1), ("stream", 1), ("quicklist", 1), ("array", 1), ("set", 0)):
        number, payload, _ = DAMAGED[name]
        source = rdb(14, CTIME, select(0), record(number, b"k", payload))
        merged = rdb(14, CTIME, select(0), resize(1, 0), record(number, b"k", payload))
        report = check(tmp_path, merged, [source], level="full", on_conflict="fail")
        assert [one.kind for one in report.differences] == ["damaged"] * found


def test_a_copied_value_without_damage_is_not_damaged(tmp_path: Path) -> None:
    every = [
        record(10, b"l", string(ziplist(b"a", 5))), record(13, b"h", string(ziplist(b"f", b"v"))),
        record(20, b"s", lzf(listpack(b"a", 1))), record(28, b"a", length(1) + b"\x00\x05\x00\x01a"),
        record(15, b"x", stream(1)),
    ]  # fmt: skip
    source = rdb(14, CTIME, select(0), *every)
    merged = rdb(14, CTIME, select(0), resize(len(every), 0), *every)
    assert check(tmp_path, merged, [source], level="full", on_conflict="fail").verdict == "passed"
