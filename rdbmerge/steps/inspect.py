"""The use case of looking: what RDB files hold, by db and type, with expiries, sizes and the biggest keys.

Two passes over each file at most (the index, if there is none yet, and the sums), in bounded memory. Changes nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.errors import RdbMergeError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.snapshot.index import IndexFacts
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import Manifest, checked_manifest, snapshot_time
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import escape_key

REPORT_FORMAT = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class TypeSummary(_Model):
    """The keys of one value type in one db."""

    type: str = Field(description="As the command TYPE says it.")
    encoding: str = Field(description="How it is stored in the file.")
    keys: int
    entry_bytes: int = Field(description="Keys, values and attributes, in the file.")
    holds_field_expiries: bool = Field(description="Hashes whose fields have expiries of their own.")


class DbDetails(_Model):
    """One db of a file."""

    db: int
    keys: int
    expires: int = Field(description="Keys with an expiry.")
    first_expiry_ms: int | None
    last_expiry_ms: int | None
    dead: int = Field(description="Keys whose expiry was over when the snapshot was taken.")
    entry_bytes: int
    types: list[TypeSummary]


class BigKey(_Model):
    """One of the biggest entries."""

    db: int
    key: str = Field(description="Escaped.")
    key_base64: bytes
    type: str
    entry_bytes: int
    expire_at_ms: int | None


class FileSummary(_Model):
    """One RDB file."""

    path: str
    name: str
    magic: str
    size_bytes: int
    trailing_bytes: int
    crc64: str
    checksum: str = Field(description="`right`, `off` (written with rdbchecksum no) or `none` (before RDB 5).")
    snapshot_at_ms: int
    snapshot_at_from: str
    aux: list[tuple[str, str]]
    keys: int
    dbs: list[DbDetails]
    libraries: list[str]
    modules: list[str] = Field(description="Modules that keep data beside the keys.")
    biggest: list[BigKey]
    manifest: Manifest | None


class FileFailure(_Model):
    """A file that cannot be read."""

    path: str
    error: str
    remedy: str
    exit_code: int


class InspectReport(_Model):
    """All files that were asked for."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    files: list[FileSummary]
    failures: list[FileFailure]


def inspect(paths: Sequence[Path], *, top: int, progress: Callable[[int], None] | None = None) -> InspectReport:
    """Summarize the files `paths`, `top` biggest keys of each; a file that cannot be read does not hide the others.

    `progress` is told the bytes scanned since its last call.
    """
    report = InspectReport(files=[], failures=[])
    for path in paths:
        try:
            with Segment(path) as segment:
                report.files.append(summarize_file(segment, top=top, progress=progress))
        except RdbMergeError as error:
            if error.exit_code == 130:
                raise
            report.failures.append(
                FileFailure(path=str(path), error=str(error), remedy=error.remedy, exit_code=error.exit_code)
            )
    return report


def summarize_file(segment: Segment, *, top: int, progress: Callable[[int], None] | None = None) -> FileSummary:
    """All about one file. Raises FormatError and its kinds, and UsageError for a manifest of another file."""
    facts = read_index(segment, progress=progress).facts
    at_ms, at_from = snapshot_time(segment, facts, None)
    sums = _Sums(segment, at_ms, top)
    for item in segment.walk():
        if isinstance(item, Columns):
            sums.add(item)
    return FileSummary(
        path=str(segment.path),
        name=segment.name,
        magic=facts.magic,
        size_bytes=facts.size_bytes,
        trailing_bytes=facts.trailing_bytes,
        crc64=f"{facts.crc64:016x}",
        checksum={None: "none", 0: "off"}.get(facts.stored_crc64, "right"),
        snapshot_at_ms=at_ms,
        snapshot_at_from=at_from,
        aux=facts.aux,
        keys=facts.keys,
        dbs=_details(facts, segment, sums),
        libraries=[library.name for library in facts.libraries],
        modules=sorted({data.module for data in facts.module_data}),
        biggest=[big for _, _, big in sorted(sums.biggest, key=lambda row: (-row[0], row[1]))],
        manifest=checked_manifest(segment),
    )


@dataclass(slots=True)
class _DbSums:
    keys_by_type: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    bytes_by_type: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    dead: int = 0


class _Sums:
    """Adds up batches; keeps no more than one line a db and type, and the biggest keys."""

    def __init__(self, segment: Segment, snapshot_at_ms: int, top: int) -> None:
        self.segment = segment
        self.snapshot_at_ms = snapshot_at_ms
        self.top = top
        self.dbs: dict[int, _DbSums] = {}
        self.biggest: list[tuple[int, int, BigKey]] = []  # a heap of (size, offset, key), the smallest first

    def add(self, columns: Columns) -> None:
        rows = columns.rows
        sums = self.dbs.setdefault(columns.db, _DbSums())
        types, expire_at_ms = columns.type[:rows], columns.expire_at_ms[:rows]
        sizes = columns.end[:rows] - columns.entry_start[:rows]
        sums.keys_by_type += np.bincount(types, minlength=256)
        sums.bytes_by_type += np.bincount(types, sizes, minlength=256).astype(np.int64)
        sums.dead += int(np.count_nonzero((expire_at_ms != codes.NO_EXPIRY) & (expire_at_ms < self.snapshot_at_ms)))
        if self.top:
            self._add_biggest(columns, sizes)

    def _add_biggest(self, columns: Columns, sizes: np.ndarray) -> None:
        least = self.biggest[0][0] if len(self.biggest) == self.top else -1
        if sizes.max() <= least:
            return
        count = min(self.top, len(sizes))
        for row in np.argpartition(sizes, len(sizes) - count)[-count:].tolist():
            if sizes[row] > least:
                item = (int(sizes[row]), int(columns.entry_start[row]), self._big(columns, row, int(sizes[row])))
                heapq.heappush(self.biggest, item)
                if len(self.biggest) > self.top:
                    heapq.heappop(self.biggest)

    def _big(self, columns: Columns, row: int, size: int) -> BigKey:
        key, expire_at_ms = columns.key(self.segment.view, row), int(columns.expire_at_ms[row])
        return BigKey(
            db=columns.db,
            key=escape_key(key),
            key_base64=key,
            type=self.segment.dialect.types[int(columns.type[row])].logical.name.lower(),
            entry_bytes=size,
            expire_at_ms=None if expire_at_ms == codes.NO_EXPIRY else expire_at_ms,
        )


def _details(facts: IndexFacts, segment: Segment, sums: _Sums) -> list[DbDetails]:
    details = []
    for db in facts.dbs:
        added = sums.dbs.get(db.db, _DbSums())
        chunks = [chunk for chunk in facts.chunks if chunk.db == db.db]
        firsts = [chunk.first_expiry_ms for chunk in chunks if chunk.first_expiry_ms is not None]
        lasts = [chunk.last_expiry_ms for chunk in chunks if chunk.last_expiry_ms is not None]
        details.append(
            DbDetails(
                db=db.db,
                keys=db.keys,
                expires=db.expires,
                first_expiry_ms=min(firsts, default=None),
                last_expiry_ms=max(lasts, default=None),
                dead=added.dead,
                entry_bytes=int(added.bytes_by_type.sum()),
                types=[_type_summary(segment, number, added) for number in np.flatnonzero(added.keys_by_type).tolist()],
            )
        )
    return details


def _type_summary(segment: Segment, number: int, sums: _DbSums) -> TypeSummary:
    row = segment.dialect.types[number]
    return TypeSummary(
        type=row.logical.name.lower(),
        encoding=row.name,
        keys=int(sums.keys_by_type[number]),
        entry_bytes=int(sums.bytes_by_type[number]),
        holds_field_expiries=row.holds_expiry,
    )
