"""How long, how much and how fast a pull may be, and what it reports meanwhile: values, and one token bucket.

Knows nothing of sockets or of what is being pulled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rdbmerge.errors import UsageError

Phase = Literal["connect", "wait", "transfer", "done"]


class BandwidthLimit:
    """A token bucket for several pulls at once: together they take at most `bytes_per_s`. Thread-safe.

    A burst of a quarter of a second is let through. `clock` gives seconds and only goes forward.
    """

    def __init__(self, bytes_per_s: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        if bytes_per_s < 1:
            raise UsageError(
                "a bandwidth limit must be at least 1 byte/s", remedy="write it as 20MB/s, or leave it out"
            )
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_until = clock()

    @property
    def chunk_bytes(self) -> int:
        """A good size for one read: a tenth of a second."""
        return max(1, min(self.bytes_per_s // 10, 256 * 1024))

    def take(self, count: int) -> float:
        """Note that `count` bytes were read; the seconds to wait before reading more (0 for none)."""
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now - 0.25) + count / self.bytes_per_s
            return max(0.0, self._paid_until - now)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullLimits:
    """How patient a pull is. Seconds must be positive; `retry_for_s` and `stream_grace_s` may be 0."""

    connect_timeout_s: float = 10.0  # TCP and TLS, each
    reply_timeout_s: float = 60.0  # for one reply of the handshake, and for the next byte within the snapshot
    silence_timeout_s: float = 300.0  # no byte, not even a newline, while the snapshot is made: a diskless one is mute
    header_timeout_s: float = 3600.0  # from asking for the snapshot to its beginning, however many newlines come
    retry_for_s: float = 60.0  # a source that loads, or whose link is down, is asked again for this long
    stream_grace_s: float = 1.0  # how long the stream after the snapshot is read where only it tells of writes
    max_bytes: int | None = None  # a snapshot that is bigger is refused; None: no limit
    limiter: BandwidthLimit | None = None

    def __post_init__(self) -> None:
        for name in ("connect_timeout_s", "reply_timeout_s", "silence_timeout_s", "header_timeout_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive", remedy="give a time such as 60s")
        if self.retry_for_s < 0 or self.stream_grace_s < 0:
            raise UsageError("a time to retry or to listen cannot be negative", remedy="give 0 for none")
        if self.max_bytes is not None and self.max_bytes < 0:
            raise UsageError("max_bytes cannot be negative", remedy="give the bytes that are free")


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Where a pull stands."""

    source_name: str
    phase: Phase
    received_bytes: int
    total_bytes: int | None  # None until known; never known for a diskless snapshot


class Reporter:
    """Calls `progress` at each change of phase, and otherwise at most ten times a second."""

    def __init__(
        self,
        source_name: str,
        progress: Callable[[PullProgress], None] | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source_name = source_name
        self._progress = progress
        self._clock = clock
        self._phase: Phase | None = None
        self._next_s = 0.0

    def report(self, phase: Phase, received_bytes: int = 0, total_bytes: int | None = None) -> None:
        """Say where the pull stands, if it is time to."""
        if self._progress is None:
            return
        now = self._clock()
        if phase == self._phase and now < self._next_s:
            return
        self._phase, self._next_s = phase, now + 0.1
        self._progress(PullProgress(self._source_name, phase, received_bytes, total_bytes))
