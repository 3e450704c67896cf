"""Real clusters of three."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from clusters import RunningCluster, command, in_sync, running_cluster, until
from realservers import RunningServer, ServerBinary, each_server, need, running
from sshserver import need_sshd, ssh_server

from rdbmerge.errors import SourceError, StoppedError, TargetError
from rdbmerge.reach.cluster import Cluster, find_nodes, what_changed
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.source import Source

pytestmark = pytest.mark.once


def asked(node: RunningServer, **options: object) -> Source:
    return Source(host="127.0.0.1", port=node.port, cluster=True, name="shop", **options)  # type: ignore[arg-type]


def find(source: Source) -> Cluster[Source]:
    with Tunnels(connect_timeout_s=5) as tunnels:
        return find_nodes(source, tunnels=tunnels, timeout_s=5)


def fails(source: Source) -> tuple[str, str]:
    with pytest.raises(SourceError) as failure:
        find(source)
    return str(failure.value), failure.value.remedy


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with running_cluster(need("redis-7.0"), replicas=1) as one:
        yield one


@each_server(lambda one: one.version >= (3,) and one.name != "redis-7.0")
def test_every_primary_is_found_with_its_slots(binary: ServerBinary) -> None:
    with running_cluster(binary) as cluster:
        found = find(asked(cluster.primaries[2]))
        ids = [cluster.node_id(node) for node in cluster.primaries]
    assert [server.port for server in found.servers] == [node.port for node in cluster.primaries]
    assert [server.name for server in found.servers] == ["shop-0-5460", "shop-5461-10921", "shop-10922-16383"]
    assert [server.found and server.found.slots for server in found.servers] == ["0-5460", "5461-10921", "10922-16383"]
    assert [server.found and server.found.node_id for server in found.servers] == ids
    assert found.layout == dict(zip(ids, (((0, 5460),), ((5461, 10921),), ((10922, 16383),)), strict=True))
    assert found.warnings == ()


def test_replicas_that_are_in_sync_are_taken_where_they_are_wanted(cluster: RunningCluster) -> None:
    found = find(asked(cluster.replicas[0], prefer_replica=True))
    assert [server.port for server in found.servers] == [node.port for node in cluster.replicas]
    assert {server.found and server.found.role for server in found.servers} == {"replica"}
    assert [server.name for server in found.servers] == ["shop-0-5460", "shop-5461-10921", "shop-10922-16383"]
    primaries = find(asked(cluster.replicas[0]))
    assert [server.port for server in primaries.servers] == [node.port for node in cluster.primaries]


def test_a_replica_that_lost_its_link_is_not_taken(cluster: RunningCluster) -> None:
    lonely, primary = cluster.replicas[1], cluster.primaries[1]
    command(lonely, "CONFIG", "SET", "masterauth", "wrong")
    command(lonely, "CONFIG", "SET", "masteruser", "nobody")
    try:
        command(primary, "CLIENT", "KILL", "TYPE", "replica")
        until(lambda: not in_sync(lonely), "the link is down")
        found = find(asked(cluster.primaries[0], prefer_replica=True))
        roles = [server.found and server.found.role for server in found.servers]
        assert roles == ["replica", "primary", "replica"]
        (warning,) = found.warnings
        assert warning.startswith("shop-5461-10921: no replica is in sync (127.0.0.1:")
        assert "is without a link to its primary), so the primary is taken" in warning
    finally:
        command(lonely, "CONFIG", "SET", "masterauth", "")
        command(lonely, "CONFIG", "SET", "masteruser", "")
        until(lambda: in_sync(lonely), "the link is up again")


def test_nodes_are_reached_through_ssh(cluster: RunningCluster) -> None:
    need_sshd()
    with ssh_server() as bastion, Tunnels(connect_timeout_s=5) as tunnels:
        source = asked(cluster.primaries[0], ssh="bastion", ssh_config=str(bastion.config))
        found = find_nodes(source, tunnels=tunnels, timeout_s=5)
        assert len({server.tunnel for server in found.servers}) == 3
        assert what_changed(found, tunnels=tunnels, timeout_s=5) == ""
        assert bastion.log.count("Accepted publickey") == 1


def test_what_is_no_cluster_says_so() -> None:
    with running(need("redis-6.2")) as server:
        finding, remedy = fails(asked(server))
    assert "shop (redis-cluster://127.0.0.1:" in finding
    assert "cluster support disabled" in finding
    assert remedy == "it is no node of a cluster: name it as a server of its own"


def test_a_user_without_the_right_to_ask_is_told_which(cluster: RunningCluster) -> None:
    command(cluster.primaries[0], "ACL", "SETUSER", "ann", "on", ">pw", "+psync", "+ping", "+replconf")
    finding, remedy = fails(asked(cluster.primaries[0], username="ann", password="pw"))
    assert "no answer to CLUSTER NODES" in finding
    assert "right to run CLUSTER NODES" in remedy


def test_slots_that_nobody_holds_are_listed() -> None:
    with running_cluster(need("valkey-8.1"), config={"cluster-require-full-coverage": "no"}) as cluster:
        for node in cluster.primaries:
            command(node, "CLUSTER", "DELSLOTS", "5", "6", "7", "9000")
        finding, remedy = fails(asked(cluster.primaries[0]))
        assert "nobody holds 4 of the 16,384 slots of the cluster: 5-7,9000" in finding
        assert "would be missing" in remedy
        target = Server(host="127.0.0.1", port=cluster.primaries[0].port, cluster=True)
        with Tunnels(connect_timeout_s=5) as tunnels, pytest.raises(TargetError):
            find_nodes(target, tunnels=tunnels, timeout_s=5)


def test_a_failed_primary_is_named_with_its_slots() -> None:
    with running_cluster(need("redis-7.0"), config={"cluster-node-timeout": "500"}) as cluster:
        cluster.primaries[1].stop()
        node = cluster.primaries[0]
        until(lambda: "master,fail " in str(command(node, "CLUSTER", "NODES")), "the failure is agreed on")
        finding, _ = fails(asked(node))
    assert "nobody holds 5,461 of the 16,384 slots of the cluster: 5461-10921; failed: 127.0.0.1:" in finding


def test_slots_that_move_are_a_failure_and_slots_that_moved_are_told() -> None:
    with running_cluster(need("redis-6.2")) as cluster, Tunnels(connect_timeout_s=5) as tunnels:
        first, second, third = cluster.primaries
        found = find(asked(third))
        assert what_changed(found, tunnels=tunnels, timeout_s=5) == ""
        command(second, "CLUSTER", "SETSLOT", "77", "IMPORTING", cluster.node_id(first))
        command(first, "CLUSTER", "SETSLOT", "77", "MIGRATING", cluster.node_id(second))
        finding, remedy = fails(asked(third))
        assert f"are being moved: 77->-{cluster.node_id(second)}" in finding
        assert "missing or doubled" in remedy
        assert what_changed(found, tunnels=tunnels, timeout_s=5) == "slots are being moved"
        for node in (second, first, third):
            command(node, "CLUSTER", "SETSLOT", "77", "NODE", cluster.node_id(second))
        until(cluster.agree, "the nodes agree")
        changed = what_changed(found, tunnels=tunnels, timeout_s=5)
        assert changed == f"slots went to or from {', '.join(sorted(cluster.node_id(n)[:8] for n in (first, second)))}"
        again = find(asked(third))
        assert [server.name for server in again.servers] == [
            "shop-0-76.1-more",
            "shop-77-77.1-more",
            "shop-10922-16383",
        ]
        third.stop()
        assert what_changed(found, tunnels=tunnels, timeout_s=5).startswith("it could not be asked again (shop")


def test_stop_ends_it(cluster: RunningCluster) -> None:
    stop = threading.Event()
    stop.set()
    with Tunnels(connect_timeout_s=5) as tunnels, pytest.raises(StoppedError):
        find_nodes(asked(cluster.primaries[0]), tunnels=tunnels, timeout_s=5, stop=stop)
