"""The door to real servers: what they are, who has which slot, and failures in words."""

from __future__ import annotations

import socket
import threading
from typing import Any

import numpy as np
import pytest
from clusters import running_cluster
from realservers import HOST, ServerBinary, each_server, free_port, need, running

from rdbmerge.errors import TargetError
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.server import Server
from rdbmerge.targets.server import LiveServer, Login, Node, refusal_words
from rdbmerge.targets.server_pipe import LostError

pytestmark = pytest.mark.once


def live(port: int, **login: Any) -> LiveServer:
    def dial(host: str, port_: int) -> socket.socket:
        return open_socket(Server(host=host or HOST, port=port_ or port), timeout_s=5)

    return LiveServer(Node(), dial, Login(**{"patience_s": 10, **login}), "the target")


@each_server()
def test_commands_facts_and_clocks_of_every_version(binary: ServerBinary) -> None:
    with running(binary) as server:
        target = live(server.port)
        assert target.ask("SET", b"k", b"v", db=2) == b"OK"
        assert target.ask("GET", b"k") is None
        replies = target.ask_all([("GET", "k"), ("LPUSH", "k", "x"), ("EXISTS", "k")], db=2)
        assert replies[0] == b"v"
        assert refusal_words(replies[1])
        assert refusal_words(replies[0]) is None
        assert int(replies[2]) == 1
        facts = target.facts()
        assert (facts.version, facts.keys, facts.most_bulk_bytes) == (binary.version, {2: 1}, 512 << 20)
        assert target.clock_ms() > 1_700_000_000_000
        target.close()


def test_a_pipe_is_logged_in_and_on_its_db() -> None:
    with running(need("redis-7.0"), config={"requirepass": "Secret-1"}) as server:
        target, settled = live(server.port, password="Secret-1"), []
        pipe = target.open_pipe(5, lambda rows, words: settled.append((rows.tolist(), words)))
        pipe.send([b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"], np.array([3], np.int32))
        pipe.finish()
        pipe.close()
        assert settled == [([3], None)]
        assert server.counts() == {5: 1}
        target.close()


def test_a_wrong_password_is_told_without_it() -> None:
    with running(need("redis-7.0"), config={"requirepass": "Secret-1"}) as server:
        for password in ("Wrong-Secret-2", None):
            with pytest.raises(TargetError) as caught:
                live(server.port, password=password).ask("PING")
            assert "the target" in str(caught.value)
            assert "password" in caught.value.remedy
            assert "Secret" not in str(caught.value) + repr(Login(password="Secret-1"))


def test_a_server_that_is_not_there_is_lost_and_no_defect() -> None:
    with pytest.raises(LostError, match="the target"):
        live(free_port()).ask("PING")
    with pytest.raises(LostError):
        live(free_port()).open_pipe(0, lambda *_: None)


def test_a_managed_server_without_config_has_the_usual_limit() -> None:
    renamed = [word for name in ("config", "debug", "acl") for word in ("--rename-command", name, "")]
    with running(need("redis-7.0"), args=renamed) as server:
        assert live(server.port).facts().most_bulk_bytes == 512 << 20


def test_a_cluster_tells_whose_slots_are_whose() -> None:
    with running_cluster(need("redis-7.0")) as cluster:
        target = live(cluster.primaries[0].port)
        assert target.facts().cluster
        slots = sorted(target.slots())
        assert [node.port for _, _, node in slots] == [primary.port for primary in cluster.primaries]
        assert (slots[0][0], slots[-1][1]) == (0, 16_383)
        target.close()


@pytest.mark.parametrize("said", [b"+OK\r\n", b":5\r\n", b"*1\r\n*1\r\n:3\r\n", b"*1\r\n*3\r\n:0\r\n:5\r\n$1\r\nx\r\n"])
def test_replies_that_are_none_are_told_and_no_defect(said: bytes) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                peer, _ = listener.accept()
                with peer:
                    while peer.recv(1_000):
                        peer.sendall(said)

        server = threading.Thread(target=serve)
        server.start()
        for question in ("slots", "clock_ms"):
            target = live(listener.getsockname()[1])
            with pytest.raises(TargetError, match="is not understood"):
                getattr(target, question)()
            target.close()
        server.join()
