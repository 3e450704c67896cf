"""How a file is cut into parts, read and summed; and the body of a request that sends one.

Knows the limits of multipart uploads (aws-seeding.md 8) and that files can change while they are read; makes no call.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rdbmerge.errors import StoppedError, StoreError, UsageError
from rdbmerge.stores.sums import Algorithm, PartSums, Summer
from rdbmerge.units import format_bytes

MOST_PARTS = 10_000
LEAST_PART_BYTES = 5 << 20
MOST_PART_BYTES = 5 << 30
PART_BYTES = 64 << 20
_ROUND_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_AHEAD_BYTES = 1 << 20

Progress = Callable[[int], None]  # bytes sent since the last call; negative where they have to be sent again


def part_size_bytes(size_bytes: int, wanted_bytes: int | None, *, usual_bytes: int = PART_BYTES) -> int:
    """The size of all parts but the last: what was `wanted`, else the usual one, or what makes at most 10,000.

    Raises UsageError for a size that S3 refuses.
    """
    least_bytes = -(-size_bytes // MOST_PARTS)
    least_bytes = -(-least_bytes // _ROUND_BYTES) * _ROUND_BYTES
    if max(least_bytes, LEAST_PART_BYTES) > MOST_PART_BYTES:
        raise UsageError(f"{format_bytes(size_bytes)} are more than an object of S3 holds", remedy="split the file")
    if wanted_bytes is None:
        return max(usual_bytes, least_bytes)
    if not LEAST_PART_BYTES <= wanted_bytes <= MOST_PART_BYTES:
        raise UsageError(
            f"parts of {format_bytes(wanted_bytes)} cannot be", remedy="S3 takes parts from 5MB to 5GB: --part-size"
        )
    if wanted_bytes * MOST_PARTS < size_bytes:
        raise UsageError(
            f"parts of {format_bytes(wanted_bytes)} would be more than 10,000",
            remedy=f"give at least {format_bytes(least_bytes)} with --part-size",
        )
    return wanted_bytes


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload: its number (from 1) and its place in the file."""

    number: int
    offset: int
    size_bytes: int


def cut(size_bytes: int, part_bytes: int) -> list[Part]:
    """The parts of a file, in order."""
    offsets = range(0, size_bytes, part_bytes)
    return [Part(n, offset, min(part_bytes, size_bytes - offset)) for n, offset in enumerate(offsets, 1)]


class PartFile:
    """A file that is uploaded: opened once, read by offset from several threads, and watched for changes."""

    def __init__(self, path: Path, *, crc64_until: int) -> None:
        """`crc64_until`: where the bytes end that the caller's CRC-64 covers. Raises UsageError."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
        facts = os.fstat(self._fd)
        self._crc64_until = crc64_until
        self.size_bytes = facts.st_size
        self.mtime_ns = facts.st_mtime_ns

    def __enter__(self) -> PartFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def check_unchanged(self) -> None:
        """Raise StoreError if the file, or what its name means, is not what was opened."""
        opened = os.fstat(self._fd)
        try:
            named = self.path.stat()
        except OSError:
            named = None
        same = named is not None and os.path.samestat(opened, named)
        if not same or (opened.st_size, opened.st_mtime_ns) != (self.size_bytes, self.mtime_ns):
            raise changed(self.path)

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes. Raises StoreError where the file has become shorter."""
        data = os.pread(self._fd, count, offset)
        while len(data) < count:
            more = os.pread(self._fd, count - len(data), offset + len(data))
            if not more:
                raise changed(self.path)
            data += more
        return data

    def summed(self, part: Part, algorithm: Algorithm, *, with_md5: bool, stop: threading.Event) -> PartSums:
        """The sums of one part; raises StoppedError once `stop` is set."""
        summer = self._summer(part, algorithm, with_md5=with_md5)
        end = part.offset + part.size_bytes
        for offset in range(part.offset, end, _READ_BYTES):
            if stop.is_set():
                raise StoppedError("stopped")
            summer.add(self.read_at(offset, min(_READ_BYTES, end - offset)))
        return summer.sums()

    def body(self, part: Part, stop: threading.Event, progress: Progress | None, *, with_md5: bool = False) -> PartBody:
        """What sends it; `with_md5`: and takes its sums on the way, for an upload that needs none beforehand."""
        return PartBody(
            lambda offset, count: self.read_at(part.offset + offset, count),
            part.size_bytes,
            stop=stop,
            progress=progress,
            summer=(lambda: self._summer(part, Algorithm.NONE, with_md5=True)) if with_md5 else None,
        )

    def _summer(self, part: Part, algorithm: Algorithm, *, with_md5: bool) -> Summer:
        return Summer(algorithm, with_md5=with_md5, crc64_bytes=max(0, self._crc64_until - part.offset))


def changed(path: Path) -> StoreError:
    """The failure of a file that is not the same all the time."""
    return StoreError(
        f"{path} changed while it was being uploaded; no object was made of it",
        remedy="let whatever writes it come to its end, and run the command again",
    )


class PartBody(io.RawIOBase):
    """The body of a request, read from the part as it is sent, and from its beginning again where need be."""

    def __init__(
        self,
        read_at: Callable[[int, int], bytes],
        size_bytes: int,
        *,
        stop: threading.Event,
        progress: Progress | None,
        summer: Callable[[], Summer] | None = None,
    ) -> None:
        """`summer` makes what takes the sums of the bytes on their way; see `sums`."""
        super().__init__()
        self._read_at = read_at
        self._size = size_bytes
        self._stop = stop
        self._progress = progress
        self._new_summer = summer
        self._summer: Summer | None = None
        self._summed_to = 0
        self._passes_unsummed = 0
        self._at = 0
        self._told = 0
        self._ahead = b""
        self._ahead_at = 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place of the next read."""
        return self._at

    def rewind(self, passes_unsummed: int) -> None:
        """To the beginning; so many passes will come before the one that sends, and need no sums."""
        self.seek(0)
        self._passes_unsummed = passes_unsummed

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; at the beginning, all begins anew."""
        read_some = self._told > 0
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        if self._at == 0 and read_some:
            self._passes_unsummed -= 1
            self._summer, self._summed_to, self._ahead = None, 0, b""  # the bytes may be others now
            if self._progress:
                self._progress(-self._told)
            self._told = 0
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises StoppedError once the upload is stopped."""
        if self._stop.is_set():
            raise StoppedError("stopped")
        left = self._size - self._at
        count = left if size is None or size < 0 else min(size, left)
        if count <= 0:
            return b""
        data = self._next(count)
        self._at += count
        self._told += count
        if self._progress:
            self._progress(count)
        return data

    def _next(self, count: int) -> bytes:
        """`count` bytes, of those that were read ahead: who sends asks for few at a time."""
        start = self._at - self._ahead_at
        if not 0 <= start <= len(self._ahead) - count:
            ahead = max(count, min(_AHEAD_BYTES, self._size - self._at))
            self._ahead, self._ahead_at, start = self._read_at(self._at, ahead), self._at, 0
            if self._new_summer is not None and self._passes_unsummed <= 0 and self._summed_to == self._at:
                self._summer = self._summer or self._new_summer()
                self._summer.add(self._ahead)
                self._summed_to += ahead
        return self._ahead if count == len(self._ahead) else self._ahead[start : start + count]

    def sums(self) -> PartSums:
        """Of the bytes as they were sent; read once more where the last pass was not summed from its beginning."""
        if self._new_summer is None:
            raise AssertionError("the sums of this part are known from elsewhere")
        if self._summer is None or self._summed_to != self._size:
            self._summer = self._new_summer()
            for offset in range(0, self._size, _READ_BYTES):
                self._summer.add(self._read_at(offset, min(_READ_BYTES, self._size - offset)))
            self._summed_to = self._size
        return self._summer.sums()
