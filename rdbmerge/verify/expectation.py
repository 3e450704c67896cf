"""What should be in the merged file: the sources read under the rules, booked by source and db.

Every entry of every source is judged again; the expected ones are digested as they must come out. Conflicts are found
by `rivals` and taken out afterwards: digests subtract. Knows nothing of the merged file.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import UsageError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.digest import Digest, digest_batch
from rdbmerge.snapshot.index import Chunk, Progress, index_path
from rdbmerge.verify.origin import EXPECTED, EXPIRED, FILTERED, Origin
from rdbmerge.verify.windows import Window, reading, walk_part

# Larger chunks, which are rare, are read in the mapping.
_CHUNK_BYTES = 12 << 20

Offsets = NDArray[np.int64]  # of entries in their source, ascending


@dataclass(slots=True)
class Line:
    """One db of one source: what became of its entries, and the digest of those that are expected."""

    origin: Origin
    db: int
    target_db: int
    read: int = 0
    expired: int = 0
    filtered: int = 0
    expected: int = 0
    conflict_dropped: int = 0
    expected_expires: int = 0
    digest: Digest = field(default_factory=Digest)


class SourceReader:
    """Reads chunks of sources in threads; `digests=False` only counts."""

    def __init__(self, jobs: int, *, digests: bool = True, progress: Progress | None = None) -> None:
        self._jobs = jobs
        self._digests = digests
        self._progress = progress
        self._local = threading.local()
        self._files: dict[int, int] = {}  # number of the source -> file descriptor

    def columns(self) -> Columns:
        """The batch that belongs to this thread."""
        if not hasattr(self._local, "columns"):
            self._local.columns = Columns()
        columns: Columns = self._local.columns
        return columns

    def _window(self) -> Window:
        if not hasattr(self._local, "window"):
            self._local.window = Window(_CHUNK_BYTES)
        window: Window = self._local.window
        return window

    def read(self, origins: Sequence[Origin]) -> list[Line]:
        """One line a source and db, in the order of precedence. Conflicts are not yet taken out."""
        tasks = [(origin, chunk) for origin in origins for chunk in origin.index.facts.chunks]
        lines: dict[tuple[int, int], Line] = {}
        for origin, chunk in tasks:
            line = Line(origin, chunk.db, origin.target_of(chunk.db))
            lines.setdefault((origin.number, chunk.db), line)
        with ExitStack() as files, ThreadPoolExecutor(self._jobs) as pool:
            self._files = {origin.number: files.enter_context(reading(origin.segment)) for origin in origins}
            for (origin, chunk), part in zip(tasks, pool.map(self._chunk, tasks), strict=True):
                _add(lines[origin.number, chunk.db], part)
        return [lines[key] for key in sorted(lines)]

    def subtract(self, line: Line, losers: Offsets) -> None:
        """Take the losers of conflicts (offsets of entries of that line) out of it."""
        origin, chunks = line.origin, [chunk for chunk in line.origin.index.facts.chunks if chunk.db == line.db]
        for chunk in chunks:
            first, last = np.searchsorted(losers, (chunk.start, chunk.stop))
            if first == last:
                continue
            for batch in origin.segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=self.columns()):
                left_out = (~np.isin(batch.entry_start[: batch.rows], losers[first:last])).astype(np.uint8)
                lost = digest_batch(origin.segment.view, batch, origin.reading, left_out, origin.field_types)
                line.digest -= lost
                line.expected -= lost.entries
                line.expected_expires -= lost.expires
                line.conflict_dropped += lost.entries

    def _chunk(self, task: tuple[Origin, Chunk]) -> Line:
        origin, chunk = task
        part = Line(origin, chunk.db, 0)
        if not origin.takes_db(chunk.db):
            part.read = part.filtered = chunk.rows
        else:
            segment, file, window = origin.segment, self._files[origin.number], self._window()
            with segment.naming_errors():
                for view, batch in walk_part(segment, file, window, chunk.start, chunk.stop, chunk.db, self.columns()):
                    self._batch(part, view, batch)
        if part.read != chunk.rows:
            raise UsageError(
                f"{index_path(origin.segment.path)} does not belong to {origin.name}: {chunk.rows:,} entries announced"
                f" from byte {chunk.start:,} on, {part.read:,} found",
                remedy="remove the index; it is made anew",
            )
        if self._progress:
            self._progress(chunk.stop - chunk.start)
        return part

    def _batch(self, part: Line, view: memoryview, batch: Columns) -> None:
        origin = part.origin
        verdicts = origin.verdicts(batch, view)
        counts = np.bincount(verdicts, minlength=3)
        part.read += batch.rows
        part.expired += int(counts[EXPIRED])
        part.filtered += int(counts[FILTERED])
        part.expected += int(counts[EXPECTED])
        if self._digests:
            digest = digest_batch(view, batch, origin.reading, verdicts, origin.field_types)
            part.digest += digest
            part.expected_expires += digest.expires
        else:
            expiring = batch.expire_at_ms[: batch.rows] != codes.NO_EXPIRY
            part.expected_expires += int(np.count_nonzero(expiring & (verdicts == EXPECTED)))


def _add(line: Line, part: Line) -> None:
    line.read += part.read
    line.expired += part.expired
    line.filtered += part.filtered
    line.expected += part.expected
    line.expected_expires += part.expected_expires
    line.digest += part.digest


def by_target(lines: Iterable[Line]) -> dict[int, list[Line]]:
    """The lines that something is expected of, by the db of the merged file, ascending."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        if line.expected:
            found.setdefault(line.target_db, []).append(line)
    return {db: found[db] for db in sorted(found)}


def total(lines: Iterable[Line]) -> Digest:
    """The digest of several lines together; its counts are those of the lines."""
    digest = Digest()
    keys = expires = 0
    for line in lines:
        digest += line.digest
        keys += line.expected
        expires += line.expected_expires
    return Digest(digest.a, digest.b, keys, expires)


def chunks_of(lines: Iterable[Line]) -> Iterator[tuple[Line, Chunk]]:
    """The chunks of some lines, in the order of precedence."""
    for line in lines:
        for chunk in line.origin.index.facts.chunks:
            if chunk.db == line.db:
                yield line, chunk
