"""Restoring into real servers of every version: the data is there, and the ledger says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rdbbytes import entry, expiry, rdb, record, select, string
from realservers import RunningServer, ServerBinary, each_server, need, running
from restoring import copied, now_ms, restored
from truth import diff, expected_merge, read_live, read_truth

from rdbmerge.errors import ConflictError, StoppedError, TargetError, UnfitError, UsageError
from rdbmerge.plan.model import KeyPattern, Policy, Rules, Unsupported
from rdbmerge.steps.restoring.report import RestoreReport

HOUR = 3_600_000
GOLDEN = Path(__file__).parents[2] / "fixtures" / "rdb"
OWN_FILES = {
    "redis-2.8": "2.8.24", "redis-3.2": "3.2.13", "redis-5.0": "5.0.14", "redis-6.2": "6.2.16", "redis-7.0": "7.0.15",
    "redis-8.2": "8.2.3", "valkey-8.1": "valkey-8.1.1", "valkey-9.1": "valkey-9.1.2",
}  # fmt: skip
KEPT = Rules(drop_expired=False, ttl_offset_ms=1_000 * 24 * HOUR)


def keys_file(folder: Path, count: int, *, dbs: int = 1, name: str = "many.rdb", value: bytes = b"v" * 20) -> Path:
    """So many strings in each db."""
    path = folder / name
    body = [select(db) + b"".join(entry(b"k%d" % number, value) for number in range(count)) for db in range(dbs)]
    path.write_bytes(rdb(9, *body))
    return path


@each_server(lambda binary: binary.name in OWN_FILES)
def test_all_that_a_file_holds_is_in_the_server_then(binary: ServerBinary, tmp_path: Path) -> None:
    source = GOLDEN / OWN_FILES[binary.name] / "all_types.rdb"
    truth = read_truth(source.with_name("all_types.truth.jsonl.gz"))
    with running(binary) as server:
        report = restored(server, copied(source, tmp_path), rules=KEPT)
        live = read_live(server)
    expected = expected_merge([truth], ttl_offset_ms=KEPT.ttl_offset_ms)
    # Below 5.0 expiries are told as times to live.
    assert not list(diff(expected, live, tolerance_ms=3_000 if binary.version < (5,) else 1))
    assert (report.restored, report.refused, report.rejected_file) == (len(truth), 0, None)
    assert report.ledger.total().difference == 0
    assert sorted(report.libraries) == sorted(live.functions)
    assert RestoreReport.model_validate_json(report.model_dump_json()) == report
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".index", ".json", ".rdb"]


@pytest.mark.parametrize("source", ["7.4.1", "valkey-9.1.2"])
@each_server(lambda binary: binary.name in ("redis-2.8", "redis-5.0", "redis-7.0", "valkey-8.1"))
def test_newer_files_are_written_for_older_servers(binary: ServerBinary, source: str, tmp_path: Path) -> None:
    path = copied(GOLDEN / source / "all_types.rdb", tmp_path)
    with running(binary) as server:
        with pytest.raises(UnfitError, match="cannot hold"):
            restored(server, path, rules=KEPT)
        assert server.counts() == {}
        report = restored(server, path, rules=KEPT.model_copy(update={"on_unsupported": Unsupported.STRIP}))
        assert sum(server.counts().values()) == report.restored > 300
    assert report.refused == 0
    assert report.ledger.total().difference == 0


def test_rules_are_those_of_a_merge(tmp_path: Path) -> None:
    one, two = (tmp_path / name for name in ("one.rdb", "two.rdb"))
    one.write_bytes(rdb(9, select(1), entry(b"same", b"1"), entry(b"no"), entry(b"a", expire_at_ms=now_ms() + HOUR)))
    two.write_bytes(rdb(9, select(1), entry(b"same", b"2"), entry(b"b")))
    rules = Rules(
        db_map={1: 4}, key_prefix=b"p:", on_conflict=Policy.LAST, ttl_offset_ms=HOUR,
        exclude_keys=[KeyPattern(kind="glob", text=b"no")],
    )  # fmt: skip
    with running(need("redis-7.0")) as server:
        with pytest.raises(ConflictError):
            restored(server, one, two)
        report = restored(server, one, two, rules=rules)
        assert server.counts() == {4: 3}
        with server.client(4) as client:
            assert client.get(b"p:same") == b"2"
            assert abs(client.pttl(b"p:a") - 2 * HOUR) < 60_000
    lines = [(line.read, line.written, line.filtered, line.conflict_dropped) for line in report.ledger.lines]
    assert lines == [(3, 1, 1, 1), (2, 2, 0, 0)]
    assert (report.conflicts, len(report.lists)) == (1, 1)
    assert "same" in Path(report.lists[0]).read_text()


def test_a_target_that_is_not_empty_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    path = keys_file(tmp_path, 5)
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.set("k0", "other")
            client.set("k1", b"v" * 20)
        with pytest.raises(UsageError, match="holds 2 keys in db 0") as caught:
            restored(server, path)
        assert "--on-busy" in caught.value.remedy
        with pytest.raises(TargetError, match=r"holds \"k0\" of db 0 already, and 1 more"):
            restored(server, path, on_busy="fail")
        report = restored(server, path, on_busy="skip")
        # A run that was not finished may have written k1: it is the very same.
        assert (report.restored, report.ledger.total().skipped) == (4, 1)
        with server.client() as client:
            assert (client.get("k0"), client.dbsize()) == (b"other", 5)
        report = restored(server, path, on_busy="replace")
        assert (report.restored, report.ledger.total().skipped) == (5, 0)
        with server.client() as client:
            assert client.get("k0") == b"v" * 20


@each_server(lambda binary: binary.name in ("redis-2.8", "redis-5.0", "valkey-9.1"))
@pytest.mark.parametrize("large", [False, True])
def test_keys_that_are_there_are_left_or_replaced(binary: ServerBinary, large: bool, tmp_path: Path) -> None:
    path = keys_file(tmp_path, 3, value=b"v" * (50_000 if large else 5))
    with running(binary) as server, server.client() as client:
        client.set("k1", "other")
        report = restored(server, path, on_busy="skip")
        assert (report.restored, report.ledger.total().skipped, client.get("k1")) == (2, 1, b"other")
        report = restored(server, path, on_busy="replace")
        assert (report.restored, client.strlen("k1")) == (3, 50_000 if large else 5)


def test_a_dry_run_sends_nothing_and_refuses_nothing(tmp_path: Path) -> None:
    path, told = keys_file(tmp_path, 5), []
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.set("k0", "other")
        report = restored(server, path, dry_run=True, on_plan=lambda plan, checks: told.append((plan.keys, checks)))
        assert server.counts() == {0: 1}
    assert (report.keys, report.restored, report.restore_s, report.dry_run) == (5, 0, None, True)
    assert told[0][0] == 5
    assert [check.name for check in report.checks] == ["target", "keys"]


def test_keys_that_die_on_the_way_are_booked_as_expired(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    soon = now_ms() - 5_000
    path.write_bytes(rdb(9, select(0), entry(b"dead", expire_at_ms=soon), entry(b"k"), entry(b"l", expire_at_ms=soon)))
    rules = Rules(snapshot_at_ms=soon - 1)  # alive when it was taken
    for name in ("redis-3.2", "redis-7.0"):
        with running(need(name)) as server:
            report = restored(server, path, rules=rules)
            assert server.counts() == {0: 1}
        line = report.ledger.total()
        assert (line.read, line.written, line.expired, report.expired_meanwhile) == (3, 1, 2, 2)


@each_server(lambda binary: binary.name in ("redis-2.8", "redis-3.2", "redis-7.0"))
@pytest.mark.parametrize("skew_ms", [-7 * HOUR, 7 * HOUR])
def test_a_clock_of_ours_that_is_wrong_changes_no_expiry(binary: ServerBinary, skew_ms: int, tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    at_ms = now_ms() + HOUR
    path.write_bytes(rdb(6, select(0), record(0, b"k", string(b"v"), attributes=expiry(at_ms))))
    rules = Rules(snapshot_at_ms=now_ms() - HOUR)
    with running(binary) as server:
        import restoring

        true_clock, restoring.now_ms = restoring.now_ms, lambda: now_ms() + skew_ms
        try:
            report = restored(server, path, rules=rules)
        finally:
            restoring.now_ms = true_clock
        with server.client() as client:
            assert abs(now_ms() + client.pttl("k") - at_ms) < 5_000
    assert "clock" in [check.name for check in report.checks]
    assert report.restored == 1


def refusing(server: RunningServer, limit_bytes: int) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", str(limit_bytes))


def test_a_target_that_is_full_stops_it_with_the_place_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path = keys_file(tmp_path, 1_000, dbs=3, value=b"v" * 2_000)
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            used = client.info("memory")["used_memory"]
        refusing(server, used + 3_500_000)
        with pytest.raises(TargetError, match=r"OOM.*waited 1 s in vain") as caught:
            restored(server, path, retry_for_s=1)
        assert "memory" in caught.value.remedy
        held = sum(server.counts().values())
        assert 0 < held < 3_000
        refusing(server, 0)
        report = restored(server, path)
        assert server.counts() == {0: 1_000, 1: 1_000, 2: 1_000}
    assert report.resumed
    assert (report.restored, report.ledger.total().skipped) == (3_000, 0)


def test_a_target_that_gets_room_meanwhile_is_waited_for(tmp_path: Path) -> None:
    path, said = keys_file(tmp_path, 1_000, dbs=3, value=b"v" * 2_000), list[str]()
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            used = client.info("memory")["used_memory"]
        refusing(server, used + 3_500_000)

        def hear(text: str) -> None:
            said.append(text)
            refusing(server, 0)

        report = restored(server, path, say=hear)
        assert server.counts() == {0: 1_000, 1: 1_000, 2: 1_000}
    assert report.restored == 3_000
    assert "OOM" in said[0]


def stopping(stop: threading.Event) -> Callable[[Any], None]:
    """Set it when a first part is done."""
    return lambda status: stop.set() if status.phase == "restore" and status.done_bytes else None


def test_a_stop_is_soon_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path, stop = keys_file(tmp_path, 2_000, dbs=8), threading.Event()
    with running(need("redis-7.0")) as server:
        with pytest.raises(StoppedError, match=r"stopped; [\d,]+ of 16,000 keys are done"):
            restored(server, path, stop=stop, progress=stopping(stop), connections=1)
        assert 0 < sum(server.counts().values()) < 16_000
        report = restored(server, path)
        assert sum(server.counts().values()) == 16_000
    assert (report.resumed, report.restored, report.begun_anew) == (True, 16_000, 0)


def test_a_target_that_was_emptied_between_two_runs_gets_everything(tmp_path: Path) -> None:
    path, stop = keys_file(tmp_path, 2_000, dbs=8), threading.Event()
    with running(need("redis-7.0")) as server:
        with pytest.raises(StoppedError):
            restored(server, path, stop=stop, progress=stopping(stop))
        with server.client() as client:
            client.flushall()
        report = restored(server, path)
        assert sum(server.counts().values()) == 16_000
    assert report.begun_anew == 1


def test_the_same_command_again_finds_that_all_is_done_and_another_begins_anew(tmp_path: Path) -> None:
    path = keys_file(tmp_path, 10)
    with running(need("redis-7.0")) as server, server.client() as client:
        first = restored(server, path)
        client.set("k0", "changed since")
        again = restored(server, path)
        assert (again.ledger, again.restored, again.done_before) == (first.ledger, 10, 10)
        assert client.get("k0") == b"changed since"
        with pytest.raises(UsageError, match="holds 10 keys"):
            restored(server, path, force=True)
        assert restored(server, path, on_busy="replace").done_before == 0
        assert client.get("k0") == b"v" * 20
        client.flushall()
        emptied = restored(server, path, on_busy="replace")
        assert (emptied.begun_anew, client.dbsize()) == (1, 10)
        path.write_bytes(rdb(9, select(0), entry(b"other")))
        assert restored(server, path, on_busy="skip").restored == 1


def test_another_plan_does_not_go_on_from_a_checkpoint_of_this_one(tmp_path: Path) -> None:
    path, stop = keys_file(tmp_path, 2_000, dbs=8), threading.Event()
    with running(need("redis-7.0")) as server:
        with pytest.raises(StoppedError):
            restored(server, path, stop=stop, progress=stopping(stop))
        with pytest.raises(UsageError, match="checkpoint of another plan"):
            restored(server, path, rules=Rules(key_prefix=b"p:"), on_busy="skip")
        report = restored(server, path, rules=Rules(key_prefix=b"p:"), on_busy="skip", force=True)
    assert report.restored == 16_000


def test_what_the_target_refuses_is_listed_and_the_rest_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    broken = record(10, b"bad\xff", string(b"\x0d\0\0\0\x0a\0\0\0\x01\0\x99\x00\xff"))
    path.write_bytes(rdb(9, select(0), entry(b"k"), broken, entry(b"l")))
    with running(need("redis-7.0"), config={"sanitize-dump-payload": "yes"}) as server:
        report = restored(server, path)
        assert server.counts() == {0: 2}
    assert (report.restored, report.refused, report.ledger.total().rejected, report.exit_code) == (2, 1, 1, 50)
    listed = Path(report.rejected_file or "")
    assert listed.stat().st_mode & 0o777 == 0o600
    assert "bad\\\\xff" in listed.read_text()
    assert "ERR Bad data format" in listed.read_text()


def test_a_replica_is_no_target(tmp_path: Path) -> None:
    path = keys_file(tmp_path, 5)
    with running(need("redis-7.0"), as_replica=True) as server, pytest.raises(TargetError, match="is a replica"):
        restored(server, path)


def test_a_db_that_the_target_has_not_is_told_before(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(3), entry(b"k")))
    with running(need("redis-7.0"), config={"databases": "2"}) as server:
        with pytest.raises(UsageError, match="db 3 is not to be had") as caught:
            restored(server, path)
        assert "--db-map 3:0" in caught.value.remedy
