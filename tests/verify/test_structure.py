"""What is read from a merged file, and the damage that stops the reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import entry, rdb, resize, select
from verify.rewritten import check_shards
from verify.test_shards import FIRST, NAMES, SECOND, SOURCE, THIRD, THREE, file_of
from verify.world import Merged, check, failed

from rdbmerge.errors import ChecksumError, FormatError, TruncatedError
from rdbmerge.format.digest import Reading
from rdbmerge.snapshot.hashes import HashCollector
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify import structure
from rdbmerge.verify.structure import MergedReader


def test_counts_types_and_expiries_of_each_db_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.rdb"
    path.write_bytes(rdb(9, select(3), resize(2, 1), entry(b"a"), entry(b"b", expire_at_ms=1 << 61)))
    with Segment(path) as segment:
        db = MergedReader(segment, Reading(dialect=segment.dialect), jobs=1).read().dbs[3]
    assert (db.keys, db.expires, db.expiry_sum_ms, db.last_expiry_ms) == (2, 1, 1 << 61, 1 << 61)
    assert (db.types, db.resized, db.digest.entries) == ({0: 2}, [(2, 1)], 2)


def test_a_wrong_checksum_stops_it(tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match=r"merged\.rdb at byte"):
        check(tmp_path, Merged(checksum=1).bytes())


def test_a_file_that_is_cut_stops_it(tmp_path: Path) -> None:
    with pytest.raises(TruncatedError, match=r"merged\.rdb"):
        check(tmp_path, Merged().bytes()[:-9])


def test_what_is_no_rdb_stops_it(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not an RDB"):
        check(tmp_path, b"*1\r\n$4\r\nPING\r\n")


def test_several_files_share_the_memory_for_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    class Counting(HashCollector):
        def __init__(self, folder: Path, *, limit_hashes: int) -> None:
            limits.append(limit_hashes)
            super().__init__(folder, limit_hashes=limit_hashes)

    monkeypatch.setattr(structure, "HashCollector", Counting)
    monkeypatch.setattr(structure, "_LIMIT_HASHES", 5)  # so that they go to disk
    twice = rdb(10, select(0), resize(3, 0), *(entry(key) for key in [*SECOND, SECOND[0]]))
    files = dict(zip(NAMES, (file_of(*FIRST), twice, file_of(*THIRD)), strict=True))
    report = check_shards(tmp_path, files, [SOURCE], THREE)
    assert limits == [1, 1, 1]
    assert "1 keys stand twice in one db" in failed(report.shards[1])["unique keys"]
    assert "unique keys" not in failed(report.shards[0]) | failed(report.shards[2])
    assert not list(tmp_path.glob(".rdbmerge-*"))
