from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from merging import merged

from rdbmerge.errors import ChecksumError, FormatError, UsageError
from rdbmerge.plan.model import Policy
from rdbmerge.snapshot.manifest import manifest_path, read_manifest
from rdbmerge.steps.upload_source import UploadSource, checked_metadata
from rdbmerge.stores.sums import CRC64

pytestmark = pytest.mark.once


@pytest.fixture
def made(golden: Path, tmp_path: Path) -> Path:
    """A merged file with its manifest."""
    shutil.copy(golden / "6.2.16" / "all_types.rdb", tmp_path / "in.rdb")
    merged([tmp_path / "in.rdb"], tmp_path / "out.rdb", on_conflict=Policy.FAIL)
    return tmp_path / "out.rdb"


def crc_of(path: Path) -> int:
    return int(CRC64.calc(path.read_bytes()[:-8]))


def test_a_file_with_its_manifest_is_checked_against_it(made: Path) -> None:
    source = UploadSource.of(made)
    manifest = read_manifest(made)
    assert manifest is not None
    assert (source.checksum_at, source.size_bytes) == (made.stat().st_size - 8, made.stat().st_size)
    source.check(crc_of(made))
    assert source.metadata({"rdbmerge-contents": "{}"})["rdbmerge-crc64"] == manifest.crc64
    assert source.manifest_bytes() == manifest_path(made).read_bytes()
    with pytest.raises(UsageError, match="is not the file that its manifest describes") as refused:
        source.check(crc_of(made) ^ 1)
    assert "remove the manifest" in refused.value.remedy


def test_a_file_of_another_size_than_its_manifest_says_is_refused_at_once(made: Path) -> None:
    made.write_bytes(made.read_bytes() + b"x")
    with pytest.raises(UsageError, match="its manifest says"):
        UploadSource.of(made)


def test_a_damaged_file_without_a_manifest_is_found_by_its_own_checksum(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    data = bytearray((golden / "6.2.16" / "all_types.rdb").read_bytes())
    path.write_bytes(data)
    UploadSource.of(path).check(crc_of(path))
    at = data.index(b"redis-ver") + 1
    data[at] ^= 1
    path.write_bytes(data)
    source = UploadSource.of(path)
    with pytest.raises(ChecksumError):
        source.check(crc_of(path))
    assert source.manifest_bytes() is None
    assert "rdbmerge-crc64" not in source.metadata({})


def test_a_file_of_a_server_that_writes_no_checksum_passes(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes((golden / "6.2.16" / "all_types.rdb").read_bytes()[:-8] + bytes(8))
    UploadSource.of(path).check(crc_of(path))


def test_what_is_no_rdb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rdb").write_bytes(b"PK\x03\x04 no such thing")
    with pytest.raises(FormatError):
        UploadSource.of(tmp_path / "a.rdb")
    with pytest.raises(UsageError, match="cannot read"):
        UploadSource.of(tmp_path / "none.rdb")


def test_metadata_has_its_limits() -> None:
    assert checked_metadata({"a": "b"}) == {"a": "b"}
    with pytest.raises(UsageError, match="would be 3,001 bytes") as refused:
        checked_metadata({"a": "b" * 3_000})
    assert "2,048" in refused.value.remedy
    with pytest.raises(UsageError, match="no header can hold"):
        checked_metadata({"a": "ü"})
