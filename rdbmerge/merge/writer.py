"""Plans and segments in, one RDB a Plan out: written in parallel at offsets the Plan knows, named only when whole.

The files of several shards grow together, so that the sources are read once. Makes bytes, takes no decision. A crash at
any moment leaves no output, or a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anycrc

from rdbmerge.errors import DiskError, StoppedError, UsageError
from rdbmerge.format import write
from rdbmerge.format.emit import Piece
from rdbmerge.merge.making import Errand, Maker, check_size, errands
from rdbmerge.plan.layout import CHECKSUM_BYTES, Placed, place
from rdbmerge.plan.model import Plan
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import format_bytes

CRC64 = anycrc.Model("CRC64-REDIS")

Progress = Callable[[int], None]  # bytes written since the last call

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def partial_path(output: Path) -> Path:
    """Where the file grows until it is whole."""
    return output.with_name(f".{output.name}.partial")


@dataclass(frozen=True, slots=True)
class Output:
    """One file to be written: its plan and its place."""

    plan: Plan
    path: Path


def write_plans(
    outputs: Sequence[Output],
    segments: Sequence[Segment],
    *,
    jobs: int,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> list[int]:
    """Write the merged file of each plan, reading the sources once; the CRC-64s of their bytes before the footer.

    Args:
        outputs: one, or one a shard; their plans were made together.
        segments: those the plans were made of, in their order.
        jobs: threads; more than 1 only helps with the compiled core.
        force: replace outputs that exist.
        stop: when set, the writing ends and leaves nothing.

    Raises:
        DiskError: no room, no permission; nothing is left.
        UsageError: an output exists, or another process is writing it.
        LedgerError: a part came out in another size than the plan says: a defect, nothing is left.
        StoppedError: `stop` was set.
    """
    try:
        with ExitStack() as files:
            fds = [files.enter_context(_partial_file(output)) for output in outputs]
            crcs = _write_parts(_Hand(outputs, segments, fds, progress, stop), jobs)
            for output, fd, crc in zip(outputs, fds, crcs, strict=True):
                _pwrite(fd, memoryview(write.checksum(crc)), output.plan.output_bytes - CHECKSUM_BYTES)
                os.fsync(fd)
            _publish_all([output.path for output in outputs], force)
    except OSError as error:
        raise _disk_error(error, outputs) from error
    return crcs


def write_plan(plan: Plan, segments: Sequence[Segment], output: Path, **options: Any) -> int:
    """Write one file; options, errors and the answer are those of `write_plans`."""
    return write_plans([Output(plan, output)], segments, **options)[0]


@contextmanager
def _partial_file(output: Output) -> Iterator[int]:
    """The partial file, 0600, locked and as large as the merged one will be; gone after any failure."""
    partial = partial_path(output.path)
    fd = _own_partial(partial, output.path)
    try:
        os.ftruncate(fd, 0)
        os.posix_fallocate(fd, 0, output.plan.output_bytes)
        yield fd
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


def _disk_error(error: OSError, outputs: Sequence[Output]) -> DiskError:
    """What a disk refused, told when all partial files are gone: what is free now is what the next try will have."""
    folder = outputs[0].path.parent
    what = str(outputs[0].path) if len(outputs) == 1 else f"the {len(outputs):,} files"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        room, needed_bytes = os.statvfs(folder), sum(output.plan.output_bytes for output in outputs)
        return DiskError(
            f"no room for {what}: {format_bytes(needed_bytes)} needed,"
            f" {format_bytes(room.f_bavail * room.f_frsize)} free in {folder}",
            remedy="free space there or choose another place with -o; nothing was left behind",
        )
    return DiskError(f"cannot write {what}: {error.strerror}", remedy=_remedy(error))


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "make the folder first"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder you may write to with -o"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "allow more open files with `ulimit -n`; nothing was left behind"
    return "check the disk; nothing was left behind"


def _publish_all(paths: Sequence[Path], force: bool) -> None:
    """Give whole files their names. Where one cannot have its own, those that came before it lose theirs again: the
    shards of one merge are there together or not at all. What `force` replaced cannot be brought back."""
    published: list[Path] = []
    try:
        for path in paths:
            _publish(path, force)
            published.append(path)
    except BaseException:
        for path in () if force else published:
            with contextlib.suppress(OSError):
                path.unlink()
        raise


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


def _write_parts(hand: _Hand, jobs: int) -> list[int]:
    """All parts, several at a time; the CRC-64 of each file's, joined in order."""
    placed = [place(output.plan) for output in hand.outputs]
    sums: dict[tuple[int, int], int] = {}
    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="write") as pool:
        futures = [pool.submit(hand.run, errand) for errand in errands(placed)]
        try:
            for future in futures:
                sums.update(future.result())
        except BaseException:
            hand.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    crcs = []
    for output, parts in enumerate(placed):
        crc = 0
        for number, each in enumerate(parts):
            crc = CRC64.combine(crc, sums[output, number], each.part.size_bytes)
        crcs.append(crc)
    return crcs


class _Growth:
    """One part while it is written."""

    def __init__(self, fd: int, placed: Placed) -> None:
        self.fd = fd
        self.placed = placed
        self.crc = 0
        self.offset = placed.offset

    def add(self, piece: Piece) -> None:
        """Write on."""
        self.crc = CRC64.calc(piece, self.crc)
        _pwrite(self.fd, memoryview(piece), self.offset)
        self.offset += len(piece)

    def check(self) -> None:
        """Raise LedgerError if the part did not come out in the planned size."""
        check_size(self.placed, self.offset - self.placed.offset)


class _Hand:
    """Does one errand at a time."""

    def __init__(
        self,
        outputs: Sequence[Output],
        segments: Sequence[Segment],
        fds: Sequence[int],
        progress: Progress | None,
        stop: threading.Event | None,
    ) -> None:
        self.outputs = outputs
        self.fds = fds
        self.progress = progress
        self.stop = stop or threading.Event()
        self.maker = Maker([output.plan for output in outputs], segments)

    def run(self, errand: Errand) -> dict[tuple[int, int], int]:
        """Write the parts of an errand to their places; their CRC-64s by output and place."""
        growths = [_Growth(self.fds[output], placed) for output, _, placed in errand.parts]
        for number, piece in self.maker.pieces(errand):
            if self.stop.is_set():
                raise StoppedError("stopped while writing; nothing was left behind")
            growths[number].add(piece)
            if self.progress:
                self.progress(len(piece))
        for growth in growths:
            growth.check()
        return {(output, number): growth.crc for (output, number, _), growth in zip(errand.parts, growths, strict=True)}


def _pwrite(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
