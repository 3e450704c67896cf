"""A stream into one object, with no file: bytes are gathered into parts, which are sent while the next ones come.

Memory is bounded by the size of a part and the number of those under way. Nothing is visible before `publish`, and
nothing is left after `abandon`. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType

from rdbmerge.errors import LedgerError, RdbMergeError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.crew import Crew
from rdbmerge.stores.file_upload import Uploaded
from rdbmerge.stores.multipart import Multipart, SentPart
from rdbmerge.stores.objects import confirm
from rdbmerge.stores.parts import PartBody, Progress, part_size_bytes
from rdbmerge.stores.s3 import S3
from rdbmerge.stores.sums import Summer, whole_crc64

# Smaller than a file's: all of a part is in memory until it is sent.
STREAM_PART_BYTES = 8 << 20
_SUM_BYTES = 1 << 20


class PartSink:
    """Takes the bytes of one object in order. Use it as a context manager: what is not published is abandoned."""

    def __init__(
        self,
        s3: S3,
        url: ObjectUrl,
        *,
        size_bytes: int,
        crc64_until: int,
        metadata: Mapping[str, str],
        jobs: int,
        part_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Begin an upload of `size_bytes` that are to come; `crc64_until`: see `crc64`. Raises StoreError, UsageError.

        Memory: parts of 8 MB (or what makes at most 10,000 of them), `jobs` of them under way and one that grows.
        """
        self._part_bytes = part_size_bytes(size_bytes, part_bytes, usual_bytes=STREAM_PART_BYTES)
        self._s3 = s3
        self._size_bytes = size_bytes
        self._crc64_until = crc64_until
        self._progress = progress
        self._halt = threading.Event()
        self._multipart = Multipart.begin(s3, url, metadata)
        self._sending = self._multipart.by(s3.until(self._halt))
        self._crew: Crew[tuple[int, bytearray], SentPart]
        self._crew = Crew(self._send, max(1, jobs), stop=s3.stop, halt=self._halt)
        self._growing = bytearray()
        self._given = 0
        self._sent: list[SentPart] = []
        self._published = False
        self.left_behind = False  # parts that could not be given up

    def __enter__(self) -> PartSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._published:
            self.abandon()

    @property
    def url(self) -> ObjectUrl:
        """Where the object will be."""
        return self._multipart.url

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes; waits while too many parts are under way. Raises StoreError, StoppedError."""
        rest = memoryview(data)
        while rest:
            room = self._part_bytes - len(self._growing)
            self._growing += rest[:room]
            rest = rest[room:]
            if len(self._growing) == self._part_bytes:
                self._give()

    def _give(self) -> None:
        self._given += 1
        part, self._growing = self._growing, bytearray()
        self._crew.give((self._given, part))

    def _send(self, task: tuple[int, bytearray]) -> SentPart:
        number, data = task
        whole, offset = memoryview(data), (number - 1) * self._part_bytes
        summer = self._summer(offset, with_md5=self._sending.with_md5)
        for start in range(0, len(whole), _SUM_BYTES):
            summer.add(whole[start : start + _SUM_BYTES])
        body = PartBody(
            lambda at, count: bytes(whole[at : at + count]),
            len(data),
            stop=self._halt,
            progress=self._progress,
        )
        return self._sending.send(number, body, summer.sums())

    def _summer(self, offset: int, *, with_md5: bool) -> Summer:
        return Summer(self._sending.algorithm, with_md5=with_md5, crc64_bytes=max(0, self._crc64_until - offset))

    def close(self) -> None:
        """No more bytes: wait until all are in the store. Raises StoreError, StoppedError, LedgerError."""
        if self._growing:
            self._give()
        self._sent = sorted(self._crew.finish(), key=lambda part: part.number)
        sent_bytes = sum(part.sums.size_bytes for part in self._sent)
        if sent_bytes != self._size_bytes:
            raise LedgerError(
                f"{self.url}: {sent_bytes:,} bytes came where {self._size_bytes:,} were announced",
                remedy="this is a defect of rdbmerge: please report it",
            )

    @property
    def crc64(self) -> int:
        """Once closed: the CRC-64 of what is in the store, up to `crc64_until`."""
        return whole_crc64(part.sums for part in self._sent)

    def publish(self, *, replace: bool) -> Uploaded:
        """Make the object of what was closed, and compare it with what was sent.

        Raises UsageError where there is an object already, unless `replace`, and StoreError.
        """
        done = self._multipart.complete(self._sent, replace=replace)
        self._published = True
        stored, proof = confirm(self._multipart, self._sent, done)
        notes = [] if done.conditional or replace else ["the store does not know If-None-Match"]
        return Uploaded(stored, proof, len(self._sent), 0, self._part_bytes, notes)

    def abandon(self) -> None:
        """Give up what was sent, also when the user has stopped the rest; where the store does not let us, that is
        told by `left_behind`: a failure here must not hide the one that led here."""
        self._crew.leave()
        try:
            self._multipart.by(self._s3.until(threading.Event())).abandon(tries=2)
        except RdbMergeError:
            self.left_behind = True
