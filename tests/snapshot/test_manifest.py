"""The facts about a file, kept beside it; and when its snapshot was taken."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from rdbbytes import aux, entry, rdb, select

from rdbmerge.errors import UsageError
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import (
    Manifest,
    Merged,
    Pulled,
    checked_manifest,
    manifest_path,
    read_manifest,
    snapshot_time,
    write_manifest,
    write_private,
)
from rdbmerge.snapshot.segment import Segment

CTIME_S = 1_700_000_000
DATA = rdb(9, aux(b"ctime", b"%d" % CTIME_S), select(0), entry(b"k"))
MTIME_NS = 1_600_000_000_123_456_789


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return put(tmp_path, DATA)


def put(folder: Path, data: bytes) -> Path:
    path = folder / "a.rdb"
    path.write_bytes(data)
    os.utime(path, ns=(5, MTIME_NS))
    return path


PULLED = Pulled(address="h:1", framing="eof", started_at_ms=1, duration_s=2, written="quiet", evidence="same offset")


def manifest(**facts: object) -> Manifest:
    return Manifest(
        rdbmerge_version="0.1.0", file="a.rdb", size_bytes=len(DATA), crc64="0" * 16, magic="REDIS0009",
        keys_in_file={0: 1}, **facts,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    "one",
    [
        manifest(),
        manifest(snapshot_at_ms=5, sha256="ab", pulled=PULLED),
        manifest(merged=Merged(sources={"b.rdb": "00"}, plan_sha256="cd")),
    ],
)  # fmt: skip
def test_a_manifest_is_read_back_as_it_was_written(path: Path, one: Manifest) -> None:
    write_manifest(path, one)
    assert read_manifest(path) == one
    assert manifest_path(path).name == "a.rdb.manifest.json"
    with Segment(path) as segment:
        assert checked_manifest(segment) == one


def test_a_manifest_is_private_and_replaced_at_once(path: Path) -> None:
    old = os.umask(0)
    try:
        write_manifest(path, manifest())
        with manifest_path(path).open() as reader:
            write_manifest(path, manifest(snapshot_at_ms=7))
            assert '"snapshot_at_ms": null' in reader.read()
    finally:
        os.umask(old)
    assert stat.S_IMODE(manifest_path(path).stat().st_mode) == 0o600
    assert sorted(one.name for one in path.parent.iterdir()) == ["a.rdb", "a.rdb.manifest.json"]


def test_a_private_file_that_exists_with_more_rights_loses_them(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    (tmp_path / "f").chmod(0o644)
    write_private(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_a_file_without_a_manifest_has_none(path: Path) -> None:
    assert read_manifest(path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"manifest_format": 1, "unknown": 2}', "\udcff"])
def test_a_damaged_manifest_is_refused_with_what_to_do(path: Path, text: str) -> None:
    manifest_path(path).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"the manifest .*a\.rdb\.manifest\.json cannot be read: ") as refused:
        read_manifest(path)
    assert "pull the source again, or remove the manifest" in refused.value.remedy
    assert "\n" not in str(refused.value)


def test_a_manifest_of_another_size_is_refused(path: Path) -> None:
    write_manifest(path, manifest().model_copy(update={"size_bytes": 9_999}))
    with Segment(path) as segment, pytest.raises(UsageError) as refused:
        checked_manifest(segment)
    assert str(refused.value) == f"a.rdb has {len(DATA)} bytes, its manifest says 9,999"
    assert "pull it again" in refused.value.remedy


def time_of(path: Path, declared_ms: int | None = None) -> tuple[int, str]:
    with Segment(path) as segment:
        return snapshot_time(segment, read_index(segment).facts, declared_ms)


def test_the_snapshot_time_is_what_the_user_says_else_the_manifest_else_ctime_else_mtime(tmp_path: Path) -> None:
    path = put(tmp_path, rdb(9, select(0), entry(b"k")))
    assert time_of(path) == (1_600_000_000_123, "file mtime")
    path = put(tmp_path, DATA)
    assert time_of(path) == (CTIME_S * 1_000, "aux ctime")
    write_manifest(path, manifest())  # one that does not tell, as of a merged file
    assert time_of(path) == (CTIME_S * 1_000, "aux ctime")
    write_manifest(path, manifest(snapshot_at_ms=77))
    assert time_of(path) == (77, "manifest")
    assert time_of(path, 5) == (5, "--snapshot-time")
    assert time_of(path, 0) == (0, "--snapshot-time")


@pytest.mark.parametrize("text", [b"", b"-5", b"soon", b"1e9", "\u0663".encode(), b"9" * 12])
def test_a_ctime_that_is_no_time_is_passed_over(tmp_path: Path, text: bytes) -> None:
    assert time_of(put(tmp_path, rdb(9, aux(b"ctime", text)))) == (1_600_000_000_123, "file mtime")
