"""How fast commands may go: limits that the user sets, and a brake that the target's own latency pulls.

One for all connections of a restore; thread-safe. Knows nothing of sockets.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from statistics import median

_BURST_S = 0.25
_SAMPLES = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 2.0


class RateLimit:
    """A token bucket: at most `per_s` of something a second, with a burst of a quarter of a second."""

    def __init__(self, per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_until = clock()

    def take(self, count: int) -> float:
        """Note that `count` were taken; the seconds to wait before taking more."""
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now - _BURST_S) + count / self._per_s
            return max(0.0, self._paid_until - now)


class Brake:
    """Tells how long to pause after each batch, by how long the target takes to answer a PING.

    It knows what is usual from before the work. While the median of the last answers is more than `most_ms` above that,
    pauses get longer, each time twice; when it is not, they get shorter again.
    """

    def __init__(self, usual_ms: float, most_ms: float) -> None:
        self._limit_ms = usual_ms + most_ms
        self._lock = threading.Lock()
        self._latest: deque[float] = deque(maxlen=_SAMPLES)
        self.pause_s = 0.0
        self.pulled = 0  # times that it was pulled

    def note(self, latency_ms: float) -> None:
        """One more answer."""
        with self._lock:
            self._latest.append(latency_ms)
            if len(self._latest) < _SAMPLES:
                return
            if median(self._latest) > self._limit_ms:
                self.pause_s = min(max(_FIRST_PAUSE_S, self.pause_s * 2), _LONGEST_PAUSE_S)
                self.pulled += 1
            else:
                self.pause_s = self.pause_s / 2 if self.pause_s > _FIRST_PAUSE_S else 0.0


class Pace:
    """The limits and the brake together; each may be absent."""

    def __init__(
        self, *, commands: RateLimit | None = None, size: RateLimit | None = None, brake: Brake | None = None
    ) -> None:
        self._commands = commands
        self._size = size
        self.brake = brake

    def after(self, commands: int, size_bytes: int) -> float:
        """Seconds to pause after so many commands of so many bytes."""
        return max(
            self._commands.take(commands) if self._commands else 0.0,
            self._size.take(size_bytes) if self._size else 0.0,
            self.brake.pause_s if self.brake else 0.0,
        )
