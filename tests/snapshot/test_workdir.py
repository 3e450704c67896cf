from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rdbmerge.errors import DiskError, UsageError
from rdbmerge.snapshot import workdir
from rdbmerge.snapshot.index import cached_index, index_path
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import Manifest, manifest_path, read_manifest
from rdbmerge.snapshot.segment import Segment
from rdbmerge.snapshot.workdir import WorkDir, disk_error, syncing


class Crash(Exception):  # noqa: N818 - what happens to the process
    """The process dies here."""


class _Fuse:
    """Ends the process' life at the nth change to the disk: Python tells of each of them before it happens."""

    left: int | None = None
    EVENTS = frozenset({"os.rename", "os.remove", "open"})

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.left is None or event not in self.EVENTS:
            return
        if event == "open" and not str(arguments[0]).endswith(".partial"):
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise Crash


_FUSE = _Fuse()
_HOOKED: list[bool] = []


@contextmanager
def crashing_at(change: int) -> Iterator[None]:
    if not _HOOKED:
        sys.addaudithook(_FUSE.hook)
        _HOOKED.append(True)
    _FUSE.left = change
    try:
        yield
    finally:
        _FUSE.left = None


def manifest_of(path: Path, body: bytes) -> Manifest:
    return Manifest(
        rdbmerge_version="0",
        file=path.name,
        size_bytes=len(body),
        crc64=body[-8:][::-1].hex(),
        magic="REDIS0009",
        keys_in_file={},
    )


def put(work: WorkDir, name: str, body: bytes) -> Manifest:
    """A partial file, whole and indexed, and what describes it."""
    partial = work.partial_path(name)
    partial.write_bytes(body)
    with Segment(partial) as segment:
        read_index(segment)
    return manifest_of(work.final_path(name), body)


@pytest.mark.parametrize("with_old", [False, True])
def test_a_crash_at_any_moment_leaves_no_wrong_three(golden: Path, tmp_path: Path, with_old: bool) -> None:
    old, new = ((golden / version / "all_types.rdb").read_bytes() for version in ("6.0.20", "6.2.16"))
    for change in range(50):
        folder = tmp_path / str(change)
        folder.mkdir()
        work = WorkDir(folder)
        if with_old:
            work.publish("a", put(work, "a", old))
        manifest = put(work, "a", new)
        crashed = True
        with crashing_at(change):
            try:
                work.publish("a", manifest)
                crashed = False
            except Crash:
                pass
        final = work.final_path("a")
        body = final.read_bytes() if final.exists() else None
        assert body in ((old, new) if with_old else (None, new))
        said = read_manifest(final)
        if said is not None:
            assert body is not None
            assert said == manifest_of(final, body)
        if index_path(final).exists():
            with Segment(final) as segment:
                assert cached_index(segment) is not None
        if not crashed:
            break
    assert not crashed
    assert change >= 4
    assert (body, said) == (new, manifest)
    assert sorted(path.name for path in folder.iterdir()) == ["a.rdb", "a.rdb.index", "a.rdb.manifest.json"]


def test_a_partial_file_goes_with_any_failure(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)

    def fail() -> None:
        with work.partial_file("a") as fd:
            assert stat.S_IMODE(work.partial_path("a").stat().st_mode) == 0o600
            index_path(work.partial_path("a")).write_bytes(b"")
            raise OSError(errno.ENOSPC, "full", str(fd))

    with pytest.raises(DiskError, match=r"the disk of .* is full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_private_and_one_fills_it(tmp_path: Path) -> None:
    work = WorkDir(tmp_path / "a" / "b")
    with work.filling():
        assert stat.S_IMODE(work.path.stat().st_mode) == 0o700
        with pytest.raises(UsageError, match="another rdbmerge is at work in"), WorkDir(work.path).filling():
            pass
    with work.filling():
        assert work.free_bytes() > 0


def test_remains_are_swept_and_other_files_are_not(tmp_path: Path) -> None:
    for name in (".a.rdb.partial", ".a.rdb.partial.index", ".a.rdb.manifest.json.partial"):
        (tmp_path / name).touch()
    for name in ("a.rdb", ".keep", "x.partial", "a.rdb.manifest.json"):
        (tmp_path / name).touch()
    with WorkDir(tmp_path).filling():
        pass
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".keep", ".rdbmerge.lock", "a.rdb", "a.rdb.manifest.json", "x.partial"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk of d is full"),
        (errno.EACCES, "cannot write to d: Permission denied"),
        (errno.ENOTDIR, "d is not a folder"),
        (errno.EIO, "cannot write to d: Input/output error"),
    ],
)
def test_what_a_disk_refuses_is_told(number: int, message: str) -> None:
    import os

    error = disk_error(Path("d"), OSError(number, os.strerror(number)))
    assert str(error) == message
    assert error.remedy


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="is not a folder"), WorkDir(tmp_path / "file").filling():
        pass
    assert not manifest_path(tmp_path / "file").exists()


def test_what_is_written_is_synced_meanwhile_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real_fsync = os.fsync
    monkeypatch.setattr(workdir, "_SYNC_EVERY_S", 0.01)
    monkeypatch.setattr(workdir, "_sync_data", lambda fd: synced.append("data"))
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append("all"), real_fsync(fd)))
    with (tmp_path / "f").open("wb") as file, syncing(file.fileno()):
        while not synced:
            time.sleep(0.01)
    assert synced[0] == "data"
    assert (synced[-1], synced.count("all")) == ("all", 1)


def test_a_disk_that_fails_meanwhile_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = threading.Event()

    def fail(_fd: int) -> None:
        failing.set()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(workdir, "_SYNC_EVERY_S", 0.01)
    monkeypatch.setattr(workdir, "_sync_data", fail)
    with (tmp_path / "f").open("wb") as file:
        with pytest.raises(OSError, match="Input/output error"), syncing(file.fileno()):
            assert failing.wait(10)
        with pytest.raises(KeyError), syncing(file.fileno()):
            raise KeyError("the work itself failed")
