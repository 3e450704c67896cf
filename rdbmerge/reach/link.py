"""A conversation with one server: single commands through redis-py, and bytes both ways for who asks many at once.

Logs in, waits in slices so that a stop is seen soon, and turns every failure into the server's own, with what to do.
Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from rdbmerge.errors import RdbMergeError
from rdbmerge.reach.client import connect
from rdbmerge.reach.connection import check_stop, open_socket, tls_error, tunnel_failure
from rdbmerge.reach.server import Server, show_bytes
from rdbmerge.units import format_duration_ms

_SLICE_S = 0.2  # how often a wait looks whether it should stop


class RefusedReplyError(Exception):
    """The server answered a command with an error; `line` is that answer without its "-"."""

    def __init__(self, line: bytes) -> None:
        super().__init__(line.decode("utf-8", "backslashreplace"))
        self.line = line


@dataclass(frozen=True, slots=True)
class _Refusal:
    """One case. In `finding` and `remedy`, {noun}, {user} and {command} are filled in."""

    pattern: re.Pattern[bytes]
    finding: str
    remedy: str
    retryable: bool = False


def _row(pattern: bytes, finding: str, remedy: str, *, retryable: bool = False) -> _Refusal:
    return _Refusal(re.compile(pattern, re.IGNORECASE), finding, remedy, retryable)


_REFUSALS = (
    _row(
        rb"NOAUTH|ERR operation not permitted",
        "the {noun} wants a password",
        "give it in the address, or from the environment, a file or a prompt",
    ),
    _row(
        rb"WRONGPASS|ERR invalid password|ERR Client sent AUTH|ERR AUTH|ERR wrong number of arguments for 'auth'",
        "the {noun} does not accept the password",
        "check password and user; a server older than Redis 6.0 knows no users",
    ),
    _row(
        rb"NOPERM",
        "the user {user} may not run {command}",
        "on the {noun}: ACL SETUSER {user} ~* +scan +dump +pttl +pexpiretime +time +select"
        " (and +info +dbsize +function|dump for counts and libraries)",
    ),
    _row(rb"LOADING", "the {noun} is still loading its data", "wait until it has loaded", retryable=True),
    _row(
        rb"MASTERDOWN",
        "the {noun} is a replica whose primary is down, and it does not serve stale data",
        "wait until its link is up, or name the primary",
        retryable=True,
    ),
    _row(rb"CLUSTERDOWN", "the cluster is down", "wait until all its slots are served", retryable=True),
    _row(rb"BUSY", "the {noun} is busy running a script", "wait, or end the script there", retryable=True),
    _row(
        rb"ERR max number of clients",
        "the {noun} takes no more clients",
        "close idle clients, or raise maxclients there",
        retryable=True,
    ),
    _row(
        rb"ERR unknown command",
        "the {noun} knows no {command}",
        "it is too old (SCAN came with Redis 2.8), or the command was renamed or is blocked",
    ),
)
_OTHER = _row(b"", "the {noun} refused {command}", "look in its log and in the manual of that service")


def refusal_error(server: Server, line: bytes, *, command: str) -> RdbMergeError:
    """What an error reply (without its "-") to a command means."""
    row = next((row for row in _REFUSALS if row.pattern.match(line)), _OTHER)
    words = {"noun": server.noun, "user": server.username or "default", "command": command}
    return server.failure(
        f"{server.place}: {row.finding.format(**words)} ({show_bytes(line, server=server)})",
        remedy=row.remedy.format(**words),
        retryable=row.retryable,
    )


class Link:
    """A connection, logged in. `timeout_s`: for one reply, and for the next bytes. Raises what `open_socket` raises."""

    def __init__(
        self, server: Server, *, connect_timeout_s: float, timeout_s: float, stop: threading.Event | None = None
    ) -> None:
        self.server = server
        self._timeout_s = timeout_s
        self._stop = stop
        try:
            self._connection: Any = connect(
                server,
                open_socket=lambda: open_socket(server, timeout_s=connect_timeout_s, stop=stop),
                timeout_s=timeout_s,
            )
        except (RedisError, OSError) as error:
            raise self._translated(error, "AUTH") from error
        self._socket = self._connection._sock

    def close(self) -> None:
        """Close at once; never raises."""
        self._connection.disconnect()

    def ask(self, *words: str | bytes | int) -> Any:
        """The reply to one command, bytes as they came. Nothing sent by `send` may be unanswered.

        Raises RefusedReplyError for an error reply, the server's failure for a lost connection, StoppedError.
        """
        check_stop(self._stop, self.server)
        try:
            self._socket.settimeout(self._timeout_s)
            self._connection.send_command(*words)
            return self._connection.read_response()
        except ResponseError as error:
            raise RefusedReplyError(_line(error)) from error
        except (AuthenticationError, BusyLoadingError) as error:  # connection errors to redis-py
            raise RefusedReplyError(_line(error)) from error
        except (RedisError, OSError) as error:
            raise self._translated(error, str(words[0])) from error

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises the server's failure, StoppedError."""
        check_stop(self._stop, self.server)
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def receive_into(self, room: memoryview) -> int:
        """Put the next bytes into `room`; how many. Raises the server's failure (end and silence too), StoppedError."""
        deadline_s = time.monotonic() + self._timeout_s
        self._socket.settimeout(_SLICE_S)
        while True:
            check_stop(self._stop, self.server)
            try:
                count = int(self._socket.recv_into(room))
            except TimeoutError as error:
                if time.monotonic() > deadline_s:
                    raise self._lost(error) from error
                continue
            except OSError as error:
                raise self._lost(error) from error
            if count == 0:
                raise self._lost(None)
            return count

    def _translated(self, error: RedisError | OSError, command: str) -> RdbMergeError:
        if isinstance(error, OSError):
            return self._lost(error)
        if isinstance(error, (ResponseError, AuthenticationError, BusyLoadingError)) or "clients" in str(error):
            return refusal_error(self.server, _line(error), command=command)
        return self._lost(error)

    def _lost(self, error: Exception | None) -> RdbMergeError:
        failure = tunnel_failure(self.server)
        if failure is not None:
            return failure
        if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return tls_error(self.server, error)
        if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
            finding = f"no answer for {format_duration_ms(round(self._timeout_s * 1_000))}"
            remedy = "the network or the server hangs: run the command again, or allow a longer silence"
        else:
            said = getattr(error, "strerror", None) or (str(error) if error else "")
            finding = f"the connection ended{f' ({said})' if said else ''}"
            remedy = "look in the server's log whether it ended or failed over; then run the command again"
        return self.server.failure(f"{self.server.place}: {finding}", remedy=remedy, retryable=True)


def _line(error: RedisError) -> bytes:
    """What the server said: redis-py leaves out first words that are kinds of errors to it."""
    said = str(error)
    kinds = {NoPermissionError: "NOPERM", BusyLoadingError: "LOADING", AuthenticationError: "NOAUTH"}
    word = getattr(error, "status_code", None) or kinds.get(type(error), "")
    if not word and not said.partition(" ")[0].isupper():
        word = "ERR"
    return f"{word} {said}".strip().encode("utf-8", "backslashreplace")
