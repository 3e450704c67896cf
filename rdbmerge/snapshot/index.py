"""What one scan of a segment found, kept beside the file: counts, chunks to work on in parallel, sorted key hashes.

Made once by `read_index`, reused while size, mtime and checksum of the file agree. A segment with an index is whole:
structure, CRC-64 and uniqueness of its keys and libraries were checked. Knows nothing of merges.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from rdbmerge.errors import DiskError
from rdbmerge.snapshot.hashes import HashCollector, Hashes, wrapping_sum
from rdbmerge.snapshot.segment import Segment

INDEX_SUFFIX = ".index"
INDEX_FORMAT = 3
_ALIGN_BYTES = 4096

Progress = Callable[[int], None]  # bytes scanned since the last call


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Chunk(_Model):
    """A run of entries of one db between two entry borders: the unit of parallel work."""

    db: int
    start: int  # offset of the first entry
    stop: int  # offset after the last one
    rows: int
    expires: int  # rows with an expiry
    first_expiry_ms: int | None
    last_expiry_ms: int | None
    seconds: int  # rows whose expiry is in seconds (4 bytes instead of 8)
    flags: int  # all rows' flags (`format.codes`), or-ed
    types: list[int]  # value types that occur, ascending
    entry_bytes: int  # of the entries alone, attributes included; other records may lie between them
    largest_entry_bytes: int


class DbSummary(_Model):
    """Counts of one db of a segment."""

    db: int
    keys: int
    expires: int
    types: dict[int, int]  # value type -> keys
    hinted_keys: int | None = None  # what RESIZEDB said


class Library(_Model):
    """A function library: found again by its offset."""

    name: str
    offset: int
    sha256: str


class ModuleData(_Model):
    """A MODULE_AUX record, opcode included."""

    module: str
    before_keys: bool
    start: int
    end: int


class IndexFacts(_Model):
    """All of an index but its hashes."""

    index_format: int = INDEX_FORMAT
    size_bytes: int
    mtime_ns: int
    magic: str
    crc64: int  # of the file's bytes before the footer
    stored_crc64: int | None  # None: the version has none; 0: the server was told to write none
    end: int  # where the RDB ends; the file may go on
    aux: list[tuple[str, str]]  # names and values, undecodable bytes escaped
    dbs: list[DbSummary]
    chunks: list[Chunk]
    libraries: list[Library]
    module_data: list[ModuleData]
    templates: list[int] = []  # offsets of hash templates
    hashes_at: dict[int, tuple[int, int, int]] = {}  # db -> offset in the index file, count, sum modulo 2^64

    @property
    def keys(self) -> int:
        """Entries of all dbs."""
        return sum(db.keys for db in self.dbs)

    @property
    def trailing_bytes(self) -> int:
        """Bytes after the end of the RDB, which no server reads."""
        return self.size_bytes - self.end

    def aux_value(self, name: str) -> str | None:
        """The value of an AUX field (names are compared without case); None if it is not there."""
        return next((value for key, value in self.aux if key.lower() == name), None)


class Index:
    """The facts about a segment, and per db its key hashes in ascending order."""

    def __init__(self, facts: IndexFacts, hashes: dict[int, Hashes]) -> None:
        self.facts = facts
        self.hashes = hashes


def index_path(segment_path: Path) -> Path:
    """Where the index of a segment lies."""
    return segment_path.with_name(segment_path.name + INDEX_SUFFIX)


def cached_index(segment: Segment) -> Index | None:
    """The index beside the segment if it is there, whole, and belongs to these very bytes."""
    try:
        with index_path(segment.path).open("rb") as file:
            facts = IndexFacts.model_validate_json(file.readline())
            if not _belongs(facts, segment):
                return None
            hashes = _mapped(file, facts)
    except (OSError, ValidationError, ValueError, OverflowError):
        return None  # a cache that cannot be read is no cache
    # An index is not synced when written: after a loss of power its head may be there without all of its hashes.
    if any(wrapping_sum(column) != facts.hashes_at[db][2] for db, column in hashes.items()):
        return None
    return Index(facts, hashes)


def _mapped(file: BinaryIO, facts: IndexFacts) -> dict[int, Hashes]:
    return {db: np.memmap(file, np.uint64, "r", offset, (count,)) for db, (offset, count, _) in facts.hashes_at.items()}


def _belongs(facts: IndexFacts, segment: Segment) -> bool:
    if facts.index_format != INDEX_FORMAT or (facts.size_bytes, facts.mtime_ns) != (
        segment.size_bytes,
        segment.mtime_ns,
    ):
        return False
    if {db: count for db, (_, count, _) in facts.hashes_at.items()} != {db.db: db.keys for db in facts.dbs if db.keys}:
        return False
    footer = bytes(segment.view[facts.end - 8 : facts.end]) if facts.stored_crc64 is not None else None
    return footer is None or int.from_bytes(footer, "little") == facts.stored_crc64


def write_index(segment_path: Path, facts: IndexFacts, collector: HashCollector) -> Index:
    """Write the index beside the segment, 0600, atomically; where that cannot be, into a nameless temporary file.

    Raises DiskError when neither can be written.
    """
    path = index_path(segment_path)
    partial = path.with_name(f".{path.name}.partial")
    body = _header(facts, collector)
    try:
        with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as file:
            index = _write(file, body, facts, collector)
        partial.rename(path)
        return index
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
    try:
        with tempfile.TemporaryFile() as file:
            return _write(file, body, facts, collector)
    except OSError as error:
        raise DiskError(
            f"no room for the index of {segment_path.name} ({8 * facts.keys:,} bytes): {error.strerror}",
            remedy="free space beside the file or in the temporary folder (TMPDIR)",
        ) from error


def _header(facts: IndexFacts, collector: HashCollector) -> bytes:
    """One line of JSON, padded so that the hashes behind it are aligned; it names their offsets."""
    room = _ALIGN_BYTES
    sums = {db.db: collector.sum_of(db.db) for db in facts.dbs if db.keys}
    while True:
        start, facts.hashes_at = room, {}
        for db in facts.dbs:
            if db.keys:
                facts.hashes_at[db.db] = (start, db.keys, sums[db.db])
                start += 8 * db.keys
        body = facts.model_dump_json().encode()
        if len(body) < room:
            return body.ljust(room - 1) + b"\n"
        room = (len(body) // _ALIGN_BYTES + 2) * _ALIGN_BYTES


def _write(file: BinaryIO, body: bytes, facts: IndexFacts, collector: HashCollector) -> Index:
    file.write(body)
    for db in facts.hashes_at:
        for piece in collector.sorted_hashes(db):
            file.write(piece.data.cast("B"))
    file.flush()
    return Index(facts, _mapped(file, facts))
