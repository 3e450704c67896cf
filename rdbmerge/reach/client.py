"""The door to redis-py: its connection, over a socket of ours. One way of doing TLS, tunnels and timeouts, not two.

Knows nothing of what is asked over it.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection
from redis.retry import Retry

from rdbmerge.reach.server import Server


def connect(server: Server, *, open_socket: Callable[[], socket.socket], timeout_s: float) -> Any:
    """A redis-py connection to `server`, logged in, RESP2, bytes out; the caller disconnects it.

    Args:
        server: only its user and password are used here.
        open_socket: gives a connected (TLS) socket; it belongs to the connection.
        timeout_s: for each reply.

    Raises:
        RedisError, OSError: what redis-py raises when the login is refused or the peer is gone.
        RdbMergeError: what `open_socket` raises.
    """
    # No CLIENT SETINFO: servers before 7.2 and narrow ACL users answer it with an error, which ACL LOG remembers.
    known = inspect.signature(AbstractConnection.__init__).parameters
    quiet = {"driver_info": None} if "driver_info" in known else {"lib_name": None, "lib_version": None}
    connection: Any = _Connection(
        open_socket, timeout_s, username=server.username, password=server.password, host=server.address, **quiet
    )
    connection.connect()
    return connection


class _Connection(Connection):
    """redis-py's connection over a socket that was opened elsewhere."""

    def __init__(self, open_socket: Callable[[], socket.socket], timeout_s: float, **options: Any) -> None:
        initialise: Any = super().__init__  # redis-py annotates some of its methods only
        initialise(socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0), protocol=2, **options)
        self._open_socket = open_socket
        self._timeout_s = timeout_s

    def _connect(self) -> socket.socket:
        opened = self._open_socket()
        opened.settimeout(self._timeout_s)
        return opened
