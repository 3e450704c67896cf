"""Pairing in ranges of hashes, and where hashes alone do not say who belongs to whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdbbytes import aux, entry, rdb, resize, select
from verify.world import check, failed

from rdbmerge.verify import entries, pairing
from rdbmerge.verify.entries import ENTRY
from rdbmerge.verify.pairing import match

CTIME = aux(b"ctime", b"1700000000")
KEYS = 400


def keys(changed: int = -1, count: int = KEYS) -> list[bytes]:
    return [entry(b"key:%d" % i, b"other" if i == changed else b"v%d" % i) for i in range(count)]


def test_many_ranges_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "_ROOM_BYTES", 4096)
    source = rdb(9, CTIME, select(0), *keys())
    good = rdb(9, CTIME, select(0), resize(KEYS, 0), *reversed(keys()))
    report = check(tmp_path, good, [source], level="full", on_conflict="fail")
    assert failed(report) == {}
    assert report.ledger[0].found == KEYS
    bad = rdb(9, CTIME, select(0), resize(KEYS, 0), *keys(changed=77))
    report = check(tmp_path, bad, [source], level="full", on_conflict="fail")
    assert [(one.kind, one.key_base64) for one in report.differences] == [("value", b"key:77")]


def test_only_the_first_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    source = rdb(9, CTIME, select(0), *keys())
    report = check(tmp_path, rdb(9, CTIME, select(0), resize(1, 0), entry(b"x")), [source], on_conflict="fail")
    assert report.differences_total == KEYS + 1
    assert len(report.differences) == 100


class _Keys:
    """Stands for the comparison where only keys matter: the key of an entry is its `entry` number."""

    def same_keys(self, expected: entries.Entries, found: entries.Entries) -> object:
        return expected["entry"] == found["entry"]

    def expected_key(self, entry: entries.Entries) -> bytes:
        return b"%d" % entry["entry"]

    found_key = expected_key


def some(*hash_and_key: tuple[int, int]) -> entries.Entries:
    out = np.zeros(len(hash_and_key), ENTRY)
    out["hash"], out["entry"] = [h for h, _ in hash_and_key], [k for _, k in hash_and_key]
    return out


def test_equal_hashes_of_different_keys_do_not_make_pairs() -> None:
    expected, found = some((7, 1), (7, 2), (9, 3), (5, 4)), some((7, 2), (7, 1), (9, 8), (6, 5))
    left, right, missing, unexpected = match(expected, found, _Keys())  # type: ignore[arg-type]
    assert sorted(zip(left.tolist(), right.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert (missing.tolist(), unexpected.tolist()) == ([2, 3], [2, 3])


def test_nothing_on_either_side_is_no_difference() -> None:
    assert [len(part) for part in match(some(), some(), _Keys())] == [0, 0, 0, 0]  # type: ignore[arg-type]
    assert [len(part) for part in match(some((1, 1)), some(), _Keys())] == [0, 0, 1, 0]  # type: ignore[arg-type]
    assert [len(part) for part in match(some(), some((1, 1)), _Keys())] == [0, 0, 0, 1]  # type: ignore[arg-type]
