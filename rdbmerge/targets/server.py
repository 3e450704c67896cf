"""The door to live servers, by redis-py: connections, what each server is and can, and which one has which slot.

Opens no socket itself: it is handed a `dial`. A secret is in `Login` and nowhere else. Knows nothing of what is sent.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, ConnectionPool
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from rdbmerge.errors import TargetError
from rdbmerge.targets.server_facts import ServerFacts, read_info
from rdbmerge.targets.server_pipe import LostError, Pipe, Settle
from rdbmerge.targets.server_refusals import Kind, read_refusal, remedy_of

Dial = Callable[[str, int], Any]  # host and port ("" and 0: where the user pointed) to a connected socket

_LONGEST_WORDS = 300
_CODE = re.compile(r"[A-Z]{3,} ")
_CODES: dict[type[RedisError], str] = {
    BusyLoadingError: "LOADING", ClusterCrossSlotError: "CROSSSLOT", ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN", MovedError: "MOVED", NoPermissionError: "NOPERM", OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY", TryAgainError: "TRYAGAIN",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are to the servers, and how patient."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    patience_s: float = 60.0  # for one answer


@dataclass(frozen=True, slots=True)
class Node:
    """Where a server is; the empty one is where the user pointed."""

    host: str = ""
    port: int = 0


class LiveServer:
    """One server that runs. `place` is its name for people."""

    def __init__(self, node: Node, dial: Dial, login: Login, place: str) -> None:
        self.node = node
        self.place = place
        self._dial = dial
        self._login = login
        self._clients: dict[int, Any] = {}
        self._lock = threading.Lock()

    def client(self, db: int = 0) -> Any:
        """A client of redis-py whose replies are as on the wire; its pool may be used by many threads."""
        with self._lock:
            if db not in self._clients:
                pool = ConnectionPool(connection_class=_Dialled, dial=self._call, db=db, **self._options())
                client: Any = redis.Redis(connection_pool=pool)
                client.response_callbacks.clear()
                self._clients[db] = client
            return self._clients[db]

    def ask(self, *words: bytes | str | int, db: int = 0) -> Any:
        """The reply to one command that does no harm when it is run twice: a connection that was lost since it was
        used last is made anew. Raises LostError, or TargetError with the server's words."""
        client = self.client(db)
        try:
            try:
                return client.execute_command(*words)
            except ConnectionError:
                client.connection_pool.disconnect(inuse_connections=False)
                return client.execute_command(*words)
        except RedisError as error:
            raise self.failure(error) from error

    def ask_all(self, commands: list[tuple[bytes | str | int, ...]], *, db: int = 0) -> list[Any]:
        """The replies to several commands; an error stands in its place as a ResponseError. Raises LostError."""
        pipeline = self.client(db).pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        try:
            replies: list[Any] = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            raise self.failure(error) from error
        return replies

    def open_pipe(self, db: int, settle: Settle, *, stop: threading.Event | None = None) -> Pipe:
        """A connection for many commands, logged in and on its db. Raises LostError, TargetError."""
        connection: Any = _Dialled(dial=self._call, db=db, **self._options())
        try:
            connection.connect()
        except RedisError as error:
            raise self.failure(error) from error
        # The parser holds nothing back now: all that was asked is answered.
        opened, connection._sock = connection._sock, None
        return Pipe(opened, self.place, settle, patience_s=self._login.patience_s, stop=stop)

    def facts(self) -> ServerFacts:
        """What it says of itself. Raises LostError, TargetError."""
        try:
            reply = self.ask("INFO")
        except TargetError as error:
            if "NOPERM" not in str(error):
                raise
            reply = b""  # not allowed to ask
        facts = read_info(reply.decode("utf-8", "replace") if isinstance(reply, bytes) else "")
        with suppress(TargetError):  # managed servers know no CONFIG
            limit = self.ask("CONFIG", "GET", "proto-max-bulk-len")
            if isinstance(limit, list) and len(limit) == 2 and bytes(limit[1]).isdigit():
                facts = replace(facts, most_bulk_bytes=int(limit[1]))
        return facts

    def clock_ms(self) -> int:
        """Its clock, Unix milliseconds. Raises LostError, TargetError."""
        reply = self.ask("TIME")
        try:
            seconds, microseconds = (int(bytes(part)) for part in reply)
            return seconds * 1_000 + microseconds // 1_000
        except (TypeError, ValueError, IndexError) as error:
            raise self._nonsense("TIME") from error

    def slots(self) -> list[tuple[int, int, Node]]:
        """The first and last of each run of slots and their primary; of a cluster. Raises LostError, TargetError."""
        reply, found = self.ask("CLUSTER", "SLOTS"), []
        try:
            for first, last, primary, *_ in reply:
                host = bytes(primary[0] or b"").decode("utf-8", "replace")
                found.append((int(first), int(last), Node(host or self.node.host, int(primary[1]))))
        except (TypeError, ValueError, IndexError) as error:
            raise self._nonsense("CLUSTER SLOTS") from error
        return found

    def failure(self, error: RedisError) -> TargetError:
        """What an error of redis-py means, in our words."""
        words = _words(error)
        if isinstance(error, AuthenticationError) or read_refusal(words).kind is Kind.STOP:
            return TargetError(f"{self.place}: {words}", remedy=remedy_of(words) or remedy_of("NOAUTH"))
        if isinstance(error, (ConnectionError, TimeoutError)):
            return LostError(f"{self.place}: {words}", remedy="see whether it runs, and run the same command again")
        return TargetError(f"{self.place}: {words}", remedy=remedy_of(words) or "see the log of the target")

    def _nonsense(self, command: str) -> TargetError:
        return TargetError(
            f"{self.place}: its reply to {command} is not understood",
            remedy="check that the address is that of a Redis or Valkey server",
        )

    def close(self) -> None:
        """Close all connections of the clients."""
        with self._lock:
            for client in self._clients.values():
                client.connection_pool.disconnect()
            self._clients.clear()

    def _call(self) -> Any:
        try:
            opened = self._dial(self.node.host, self.node.port)
        except TargetError as error:
            raise ConnectionError(f"cannot connect: {error}") from error
        opened.settimeout(self._login.patience_s)
        return opened

    def _options(self) -> dict[str, Any]:
        # No CLIENT SETINFO: servers before 7.2 and narrow ACL users answer it with an error, which ACL LOG remembers.
        known = inspect.signature(AbstractConnection.__init__).parameters
        quiet = {"driver_info": None} if "driver_info" in known else {"lib_name": None, "lib_version": None}
        return {
            "username": self._login.username,
            "password": self._login.password,
            "socket_timeout": self._login.patience_s,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            **quiet,
        }


class _Dialled(Connection):
    """redis-py's connection over a socket that was opened elsewhere: one way of doing TLS and tunnels, not two."""

    def __init__(self, *, dial: Callable[[], Any], **options: Any) -> None:
        initialise: Any = super().__init__  # redis-py annotates some of its methods only
        initialise(**options)
        self._call = dial

    def _connect(self) -> Any:
        return self._call()


def refusal_words(reply: Any) -> str | None:
    """The words of an error among replies, as the server said them; None for any other reply."""
    return _words(reply) if isinstance(reply, ResponseError) else None


def _words(error: RedisError) -> str:
    """redis-py takes the first word away from errors that it has a class for, and from those that begin with ERR."""
    words = " ".join(str(error).split())[:_LONGEST_WORDS]
    if isinstance(error, AskError):  # is a MovedError's kin in some versions
        return f"ASK {words}"
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "")
    if not code and isinstance(error, ResponseError) and not _CODE.match(words):
        code = "ERR"
    return f"{code} {words}" if code else words
