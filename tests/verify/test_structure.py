"""What is read from a merged file, and the damage that stops the reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import entry, rdb, resize, select
from verify.world import Merged, check

from rdbmerge.errors import ChecksumError, FormatError, TruncatedError
from rdbmerge.format.digest import Reading
from rdbmerge.snapshot.segment import Segment
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
