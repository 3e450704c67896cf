"""A folder of pulled snapshots: its lock, the names in it, and how a file, its index and its manifest get theirs.

A crash at any moment leaves, under the final names, nothing, the old three, or a file without manifest or index (which
is whole, and is pulled again); never a manifest or an index beside another file than its own. Knows nothing of sources.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rdbmerge.errors import DiskError, UsageError
from rdbmerge.snapshot.index import index_path
from rdbmerge.snapshot.manifest import Manifest, manifest_path, write_manifest
from rdbmerge.snapshot.segment import RDB_SUFFIX

LOCK_NAME = ".rdbmerge.lock"
PARTIAL_SUFFIX = ".partial"
_SYNC_EVERY_S = 0.5
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has the latter alone


class WorkDir:
    """A folder that one process at a time fills; private (0700) if it is made here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Make the folder if need be, and keep other processes from filling it. Raises UsageError, DiskError."""
        with as_disk_error(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another rdbmerge is at work in {self.path}", remedy="wait for it, or choose another folder"
                ) from None
            self._remove_remains()
            yield
        finally:
            os.close(lock)

    def _remove_remains(self) -> None:
        """What a killed process left: no one else is at work here, so no one misses it."""
        for pattern in (f".*{RDB_SUFFIX}{PARTIAL_SUFFIX}*", f".*{RDB_SUFFIX}*.json{PARTIAL_SUFFIX}"):
            for remains in self.path.glob(pattern):
                with contextlib.suppress(OSError):
                    remains.unlink()

    def final_path(self, name: str) -> Path:
        """Where the snapshot of that name lies when it is whole."""
        return self.path / f"{name}{RDB_SUFFIX}"

    def partial_path(self, name: str) -> Path:
        """Where it grows."""
        return self.path / f".{name}{RDB_SUFFIX}{PARTIAL_SUFFIX}"

    def free_bytes(self) -> int:
        """Room on the folder's disk for this user."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    @contextmanager
    def partial_file(self, name: str) -> Iterator[int]:
        """The descriptor of a new partial file, 0600; after any failure it is gone, and its index with it.

        OSError inside becomes a DiskError that names the folder.
        """
        partial = self.partial_path(name)
        try:
            with as_disk_error(self.path):
                fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                try:
                    yield fd
                finally:
                    os.close(fd)
        except BaseException:
            for path in (partial, index_path(partial)):
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    def publish(self, name: str, manifest: Manifest) -> None:
        """Give a partial file that is whole and indexed its name, with `manifest` beside it. Raises OSError.

        What would describe the old file goes first, what describes the new one comes last.
        """
        partial, final = self.partial_path(name), self.final_path(name)
        manifest_path(final).unlink(missing_ok=True)
        index_path(final).unlink(missing_ok=True)
        self._sync()
        partial.replace(final)
        with contextlib.suppress(FileNotFoundError):  # an index is a cache: there may have been no room for it
            index_path(partial).replace(index_path(final))
        self._sync()
        write_manifest(final, manifest)
        self._sync()

    def _sync(self) -> None:
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def syncing(fd: int) -> Iterator[None]:
    """Bring what is written to `fd` inside to the disk meanwhile, so that little is left to wait for at the end.

    All of it is on the disk after the block. OSError of the disk is raised at its end; if the block fails itself, not.
    """
    done = threading.Event()

    def sync() -> None:
        while not done.wait(_SYNC_EVERY_S):
            _sync_data(fd)

    with ThreadPoolExecutor(1, thread_name_prefix="sync") as pool:
        meanwhile = pool.submit(sync)
        try:
            yield
        finally:
            done.set()
        meanwhile.result()  # the disk tells of a failed write once only, and may have told it there
        os.fsync(fd)


@contextmanager
def as_disk_error(folder: Path) -> Iterator[None]:
    """OSError inside becomes a DiskError that names the folder."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error


def disk_error(folder: Path, error: OSError) -> DiskError:
    """What it means that the disk of `folder` refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(f"the disk of {folder} is full", remedy="free space there, or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DiskError(f"cannot write to {folder}: {error.strerror}", remedy="choose a folder you may write to")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return DiskError(f"{folder} is not a folder", remedy="choose another name for the folder")
    return DiskError(f"cannot write to {folder}: {error.strerror}", remedy="choose another folder, or check its disk")
