"""Reads a file window by window into memory of its own, and walks the records of each.

Reading costs half of what mapping costs where every byte is wanted once, and the bytes are in the processor's cache
when they are walked. What a window cuts is read again at the start of the next; what no window holds is walked in the
mapping. Offsets that leave this module are offsets in the file.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rdbmerge.errors import FormatError, TruncatedError, UsageError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import Templates
from rdbmerge.format.dialects import MAGIC_BYTES, Dialect
from rdbmerge.format.records import Aux, End, Function, HashTemplate, ModuleAux
from rdbmerge.format.scan import Record, Walk
from rdbmerge.snapshot.segment import Segment

WINDOW_BYTES = 8 << 20
_PAD = 1  # so that no window starts at 0, which means "whole file" to a walk


class Window:
    """Bytes of a file: `view[place]` is its byte `place + shift`."""

    def __init__(self, size: int = WINDOW_BYTES) -> None:
        # Not a bytearray: such a mapping goes back to the system as soon as nobody looks at it.
        self._whole = memoryview(mmap.mmap(-1, _PAD + size))
        self.size = size
        self.view = self._whole
        self.shift = 0

    def read(self, file: int, start: int, stop: int) -> None:
        """Fill the window with the bytes from `start` to `stop`, at most `size` of them. Raises UsageError."""
        want = min(self.size, stop - start)
        try:
            got = os.preadv(file, [self._whole[_PAD : _PAD + want]], start)
            while 0 < got < want:
                more = os.preadv(file, [self._whole[_PAD + got : _PAD + want]], start + got)
                if not more:
                    break
                got += more
        except OSError as error:
            raise UsageError(f"cannot read on: {error.strerror}", remedy="check the disk") from error
        if got < want:
            raise UsageError("the file became shorter while it was read", remedy="run the command again")
        self.view = self._whole[: _PAD + want]
        self.shift = start - _PAD


class MappedWindow(Window):
    """The whole file as it is mapped, for what is too large to be read in a piece."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(0)
        self.view = segment.view


@dataclass(frozen=True, slots=True)
class Step:
    """A record, or a run of entries (`opcode` is ENTRIES), in the order of the file."""

    opcode: int
    offset: int
    db: int


ENTRIES = -1


class WindowWalk(Walk):
    """Walks one window; yields what it holds whole, and then ends (the `last` one of a file: raises)."""

    def __init__(
        self,
        window: Window,
        dialect: Dialect,
        columns: Columns,
        *,
        start: int,
        db: int,
        last: bool,
        steps: list[Step],
        templates: Templates,
    ) -> None:
        super().__init__(
            window.view,
            columns=columns,
            dialect=dialect,
            start=start - window.shift,
            end=len(window.view),
            db=db,
            templates=templates,
        )
        self._last = last
        self._steps = steps
        self._shift = window.shift
        self.pending_rows = 0  # found, and not yet handed out

    def _fill(self, rows: int) -> tuple[int, int]:
        status, self.pending_rows = super()._fill(rows)
        return status, self.pending_rows

    def _batch(self, rows: int) -> Columns:
        self.pending_rows = 0
        return super()._batch(rows)

    def _at_end(self) -> bool:
        return not self._last and self._scanner.get_cursor().error_code == codes.TRUNCATED

    def _record(self, opcode: int) -> Record | None:
        offset = self.pos + self._shift
        record = super()._record(opcode)
        self._steps.append(Step(opcode, offset, self.db))
        return record


class FileWalk:
    """One walk over a whole file, in as many windows as it takes."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._db = 0
        self._told = -1  # offset of the last record that was handed out
        self.steps: list[Step] = []
        self.position = 0  # all before it was handed out
        self.window: Window = MappedWindow(segment)  # what the batch at hand lies in

    def walk(self, file: int, window: Window, columns: Columns) -> Iterator[Columns | Record]:
        """Read a window from `position` on and hand out what it holds whole; to be called until an End came out.

        Batches hold places in `self.window.view`. Raises FormatError with offsets in the file.
        """
        start, size_bytes = self.position, self._segment.size_bytes
        window.read(file, start, size_bytes)
        yield from self._walk_window(window, columns, last=start + window.size >= size_bytes)
        if self.position == start:
            yield from self._walk_window(MappedWindow(self._segment), columns, last=True, only_first=True)

    def give_columns(self, columns: Columns) -> None:
        """What the next batch is to be put into."""
        self._current.columns = columns

    def _walk_window(
        self, window: Window, columns: Columns, *, last: bool, only_first: bool = False
    ) -> Iterator[Columns | Record]:
        self.window, before, known = window, self.position, len(self.steps)
        walk = self._current = WindowWalk(
            window,
            self._segment.dialect,
            columns,
            start=max(self.position, MAGIC_BYTES),
            db=self._db,
            last=last,
            steps=self.steps,
            templates=self._segment.templates,
        )
        try:
            for item in walk:
                if isinstance(item, Columns):
                    self._db, self.position = item.db, item.stop + window.shift
                    self.steps.append(Step(ENTRIES, item.start + window.shift, item.db))
                    yield item
                else:
                    yield from self._record(walk, item)
                if only_first and self.position > before:
                    break
        except TruncatedError as error:
            if last:
                raise _at(error, window.shift) from None
        except FormatError as error:
            raise _at(error, window.shift) from None
        # What lies behind the position will be met again.
        self.steps[known:] = [step for step in self.steps[known:] if step.offset < self.position]

    def _record(self, walk: WindowWalk, record: Record) -> Iterator[Record]:
        """Hand out a record, once, though what stands before it may have to be read again."""
        if not walk.pending_rows:
            self._db, self.position = walk.db, walk.pos + self.window.shift
        if self.steps[-1].offset > self._told:
            self._told = self.steps[-1].offset
            yield moved(record, self.window.shift)


@contextmanager
def reading(segment: Segment) -> Iterator[int]:
    """A file descriptor for reading the very file that a segment has mapped. Raises UsageError if it was replaced."""
    file = os.open(segment.path, os.O_RDONLY)
    try:
        facts = os.fstat(file)
        if (facts.st_size, facts.st_mtime_ns) != (segment.size_bytes, segment.mtime_ns):
            raise UsageError(f"{segment.path} changed while it was being read", remedy="run the command again")
        yield file
    finally:
        os.close(file)


def walk_part(
    segment: Segment, file: int, window: Window, start: int, stop: int, db: int, columns: Columns
) -> Iterator[tuple[memoryview, Columns]]:
    """The batches between two entry borders of one db, each with the view that its places are in."""
    if stop - start > window.size:
        for batch in segment.walk_part(start, stop, db, columns=columns):
            yield segment.view, batch
        return
    window.read(file, start, stop)
    walk = Walk(
        window.view,
        columns=columns,
        dialect=segment.dialect,
        start=_PAD,
        end=len(window.view),
        db=db,
        templates=segment.templates,
    )
    try:
        for item in walk:
            if isinstance(item, Columns):
                yield window.view, item
    except FormatError as error:
        raise _at(error, window.shift).in_file(segment.name) from None


def moved(record: Record, shift: int) -> Record:
    """A record with its offsets moved."""
    match record:
        case Aux() | Function() | HashTemplate():
            return replace(record, offset=record.offset + shift)
        case ModuleAux():
            return replace(record, start=record.start + shift, end=record.end + shift)
        case End():
            return replace(record, checksum_offset=record.checksum_offset + shift, end=record.end + shift)
    return record


def _at(error: FormatError, shift: int) -> FormatError:
    return type(error)(error.finding, offset=error.offset + shift, remedy=error.remedy)
