"""Writes a segment of entries that come in no order and perhaps more than once, as a server's SCAN gives them.

The file is a whole RDB when `finish` has returned: each key once, the one that came last. Memory: eight bytes a key,
bounded as in `hashes`. Knows nothing of servers.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import anycrc
import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes, write
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.strings import length_bytes
from rdbmerge.snapshot.hashes import HashCollector, repeated
from rdbmerge.snapshot.segment import Segment

CRC64 = anycrc.Model("CRC64-REDIS")
_PIECE_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 22
_CHECKSUM_BYTES = 8
_WITHOUT_KEYS = Dialect("redis", 6)  # what every server loads, for a file without entries

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    size_bytes: int
    sha256: str
    repeated: int  # entries that were left out because their keys came again


class SegmentWriter:
    """Writes into the file at `path` through `fd`, which is empty. What writing raises (OSError) passes through."""

    def __init__(self, fd: int, path: Path, *, ctime_s: int) -> None:
        self._fd = fd
        self._path = path
        self._ctime_s = ctime_s
        self._head = b""
        self._held = bytearray()
        self._db: int | None = None
        self._hashes = HashCollector(path.parent)
        self.size_bytes = 0

    def begin(self, dialect: Dialect, libraries: bytes = b"") -> None:
        """The head of the file: once, before the first entries. `libraries`: records of function libraries."""
        aux = [(b"redis-bits", b"64"), (b"ctime", b"%d" % self._ctime_s)]
        self._head = write.header(dialect, aux) + libraries
        self._put(self._head)

    @property
    def has_begun(self) -> bool:
        """Whether the head is written."""
        return bool(self._head)

    def entries(self, db: int, data: Bytes, hashes: NDArray[np.uint64]) -> None:
        """Whole entries of one db, and the hashes of their keys."""
        if db != self._db:
            # No RESIZEDB: how many keys come is not known, and servers take it as a hint only.
            self._put(bytes((codes.OP_SELECTDB,)) + length_bytes(db))
            self._db = db
        self._hashes.add(db, hashes)
        self._put(data)

    def _put(self, data: Bytes) -> None:
        self.size_bytes += len(data)
        if len(self._held) + len(data) < _BUFFER_BYTES:
            self._held += data
            return
        self._flush()
        self._write(data)  # as it is: a large value is not copied once more

    def _flush(self) -> None:
        self._write(self._held)
        self._held = bytearray()

    def _write(self, data: Bytes) -> None:
        view, done = memoryview(data), 0
        while done < len(view):
            done += os.write(self._fd, view[done : done + _PIECE_BYTES])

    def finish(self) -> Written:
        """Leave out what came again, and write the end."""
        try:
            if not self._head:
                self.begin(_WITHOUT_KEYS)
            self._put(write.end() + bytes(_CHECKSUM_BYTES))
            self._flush()
            suspects = {
                db: np.concatenate(again)
                for db in self._hashes.dbs()
                if (again := [r for piece in self._hashes.sorted_hashes(db) if len(r := repeated(piece))])
            }
        finally:
            self._hashes.close()
        spans = _superseded(self._path, suspects) if suspects else []
        return self._seal(spans)

    def close(self) -> None:
        """Give memory and disk back, after a failure too."""
        self._hashes.close()

    def _seal(self, left_out: list[tuple[int, int]]) -> Written:
        """Move what stays together, and put the checksum in its place."""
        crc, sha256, at = 0, hashlib.sha256(), 0
        stop = self.size_bytes - _CHECKSUM_BYTES
        with self._path.open("rb") as file:
            starts = [0, *(end for _, end in left_out)]
            for start, end in zip(starts, [*(start for start, _ in left_out), stop], strict=True):
                file.seek(start)
                for size in _pieces(end - start):
                    piece = file.read(size)
                    if at != start:  # never ahead of what is still to be read
                        os.pwrite(self._fd, piece, at)
                    crc = CRC64.calc(piece, crc)
                    sha256.update(piece)
                    at, start = at + size, start + size
        footer = write.checksum(crc)
        sha256.update(footer)
        os.pwrite(self._fd, footer, at)
        os.ftruncate(self._fd, at + len(footer))
        return Written(at + len(footer), sha256.hexdigest(), len(left_out))


def _pieces(size: int) -> list[int]:
    whole, rest = divmod(size, _PIECE_BYTES)
    return [_PIECE_BYTES] * whole + [rest] * (rest > 0)


def _superseded(path: Path, suspects: dict[int, NDArray[np.uint64]]) -> list[tuple[int, int]]:
    """Where entries lie whose key comes again later in the same db, ascending."""
    last: dict[tuple[int, bytes], tuple[int, int]] = {}
    spans = []
    with Segment(path) as segment:
        for batch in segment.walk():
            if not isinstance(batch, Columns) or batch.db not in suspects:
                continue
            for row in np.flatnonzero(np.isin(batch.hash_keys(segment.view), suspects[batch.db])).tolist():
                key = batch.db, batch.key(segment.view, row)
                if key in last:
                    spans.append(last[key])
                last[key] = int(batch.entry_start[row]), int(batch.end[row])
    return sorted(spans)
