"""What the user says becomes exactly the parameters of the API, and a secret is in none of what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from targets.asking import ARN, EVEN_TWO, GROUP, MEMORYDB, SERVERLESS, request

from rdbmerge.errors import UsageError
from rdbmerge.targets.elasticache import check_parameters
from rdbmerge.targets.request import HIDDEN, SeedRequest, cluster_parameter_group, read_request_file

pytestmark = pytest.mark.once
TOKEN = "Secret-Token-1234567"


def test_a_group_without_cluster_mode() -> None:
    made = request(replicas=1, subnet_group="net", security_group_ids=["sg-1"], kms_key_id="k", tags={"team": "a"})
    assert made.to_api() == {
        "ReplicationGroupId": "sessions",
        "ReplicationGroupDescription": f"seeded by rdbmerge {made.mark()}",
        "Engine": "valkey",
        "EngineVersion": "8.1",
        "CacheNodeType": "cache.r7g.large",
        "NumCacheClusters": 2,
        "AutomaticFailoverEnabled": True,
        "TransitEncryptionEnabled": True,
        "AtRestEncryptionEnabled": True,
        "CacheSubnetGroupName": "net",
        "SecurityGroupIds": ["sg-1"],
        "KmsKeyId": "k",
        "Tags": [{"Key": "team", "Value": "a"}],
        "SnapshotArns": [ARN],
    }
    assert not made.cluster_mode
    assert made.shards is None


def test_with_shards_every_one_has_its_slots() -> None:
    made = request(shards=EVEN_TWO, replicas=1)
    api = made.to_api()
    assert api["NodeGroupConfiguration"] == [
        {"NodeGroupId": "0001", "Slots": "0-8191", "ReplicaCount": 1},
        {"NodeGroupId": "0002", "Slots": "8192-16383", "ReplicaCount": 1},
    ]
    assert api["AutomaticFailoverEnabled"] is True
    assert api["CacheParameterGroupName"] == "default.valkey8.cluster.on"
    assert "NumCacheClusters" not in api
    assert made.cluster_mode
    assert made.shards == [(0, 8_191), (8_192, 16_383)]


def test_serverless_and_memorydb() -> None:
    assert request(SERVERLESS, subnet_ids=["subnet-1", "subnet-2"]).to_api() == {
        "ServerlessCacheName": "sessions",
        "Description": request().parameters["ReplicationGroupDescription"],
        "Engine": "valkey",
        "MajorEngineVersion": "8",
        "SubnetIds": ["subnet-1", "subnet-2"],
        "SnapshotArnsToRestore": [ARN],
    }
    made = request(MEMORYDB, shards=EVEN_TWO, replicas=2, acl="mine", tls=False)
    assert made.to_api() == {
        "ClusterName": "sessions",
        "Description": request().parameters["ReplicationGroupDescription"],
        "Engine": "valkey",
        "EngineVersion": "7.3",
        "NodeType": "db.r7g.large",
        "NumShards": 2,
        "NumReplicasPerShard": 2,
        "ACLName": "mine",
        "TLSEnabled": False,
        "SnapshotArns": [ARN],
    }
    assert made.shards == [(0, 8_191), (8_192, 16_383)]
    assert request(MEMORYDB).parameters["ACLName"] == "open-access"


@pytest.mark.parametrize("said", [GROUP, SERVERLESS, MEMORYDB], ids=["group", "serverless", "memorydb"])
def test_the_model_of_the_api_takes_it(said: dict[str, Any]) -> None:
    check_parameters(request(said))


def test_a_file_adds_what_the_options_do_not_say_and_they_win() -> None:
    beneath = {
        "CacheNodeType": "cache.t4g.micro", "PreferredMaintenanceWindow": "sun:03:00-sun:04:00", "Port": 7000,
        "Tags": [{"Key": "team", "Value": "old"}, {"Key": "cost", "Value": "7"}],
    }  # fmt: skip
    made = request(beneath=beneath, tags={"team": "new"})
    assert made.parameters["CacheNodeType"] == "cache.r7g.large"
    assert made.parameters["Port"] == 7000
    assert made.parameters["Tags"] == [{"Key": "cost", "Value": "7"}, {"Key": "team", "Value": "new"}]
    check_parameters(made)
    said = {name: value for name, value in GROUP.items() if name != "node_type"}
    assert request(said, beneath=beneath).parameters["CacheNodeType"] == "cache.t4g.micro"


@pytest.mark.parametrize(
    ("beneath", "finding"),
    [
        ({"CacheNodeTyp": "x"}, "CacheNodeTyp"),
        ({"Port": "seven"}, "Port"),
        ({"NodeGroupConfiguration": [{"Slot": "0-1"}]}, "Slot"),
    ],
)
def test_what_the_api_does_not_know_is_named(beneath: dict[str, Any], finding: str) -> None:
    with pytest.raises(UsageError, match=finding) as caught:
        check_parameters(request(beneath=beneath))
    assert "PreferredMaintenanceWindow" in caught.value.remedy


def secrets() -> list[SeedRequest]:
    return [
        request(auth_token=SecretStr(TOKEN)),
        request(beneath={"AuthToken": TOKEN}),
        request(auth_token=SecretStr(TOKEN), beneath={"AuthToken": f"not-{TOKEN}"}),
    ]


@pytest.mark.parametrize("made", secrets(), ids=["option", "file", "both"])
def test_the_secret_reaches_the_call_and_nothing_else(made: SeedRequest) -> None:
    assert made.to_api()["AuthToken"] == TOKEN
    assert made.shown()["AuthToken"] == HIDDEN
    for text in (repr(made), str(made), made.model_dump_json(), json.dumps(made.shown()), repr(made.parameters)):
        assert TOKEN not in text


@pytest.mark.parametrize(
    ("said", "more", "finding"),
    [
        (SERVERLESS, {"auth_token": SecretStr(TOKEN)}, "takes no AUTH token"),
        (MEMORYDB, {"auth_token": SecretStr(TOKEN)}, "takes no AUTH token"),
        (SERVERLESS, {"node_type": "cache.r7g.large"}, "--node-type means nothing"),
        (SERVERLESS, {"shards": EVEN_TWO}, "shards and replicates by itself"),
        (SERVERLESS, {"engine_version": "8.1"}, "no engine version '8.1'"),
        (GROUP, {"subnet_ids": ["s"]}, "--subnet-ids means nothing"),
        (GROUP, {"acl": "a"}, "--acl means nothing"),
        (GROUP, {"engine": None}, "needs --engine"),
        (GROUP, {"node_type": None}, "needs --node-type"),
        (GROUP, {"shards": [[(0, 5), (7, 16_383)], [(6, 6)]]}, "0-5[+]7-16383"),
        (GROUP, {"name": "1st"}, "cannot be a ReplicationGroupId"),
        (GROUP, {"name": "a--b"}, "cannot be"),
        (GROUP, {"name": "a-"}, "cannot be"),
        (GROUP, {"name": "a" * 41}, "cannot be"),
        (GROUP, {"name": "a_b"}, "cannot be"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(said: dict[str, Any], more: dict[str, Any], finding: str) -> None:
    with pytest.raises(UsageError, match=finding) as caught:
        request(said, **more)
    assert caught.value.remedy


def test_the_files_are_not_taken_from_the_request_file() -> None:
    with pytest.raises(UsageError, match="SnapshotArns"):
        request(beneath={"SnapshotArns": ["arn:aws:s3:::other/file.rdb"]})


def test_a_cache_that_is_made_of_the_same_files_is_known_again() -> None:
    made = request()
    assert made.is_mine(request(node_type="cache.r7g.xlarge").parameters["ReplicationGroupDescription"])
    assert not made.is_mine(request(arns=(f"{ARN}x",)).parameters["ReplicationGroupDescription"])
    assert not made.is_mine("made by hand")
    assert not made.is_mine("")


@pytest.mark.parametrize(
    ("engine", "version", "group"),
    [
        ("valkey", "8.1", "default.valkey8.cluster.on"), ("valkey", "7.2", "default.valkey7.cluster.on"),
        ("redis", "7.1", "default.redis7.cluster.on"), ("redis", "6.2", "default.redis6.x.cluster.on"),
        ("redis", "5.0.6", "default.redis5.0.cluster.on"), ("redis", None, None), (None, "7", None),
    ],
)  # fmt: skip
def test_cluster_mode_has_a_parameter_group_by_engine(engine: str, version: str, group: str) -> None:
    assert cluster_parameter_group(engine, version) == group


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.toml", 'Port = 7000\n[[Tags]]\nKey = "a"\nValue = "b"\n'),
        ("r.json", '{"Port": 7000, "Tags": [{"Key": "a", "Value": "b"}]}'),
    ],
)
def test_request_files_are_toml_or_json(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_request_file(path) == {"Port": 7000, "Tags": [{"Key": "a", "Value": "b"}]}


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("r.toml", "Port = = 1", "line 1"),
        ("r.json", "{", "line 1"),
        ("r.json", "[]", "no parameters"),
        ("none.toml", None, "No such file"),
    ],
)
def test_a_request_file_that_cannot_be_read_says_where(
    name: str, text: str | None, finding: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=finding) as caught:
        read_request_file(path)
    assert name in str(caught.value)
