"""The look before a seeding, at real objects: what is missing, unreadable or of another file is a line, not a crash."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.running import run
from objectstores import ObjectStore
from rdbbytes import entry, rdb, select
from seeding import World, seeding

from rdbmerge.errors import StoreError, TargetError, UsageError
from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.steps.seed import SeedPlan
from rdbmerge.steps.seed_look import arns_of, slots_in_names
from rdbmerge.stores.base import ObjectUrl

pytestmark = pytest.mark.once
OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED


@pytest.fixture
def world(object_store: ObjectStore, bucket: str) -> Iterator[World]:
    with seeding(object_store, bucket) as one:
        yield one


@pytest.fixture
def file(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(golden / "6.2.16" / "empty.rdb", tmp_path / "merged.rdb"))


def small(folder: Path, name: str = "small.rdb", value: bytes = b"v") -> Path:
    path = folder / name
    path.write_bytes(rdb(9, select(0), entry(b"k", value)))
    return path


def by_name(plan: SeedPlan) -> dict[str, PreflightCheck]:
    return {check.name: check for check in plan.checks}


def test_an_object_that_was_uploaded_and_granted_is_all_right(world: World, tmp_path: Path) -> None:
    found = by_name(world.plan(world.upload(small(tmp_path))))
    for name in (
        "bucket name",
        "object encryption",
        "region",
        "object",
        "elasticache may read",
        "name",
        "engine offered",
    ):
        assert found[name].outcome is OK, found[name]
    assert "1 keys" in found["object"].finding


def test_an_object_that_nobody_granted_is_warned_of(world: World, tmp_path: Path) -> None:
    assert by_name(world.plan(world.put(small(tmp_path), grant=False)))["elasticache may read"].outcome is WARNING


def test_an_object_that_is_not_there_and_a_bucket_that_is_not(world: World) -> None:
    found = by_name(world.plan(ObjectUrl(world.bucket, "none.rdb")))
    assert found["object"].outcome is FAILED
    assert "not there" in found["object"].finding
    assert by_name(world.plan(ObjectUrl("no-such-bucket-here", "none.rdb")))["bucket"].outcome is FAILED


def test_a_cache_in_another_region_is_refused(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = world.put(small(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    found = by_name(world.plan(url))
    assert found["region"].outcome is FAILED
    assert "us-east-1" in found["region"].finding
    assert "eu-west-1" in found["region"].finding


def test_an_object_that_is_not_described_needs_its_file(world: World, tmp_path: Path) -> None:
    path = small(tmp_path)
    url = world.put(path, described=False)
    unknown = by_name(world.plan(url))["contents"]
    assert unknown.outcome is WARNING
    assert "--rdb" in unknown.remedy
    found = by_name(world.plan(url, files=[path]))
    assert found["object"].outcome is OK
    assert found["RDB version"].outcome is OK


def test_the_file_that_is_given_must_be_that_of_the_object(world: World, tmp_path: Path) -> None:
    url = world.put(small(tmp_path))
    other = small(tmp_path, "other.rdb", b"w")
    assert by_name(world.plan(url, files=[small(tmp_path)]))["file of the object"].outcome is OK
    assert by_name(world.plan(url, files=[other]))["file of the object"].outcome is FAILED
    with pytest.raises(UsageError, match="2 files for 1 objects"):
        world.plan(url, files=[other, other])


def test_an_object_that_was_merged_into_the_store_is_known_by_its_manifest(world: World, tmp_path: Path) -> None:
    done = run("merge", small(tmp_path), "-o", f"s3://{world.bucket}/straight.rdb", "--jobs", "1", "-q")
    assert done.exit_code == 0, done.stderr
    found = by_name(world.plan(ObjectUrl(world.bucket, "straight.rdb")))
    assert found["object"].outcome is OK
    assert found["RDB version"].outcome is OK
    assert found["memory"].outcome is WARNING
    world.store.client().delete_object(Bucket=world.bucket, Key="straight.rdb.manifest.json")
    assert by_name(world.plan(ObjectUrl(world.bucket, "straight.rdb")))["contents"].outcome is WARNING


def test_a_description_that_is_not_ours_is_a_warning(world: World, tmp_path: Path) -> None:
    world.store.client().put_object(
        Bucket=world.bucket, Key="odd.rdb", Body=small(tmp_path).read_bytes(), Metadata={"rdbmerge-contents": "{}"},
        ServerSideEncryption="AES256",
    )  # fmt: skip
    found = by_name(world.plan(ObjectUrl(world.bucket, "odd.rdb")))["contents"]
    assert found.outcome is WARNING
    assert "cannot be understood" in found.finding


def test_an_object_under_a_key_of_kms_is_refused(world: World, tmp_path: Path) -> None:
    world.store.client().put_object(
        Bucket=world.bucket,
        Key="kms.rdb",
        Body=small(tmp_path).read_bytes(),
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId="alias/mine",
    )
    found = by_name(world.plan(ObjectUrl(world.bucket, "kms.rdb")))["object encryption"]
    assert found.outcome is FAILED
    assert "aws:kms" in found.finding


def test_what_the_account_does_not_tell_is_a_warning(world: World, tmp_path: Path) -> None:
    url = world.put(small(tmp_path))
    world.fake.faults.refuse = {
        "DescribeReplicationGroups": "AccessDenied",
        "DescribeCacheEngineVersions": "AccessDenied",
    }
    found = by_name(world.plan(url, parameter_group="odd.group"))
    assert found["name"].outcome is WARNING
    assert found["engine offered"].outcome is WARNING
    assert found["parameter group"].outcome is WARNING


def test_credentials_that_are_refused_end_it(world: World, tmp_path: Path) -> None:
    url = world.put(small(tmp_path))
    world.fake.faults.refuse = {"DescribeReplicationGroups": "ExpiredToken"}
    with pytest.raises(TargetError) as caught:
        world.plan(url)
    assert "log in again" in caught.value.remedy


def test_a_store_that_does_not_answer_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        world.plan(ObjectUrl(world.bucket, "a.rdb"))


def test_a_parameter_group_tells_how_many_dbs_there_are(world: World, tmp_path: Path) -> None:
    path = tmp_path / "many.rdb"
    path.write_bytes(rdb(9, select(0), entry(b"k"), select(20), entry(b"k")))
    url = world.put(path)
    assert by_name(world.plan(url))["databases"].outcome is FAILED
    assert by_name(world.plan(url, parameter_group="custom.many"))["databases"].outcome is OK


def urls(*keys: str) -> list[ObjectUrl]:
    return [ObjectUrl("seeds", key) for key in keys]


def test_names_of_shards_tell_their_slots() -> None:
    two = [[(0, 8_191)], [(8_192, 16_383)]]
    assert slots_in_names(urls("a/m.0-8191.rdb", "a/m.8192-16383.rdb")) == two
    assert slots_in_names(urls("m.8192-16383.rdb", "m.0-8191.rdb")) == two
    for keys in (
        ("m.0-8191.rdb",),
        ("m.0-8191.rdb", "m.rdb"),
        ("m.0-8191.rdb", "m.8193-16383.rdb"),
        ("a.rdb", "b.rdb"),
    ):
        assert slots_in_names(urls(*keys)) is None


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_arns_are_of_the_partition_of_the_region(region: str, partition: str) -> None:
    assert arns_of(urls("a/m.rdb"), region) == [f"arn:{partition}:s3:::seeds/a/m.rdb"]
