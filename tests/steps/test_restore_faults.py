"""Restores that something befalls: the same data is there in the end, and the ledger closes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from clusters import RunningCluster, command, running_cluster, until
from fakes.proxy import HostileProxy
from rdbbytes import entry, expiry, rdb, record, select, string
from realservers import HOST, RunningServer, ServerBinary, each_server, need, running
from restoring import now_ms, restored
from truth import Truth, diff, read_live

from rdbmerge.errors import TargetError, UsageError
from rdbmerge.plan.model import Rules

pytestmark = pytest.mark.once

HOUR = 3_600_000


def many(folder: Path, count: int, *, dbs: int = 1, version: int = 9, expiring: bool = True) -> Path:
    """So many keys of several types in each db, some of which expire in an hour or later."""
    path, at_ms = folder / "many.rdb", now_ms() + HOUR
    body = []
    for db in range(dbs):
        body.append(select(db))
        for number in range(count):
            key = b"k%d" % number
            if number % 5 == 0:
                body.append(record(1, key, b"\x02" + string(b"one") + string(b"%d" % number)))
            elif number % 5 == 1:
                body.append(record(4, key, b"\x01" + string(b"f") + string(b"%d" % number)))
            elif number % 3 == 0 and expiring:
                body.append(record(0, key, string(b"%d" % number), attributes=expiry(at_ms + number)))
            else:
                body.append(entry(key, b"%d" % number))
    path.write_bytes(rdb(version, *body))
    return path


def on_restore(action: Callable[[], Any]) -> Callable[[Any], None]:
    """Do something once, when a part of the restore is done."""
    done = threading.Event()

    def tell(status: Any) -> None:
        if status.phase == "restore" and status.done_bytes and not done.is_set():
            done.set()
            action()

    return tell


def holds(server: RunningServer, path: Path) -> None:
    """The server holds what a server that loads the file holds."""
    with running(server.binary, rdb=path) as loaded:
        tolerance_ms = 3_000 if server.binary.version < (5,) else 5
        assert not list(diff(read_live(loaded), read_live(server), tolerance_ms=tolerance_ms))


def start_again(server: RunningServer, *, rdb_too: bool) -> None:
    """Kill it and start it at the same port: empty, or with what it saved last."""
    server.process.kill()
    server.process.wait(10)
    if not rdb_too:
        (server.dir / "dump.rdb").unlink(missing_ok=True)
    arguments = list(server.process.args)  # type: ignore[arg-type]
    with (server.dir / "server.log").open("ab") as log:
        server.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=server.dir)


@each_server(lambda binary: binary.name in ("redis-2.8", "redis-7.0", "valkey-9.1"))
@pytest.mark.parametrize("remembers", [False, True])
def test_a_target_that_is_killed_and_started_again_holds_everything(
    binary: ServerBinary, remembers: bool, tmp_path: Path
) -> None:
    path = many(tmp_path, 3_000, dbs=4, version=6)
    with running(binary) as server:

        def kill() -> None:
            if remembers:
                server.save()
            start_again(server, rdb_too=remembers)

        report = restored(server, path, progress=on_restore(kill))
        assert (report.restored, report.begun_anew) == (12_000, 1)
        assert report.ledger.total().skipped == 0
        holds(server, path)


def test_a_target_that_stays_away_stops_it_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path = many(tmp_path, 2_000, dbs=4)
    with running(need("redis-7.0")) as server:

        def kill() -> None:
            server.process.kill()
            server.process.wait(10)

        with pytest.raises(TargetError, match="in vain") as caught:
            restored(server, path, retry_for_s=1, progress=on_restore(kill))
        assert "same command" in caught.value.remedy
        start_again(server, rdb_too=False)
        until(lambda: _answers(server), "it is there again")
        report = restored(server, path)
        assert (report.restored, report.resumed) == (8_000, True)
        holds(server, path)


def _answers(server: RunningServer) -> bool:
    with suppress(redis.RedisError), server.client() as client:
        return bool(client.ping())
    return False


@pytest.mark.parametrize("on_busy", ["fail", "skip", "replace"])
@pytest.mark.parametrize("seed", range(3))
def test_connections_that_are_cut_anywhere_lose_and_double_nothing(on_busy: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    path = many(tmp_path, 3_000, dbs=2)
    with (
        running(need("redis-7.0")) as server,
        HostileProxy(server.port, cut_after=chance.randrange(8_000, 14_000), reset=chance.random() < 0.5) as proxy,
    ):
        report = restored(f"redis://{HOST}:{proxy.port}", path, on_busy=on_busy, connections=chance.choice([1, 3]))
        assert (report.restored, report.ledger.total().skipped, report.begun_anew) == (6_000, 0, 0)
        holds(server, path)


@pytest.mark.parametrize("name", ["redis-2.8", "valkey-9.1"])
def test_cuts_do_no_harm_to_other_servers(name: str, tmp_path: Path) -> None:
    path = many(tmp_path, 4_000, version=6)
    with running(need(name)) as server, HostileProxy(server.port, cut_after=12_000) as proxy:
        report = restored(f"redis://{HOST}:{proxy.port}", path, on_busy="fail")
        assert report.restored == 4_000
        holds(server, path)


def test_a_key_that_clients_change_meanwhile_is_theirs(tmp_path: Path) -> None:
    """It came with us, was changed, and its answer was lost: with skip the change stays, with fail it is told."""
    path = many(tmp_path, 6_000)
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.set("k5999", "of a client")
        with HostileProxy(server.port, cut_after=9_000) as proxy:
            url = f"redis://{HOST}:{proxy.port}"
            with pytest.raises(TargetError, match=r"holds \"k5999\""):
                restored(url, path, on_busy="fail", connections=1)
            report = restored(url, path, on_busy="skip", connections=1)
        assert (report.restored, report.ledger.total().skipped) == (5_999, 1)
        with server.client() as client:
            assert client.get("k5999") == b"of a client"


@pytest.mark.parametrize("on_busy", ["fail", "replace"])
def test_a_restore_that_is_killed_again_and_again_ends_with_the_same_data(on_busy: str, tmp_path: Path) -> None:
    path = many(tmp_path, 3_000, dbs=6)
    with running(need("redis-7.0")) as server:
        words = [
            sys.executable, "-m", "rdbmerge", "restore", str(path), server.url, "--on-busy", on_busy, "--max-bandwidth",
            "1M", "--connections", "2", "-q",
        ]  # fmt: skip
        chance, killed, status = random.Random(on_busy), 0, None
        while status != 0:
            before = sum(server.counts().values())
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            while process.poll() is None and sum(server.counts().values()) == before:
                time.sleep(0.01)
            time.sleep(chance.random() * 0.2)
            process.kill()
            _, said = process.communicate()
            status = process.returncode
            assert status in (0, -signal.SIGKILL), said.decode()
            killed += status != 0
        assert killed >= 2
        holds(server, path)


# --- clusters -----------------------------------------------------------------------------------------------------


def in_cluster(cluster: RunningCluster, path: Path) -> None:
    """The primaries together hold what a server that loads the file holds, each key once."""
    with running(cluster.primaries[0].binary, rdb=path) as loaded:
        expected = read_live(loaded)
    held = Truth()
    for node in cluster.primaries:
        entries = read_live(node, dbs=[0]).entries
        assert not entries.keys() & held.entries.keys()
        held.entries.update(entries)
    assert not list(diff(expected, held, tolerance_ms=50))  # MIGRATE tells times to live


@each_server(lambda binary: binary.name in ("redis-7.0", "valkey-9.1"))
def test_a_cluster_gets_every_key_where_it_belongs(binary: ServerBinary, tmp_path: Path) -> None:
    path = many(tmp_path, 5_000)
    with running_cluster(binary) as cluster:
        report = restored(cluster.primaries[1].url, path)
        assert (report.restored, report.primaries) == (5_000, 3)
        in_cluster(cluster, path)
        with pytest.raises(UsageError, match="5,000 keys in db 0"):
            restored(cluster.primaries[2].url, path)
        assert restored(cluster.primaries[0].url, path, on_busy="skip").ledger.total().skipped == 5_000


def test_other_dbs_have_no_place_in_a_cluster(tmp_path: Path) -> None:
    path = many(tmp_path, 10, dbs=2)
    with running_cluster(need("redis-7.0")) as cluster:
        with pytest.raises(UsageError, match="db 1 is not to be had") as caught:
            restored(cluster.primaries[0].url, path)
        assert "--db-map 1:0" in caught.value.remedy


def move_slots(cluster: RunningCluster, slots: range, stop: threading.Event) -> None:
    """From the first primary to the last, each key by MIGRATE, as `redis-cli --cluster reshard` does."""
    source, target = cluster.primaries[0], cluster.primaries[2]
    ids = [cluster.node_id(source), cluster.node_id(target)]
    for slot in slots:
        if stop.is_set():
            return
        command(target, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[0])
        command(source, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[1])
        time.sleep(0.002)
        with source.client(raw=True) as client:
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                client.execute_command("MIGRATE", HOST, target.port, "", 0, 5_000, "KEYS", *keys)
        for node in (target, source, cluster.primaries[1]):
            command(node, "CLUSTER", "SETSLOT", str(slot), "NODE", ids[1])


@pytest.mark.parametrize("on_busy", ["fail", "replace"])
def test_slots_that_move_meanwhile_take_their_keys_along(on_busy: str, tmp_path: Path) -> None:
    path = many(tmp_path, 15_000)
    with running_cluster(need("redis-7.0")) as cluster:
        ended = threading.Event()
        mover = threading.Thread(target=move_slots, args=(cluster, range(150), ended))
        mover.start()
        try:
            report = restored(cluster.primaries[0].url, path, on_busy=on_busy, max_bytes_per_s=2_000_000)
        finally:
            ended.set()
            mover.join()
        assert (report.restored, report.ledger.total().skipped) == (15_000, 0)
        in_cluster(cluster, path)


def test_a_primary_that_dies_is_waited_for_until_its_replica_takes_over(tmp_path: Path) -> None:
    path = many(tmp_path, 12_000)
    with running_cluster(need("redis-7.0"), replicas=1) as cluster:
        killer = threading.Timer(0.5, lambda: (cluster.primaries[2].process.kill(), None))
        killer.start()
        report = restored(
            cluster.primaries[0].url, path, on_busy="fail", max_bytes_per_s=400_000, retry_for_s=40, timeout_s=10
        )
        killer.join()
        assert (report.restored, report.begun_anew) == (12_000, 1)
        alive = replace(cluster, primaries=[*cluster.primaries[:2], cluster.replicas[2]], replicas=[])
        until(lambda: b"master" in str(command(alive.primaries[2], "ROLE")).encode(), "the replica took over")
        in_cluster(alive, path)


def test_rules_do_not_change_on_the_way(tmp_path: Path) -> None:
    """A prefix moves keys to other slots."""
    path = many(tmp_path, 2_000)
    with running_cluster(need("redis-7.0")) as cluster:
        report = restored(cluster.primaries[0].url, path, rules=Rules(key_prefix=b"{tag}:"))
        assert report.restored == 2_000
        counts = sorted(sum(node.counts().values()) for node in cluster.primaries)
        assert counts == [0, 0, 2_000]
