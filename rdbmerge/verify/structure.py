"""The merged file by itself: read once, whole, from disk; what it holds, and everything a server would choke on.

One thread walks, others digest the batches it hands over. A file that cannot be read raises FormatError; one that can
be read but should not be like that becomes findings. Knows nothing of sources.
"""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import anycrc
import numpy as np

from rdbmerge.errors import ChecksumError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.digest import Digest, Digester, Reading, hash_keys_of
from rdbmerge.format.records import Aux, End, Function, ModuleAux, ResizeDb
from rdbmerge.format.scan import Record
from rdbmerge.snapshot.hashes import HashCollector, repeated
from rdbmerge.snapshot.index import Progress
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import escape_key
from rdbmerge.verify.windows import FileWalk, Step, Window, reading

CRC64 = anycrc.Model("CRC64-REDIS")
# Key hashes of all files together that are held before they go to disk: 8 bytes a key, 16 while they are sorted.
_LIMIT_HASHES = 24_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """A run of entries that one batch held."""

    db: int
    start: int
    stop: int


@dataclass(slots=True)
class DbFound:
    """What one db of the merged file holds."""

    digest: Digest = field(default_factory=Digest)  # all zero where nobody asked for it
    keys: int = 0
    expires: int = 0
    expiry_sum_ms: int = 0
    last_expiry_ms: int = 0
    types: dict[int, int] = field(default_factory=dict)  # value type -> keys
    resized: list[tuple[int, int]] = field(default_factory=list)  # what each RESIZEDB says: keys, expires


@dataclass(slots=True)
class Found:
    """What was read from the merged file."""

    dialect: Dialect
    dbs: dict[int, DbFound] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    aux: list[Aux] = field(default_factory=list)
    libraries: list[Function] = field(default_factory=list)
    module_data: list[ModuleAux] = field(default_factory=list)
    crc64: int = 0
    end: End = field(default_factory=lambda: End(0, None, 0))
    flags: int = 0  # of all rows, or-ed
    bad_expiries: int = 0  # 0 or below, or attributes in an order that servers do not write
    empty: int = 0
    largest_entry_bytes: int = 0
    repeated_keys: list[tuple[int, bytes]] = field(default_factory=list)  # db, key; see `MergedReader.repeated_keys`

    def db(self, number: int) -> DbFound:
        """The db of that number, made when it is new."""
        return self.dbs.setdefault(number, DbFound())


class _Tally:
    """The sums over one batch; made by a worker, booked by the walker."""

    def __init__(self, columns: Columns, digest: Digest) -> None:
        rows = columns.rows
        at_ms = columns.expire_at_ms[:rows]
        expiring = at_ms[at_ms != codes.NO_EXPIRY]
        flags = columns.flags[:rows]
        self.db = columns.db
        self.digest = digest
        self.rows = rows
        self.expires = len(expiring)
        # In two halves, so that no sum of 64-bit numbers overflows.
        self.expiry_sum_ms = int((expiring & 0xFFFFFFFF).sum()) + (int((expiring >> 32).sum()) << 32)
        self.last_expiry_ms = int(expiring.max()) if len(expiring) else 0
        self.types = np.bincount(columns.type[:rows]).tolist()
        self.flags = int(np.bitwise_or.reduce(flags))
        self.bad_expiries = int(
            np.count_nonzero(((at_ms <= 0) & (at_ms != codes.NO_EXPIRY)) | ((flags & codes.IRREGULAR) != 0))
        )
        self.empty = int(np.count_nonzero(flags & codes.EMPTY))
        self.largest_entry_bytes = int((columns.end[:rows] - columns.entry_start[:rows]).max())


class MergedReader:
    """Reads a merged file, one of `files`; `digests=False` leaves the values alone."""

    def __init__(
        self,
        segment: Segment,
        reading: Reading,
        *,
        jobs: int,
        files: int = 1,
        digests: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self._segment = segment
        self._reading = reading
        self._meanings = reading.meaning_table()
        self._jobs = jobs
        self._digests = digests
        self._progress = progress
        self._free: queue.SimpleQueue[Columns] = queue.SimpleQueue()
        self._hashes = HashCollector(segment.path.parent, limit_hashes=_LIMIT_HASHES // files)
        self._lock = threading.Lock()
        self._done = 0

    def read(self) -> Found:
        """The one pass. Raises FormatError and its kinds. `repeated_keys` is to be called after it, in any case."""
        found = Found(self._segment.dialect)
        try:
            with self._segment.naming_errors():
                self._walk(found)
                self._check_checksum(found)
        except BaseException:
            self._hashes.close()
            raise
        self._free = queue.SimpleQueue()  # another file's reader has columns of its own
        return found

    def repeated_keys(self, found: Found) -> list[tuple[int, bytes]]:
        """Keys that stand twice in a db, the first hundred of each; gives the memory of the hashes back."""
        keys: list[tuple[int, bytes]] = []
        try:
            for db in self._hashes.dbs():
                suspects = [again for piece in self._hashes.sorted_hashes(db) if len(again := repeated(piece))]
                if suspects:
                    parts = (part for part in found.parts if part.db == db)
                    keys += _repeated_keys(self._segment, parts, np.concatenate(suspects), self._reading)
        finally:
            self._hashes.close()
        return keys

    def _walk(self, found: Found) -> None:
        for _ in range(self._jobs + 1):
            self._free.put(Columns())
        windows: collections.deque[tuple[Window, list[Future[_Tally]]]] = collections.deque()
        walk, columns = FileWalk(self._segment), Columns()
        found.steps = walk.steps
        with reading(self._segment) as file, ThreadPoolExecutor(self._jobs) as pool:
            while not found.end.end:
                window, pending = _next_window(found, windows, self._jobs + 1)
                for item in walk.walk(file, window, columns):
                    if isinstance(item, Columns):
                        shift = walk.window.shift
                        found.parts.append(Part(item.db, item.start + shift, item.stop + shift))
                        pending.append(pool.submit(self._digest, walk.window.view, item))
                        columns = self._free.get()
                        walk.give_columns(columns)
                    else:
                        self._note(found, item)
                self._checksum_to(found, walk)
                windows.append((window, pending))
            while windows:
                _next_window(found, windows, 0)

    def _digest(self, view: memoryview, columns: Columns) -> _Tally:
        try:
            left_out = (np.zeros if self._digests else np.ones)(columns.rows, np.uint8)
            digest = Digester(view, self._reading, self._meanings, self._segment.templates).digest(columns, left_out)
            with self._lock:
                self._hashes.add(columns.db, columns.key_hash[: columns.rows])
            return _Tally(columns, digest)
        finally:
            self._free.put(columns)

    def _note(self, found: Found, item: Record) -> None:
        match item:
            case Aux():
                found.aux.append(item)
            case ResizeDb():
                found.db(item.db).resized.append((item.keys, item.expires))
            case Function():
                found.libraries.append(item)
            case ModuleAux():
                found.module_data.append(item)
            case End():
                found.end = item

    def _checksum_to(self, found: Found, walk: FileWalk) -> None:
        """Over what was walked since the last time: in the window, or in the mapping when it was too large for one."""
        offset = found.end.checksum_offset or walk.position
        shift = walk.window.shift
        found.crc64 = CRC64.calc(walk.window.view[self._done - shift : offset - shift], found.crc64)
        if self._progress:
            self._progress(offset - self._done)
        self._done = offset

    def _check_checksum(self, found: Found) -> None:
        if found.end.checksum and found.end.checksum != found.crc64:
            raise ChecksumError(
                f"the checksum in the file is {found.end.checksum:016x}, its bytes give {found.crc64:016x}",
                offset=found.end.checksum_offset,
                remedy="the merged file was damaged on disk or in transit; merge again",
            )


def _next_window(
    found: Found, windows: collections.deque[tuple[Window, list[Future[_Tally]]]], most: int
) -> tuple[Window, list[Future[_Tally]]]:
    """A window that nobody looks at any more; the tallies of its former bytes are booked."""
    if len(windows) <= most and most:
        return Window(), []
    window, pending = windows.popleft()
    for future in pending:
        _book(found, future.result())
    return window, []


def _book(found: Found, tally: _Tally) -> None:
    db = found.db(tally.db)
    db.digest += tally.digest
    db.keys += tally.rows
    db.expires += tally.expires
    db.expiry_sum_ms += tally.expiry_sum_ms
    db.last_expiry_ms = max(db.last_expiry_ms, tally.last_expiry_ms)
    for number, count in enumerate(tally.types):
        if count:
            db.types[number] = db.types.get(number, 0) + count
    found.flags |= tally.flags
    found.bad_expiries += tally.bad_expiries
    found.empty += tally.empty
    found.largest_entry_bytes = max(found.largest_entry_bytes, tally.largest_entry_bytes)


def _repeated_keys(
    segment: Segment, parts: Iterable[Part], suspects: np.ndarray, reading: Reading, *, most: int = 100
) -> list[tuple[int, bytes]]:
    """Keys that really occur twice among those whose hashes do."""
    seen: set[bytes] = set()
    twice: dict[bytes, int] = {}
    columns = Columns()
    for part in parts:
        for batch in segment.walk_part(part.start, part.stop, part.db, columns=columns):
            hash_keys_of(segment.view, batch, reading)
            for row in np.flatnonzero(np.isin(batch.key_hash[: batch.rows], suspects)).tolist():
                key = batch.key(segment.view, row)
                if key in seen:
                    twice[key] = part.db
                seen.add(key)
            if len(twice) >= most:
                return [(db, key) for key, db in twice.items()]
    return [(db, key) for key, db in twice.items()]


def show_keys(keys: Iterable[tuple[int, bytes]], *, most: int = 5) -> str:
    """Some keys for a sentence."""
    shown = list(keys)
    text = ", ".join(f"{escape_key(key, limit=60)} of db {db}" for db, key in shown[:most])
    return text + (" and more" if len(shown) > most else "")
