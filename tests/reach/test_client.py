from __future__ import annotations

import pytest
from fakes.primary import FakePrimary
from redis.exceptions import AuthenticationError, RedisError

from rdbmerge.reach.client import connect
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.server import Server

pytestmark = pytest.mark.once


def test_a_connection_logs_in_and_says_nothing_else() -> None:
    with FakePrimary({"AUTH": b"+OK\r\n"}) as primary:
        server = Server(host="127.0.0.1", port=primary.port, username="ann", password="pass-word")
        connection = connect(server, open_socket=lambda: open_socket(server, timeout_s=2), timeout_s=2)
        connection.send_command("PING")
        assert connection.read_response() == b"PONG"
        connection.disconnect()
    assert primary.commands == [[b"AUTH", b"ann", b"pass-word"], [b"PING"]]


def test_a_refused_login_is_redis_pys_error() -> None:
    with FakePrimary({"AUTH": b"-WRONGPASS no\r\n"}) as primary:
        server = Server(host="127.0.0.1", port=primary.port, password="pass-word")
        with pytest.raises((AuthenticationError, RedisError)):
            connect(server, open_socket=lambda: open_socket(server, timeout_s=2), timeout_s=2)
