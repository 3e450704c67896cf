"""One batch: rows of any kind get the fate that they deserve, each exactly one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rdbbytes import entry, idle, rdb, record, select, string
from realservers import need, running
from restoring import restored

from rdbmerge.errors import TargetError
from rdbmerge.plan.model import Rules

pytestmark = pytest.mark.once

MODULE = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x02\x05\x00"  # "vectorset", one number


def test_values_of_modules_that_would_end_the_server_are_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), entry(b"a"), record(7, b"m", MODULE), entry(b"b")))
    with running(need("redis-5.0")) as server:
        report = restored(server, path)
        assert server.counts() == {0: 2}
        assert server.process.poll() is None
    assert (report.restored, report.refused) == (2, 1)
    (line,) = map(json.loads, Path(report.rejected_file or "").read_text().splitlines())
    assert line["why"] == "rdbmerge: module vectorset is not loaded; a server of this version would crash"
    assert (line["key"], line["db"], line["type"], line["source"]) == ('"m"', 0, "module_2", "a.rdb")


def test_a_server_that_can_say_no_to_a_module_says_it(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), entry(b"a"), record(7, b"m", MODULE), entry(b"b")))
    with running(need("redis-7.0")) as server:
        report = restored(server, path)
    assert (report.restored, report.refused) == (2, 1)
    assert "Bad data format" in Path(report.rejected_file or "").read_text()


def test_rights_that_are_missing_end_it_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), entry(b"a")))
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "ann", "on", ">Secret-1", "~*", "+@all", "-restore")
        url = server.url.replace("redis://", "redis://ann:Secret-1@")
        with pytest.raises(TargetError, match="refused") as caught:
            restored(url, path)
        assert "+restore" in caught.value.remedy
        with server.client() as client:
            client.execute_command(
                "ACL", "SETUSER", "ann", "resetkeys", "~*", "nocommands", "+restore", "+info", "+time", "+ping"
            )
        report = restored(url, path)
        assert report.restored == 1


def test_idle_times_come_along_where_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), record(0, b"k", string(b"v"), attributes=idle(5_000))))
    with running(need("redis-7.0"), config={"maxmemory-policy": "allkeys-lru", "maxmemory": "1gb"}) as server:
        restored(server, path)
        with server.client() as client:
            assert client.object("idletime", "k") >= 5_000
    with running(need("redis-3.2")) as server:
        assert restored(server, path, rules=Rules()).restored == 1
