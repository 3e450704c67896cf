"""The door to AWS under botocore's Stubber, which holds questions and answers against the models of the services."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber
from pydantic import SecretStr
from targets.asking import GROUP, MEMORYDB, SERVERLESS, request

from rdbmerge.errors import TargetError, UsageError
from rdbmerge.targets.elasticache import Caches
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.standing import Standing

pytestmark = pytest.mark.once
THEN = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
THEN_MS = round(THEN.timestamp() * 1_000)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


class Asked:
    """Caches whose answers are given beforehand; all of them have to be asked for."""

    def __init__(self, kind: Kind) -> None:
        self.caches = Caches(kind, region="eu-west-1")
        self.stub = Stubber(self.caches.client)

    def says(self, operation: str, answer: dict[str, Any], asked: dict[str, Any] | None = None) -> Asked:
        self.stub.add_response(operation, answer, asked)
        return self

    def refuses(self, operation: str, code: str, status: int = 400) -> Asked:
        self.stub.add_client_error(operation, code, "as the test wants", status)
        return self

    def __enter__(self) -> Caches:
        self.stub.activate()
        return self.caches

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stub.assert_no_pending_responses()
        self.stub.deactivate()


@pytest.fixture
def group() -> Iterator[Asked]:
    return Asked(Kind.REPLICATION_GROUP)


def test_a_creation_sends_the_request_and_the_secret(group: Asked) -> None:
    made = request(GROUP, auth_token=SecretStr("Secret-Token-1234567"))
    group.says("create_replication_group", {"ReplicationGroup": {"ReplicationGroupId": "sessions"}}, made.to_api())
    with group as caches:
        caches.create(made)


@pytest.mark.parametrize(
    ("said", "operation", "made"),
    [
        (SERVERLESS, "create_serverless_cache", "ServerlessCache"),
        (MEMORYDB, "create_cluster", "Cluster"),
    ],
)
def test_serverless_and_memorydb_are_created(said: dict, operation: str, made: str) -> None:
    asked = request(said, tags={"team": "a"})
    with Asked(asked.kind).says(operation, {made: {"Status": "creating"}}, asked.to_api()) as caches:
        caches.create(asked)


def test_a_group_is_seen_with_its_members_over_pages(group: Asked) -> None:
    told = {
        "ReplicationGroupId": "sessions", "Status": "creating", "Description": "seeded by rdbmerge 0123456789ab",
        "MemberClusters": ["sessions-001", "sessions-002"],
    }  # fmt: skip
    group.says("describe_replication_groups", {"ReplicationGroups": [told]}, {"ReplicationGroupId": "sessions"})
    one = [
        {"CacheClusterId": "other", "CacheClusterStatus": "restore-failed"},
        {"CacheClusterId": "sessions-001", "CacheClusterStatus": "creating"},
    ]
    two = [{"CacheClusterId": "sessions-002", "CacheClusterStatus": "restore-failed"}]
    group.says("describe_cache_clusters", {"CacheClusters": one, "Marker": "m"}, {})
    group.says("describe_cache_clusters", {"CacheClusters": two}, {"Marker": "m"})
    with group as caches:
        standing = caches.find("sessions")
    assert standing == Standing(
        "sessions", "creating", "failed", {"sessions-001": "creating", "sessions-002": "restore-failed"}, "",
        "seeded by rdbmerge 0123456789ab",
    )  # fmt: skip


def test_a_serverless_cache_fails_with_the_reason_in_its_events() -> None:
    asked = Asked(Kind.SERVERLESS)
    rows = [{"ServerlessCacheName": "c", "Status": "CREATE-FAILED"}]
    asked.says("describe_serverless_caches", {"ServerlessCaches": rows}, {"ServerlessCacheName": "c"})
    why = "Failed to create cache c. Data restoration from snapshot failed because of its version."
    events = [
        {"SourceIdentifier": "other", "SourceType": "serverless-cache", "Message": "no", "Date": THEN},
        {"SourceIdentifier": "c", "SourceType": "serverless-cache", "Message": why, "Date": THEN},
        {
            "SourceIdentifier": "c",
            "SourceType": "serverless-cache",
            "Message": "old",
            "Date": datetime(2026, 11, 1, tzinfo=UTC),
        },
    ]
    asked.says("describe_events", {"Events": events}, {"Duration": 3})
    with asked as caches:
        standing = caches.find("c")
        assert standing is not None
        assert standing.phase == "failed"
        found = caches.events(standing, since_ms=THEN_MS - 1_000, now_ms=THEN_MS + 60_000)
    assert [(one.at_ms, one.message) for one in found] == [(THEN_MS, why)]


def test_a_memorydb_cluster_is_seen_with_its_shards() -> None:
    asked = Asked(Kind.MEMORYDB)
    row = {
        "Name": "m", "Status": "available", "ClusterEndpoint": {"Address": "m.aws", "Port": 6379},
        "Shards": [{"Name": "0001", "Status": "available"}],
    }  # fmt: skip
    asked.says("describe_clusters", {"Clusters": [row]}, {"ClusterName": "m", "ShowShardDetails": True})
    asked.says("describe_events", {"Events": [{"SourceName": "m", "Message": "made", "Date": THEN}]})
    with asked as caches:
        standing = caches.find("m")
        assert standing is not None
        assert (standing.phase, standing.endpoint) == ("available", "m.aws:6379")
        assert [one.message for one in caches.events(standing, since_ms=THEN_MS, now_ms=THEN_MS)] == ["made"]


@pytest.mark.parametrize(
    ("kind", "operation", "code"),
    [
        (Kind.REPLICATION_GROUP, "describe_replication_groups", "ReplicationGroupNotFoundFault"),
        (Kind.SERVERLESS, "describe_serverless_caches", "ServerlessCacheNotFoundFault"),
        (Kind.MEMORYDB, "describe_clusters", "ClusterNotFoundFault"),
    ],
)
def test_what_is_not_there_is_no_failure(kind: Kind, operation: str, code: str) -> None:
    with Asked(kind).refuses(operation, code, 404) as caches:
        assert caches.find("nobody") is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InsufficientCacheClusterCapacity", "another node type"),
        ("NodeQuotaForCustomerExceeded", "Service Quotas"),
        ("InvalidParameterCombination", "cluster mode needs"),
        ("ReplicationGroupAlreadyExists", "another name"),
        ("ExpiredToken", "log in again"),
        ("AccessDenied", "s3:GetObject"),
    ],
)
def test_a_refused_creation_says_what_to_do(group: Asked, code: str, words: str) -> None:
    with group.refuses("create_replication_group", code) as caches, pytest.raises(TargetError) as caught:
        caches.create(request())
    assert code in str(caught.value)
    assert "as the test wants" in str(caught.value)
    assert "eu-west-1" in str(caught.value)
    assert words in caught.value.remedy
    assert not caught.value.retryable
    assert caches.is_taken(caught.value) == (code == "ReplicationGroupAlreadyExists")


@pytest.mark.parametrize(
    ("code", "status", "passes"), [("Throttling", 400, True), ("Odd", 503, True), ("Odd", 400, False)]
)
def test_what_passes_by_itself_is_told_apart(group: Asked, code: str, status: int, passes: bool) -> None:
    with group.refuses("describe_replication_groups", code, status) as caches, pytest.raises(TargetError) as caught:
        caches.find("sessions")
    assert caught.value.retryable is passes


def test_versions_and_parameters() -> None:
    asked = Asked(Kind.REPLICATION_GROUP)
    asked.says(
        "describe_cache_engine_versions",
        {"CacheEngineVersions": [{"EngineVersion": "8.1"}, {"EngineVersion": "7.2"}]},
        {"Engine": "valkey"},
    )
    asked.says(
        "describe_cache_parameters", {"Parameters": [{"ParameterName": "databases", "ParameterValue": "16"}]},
        {"CacheParameterGroupName": "g"},
    )  # fmt: skip
    with asked as caches:
        assert caches.engine_versions("valkey") == ["7.2", "8.1"]
        assert caches.parameters("g") == {"databases": "16"}
    other = Asked(Kind.MEMORYDB)
    versions = [{"EngineVersion": "7.2", "EnginePatchVersion": "7.2.6"}]
    other.says("describe_engine_versions", {"EngineVersions": versions}, {"Engine": "valkey"})
    other.says("describe_parameters", {"Parameters": [{"Name": "a", "Value": "b"}]}, {"ParameterGroupName": "g"})
    with other as caches:
        assert caches.engine_versions("valkey") == ["7.2", "7.2.6"]
        assert caches.parameters("g") == {"a": "b"}


def test_without_credentials_or_region_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    with pytest.raises(TargetError) as caught:
        Caches(Kind.SERVERLESS)
    assert "--region" in caught.value.remedy
    with pytest.raises(TargetError, match="nobody"):
        Caches(Kind.SERVERLESS, region="eu-west-1", profile="nobody")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(TargetError, match="no AWS credentials"):
        Caches(Kind.SERVERLESS, region="eu-west-1")


def test_events_are_of_the_group_and_its_nodes_only(group: Asked) -> None:
    sources = ("sessions", "sessions-001", "sessions-0002-003", "sessions-b", "sessions-b-001", "other")
    rows = [
        {"SourceIdentifier": source, "SourceType": "cache-cluster", "Message": source, "Date": THEN}
        for source in sources
    ]
    group.says("describe_events", {"Events": rows})
    with group as caches:
        found = caches.events(Standing("sessions", "creating", "creating"), since_ms=THEN_MS, now_ms=THEN_MS)
    assert {one.message for one in found} == {"sessions", "sessions-001", "sessions-0002-003"}


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(TargetError, match="nonsense"):
        Caches(Kind.SERVERLESS, region="eu-west-1", endpoint_url="nonsense")


def test_an_endpoint_where_nobody_is_may_come_back_and_is_named() -> None:
    caches = Caches(Kind.SERVERLESS, region="eu-west-1", endpoint_url="http://127.0.0.1:1")
    caches.client.meta.config.retries["max_attempts"] = 1
    with pytest.raises(TargetError, match=r"127\.0\.0\.1:1") as caught:
        caches.find("c")
    assert caught.value.retryable


def test_a_request_that_is_none_is_refused_before_the_wire() -> None:
    broken = request().model_copy(update={"parameters": {"Nonsense": 1}})
    with pytest.raises(UsageError, match="Nonsense"):
        Caches(Kind.REPLICATION_GROUP, region="eu-west-1", endpoint_url="http://127.0.0.1:1").create(broken)
