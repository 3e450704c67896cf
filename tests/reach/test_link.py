"""The link to one server: single commands, bytes both ways, and every failure with the server's name and a remedy."""

from __future__ import annotations

import threading
import time

import pytest
from fakes.primary import Close, FakePrimary, Hang, Say
from realservers import need, running

from rdbmerge.errors import SourceError, StoppedError, TargetError
from rdbmerge.reach.link import Link, RefusedReplyError, refusal_error
from rdbmerge.reach.server import Server
from rdbmerge.replication.source import Source

pytestmark = pytest.mark.once


def link(port: int, timeout_s: float = 5.0, stop: threading.Event | None = None, **options: str) -> Link:
    server = Server(host="127.0.0.1", port=port, name="cache", **options)  # type: ignore[arg-type]
    return Link(server, connect_timeout_s=5, timeout_s=timeout_s, stop=stop)


def all_of(one: Link, size: int) -> bytes:
    out, room = b"", memoryview(bytearray(1 << 16))
    while len(out) < size:
        out += bytes(room[: one.receive_into(room)])
    return out


def send_until_it_is_noticed(one: Link) -> None:
    for _ in range(100):  # the first may still be taken by the system
        one.send(b"x" * 65_536)
        time.sleep(0.01)


def test_single_commands_and_bytes_take_turns() -> None:
    with running(need("redis-7.0"), config={"requirepass": "Secret-Token-1"}) as server:
        one = link(server.port, password="Secret-Token-1")
        assert one.ask("SET", b"\xff", b"v") == b"OK"
        one.send(b"*2\r\n$3\r\nGET\r\n$1\r\n\xff\r\n" * 100)
        assert all_of(one, 700) == b"$1\r\nv\r\n" * 100
        assert one.ask("GET", b"\xff") == b"v"
        with pytest.raises(RefusedReplyError, match=r"^ERR unknown command"):
            one.ask("NOSUCH")
        with pytest.raises(RefusedReplyError, match=r"^WRONGTYPE"):
            one.ask("LPUSH", b"\xff", "x")
        assert one.ask("DBSIZE") == 1
        one.close()


@pytest.mark.parametrize(
    ("password", "said"),
    [("wrong-secret", "does not accept the password"), (None, "wants a password")],
)
def test_a_refused_login_is_told_without_the_password(password: str | None, said: str) -> None:
    with running(need("redis-7.0"), config={"requirepass": "Secret-Token-1"}) as server:
        options = {} if password is None else {"password": password}
        with pytest.raises((TargetError, RefusedReplyError)) as caught:
            link(server.port, **options).ask("DBSIZE")
        error = caught.value
        if isinstance(error, RefusedReplyError):
            error = refusal_error(Server(host="h", name="cache"), error.line, command="DBSIZE")
        assert said in str(error)
        assert "wrong-secret" not in str(error)


@pytest.mark.parametrize(
    ("line", "said", "retryable"),
    [
        (b"NOPERM User ann has no permissions to run the 'scan' command", "the user default may not run SCAN", False),
        (b"LOADING Redis is loading the dataset in memory", "still loading", True),
        (b"MASTERDOWN Link with MASTER is down", "a replica whose primary is down", True),
        (b"CLUSTERDOWN The cluster is down", "the cluster is down", True),
        (b"BUSY Redis is busy running a script", "busy running a script", True),
        (b"ERR max number of clients reached", "takes no more clients", True),
        (b"ERR unknown command 'SCAN', with args beginning with: '0'", "knows no SCAN", False),
        (b"NOAUTH Authentication required.", "wants a password", False),
        (b"OOM command not allowed", "the source refused SCAN", False),
    ],
)
def test_refusals_say_what_to_do(line: bytes, said: str, retryable: bool) -> None:
    source = Source(host="127.0.0.1", name="shop")
    error = refusal_error(source, line, command="SCAN")
    assert isinstance(error, SourceError)
    assert said in str(error)
    assert str(error).startswith("shop (127.0.0.1:6379): ")
    assert error.remedy
    assert error.retryable is retryable
    assert isinstance(refusal_error(Server(host="h"), line, command="SCAN"), TargetError)


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_ends_may_be_tried_again(reset: bool) -> None:
    with FakePrimary({"SCAN": [Say(b"*2\r\n"), Close(reset=reset)]}) as primary:
        one = link(primary.port)
        one.send(b"*2\r\n$4\r\nSCAN\r\n$1\r\n0\r\n")
        with pytest.raises(TargetError, match=r"cache \(.*\): the connection ended") as caught:
            all_of(one, 100)
        assert caught.value.retryable
        with pytest.raises(TargetError, match="the connection ended"):
            send_until_it_is_noticed(one)


def test_silence_ends_after_its_time() -> None:
    with FakePrimary({"SCAN": [Hang()], "TIME": [Hang()]}) as primary:
        one = link(primary.port, timeout_s=0.3)
        one.send(b"*2\r\n$4\r\nSCAN\r\n$1\r\n0\r\n")
        with pytest.raises(TargetError, match="no answer for 300ms"):
            one.receive_into(memoryview(bytearray(10)))
        with pytest.raises(TargetError, match="no answer for 300ms"):
            link(primary.port, timeout_s=0.3).ask("TIME")


def test_a_stop_is_seen_while_waiting() -> None:
    stop = threading.Event()
    with FakePrimary({"SCAN": [Hang()]}) as primary:
        one = link(primary.port, stop=stop)
        one.send(b"*2\r\n$4\r\nSCAN\r\n$1\r\n0\r\n")
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(StoppedError):
            one.receive_into(memoryview(bytearray(10)))
        with pytest.raises(StoppedError):
            one.send(b"x")
