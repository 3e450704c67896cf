"""Patience, and what a server that comes back may have forgotten."""

from __future__ import annotations

import threading
import time

import pytest
from realservers import HOST, need, running

from rdbmerge.errors import StoppedError, TargetError
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.server import Server
from rdbmerge.steps.restoring.watch import Patience, RestartedError, Watch
from rdbmerge.targets.server import Login
from rdbmerge.targets.server_cluster import Servers
from rdbmerge.targets.server_pipe import LostError

pytestmark = pytest.mark.once


def clock_ms() -> int:
    return time.time_ns() // 1_000_000


def servers(port: int) -> Servers:
    return Servers(lambda *_: open_socket(Server(host=HOST, port=port), timeout_s=2), Login(patience_s=2), "it")


def test_patience_says_once_why_it_waits_and_ends() -> None:
    said: list[str] = []
    patience = Patience(0.2, threading.Event(), said.append)

    def wait_for_ever() -> None:
        while True:
            patience.wait("it is full", "free some")

    with pytest.raises(TargetError, match="it is full; waited 0 s in vain") as caught:
        wait_for_ever()
    assert len(said) == 1
    assert caught.value.remedy.startswith("free some, and run the same command again")


def test_patience_ends_when_the_user_wants_to() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        Patience(60, stop, lambda _: None).wait("it is full", "")


def test_a_server_is_the_same_as_long_as_it_runs() -> None:
    with running(need("redis-7.0")) as server:
        met = servers(server.port)
        watch = Watch(met, lambda: clock_ms() - 10_000, {})
        assert watch.meet(0).version == server.binary.version
        assert abs(watch.skew_ms(0) - 10_000) < 2_000
        assert abs(watch.clock(0)() - clock_ms()) < 2_000
        watch.meet(0)
        watch.lost(0)
        watch.come_back(LostError("lost"), Patience(5, threading.Event(), lambda _: None))
        with pytest.raises(RestartedError, match="started anew"):
            Watch(met, clock_ms, {"it": "of an earlier start"}).meet(0)
        met.close()


def test_a_server_that_stays_away_ends_patience() -> None:
    with running(need("redis-7.0")) as server:
        met = servers(server.port)
        watch = Watch(met, clock_ms, {})
        watch.meet(0)
        server.stop()
        watch.lost(0)
        with pytest.raises(TargetError, match="in vain"):
            watch.come_back(LostError("lost"), Patience(0.3, threading.Event(), lambda _: None))
        met.close()
