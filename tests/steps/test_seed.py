"""Seeding from the object to the keys in a real server; every way it can fail says what happened and what to do."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from botocore.stub import Stubber
from objectstores import ObjectStore
from pydantic import SecretStr
from rdbbytes import entry, rdb, select, slot
from realservers import need
from redis.cluster import RedisCluster
from seeding import World, seeding

from rdbmerge.errors import TargetError, UsageError
from rdbmerge.steps import seed_look
from rdbmerge.steps.seed import SeedPlan, SeedReport, seed
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.targets import elasticache
from rdbmerge.targets.elasticache import Caches
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.request import SeedOptions, make_request
from rdbmerge.targets.waiting import Waiting, WaitLimits

pytestmark = pytest.mark.once
QUICK = WaitLimits(timeout_s=60, poll_s=0.05, jitter_s=0.01)
TOKEN = "Secret-Token-1234567"


@pytest.fixture
def world(object_store: ObjectStore, bucket: str) -> Iterator[World]:
    with seeding(object_store, bucket) as one:
        yield one


def saved(folder: Path, *parts: bytes, version: int = 9, name: str = "merged.rdb") -> Path:
    path = folder / name
    path.write_bytes(rdb(version, *parts))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return saved(tmp_path, select(0), *(entry(b"k%d" % n, b"v%d" % n) for n in range(300)))


def run(plan: SeedPlan, **how: object) -> SeedReport:
    return seed(plan, **{"now_ms": lambda: 1_000, "limits": QUICK, **how})


def forced(plan: SeedPlan) -> SeedPlan:
    """As if the preflight had not seen it: what the service does then."""
    return SeedPlan(plan.request, plan.urls, plan.caches, [], plan.standing, plan.mine)


def at(report: SeedReport) -> tuple[str, int]:
    host, _, port = report.endpoint.partition(":")
    return host, int(port)


def test_the_keys_of_the_object_are_in_the_server_at_the_endpoint(world: World, golden: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(golden / "7.0.15" / "all_types.rdb", tmp_path / "all.rdb"))
    plan = world.plan(world.put(path), parameter_group="custom.many")
    report = run(plan)
    assert (report.outcome, report.status, report.exit_code) == ("available", "available", 0)
    assert set(report.members.values()) == {"available"}
    assert any("created" in message for _, _, message in report.events)
    with redis.Redis(*at(report)) as client:
        assert sum(row["keys"] for row in client.info("keyspace").values()) > 50
    assert SeedReport.model_validate_json(report.model_dump_json()) == report


def test_a_cluster_has_each_key_in_the_shard_of_its_slot(world: World, plain: Path) -> None:
    report = run(world.plan(world.put(plain), shards=[[(0, 8_191)], [(8_192, 16_383)]]))
    assert report.outcome == "available"
    assert len(report.members) == 2
    with RedisCluster(*at(report)) as cluster:
        assert cluster.dbsize(target_nodes="primaries") == 300
        assert cluster.get("k77") == b"v77"
    sizes = []
    for node in world.fake.groups["sessions"].nodes:
        with redis.Redis("127.0.0.1", node.port) as client:
            sizes.append(client.dbsize())
    first = sum(slot(b"k%d" % n) < 8_192 for n in range(300))
    assert sizes == [first, 300 - first]


def test_files_of_shards_make_a_cluster_of_these_shards(world: World, tmp_path: Path) -> None:
    keys = [b"k%d" % n for n in range(60)]
    shards = [[key for key in keys if slot(key) < 8_192], [key for key in keys if slot(key) >= 8_192]]
    urls = [
        world.put(saved(tmp_path, select(0), *map(entry, held), name=name), name)
        for held, name in zip(shards, ("m.0-8191.rdb", "m.8192-16383.rdb"), strict=True)
    ]
    plan = world.plan(*urls)
    assert plan.request.shards == [(0, 8_191), (8_192, 16_383)]
    report = run(plan)
    assert report.outcome == "available"
    with RedisCluster(*at(report)) as cluster:
        assert cluster.dbsize(target_nodes="primaries") == 60


@pytest.mark.parametrize(
    ("parts", "version", "shards", "words"),
    [
        ((select(0), entry(b"k")), 12, None, "RDB format version 12"),
        ((select(0), entry(b"k"), select(1), entry(b"k")), 9, [[(0, 16_383)]], ""),
    ],
    ids=["version too new", "several dbs in cluster mode"],
)
def test_what_the_engine_does_not_load_fails_before_and_after(
    world: World, tmp_path: Path, parts: tuple[bytes, ...], version: int, shards: object, words: str
) -> None:
    plan = world.plan(world.put(saved(tmp_path, *parts, version=version)), shards=shards)
    with pytest.raises(TargetError, match="checks FAILED") as caught:
        run(plan)
    assert "merge again" in caught.value.remedy
    assert world.fake.groups == {}
    report = run(forced(plan))
    assert (report.outcome, report.exit_code) == ("failed", 50)
    # A node, which is asked about after its group, may be seen to fail before it.
    assert report.status in ("creating", "create-failed")
    assert any("Restore failed" in message and words in message for _, _, message in report.events)
    assert "sessions" in report.error
    assert (
        report.clean_up == "aws elasticache delete-replication-group --replication-group-id sessions --region us-east-1"
    )
    assert "delete" not in {asked["Action"].lower()[:6] for asked in world.fake.requests}


def test_without_a_right_to_read_the_creation_fails(world: World, plain: Path) -> None:
    report = run(world.plan(world.put(plain, grant=False)))
    assert report.outcome == "failed"
    assert any("access denied" in message for _, _, message in report.events)


def test_a_member_whose_restore_failed_ends_the_waiting(world: World, plain: Path) -> None:
    world.fake.faults.restore_failed = True
    report = run(world.plan(world.put(plain)))
    assert (report.outcome, report.status) == ("failed", "creating")
    assert report.members == {"sessions-001": "restore-failed"}
    assert "restore-failed" in report.error


def test_descriptions_that_are_throttled_are_asked_again(
    world: World, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elasticache, "_TRIES", 1)
    plan = world.plan(world.put(plain))
    told: list[Waiting] = []
    world.fake.faults.throttle = 3
    report = run(plan, progress=told.append)
    assert report.outcome == "available"
    assert any("Throttling" in one.trouble for one in told)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InsufficientCacheClusterCapacity", "another node type"),
        ("NodeQuotaForCustomerExceeded", "Service Quotas"),
        ("InvalidParameterCombination", "cluster mode"),
    ],
)
def test_a_creation_that_is_refused_says_what_to_do(world: World, plain: Path, code: str, words: str) -> None:
    plan = world.plan(world.put(plain))
    world.fake.faults.refuse = {"CreateReplicationGroup": code}
    with pytest.raises(TargetError, match=code) as caught:
        run(plan)
    assert words in caught.value.remedy


def test_when_time_is_up_it_says_that_the_creation_goes_on(world: World, plain: Path) -> None:
    world.fake.faults.stuck = True
    report = run(world.plan(world.put(plain)), limits=WaitLimits(timeout_s=0.3, poll_s=0.05, jitter_s=0))
    assert (report.outcome, report.exit_code, report.status) == ("timeout", 50, "creating")
    assert "goes on, and costs money" in report.remedy
    assert "--wait-timeout" in report.remedy


def test_stopping_ends_the_waiting_and_a_second_run_goes_on(world: World, plain: Path) -> None:
    world.fake.faults.stuck = True
    url, stop = world.put(plain), threading.Event()
    report = run(world.plan(url), progress=lambda _: stop.set(), stop=stop)
    assert (report.outcome, report.exit_code) == ("stopped", 130)
    assert "goes on, and costs money" in report.error
    again = world.plan(url)
    assert again.mine
    world.fake.faults.stuck = False
    threading.Thread(target=world.fake.restore, args=("sessions", again.request.arns), daemon=True).start()
    assert run(again).outcome == "available"
    assert [asked["Action"] for asked in world.fake.requests].count("CreateReplicationGroup") == 1


def test_a_cache_of_other_files_that_has_the_name_is_left_alone(world: World, plain: Path) -> None:
    world.fake.faults.stuck = True
    run(world.plan(world.put(plain)), wait=False)
    other = world.plan(world.put(plain, "other.rdb"))
    assert not other.mine
    with pytest.raises(TargetError, match="name"):
        run(other)
    with pytest.raises(TargetError, match="AlreadyExists"):
        run(forced(other))


def test_two_runs_at_once_wait_for_one_creation(world: World, plain: Path) -> None:
    url = world.put(plain)
    first, second = world.plan(url), world.plan(url)
    assert run(first, wait=False).outcome == "creating"
    assert run(second).outcome == "available"


def test_a_cache_that_is_removed_meanwhile_is_gone(world: World, plain: Path) -> None:
    world.fake.faults.stuck = True
    report = run(world.plan(world.put(plain)), progress=lambda _: world.fake.groups.clear())
    assert (report.outcome, report.exit_code) == ("gone", 50)


def test_credentials_that_expire_while_it_waits_say_that_it_goes_on(world: World, plain: Path) -> None:
    world.fake.faults.stuck = True

    def expire(_: Waiting) -> None:
        world.fake.faults.refuse = {"DescribeReplicationGroups": "ExpiredToken"}

    with pytest.raises(TargetError, match="goes on, and costs money") as caught:
        run(world.plan(world.put(plain)), progress=expire)
    assert "log in again" in caught.value.remedy


def test_events_that_cannot_be_read_do_not_hide_the_end(world: World, plain: Path) -> None:
    plan = world.plan(world.put(plain))
    world.fake.faults.refuse = {"DescribeEvents": "AccessDenied"}
    report = run(plan)
    assert report.outcome == "available"
    assert "could not be read" in report.events[0][2]


def test_the_secret_is_sent_and_neither_reported_nor_planned(world: World, plain: Path) -> None:
    plan = world.plan(world.put(plain), auth_token=SecretStr(TOKEN))
    report = run(plan)
    sent = [asked for asked in world.fake.requests if asked["Action"] == "CreateReplicationGroup"]
    assert sent[0]["AuthToken"] == TOKEN
    assert TOKEN not in report.model_dump_json()
    assert TOKEN not in repr(plan)


def stubbed(kind: Kind, said: dict[str, Any]) -> tuple[SeedPlan, Stubber]:
    made = make_request(SeedOptions(kind=kind, name="sessions", **said), ["arn:aws:s3:::seeds/m.rdb"])
    caches = Caches(kind, region="eu-west-1")
    return SeedPlan(made, [ObjectUrl("seeds", "m.rdb")], caches, [], None, mine=False), Stubber(caches.client)


@pytest.mark.usefixtures("bucket")
def test_a_serverless_cache_that_fails_gives_the_reason_that_its_events_tell() -> None:
    plan, stub = stubbed(Kind.SERVERLESS, {"engine": "valkey", "engine_version": "8"})
    why = "Failed to create cache sessions. Data restoration from snapshot failed because of its version."
    stub.add_response("create_serverless_cache", {"ServerlessCache": {"Status": "creating"}}, plan.request.to_api())
    for status in ("CREATING", "CREATE-FAILED"):
        rows = [{"ServerlessCacheName": "sessions", "Status": status}]
        stub.add_response("describe_serverless_caches", {"ServerlessCaches": rows})
    event = {
        "SourceIdentifier": "sessions",
        "SourceType": "serverless-cache",
        "Message": why,
        "Date": datetime.now(UTC),
    }
    stub.add_response("describe_events", {"Events": [event]})
    with stub:
        report = run(plan)
        stub.assert_no_pending_responses()
    assert (report.outcome, report.exit_code) == ("failed", 50)
    assert [message for _, _, message in report.events] == [why]
    assert report.clean_up.startswith("aws elasticache delete-serverless-cache --serverless-cache-name sessions")


@pytest.mark.usefixtures("bucket")
def test_a_memorydb_cluster_ends_with_its_endpoint() -> None:
    plan, stub = stubbed(Kind.MEMORYDB, {"engine": "valkey", "engine_version": "7.3", "node_type": "db.r7g.large"})
    stub.add_response("create_cluster", {"Cluster": {"Status": "creating"}}, plan.request.to_api())
    for status in ("creating", "available"):
        row = {"Name": "sessions", "Status": status, "ClusterEndpoint": {"Address": "sessions.aws", "Port": 6379}}
        stub.add_response("describe_clusters", {"Clusters": [row]})
    stub.add_response("describe_events", {"Events": []})
    with stub:
        report = run(plan)
        stub.assert_no_pending_responses()
    assert (report.outcome, report.endpoint) == ("available", "sessions.aws:6379")


def test_the_fake_is_a_program_too(object_store: ObjectStore, bucket: str, plain: Path, root: Path) -> None:
    """Scripts start it, and end it with all its servers."""
    with seeding(object_store, bucket) as world:
        url = world.put(plain)
    arguments = ("--s3", object_store.endpoint, "--server", str(need("redis-7.0").path))
    with subprocess.Popen(
        [sys.executable, root / "tests" / "fakes" / "elasticache.py", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            world.endpoint = (process.stdout.readline() if process.stdout else "").strip()
            report = run(world.plan(url))
            assert report.outcome == "available"
        finally:
            process.terminate()
            assert process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(at(report), 5)


def test_an_unknown_parameter_is_refused_before_anything_is_asked(
    world: World, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = world.put(plain)
    monkeypatch.setattr(seed_look, "S3", None)
    with pytest.raises(UsageError, match="CacheNodeTyp"):
        world.plan(url, beneath={"CacheNodeTyp": "x"})
    assert world.fake.requests == []
