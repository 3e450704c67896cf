"""The memory of an unfinished upload: a small private file beside the source, held locked while the upload runs.

Knows which upload it was and of what bytes; which parts lie there, the store itself is asked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbmerge.errors import UsageError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.sums import Algorithm

STATE_FORMAT = 1
_LONGEST_STATE_BYTES = 1 << 20


class UploadState(BaseModel):
    """An upload that has begun."""

    model_config = ConfigDict(extra="forbid")

    state_format: int = STATE_FORMAT
    url: str
    endpoint: str
    upload_id: str
    part_bytes: int
    algorithm: Algorithm
    whole: bool = Field(description="Whether the store holds the whole object against the checksum.")
    size_bytes: int
    mtime_ns: int
    begun_at_ms: int


def state_path(source: Path, url: ObjectUrl) -> Path:
    """Where it lies: hidden, beside the source, one for each place that the source is uploaded to."""
    digest = hashlib.sha256(str(url).encode()).hexdigest()[:8]
    return source.with_name(f".{source.name}.upload-{digest}.json")


class Memory:
    """The file of one upload, locked. `state` is what an earlier process left, or None.

    `problem` says why nothing can be kept ("" where it can): the upload works without, but begins anew after an end.
    """

    def __init__(self, source: Path, url: ObjectUrl) -> None:
        """Raises UsageError where another process uploads this."""
        self._path = state_path(source, url)
        self._fd: int | None = None
        self.problem = ""
        try:
            self._fd = self._opened()
        except OSError as error:
            self.problem = f"{self._path} cannot be written: {error.strerror}"
        self.state = self._read()

    def _opened(self) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another process may have finished, and removed the file, between the two calls.
                if os.path.samestat(os.fstat(fd), self._path.stat()):
                    os.fchmod(fd, 0o600)
                    return fd
            except FileNotFoundError:
                pass
            except OSError as error:
                os.close(fd)
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                raise UsageError(
                    "another rdbmerge is uploading this file to this place", remedy="wait for it to end"
                ) from None
            os.close(fd)

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is None:
            return
        if self.state is None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._fd)

    def _read(self) -> UploadState | None:
        if self._fd is None:
            return None
        data = os.pread(self._fd, _LONGEST_STATE_BYTES, 0)
        try:
            state = UploadState.model_validate_json(data)
        except (ValidationError, ValueError):
            return None  # nothing there yet, cut off by a crash, or of another version: the upload begins anew
        return state if state.state_format == STATE_FORMAT else None

    def keep(self, state: UploadState) -> None:
        """Remember an upload, as far as that is possible."""
        self.state = state
        if self._fd is None:
            return
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, state.model_dump_json(indent=2).encode(), 0)
            os.fsync(self._fd)
        except OSError as error:
            self.problem = f"{self._path} cannot be written: {error.strerror}"

    def forget(self) -> None:
        """There is nothing unfinished any more."""
        self.state = None
