"""Who is asked for which key, how fast, and again when the answer cannot be had just now."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from clusters import running_cluster
from fakes.primary import FakePrimary, bulk
from realservers import need, running
from verify.asked import dumped, time_reply

from rdbmerge.errors import StoppedError, TargetError
from rdbmerge.format import codes
from rdbmerge.format.core import slot_of
from rdbmerge.format.replies import Keys, join_keys
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.steps.asking import Patience
from rdbmerge.steps.comparing.nodes import Manners, Nodes, Way
from rdbmerge.targets.server_pacing import RateLimit

pytestmark = pytest.mark.once

TIME = time_reply(1_700_000_000_000)
VALUE = dumped(0, b"\x01v")


@contextmanager
def nodes(port: int, **manners: Any) -> Iterator[Nodes]:
    with Tunnels(connect_timeout_s=5) as tunnels:
        manners.setdefault("patience", Patience(5, 5))
        manners.setdefault("retry_for_s", 0)
        yield Nodes(Server(host="127.0.0.1", port=port), tunnels, Manners(**manners))


def answers(some: Nodes, keys: Keys, db: int = 0) -> dict[bytes, int]:
    """Key -> status, of the last answer about it."""
    way, found = Way(some), {}
    try:
        for rows, dumps in way.dumps(db, keys):
            for row, status in zip(rows.tolist(), dumps.status.tolist(), strict=True):
                found[keys.key(row)] = status
    finally:
        way.close()
    return found


def test_one_server_is_asked_for_all_in_the_db_that_is_meant() -> None:
    with running(need("redis-6.2")) as server:
        with server.client(db=3) as client:
            client.set("a", "1")
        with nodes(server.port) as some:
            assert (some.primaries(), some.slots_of(0), some.owners) == ([0], None, None)
            keys = join_keys([b"a", b"b"])
            assert answers(some, keys, 3) == {b"a": codes.TAKEN, b"b": codes.GONE}
            assert answers(some, keys) == {b"a": codes.GONE, b"b": codes.GONE}
            way = Way(some)
            for db, status in ((0, codes.GONE), (3, codes.TAKEN), (0, codes.GONE)):
                assert [dumps.status[0] for _, dumps in way.dumps(db, keys)] == [status]
            way.close()


def test_keys_of_a_cluster_go_to_the_owners_of_their_slots() -> None:
    with running_cluster(need("redis-7.0")) as cluster:
        cluster.fill(300)
        with nodes(cluster.primaries[1].port) as some:
            assert len(some.primaries()) == 3
            assert [some.slots_of(number) for number in some.primaries()] == [
                [(0, 5460)], [(5461, 10921)], [(10922, 16383)],
            ]  # fmt: skip
            ports = [some.servers[number].port for number in some.primaries()]
            assert ports == [node.port for node in cluster.primaries]
            keys = join_keys([b"key:%d" % number for number in range(300)])
            assert set(answers(some, keys).values()) == {codes.TAKEN}
            for number, rows in some.shares(keys, np.arange(300)):
                [(first, last)] = some.slots_of(number) or []
                assert all(first <= slot_of(keys.key(row)) <= last for row in rows.tolist())
            known = len(some.servers)
            some.look_up()
            assert some.at(b"127.0.0.1:%d" % ports[0]) == some.primaries()[0]
            assert len(some.servers) == known


def fake(said: Iterator[bytes] | None = None, **more: Any) -> FakePrimary:
    """A server that knows one key; `said` comes before that, as the answer to DUMP."""
    first = said or iter(())
    return FakePrimary(
        {
            "INFO": bulk("cluster_enabled:0\r\n"), "PEXPIRETIME": b":-1\r\n", "CLIENT": b"+OK\r\n", "TIME": TIME,
            "DUMP": lambda: next(first, VALUE), **more,
        }
    )  # fmt: skip


@pytest.mark.parametrize("word", ["LOADING it is", "TRYAGAIN later", "CLUSTERDOWN", "MASTERDOWN Link", "BUSY a script"])
def test_what_time_mends_is_asked_again(word: str) -> None:
    line = f"-{word}\r\n".encode()
    with fake(iter([line])) as primary, nodes(primary.port, retry_for_s=10) as some:
        assert answers(some, join_keys([b"k"])) == {b"k": codes.TAKEN}
    with fake(iter([line] * 1_000)) as primary, nodes(primary.port) as some, pytest.raises(TargetError):
        answers(some, join_keys([b"k"]))


def test_what_time_does_not_mend_is_told_at_once() -> None:
    with (
        fake(iter([b"-NOPERM no permissions\r\n"])) as primary,
        nodes(primary.port, retry_for_s=10) as some,
        pytest.raises(TargetError, match="may not run DUMP"),
    ):
        answers(some, join_keys([b"k"]))


def test_a_lost_connection_is_made_anew_and_the_question_asked_again() -> None:
    server_of = running(need("redis-7.0"))
    with server_of as server, server.client() as client, nodes(server.port, retry_for_s=20) as some:
        client.set("k", "v")
        way = Way(some)
        assert len(list(way.dumps(0, join_keys([b"k"])))) == 1
        client.client_kill_filter(_type="normal", skipme=True)
        [(_, dumps)] = way.dumps(0, join_keys([b"k"]))
        assert dumps.status.tolist() == [codes.TAKEN]
        client.client_kill_filter(_type="normal", skipme=True)
        assert way.tried(0, lambda: way.asker(0, 0)[0].time_ms()) > 0
        way.close()


def test_the_pace_is_kept_by_all_connections_together() -> None:
    with running(need("redis-7.0")) as server:
        limit = RateLimit(2_000)
        with nodes(server.port, limit=limit) as some:
            began = time.monotonic()
            threads = [threading.Thread(target=answers, args=(some, join_keys([b"k"] * 500))) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert time.monotonic() - began > 0.5  # 2,004 commands less a burst of a quarter of a second


def test_a_stop_ends_waiting() -> None:
    stop = threading.Event()
    with fake(iter([b"-LOADING\r\n"] * 1_000)) as primary, nodes(primary.port, retry_for_s=60, stop=stop) as some:
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(StoppedError):
            answers(some, join_keys([b"k"]))
