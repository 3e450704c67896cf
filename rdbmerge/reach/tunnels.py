"""The ways through SSH servers: one connection for each SSH server, one Unix socket for each target behind it.

    with Tunnels(connect_timeout_s=10) as tunnels:
        server = tunnels.through(server)              # unchanged where it has no `ssh`
        opened = open_socket(server, timeout_s=10)    # goes through; TLS still checks the name of `server.host`

A way is opened when it is first dialled, and anew when it is dialled after its SSH connection died. When the block
ends, or this process does in whatever way, all of them are gone. Knows nothing of what passes through.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from rdbmerge.errors import StoppedError
from rdbmerge.reach.address import join_host_port
from rdbmerge.reach.bastion import Bastion
from rdbmerge.reach.server import Server
from rdbmerge.reach.ssh import SshMaster
from rdbmerge.reach.ssh_words import Said

_TRY_AGAIN_S = 30.0  # an SSH server that could not be reached is not asked for every target behind it

AnyServer = TypeVar("AnyServer", bound=Server)


class Tunnels:
    """All tunnels of one piece of work; use as a context manager. Thread-safe."""

    def __init__(self, *, connect_timeout_s: float) -> None:
        """`connect_timeout_s`: for the TCP connection to an SSH server."""
        self._connect_timeout_s = connect_timeout_s
        self._lock = threading.RLock()
        self._ways: dict[Bastion, _Way] = {}
        self._tunnels: dict[tuple[Bastion, str], Tunnel] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for way in self._ways.values():
            way.close()

    def through(self, server: AnyServer) -> AnyServer:
        """`server` with the tunnel that it is to be dialled through; itself if it has no `ssh`, or a tunnel already."""
        bastion = server.bastion
        if bastion is None or server.tunnel is not None or (server.service and not server.host):
            return server  # sentinels have tunnels of their own, and so has the primary, once it is found
        target = server.unix_path or join_host_port(server.host, server.port)
        with self._lock:
            if (bastion, target) not in self._tunnels:
                self._tunnels[bastion, target] = Tunnel(self._way(bastion), target)
            return replace(server, tunnel=self._tunnels[bastion, target])

    def _way(self, bastion: Bastion) -> _Way:
        with self._lock:
            if bastion not in self._ways:
                self._ways[bastion] = _Way(bastion, self._connect_timeout_s)
            return self._ways[bastion]

    def log_in(self, servers: Iterable[Server], *, stop: threading.Event | None = None) -> None:
        """Make the SSH connections that `servers` need, one after the other; ssh may ask for passwords meanwhile.

        What fails is told when a server behind it is dialled. Without this ssh never asks.
        """
        for bastion in dict.fromkeys(server.bastion for server in servers):
            if bastion is not None:
                self._way(bastion).master(stop, ask=True)


class Tunnel:
    """The way to one target."""

    def __init__(self, way: _Way, target: str) -> None:
        self._way = way
        self._target = target
        self._lock = threading.Lock()
        self._master: SshMaster | None = None
        self._path = ""

    def open(self, server: Server, stop: threading.Event | None) -> str:
        """The socket to dial for `server`. Raises the server's failure, and StoppedError."""
        with self._lock:
            master = self._way.master(stop)
            if stop is not None and stop.is_set():
                raise StoppedError(f"{server.place}: stopped")
            if isinstance(master, Said):
                raise server.failure(f"{server.place}: {master.finding}", remedy=master.remedy)
            if master is not self._master:
                path = master.forward(self._target)
                if isinstance(path, Said):
                    raise server.failure(f"{server.place}: {path.finding}", remedy=path.remedy)
                self._master, self._path = master, path
            master.forget_refusal(self._path)
            return self._path

    def explain(self) -> Said | None:
        """Why a connection through here ended, if ssh knows; waits up to half a second for it to say so."""
        return self._master.explain(self._path) if self._master else None


class _Way:
    """The connection to one SSH server, made anew when it has died."""

    def __init__(self, bastion: Bastion, connect_timeout_s: float) -> None:
        self._bastion = bastion
        self._connect_timeout_s = connect_timeout_s
        self._lock = threading.Lock()
        self._master: SshMaster | None = None
        self._failure: Said | None = None
        self._failed_at_s = 0.0
        self._closed = False

    def master(self, stop: threading.Event | None, *, ask: bool = False) -> SshMaster | Said:
        """The connection, or why there is none. With `stop` set it may be of no use."""
        with self._lock:
            if self._master and self._master.alive and not self._closed:
                return self._master
            if self._failure and time.monotonic() < self._failed_at_s + _TRY_AGAIN_S:
                return self._failure
            if self._closed:
                return Said("the tunnels are closed", "")
            if self._master:
                self._master.close()
            self._master = SshMaster(self._bastion, connect_timeout_s=self._connect_timeout_s, ask=ask)
            self._failure = self._master.start(stop)
            self._failed_at_s = time.monotonic()
            if self._failure:
                self._master.close()
                return self._failure
            return self._master

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._master:
                self._master.close()
