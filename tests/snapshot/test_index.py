"""An index is a cache: reused while it belongs to the file, silently made anew when it does not."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rdbbytes import entry, rdb, select
from xxhash import xxh64_intdigest

from rdbmerge.errors import DiskError
from rdbmerge.snapshot import index as index_module
from rdbmerge.snapshot.index import Index, cached_index, index_path
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import Segment

KEYS = [b"key:%d" % n for n in range(300)]
DATA = rdb(9, select(0), *map(entry, KEYS[:200]), select(7), *map(entry, KEYS[200:]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.rdb"
    path.write_bytes(DATA)
    os.utime(path, ns=(5, 1_700_000_000_123_456_789))
    return path


def indexed(path: Path) -> Index:
    with Segment(path) as segment:
        return read_index(segment)


def cached(path: Path) -> Index | None:
    with Segment(path) as segment:
        return cached_index(segment)


def hashes(index: Index) -> dict[int, list[int]]:
    return {db: column.tolist() for db, column in index.hashes.items()}


EXPECTED = {0: sorted(map(xxh64_intdigest, KEYS[:200])), 7: sorted(map(xxh64_intdigest, KEYS[200:]))}


def test_an_index_is_kept_beside_the_file_and_used_again(path: Path) -> None:
    assert cached(path) is None
    made = indexed(path)
    again = cached(path)
    assert again is not None
    assert again.facts == made.facts
    assert hashes(made) == hashes(again) == EXPECTED


def test_a_cached_index_is_used_without_reading_the_file_again(path: Path) -> None:
    indexed(path)
    before = index_path(path).stat().st_mtime_ns
    told: list[int] = []
    with Segment(path) as segment:
        read_index(segment, progress=told.append)
    assert told == [len(DATA)]
    assert index_path(path).stat().st_mtime_ns == before


def test_an_index_is_private(path: Path) -> None:
    old = os.umask(0)
    try:
        indexed(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(index_path(path).stat().st_mode) == 0o600


def touch(path: Path) -> None:
    os.utime(path, ns=(5, 6))


def grow(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(DATA + b"x")
    os.utime(path, ns=(5, facts.st_mtime_ns))


def other_checksum(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(rdb(9, select(0), *map(entry, KEYS[1:201]), select(7), *map(entry, KEYS[200:]))[: len(DATA)])
    path.write_bytes(DATA[:-8] + bytes(8))
    os.utime(path, ns=(5, facts.st_mtime_ns))


def edit(**facts: object) -> Callable[[Path], None]:
    def edit_index(path: Path) -> None:
        line, _, rest = index_path(path).read_bytes().partition(b"\n")
        text = json.dumps(json.loads(line) | facts).encode()
        index_path(path).write_bytes(text.ljust(len(line)) + b"\n" + rest)

    return edit_index


def overwrite(data: bytes) -> Callable[[Path], None]:
    return lambda path: [index_path(path).write_bytes(data), None][1]


def cut(path: Path) -> None:
    os.truncate(index_path(path), index_path(path).stat().st_size - 1)


def zeroes(path: Path) -> None:
    """What a file system may leave of a file that was not synced when the power went."""
    with index_path(path).open("r+b") as file:
        file.seek(4096 + 8 * 100)
        file.write(bytes(8 * 50))


def cut_head(path: Path) -> None:
    os.truncate(index_path(path), 100)


@pytest.mark.parametrize(
    "spoil",
    [
        touch, grow, other_checksum, cut, cut_head, edit(index_format=0), edit(index_format=99), edit(unknown=1),
        edit(size_bytes=5), edit(hashes_at={"0": [1 << 40, 200, 0]}),
        edit(hashes_at={"0": [4096, 0, 0]}),
        edit(hashes_at={"0": [-1, 5, 0]}), edit(dbs=[]), zeroes, overwrite(b""), overwrite(b"\n"), overwrite(b"{}\n"),
        overwrite(b"\xff\xfe garbage \x00"), overwrite(b"[" * 100_000),
    ],
)  # fmt: skip
def test_an_index_that_does_not_belong_to_the_file_is_made_anew(path: Path, spoil: Callable[[Path], None]) -> None:
    indexed(path)
    spoil(path)
    assert cached(path) is None
    index = indexed(path)
    assert hashes(index) == EXPECTED
    assert index.facts.keys == 300
    assert cached(path) is not None


def test_a_file_without_a_checksum_is_known_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "old.rdb"
    path.write_bytes(rdb(2, select(0), entry(b"k")))
    indexed(path)
    assert cached(path) is not None
    touch(path)
    assert cached(path) is None


def test_facts_longer_than_a_page_have_room(tmp_path: Path) -> None:
    path = tmp_path / "many.rdb"
    path.write_bytes(rdb(9, *(select(db) + entry(b"k%d" % db) for db in range(500))))
    made = indexed(path)
    again = cached(path)
    assert again is not None
    assert hashes(again) == hashes(made) == {db: [xxh64_intdigest(b"k%d" % db)] for db in range(500)}
    assert all(offset % 8 == 0 for offset, *_ in again.facts.hashes_at.values())


def test_an_empty_file_has_an_index_too(tmp_path: Path) -> None:
    path = tmp_path / "none.rdb"
    path.write_bytes(rdb(9))
    assert indexed(path).facts.keys == 0
    assert cached(path) is not None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_where_the_index_cannot_be_kept_it_is_made_all_the_same(small_disk: Path) -> None:
    path = small_disk / "a.rdb"
    path.write_bytes(DATA)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert hashes(indexed(path)) == EXPECTED
    assert [entry.name for entry in small_disk.iterdir()] == ["a.rdb"]


def test_a_full_disk_beside_the_file_is_no_failure(small_disk: Path) -> None:
    path = small_disk / "a.rdb"
    path.write_bytes(DATA.ljust(28_000, b"\0"))
    assert hashes(indexed(path)) == EXPECTED
    assert [entry.name for entry in small_disk.iterdir()] == ["a.rdb"]


def test_no_room_anywhere_is_told_with_what_is_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(index_module.os, "open", full)
    monkeypatch.setattr(index_module.tempfile, "TemporaryFile", full)
    with pytest.raises(DiskError, match=r"no room for the index of a\.rdb \(2,400 bytes\): No space left") as refused:
        indexed(path)
    assert "TMPDIR" in refused.value.remedy
    assert not index_path(path).exists()
