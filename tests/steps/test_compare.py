"""Files against live servers: equal ones pass whatever forms their values take, every planted difference is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import redis
from clusters import command, running_cluster, running_sentinel, until
from fakes.proxy import HostileProxy
from filling import seed
from live import compared, found, kinds, now_ms, total
from rdbbytes import aux, entry, rdb, record, select, strings
from realservers import SERVERS, RunningServer, need, running
from restoring import restored

from rdbmerge.errors import StoppedError, TargetError, UsageError
from rdbmerge.plan.model import KeyPattern, Policy, Rules
from rdbmerge.steps.asking import Patience
from rdbmerge.steps.comparing.checkpoint import CheckpointFile
from rdbmerge.steps.comparing.nodes import Manners
from rdbmerge.steps.comparing.run import Comparing
from rdbmerge.steps.merge_run import run_merge
from rdbmerge.verify.live_report import LIVE_SCHEMA_PATH, LiveReport

pytestmark = pytest.mark.once

HOUR_MS = 3_600_000
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
FORBIDDEN = ("SYNC", "PSYNC", "CONFIG", "DEBUG", "KEYS", "ACL", "BGSAVE", "SAVE", "SHUTDOWN")
PAIRS = [
    (old.name, new.name)
    for old in SERVERS for new in SERVERS
    if old.path and new.path and old is not new
    and new.rdb_version >= old.rdb_version and (new.rdb_version < 80 or old.rdb_version != 12)
    and (old.name in ("redis-2.8", "redis-6.2", "valkey-8.1") or new.name in ("redis-8.2", "valkey-9.1"))
]  # fmt: skip


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each server writes of some thousand keys of all types, by its name; made when it is asked for."""
    folder = tmp_path_factory.mktemp("seeded")

    class Files(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            with running(need(name)) as server:
                seed(server.client, keys=2_000, prefix="1:")
                shutil.copyfile(server.save(), folder / f"{name}.rdb")
            self[name] = folder / f"{name}.rdb"
            return self[name]

    return Files()


def rdb_file(folder: Path, *records: bytes, name: str = "a.rdb", version: int = 10) -> Path:
    path = folder / name
    path.write_bytes(rdb(version, aux(b"ctime", b"1700000000"), *records))
    return path


def keeps_to_the_schema(report: LiveReport) -> None:
    text = report.model_dump_json()
    jsonschema.validate(json.loads(text), json.loads(LIVE_SCHEMA_PATH.read_text()))
    assert LiveReport.model_validate_json(text) == report


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_a_newer_server_loaded_is_the_same_in_other_forms(old: str, new: str, seeded: dict[str, Path]) -> None:
    path = seeded[old]
    with running(need(new), rdb=path) as server:
        report = compared(server, path)
    assert report.differences == []
    assert report.verdict == "passed"
    assert total(report, "agreed") == total(report, "expected") == sum(db.scanned for db in report.dbs) > 1_900
    assert {db.db for db in report.dbs} == {0, 1, 5}
    assert all(db.announced == db.scanned and db.explained.endswith(f"= {db.scanned:,}") for db in report.dbs)
    keeps_to_the_schema(report)


@pytest.mark.parametrize(
    ("old", "new"), [("redis-6.2", "redis-8.2"), ("redis-8.2", "redis-6.2"), ("valkey-9.1", "redis-7.0")]
)
def test_what_was_restored_is_what_was_to_be_restored(
    old: str, new: str, seeded: dict[str, Path], tmp_path: Path
) -> None:
    """With an offset and a prefix, large values item by item, and re-encoded for a server that knows less."""
    rules = Rules(ttl_offset_ms=HOUR_MS, key_prefix=b"p:", target=new.replace("8.2", "7.4"), on_unsupported="strip")
    path = Path(shutil.copyfile(seeded[old], tmp_path / "a.rdb"))
    with running(need(new)) as server:
        restored(server, path, rules=rules, big_bytes=1_000)
        report = compared(server, path, rules=rules)
        assert report.differences == []
        assert report.verdict == "passed"
        assert total(report, "agreed") == total(report, "expected") > 1_900
        assert compared(server, path, rules=rules.model_copy(update={"ttl_offset_ms": 0})).verdict == "failed"


def test_every_kind_of_difference_is_named_with_its_key(seeded: dict[str, Path]) -> None:
    path = seeded["redis-7.0"]
    with running(need("redis-7.0"), rdb=path) as server, server.client() as client:
        names = sorted(client.scan_iter(count=10_000))
        of = {kind: [name for name in names if client.type(name) == kind.encode()] for kind in
              ("string", "list", "set", "zset", "hash", "stream")}  # fmt: skip
        lasting = [name for name in of["string"] if client.pttl(name) == -1]
        short = next(name for name in of["string"] if client.pttl(name) > 0)
        client.delete(lasting[0])
        client.set(lasting[1], b"other")
        client.expire(lasting[2], 1_000)
        client.delete(lasting[3])
        client.rpush(lasting[3], "a list now")
        client.persist(short)
        client.rpush(of["list"][0], "one more")
        client.sadd(of["set"][0], "one more")
        client.zincrby(of["zset"][0], 1, client.zrange(of["zset"][0], 0, 0)[0])
        client.hset(of["hash"][0], "one more", "x")
        client.xadd(of["stream"][0], {"one": "more"})
        client.set(b"stranger\xff", "x")
        with server.client(db=7) as other:
            other.set("in another db", "x")
        report = compared(server, path)
    assert report.verdict == "failed"
    said = found(report)
    assert said[lasting[0]] == ("missing", "the entry", "nothing")
    assert said[lasting[1]][0] == "value"
    assert said[lasting[1]][2].startswith("5 bytes, not the same")
    assert said[lasting[2]][:2] == ("expiry", "never")
    assert said[lasting[3]] == ("type", "string", "list")
    assert (said[short][0], said[short][2]) == ("expiry", "never")
    assert [said[of[kind][0]][0] for kind in ("list", "set", "zset", "hash", "stream")] == [
        "value", "value", "field", "field", "value",
    ]  # fmt: skip
    assert said[b"stranger\xff"] == ("unexpected", "nothing: no source has this key", "a key")
    assert said[b"in another db"][0] == "unexpected"
    assert report.differences_total == len(report.differences) == len(said) == 12
    assert (total(report, "missing"), total(report, "different")) == (1, 9)
    assert [db.unexpected for db in report.dbs if db.db in (0, 7)] == [1, 1]
    assert {check.name for check in report.failed_checks} == {"entries", "no other keys"}
    keeps_to_the_schema(report)


def test_keys_whose_time_has_come_are_explained_and_no_others(tmp_path: Path) -> None:
    past, future = now_ms() - 1_000_000, now_ms() + HOUR_MS
    path = rdb_file(
        tmp_path, select(0),
        *(entry(b"dead:%d" % one, b"v", expire_at_ms=past + one) for one in range(5)),
        entry(b"alive", b"v", expire_at_ms=future), entry(b"for ever", b"v"), entry(b"lost", b"v", expire_at_ms=future),
    )  # fmt: skip
    with running(need("redis-7.0"), rdb=path) as server, server.client() as client:
        client.delete("lost")
        client.set("dead:4", "v")  # somebody made it last
        report = compared(server, path)
    assert (total(report, "expected"), total(report, "agreed")) == (8, 2)
    assert (total(report, "expired_since"), total(report, "due"), total(report, "missing")) == (4, 5, 1)
    assert found(report)[b"dead:4"][0] == "expiry"
    assert found(report)[b"lost"][0] == "missing"
    [db] = report.dbs
    assert db.explained == "8 expected - 4 expired since - 1 missing = 3"


def test_expiries_differ_beyond_the_tolerance_only(tmp_path: Path) -> None:
    at = now_ms() + HOUR_MS
    path = rdb_file(tmp_path, select(0), *(entry(b"k%d" % one, b"v", expire_at_ms=at) for one in range(3)), version=9)
    for name in ("redis-6.2", "redis-7.0"):  # with PTTL, and with PEXPIRETIME
        with running(need(name), rdb=path) as server, server.client() as client:
            client.pexpireat("k1", at + 2_000)
            client.pexpireat("k2", at - 60_000)
            assert found(compared(server, path, tolerance_ms=3_000)).keys() == {b"k2"}
            assert found(compared(server, path, tolerance_ms=500)).keys() == {b"k1", b"k2"}
            assert compared(server, path, tolerance_ms=70_000).verdict == "passed"
            if name == "redis-7.0":
                client.pexpireat("k1", at)
                client.pexpireat("k2", at + 1)
                assert found(compared(server, path, tolerance_ms=0)).keys() == {b"k2"}


def test_rules_say_what_is_expected(tmp_path: Path) -> None:
    """Two sources with a conflict, an offset, a prefix, dbs moved, filters: as the merge gives it, loaded."""
    at = now_ms() + HOUR_MS
    one = rdb_file(tmp_path, select(0), entry(b"k", b"a", expire_at_ms=at), entry(b"x:1", b"left out"),
                   entry(b"dead", b"v", expire_at_ms=1), select(1), entry(b"in 1", b"v"), name="one.rdb")  # fmt: skip
    two = rdb_file(tmp_path, select(0), entry(b"k", b"b"), record(1, b"l", strings([b"1"])), name="two.rdb")
    rules = Rules(
        ttl_offset_ms=HOUR_MS, key_prefix=b"p:", db_map={1: 5}, on_conflict=Policy.FIRST,
        exclude_keys=[KeyPattern(kind="glob", text=b"x:*")],
    )  # fmt: skip
    merged, plan = tmp_path / "merged.rdb", tmp_path / "plan.json"
    run_merge(
        [one, two], merged, rules, now_ms=now_ms(), jobs=2,
        on_plan=lambda plans: plan.write_text(plans[0].model_dump_json()) and None,
    )  # fmt: skip
    with running(need("redis-7.0"), rdb=merged) as server, server.client() as client:
        for report in (compared(server, one, two, rules=rules), compared(server, plan), compared(server, merged)):
            assert report.differences == []
            assert report.verdict == "passed"
        by_rules = compared(server, one, two, rules=rules)
        assert [(line.source, line.db, line.target_db, line.expected) for line in by_rules.ledger] == [
            ("one.rdb", 0, 0, 1), ("one.rdb", 1, 5, 1), ("two.rdb", 0, 0, 1),
        ]  # fmt: skip
        assert [total(by_rules, name) for name in ("read", "expired", "filtered", "conflict_dropped")] == [6, 1, 1, 1]
        # What was left out, and is there all the same, is told with the reason.
        client.mset({"p:x:1": "left out", "p:dead": "v", "x:1": "v"})
        with server.client(db=1) as other:
            other.set("p:in 1", "v")
        said = found(compared(server, one, two, rules=rules))
        assert said[b"p:x:1"][1] == "nothing: left out by the filters"
        assert said[b"p:dead"][1] == "nothing: dead when its snapshot was taken"
        assert said[b"x:1"][1] == "nothing: no source has this key"
        assert said[b"p:in 1"][1] == "nothing here: it belongs in db 5"
        # The other policy expects the other value.
        wrong = compared(server, one, two, rules=rules.model_copy(update={"on_conflict": Policy.LAST}))
        assert b"p:k" in found(wrong)
        unsettled = compared(server, one, two, rules=rules.model_copy(update={"on_conflict": Policy.FAIL}))
        assert "conflicts" in {check.name for check in unsettled.failed_checks}


def test_expiries_of_fields_that_come_due_are_no_difference(tmp_path: Path) -> None:
    for name in ("redis-8.2", "valkey-9.1"):
        path = tmp_path / f"{name}.rdb"
        with running(need(name), config={"hz": "100"}) as server, server.client() as client:
            client.hset("h", mapping={"soon": "1", "late": "2", "never": "3"})
            client.execute_command("HPEXPIRE", "h", 700, "FIELDS", 1, "soon")
            client.execute_command("HPEXPIRE", "h", HOUR_MS, "FIELDS", 1, "late")
            client.hset("all soon", mapping={"a": "1", "b": "2"})
            client.execute_command("HPEXPIRE", "all soon", 700, "FIELDS", 2, "a", "b")
            shutil.copyfile(server.save(), path)
            assert compared(server, path).verdict == "passed"
            time.sleep(1.2)
            report = compared(server, path)
            assert report.differences == []
            assert (total(report, "agreed"), total(report, "expired_since")) == (1, 1)
            client.execute_command("HPEXPIRE", "h", 2 * HOUR_MS, "FIELDS", 1, "late")
            assert found(compared(server, path))[b"h"][0] == "field"
            client.execute_command("HPERSIST", "h", "FIELDS", 1, "late")
            assert found(compared(server, path))[b"h"][0] == "field"


def test_fields_whose_expiry_was_stripped_stay_after_their_time(tmp_path: Path) -> None:
    path, rules = tmp_path / "a.rdb", Rules(target="redis-6.2", on_unsupported="strip")
    with running(need("redis-8.2")) as server, server.client() as client:
        for name, soon in (("some", ["a"]), ("all", ["a", "b"])):
            client.hset(name, mapping={"a": "1", "b": "2"})
            client.execute_command("HPEXPIRE", name, 700, "FIELDS", len(soon), *soon)
        shutil.copyfile(server.save(), path)
    with running(need("redis-6.2")) as server, server.client() as client:
        restored(server, path, rules=rules)
        time.sleep(1)
        report = compared(server, path, rules=rules)
        assert (report.differences, total(report, "agreed"), total(report, "expired_since")) == ([], 2, 0)
        client.hdel("some", "a")
        client.delete("all")
        assert found(compared(server, path, rules=rules)).keys() == {b"some", b"all"}


def test_functions_are_compared_where_they_can_be(tmp_path: Path) -> None:
    with running(need("redis-7.0")) as server, server.client() as client:
        client.function_load(LIBRARY)
        shutil.copyfile(server.save(), tmp_path / "a.rdb")
        assert compared(server, tmp_path / "a.rdb").verdict == "passed"
        client.function_flush()
        report = compared(server, tmp_path / "a.rdb")
        [check] = report.failed_checks
        assert (check.name, check.detail) == ("function libraries", "'lib' is missing")
        client.execute_command("ACL", "SETUSER", "ann", "on", ">secret-word", "~*", "+@all", "-function")
        report = compared(server, tmp_path / "a.rdb", username="ann", password="secret-word")
        assert [check.ok for check in report.checks if check.name == "function libraries"] == [None]
        assert report.verdict == "passed"


def test_a_managed_server_and_a_user_with_few_rights_are_enough(seeded: dict[str, Path]) -> None:
    path = seeded["redis-7.0"]
    args = [word for name in FORBIDDEN for word in ("--rename-command", name, "")]
    with running(need("redis-7.0"), rdb=path, args=args) as server:
        assert compared(server, path).verdict == "passed"
    with running(need("redis-7.0"), rdb=path) as server:
        with server.client() as client:
            rights = ("+scan", "+dump", "+pttl", "+pexpiretime", "+time", "+select")
            client.execute_command("ACL", "SETUSER", "ann", "on", ">secret-word", "~*", *rights)
        report = compared(server, path, username="ann", password="secret-word")
        assert report.verdict == "passed"
        assert report.nodes[0].version is None
        assert [db.announced for db in report.dbs] == [None] * 3
        with pytest.raises(TargetError, match="does not accept"):
            compared(server, path, username="ann", password="wrong-word")
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "ann", "resetkeys", "~nothing")
        with pytest.raises(TargetError, match=r"may not run DUMP .*NOPERM"):
            compared(server, path, username="ann", password="secret-word")


def test_a_sample_asks_for_so_many_each_way(seeded: dict[str, Path]) -> None:
    path = seeded["redis-7.0"]
    with running(need("redis-7.0"), rdb=path) as server:
        report = compared(server, path, sample=100)
        assert report.verdict == "passed"
        assert 50 < total(report, "asked") == total(report, "agreed") <= 100
        assert report.sample == 100
        assert sum(db.scanned for db in report.dbs) == sum(server.counts().values())  # fewer than a page holds
        with server.client() as client:
            client.flushdb()
        assert total(compared(server, path, sample=500), "missing") > 200
        assert compared(server, path, sample=10**9).ledger[0].asked == report.ledger[0].expected


def test_integers_and_compressed_keys_and_a_value_of_100_mb(tmp_path: Path) -> None:
    huge = bytes(range(256)) * (100 << 12)
    with running(need("redis-7.0")) as server, server.client() as client:
        client.mset({b"%d" % one: b"v" for one in range(500)})
        client.mset({b"compress me " * 20 + b"%d" % one: b"v" for one in range(100)})
        client.mset({b"\x00\r\n$-1\r\n\xff": b"binary", b"": b"empty"})
        client.set("huge", huge)
        shutil.copyfile(server.save(), tmp_path / "a.rdb")
        report = compared(server, tmp_path / "a.rdb")
        assert report.verdict == "passed"
        assert total(report, "agreed") == 603
        client.setrange("huge", 50 << 20, b"\x00\x00")
        client.delete("7", b"compress me " * 20 + b"7")
        said = found(compared(server, tmp_path / "a.rdb"))
        assert said[b"huge"][0] == "value"
        assert {b"7", b"compress me " * 20 + b"7", b"huge"} == said.keys()


def test_a_server_that_is_written_to_meanwhile_is_told_of_and_hangs_nobody(seeded: dict[str, Path]) -> None:
    path, stop = seeded["redis-7.0"], threading.Event()
    with running(need("redis-7.0"), rdb=path) as server:

        def write() -> None:
            with server.client() as client:
                number = 0
                while not stop.is_set():
                    number += 1
                    pipe = client.pipeline(transaction=False)
                    for one in range(50):
                        pipe.set(f"new:{number}:{one}", "x", px=1 + one % 7)
                    pipe.delete(client.randomkey())
                    pipe.execute()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            reports = [compared(server, path) for _ in range(3)]
        finally:
            stop.set()
            writer.join()
    for report in reports:
        keeps_to_the_schema(report)
        assert total(report, "asked") == total(report, "expected")
        assert total(report, "agreed") + total(report, "missing") + total(report, "different") == total(report, "asked")
    assert kinds(reports[-1]).keys() <= {"missing", "unexpected"}


def test_differences_that_mend_themselves_are_not_held_against_the_server(
    seeded: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is written as it should be between the first look and the second."""
    path = seeded["redis-7.0"]
    with running(need("redis-7.0"), rdb=path) as server, server.client() as client:
        key = next(one for one in client.scan_iter(count=10_000) if client.pttl(one) == -1)
        value = client.dump(key)
        client.delete(key)
        client.set("stranger", "x")
        second_look = Comparing.again

        def mended(self: Comparing, tally: Any) -> int:
            client.restore(key, 0, value)
            client.delete("stranger")
            return second_look(self, tally)

        monkeypatch.setattr(Comparing, "again", mended)
        report = compared(server, path)
    assert (report.verdict, report.settled, report.differences_total) == ("passed", 2, 0)
    assert total(report, "agreed") == total(report, "expected")


@pytest.mark.parametrize("cut", [10, 3_000, 100_000, 600_000])
def test_a_connection_that_is_cut_again_and_again_is_made_anew(cut: int, seeded: dict[str, Path]) -> None:
    """Each connection carries so many bytes: where that is enough for one answer, the comparison ends well."""
    path = seeded["redis-7.0"]
    patient = Manners(patience=Patience(5, 5), retry_for_s=1 if cut < 400_000 else 30)
    with running(need("redis-7.0"), rdb=path) as server, HostileProxy(server.port, cut_after=cut) as proxy:
        if cut < 400_000:
            with pytest.raises(TargetError, match="the connection ended"):
                compared(proxy.port, path, manners=patient)
        else:
            assert compared(proxy.port, path, manners=patient).verdict == "passed"


def test_a_server_that_is_killed_and_comes_again_is_waited_for(seeded: dict[str, Path]) -> None:
    """It loads its file again meanwhile; nothing of what it holds is found to be different."""
    path, again = seeded["redis-7.0"], []
    with running(
        need("redis-7.0"), rdb=path, config={"key-load-delay": "200", "loading-process-events-interval-bytes": "1024"}
    ) as server:

        def kill(_done_bytes: int) -> None:
            if not again:
                server.process.kill()
                server.process.wait()
                again.append(subprocess.Popen(server.process.args, cwd=server.dir, stdout=subprocess.DEVNULL))

        patient = Manners(patience=Patience(5, 5), retry_for_s=60)
        try:
            report = compared(server, path, manners=patient, connections=1, progress=kill)
        finally:
            for process in again:
                process.kill()
                process.wait()
    assert again
    assert report.differences == []
    assert report.verdict == "passed"


def test_a_server_that_hangs_is_left_in_time(seeded: dict[str, Path]) -> None:
    impatient = Manners(patience=Patience(5, 0.5), retry_for_s=0)
    with (
        running(need("redis-7.0"), rdb=seeded["redis-7.0"]) as server,
        HostileProxy(server.port, hang_after=5_000) as proxy,
        pytest.raises(TargetError, match="no answer for 500ms"),
    ):
        compared(proxy.port, seeded["redis-7.0"], manners=impatient)


def test_a_target_that_is_not_there_is_said_at_once(seeded: dict[str, Path]) -> None:
    with pytest.raises(TargetError, match="nothing listens there"):
        compared(1, seeded["redis-7.0"])


def test_an_interrupted_comparison_is_taken_up(seeded: dict[str, Path], tmp_path: Path) -> None:
    """Stopped after the first db; the second run asks for the others only, and the sum is whole."""
    path, checkpoint, stop = seeded["redis-7.0"], tmp_path / "checkpoint.json", threading.Event()
    manners = Manners(patience=Patience(5, 5), retry_for_s=0, stop=stop)
    with running(need("redis-7.0"), rdb=path) as server:
        with pytest.raises(StoppedError):
            compared(server, path, manners=manners, connections=1, checkpoint=checkpoint, progress=lambda _: stop.set())
        saved = json.loads(checkpoint.read_text())
        assert len(saved["done"]) == 1
        assert checkpoint.stat().st_mode & 0o777 == 0o600
        first = saved["tally"]["lines"]["0"]["asked"]
        with server.client() as client:
            client.flushdb()  # what was compared before counts as it was then
        report = compared(server, path, checkpoint=checkpoint)
        assert report.verdict == "passed"
        assert total(report, "asked") == total(report, "expected") > first
        assert len(report.resumed_at_ms) == 1
        assert "in an earlier run" in report.warnings[0]
        assert not checkpoint.exists()
        assert "gone when SCAN came" in report.dbs[0].explained


def test_a_checkpoint_of_another_comparison_is_refused(seeded: dict[str, Path], tmp_path: Path) -> None:
    path, stop = seeded["redis-7.0"], threading.Event()
    manners = Manners(patience=Patience(5, 5), retry_for_s=0, stop=stop)
    with running(need("redis-7.0"), rdb=path) as server:
        with pytest.raises(StoppedError):
            compared(server, path, manners=manners, checkpoint=tmp_path / "c", progress=lambda _: stop.set())
        for other in ({"sample": 5}, {"tolerance_ms": 1}, {"rules": Rules(ttl_offset_ms=1)}):
            with pytest.raises(UsageError, match="another comparison"):
                compared(server, path, checkpoint=tmp_path / "c", **other)
        (tmp_path / "c").write_text("{}")
        with pytest.raises(UsageError, match="is not a checkpoint"):
            compared(server, path, checkpoint=tmp_path / "c")


def test_a_service_is_found_by_its_sentinels(seeded: dict[str, Path]) -> None:
    path = seeded["redis-7.0"]
    with (
        running(need("redis-7.0"), rdb=path) as server,
        running_sentinel(need("redis-7.0"), {"cache": server}) as sentinel,
    ):
        report = compared(server, path, sentinels=(("127.0.0.1", sentinel.port),), service="cache")
    assert report.verdict == "passed"
    assert f":{server.port}" in report.nodes[0].address or "cache" in report.nodes[0].address
    assert "cache" in report.target


def test_a_cluster_is_asked_node_by_node(tmp_path: Path) -> None:
    with running_cluster(need("redis-7.0")) as cluster:
        cluster.fill(600)
        saved = [node.save() for node in cluster.primaries]
        files = [shutil.copyfile(one, tmp_path / f"{number}.rdb") for number, one in enumerate(saved)]
        first = cluster.primaries[0]
        report = compared(first, *files)
        assert report.differences == []
        assert report.verdict == "passed"
        assert total(report, "agreed") == 600
        assert [node.slots for node in report.nodes] == [[(0, 5460)], [(5461, 10921)], [(10922, 16383)]]
        with redis.RedisCluster("127.0.0.1", first.port) as client:
            client.delete("key:1")
            client.set("key:2", "other")
            client.set("stranger", "x")
        said = {key: kind for key, (kind, _, _) in found(compared(first, *files)).items()}
        assert said == {b"key:1": "missing", b"key:2": "value", b"stranger": "unexpected"}


@pytest.mark.parametrize("how_far", ["half way", "all the way"])
def test_slots_that_move_meanwhile_are_followed(how_far: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot moves once the nodes are known: keys on their way are answered with ASK, those that arrived with MOVED."""
    with running_cluster(need("redis-7.0")) as cluster:
        names = [f"{{tag}}:{number}" for number in range(60)]
        slot = str(command(cluster.primaries[0], "CLUSTER", "KEYSLOT", "{tag}"))
        owner = next(node for node in cluster.primaries if int(slot) in _slots_of(node))
        other = next(node for node in cluster.primaries if node is not owner)
        with owner.client() as client:
            for name in names:
                client.set(name, name, px=HOUR_MS)
        path = Path(shutil.copyfile(owner.save(), tmp_path / "a.rdb"))
        entries = Comparing.entries

        def moved(self: Comparing, checkpoint: CheckpointFile) -> None:
            command(other, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(owner))
            command(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(other))
            for name in names if how_far == "all the way" else names[:30]:
                command(owner, "MIGRATE", "127.0.0.1", str(other.port), name, "0", "5000")
            if how_far == "all the way":
                for node in (other, owner, *cluster.primaries):
                    command(node, "CLUSTER", "SETSLOT", slot, "NODE", cluster.node_id(other))
                until(cluster.agree, "all know the new owner")
            entries(self, checkpoint)

        monkeypatch.setattr(Comparing, "entries", moved)
        report = compared(cluster.primaries[0], path, manners=Manners(patience=Patience(5, 5), retry_for_s=20))
    assert report.differences == []
    assert report.verdict == "passed"
    assert total(report, "agreed") == 60


def _slots_of(node: RunningServer) -> range:
    for line in str(command(node, "CLUSTER", "NODES")).splitlines():
        if "myself" in line:
            first, last = line.split()[8].split("-")
            return range(int(first), int(last) + 1)
    return range(0)
