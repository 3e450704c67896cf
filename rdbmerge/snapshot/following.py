"""Scans an RDB while it is still being written, so that hardly anything is left to do once its last byte has come.

A help only: a file that cannot be followed (small, odd, damaged) is scanned when it is whole, and nothing said before.
What is found by following is what a scan of the whole file finds. Knows nothing of who writes the file.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from rdbmerge.errors import FormatError, TruncatedError
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import Templates
from rdbmerge.format.records import End
from rdbmerge.format.scan import Record, Walk
from rdbmerge.snapshot.hashes import HashCollector
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.indexer import Findings, make_index
from rdbmerge.snapshot.segment import Segment

_STEP_BYTES = 64 << 20  # at least as much is looked at once: a few batches, so that little is looked at twice
_LOOK_EVERY_S = 0.1
_LIMIT_HASHES = 4_000_000  # 32 MB: several files are followed at once, and for long


class Follower:
    """Follows the file at `path`, which only grows, until `finish` or the end of the block: a context manager."""

    def __init__(self, path: Path, *, step_bytes: int = _STEP_BYTES) -> None:
        self._path = path
        self._step_bytes = step_bytes
        self._collector = HashCollector(path.parent, limit_hashes=_LIMIT_HASHES)
        self._findings = Findings(self._collector)
        self._complete = threading.Event()
        self._abandoned = False
        self._followed = False
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned = True
        self._complete.set()
        self._thread.join()
        self._collector.close()

    def finish(self, segment: Segment) -> Index | None:
        """The index of the file, which is whole now and open as `segment`; None if it could not be followed.

        Raises ChecksumError, FormatError: as a scan of the whole file would.
        """
        self._complete.set()
        self._thread.join()
        if not self._followed:
            return None
        facts = self._findings.facts(segment)
        segment.learn_templates(facts.templates)
        return make_index(segment, facts, self._collector)

    def _follow(self) -> None:
        # What is wrong with the file is for the scan of the whole to say.
        with contextlib.suppress(FormatError, OSError, ValueError), self._path.open("rb") as file:
            maps = _Maps(file.fileno())
            for item in self._items(maps):
                self._findings.view = maps.view
                self._findings.book(item)
                self._followed = isinstance(item, End)

    def _items(self, maps: _Maps) -> Iterator[Columns | Record]:
        """Batches and records as `Walk` gives them for the whole file, with the same borders."""
        border, db = 0, 0
        columns, templates = Columns(), Templates()
        while True:
            complete = self._wait_for(len(maps.view) + self._step_bytes)
            if self._abandoned or (complete and not border):
                return
            maps.grow()
            walk = Walk(maps.view, columns=columns, start=border, db=db, templates=templates)
            records: list[Record] = []
            try:
                for item in walk:
                    if not isinstance(item, Columns):
                        records.append(item)
                        if isinstance(item, End):
                            yield from records
                            return
                        continue
                    if not walk.between_entries:
                        return  # no server writes such a thing
                    if walk.pos == len(maps.view) and not complete:
                        break  # it may end here only because the bytes do
                    yield from records
                    yield item
                    records, border, db = [], walk.pos, walk.db
            except TruncatedError:
                pass  # what follows the border is looked at again, with more behind it
            if complete:
                return

    def _wait_for(self, size_bytes: int) -> bool:
        """Wait until the file has so many bytes, or all of them: then it is complete."""
        while self._path.stat().st_size < size_bytes:
            if self._complete.wait(_LOOK_EVERY_S):
                return True
        return self._complete.is_set()


class _Maps:
    """The file as it is mapped just now: a map does not grow, so a new one takes its place."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.view = memoryview(b"")

    def grow(self) -> None:
        """Map all that is there. What still looks at the old map keeps it."""
        self.view = memoryview(mmap.mmap(self._fd, os.fstat(self._fd).st_size, access=mmap.ACCESS_READ))
