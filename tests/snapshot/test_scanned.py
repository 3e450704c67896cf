"""Segments of entries that come in any order: whole RDB files, each key once, the last of each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rdbbytes import aux, crc64, entry, function, select

from rdbmerge.format.columns import Columns
from rdbmerge.format.core import xxh64_of
from rdbmerge.format.dialects import Dialect
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.scanned import SegmentWriter, Written
from rdbmerge.snapshot.segment import Segment

DIALECT = Dialect("redis", 10)
CODE = b"#!lua name=lib\nreturn 1"
HEAD = b"REDIS0010" + aux(b"redis-bits", b"64") + aux(b"ctime", b"1700000000")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SegmentWriter]:
    fd = os.open(tmp_path / "a.rdb", os.O_WRONLY | os.O_CREAT, 0o600)
    one = SegmentWriter(fd, tmp_path / "a.rdb", ctime_s=1_700_000_000)
    yield one
    one.close()
    os.close(fd)


def put(writer: SegmentWriter, db: int, *entries: tuple[bytes, bytes]) -> None:
    hashes = np.array([xxh64_of(key) for key, _ in entries], np.uint64)
    writer.entries(db, b"".join(entry(key, value) for key, value in entries), hashes)


def whole(body: bytes) -> bytes:
    return body + b"\xff" + crc64(body + b"\xff").to_bytes(8, "little")


def contents(path: Path) -> dict[tuple[int, bytes], bytes]:
    found = {}
    with Segment(path) as segment:
        read_index(segment)
        for batch in segment.walk():
            if isinstance(batch, Columns):
                for row in range(batch.rows):
                    start, end = int(batch.value_start[row]), int(batch.end[row])
                    found[batch.db, batch.key(segment.view, row)] = bytes(segment.view[start:end])
    return found


def test_the_file_is_an_rdb_byte_by_byte(writer: SegmentWriter, tmp_path: Path) -> None:
    assert not writer.has_begun
    writer.begin(DIALECT, function(CODE))
    put(writer, 0, (b"a", b"1"), (b"b", b"2"))
    put(writer, 0, (b"c", b"3"))
    put(writer, 300, (b"a", b"4"))
    written = writer.finish()
    data = (tmp_path / "a.rdb").read_bytes()
    assert data == whole(
        HEAD + function(CODE) + select(0) + entry(b"a", b"1") + entry(b"b", b"2") + entry(b"c", b"3")
        + select(300) + entry(b"a", b"4")
    )  # fmt: skip
    assert written == Written(len(data), hashlib.sha256(data).hexdigest(), 0)


def test_a_key_that_came_again_is_there_once_with_its_last_value(writer: SegmentWriter, tmp_path: Path) -> None:
    writer.begin(DIALECT)
    put(writer, 0, (b"a", b"old"), (b"b", b"2"), (b"a", b"older than the last"))
    put(writer, 1, (b"a", b"other db"))
    put(writer, 0, (b"c", b"3"), (b"a", b"last"))
    written = writer.finish()
    data = (tmp_path / "a.rdb").read_bytes()
    assert (written.repeated, written.size_bytes) == (2, len(data))
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert contents(tmp_path / "a.rdb") == {
        (0, b"a"): b"\x04last", (0, b"b"): b"\x012", (0, b"c"): b"\x013", (1, b"a"): b"\x08other db",
    }  # fmt: skip


def test_equal_hashes_of_different_keys_leave_nothing_out(writer: SegmentWriter, tmp_path: Path) -> None:
    writer.begin(DIALECT)
    same = np.array([7, 7], np.uint64)  # what nobody could find by chance
    writer.entries(0, entry(b"a", b"1") + entry(b"b", b"2"), same)
    assert writer.finish().repeated == 0
    assert len(contents(tmp_path / "a.rdb")) == 2


def test_large_files_move_together_in_place(writer: SegmentWriter, tmp_path: Path) -> None:
    writer.begin(DIALECT)
    big = os.urandom(3_000_000)
    for number in range(4):
        put(writer, 0, (b"k%d" % number, big), (b"again", b"%d" % number))
    written = writer.finish()
    assert written.repeated == 3
    found = contents(tmp_path / "a.rdb")
    assert found[0, b"again"] == b"\x013"
    assert [len(found[0, b"k%d" % number]) for number in range(4)] == [3_000_005] * 4


def test_nothing_at_all_is_a_file_that_every_server_loads(writer: SegmentWriter, tmp_path: Path) -> None:
    assert writer.finish().size_bytes == 18
    assert (tmp_path / "a.rdb").read_bytes() == whole(b"REDIS0006")
    assert contents(tmp_path / "a.rdb") == {}
