"""Asks sentinels which server is the primary of a service, or which of its replicas is sound, and makes sure of it.

Knows what a sentinel answers (Redis 2.8 to 8, Valkey); nothing of what is done with the server.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from redis.exceptions import AuthenticationError, ResponseError

from rdbmerge.errors import RdbMergeError, UsageError
from rdbmerge.reach.address import SENTINEL_PORT, join_host_port, parse_host_port
from rdbmerge.reach.client import ask
from rdbmerge.reach.connection import check_stop
from rdbmerge.reach.info import parse_info
from rdbmerge.reach.server import Found, Server, show_bytes
from rdbmerge.reach.tunnels import AnyServer, Tunnels

_PAUSE_S = 1.0
_UNSOUND = frozenset({"s_down", "o_down", "disconnected", "master", "sentinel", "promoted"})


def find_primary(
    server: AnyServer, *, tunnels: Tunnels, timeout_s: float, wait_s: float = 0.0, stop: threading.Event | None = None
) -> AnyServer:
    """`server` with the host and port that its sentinels tell, and its tunnel; only the latter if it has no sentinels.

    With `prefer_replica` a replica that is sound, the one nearest to its primary; the primary where there is none.
    A sentinel's word can be older than a failover, so the server found is asked for its role.

    Args:
        tunnels: which way the sentinels are asked, too.
        timeout_s: for each connection and reply.
        wait_s: how long a failover is waited for.
        stop: ends the wait.

    Raises:
        SourceError or TargetError, as the server is one: no sentinel answers, none knows the service, or what they
            name does not say that it is what they say.
        StoppedError: `stop` was set.
    """
    if not server.service:
        return tunnels.through(server)
    deadline_s = time.monotonic() + wait_s
    while True:
        found = _find(server, _Asking(tunnels, timeout_s, stop))
        if not isinstance(found, _NotFound):
            return found
        if not found.may_change or time.monotonic() + _PAUSE_S > deadline_s:
            raise found.failure
        if stop is None:
            time.sleep(_PAUSE_S)
        else:
            stop.wait(_PAUSE_S)
            check_stop(stop, server)


@dataclass(frozen=True, slots=True)
class _Asking:
    """How each is asked."""

    tunnels: Tunnels
    timeout_s: float
    stop: threading.Event | None

    def ask(self, server: Server, *question: str) -> Any:
        return ask(self.tunnels.through(server), question, timeout_s=self.timeout_s, stop=self.stop)[0]


@dataclass(frozen=True, slots=True)
class _NotFound:
    failure: RdbMergeError
    may_change: bool  # a failover, not a mistake


def _find(server: AnyServer, asking: _Asking) -> AnyServer | _NotFound:
    """One round of all sentinels, until one tells a server that is what it says."""
    worst: _NotFound | None = None
    for host, port in server.sentinels:
        sentinel = _sentinel(server, host, port)
        try:
            told = asking.ask(sentinel, "SENTINEL", "get-master-addr-by-name", server.service)
            if not told:
                raise _unknown(server, sentinel, asking)
            primary = _named(server, *_address(server, sentinel, told), role="primary")
            for found in (*_replicas(server, sentinel, asking), primary):
                if _has_its_role(found, asking):
                    return asking.tunnels.through(found)
        except server.failure as error:
            worst = worst or _NotFound(error, may_change=False)
            continue
        worst = _NotFound(
            server.failure(
                f"{server.place}: sentinel {sentinel.address} names {join_host_port(primary.host, primary.port)} as the"
                " primary, but that does not say so itself",
                remedy="a failover may be under way: look whether the sentinels agree, then run the same command again",
            ),
            may_change=True,
        )
    assert worst is not None  # noqa: S101 - there is at least one sentinel
    return worst


def _sentinel(server: AnyServer, host: str, port: int) -> AnyServer:
    """A sentinel as a server: on the same way, with credentials of its own."""
    return replace(
        server, host=host, port=port, sentinels=(), service="", name="", username=server.sentinel_username,
        password=server.sentinel_password, tunnel=None,
    )  # fmt: skip


def _named(server: AnyServer, host: str, port: int, *, role: Literal["primary", "replica"]) -> AnyServer:
    found = Found(by="sentinel", group=server.service, role=role)
    return replace(server, host=host, port=port, found=found, tunnel=None)


def _unknown(server: Server, sentinel: Server, asking: _Asking) -> RdbMergeError:
    names = sorted(fields.get("name", "") for fields in _rows(asking.ask(sentinel, "SENTINEL", "masters")))
    known = ", ".join(names) if names else "none at all"
    return server.failure(
        f"{server.place}: sentinel {sentinel.address} knows no service {server.service}", remedy=f"it knows {known}"
    )


def _replicas(server: AnyServer, sentinel: Server, asking: _Asking) -> list[AnyServer]:
    """Those that are sound by the sentinel's word, nearest to the primary first; none if none are wanted."""
    if not server.prefer_replica:
        return []
    # "replicas" is the word from 5.0 on; all know the old one.
    rows = [row for row in _rows(asking.ask(sentinel, "SENTINEL", "slaves", server.service)) if _is_sound(row)]
    rows.sort(key=lambda row: -_number(row.get("slave-repl-offset")))
    return [_named(server, row["ip"], _number(row.get("port")), role="replica") for row in rows]


def _is_sound(row: dict[str, str]) -> bool:
    # Port 0 is a replica that does not say where it listens: another pull.
    return (
        bool(row.get("ip"))
        and 0 < _number(row.get("port")) < 65536
        and not _UNSOUND & set(row.get("flags", "").split(","))
        and row.get("master-link-status") == "ok"
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 20 else 0


def _has_its_role(found: Server, asking: _Asking) -> bool:
    """Whether the server says itself that it is what the sentinel calls it; one that does not answer is not."""
    try:
        said = asking.ask(found, "INFO", "replication")
    except found.failure as error:
        # A refusal is for whoever comes to do the work: it says more. Without the right to INFO the word has to do.
        return isinstance(error.__cause__, (ResponseError, AuthenticationError))
    facts = parse_info(said.decode("utf-8", "replace") if isinstance(said, bytes) else "")
    is_primary = found.found is not None and found.found.role == "primary"
    return facts.role == "master" if is_primary else facts.role == "slave" and facts.master_link_up is True


def _rows(reply: Any) -> list[dict[str, str]]:
    """Lists of names and values as dicts; what is no such thing is left out."""
    rows = []
    for row in reply if isinstance(reply, list) else []:
        texts = [part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in row]
        rows.append(dict(zip(texts[::2], texts[1::2], strict=False)))
    return rows


def _address(server: Server, sentinel: Server, told: Any) -> tuple[str, int]:
    try:
        host, port = (bytes(part).decode() for part in told)
        return parse_host_port(join_host_port(host, int(port)), sentinel.address, noun="server")
    except (ValueError, TypeError, UsageError) as error:
        shown = show_bytes(repr(told).encode(), server=server)
        raise server.failure(
            f"{server.place}: {sentinel.address} answers as no sentinel does: {shown}",
            remedy=f"check that it is a sentinel; they listen on port {SENTINEL_PORT}",
        ) from error
