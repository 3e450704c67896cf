"""Watches the servers of a restore: whether they are still those that took what was sent, and what their clocks say.

A server that was started anew, or whose slots another took over when it was lost, may have forgotten what it had
acknowledged: then everything has to be looked at again. Waits where waiting may help, and no longer than was allowed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from rdbmerge.errors import StoppedError, TargetError
from rdbmerge.targets.server_cluster import Servers
from rdbmerge.targets.server_facts import ServerFacts
from rdbmerge.targets.server_pipe import LostError

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_SLICE_S = 0.1

Say = Callable[[str], None]


class RestartedError(TargetError):
    """A server may have lost what it had acknowledged."""


class Patience:
    """Waits longer and longer, in all no more than `most_s`; says once why."""

    def __init__(self, most_s: float, stop: threading.Event, say: Say) -> None:
        self._until_s = time.monotonic() + most_s
        self._most_s = most_s
        self._next_s = _FIRST_WAIT_S
        self._stop = stop
        self._say = say
        self._said = False

    def wait(self, why: str, remedy: str) -> None:
        """Raises TargetError when it has lasted too long, StoppedError when the user wants to stop."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TargetError(
                f"{why}; waited {self._most_s:.0f} s in vain", remedy=f"{remedy or 'see to the target'}, and run the"
                " same command again: it goes on from here; or wait longer with --retry-for",
            )  # fmt: skip
        if not self._said:
            self._say(f"{why}; waiting up to {self._most_s:.0f} s")
            self._said = True
        if self._stop.wait(min(left_s, self._next_s)):
            raise StoppedError("stopped while waiting for the target")
        self._next_s = min(2 * self._next_s, _LONGEST_WAIT_S)


class Watch:
    """What is known of each server, by its number. Thread-safe.

    Args:
        now_ms: the local clock, Unix milliseconds.
        known: the run IDs of servers by place, from before.
    """

    def __init__(self, servers: Servers, now_ms: Callable[[], int], known: Mapping[str, str]) -> None:
        self._servers = servers
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._skews_ms: dict[int, int] = {}
        self._suspects: set[int] = set()
        self.run_ids: dict[str, str] = dict(known)

    def meet(self, number: int) -> ServerFacts:
        """Ask a server who it is. Raises RestartedError if it is not the one that was known at its place; LostError."""
        server = self._servers.all[number]
        facts = server.facts()
        if facts.loading:
            raise LostError(f"{server.place} is loading its data", remedy="wait until it has")
        before_ms = self._now_ms()
        clock_ms = server.clock_ms()
        skew_ms = clock_ms - (before_ms + self._now_ms()) // 2
        with self._lock:
            known = self.run_ids.get(server.place)
            self.run_ids[server.place] = facts.run_id
            self._skews_ms[number] = skew_ms
            self._suspects.discard(number)
        if known is not None and known != facts.run_id:
            raise RestartedError(f"{server.place} was started anew")
        return facts

    def clock(self, number: int) -> Callable[[], int]:
        """The clock of a server, as far as it was learnt; Unix milliseconds."""
        skew_ms = self._skews_ms.get(number, 0)
        return lambda: self._now_ms() + skew_ms

    def skew_ms(self, number: int) -> int:
        """How much its clock is before ours."""
        return self._skews_ms.get(number, 0)

    def lost(self, number: int) -> None:
        """Its connection broke: it may not be the same when it is back."""
        with self._lock:
            self._suspects.add(number)

    def come_back(self, lost: LostError, patience: Patience) -> None:
        """Wait until every server that was lost is there again, or is not needed any more.

        Raises RestartedError where data may be gone, TargetError when it takes too long, StoppedError.
        """
        why: TargetError = lost
        while True:
            with self._lock:
                suspects = sorted(self._suspects)
            if not suspects:
                return
            try:
                for number in suspects:
                    self._visit(number)
                return
            except LostError as error:
                why = error
            patience.wait(str(why), why.remedy)

    def _visit(self, number: int) -> None:
        servers = self._servers
        if servers.is_cluster:
            servers.look_up()
            if number not in servers.primaries():
                with self._lock:
                    self._suspects.discard(number)
                raise RestartedError(f"another server has taken over the slots of {servers.all[number].place}")
        self.meet(number)
