"""A Plan and segments into one stream of bytes, in order, with nothing on the local disk.

The bytes are those that the writer of files makes. Several hands make parts; each waits for its turn to give them away,
with a bounded number of bytes in its hands. Knows nothing of where the stream goes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import anycrc

from rdbmerge.errors import StoppedError
from rdbmerge.format import write
from rdbmerge.format.emit import Piece
from rdbmerge.merge.making import Errand, Maker, check_size
from rdbmerge.plan.layout import Placed, place
from rdbmerge.plan.model import Plan
from rdbmerge.snapshot.segment import Segment

CRC64 = anycrc.Model("CRC64-REDIS")

# What a hand may hold until its turn comes: the usual part, whole.
HELD_BYTES = 32 << 20
_LOOK_EVERY_S = 0.1


class Sink(Protocol):
    """Where a stream goes."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes; they may be overwritten as soon as this returns."""


def stream_plan(
    plans: Sequence[Plan],
    number: int,
    segments: Sequence[Segment],
    sink: Sink,
    *,
    jobs: int,
    stop: threading.Event | None = None,
) -> int:
    """Stream the merged file of `plans[number]` into `sink`; the CRC-64 of its bytes before the footer.

    Args:
        plans: those of all shards, or the only one; made together of `segments`.
        jobs: hands; more than 1 only helps with the compiled core.
        stop: when set, the streaming ends.

    Raises:
        LedgerError: a part came out in another size than the plan says: a defect.
        StoppedError: `stop` was set.
        What `sink` raises.
    """
    stream = _Stream(Maker(plans, segments), number, sink, stop or threading.Event())
    parts = place(plans[number])
    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="stream") as pool:
        futures = [pool.submit(stream.run, turn, placed) for turn, placed in enumerate(parts)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            stream.end()
            pool.shutdown(cancel_futures=True)
            raise
    sink.write(write.checksum(stream.crc))
    return stream.crc


class _Stream:
    """The stream and whose turn it is to write into it: that of the part with the number `turn`."""

    def __init__(self, maker: Maker, output: int, sink: Sink, stop: threading.Event) -> None:
        self.maker = maker
        self.output = output
        self.sink = sink
        self.stop = stop
        self.crc = 0
        self.turn = 0
        self.ended = False
        self.changed = threading.Condition()

    def run(self, turn: int, placed: Placed) -> None:
        """Make a part, and write it when its turn has come."""
        held: list[bytes] = []
        held_bytes = made_bytes = 0
        for _, piece in self.maker.pieces(Errand(((self.output, turn, placed),))):
            self._look()
            made_bytes += len(piece)
            if self.turn != turn and held_bytes + len(piece) <= HELD_BYTES:
                held.append(bytes(piece))
                held_bytes += len(piece)
                continue
            self._await(turn)
            self._write(*held, piece)
            held.clear()
        check_size(placed, made_bytes)
        self._await(turn)
        self._write(*held)
        with self.changed:
            self.turn += 1
            self.changed.notify_all()

    def end(self) -> None:
        """Let no one wait for a turn that does not come."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _look(self) -> None:
        if self.ended or self.stop.is_set():
            raise StoppedError("stopped while writing; nothing was left behind")

    def _await(self, turn: int) -> None:
        with self.changed:
            while self.turn != turn:
                self._look()
                self.changed.wait(_LOOK_EVERY_S)

    def _write(self, *pieces: Piece) -> None:
        for piece in pieces:
            self.crc = CRC64.calc(piece, self.crc)
            self.sink.write(piece)
