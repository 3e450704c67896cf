"""Framing of the snapshot a primary sends after FULLRESYNC: bytes in, events out.

Knows the two framings (a length first, or a 40-byte end mark). Knows nothing of sockets,
of timeouts, or of what the bytes mean: that is `client` and `format`.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdbmerge.errors import TransferCutError

MARK_BYTES = 40
_REMEDY = (
    "the part that came is of no use: pull this source again; if it happens again, look in the source's log for"
    " a failed child, its output buffer limit or a restart"
)


@dataclass(frozen=True, slots=True)
class SnapshotBytes:
    """The next bytes of the snapshot: a view on the chunk that was fed where possible, so use it before the next."""

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Finished:
    """The snapshot is whole."""

    rest: bytes  # what followed the snapshot: the replication stream begins here


TransferEvent = SnapshotBytes | Finished


class SizedTransfer:
    """The `$<length>` framing. Feed what arrived; get what it means."""

    def __init__(self, length_bytes: int) -> None:
        self.length_bytes = length_bytes
        self.remaining_bytes = length_bytes

    def feed(self, chunk: bytes) -> list[TransferEvent]:
        """The events of `chunk`; nothing may be fed after Finished."""
        if len(chunk) < self.remaining_bytes:
            self.remaining_bytes -= len(chunk)
            return [SnapshotBytes(chunk)] if chunk else []
        body = memoryview(chunk)[: self.remaining_bytes]
        rest = chunk[self.remaining_bytes :]
        self.remaining_bytes = 0
        return [SnapshotBytes(body), Finished(rest)] if body else [Finished(rest)]

    def closed(self) -> TransferCutError:
        """What it means that the connection ended here."""
        got = self.length_bytes - self.remaining_bytes
        return TransferCutError(
            f"the connection ended after {got:,} of {self.length_bytes:,} bytes of the snapshot", remedy=_REMEDY
        )


class MarkedTransfer:
    """The `$EOF:<mark>` framing: the snapshot ends where the 40 bytes of the mark come again (replication.md 4)."""

    def __init__(self, mark: bytes) -> None:
        if len(mark) != MARK_BYTES:
            raise ValueError(f"a mark has {MARK_BYTES} bytes, not {len(mark)}")
        self._mark = mark
        self._held = b""  # the last bytes, where they are the beginning of the mark: at most 39
        self._passed_bytes = 0

    def feed(self, chunk: bytes) -> list[TransferEvent]:
        """The events of `chunk`; nothing may be fed after Finished."""
        data = self._held + chunk if self._held else chunk
        found = data.find(self._mark)
        if found >= 0:
            self._held = b""
            return [*self._pass(memoryview(data)[:found]), Finished(data[found + MARK_BYTES :])]
        self._held = self._beginning_at_end_of(data)
        return self._pass(memoryview(data)[: len(data) - len(self._held)])

    def _beginning_at_end_of(self, data: bytes) -> bytes:
        """The longest end of `data` that the mark begins with; mostly none, so that chunks pass as they came."""
        tail = data[1 - MARK_BYTES :]
        at = tail.find(self._mark[:1])
        while at >= 0 and not self._mark.startswith(tail[at:]):
            at = tail.find(self._mark[:1], at + 1)
        return tail[at:] if at >= 0 else b""

    def _pass(self, data: memoryview) -> list[TransferEvent]:
        self._passed_bytes += len(data)
        return [SnapshotBytes(data)] if data else []

    def closed(self) -> TransferCutError:
        """What it means that the connection ended here."""
        got = self._passed_bytes + len(self._held)
        return TransferCutError(
            f"the connection ended after {got:,} bytes of the snapshot, before its end mark", remedy=_REMEDY
        )


Transfer = SizedTransfer | MarkedTransfer
