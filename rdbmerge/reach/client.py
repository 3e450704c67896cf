"""The door to redis-py: its connection, over a socket of ours. One way of doing TLS, tunnels and timeouts, not two.

Knows nothing of what is asked over it, but what a refusal of any command means.
"""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from rdbmerge.errors import RdbMergeError
from rdbmerge.reach.connection import check_stop, open_socket, tunnel_failure
from rdbmerge.reach.server import Server, show_bytes

_LOGIN = ("NOAUTH", "Authentication required", "WRONGPASS", "invalid password", "username-password")


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


def ask(
    server: Server, *questions: tuple[str, ...], timeout_s: float, stop: threading.Event | None = None
) -> list[Any]:
    """The replies to some commands, on a connection of their own; bytes within.

    Args:
        server: who is asked, and with whose credentials.
        questions: each a command and its arguments.
        timeout_s: for the connection, and for each reply.
        stop: ends the wait for the connection.

    Raises:
        SourceError or TargetError, as the server is one: not reached, or refused, with its words.
        StoppedError: `stop` was set.
    """
    return _asked(server, questions, timeout_s, stop, refusals=False)


def ask_each(
    server: Server, *questions: tuple[str, ...], timeout_s: float, stop: threading.Event | None = None
) -> list[Any]:
    """Like `ask`, but a command that is refused has a `Refused` for its reply, and the others go on."""
    return _asked(server, questions, timeout_s, stop, refusals=True)


@dataclass(frozen=True, slots=True)
class Refused:
    """What a server said instead of a reply."""

    said: str


def _asked(
    server: Server, questions: Sequence[tuple[str, ...]], timeout_s: float, stop: threading.Event | None, *,
    refusals: bool,
) -> list[Any]:  # fmt: skip
    check_stop(stop, server)
    what = questions[0]
    try:
        connection = connect(
            server, open_socket=lambda: open_socket(server, timeout_s=timeout_s, stop=stop), timeout_s=timeout_s
        )
        try:
            replies = []
            for what in questions:
                connection.send_command(*what)
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:
                    if not refusals:
                        raise
                    replies.append(Refused(show_bytes(str(error).encode("utf-8", "replace"), server=server)))
            return replies
        finally:
            connection.disconnect()
    except (RedisError, OSError) as error:
        raise tunnel_failure(server) or _refused(server, " ".join(what[:2]), error) from error


def _refused(server: Server, command: str, error: Exception) -> RdbMergeError:
    said = str(error) or type(error).__name__
    remedy = "check that this is the port of a Redis or Valkey server, and look in its log"
    if any(word in said for word in _LOGIN):
        remedy = "give user and password (of a sentinel: those of the sentinel)"
    elif "NOPERM" in said or "no permissions" in said:
        remedy = f"give the user the right to run {command} (ACL SETUSER)"
    elif "unknown command" in said and command.startswith("SENTINEL"):
        remedy = "it is no sentinel: they listen on port 26379, mostly"
    elif "cluster support disabled" in said:
        remedy = "it is no node of a cluster: name it as a server of its own"
    return server.failure(
        f"{server.place}: no answer to {command}: {show_bytes(said.encode('utf-8', 'replace'), server=server)}",
        remedy=remedy,
    )


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
