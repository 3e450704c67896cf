"""The comparison of two entries in bulk agrees with the core's, entry by entry."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import aux, entry, freq, idle, length, rdb, record, resize, select, string
from verify.world import check

from rdbmerge.format.core import shifted
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
