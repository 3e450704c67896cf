"""The checks of a merged file by itself: each fails for its own defect, and no other does."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import aux, entry, expiry, function, idle, length, record, resize, select, string, strings
from verify.world import HOUR_MS, LATE_MS, LIBRARY, Merged, check, failed

SLOT_INFO = b"\xf4" + length(1) + length(1) + length(0)

DEFECTS = [
    ("no foreign AUX", Merged(head=[aux(b"REPL-ID", b"x" * 40), function(LIBRARY)]), "REPL-ID"),
    ("no foreign AUX", Merged(head=[aux(b"repl-offset", b"12"), function(LIBRARY)]), "repl-offset"),
    ("no foreign AUX", Merged(head=[aux(b"slot-info", b"1,1,0"), function(LIBRARY)]), "slot-info"),
    ("no cluster records", Merged(open0=select(0) + resize(5, 1) + SLOT_INFO), "SLOT_INFO"),
    ("announced counts", Merged(open0=select(0) + resize(6, 1)), "6 keys and 1 expiries, there are 5 and 1"),
    ("announced counts", Merged(open0=select(0) + resize(5, 2)), "5 keys and 2 expiries, there are 5 and 1"),
    ("announced counts", Merged(open1=select(1)), "nothing"),
    ("checksum", Merged(checksum=0), "the checksum is 0"),
    ("exact end", Merged(tail=b"\0"), "1 bytes follow"),
    ("records", Merged(after=[aux(b"ctime", b"1")]), "opcode 250"),
    ("records", Merged(after=[select(0)]), "db 0 after db 1"),
    ("records", Merged(head=[function(LIBRARY), aux(b"ctime", b"1")]), "opcode 250"),
    ("version", Merged(version=11), "type 24 (hash_metadata) needs version 12"),
    ("unique libraries", Merged(head=[function(LIBRARY), function(LIBRARY)]), "'lib' stands twice"),
]


@pytest.mark.parametrize(("name", "merged", "said"), DEFECTS)
def test_a_defect_fails_its_check_and_no_other(tmp_path: Path, name: str, merged: Merged, said: str) -> None:
    report = check(tmp_path, merged.bytes())
    assert report.verdict == "failed"
    assert list(failed(report)) == [name]
    assert said in failed(report)[name]


def test_an_expiry_that_means_never_or_dead_is_found(tmp_path: Path) -> None:
    for at_ms in (0, -1, -5):
        merged = Merged()
        merged.db0[0] = record(0, b"k", string(b"from a"), attributes=expiry(at_ms))
        assert "1 entries with an expiry" in failed(check(tmp_path, merged.bytes()))["regular entries"]


def test_an_order_of_attributes_that_old_servers_refuse_is_found(tmp_path: Path) -> None:
    merged = Merged()
    attributes = idle(1) + expiry(LATE_MS + HOUR_MS)
    merged.db0[0] = record(0, b"k", string(b"from a"), attributes=attributes)
    assert "regular entries" in failed(check(tmp_path, merged.bytes()))


def test_an_empty_collection_is_found(tmp_path: Path) -> None:
    merged = Merged()
    merged.db1[0] = record(2, b"empty", strings([]))
    assert "empty collections" in failed(check(tmp_path, merged.bytes()))["regular entries"]


def test_hints_and_libraries_need_their_versions(tmp_path: Path) -> None:
    merged = Merged(version=8)
    merged.db0 = [record(0, b"h", string(b"v"), attributes=idle(3)), entry(b"x")]
    said = failed(check(tmp_path, merged.bytes()))["version"]
    assert "idle times or frequencies: version 9" in said
    assert "function libraries: version 10" in said
