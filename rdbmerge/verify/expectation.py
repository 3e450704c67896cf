"""What should be in the merged file, or in each shard's: the sources read under the rules, booked by source and db.

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
from rdbmerge.format.digest import Digest, sum_of
from rdbmerge.snapshot.index import Chunk, Progress, index_path
from rdbmerge.verify.origin import ELSEWHERE, EXPECTED, EXPIRED, FILTERED, REJECTED, VERDICTS, Origin, Verdicts
from rdbmerge.verify.shards import Shards
from rdbmerge.verify.windows import Window, reading, walk_part

# Larger chunks, which are rare, are read in the mapping.
_CHUNK_BYTES = 12 << 20

Offsets = NDArray[np.int64]  # of entries in their source, ascending


@dataclass(slots=True)
class Line:
    """One db of one source as one merged file should see it: what became of its entries, the digest of the expected."""

    origin: Origin
    db: int
    target_db: int
    shard: int = 0
    shards: Shards = field(default_factory=lambda: Shards(None))
    read: int = 0
    expired: int = 0
    filtered: int = 0
    expected: int = 0
    conflict_dropped: int = 0
    rejected: int = 0
    elsewhere: int = 0
    stripped: int = 0
    expected_expires: int = 0
    digest: Digest = field(default_factory=Digest)

    def verdicts(self, columns: Columns) -> Verdicts:
        """What is said of each row of a batch in the mapped file; rows of other shards are elsewhere."""
        view = self.origin.segment.view
        verdicts = self.origin.verdicts(columns, view)
        if self.shards.runs is not None:
            verdicts[self.shards.numbers(view, columns, self.origin.prefix) != self.shard] = ELSEWHERE
        return verdicts


_COUNTS = ("read", "expired", "filtered", "expected", "rejected", "elsewhere", "stripped", "expected_expires")


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

    def read(self, origins: Sequence[Origin], shards: Shards) -> list[list[Line]]:
        """For each merged file one line a source and db, in the order of precedence; conflicts not yet taken out."""
        tasks = [(origin, chunk, shards) for origin in origins for chunk in origin.index.facts.chunks]
        lines: dict[tuple[int, int], list[Line]] = {}
        for origin, chunk, _ in tasks:
            if (origin.number, chunk.db) not in lines:
                lines[origin.number, chunk.db] = _lines(origin, chunk.db, shards)
        with ExitStack() as files, ThreadPoolExecutor(self._jobs) as pool:
            self._files = {origin.number: files.enter_context(reading(origin.segment)) for origin in origins}
            for (origin, chunk, _), parts in zip(tasks, pool.map(self._chunk, tasks), strict=True):
                for line, part in zip(lines[origin.number, chunk.db], parts, strict=True):
                    _add(line, part)
        return [[lines[key][shard] for key in sorted(lines)] for shard in range(shards.count)]

    def subtract(self, line: Line, losers: Offsets) -> None:
        """Take the losers of conflicts (offsets of entries of that line) out of it."""
        origin, chunks = line.origin, [chunk for chunk in line.origin.index.facts.chunks if chunk.db == line.db]
        for chunk in chunks:
            first, last = np.searchsorted(losers, (chunk.start, chunk.stop))
            if first == last:
                continue
            with origin.segment.naming_errors():
                for batch in origin.segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=self.columns()):
                    self._subtract(line, batch, np.isin(batch.entry_start[: batch.rows], losers[first:last]))

    @staticmethod
    def _subtract(line: Line, batch: Columns, lost: NDArray[np.bool_]) -> None:
        origin, view = line.origin, line.origin.segment.view
        digest = origin.digester(view).digest(batch, (~lost).astype(np.uint8))
        _, lossy = origin.unheld(batch, view, lost)
        line.digest -= digest
        line.expected -= digest.entries
        line.expected_expires -= digest.expires
        line.stripped -= int(np.count_nonzero(lossy))
        line.conflict_dropped += digest.entries

    def _chunk(self, task: tuple[Origin, Chunk, Shards]) -> list[Line]:
        origin, chunk, shards = task
        parts = _lines(origin, chunk.db, shards)
        if shards.runs is None and not origin.takes_db(chunk.db):
            parts[0].read = parts[0].filtered = chunk.rows
        else:
            segment, file, window = origin.segment, self._files[origin.number], self._window()
            with segment.naming_errors():
                for view, batch in walk_part(segment, file, window, chunk.start, chunk.stop, chunk.db, self.columns()):
                    self._batch(parts, view, batch)
        if parts[0].read != chunk.rows:
            raise UsageError(
                f"{index_path(origin.segment.path)} does not belong to {origin.name}: {chunk.rows:,} entries announced"
                f" from byte {chunk.start:,} on, {parts[0].read:,} found",
                remedy="remove the index; it is made anew",
            )
        if self._progress:
            self._progress(chunk.stop - chunk.start)
        return parts

    def _batch(self, parts: Sequence[Line], view: memoryview, batch: Columns) -> None:
        origin, shards = parts[0].origin, parts[0].shards
        verdicts = origin.verdicts(batch, view)
        expected = verdicts == EXPECTED
        _, lossy = origin.unheld(batch, view, expected)
        numbers = shards.numbers(view, batch, origin.prefix)
        lanes = origin.digester(view).lanes(batch, verdicts) if self._digests else None
        expiring = batch.expire_at_ms[: batch.rows] != codes.NO_EXPIRY
        for part in parts:
            mine = numbers == part.shard
            counts = np.bincount(verdicts[mine], minlength=VERDICTS)
            part.read += batch.rows
            part.elsewhere += batch.rows - int(np.count_nonzero(mine))
            part.expired += int(counts[EXPIRED])
            part.filtered += int(counts[FILTERED])
            part.rejected += int(counts[REJECTED])
            part.expected += int(counts[EXPECTED])
            part.stripped += int(np.count_nonzero(mine & lossy))
            part.expected_expires += int(np.count_nonzero(mine & expected & expiring))
            if lanes is not None:
                part.digest += sum_of(batch, lanes, mine & expected)


def _lines(origin: Origin, db: int, shards: Shards) -> list[Line]:
    return [Line(origin, db, origin.target_of(db), shard, shards) for shard in range(shards.count)]


def _add(line: Line, part: Line) -> None:
    for name in _COUNTS:
        setattr(line, name, getattr(line, name) + getattr(part, name))
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
