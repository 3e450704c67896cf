"""What a replica and its primary say until the snapshot begins, as a table of states: bytes in, events out.

One command, one reply; bare newlines in between mean "still alive" (replication.md 3). Knows nothing of sockets,
clocks, or of the snapshot's bytes. REPLCONF is a courtesy: a server that does not know an option is noted, not left.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Literal

from rdbmerge.errors import HandshakeError, SourceError, TransferCutError
from rdbmerge.reach.server import show_bytes
from rdbmerge.replication.refusals import find_refusal, is_cut_greeting, nonsense_error, refusal_error
from rdbmerge.replication.source import Source
from rdbmerge.replication.transfer import MarkedTransfer, SizedTransfer, Transfer
from rdbmerge.units import format_duration_ms

Framing = Literal["length", "eof"]

MAX_LINE_BYTES = 64 * 1024
_MAX_LENGTH = (1 << 63) - 1
_FULLRESYNC = re.compile(rb"\+FULLRESYNC ([0-9A-Za-z]{40}) ([0-9]{1,19})")
_LENGTH = re.compile(rb"\$([0-9]{1,19})")
_MARK = re.compile(rb"\$EOF:([!-~]{40})")
_UNKNOWN = re.compile(rb"-ERR unknown command", re.IGNORECASE)
_ARGUMENTS = re.compile(rb"-ERR wrong number of arguments", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to send to the source; `data` may hold a password."""

    data: bytes = field(repr=False)
    label: str  # the command without its secrets


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """A bare newline: the source is alive and not ready."""


@dataclass(frozen=True, slots=True)
class FullResync:
    """The snapshot is being made from this moment of the replication history."""

    replid: str  # replication id (4.0 and later) or run id (before)
    offset: int  # bytes of replication stream that the snapshot holds already


@dataclass(frozen=True, slots=True)
class SnapshotBegins:
    """The handshake is over. `rest` is the beginning of what `transfer` must be fed."""

    framing: Framing
    length_bytes: int | None  # None where an end mark will tell
    transfer: Transfer
    rest: bytes = field(repr=False)


HandshakeEvent = Send | KeepAlive | FullResync | SnapshotBegins


class State(enum.Enum):
    """What the next reply answers."""

    AUTH = "AUTH"
    PING = "PING"
    PORT = "REPLCONF listening-port"
    CAPA = "REPLCONF capa"
    RDB_ONLY = "REPLCONF rdb-only"
    VERSION = "REPLCONF version"
    PSYNC = "PSYNC"
    SYNC = "SYNC"
    HEADER = "the header of the snapshot"
    DONE = "nothing"


# In this order; each row: the state, and the arguments after REPLCONF. capa eof goes before rdb-only and version,
# for Valkey 9 sends its newest RDB only to a replica that announces both (replication.md 2).
_REPLCONF: dict[State, tuple[str, ...]] = {
    State.PORT: ("listening-port", "0"),
    State.CAPA: ("capa", "eof"),
    State.RDB_ONLY: ("rdb-only", "1"),
    State.VERSION: ("version", "255.255.255"),
}
_NEXT: dict[State, State] = {
    State.AUTH: State.PING,
    State.PING: State.PORT,
    State.PORT: State.CAPA,
    State.CAPA: State.RDB_ONLY,
    State.RDB_ONLY: State.VERSION,
    State.VERSION: State.PSYNC,
}
_WAITING = frozenset({State.PSYNC, State.SYNC, State.HEADER})


class Handshake:
    """Send what `start` and `feed` say, feed what arrives, until SnapshotBegins.

    `feed`, `closed` and `stalled` give or raise HandshakeError and TransferCutError, and nothing else, whatever the
    bytes are.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.state = State.PING if source.password is None else State.AUTH
        self.notes: list[str] = []  # what was refused and does not matter
        self.rdb_only = False  # the source agreed to send nothing after the snapshot
        self.resync: FullResync | None = None  # None after SYNC, and after a PSYNC that was renamed
        self._sync_name = source.sync_command
        self._unknown_psync = b""
        self._buffer = b""
        self._heard = False

    @property
    def waiting(self) -> bool:
        """The snapshot was asked for and has not begun."""
        return self.state in _WAITING

    def start(self) -> Send:
        """The first command."""
        return self._command()

    def feed(self, chunk: bytes) -> list[HandshakeEvent]:
        """The events of `chunk`; nothing may be fed after SnapshotBegins."""
        self._buffer += chunk
        self._heard = self._heard or bool(chunk)
        events: list[HandshakeEvent] = []
        while self._buffer and self.state is not State.DONE:
            if self._buffer[:1] == b"\n":
                rest = self._buffer.lstrip(b"\n")
                events += [KeepAlive()] * (len(self._buffer) - len(rest))
                self._buffer = rest
                continue
            # Not waiting for the end of a line that cannot become a reply: a TLS alert has none.
            if self._buffer[:1] not in b"+-$":
                if is_cut_greeting(self._buffer):
                    break
                raise nonsense_error(self._buffer, after=self.state.value, source=self.source)
            end = self._buffer.find(b"\n", 0, MAX_LINE_BYTES)
            if end < 0 and len(self._buffer) < MAX_LINE_BYTES:
                break
            line = self._buffer[: max(end, 0)]
            if not line.endswith(b"\r"):
                raise nonsense_error(self._buffer, after=self.state.value, source=self.source)
            self._buffer = self._buffer[end + 1 :]
            events.append(self._reply(line[:-1]))
        return events

    def _reply(self, line: bytes) -> HandshakeEvent:
        if line.startswith(b"$") and self.waiting:
            return self._header(line)
        if line.startswith(b"-"):
            return self._error(line)
        if line.startswith(b"+"):
            return self._status(line)
        raise nonsense_error(line, after=self.state.value, source=self.source)

    def _status(self, line: bytes) -> HandshakeEvent:
        if self.waiting:
            match = _FULLRESYNC.fullmatch(line)
            if match and self.state is State.PSYNC and int(match[2]) <= _MAX_LENGTH:
                self.state = State.HEADER
                self.resync = FullResync(match[1].decode(), int(match[2]))
                return self.resync
            raise nonsense_error(line, after=self._name(), source=self.source)
        expected = b"+PONG" if self.state is State.PING else b"+OK"
        if line != expected:
            raise nonsense_error(line, after=self._name(), source=self.source)
        if self.state is State.RDB_ONLY:
            self.rdb_only = True
        return self._advance()

    def _error(self, line: bytes) -> HandshakeEvent:
        if self.state is State.PSYNC and _UNKNOWN.match(line):
            self._unknown_psync = line
            self.state = State.SYNC
            return self._command()
        if self.state is State.PSYNC and _ARGUMENTS.match(line) and self.source.psync_command != "PSYNC":
            # Names given out by managed services can be SYNC underneath: no arguments (replication.md 8).
            self._sync_name = self.source.psync_command
            self.state = State.SYNC
            return self._command()
        row = find_refusal(line, syncing=self.waiting)
        if row or self.waiting or self.state is State.AUTH:
            raise refusal_error(line, row, command=self._name(), source=self.source)
        self.notes.append(f"{self._name()}: {show_bytes(line, server=self.source)}")
        return self._advance()

    def _header(self, line: bytes) -> SnapshotBegins:
        length, mark = _LENGTH.fullmatch(line), _MARK.fullmatch(line)
        transfer: Transfer
        if length and 0 < int(length[1]) <= _MAX_LENGTH:
            transfer = SizedTransfer(int(length[1]))
        elif mark:
            transfer = MarkedTransfer(mark[1])
        else:
            raise nonsense_error(line, after=self._name(), source=self.source)
        self.state = State.DONE
        rest, self._buffer = self._buffer, b""
        length_bytes = transfer.length_bytes if isinstance(transfer, SizedTransfer) else None
        return SnapshotBegins("eof" if mark else "length", length_bytes, transfer, rest)

    def _advance(self) -> Send:
        self.state = _NEXT[self.state]
        return self._command()

    def _command(self) -> Send:
        source = self.source
        if self.state is State.AUTH:
            user = () if source.username is None else (source.username,)
            return Send(_encode("AUTH", *user, source.password or ""), "AUTH")
        arguments: tuple[str, ...] = ("PING",)
        if self.state in _REPLCONF:
            arguments = (source.replconf_command, *_REPLCONF[self.state])
        elif self.state is State.PSYNC:
            arguments = (source.psync_command, "?", "-1")
        elif self.state is State.SYNC:
            arguments = (self._sync_name,)
        return Send(_encode(*arguments), " ".join(arguments))

    def _name(self) -> str:
        """The command that the next reply answers, as the source knows it."""
        if self.state is State.PSYNC:
            return self.source.psync_command
        if self.state is State.SYNC:
            both = f"{self.source.psync_command} or " if self._unknown_psync else ""
            return f"{both}{self._sync_name}"
        return str(self.state.value)

    def closed(self) -> SourceError:
        """What it means that the connection ended here."""
        place = self.source.place
        if self.waiting:
            return TransferCutError(
                f"{place}: the source closed the connection before the snapshot began",
                remedy="look in its log; most often its fork failed (disk full or folder gone, too little memory), a"
                " limit of its output buffer was reached, it was restarted, or (Valkey 9) the data holds hash fields"
                " with a TTL and something on the way drops REPLCONF version",
            )
        if not self._heard:
            remedy = "check host and port, and that nothing between closes idle connections"
            if not self.source.tls:
                remedy += "; if this is a TLS port, write the address as rediss://host:port"
            return HandshakeError(f"{place}: the source closed the connection without an answer", remedy=remedy)
        return HandshakeError(
            f"{place}: the source closed the connection instead of answering {self._name()}",
            remedy="look in its log; an ACL change, CLIENT KILL, a restart or a proxy does this",
        )

    def stalled(self, waited_s: float) -> SourceError:
        """What it means that nothing useful came for `waited_s` seconds."""
        place, waited = self.source.place, format_duration_ms(round(waited_s * 1_000))
        if self.waiting:
            return TransferCutError(
                f"{place}: the snapshot did not begin within {waited}",
                remedy="the source may wait for another BGSAVE or AOF rewrite, or hang: see rdb_bgsave_in_progress in"
                " its INFO; pull again when it is done, or allow a longer wait",
            )
        remedy = "the server may be stopped, or busy with one long command; try again, or allow a longer wait"
        if not self._heard and not self.source.tls:
            remedy += "; if this is a TLS port, write the address as rediss://host:port"
        return HandshakeError(f"{place}: no answer to {self._name()} within {waited}", remedy=remedy)


def _encode(*arguments: str) -> bytes:
    parts = [argument.encode() for argument in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
