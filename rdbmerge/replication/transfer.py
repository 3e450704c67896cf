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
        self._held = b""  # the last bytes, which may be the beginning of the mark: at most 39
        self._passed_bytes = 0

    def feed(self, chunk: bytes) -> list[TransferEvent]:
        """The events of `chunk`; nothing may be fed after Finished."""
        held = self._held
        # Only the seam is joined; a chunk of a megabyte is searched where it lies.
        seam = held + chunk[: MARK_BYTES - 1]
        found = seam.find(self._mark)
        if found >= 0:
            return self._finish(seam[:found], b"", chunk[found + MARK_BYTES - len(held) :])
        found = chunk.find(self._mark)
        if found >= 0:
            return self._finish(held, memoryview(chunk)[:found], chunk[found + MARK_BYTES :])
        if len(chunk) < MARK_BYTES:
            cut = max(0, len(seam) - MARK_BYTES + 1)
            self._held = seam[cut:]
            return self._pass(seam[:cut])
        self._held = chunk[len(chunk) - MARK_BYTES + 1 :]
        return self._pass(held) + self._pass(memoryview(chunk)[: len(chunk) - MARK_BYTES + 1])

    def _pass(self, data: bytes | memoryview) -> list[TransferEvent]:
        self._passed_bytes += len(data)
        return [SnapshotBytes(data)] if data else []

    def _finish(self, held: bytes, data: bytes | memoryview, rest: bytes) -> list[TransferEvent]:
        self._held = b""
        return [*self._pass(held), *self._pass(data), Finished(rest)]

    def closed(self) -> TransferCutError:
        """What it means that the connection ended here."""
        got = self._passed_bytes + len(self._held)
        return TransferCutError(
            f"the connection ended after {got:,} bytes of the snapshot, before its end mark", remedy=_REMEDY
        )


Transfer = SizedTransfer | MarkedTransfer
