"""Where a cache stands, from what the three kinds tell."""

from __future__ import annotations

import pytest

from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.standing import Phase, standing_of

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("status", "member", "phase"),
    [
        ("creating", "creating", "creating"),
        ("available", "creating", "creating"),
        ("available", "available", "available"),
        ("Available", "AVAILABLE", "available"),
        ("available", "modifying", "available"),
        ("snapshotting", "snapshotting", "available"),
        ("creating", "restore-failed", "failed"),
        ("available", "restore-failed", "failed"),
        ("create-failed", "creating", "failed"),
        ("CREATE-FAILED", "creating", "failed"),
        ("deleting", "deleting", "failed"),
        ("available", "incompatible-network", "failed"),
        ("", "creating", "creating"),
    ],
)
def test_a_group_is_what_its_worst_member_is(status: str, member: str, phase: Phase) -> None:
    standing = standing_of(Kind.REPLICATION_GROUP, {"ReplicationGroupId": "g", "Status": status}, {"g-001": member})
    assert standing.phase == phase


def test_members_that_differ_are_named() -> None:
    standing = standing_of(
        Kind.REPLICATION_GROUP, {"Status": "creating"}, {"g-001": "restore-failed", "g-002": "creating"}
    )
    assert str(standing) == "creating (g-001 restore-failed)"


def test_endpoints() -> None:
    one, two = {"Address": "one", "Port": 6379}, {"Address": "two", "Port": 6380}
    group = {"Status": "available", "NodeGroups": [{"PrimaryEndpoint": one}]}
    assert standing_of(Kind.REPLICATION_GROUP, group, {}).endpoint == "one:6379"
    assert standing_of(Kind.REPLICATION_GROUP, {**group, "ConfigurationEndpoint": two}, {}).endpoint == "two:6380"
    assert standing_of(Kind.SERVERLESS, {"Status": "available", "Endpoint": one}, {}).endpoint == "one:6379"
    assert standing_of(Kind.MEMORYDB, {"Status": "available", "ClusterEndpoint": two}, {}).endpoint == "two:6380"
    assert standing_of(Kind.REPLICATION_GROUP, {"Status": "creating", "NodeGroups": []}, {}).endpoint == ""


def test_memorydb_tells_of_its_shards_and_nodes() -> None:
    told = {
        "Name": "m", "Status": "creating", "Description": "d",
        "Shards": [{"Name": "0001", "Status": "restore-failed", "Nodes": [{"Name": "m-1", "Status": "creating"}]}],
    }  # fmt: skip
    standing = standing_of(Kind.MEMORYDB, told, {})
    assert (standing.name, standing.phase, standing.description) == ("m", "failed", "d")
    assert standing.members == {"shard 0001": "restore-failed", "m-1": "creating"}
