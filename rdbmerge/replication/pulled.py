"""What a pull gives: the facts of it, and what it wants of the place that takes the bytes. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from rdbmerge.reach.info import ServerFacts
from rdbmerge.replication.handshake import Framing
from rdbmerge.replication.quiet import Written


class Sink(Protocol):
    """What takes the snapshot. `write` takes all it is given, as a buffered file does, and does not keep the view."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take the next bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledSnapshot:
    """The facts of one pull. Instants are Unix milliseconds by the source's clock, as near as it could be learnt."""

    source_name: str
    address: str
    command: str  # "PSYNC" or "SYNC": which of the two it was in effect; "SCAN": key by key
    framing: Framing | Literal["scan"]
    replid: str | None  # as in +FULLRESYNC; None after SYNC
    offset: int | None
    rdb_only: bool
    size_bytes: int
    sha256: str  # 64 hex digits, of the snapshot as received
    requested_at_ms: int
    snapshot_at_ms: int  # when the source forked: at +FULLRESYNC, or when SYNC was sent
    clock_skew_ms: int | None  # local clock minus the source's; None: unknown, and the local clock was used
    duration_s: float  # from connecting to the last byte, waits and retries included
    attempts: int  # 1 without a retry
    before: ServerFacts
    after: ServerFacts
    written: Written
    evidence: str
    notes: tuple[str, ...]  # what the source refused and did not matter
