"""Sources that forbid SYNC are pulled key by key: the same data, and honest words about what it is."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import running_cluster
from fakes.primary import FakePrimary, bulk
from fakes.proxy import HostileProxy
from filling import seed
from realservers import RunningServer, ServerBinary, each_server, need, running

from rdbmerge.errors import SourceError, StoppedError
from rdbmerge.format.columns import Columns
from rdbmerge.format.digest import Digest, Digester, Reading
from rdbmerge.replication.limits import PullLimits
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.pull import PullReport, pull

pytestmark = pytest.mark.once

FORBIDDEN = ("SYNC", "PSYNC", "CONFIG", "DEBUG", "KEYS", "BGSAVE")
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
QUICK = PullLimits(connect_timeout_s=5, reply_timeout_s=5, retry_for_s=0)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def managed(binary: ServerBinary, config: Mapping[str, str] | None = None) -> Iterator[RunningServer]:
    """A server without what managed services forbid."""
    args = [word for name in FORBIDDEN for word in ("--rename-command", name, "")]
    with running(binary, config=config, args=args) as server:
        yield server


def scan(server: RunningServer | int, folder: Path, limits: PullLimits = QUICK, **options: Any) -> PullReport:
    port = server if isinstance(server, int) else server.port
    stop = options.pop("stop", None)
    source = Source(host="127.0.0.1", port=port, name="a", **options)
    return pull([source], folder, jobs=1, now_ms=now_ms, limits=limits, via="scan", force=True, stop=stop)


def manifest_of(report: PullReport) -> Manifest:
    assert report.exit_code == 0, report.sources[0].error
    assert report.sources[0].manifest is not None
    return report.sources[0].manifest


def digests(path: Path) -> dict[int, Digest]:
    found: dict[int, Digest] = {}
    with Segment(path) as segment:
        reading = Reading(dialect=segment.dialect)
        digester = Digester(segment.view, reading, reading.meaning_table(), segment.templates)
        for batch in segment.walk():
            if isinstance(batch, Columns):
                some = digester.digest(batch, np.zeros(batch.rows, np.uint8))
                found[batch.db] = found.get(batch.db, Digest()) + some
    return found


def keys_of(path: Path) -> dict[bytes, int]:
    """Key -> expiry."""
    with Segment(path) as segment:
        return {
            batch.key(segment.view, row): int(batch.expire_at_ms[row])
            for batch in segment.walk() if isinstance(batch, Columns) for row in range(batch.rows)
        }  # fmt: skip


@each_server()
def test_what_scan_gives_is_what_replication_gives(binary: ServerBinary, tmp_path: Path) -> None:
    """Every db, type and value; expiries exactly where the server tells them, else no later and by a page earlier."""
    with running(binary) as server:
        seed(server.client, keys=3_000, prefix="1:")
        source = Source(host="127.0.0.1", port=server.port, name="b")
        pulled = manifest_of(pull([source], tmp_path, jobs=1, now_ms=now_ms))
        scanned = manifest_of(scan(server, tmp_path))
    assert scanned.keys_in_file == pulled.keys_in_file
    assert set(scanned.keys_in_file) == {0, 1, 5}
    assert scanned.magic == pulled.magic
    if binary.version >= (7, 0):
        assert digests(tmp_path / "a.rdb") == digests(tmp_path / "b.rdb")
    else:
        mine, theirs = keys_of(tmp_path / "a.rdb"), keys_of(tmp_path / "b.rdb")
        assert mine.keys() == theirs.keys()
        assert all(0 <= theirs[key] - mine[key] < 1_000 for key in mine if theirs[key] > 0)
        assert all((theirs[key] < 0) == (mine[key] < 0) for key in mine)


@each_server()
def test_where_sync_is_forbidden_scan_is_not(binary: ServerBinary, tmp_path: Path) -> None:
    with managed(binary) as server:
        with server.client() as client:
            client.set("a", "1")
            client.set("short", "1", px=500_000)
        source = Source(host="127.0.0.1", port=server.port, name="a")
        refused = pull([source], tmp_path, jobs=1, now_ms=now_ms, limits=QUICK).sources[0]
        assert refused.outcome == "failed"
        assert "unknown command" in refused.error
        manifest = manifest_of(scan(server, tmp_path))
    assert manifest.pulled is not None
    assert (manifest.pulled.via, manifest.pulled.command, manifest.pulled.framing) == ("scan", "SCAN", "scan")
    assert manifest.keys_in_file == {0: 2}
    assert manifest.pulled.written == "quiet"
    assert manifest.pulled.warnings == []
    assert manifest.pulled.snapshot_at_from == "the source's clock when the first key was asked for"


def test_it_loads_again_with_its_functions_and_expiries_of_fields(tmp_path: Path) -> None:
    for name in ("redis-8.2", "valkey-9.1"):
        with managed(need(name)) as server, server.client() as client:
            client.function_load(LIBRARY)
            client.hset("h", mapping={"f": "1", "g": "2"})
            client.execute_command("HPEXPIREAT", "h", now_ms() + 10**9, "FIELDS", 1, "f")
            fields = client.execute_command("HPEXPIRETIME", "h", "FIELDS", 2, "f", "g")
            client.xadd("s", {"a": "b"})
            client.xgroup_create("s", "group", 0)
            manifest_of(scan(server, tmp_path))
        with running(need(name), rdb=tmp_path / "a.rdb") as again, again.client() as client:
            assert len(client.function_list()) == 1
            assert client.execute_command("HPEXPIRETIME", "h", "FIELDS", 2, "f", "g") == fields
            assert client.xinfo_groups("s")[0]["name"] == b"group"


def test_binary_and_huge_keys_and_values(tmp_path: Path) -> None:
    huge = b"\x00\xff\r\n" * (25 << 18)
    with managed(need("redis-7.0")) as server, server.client() as client:
        client.set(b"\x00\r\n\xff", b"$-1\r\n")
        client.set(b"k" * 70_000, b"long key")
        client.set(b"", b"empty key")
        client.set("huge", huge)
        client.mset({f"small:{number}": "x" for number in range(5_000)})
        assert manifest_of(scan(server, tmp_path)).keys_in_file == {0: 5_004}
    with running(need("redis-7.0"), rdb=tmp_path / "a.rdb") as again, again.client() as client:
        assert client.get("huge") == huge
        assert client.get(b"\x00\r\n\xff") == b"$-1\r\n"


def test_a_cluster_is_pulled_key_by_key_node_by_node(tmp_path: Path) -> None:
    with running_cluster(need("redis-7.0")) as cluster:
        cluster.fill(300)
        source = Source(host="127.0.0.1", port=cluster.primaries[0].port, name="c", cluster=True)
        report = pull([source], tmp_path, jobs=3, now_ms=now_ms, limits=QUICK, via="scan")
        assert report.exit_code == 0, report.sources
        manifests = [one.manifest for one in report.sources if one.manifest is not None]
        assert [one.pulled.via for one in manifests if one.pulled] == ["scan"] * 3
        assert sum(one.keys_in_file[0] for one in manifests) == 300


def test_an_empty_source_is_a_file_without_keys(tmp_path: Path) -> None:
    with managed(need("redis-6.2")) as server:
        manifest = manifest_of(scan(server, tmp_path))
    assert (manifest.keys_in_file, manifest.magic) == ({}, "REDIS0006")


def test_keys_that_grow_shrink_expire_and_vanish_meanwhile_end_in_a_file_that_loads(tmp_path: Path) -> None:
    """Tables are rehashed under the scan, so that keys come again; the file holds each once, and says so."""
    stop = threading.Event()
    with managed(need("redis-7.0")) as server:
        seed(server.client, keys=20_000, prefix="1:")

        def write() -> None:
            with server.client() as client:
                for number in itertools.count():
                    if stop.is_set():
                        return
                    pipe = client.pipeline(transaction=False)
                    for one in range(200):
                        pipe.set(f"new:{number}:{one}", "x", px=1 + one)
                        pipe.set(f"more:{number}:{one}", "y")
                        pipe.delete(f"more:{number - 5}:{one}")
                    pipe.execute()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            report = scan(server, tmp_path)
        finally:
            stop.set()
            writer.join()
    manifest = manifest_of(report)
    assert manifest.pulled is not None
    assert manifest.pulled.written == "written"
    assert any("no snapshot of one moment" in warning for warning in report.sources[0].warnings)
    seeded = [key for key in keys_of(tmp_path / "a.rdb") if key.startswith(b"1:")]
    assert len(seeded) >= 19_900  # all that was there all the time
    with running(need("redis-7.0"), rdb=tmp_path / "a.rdb") as again:
        assert sum(again.counts().values()) > 19_900


def test_a_user_who_may_do_next_to_nothing_may_be_enough(tmp_path: Path) -> None:
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.set("a", "1")
            client.execute_command("SELECT", 3)
        with server.client(db=3) as client:
            client.set("b", "2")
            rights = ("+scan", "+dump", "+pttl", "+time", "+select")
            client.execute_command("ACL", "SETUSER", "ann", "on", ">secret-word", "~*", *rights)
        report = scan(server, tmp_path, username="ann", password="secret-word")
    manifest = manifest_of(report)
    assert manifest.keys_in_file == {0: 1, 3: 1}
    assert manifest.pulled is not None
    assert manifest.pulled.written == "unknown"
    assert any("function libraries were not taken" in note for note in manifest.pulled.notes) is False
    assert "INFO does not tell" in manifest.pulled.evidence


@pytest.mark.parametrize(
    ("rights", "said"),
    [(("+scan", "+select"), "may not run TIME"), (("+time", "+select", "+dump", "+pttl"), "may not run SCAN"),
     (("+time", "+select", "+scan", "+pttl"), "DUMP of \"a\" in db 0: NOPERM")],
)  # fmt: skip
def test_rights_that_are_missing_are_named(rights: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.set("a", "1")
            client.execute_command("ACL", "SETUSER", "ann", "on", ">secret-word", "~*", *rights)
        outcome = scan(server, tmp_path, username="ann", password="secret-word").sources[0]
    assert said in outcome.error
    assert outcome.remedy
    assert outcome.exit_code == 30
    assert [path.name for path in tmp_path.iterdir() if path.name != ".rdbmerge.lock"] == []


def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    with running(need("redis-7.0"), config={"requirepass": "Secret-Token-1"}) as server:
        outcome = scan(server, tmp_path, password="another-one").sources[0]
    assert "does not accept the password" in outcome.error
    assert "another-one" not in outcome.error


@pytest.mark.parametrize("cut", [3, 100, 5_000, 200_000])
def test_a_connection_that_is_cut_leaves_nothing(cut: int, tmp_path: Path) -> None:
    with running(need("redis-7.0")) as server:
        seed(server.client, keys=5_000, prefix="1:")
        with HostileProxy(server.port, cut_after=cut) as proxy:
            outcome = scan(proxy.port, tmp_path).sources[0]
    assert outcome.outcome == "failed"
    assert "the connection ended" in outcome.error
    assert [path.name for path in tmp_path.iterdir()] == [".rdbmerge.lock"]


def test_a_source_that_loads_is_asked_again(tmp_path: Path) -> None:
    said = iter([b"-LOADING Redis is loading the dataset in memory\r\n"])
    time_reply = b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"
    replies: dict[str, Any] = {
        "INFO": bulk("redis_version:7.0.0\r\n"), "TIME": lambda: next(said, time_reply),
        "CLIENT": b"+OK\r\n", "PEXPIRETIME": b":-2\r\n", "SELECT": b"+OK\r\n",
        "SCAN": b"*2\r\n$1\r\n0\r\n*0\r\n",
    }  # fmt: skip
    with FakePrimary(replies) as primary:
        patient = PullLimits(connect_timeout_s=5, reply_timeout_s=5, retry_for_s=20)
        manifest = manifest_of(scan(primary.port, tmp_path, patient))
    assert manifest.pulled is not None
    assert manifest.pulled.attempts in (1, 2)  # INFO's connection may have been the one that was put off
    assert manifest.keys_in_file == {}


def test_no_room_is_said_before_the_disk_is_full(tmp_path: Path) -> None:
    from rdbmerge.steps.pull_scan import scan_snapshot

    with running(need("redis-7.0")) as server:
        seed(server.client, keys=2_000, prefix="1:")
        source = Source(host="127.0.0.1", port=server.port, name="a")
        tight = PullLimits(connect_timeout_s=5, reply_timeout_s=5, retry_for_s=0, max_bytes=1_000)
        with (tmp_path / "a.rdb").open("wb") as file, pytest.raises(SourceError, match="only 1,000 may be taken"):
            scan_snapshot(source, file.fileno(), tmp_path / "a.rdb", limits=tight, now_ms=now_ms)


def test_a_stop_ends_it(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with running(need("redis-7.0")) as server, pytest.raises(StoppedError):
        scan(server, tmp_path, stop=stop)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".rdbmerge.lock"] == []
