"""Who takes which key."""

from __future__ import annotations

import socket

import pytest
from clusters import command, running_cluster
from realservers import HOST, need

from rdbmerge.errors import TargetError
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.server import Server
from rdbmerge.targets.server import Login, Node
from rdbmerge.targets.server_cluster import Servers

pytestmark = pytest.mark.once


def servers(port: int) -> Servers:
    def dial(host: str, port_: int) -> socket.socket:
        return open_socket(Server(host=host or HOST, port=port_ or port), timeout_s=5)

    return Servers(dial, Login(patience_s=10), "the target")


def test_one_server_takes_all() -> None:
    alone = servers(1)
    assert (alone.is_cluster, alone.primaries(), alone.seed.place) == (False, [0], "the target")


def test_a_cluster_is_mapped_asked_again_and_told_of_moves() -> None:
    with running_cluster(need("redis-7.0")) as cluster:
        mapped = servers(cluster.primaries[1].port)
        mapped.look_up()
        assert mapped.owners is not None
        ports = [mapped.all[number].node.port for number in mapped.primaries()]
        assert sorted(ports) == sorted(node.port for node in cluster.primaries)
        numbers = mapped.primaries()
        mapped.look_up()
        assert mapped.primaries() == numbers, "servers keep their numbers"
        last = Node(HOST, cluster.primaries[2].port)
        mapped.moved(0, last)
        assert mapped.all[mapped.owners[0]].node == last
        mapped.look_up()
        assert mapped.all[mapped.owners[0]].node.port == cluster.primaries[0].port

        cluster.primaries[1].stop()  # the seed is gone: the others know as well
        mapped.look_up()
        mapped.close()


def test_slots_that_are_nobodys_are_told() -> None:
    with running_cluster(need("redis-7.0"), config={"cluster-require-full-coverage": "no"}) as cluster:
        for node in cluster.primaries:
            command(node, "CLUSTER", "DELSLOTS", "7", "8")
        with pytest.raises(TargetError, match="no server for 2 slots, such as 7"):
            servers(cluster.primaries[0].port).look_up()
