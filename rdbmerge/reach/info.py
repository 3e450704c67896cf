"""Facts about a server: what INFO and TIME tell, each of them optional.

`parse_info` is pure. `read_facts` asks through redis-py, with nothing but AUTH, INFO and TIME, so that it works with
Redis 2.4 and with ACL users that may run next to nothing: what cannot be had is None, never an error.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import RedisError

from rdbmerge.errors import RdbMergeError
from rdbmerge.reach.client import connect
from rdbmerge.reach.server import Server, show_bytes


@dataclass(frozen=True, slots=True)
class DbKeys:
    """One line of INFO keyspace."""

    keys: int
    expires: int  # how many of them have an expiry


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server says about itself; None where it does not, or may not."""

    flavour: str | None = None  # "redis" or "valkey"
    version: str | None = None  # its own: "9.1.2" for Valkey, not the 7.2.4 it claims for compatibility
    role: str | None = None  # "master" or "slave", as on the wire
    master_link_up: bool | None = None  # replicas only
    master_repl_offset: int | None = None  # 2.8 and later
    replid: str | None = None  # master_replid (4.0 and later), else run_id: what +FULLRESYNC names
    connected_replicas: int | None = None
    backlog_active: bool | None = None
    loading: bool | None = None
    changes_since_save: int | None = None
    last_save_at_s: int | None = None  # Unix seconds, the server's clock
    used_memory_bytes: int | None = None
    keyspace: dict[int, DbKeys] | None = None  # db -> counts; {} for an empty server
    clock_skew_ms: int | None = None  # local clock minus the server's
    problem: str = ""  # why facts are missing, for people

    @property
    def key_count(self) -> int | None:
        """All keys of all dbs, expired ones that the server still holds included."""
        return None if self.keyspace is None else sum(db.keys for db in self.keyspace.values())


def info_fields(text: str) -> dict[str, str]:
    """The fields of a reply to INFO of any version, with or without its sections; never raises."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            fields.setdefault(name.strip(), value.strip())
    return fields


def parse_info(text: str) -> ServerFacts:
    """The facts in a reply to INFO of any version; never raises."""
    fields = info_fields(text)
    valkey = fields.get("valkey_version")
    version = valkey or fields.get("redis_version")
    link = fields.get("master_link_status")
    return ServerFacts(
        flavour=("valkey" if valkey else "redis") if version else None,
        version=version,
        role=fields.get("role"),
        master_link_up=None if link is None else link == "up",
        master_repl_offset=number_in(fields, "master_repl_offset"),
        replid=fields.get("master_replid") or fields.get("run_id"),
        connected_replicas=number_in(fields, "connected_slaves"),
        backlog_active=_flag(fields, "repl_backlog_active"),
        loading=_flag(fields, "loading"),
        changes_since_save=number_in(fields, "rdb_changes_since_last_save", "changes_since_last_save"),
        last_save_at_s=number_in(fields, "rdb_last_save_time", "last_save_time"),
        used_memory_bytes=number_in(fields, "used_memory"),
        keyspace=_parse_keyspace(fields) if version else None,
    )


def number_in(fields: Mapping[str, str], *names: str) -> int | None:
    """The number in the first of these fields that holds one."""
    for name in names:
        value = fields.get(name, "")
        # 19 digits: no server counts farther than 2^63, and int() of a hostile megabyte is slow.
        if value.removeprefix("-").isdecimal() and value.isascii() and len(value) <= 20:
            return int(value)
    return None


def _flag(fields: dict[str, str], name: str) -> bool | None:
    number = number_in(fields, name)
    return None if number is None else bool(number)


def _parse_keyspace(fields: dict[str, str]) -> dict[int, DbKeys]:
    keyspace: dict[int, DbKeys] = {}
    for name, value in fields.items():
        number = name.removeprefix("db")
        if name == number or not (number.isascii() and number.isdecimal() and len(number) <= 9):
            continue
        counts = dict(part.partition("=")[::2] for part in value.split(","))
        keys = number_in(counts, "keys")
        if keys is not None:
            keyspace[int(number)] = DbKeys(keys, number_in(counts, "expires") or 0)
    return dict(sorted(keyspace.items()))


def read_facts(
    server: Server, *, open_socket: Callable[[], socket.socket], timeout_s: float, now_ms: Callable[[], int]
) -> ServerFacts:
    """Ask the server for INFO and TIME on a connection of their own; never raises what a server can cause.

    Args:
        server: only its user and password are used here.
        open_socket: gives a connected (TLS) socket; it belongs to this function.
        timeout_s: for each reply.
        now_ms: the local clock, Unix milliseconds.
    """
    try:
        connection = connect(server, open_socket=open_socket, timeout_s=timeout_s)
    except (RedisError, RdbMergeError, OSError) as error:
        return ServerFacts(problem=_problem(error, server))
    try:
        facts = _read_info(connection, server)
        return replace(facts, clock_skew_ms=_read_skew(connection, now_ms))
    finally:
        connection.disconnect()


def _read_info(connection: Any, server: Server) -> ServerFacts:
    try:
        connection.send_command("INFO")
        reply = connection.read_response()
    except (RedisError, OSError) as error:
        return ServerFacts(problem=_problem(error, server))
    return parse_info(reply.decode("utf-8", "replace") if isinstance(reply, bytes) else "")


def _read_skew(connection: Any, now_ms: Callable[[], int]) -> int | None:
    """Local minus server clock, good to half a round trip; None before Redis 2.6 or without the right to ask."""
    try:
        before_ms = now_ms()
        connection.send_command("TIME")
        reply = connection.read_response()
        after_ms = now_ms()
    except (RedisError, OSError):
        return None
    server_ms = time_ms(reply)
    return None if server_ms is None else (before_ms + after_ms) // 2 - server_ms


def time_ms(reply: object) -> int | None:
    """Unix milliseconds of a reply to TIME; None for another."""
    if not isinstance(reply, list) or len(reply) != 2:
        return None
    try:
        seconds, microseconds = (int(part) for part in reply)
    except (ValueError, TypeError):
        return None
    return seconds * 1_000 + microseconds // 1_000


def _problem(error: Exception, server: Server) -> str:
    return show_bytes(str(error).encode("utf-8", "replace"), server=server) or type(error).__name__
