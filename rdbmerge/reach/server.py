"""A server that we speak to: address, credentials, TLS, the SSH server on the way. What sources and targets share.

Refuses to know how a connection is made, and reads neither files nor the environment. A secret is in `password`
and nowhere else: not in `repr`, not in `address`, not in a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypedDict

from rdbmerge.errors import SourceError, TargetError, UsageError
from rdbmerge.reach.address import DEFAULT_PORT, FORMS, NAME, join_host_port, name_of, parse_address
from rdbmerge.reach.bastion import Bastion

if TYPE_CHECKING:
    from rdbmerge.reach.tunnels import Tunnel

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1"})
_SHOWN_BYTES = 200
_SHORTEST_SECRET = 4  # shorter ones are in ordinary words; replies to AUTH are cut before they can show one
_ECHO = re.compile(rb",? with args beginning with.*", re.DOTALL)


class ServerOptions(TypedDict, total=False):
    """What `Server.parse` takes besides the address; what the address says itself comes first."""

    name: str
    username: str | None
    password: str | None
    tls: bool
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_sni: str | None
    tls_verify: bool
    ssh: str | None
    ssh_config: str | None
    cluster: bool
    prefer_replica: bool
    sentinel_username: str | None
    sentinel_password: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a server was found that the user did not name, and what it is there."""

    by: Literal["sentinel", "cluster"]
    group: str  # the service, or the name of the cluster
    role: Literal["primary", "replica"]
    node_id: str = ""  # of the node, or of the primary of a replica; clusters only
    slots: str = ""  # `0-5460,5500`; clusters only


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server.

    Give `host` and `port`, or `unix_path`, or `sentinels` and `service`: `sentinel.find_primary` then gives host and
    port. With `cluster` it is any node of one. With `ssh` all are as the SSH server sees them. `name` is safe as a file
    name and by default derived from the address, a different one for each address. A `password` without `username` is
    the one of `requirepass` (all versions); with `username` it is an ACL user's (Redis 6.0 and later). Raises
    UsageError for what cannot be.
    """

    noun: ClassVar[str] = "target"  # what messages call it
    failure: ClassVar[type[SourceError | TargetError]] = TargetError  # what it is that it cannot be reached

    host: str = ""
    port: int = DEFAULT_PORT  # 1 to 65535
    unix_path: str | None = None  # a socket file; `host` is then empty
    sentinels: tuple[tuple[str, int], ...] = ()  # host and port of each
    service: str = ""  # what the sentinels call the primary and its replicas
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    cluster: bool = False
    prefer_replica: bool = False  # of what is found by sentinels or in a cluster
    found: Found | None = None  # how host and port were found
    name: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca: str | None = None  # PEM file; None: the system's authorities
    tls_cert: str | None = None  # PEM file with the client's certificate (and its key, if `tls_key` is None)
    tls_key: str | None = None
    tls_sni: str | None = None  # the name asked for and checked; None: `host`
    tls_verify: bool = True
    ssh: str | None = None  # the SSH server to go through (see Bastion); None: none
    ssh_config: str | None = None  # the configuration that `ssh` reads; None: the user's and the system's
    tunnel: Tunnel | None = field(default=None, repr=False, compare=False)  # from Tunnels.through; not the user's

    def __post_init__(self) -> None:
        if bool(self.host or self.sentinels) == bool(self.unix_path):
            raise UsageError(f"a {self.noun} needs a host or a unix socket, not both", remedy=FORMS)
        if bool(self.sentinels) != bool(self.service):
            raise UsageError(f"a {self.noun} needs sentinels and their service, or neither", remedy=FORMS)
        if not 1 <= self.port <= 65535:
            raise UsageError(f"port {self.port} is not within 1 to 65535", remedy=FORMS)
        if self.ssh:
            self.bastion  # noqa: B018 - refused here, if it cannot be
        if not self.name:
            object.__setattr__(self, "name", self._own_name)
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} cannot be the name of a {self.noun}",
                remedy="use at most 100 letters, digits, dots, dashes and underscores; it becomes a file name",
            )
        if self.username is not None and self.password is None:
            raise UsageError(
                f"{self.noun} {self.name}: a user name, but no password",
                remedy="give the password too (an empty one for a user with `nopass`)",
            )
        if self.service and self.cluster:
            raise UsageError(f"{self.noun} {self.name}: a cluster has no sentinels", remedy="name one of its nodes")
        self._check_tls()

    def _check_tls(self) -> None:
        if self.tls and self.unix_path:
            raise UsageError(f"{self.noun} {self.name}: no TLS over a unix socket", remedy="leave TLS out")
        if not self.tls and (self.tls_ca or self.tls_cert or self.tls_key or self.tls_sni):
            raise UsageError(
                f"{self.noun} {self.name}: TLS files are given, but TLS is off",
                remedy="write the address as rediss://...",
            )
        if self.tls_key and not self.tls_cert:
            raise UsageError(f"{self.noun} {self.name}: a TLS key without its certificate", remedy="give both")

    @classmethod
    def parse(cls, text: str, **options: Any) -> Self:
        """The server that `text` names (see `parse_address`); what `text` says comes before what `options` say.

        Raises UsageError for what is no address.
        """
        written = parse_address(text, noun=cls.noun)
        options |= {"host": written.host, "port": written.port, "unix_path": written.unix_path}
        options |= {"sentinels": written.sentinels, "service": written.service}
        options["tls"] = written.tls or options.get("tls", False)
        options["cluster"] = written.cluster or options.get("cluster", False)
        if written.has_user:
            # redis://:secret@host means the password of no user; redis://ann@host may take it from elsewhere.
            options["username"] = written.username
            if written.password is not None:
                options["password"] = written.password
        return cls(**options)

    @property
    def bastion(self) -> Bastion | None:
        """The SSH server on the way. Raises UsageError if it cannot be one."""
        return Bastion(self.ssh, self.ssh_config) if self.ssh else None

    @property
    def address(self) -> str:
        """For people, and without secrets: `10.0.0.1:6379`, `rediss://host:6380`, `unix:///path via ops@bastion`."""
        return f"{self._own_address}{f' via {self.ssh}' if self.ssh else ''}"

    @property
    def _own_address(self) -> str:
        if self.unix_path:
            return f"unix://{self.unix_path}"
        if self.service:
            hosts = ",".join(join_host_port(host, port) for host, port in self.sentinels)
            return f"redis{'s' if self.tls else ''}-sentinel://{hosts}/{self.service}"
        if self.cluster:
            return f"redis{'s' if self.tls else ''}-cluster://{join_host_port(self.host, self.port)}"
        return f"{'rediss://' if self.tls else ''}{join_host_port(self.host, self.port)}"

    @property
    def _own_name(self) -> str:
        if self.service:
            return self.service
        if self.cluster:
            return name_of(join_host_port(self.host, self.port))
        # Behind an SSH server most addresses tell enough; 127.0.0.1 is another machine behind each.
        return name_of(self.address if self.ssh and self._is_local else self._own_address)

    @property
    def _is_local(self) -> bool:
        return bool(self.unix_path) or self.host.lower() in _LOCAL

    @property
    def place(self) -> str:
        """How a message begins: the name, and the address where the name does not say it."""
        if self.service and self.host:
            return f"{self.name} ({join_host_port(self.host, self.port)} by {self.address})"
        return self.address if self.name == self._own_name else f"{self.name} ({self.address})"

    @property
    def host_key(self) -> str:
        """Equal for servers on one machine, as far as the address tells: two forks at once would share its memory."""
        host = "localhost" if self._is_local else self.host.lower() or self._own_address
        return f"{host} via {self.ssh}" if self.ssh else host


def show_bytes(data: bytes, *, server: Server) -> str:
    """What a server said, for people: secrets and echoed arguments out, escaped, at most 200 bytes."""
    # Redis 4.0 and later repeat the arguments of a command they do not know: for a renamed AUTH, the password.
    data = _ECHO.sub(b"", data)
    secret = (server.password or "").encode()
    if len(secret) >= _SHORTEST_SECRET:
        data = data.replace(secret, b"***")
    shown = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:_SHOWN_BYTES])
    return shown if len(data) <= _SHOWN_BYTES else f"{shown}... ({len(data):,} bytes)"
