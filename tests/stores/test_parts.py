from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from rdbmerge.errors import StoppedError, StoreError, UsageError
from rdbmerge.stores import parts
from rdbmerge.stores.parts import Part, PartFile, cut, part_size_bytes
from rdbmerge.stores.sums import CRC64, Algorithm

pytestmark = pytest.mark.once

MB = 1 << 20
GB = 1 << 30


@pytest.fixture
def real_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_PART_BYTES", 5 * MB)
    monkeypatch.setattr(parts, "_ROUND_BYTES", MB)


@pytest.mark.parametrize(
    ("size", "wanted", "expected"),
    [(1, None, 64 * MB), (600 * GB, None, 64 * MB), (700 * GB, None, 72 * MB), (10 * GB, 5 * MB, 5 * MB)],
)
@pytest.mark.usefixtures("real_limits")
def test_parts_are_as_large_as_need_be(size: int, wanted: int | None, expected: int) -> None:
    assert part_size_bytes(size, wanted) == expected
    assert -(-size // part_size_bytes(size, wanted)) <= 10_000


@pytest.mark.parametrize(
    ("size", "wanted", "finding"),
    [
        (1, 5 * MB - 1, "parts of 5.0 MB cannot be"),
        (1, 6 * GB, "parts of 6.0 GB cannot be"),
        (100 * GB, 5 * MB, "would be more than 10,000"),
        (60_000 * GB, None, "more than an object of S3 holds"),
    ],
)
@pytest.mark.usefixtures("real_limits")
def test_parts_that_s3_refuses_are_refused_before(size: int, wanted: int | None, finding: str) -> None:
    with pytest.raises(UsageError, match=finding) as refused:
        part_size_bytes(size, wanted)
    assert refused.value.remedy


def test_a_file_is_cut_without_gaps() -> None:
    assert cut(11, 5) == [Part(1, 0, 5), Part(2, 5, 5), Part(3, 10, 1)]
    assert cut(10, 5) == [Part(1, 0, 5), Part(2, 5, 5)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.rdb"
    path.write_bytes(bytes(range(256)) * 20_000)
    return path


def test_a_body_is_read_again_from_its_beginning(file: Path) -> None:
    told: list[int] = []
    with PartFile(file, crc64_until=file.stat().st_size) as opened:
        body = opened.body(Part(2, 1000, 500_000), threading.Event(), told.append)
        expected = file.read_bytes()[1000:501_000]
        assert len(body) == 500_000
        assert body.seek(0, os.SEEK_END) == 500_000
        assert body.seek(0) == 0
        for size in (16_384, 1 << 20, 7_001):
            assert b"".join(iter(lambda size=size: body.read(size), b"")) == expected  # type: ignore[misc]
            assert sum(told) == 500_000
            body.seek(0)
            assert sum(told) == 0
        assert body.read() == expected
        sums = opened.summed(Part(2, 1000, 500_000), Algorithm.CRC32, with_md5=False, stop=threading.Event())
        assert sums.crc64 == CRC64.calc(expected)
        assert sums.checksum == Algorithm.CRC32.calc(expected)


@pytest.mark.parametrize("passes_unsummed", [0, 1, 2])
def test_a_body_takes_its_sums_in_the_pass_that_sends_or_reads_once_more(file: Path, passes_unsummed: int) -> None:
    reads: list[int] = []
    with PartFile(file, crc64_until=file.stat().st_size) as opened:
        body = opened.body(Part(1, 0, 300_000), threading.Event(), None, with_md5=True)
        plain = body._read_at
        body._read_at = lambda at, count: (reads.append(count), plain(at, count))[1]  # type: ignore[func-returns-value]
        body.rewind(passes_unsummed)
        for number in range(2):
            while body.read(100_000):
                pass
            if number == 0:
                body.seek(0)
        before = sum(reads)
        sums = body.sums()
        expected = file.read_bytes()[:300_000]
        assert (sums.md5, sums.crc64) == (hashlib.md5(expected).digest(), CRC64.calc(expected))
        assert sum(reads) - before == (300_000 if passes_unsummed == 2 else 0)


def test_a_stop_ends_reading(file: Path) -> None:
    stop = threading.Event()
    with PartFile(file, crc64_until=0) as opened:
        body = opened.body(Part(1, 0, 100), stop, None)
        stop.set()
        with pytest.raises(StoppedError):
            body.read(1)
        with pytest.raises(StoppedError):
            opened.summed(Part(1, 0, 100), Algorithm.NONE, with_md5=False, stop=stop)


def test_a_file_that_changes_is_noticed(file: Path, tmp_path: Path) -> None:
    with PartFile(file, crc64_until=0) as opened:
        opened.check_unchanged()
        os.utime(file, ns=(1, 1))
        with pytest.raises(StoreError, match=r"a\.rdb changed while it was being uploaded"):
            opened.check_unchanged()
    with PartFile(file, crc64_until=0) as opened:
        (tmp_path / "b").write_bytes(file.read_bytes())
        (tmp_path / "b").replace(file)
        with pytest.raises(StoreError, match="changed"):
            opened.check_unchanged()
    with PartFile(file, crc64_until=0) as opened:
        os.truncate(file, 10)
        with pytest.raises(StoreError, match="changed"):
            opened.read_at(0, 100)
    with PartFile(file, crc64_until=0) as opened:
        file.unlink()
        with pytest.raises(StoreError, match="changed"):
            opened.check_unchanged()


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        PartFile(tmp_path / "none", crc64_until=0)
