"""Where a snapshot comes from: address, credentials, TLS, names of renamed commands.

Refuses to know how a connection is made, and reads neither files nor the environment. A secret is in `password`
and nowhere else: not in `repr`, not in `address`, not in a message.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TypedDict, Unpack
from urllib.parse import unquote

from rdbmerge.errors import UsageError

DEFAULT_PORT = 6379
_FORMS = "write it as host:port, [ipv6]:port, redis://user:password@host:port, rediss://... for TLS, or unix:///path"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HOST = re.compile(r"[^\s:/@?#\[\]\\]{1,253}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(?:%[\w.-]+)?")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1"})


class SourceOptions(TypedDict, total=False):
    """What `Source.parse` takes besides the address; what the address says itself comes first."""

    name: str
    username: str | None
    password: str | None
    tls: bool
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_sni: str | None
    tls_verify: bool
    sync_command: str
    psync_command: str
    replconf_command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One server that a snapshot is pulled from.

    Give `host` and `port`, or `unix_path`. `name` is safe as a file name and by default derived from the address, a
    different one for each address. A `password` without `username` is the one of `requirepass` (all versions); with
    `username` it is an ACL user's (Redis 6.0 and later). Raises UsageError for what cannot be.
    """

    host: str = ""
    port: int = DEFAULT_PORT  # 1 to 65535
    unix_path: str | None = None  # a socket file; `host` is then empty
    name: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca: str | None = None  # PEM file; None: the system's authorities
    tls_cert: str | None = None  # PEM file with the client's certificate (and its key, if `tls_key` is None)
    tls_key: str | None = None
    tls_sni: str | None = None  # the name asked for and checked; None: `host`
    tls_verify: bool = True
    sync_command: str = "SYNC"  # the three names that `rename-command` may have changed
    psync_command: str = "PSYNC"
    replconf_command: str = "REPLCONF"

    def __post_init__(self) -> None:
        if bool(self.host) == bool(self.unix_path):
            raise UsageError("a source needs a host or a unix socket, not both", remedy=_FORMS)
        if not 1 <= self.port <= 65535:
            raise UsageError(f"port {self.port} is not within 1 to 65535", remedy=_FORMS)
        if not self.name:
            object.__setattr__(self, "name", _name_of(self.address))
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} cannot be the name of a source",
                remedy="use at most 100 letters, digits, dots, dashes and underscores; it becomes a file name",
            )
        if self.username is not None and self.password is None:
            raise UsageError(
                f"source {self.name}: a user name, but no password",
                remedy="give the password too (an empty one for a user with `nopass`)",
            )
        self._check_tls()
        for command in (self.sync_command, self.psync_command, self.replconf_command):
            if not command or not command.isprintable() or " " in command:
                raise UsageError(f"{command!r} cannot be the name of a command", remedy="give the name as renamed")

    def _check_tls(self) -> None:
        if self.tls and self.unix_path:
            raise UsageError(f"source {self.name}: no TLS over a unix socket", remedy="leave TLS out")
        if not self.tls and (self.tls_ca or self.tls_cert or self.tls_key or self.tls_sni):
            raise UsageError(
                f"source {self.name}: TLS files are given, but TLS is off", remedy="write the address as rediss://..."
            )
        if self.tls_key and not self.tls_cert:
            raise UsageError(f"source {self.name}: a TLS key without its certificate", remedy="give both")

    @classmethod
    def parse(cls, text: str, **options: Unpack[SourceOptions]) -> Source:
        """The source that `text` names; user, password and TLS within `text` come before those in `options`.

        Accepts `host`, `host:port`, `[::1]:6379`, `redis://[user[:password]@]host[:port][/0]`, `rediss://...` and
        `unix://[user:password@]/path`, user and password percent-encoded. Raises UsageError for anything else; a
        db other than 0 is refused too, for a snapshot holds all of them.
        """
        body = text.strip()
        scheme, separator, rest = body.partition("://")
        shown = _without_secrets(body)
        if not separator:
            host, port = _parse_host_port(body, shown)
            return cls(host=host, port=port, **options)
        # The last @: a password may hold one that was not encoded.
        credentials, at, place = rest.rpartition("@")
        if at:
            user, colon, password = credentials.partition(":")
            if user:
                options["username"] = unquote(user)
            elif colon:
                options["username"] = None
            if colon:
                options["password"] = unquote(password)
        if scheme.lower() == "unix":
            return cls(unix_path=_parse_path(place, shown), **options)
        if scheme.lower() not in ("redis", "rediss"):
            raise UsageError(f"{shown!r} is not a source address: unknown scheme", remedy=_FORMS)
        if scheme.lower() == "rediss":
            options["tls"] = True
        host, port = _parse_host_port(_without_db(place, shown), shown)
        return cls(host=host, port=port, **options)

    @property
    def address(self) -> str:
        """For people, and without secrets: `10.0.0.1:6379`, `[::1]:6379`, `rediss://host:6380`, `unix:///path`."""
        if self.unix_path:
            return f"unix://{self.unix_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss://' if self.tls else ''}{host}:{self.port}"

    @property
    def place(self) -> str:
        """How a message begins: the name, and the address where the name does not say it."""
        return self.address if self.name == _name_of(self.address) else f"{self.name} ({self.address})"

    @property
    def host_key(self) -> str:
        """Equal for sources on one machine, as far as the address tells: two forks at once would share its memory."""
        return "localhost" if self.unix_path or self.host.lower() in _LOCAL else self.host.lower()


def _name_of(address: str) -> str:
    plain = address.removeprefix("rediss://")
    name = "-".join(plain.rsplit(":", 1)) if "://" not in plain else plain
    if _NAME.fullmatch(name):
        return name
    # Characters are lost here, so the fingerprint keeps two addresses apart.
    safe = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "source"
    return f"{safe}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def _without_secrets(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    _, at, place = (rest if separator else text).rpartition("@")
    if at:
        return f"{scheme if separator else ''}{separator}...@{place}"
    # redis://:secret, with the host forgotten: what looks like a port may be a password.
    return f"{scheme}://..." if separator and ":" in rest else text


def _parse_host_port(text: str, shown: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or not _IPV6.fullmatch(host) or ":" not in host or (tail and not tail.startswith(":")):
            raise UsageError(f"{shown!r} is not a source address: not [ipv6]:port", remedy=_FORMS)
        return host.lower(), _parse_port(tail.removeprefix(":"), shown) if tail else DEFAULT_PORT
    if text.count(":") > 1:
        raise UsageError(f"{shown!r} is not a source address: an IPv6 address needs brackets", remedy=_FORMS)
    host, colon, port = text.partition(":")
    if not _HOST.fullmatch(host) or host.startswith("-"):
        raise UsageError(f"{shown!r} is not a source address: no host in it", remedy=_FORMS)
    return host.lower(), _parse_port(port, shown) if colon else DEFAULT_PORT


def _parse_port(text: str, shown: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise UsageError(f"{shown!r} is not a source address: the port must be 1 to 65535", remedy=_FORMS)
    return int(text)


def _parse_path(text: str, shown: str) -> str:
    if not text.startswith("/") or len(text) < 2 or "\0" in text:
        raise UsageError(f"{shown!r} is not a source address: unix:// needs an absolute path", remedy=_FORMS)
    return unquote(text)


def _without_db(place: str, shown: str) -> str:
    address, slash, db = place.partition("/")
    if "?" in place or "#" in place:
        raise UsageError(f"{shown!r} is not a source address: ? and # are not understood", remedy=_FORMS)
    if slash and db not in ("", "0"):
        raise UsageError(
            f"{shown!r} names a db, but a snapshot always holds all dbs of a server",
            remedy="leave the db out, and choose dbs when merging",
        )
    return address
