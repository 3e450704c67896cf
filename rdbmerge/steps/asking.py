"""One server asked for its keys: the link that carries bytes and the replies that they are, brought together.

Each call sends and waits; who wants to be ahead of the server's answers sends first and receives later. Knows nothing
of what the entries are for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from rdbmerge.errors import RdbMergeError
from rdbmerge.format.replies import (
    Dumps,
    GarbledError,
    Inbox,
    Keys,
    Page,
    RefusedError,
    command,
    scan_command,
    take_page,
    take_time_ms,
)
from rdbmerge.reach.link import Link, RefusedReplyError, refusal_error
from rdbmerge.reach.server import Server, show_bytes

_NOT_KNOWN = (b"ERR unknown command", b"NOPERM")
_MOST_DBS = 1 << 14  # where the server does not say which it has

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: for a connection, and for the next bytes of an answer."""

    connect_timeout_s: float = 10.0
    reply_timeout_s: float = 60.0


class Asker:
    """One connection to `server`. Every failure is the server's (SourceError or TargetError), or StoppedError."""

    def __init__(self, server: Server, patience: Patience, stop: threading.Event | None) -> None:
        self.server = server
        self._link = Link(
            server,
            connect_timeout_s=patience.connect_timeout_s,
            timeout_s=patience.reply_timeout_s,
            stop=stop,
        )
        self._inbox = Inbox()
        self.received_bytes = 0

    def close(self) -> None:
        """Close at once; never raises."""
        self._link.close()

    def ask(self, *words: str | bytes | int) -> object:
        """The reply to one command; None where the server refuses it. Nothing may be unanswered."""
        try:
            reply: object = self._link.ask(*words)
        except RefusedReplyError:
            return None
        return reply

    def need(self, *words: str | bytes | int) -> object:
        """The reply to one command. Raises the server's failure for an error."""
        try:
            reply: object = self._link.ask(*words)
        except RefusedReplyError as error:
            raise refusal_error(self.server, error.line, command=str(words[0])) from error
        return reply

    def select(self, db: int) -> None:
        """Go to a db."""
        self.need("SELECT", db)

    def knows_expiretime(self) -> bool:
        """Whether expiries can be had exactly (Redis 7.0 and later). Raises the server's failure if it is not ready."""
        try:
            self._link.ask("PEXPIRETIME", b"")
        except RefusedReplyError as error:
            if error.line.startswith(_NOT_KNOWN):
                return False
            # A node of a cluster knows the command, and who has the key.
            if not error.line.startswith((b"MOVED ", b"ASK ")):
                raise refusal_error(self.server, error.line, command="PEXPIRETIME") from error
        return True

    def time_ms(self) -> int:
        """The server's clock."""
        self._link.send(command(b"TIME"))
        return self.receive("TIME", take_time_ms)

    def leave_idle_times_alone(self) -> None:
        """Ask that what is read here does not count as used (Redis 7.2 and later); it does where the server refuses."""
        self.ask("CLIENT", "NO-TOUCH", "ON")

    def dbs(self, announced: Mapping[int, object] | None) -> list[int]:
        """The dbs to look into: those INFO keyspace told of, else all that can be selected."""
        if announced is not None:
            return sorted(announced)
        found = 0
        while found < _MOST_DBS and self.ask("SELECT", found) is not None:
            found += 1
        return list(range(max(found, 1)))

    def send_scan(self, cursor: int, count: int) -> None:
        """Ask for a page of the selected db."""
        self._link.send(scan_command(cursor, count))

    def send_dumps(self, dumps: Dumps) -> None:
        """Ask for some keys."""
        self._link.send(dumps.commands())

    def receive_page(self) -> Page:
        """The page that was asked for first."""
        return self.receive("SCAN", take_page)

    def receive_dumps(self, dumps: Dumps) -> None:
        """All answers about some keys."""
        self.receive("TIME", lambda inbox: dumps.take(inbox) or None)

    def dumps(self, keys: Keys, *, absolute: bool) -> Dumps:
        """Ask for some keys and wait for the answers."""
        dumps = Dumps(keys, absolute=absolute)
        self.send_dumps(dumps)
        self.receive_dumps(dumps)
        return dumps

    def ask_aside(self, key: Keys, *, absolute: bool) -> Dumps | None:
        """The answers about one key that is on its way to this server of a cluster; None if it does not have it yet."""
        replies = []
        for word in ("DUMP", "PEXPIRETIME" if absolute else "PTTL"):
            self.need("ASKING")
            try:
                replies.append(self._link.ask(word, key.key(0)))
            except RefusedReplyError:
                return None
        now_ms = self.time_ms()
        seconds, micros = b"%d" % (now_ms // 1_000), b"%d" % (now_ms % 1_000 * 1_000)
        time = b"*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(seconds), seconds, len(micros), micros)
        dump = b"$-1\r\n" if replies[0] is None else b"$%d\r\n%s\r\n" % (len(replies[0]), replies[0])
        inbox, dumps = Inbox(), Dumps(key, absolute=absolute)
        inbox.put(time + dump + b":%d\r\n" % replies[1] + time)
        dumps.take(inbox)
        return dumps

    def receive(self, said: str, take: Callable[[Inbox], T | None]) -> T:
        """What `take` makes of the answers to the command `said`, as soon as there is enough of them."""
        while True:
            try:
                taken = take(self._inbox)
            except RefusedError as error:
                raise refusal_error(self.server, error.line, command=said) from error
            except GarbledError as error:
                raise self._garbled(error, said) from error
            if taken is not None:
                return taken
            count = self._link.receive_into(self._inbox.free())
            self._inbox.received(count)
            self.received_bytes += count

    def _garbled(self, error: GarbledError, said: str) -> RdbMergeError:
        return self.server.failure(
            f"{self.server.place}: not an answer to {said}: {show_bytes(error.said, server=self.server)}",
            remedy="check host and port: this must be the port of a Redis or Valkey server itself",
        )
