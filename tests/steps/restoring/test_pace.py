"""Limits hold, and a target that answers slowly is sent less."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from rdbbytes import entry, rdb, select
from realservers import HOST, need, running
from restoring import restored

from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.server import Server
from rdbmerge.steps.restoring.pace import make_pace, probing
from rdbmerge.targets.server import Login
from rdbmerge.targets.server_cluster import Servers

pytestmark = pytest.mark.once


def test_limits_make_it_last(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), *(entry(b"k%d" % number, b"x" * 500) for number in range(2_000))))
    with running(need("redis-7.0")) as server:
        report = restored(server, path, max_qps=2_000)
        assert (report.restored, report.restore_s is not None and report.restore_s > 0.5) == (2_000, True)
        report = restored(server, path, max_bytes_per_s=1_000_000, on_busy="replace")
        assert report.restore_s is not None
        assert report.restore_s > 0.5


def test_a_server_that_hangs_pulls_the_brake_and_lets_it_go(tmp_path: Path) -> None:
    with running(need("redis-7.0")) as server:
        port = server.port
        servers = Servers(lambda *_: open_socket(Server(host=HOST, port=port), timeout_s=5), Login(), "it")
        pace, ended = make_pace(servers, max_qps=None, max_bytes_per_s=None, max_latency_ms=50), threading.Event()
        assert pace.brake is not None
        assert pace.after(1, 1) == 0

        def block() -> None:
            with server.client() as client:
                while not ended.is_set():
                    client.execute_command("DEBUG", "SLEEP", "0.2")

        blocker = threading.Thread(target=block)
        with probing(servers, pace, threading.Event()):
            blocker.start()
            deadline = time.monotonic() + 30
            while not pace.brake.pulled and time.monotonic() < deadline:
                time.sleep(0.05)
            assert pace.after(1, 1) > 0
            ended.set()
            blocker.join()
            while pace.brake.pause_s and time.monotonic() < deadline:
                time.sleep(0.05)
            assert pace.after(1, 1) == 0
        assert pace.brake.pulled
        servers.close()
        assert make_pace(servers, max_qps=None, max_bytes_per_s=None, max_latency_ms=0).brake is None
