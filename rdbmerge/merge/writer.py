"""Plan and segments in, one RDB out: written in parallel at offsets the Plan knows, named only when it is whole.

Makes bytes, takes no decision. A crash at any moment leaves no output, or a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import anycrc

from rdbmerge.errors import DiskError, LedgerError, StoppedError, UsageError
from rdbmerge.format import write
from rdbmerge.format.columns import Columns
from rdbmerge.format.emit import BUFFER_BYTES, Change, emit
from rdbmerge.format.strings import read_string
from rdbmerge.plan.layout import CHECKSUM_BYTES, Copy, Entries, Library, Literal, Part, Placed, place
from rdbmerge.plan.model import Plan
from rdbmerge.plan.selection import Selection
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import format_bytes

CRC64 = anycrc.Model("CRC64-REDIS")

Progress = Callable[[int], None]  # bytes written since the last call

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def partial_path(output: Path) -> Path:
    """Where the file grows until it is whole."""
    return output.with_name(f".{output.name}.partial")


def write_plan(
    plan: Plan,
    segments: Sequence[Segment],
    output: Path,
    *,
    jobs: int,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Write the merged file of `plan`; returns the CRC-64 of its bytes before the footer.

    Args:
        segments: those the plan was made of, in its order.
        jobs: threads; more than 1 only helps with the compiled core.
        force: replace an output that exists.
        stop: when set, the writing ends and leaves nothing.

    Raises:
        DiskError: no room, no permission; nothing is left.
        UsageError: the output exists, or another process is writing it.
        LedgerError: a part came out in another size than the plan says: a defect, nothing is left.
        StoppedError: `stop` was set.
    """
    placed = place(plan)
    with _partial_file(plan, output) as fd:
        crc = _write_parts(_Hand(plan, segments, fd, progress, stop), placed, jobs)
        _pwrite(fd, memoryview(write.checksum(crc)), plan.output_bytes - CHECKSUM_BYTES)
        os.fsync(fd)
        _publish(output, force)
    return crc


@contextmanager
def _partial_file(plan: Plan, output: Path) -> Iterator[int]:
    """The partial file, 0600, locked and as large as the merged one will be; gone after any failure."""
    partial = partial_path(output)
    fd = _own_partial(partial, output)
    try:
        os.ftruncate(fd, 0)
        try:
            os.posix_fallocate(fd, 0, plan.output_bytes)
            yield fd
        except OSError as error:
            raise _disk_error(error, plan, output) from error
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    finally:
        os.close(fd)


def _own_partial(partial: Path, output: Path) -> int:
    """The partial file, locked by this process and nobody's output: what a killed process left is taken over."""
    while True:
        try:
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise DiskError(f"cannot write {output}: {error.strerror}", remedy=_remedy(error)) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise UsageError(
                f"another rdbmerge is writing {output}", remedy="wait for it, or choose another output"
            ) from None
        if _is_only_name(fd, partial):
            os.fchmod(fd, 0o600)  # whoever made it first
            return fd
        os.close(fd)


def _is_only_name(fd: int, partial: Path) -> bool:
    """Whether `partial` alone names the open file. It may have become an output since it was opened, or still have
    been one's second name when its process was killed: then that output must not be written over."""
    facts = os.fstat(fd)
    try:
        if not os.path.samestat(facts, partial.stat()):
            return False
        if facts.st_nlink == 1:
            return True
        partial.unlink()
    except FileNotFoundError:
        pass
    return False


def _disk_error(error: OSError, plan: Plan, output: Path) -> DiskError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        room = os.statvfs(output.parent)
        return DiskError(
            f"no room for {output}: {format_bytes(plan.output_bytes)} needed,"
            f" {format_bytes(room.f_bavail * room.f_frsize)} free in {output.parent}",
            remedy="free space there or choose another place with -o; nothing was left behind",
        )
    return DiskError(f"cannot write {output}: {error.strerror}", remedy=_remedy(error))


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "make the folder first"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder you may write to with -o"
    return "check the disk; nothing was left behind"


def _publish(output: Path, force: bool) -> None:
    """Give the whole file its name, atomically; without `force` never over one that exists."""
    partial = partial_path(output)
    if force:
        partial.replace(output)
    else:
        try:
            os.link(partial, output)
        except FileExistsError:
            raise output_exists(output) from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or output.exists():
                raise
            partial.rename(output)  # a disk without hard links, such as FAT: nearly as safe
        else:
            partial.unlink()
    folder = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def output_exists(output: Path) -> UsageError:
    """The refusal to overwrite."""
    return UsageError(f"{output} exists", remedy="choose another name, or replace it with --force")


def _write_parts(hand: _Hand, placed: Sequence[Placed], jobs: int) -> int:
    """All parts, several at a time; the CRC-64 of them all, joined in order."""
    crc = 0
    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="write") as pool:
        futures = [pool.submit(hand.write, each) for each in placed]
        try:
            for each, future in zip(placed, futures, strict=True):
                crc = CRC64.combine(crc, future.result(), each.part.size_bytes)
        except BaseException:
            hand.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return crc


class _Hand:
    """Writes one part at a time; each thread with a buffer and columns of its own."""

    def __init__(
        self,
        plan: Plan,
        segments: Sequence[Segment],
        fd: int,
        progress: Progress | None,
        stop: threading.Event | None,
    ) -> None:
        self.segments = segments
        self.fd = fd
        self.progress = progress
        self.stop = stop or threading.Event()
        self.own = threading.local()
        self.selections = [
            Selection(plan.rules, segment.dialect, source.snapshot_at_ms, source.losers)
            for segment, source in zip(segments, plan.sources, strict=True)
        ]
        self.changes = [
            Change(
                dialect=segment.dialect,
                ttl_offset_ms=source.ttl_offset_ms,
                key_prefix=plan.rules.key_prefix,
                fields_dead_before_ms=selection.dead_before_ms,
            )
            for segment, source, selection in zip(segments, plan.sources, self.selections, strict=True)
        ]

    def write(self, placed: Placed) -> int:
        """Write a part to its place; returns its CRC-64."""
        crc, offset = 0, placed.offset
        for piece in self._pieces(placed.part):
            if self.stop.is_set():
                raise StoppedError("stopped while writing; nothing was left behind")
            crc = CRC64.calc(piece, crc)
            _pwrite(self.fd, piece, offset)
            offset += len(piece)
            if self.progress:
                self.progress(len(piece))
        if offset - placed.offset != placed.part.size_bytes:
            raise LedgerError(
                f"a part at byte {placed.offset:,} came out as {offset - placed.offset:,} bytes,"
                f" the plan says {placed.part.size_bytes:,}",
                remedy="this is a defect of rdbmerge: please report it with the plan",
            )
        return crc

    def _pieces(self, part: Part) -> Iterator[memoryview]:
        match part:
            case Literal():
                yield memoryview(part.data)
            case Copy():
                yield self.segments[part.source].view[part.start : part.end]
            case Library():
                code, _ = read_string(self.segments[part.source].view, part.offset + 1)
                yield memoryview(write.function(code))
            case Entries():
                yield from self._entries(part)

    def _entries(self, part: Entries) -> Iterator[memoryview]:
        segment = self.segments[part.source]
        selection, change = self.selections[part.source], self.changes[part.source]
        columns, buffer = self._own()
        for batch in segment.walk_part(part.chunk.start, part.chunk.stop, part.db, columns=columns):
            with segment.naming_errors():
                reasons = selection.reasons(segment.view, batch)
                yield from emit(segment.view, batch, reasons, change, buffer)

    def _own(self) -> tuple[Columns, bytearray]:
        if not hasattr(self.own, "columns"):
            self.own.columns = Columns()
            self.own.buffer = bytearray(BUFFER_BYTES)
        return self.own.columns, self.own.buffer


def _pwrite(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
