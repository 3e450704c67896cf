from __future__ import annotations

import pytest

from rdbmerge.errors import SourceError, TargetError, UsageError
from rdbmerge.reach.server import Server, show_bytes
from rdbmerge.replication.source import Source

pytestmark = pytest.mark.once


def test_a_target_and_a_source_differ_in_what_they_are_called_and_how_they_fail() -> None:
    assert (Server.failure, Source.failure) == (TargetError, SourceError)
    with pytest.raises(UsageError, match="is not a target address"):
        Server.parse("http://h")
    with pytest.raises(UsageError, match="is not a source address"):
        Source.parse("http://h")
    with pytest.raises(UsageError, match="a target needs a host or a unix socket"):
        Server()


def test_the_ssh_server_on_the_way_is_part_of_the_address() -> None:
    server = Server.parse("10.0.0.1:7000", ssh="ops@bastion", ssh_config="file")
    assert (server.address, server.place) == ("10.0.0.1:7000 via ops@bastion", "10.0.0.1:7000 via ops@bastion")
    assert server.bastion is not None
    assert (server.bastion.destination, server.bastion.config) == ("ops@bastion", "file")
    # Its name need not say it, for few have one address in two networks; but 127.0.0.1 is another machine behind each.
    assert server.name == Server.parse("10.0.0.1:7000").name == "10.0.0.1-7000"
    local = [Server.parse("127.0.0.1:7000", ssh=ssh).name for ssh in ("ops@one", "ops@two", None)]
    assert len(set(local)) == 3
    assert local[0].startswith("127.0.0.1-7000-via-ops-one-")


def test_a_service_has_the_name_that_its_sentinels_know() -> None:
    server = Server.parse("redis-sentinel://a:1,b:2/shop", sentinel_password="s3cret")
    assert (server.name, server.address) == ("shop", "redis-sentinel://a:1,b:2/shop")
    assert server.place == "redis-sentinel://a:1,b:2/shop"
    assert "s3cret" not in repr(server)
    assert server.host_key == server.address
    assert Server.parse("rediss-sentinel://a/shop").address == "rediss-sentinel://a:26379/shop"


def test_a_cluster_is_named_by_the_node_that_is_asked() -> None:
    server = Server.parse("redis-cluster://a:7000")
    assert (server.name, server.address) == ("a-7000", "redis-cluster://a:7000")
    assert Server.parse("rediss://a:7000", cluster=True).address == "rediss-cluster://a:7000"
    with pytest.raises(UsageError, match="a cluster has no sentinels"):
        Server.parse("redis-sentinel://a/shop", cluster=True)


def test_machines_behind_two_ssh_servers_are_two() -> None:
    keys = {Server.parse("127.0.0.1:1", ssh=ssh).host_key for ssh in ("ops@one", "ops@two", None)}
    assert keys == {"localhost via ops@one", "localhost via ops@two", "localhost"}


def test_an_ssh_server_that_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="destination for SSH"):
        Server.parse("h", ssh="-oProxyCommand=x")


def test_what_a_server_said_is_shown_without_its_password() -> None:
    server = Server.parse("redis://:pass-word@h")
    assert show_bytes(b"-ERR pass-word\r", server=server) == "-ERR ***\\x0d"
    assert show_bytes(b"-ERR unknown command 'x', with args beginning with: 'y'", server=server) == (
        "-ERR unknown command 'x'"
    )
