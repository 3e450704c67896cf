"""Where each part of the merged file will lie, to the byte: what lets many hands write it at once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rdbmerge.format import write
from rdbmerge.format.dialects import read_dialect
from rdbmerge.plan.model import ChunkPlan, Plan

CHECKSUM_BYTES = 8


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that are known now."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        """Of the part in the merged file."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Copy:
    """A record of a source that is copied as it is."""

    source: int
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Of the part in the merged file."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Library:
    """A function library of a source, written anew from its code."""

    source: int
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Entries:
    """A chunk of a source's entries."""

    source: int
    db: int
    chunk: ChunkPlan

    @property
    def size_bytes(self) -> int:
        """Of the part in the merged file."""
        return self.chunk.output_bytes


Part = Literal | Copy | Library | Entries


@dataclass(frozen=True, slots=True)
class Placed:
    """A part and where it starts in the merged file."""

    offset: int
    part: Part


def parts(plan: Plan) -> Iterator[Part]:
    """The parts of the merged file in their order, up to and including the end opcode (rdb-format.md 1)."""
    dialect = read_dialect(plan.magic.encode())
    aux = [(b"redis-bits", b"64"), (b"ctime", str(plan.created_at_ms // 1_000).encode())]
    yield Literal(write.header(dialect, aux))
    for data in plan.module_data:
        if data.before_keys:
            yield Copy(data.source, data.start, data.end)
    for library in plan.libraries:
        yield Library(library.source, library.offset, library.size_bytes)
    for db in plan.dbs:
        yield Literal(write.select_db(dialect, db.db, db.keys, db.expires))
        for number, source in enumerate(plan.sources):
            for run in source.runs:
                if run.target_db == db.db:
                    yield from (Entries(number, run.db, chunk) for chunk in run.chunks if chunk.written)
    for data in plan.module_data:
        if not data.before_keys:
            yield Copy(data.source, data.start, data.end)
    yield Literal(write.end())


def place(plan: Plan) -> list[Placed]:
    """Every part with its offset; the checksum follows the last one."""
    placed, offset = [], 0
    for part in parts(plan):
        placed.append(Placed(offset, part))
        offset += part.size_bytes
    return placed


def total_bytes(plan: Plan) -> int:
    """The size of the merged file."""
    return sum(part.size_bytes for part in parts(plan)) + CHECKSUM_BYTES
