"""The library's face for reading: iterates over the entries of one RDB file, values decoded when they are asked for.

Checks the structure and the checksum on the way; keeps one batch of entries in memory, whatever the file's size.
Writes nothing, not even an index.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import anycrc

from rdbmerge.errors import ChecksumError, UsageError
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import Entries, Entry
from rdbmerge.format.decode import Values
from rdbmerge.format.records import Aux, End, Function
from rdbmerge.format.scan import Walk
from rdbmerge.snapshot.segment import Segment

CRC64 = anycrc.Model("CRC64-REDIS")


class RdbFile:
    """An RDB file, open for reading. Iterating yields its entries in the order of the file; it may be done again.

    `dialect` is the line and version of the format, `aux` and `functions` what stands before the first key. Values of
    one iteration are decoded by one thread at a time.
    """

    def __init__(self, path: str | os.PathLike[str], *, check: bool = True) -> None:
        self._segment = Segment(Path(path))
        self._check = check
        self._closed = False
        self.dialect = self._segment.dialect
        self.aux: dict[bytes, bytes] = {}
        self.functions: dict[bytes, bytes] = {}
        try:
            self._read_head()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RdbFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go. Entries that are still held keep what they need of it."""
        self._closed = True
        self._segment.close()

    def _read_head(self) -> None:
        for item in self._segment.walk(columns=Columns(1)):
            match item:
                case Aux():
                    self.aux[item.name] = item.value
                case Function():
                    self.functions[item.name] = item.code
                case Columns():
                    return

    def __iter__(self) -> Iterator[Entry]:
        """Every entry. Raises FormatError and its kinds; ChecksumError, after the last one, for a damaged file.

        An iteration that was begun goes on when the file is closed; one that begins then raises UsageError.
        """
        if self._closed:
            raise UsageError(f"{self._segment.name} is closed", remedy="open it again")
        return chain.from_iterable(self._batches(memoryview(self._segment.view)))

    def _batches(self, view: memoryview) -> Iterator[Iterable[Entry]]:
        segment, crc, done = self._segment, 0, 0
        with segment.naming_errors():
            walk = Walk(view, dialect=segment.dialect)
            decoder = Values(view, segment.dialect, walk.templates, name=segment.name).decoder
            for item in walk:
                if isinstance(item, Columns):
                    if self._check:
                        crc, done = CRC64.calc(view[done : item.stop], crc), item.stop
                    yield _entries_of(decoder, item)
                elif isinstance(item, End) and item.checksum and self._check:
                    crc = CRC64.calc(view[done : item.checksum_offset], crc)
                    _check_checksum(item, crc)


def _entries_of(decoder: Any, columns: Columns) -> Iterable[Entry]:
    entries: Iterable[Entry] = Entries(
        decoder,
        columns.db,
        # Interpreted, an array would hand out numbers of NumPy, which overflow and are not what a user expects.
        columns.type.data,
        columns.flags.data,
        columns.expire_at_ms.data,
        columns.hint.data,
        columns.entry_start.data,
        columns.key_start.data,
        columns.value_start.data,
        columns.end.data,
        columns.rows,
    )
    return entries


def _check_checksum(end: End, crc: int) -> None:
    if end.checksum != crc:
        raise ChecksumError(
            f"the checksum in the file is {end.checksum:016x}, its bytes give {crc:016x}",
            offset=end.checksum_offset,
            remedy="the file was damaged on disk or in transit; pull or copy it again",
        )
