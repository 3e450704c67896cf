"""Real sentinels, and servers that answer as if they were some."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from clusters import RunningSentinel, command, in_sync, running_sentinel, until
from fakes.primary import FakePrimary, bulk
from realservers import RunningServer, ServerBinary, each_server, free_port, need, running
from sshserver import need_sshd, ssh_server

from rdbmerge.errors import SourceError, StoppedError, TargetError
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.sentinel import find_primary
from rdbmerge.reach.server import Found, Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.source import Source

pytestmark = pytest.mark.once


def source_of(*ports: int, service: str = "shop", **options: object) -> Source:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return Source.parse(f"redis-sentinel://{hosts}/{service}", **options)


def find(server: Source, **options: object) -> Source:
    with Tunnels(connect_timeout_s=5) as tunnels:
        return find_primary(server, tunnels=tunnels, timeout_s=5, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[RunningServer, RunningServer, RunningSentinel]]:
    """A primary, its replica, and the sentinel that watches them, which has a password of its own."""
    binary = need("redis-7.0")
    with (
        running(binary, config={"requirepass": "of-servers"}) as primary,
        running(
            binary,
            config={"requirepass": "of-servers", "masterauth": "of-servers", "replicaof": f"127.0.0.1 {primary.port}"},
        ) as replica,
    ):
        until(lambda: in_sync(replica), "the replica is in sync")
        with running_sentinel(binary, {"shop": primary}, lines=["requirepass of-sentinel"]) as sentinel:
            with sentinel.client(password="of-sentinel") as client:
                until(lambda: _sees_replica(client), "the sentinel sees the replica")
            yield primary, replica, sentinel


def _sees_replica(client: object) -> bool:
    rows = client.execute_command("SENTINEL", "SLAVES", "shop")  # type: ignore[attr-defined]
    rows = [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
    rows = [{str(k, "utf-8") if isinstance(k, bytes) else k: v for k, v in row.items()} for row in rows]
    return any(row.get("master-link-status") in (b"ok", "ok") for row in rows)


SECRETS = {"password": "of-servers", "sentinel_password": "of-sentinel"}


def test_the_primary_is_found_and_named(pair: tuple[RunningServer, RunningServer, RunningSentinel]) -> None:
    primary, _, sentinel = pair
    source = source_of(sentinel.port, **SECRETS)
    assert (source.name, source.address) == ("shop", f"redis-sentinel://127.0.0.1:{sentinel.port}/shop")
    found = find(source)
    assert (found.host, found.port, found.name) == ("127.0.0.1", primary.port, "shop")
    assert found.found == Found(by="sentinel", group="shop", role="primary")
    assert found.address == source.address
    assert found.place == f"shop (127.0.0.1:{primary.port} by {source.address})"


def test_a_sound_replica_is_taken_where_one_is_wanted(
    pair: tuple[RunningServer, RunningServer, RunningSentinel],
) -> None:
    _, replica, sentinel = pair
    found = find(source_of(sentinel.port, prefer_replica=True, **SECRETS))
    assert (found.port, found.found and found.found.role) == (replica.port, "replica")


def test_a_sentinel_that_is_down_is_passed_over(pair: tuple[RunningServer, RunningServer, RunningSentinel]) -> None:
    primary, _, sentinel = pair
    assert find(source_of(free_port(), sentinel.port, **SECRETS)).port == primary.port


def test_sentinels_and_servers_are_reached_through_ssh(
    pair: tuple[RunningServer, RunningServer, RunningSentinel],
) -> None:
    need_sshd()
    primary, _, sentinel = pair
    with ssh_server() as bastion, Tunnels(connect_timeout_s=5) as tunnels:
        source = source_of(sentinel.port, ssh="bastion", ssh_config=str(bastion.config), **SECRETS)
        found = find_primary(source, tunnels=tunnels, timeout_s=5)
        assert found.port == primary.port
        assert found.tunnel is not None
        assert bastion.log.count("Accepted publickey") == 1


def test_a_wrong_password_of_the_sentinel_is_told_as_its_own(
    pair: tuple[RunningServer, RunningServer, RunningSentinel],
) -> None:
    sentinel = pair[2]
    for options in ({"password": "of-servers"}, {"sentinel_password": "of-servers"}):
        with pytest.raises(SourceError) as failure:
            find(source_of(sentinel.port, **options))
        assert f"127.0.0.1:{sentinel.port}: no answer to SENTINEL" in str(failure.value)
        assert "those of the sentinel" in failure.value.remedy
        assert "of-servers" not in str(failure.value)


def test_a_wrong_password_of_the_server_is_left_to_whoever_comes_to_work(
    pair: tuple[RunningServer, RunningServer, RunningSentinel],
) -> None:
    primary, _, sentinel = pair
    assert find(source_of(sentinel.port, password="wrong", sentinel_password="of-sentinel")).port == primary.port


def test_an_unknown_service_is_told_with_those_that_are_known(
    pair: tuple[RunningServer, RunningServer, RunningSentinel],
) -> None:
    with pytest.raises(SourceError, match="knows no service cart") as failure:
        find(source_of(pair[2].port, service="cart", **SECRETS))
    assert failure.value.remedy == "it knows shop"


@each_server(lambda one: one.version >= (3,) and one.name != "redis-7.0")
def test_every_sentinel_is_understood(binary: ServerBinary) -> None:
    with running(binary) as primary:
        word = "slaveof" if binary.version < (5,) else "replicaof"
        with running(binary, config={word: f"127.0.0.1 {primary.port}"}) as replica:
            until(lambda: in_sync(replica), "the replica is in sync")
            with running_sentinel(binary, {"shop": primary}) as sentinel:
                assert find(source_of(sentinel.port)).port == primary.port
                with sentinel.client() as client:
                    until(lambda: _sees_replica(client), "the sentinel sees the replica")
                assert find(source_of(sentinel.port, prefer_replica=True)).port == replica.port


def test_a_failover_is_waited_for() -> None:
    binary = need("redis-6.2")
    with (
        running(binary) as primary,
        running(binary, config={"replicaof": f"127.0.0.1 {primary.port}"}) as replica,
        running_sentinel(binary, {"shop": primary}) as sentinel,
    ):
        until(lambda: in_sync(replica), "the replica is in sync")
        with sentinel.client() as client:
            until(lambda: _sees_replica(client), "the sentinel sees the replica")
        primary.stop()
        source = source_of(sentinel.port)
        with pytest.raises(SourceError) as failure:
            find(source)
        assert f"names 127.0.0.1:{primary.port} as the primary, but that does not say so itself" in str(failure.value)
        found = find(source, wait_s=60)
        assert found.port == replica.port
        assert "role:master" in str(command(replica, "INFO", "replication"))


def test_a_replica_that_the_sentinel_takes_for_the_primary_is_not_taken() -> None:
    told = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n"
    with FakePrimary({"INFO": bulk("role:slave\r\nmaster_link_status:up\r\n")}) as server:
        answer = told % (len(str(server.port)), server.port)
        with FakePrimary({"SENTINEL": answer}) as sentinel:
            with pytest.raises(SourceError, match="but that does not say so itself") as failure:
                find(source_of(sentinel.port))
            assert "failover" in failure.value.remedy
            stop = threading.Event()
            threading.Timer(0.3, stop.set).start()
            began = time.monotonic()
            with pytest.raises(StoppedError):
                find(source_of(sentinel.port), wait_s=600, stop=stop)
            assert time.monotonic() - began < 60


@pytest.mark.parametrize("answer", [b"+OK\r\n", b":5\r\n", b"*1\r\n$1\r\nx\r\n", b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n"])
def test_what_is_no_sentinel_says_so(answer: bytes) -> None:
    with FakePrimary({"SENTINEL": answer}) as fake:
        with pytest.raises(SourceError, match="answers as no sentinel does") as failure:
            find(source_of(fake.port))
        assert "26379" in failure.value.remedy


def test_a_server_that_is_asked_as_a_sentinel_is_told_apart(
    pair: tuple[RunningServer, RunningServer, RunningSentinel],
) -> None:
    with pytest.raises(SourceError, match="no answer to SENTINEL") as failure:
        find(source_of(pair[0].port, sentinel_password="of-servers"))
    assert "it is no sentinel" in failure.value.remedy


def test_a_target_fails_as_a_target() -> None:
    server = Server.parse(f"redis-sentinel://127.0.0.1:{free_port()}/shop")
    with Tunnels(connect_timeout_s=5) as tunnels, pytest.raises(TargetError, match="connection refused"):
        find_primary(server, tunnels=tunnels, timeout_s=5)


def test_a_service_is_never_dialled_before_its_primary_is_known() -> None:
    server = Server.parse("redis-sentinel://a/shop", ssh="bastion")
    with Tunnels(connect_timeout_s=1) as tunnels:
        assert tunnels.through(server) is server
    for unfound in (server, Server.parse("redis-sentinel://a/shop")):
        with pytest.raises(ValueError, match="dialled before its primary was asked for"):
            open_socket(unfound, timeout_s=1)


def test_a_server_without_sentinels_is_left_as_it_is() -> None:
    server = Source(host="a")
    assert find(server) is server
