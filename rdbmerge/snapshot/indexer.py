"""Scans a segment once, whole, and makes its index: structure, CRC-64, exact end, no key and no library twice.

Knows nothing of other segments: what two of them have in common is the planner's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import anycrc
import numpy as np

from rdbmerge.errors import ChecksumError, FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.records import Aux, End, Function, HashTemplate, ModuleAux, ResizeDb
from rdbmerge.format.scan import Record
from rdbmerge.snapshot.hashes import HashCollector, Hashes, repeated
from rdbmerge.snapshot.index import (
    Chunk,
    DbSummary,
    Index,
    IndexFacts,
    Library,
    ModuleData,
    Progress,
    cached_index,
    write_index,
)
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import escape_key

CRC64 = anycrc.Model("CRC64-REDIS")


def scan_facts(segment: Segment, collector: HashCollector, progress: Progress | None = None) -> IndexFacts:
    """The one pass over a segment: its facts, and its key hashes into `collector`. Raises FormatError and its kinds."""
    findings = Findings(collector, progress)
    findings.view = segment.view
    # One thread walks ahead into the spare columns while the other books and sums the batch before.
    with segment.naming_errors(), ThreadPoolExecutor(max_workers=1, thread_name_prefix="book") as booker:
        booked: Future[None] | None = None
        for item in segment.walk(columns=Columns(), spare=Columns()):
            if booked is not None:
                booked.result()
            booked = booker.submit(findings.book, item)
        if booked is not None:
            booked.result()
    return findings.facts(segment)


def read_index(segment: Segment, *, progress: Progress | None = None) -> Index:
    """The index of a segment: the one beside it if it still fits, else a new one.

    Raises FormatError and its kinds, with the file's name, for anything a server would refuse or should have.
    """
    index = cached_index(segment)
    if index is not None:
        segment.learn_templates(index.facts.templates)
        if progress:
            progress(segment.size_bytes)
        return index
    collector = HashCollector(segment.path.parent)
    try:
        return make_index(segment, scan_facts(segment, collector, progress), collector)
    finally:
        collector.close()


def make_index(segment: Segment, facts: IndexFacts, collector: HashCollector) -> Index:
    """The index of a segment that was scanned, written beside it. Raises FormatError for a key or library twice."""
    _refuse_repeated_keys(segment, facts, collector)
    _refuse_repeated_libraries(segment, facts.libraries)
    return write_index(segment.path, facts, collector)


class Findings:
    """What one pass finds: books every batch and record, in the order of the file, and sums the bytes up to them.

    `view` must hold the bytes of what is booked.
    """

    view: memoryview

    def __init__(self, collector: HashCollector, progress: Progress | None = None) -> None:
        self.collector = collector
        self.progress = progress
        self.crc = 0
        self.done = 0
        self.aux: list[tuple[str, str]] = []
        self.dbs: dict[int, DbSummary] = {}
        self.chunks: list[Chunk] = []
        self.libraries: list[Library] = []
        self.module_data: list[ModuleData] = []
        self.templates: list[int] = []
        self.end: End | None = None

    def book(self, item: Columns | Record) -> None:
        """Take in the next batch or record; a batch may be used again after that."""
        match item:
            case Columns():
                self._batch(item)
            case Aux():
                self.aux.append((_text(item.name), _text(item.value)))
            case ResizeDb():
                summary = self._db(item.db)
                summary.hinted_keys = (summary.hinted_keys or 0) + item.keys
            case Function():
                digest = hashlib.sha256(item.code).hexdigest()
                self.libraries.append(Library(name=_text(item.name), offset=item.offset, sha256=digest))
            case ModuleAux():
                data = ModuleData(module=item.module, before_keys=item.before_keys, start=item.start, end=item.end)
                self.module_data.append(data)
            case HashTemplate():
                self.templates.append(item.offset)
            case End():
                self.end = item
                self._checksum_to(item.checksum_offset)

    def facts(self, segment: Segment) -> IndexFacts:
        """All of it, once the End was booked; `segment` is the file. Raises ChecksumError and FormatError."""
        end = self.end
        if end is None:
            raise AssertionError("a walk ends with an End or an error")
        if end.checksum and end.checksum != self.crc:
            raise ChecksumError(
                f"the checksum in the file is {end.checksum:016x}, its bytes give {self.crc:016x}",
                offset=end.checksum_offset,
                file=segment.name,
                remedy="the file was damaged on disk or in transit; pull or copy it again",
            )
        _refuse_append_only_file(segment, end.end)
        return IndexFacts(
            size_bytes=segment.size_bytes,
            mtime_ns=segment.mtime_ns,
            magic=str(segment.dialect),
            crc64=self.crc,
            stored_crc64=end.checksum,
            end=end.end,
            aux=self.aux,
            dbs=[self.dbs[db] for db in sorted(self.dbs)],
            chunks=self.chunks,
            libraries=self.libraries,
            module_data=self.module_data,
            templates=self.templates,
        )

    def _db(self, db: int) -> DbSummary:
        return self.dbs.setdefault(db, DbSummary(db=db, keys=0, expires=0, types={}))

    def _batch(self, columns: Columns) -> None:
        chunk = summarize(columns)
        self.chunks.append(chunk)
        self._checksum_to(chunk.stop)
        summary = self._db(columns.db)
        summary.keys += chunk.rows
        summary.expires += chunk.expires
        counts = np.bincount(columns.type[: columns.rows], minlength=1)
        for number in chunk.types:
            summary.types[number] = summary.types.get(number, 0) + int(counts[number])
        self.collector.add(columns.db, columns.hash_keys(self.view))

    def _checksum_to(self, offset: int) -> None:
        self.crc = CRC64.calc(self.view[self.done : offset], self.crc)
        if self.progress:
            self.progress(offset - self.done)
        self.done = offset


def summarize(columns: Columns) -> Chunk:
    """The facts about one batch."""
    rows = columns.rows
    expire_at_ms = columns.expire_at_ms[:rows]
    expiring = expire_at_ms[expire_at_ms != codes.NO_EXPIRY]
    flags = columns.flags[:rows]
    sizes = columns.end[:rows] - columns.entry_start[:rows]
    return Chunk(
        db=columns.db,
        start=columns.start,
        stop=columns.stop,
        rows=rows,
        expires=len(expiring),
        first_expiry_ms=int(expiring.min()) if len(expiring) else None,
        last_expiry_ms=int(expiring.max()) if len(expiring) else None,
        seconds=int(np.count_nonzero(flags & codes.EXPIRY_SECONDS)),
        flags=int(np.bitwise_or.reduce(flags)),
        types=np.flatnonzero(np.bincount(columns.type[:rows])).tolist(),
        entry_bytes=int(sizes.sum()),
        largest_entry_bytes=int(sizes.max()),
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _refuse_append_only_file(segment: Segment, end: int) -> None:
    """Commands after the RDB mean that it is the head of an append-only file, and not the whole data set."""
    rest = bytes(segment.view[end : end + 32])
    if rest[:1] == b"*" and b"\r\n$" in rest:
        raise FormatError(
            f"an append-only file: its RDB part ends here, and {segment.size_bytes - end:,} bytes of commands follow",
            offset=end,
            file=segment.name,
            remedy="the RDB part alone is not all the data: pull from the server, or load the file and save an RDB",
        )


def _refuse_repeated_libraries(segment: Segment, libraries: Iterable[Library]) -> None:
    seen: dict[str, Library] = {}
    for library in libraries:
        first = seen.setdefault(library.name, library)
        if first is not library:
            raise FormatError(
                f"function library {library.name!r} stands here and at byte {first.offset:,};"
                " no server loads such a file",
                offset=library.offset,
                file=segment.name,
                remedy="take the snapshot again; a server never writes one library twice",
            )


def _refuse_repeated_keys(segment: Segment, facts: IndexFacts, collector: HashCollector) -> None:
    for db in collector.dbs():
        pieces = [repeated(piece) for piece in collector.sorted_hashes(db)]
        suspects = np.concatenate(pieces) if pieces else np.empty(0, np.uint64)
        if len(suspects):
            _compare_keys(segment, [chunk for chunk in facts.chunks if chunk.db == db], suspects)


def _compare_keys(segment: Segment, chunks: Iterable[Chunk], suspects: Hashes) -> None:
    """Equal hashes are only suspects: raise if two of the keys themselves are equal."""
    seen: dict[bytes, int] = {}
    columns = Columns()
    for chunk in chunks:
        for batch in segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=columns):
            for row in np.flatnonzero(np.isin(batch.hash_keys(segment.view), suspects)):
                key, offset = batch.key(segment.view, int(row)), int(batch.entry_start[row])
                if key in seen:
                    raise FormatError(
                        f"key {escape_key(key)} of db {chunk.db} stands here and at byte {seen[key]:,};"
                        " no server loads such a file",
                        offset=offset,
                        file=segment.name,
                        remedy="take the snapshot again; a server never writes one key twice",
                    )
                seen[key] = offset
