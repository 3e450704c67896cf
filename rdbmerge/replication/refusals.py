"""What a primary says instead of a snapshot, what it means, and what the user can do: one row a case.

Knows the words of Redis 2.4 to 8.2 and Valkey 8 and 9 (replication.md 7, and the recorded conversations). Knows
nothing of the order of the handshake: that is `handshake`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rdbmerge.errors import HandshakeError
from rdbmerge.reach.server import show_bytes
from rdbmerge.replication.source import Source


@dataclass(frozen=True, slots=True)
class Refusal:
    """One case. In `finding` and `remedy`, {user} and {command} are filled in."""

    pattern: re.Pattern[bytes]  # of the line after its "-"
    finding: str
    remedy: str
    retryable: bool = False  # waiting may help
    only_sync: bool = False  # decides only as the answer to PSYNC or SYNC; elsewhere it is noted


def _row(pattern: bytes, finding: str, remedy: str, *, retryable: bool = False, only_sync: bool = False) -> Refusal:
    return Refusal(re.compile(pattern, re.IGNORECASE), finding, remedy, retryable, only_sync)


_NO_REPLICATION = "managed services often block replication: export a backup (an RDB file) there and merge that"

REFUSALS: tuple[Refusal, ...] = (
    _row(
        rb"NOAUTH|ERR operation not permitted",
        "the source wants a password",
        "give it with the source, as redis://:password@host:port or from the environment or a file",
    ),
    _row(
        rb"WRONGPASS|ERR invalid password",
        "the password is wrong, or the user does not exist or is off",
        "check the password of this source (and its user name, from Redis 6.0)",
    ),
    _row(
        rb"ERR Client sent AUTH, but no password|ERR AUTH <password> called without any password",
        "a password was given, but the source has none",
        "check that this is the server you mean; if so, leave its password out",
    ),
    _row(
        rb"ERR wrong number of arguments for 'auth'",
        "the source knows no user names (it is older than Redis 6.0)",
        "give the password alone, without a user name",
    ),
    _row(
        rb"NOPERM",
        "the user {user} may not run {command}",
        "on the source: ACL SETUSER {user} on ><password> +psync +replconf +ping"
        " (and +sync for servers where PSYNC is renamed, +info +time for the check that nothing was written)",
        only_sync=True,
    ),
    _row(
        rb"NOMASTERLINK|ERR Can't SYNC while not connected",
        "the source is a replica that has lost its own primary",
        "wait until its link is up, or pull from the primary",
        retryable=True,
    ),
    _row(
        rb"MASTERDOWN|ERR link with MASTER is down",
        "the source is a replica whose primary is down, and it does not serve stale data",
        "wait until its link is up, or pull from the primary",
        retryable=True,
    ),
    _row(
        rb"LOADING",
        "the source is still loading its data",
        "wait until it has loaded (INFO persistence shows loading:0)",
        retryable=True,
    ),
    _row(
        rb"ERR max number of clients reached",
        "the source takes no more clients",
        "close idle clients or raise maxclients on the source",
    ),
    _row(
        rb"DENIED",
        "the source is in protected mode: without a password it answers only on its loopback address",
        "pull through a tunnel that ends on the source's machine, or set a password on the source",
    ),
    _row(
        rb"ERR unknown command",
        "the source knows no {command}: the command was renamed or is blocked",
        "if it was renamed (rename-command in redis.conf), say so with --psync-command or --sync-command; "
        + _NO_REPLICATION,
        only_sync=True,
    ),
    _row(
        rb"ERR wrong number of arguments for",
        "the source's {command} takes other arguments",
        "if it is SYNC under another name, give it with --sync-command and not --psync-command",
        only_sync=True,
    ),
    _row(rb"ERR Command disallowed", "the source does not allow {command}", _NO_REPLICATION, only_sync=True),
    _row(
        rb"ERR SYNC and PSYNC are invalid with pending output",
        "the source had not sent all its replies when {command} came; something between joins requests",
        "connect to the server itself, not through a proxy",
    ),
    _row(
        rb"ERR (?:Unable to perform background save|BGSAVE failed)",
        "the source could not start a snapshot",
        "look in its log: most often too little memory to fork (vm.overcommit_memory) or a full disk; then try again",
    ),
)
# How other servers begin: a TLS alert, and two that speak first or answer anything.
_STRANGERS = {
    b"\x15\x03": "this is a TLS port: write the address as rediss://host:port",
    b"HTTP/": "a web server answers on this port; give the port of the Redis or Valkey server",
    b"SSH-": "an SSH server answers on this port; give the port of the Redis or Valkey server",
}
_OTHER = Refusal(
    re.compile(b""), "the source refused {command}", "look in the source's log and in the manual of that service"
)


def find_refusal(line: bytes, *, syncing: bool) -> Refusal | None:
    """The row for an error reply (`line` with its "-", without its end); None if it is none of the known ones.

    `syncing` says that the line answers PSYNC or SYNC.
    """
    return next((row for row in REFUSALS if row.pattern.match(line[1:]) and (syncing or not row.only_sync)), None)


def refusal_error(line: bytes, row: Refusal | None, *, command: str, source: Source) -> HandshakeError:
    """The error for a reply that ends the handshake; `row` is None for one that no row is about."""
    row = row or _OTHER
    words = {"command": command, "user": "default" if source.username is None else source.username}
    return HandshakeError(
        f"{source.place}: {row.finding.format(**words)} ({show_bytes(line, server=source)})",
        remedy=row.remedy.format(**words),
        retryable=row.retryable,
    )


def is_cut_greeting(said: bytes) -> bool:
    """Whether more of these first bytes may tell who speaks so."""
    return any(greeting.startswith(said) and greeting != said for greeting in _STRANGERS)


def nonsense_error(line: bytes, *, after: str, source: Source) -> HandshakeError:
    """The error for bytes that are no reply: shown escaped and cut, with a guess at who speaks so."""
    remedy = "check host and port: this must be the port of a Redis or Valkey server itself"
    for greeting, guess in _STRANGERS.items():
        if line.startswith(greeting):
            remedy = guess
    if line.startswith((b"+CONTINUE", b"+DUALCHANNELSYNC", b"+RDBCHANNELSYNC")):
        remedy = "connect to the server itself, not through a proxy; if that is so already, report this line"
    return HandshakeError(f"{source.place}: not an answer to {after}: {show_bytes(line, server=source)}", remedy=remedy)
