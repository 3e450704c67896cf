"""A server asked for its keys: what it can do is found out, what it refuses is the server's failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fakes.primary import FakePrimary
from realservers import RunningServer, ServerBinary, each_server, need, running

from rdbmerge.errors import TargetError
from rdbmerge.format import codes
from rdbmerge.format.replies import join_keys
from rdbmerge.reach.server import Server
from rdbmerge.steps.asking import Asker, Patience

pytestmark = pytest.mark.once


@contextmanager
def asking(port: int, **options: str) -> Iterator[Asker]:
    asker = Asker(Server(host="127.0.0.1", port=port, **options), Patience(5, 5), None)  # type: ignore[arg-type]
    yield asker
    asker.close()


def pages(asker: Asker, count: int) -> list[bytes]:
    keys, cursor = [], 0
    while True:
        asker.send_scan(cursor, count)
        page = asker.receive_page()
        keys += [page.keys.key(row) for row in range(len(page.keys))]
        cursor = page.cursor
        if not cursor:
            return keys


def fill(server: RunningServer, count: int) -> list[bytes]:
    keys = [b"key:\xff\r\n:%d" % number for number in range(count)]
    with server.client() as client:
        client.mset({key: key for key in keys})
    return keys


@each_server()
def test_every_key_of_every_server_is_had_and_its_value(binary: ServerBinary) -> None:
    with running(binary) as server, asking(server.port) as asker:
        keys = fill(server, 2_000)
        assert sorted(pages(asker, 100)) == sorted(keys)
        assert asker.knows_expiretime() == (binary.version >= (7, 0))
        asker.leave_idle_times_alone()
        dumps = asker.dumps(join_keys([*keys, b"none"]), absolute=asker.knows_expiretime())
        assert dumps.status.tolist() == [codes.TAKEN] * 2_000 + [codes.GONE]
        assert dumps.done_at_ms is not None
        assert abs(asker.time_ms() - dumps.done_at_ms) < 60_000
        assert asker.dbs({3: None, 0: None}) == [0, 3]
        assert asker.dbs(None) == list(range(16))
        assert asker.received_bytes > 2_000 * 20


def test_what_is_refused_is_the_servers_failure() -> None:
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "ann", "on", ">secret-word", "~*", "+select", "+ping")
        with asking(server.port, username="ann", password="secret-word") as asker:
            asker.select(3)
            for call in (asker.time_ms, lambda: pages(asker, 10), lambda: asker.need("DBSIZE")):
                with pytest.raises(TargetError, match="the user ann may not run"):
                    call()
            assert asker.ask("DBSIZE") is None
            with pytest.raises(TargetError, match=r"refused SELECT \(ERR DB index is out of range\)"):
                asker.select(99)


def test_a_cluster_that_knows_the_command_and_not_the_key_knows_the_command() -> None:
    with FakePrimary({"PEXPIRETIME": b"-MOVED 0 127.0.0.1:7000\r\n"}) as primary, asking(primary.port) as asker:
        assert asker.knows_expiretime()
    for line in (b"-ERR unknown command\r\n", b"-NOPERM no\r\n"):
        with FakePrimary({"PEXPIRETIME": line}) as primary, asking(primary.port) as asker:
            assert not asker.knows_expiretime()
    loads, said = FakePrimary({"PEXPIRETIME": b"-LOADING wait\r\n"}), pytest.raises(TargetError, match="still loading")
    with loads as primary, asking(primary.port) as asker, said as caught:
        asker.knows_expiretime()
    assert caught.value.retryable


def test_who_is_no_server_is_told_apart() -> None:
    web = FakePrimary({"TIME": b"HTTP/1.1 400 Bad Request\r\n\r\n"})
    said = pytest.raises(TargetError, match="not an answer to TIME: HTTP/1")
    with web as primary, asking(primary.port) as asker, said:
        asker.time_ms()
