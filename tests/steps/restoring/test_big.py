"""Values that are too large for one command arrive item by item, and appear whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clusters import running_cluster
from fakes.proxy import HostileProxy
from rdbbytes import entry, expiry, length, rdb, record, select, string, strings
from realservers import HOST, RunningServer, ServerBinary, each_server, need, running
from restoring import now_ms, restored
from truth import diff, read_live

from rdbmerge.errors import TargetError
from rdbmerge.plan.model import Rules
from rdbmerge.steps.restoring.big import _part_key

pytestmark = pytest.mark.once

HOUR = 3_600_000


def big(folder: Path, *, at_ms: int, version: int = 8) -> Path:
    """A large value of each old type, some with an expiry, and a small one."""
    items = [b"item %d" % number for number in range(4_000)]
    path = folder / "big.rdb"
    hash_ = length(2_000) + b"".join(string(b"f%d" % number) + string(b"v" * 9) for number in range(2_000))
    scores = length(999) + b"".join(string(b"m%d" % number) + b"\x0510%03d" % number for number in range(999))
    path.write_bytes(
        rdb(
            version,
            select(0),
            record(1, b"list", strings(items), attributes=expiry(at_ms)),
            record(2, b"set", strings(items)),
            record(4, b"hash", hash_),
            record(3, b"zset", scores, attributes=expiry(at_ms + 5)),
            record(0, b"string", string(b"x" * 40_000)),
            entry(b"small"),
        )
    )
    return path


def as_loaded(server: RunningServer, path: Path, tolerance_ms: int = 5) -> list[str]:
    with running(server.binary, rdb=path) as loaded:
        return list(diff(read_live(loaded), read_live(server), tolerance_ms=tolerance_ms))


@each_server()
@pytest.mark.parametrize("on_busy", ["fail", "replace"])
def test_large_values_are_the_same_as_if_they_came_whole(binary: ServerBinary, on_busy: Any, tmp_path: Path) -> None:
    path = big(tmp_path, at_ms=now_ms() + HOUR, version=6)
    with running(binary) as server:
        report = restored(server, path, big_bytes=10_000, on_busy=on_busy)
        assert (report.restored, report.refused) == (6, 0)
        assert not as_loaded(server, path, 50)


@pytest.mark.parametrize(("on_busy", "left"), [("skip", True), ("replace", False)])
def test_a_large_value_leaves_or_replaces_what_is_there(on_busy: Any, left: bool, tmp_path: Path) -> None:
    path = big(tmp_path, at_ms=now_ms() + HOUR)
    with running(need("redis-7.0")) as server, server.client() as client:
        client.set("list", "other")
        with pytest.raises(TargetError, match=r"holds \"list\" of db 0 already"):
            restored(server, path, big_bytes=10_000, on_busy="fail")
        report = restored(server, path, big_bytes=10_000, on_busy=on_busy)
        assert report.ledger.total().skipped == int(left)
        assert (client.type("list") == b"string") is left
        assert client.dbsize() == 6, "no part of it is left"


def test_a_large_value_that_is_dead_by_now_is_not_sent(tmp_path: Path) -> None:
    path = big(tmp_path, at_ms=now_ms() - HOUR)
    with running(need("redis-7.0")) as server:
        report = restored(server, path, big_bytes=10_000, rules=Rules(snapshot_at_ms=now_ms() - 2 * HOUR))
        assert (report.restored, report.expired_meanwhile) == (4, 2)
        assert server.counts() == {0: 4}


@pytest.mark.parametrize("on_busy", ["fail", "replace"])
def test_cut_connections_begin_a_large_value_again(on_busy: Any, tmp_path: Path) -> None:
    path = big(tmp_path, at_ms=now_ms() + HOUR)
    with running(need("redis-7.0")) as server, HostileProxy(server.port, cut_after=6_300) as proxy:
        report = restored(f"redis://{HOST}:{proxy.port}", path, big_bytes=10_000, on_busy=on_busy, connections=1)
        assert (report.restored, report.ledger.total().skipped) == (6, 0)
        assert not as_loaded(server, path)


def test_in_a_cluster_a_value_grows_in_the_slot_of_its_key(tmp_path: Path) -> None:
    path = big(tmp_path, at_ms=now_ms() + HOUR)
    with running_cluster(need("redis-7.0")) as cluster:
        report = restored(cluster.primaries[0].url, path, big_bytes=10_000)
        assert report.restored == 6
        assert sum(sum(node.counts().values()) for node in cluster.primaries) == 6


def test_the_name_of_a_part_depends_on_its_key_alone() -> None:
    from rdbmerge.format.core import slot_of

    keys = [b"a", b"{x}y", b"a}b{", b"", b"{}z"]
    for key in keys:
        assert _part_key(key, in_slot=True) == _part_key(key, in_slot=True)
        assert slot_of(_part_key(key, in_slot=True)) == slot_of(key)
    assert len({_part_key(key, in_slot=False) for key in keys}) == len(keys)


def test_what_no_command_can_make_is_rejected_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    with running(need("redis-7.0"), config={"proto-max-bulk-len": "1mb"}) as server:
        with server.client() as client:
            client.config_set("proto-max-bulk-len", 1 << 20)
        path.write_bytes(rdb(9, select(0), record(0, b"long", string(b"x" * (1 << 20))), entry(b"k")))
        report = restored(server, path)
        assert (report.restored, report.refused) == (2, 0), "a string that the limit allows arrives in pieces"
        with server.client() as client:
            assert client.strlen("long") == 1 << 20
            client.flushall()
        path.write_bytes(rdb(9, select(0), record(0, b"long", string(b"x" * (1 << 20) + b"y")), entry(b"k")))
        report = restored(server, path, force=True)
        assert (report.restored, report.refused) == (1, 1)
        assert "exceeds maximum allowed size" in Path(report.rejected_file or "").read_text()
        assert server.counts() == {0: 1}
