"""The pace of a restore: the limits of the user, and a thread that asks the servers how long a PING takes meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median

from rdbmerge.errors import TargetError
from rdbmerge.targets.server_cluster import Servers
from rdbmerge.targets.server_pacing import Brake, Pace, RateLimit

_ASK_EVERY_S = 0.2
_ASKED_BEFORE = 7
_LATE_S = 0.02


def make_pace(
    servers: Servers, *, max_qps: int | None, max_bytes_per_s: int | None, max_latency_ms: int
) -> Pace:  # fmt: skip
    """The limits that are given, and a brake that knows what is usual now. Raises TargetError."""
    brake = None
    if max_latency_ms:
        usual_ms = max(median(_ping_ms(servers, one) for _ in range(_ASKED_BEFORE)) for one in servers.primaries())
        brake = Brake(usual_ms, max_latency_ms)
    return Pace(
        commands=RateLimit(max_qps) if max_qps else None,
        size=RateLimit(max_bytes_per_s) if max_bytes_per_s else None,
        brake=brake,
    )


def _ping_ms(servers: Servers, number: int) -> float:
    started_s = time.monotonic()
    servers.all[number].ask("PING")
    return (time.monotonic() - started_s) * 1_000


@contextmanager
def probing(servers: Servers, pace: Pace, stop: threading.Event) -> Iterator[None]:
    """Inside, the brake is told how long the slowest server takes."""
    if pace.brake is None:
        yield
        return
    brake, ended = pace.brake, threading.Event()

    def probe() -> None:
        asked_s = time.monotonic()
        while not ended.wait(_ASK_EVERY_S) and not stop.is_set():
            late_s, asked_s = time.monotonic() - asked_s - _ASK_EVERY_S, time.monotonic()
            if late_s > _LATE_S:
                continue  # this machine is too busy to judge another
            # A server that is away answers nothing; whoever sends to it deals with that.
            with suppress(TargetError):
                brake.note(max(_ping_ms(servers, number) for number in servers.primaries()))
            asked_s = time.monotonic()

    thread = threading.Thread(target=probe, name="restore-probe", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
