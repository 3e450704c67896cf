"""How users write where a server is, or who knows where it is, and what must never be shown of that. Pure.

Knows the text alone; what becomes of its parts is `server`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from rdbmerge.errors import UsageError

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
FORMS = (
    "write it as host:port, [ipv6]:port, redis://user:password@host:port, rediss://... for TLS, unix:///path,"
    " redis-sentinel://host:port,host:port/service or redis-cluster://host:port"
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HOST = re.compile(r"[^\s:/@?#\[\]\\]{1,253}")
_SERVICE = re.compile(r"[\w.-]{1,100}", re.ASCII)
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(?:%[\w.-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The parts of an address; None where it says nothing of one."""

    host: str = ""
    port: int = DEFAULT_PORT
    unix_path: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    cluster: bool = False
    tls: bool = False
    has_user: bool = False  # credentials are in it, so those from elsewhere do not count
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_address(text: str, *, noun: str) -> Written:
    """Read `host`, `host:port`, `[::1]:6379`, `redis://[user[:password]@]host[:port][/0]`, `unix://[user:password@]/path`,
    `redis-sentinel://[user:password@]host[:port][,host[:port]...]/service` or `redis-cluster://host[:port]` (any node).

    `rediss` in place of `redis` means TLS. User and password are percent-encoded, and always those of the servers.
    Raises UsageError for anything else, in which the server is called a `noun`; a db other than 0 is refused too, for
    all dbs of a server are meant.
    """
    body = text.strip()
    scheme, separator, rest = body.partition("://")
    shown = without_secrets(body)
    if not separator:
        host, port = parse_host_port(body, shown, noun=noun)
        return Written(host=host, port=port)
    # The last @: a password may hold one that was not encoded.
    credentials, at, place = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    who: dict[str, object] = {
        "has_user": bool(at and (user or colon)),
        "username": unquote(user) if user else None,
        "password": unquote(password) if colon else None,
    }
    if scheme.lower() == "unix":
        return Written(unix_path=_parse_path(place, shown, noun), **who)  # type: ignore[arg-type]
    line, _, how = scheme.lower().partition("-")
    if line not in ("redis", "rediss") or how not in ("", "sentinel", "cluster") or scheme.endswith("-"):
        raise UsageError(f"{shown!r} is not a {noun} address: unknown scheme", remedy=FORMS)
    who["tls"] = line == "rediss"
    if how == "sentinel":
        sentinels, service = _parse_sentinels(place, shown, noun)
        return Written(sentinels=sentinels, service=service, **who)  # type: ignore[arg-type]
    host, port = parse_host_port(_without_db(place, shown, noun), shown, noun=noun)
    return Written(host=host, port=port, cluster=how == "cluster", **who)  # type: ignore[arg-type]


def join_host_port(host: str, port: int) -> str:
    """`10.0.0.1:6379`, `[::1]:6379`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def name_of(address: str) -> str:
    """A name that is safe for a file, a different one for each address."""
    plain = address.removeprefix("rediss://")
    name = "-".join(plain.rsplit(":", 1)) if "://" not in plain else plain
    if NAME.fullmatch(name):
        return name
    # Characters are lost here, so the fingerprint keeps two addresses apart.
    safe = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "source"
    return f"{safe}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def without_secrets(text: str) -> str:
    """An address as it may be shown."""
    scheme, separator, rest = text.partition("://")
    _, at, place = (rest if separator else text).rpartition("@")
    if at:
        return f"{scheme if separator else ''}{separator}...@{place}"
    # redis://:secret, with the host forgotten: what looks like a port may be a password.
    return f"{scheme}://..." if separator and ":" in rest else text


def parse_host_port(text: str, shown: str, *, noun: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Host (in lower case) and port. Raises UsageError, in which `shown` stands for the whole address."""
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or not _IPV6.fullmatch(host) or ":" not in host or (tail and not tail.startswith(":")):
            raise UsageError(f"{shown!r} is not a {noun} address: not [ipv6]:port", remedy=FORMS)
        return host.lower(), _parse_port(tail.removeprefix(":"), shown, noun) if tail else default_port
    if text.count(":") > 1:
        raise UsageError(f"{shown!r} is not a {noun} address: an IPv6 address needs brackets", remedy=FORMS)
    host, colon, port = text.partition(":")
    if not _HOST.fullmatch(host) or host.startswith("-"):
        raise UsageError(f"{shown!r} is not a {noun} address: no host in it", remedy=FORMS)
    return host.lower(), _parse_port(port, shown, noun) if colon else default_port


def _parse_port(text: str, shown: str, noun: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise UsageError(f"{shown!r} is not a {noun} address: the port must be 1 to 65535", remedy=FORMS)
    return int(text)


def _parse_path(text: str, shown: str, noun: str) -> str:
    if not text.startswith("/") or len(text) < 2 or "\0" in text:
        raise UsageError(f"{shown!r} is not a {noun} address: unix:// needs an absolute path", remedy=FORMS)
    return unquote(text)


def _parse_sentinels(place: str, shown: str, noun: str) -> tuple[tuple[tuple[str, int], ...], str]:
    hosts, _, service = place.partition("/")
    if not _SERVICE.fullmatch(service):
        raise UsageError(f"{shown!r} is not a {noun} address: it must end with /service", remedy=FORMS)
    asked = (parse_host_port(part, shown, noun=noun, default_port=SENTINEL_PORT) for part in hosts.split(","))
    return tuple(dict.fromkeys(asked)), service


def _without_db(place: str, shown: str, noun: str) -> str:
    address, slash, db = place.partition("/")
    if "?" in place or "#" in place:
        raise UsageError(f"{shown!r} is not a {noun} address: ? and # are not understood", remedy=FORMS)
    if slash and db not in ("", "0"):
        raise UsageError(
            f"{shown!r} names a db, but always all dbs of a server are meant",
            remedy="leave the db out; dbs are chosen when merging",
        )
    return address
