"""Servers are found by what they load, and always ended."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from realservers import ServerBinary, each_server

from rdbmerge.errors import UsageError
from rdbmerge.format.dialects import Dialect
from rdbmerge.verify.scratch import ScratchServer, Server, find_server, identify

RDB = [("redis", version) for version in (6, 9, 10, 11, 12, 14)] + [("valkey", 80)]


@each_server()
def test_what_a_server_loads_is_what_the_table_says(binary: ServerBinary) -> None:
    assert binary.path is not None
    server = identify(binary.path)
    assert server is not None
    assert (server.line, server.version[:2]) == (binary.flavour, binary.version[:2])
    for line, version in RDB:
        dialect = Dialect(line, version)
        # A header VALKEY is refused by every Redis, whatever its own version.
        expected = binary.can_load(dialect.magic) and (line == "redis" or binary.flavour == "valkey")
        assert server.loads(dialect) is expected


@each_server()
def test_a_named_server_is_taken_whatever_it_loads(binary: ServerBinary) -> None:
    server = find_server(Dialect("redis", 14), binary.path)
    assert server is not None
    assert server.path == binary.path


def test_what_is_no_server_is_refused() -> None:
    assert identify(Path("/nowhere")) is None
    with pytest.raises(UsageError, match="no Redis or Valkey server"):
        find_server(Dialect("redis", 6), Path(sys.executable))


def test_nobody_loads_a_version_that_does_not_exist() -> None:
    assert find_server(Dialect("redis", 99)) is None


def test_a_server_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    rdb = tmp_path / "x.rdb"
    rdb.write_bytes(b"x")
    with ScratchServer(Server(Path("/bin/false"), "redis", (7, 0, 0)), rdb, databases=16) as scratch:
        folder = scratch.socket.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert not scratch.wait_until_loaded(lambda: True)
        assert scratch.last_words() == "none"
    assert not folder.exists()
