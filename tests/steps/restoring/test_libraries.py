"""Function libraries go to every primary, and are left or replaced as keys are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clusters import running_cluster
from rdbbytes import entry, function, rdb, select
from realservers import RunningServer, ServerBinary, each_server, need, running
from restoring import restored

from rdbmerge.errors import TargetError

pytestmark = pytest.mark.once


def code(answer: int) -> bytes:
    return b"#!lua name=lib\nredis.register_function('answer', function() return %d end)" % answer


def file(folder: Path) -> Path:
    path = folder / "a.rdb"
    if not path.exists():
        path.write_bytes(rdb(10, function(code(42)), select(0), entry(b"k")))
    return path


def answer(server: RunningServer) -> Any:
    with server.client(raw=True) as client:
        return client.execute_command("FCALL", "answer", 0)


@each_server(lambda binary: binary.version >= (7,))
def test_a_library_is_there_then(binary: ServerBinary, tmp_path: Path) -> None:
    with running(binary) as server:
        report = restored(server, file(tmp_path))
        assert answer(server) == 42
        assert (report.libraries, report.libraries_left_out) == (["lib"], [])
        assert restored(server, file(tmp_path), on_busy="skip").libraries_left_out == [], "it is the very same"


@pytest.mark.parametrize(("on_busy", "found", "left_out"), [("skip", 7, ["lib"]), ("replace", 42, [])])
def test_another_one_of_its_name_is_left_or_replaced(
    on_busy: Any, found: int, left_out: list[str], tmp_path: Path
) -> None:
    with running(need("redis-7.0")) as server:
        with server.client(raw=True) as client:
            client.execute_command("FUNCTION", "LOAD", code(7))
        with pytest.raises(TargetError, match="other function libraries of these names: lib"):
            restored(server, file(tmp_path), on_busy="fail")
        assert server.counts() == {}, "functions come before any key"
        report = restored(server, file(tmp_path), on_busy=on_busy)
        assert (answer(server), report.libraries_left_out) == (found, left_out)


def test_every_primary_of_a_cluster_gets_it(tmp_path: Path) -> None:
    with running_cluster(need("redis-7.0")) as cluster:
        restored(cluster.primaries[0].url, file(tmp_path))
        for node in cluster.primaries:
            with node.client(raw=True) as client:
                assert len(client.execute_command("FUNCTION", "LIST")) == 1


def test_a_name_of_a_function_that_another_library_has_is_told(tmp_path: Path) -> None:
    with running(need("redis-7.0")) as server:
        with server.client(raw=True) as client:
            client.execute_command("FUNCTION", "LOAD", code(7).replace(b"name=lib", b"name=other"))
        with pytest.raises(TargetError, match="refused the function libraries"):
            restored(server, file(tmp_path), on_busy="replace")
