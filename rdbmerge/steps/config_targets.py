"""The tables of a run file that say where the merged file goes: a store, a cache to be seeded, a live server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rdbmerge.errors import UsageError
from rdbmerge.plan.sharding import even_slots
from rdbmerge.reach.server import Server
from rdbmerge.steps.config_values import (
    DurationMs,
    LocalPath,
    ObjectAddress,
    PositiveSeconds,
    PositiveSize,
    Seconds,
    Secret,
    Section,
    ServerKeys,
    ShardSlots,
    SizeBytes,
    TargetAddress,
    mistake,
    read_secret,
)  # fmt: skip
from rdbmerge.stores.base import S3Access
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.request import SeedOptions, read_request_file
from rdbmerge.targets.waiting import WaitLimits

_KINDS = {
    "replication_group_id": Kind.REPLICATION_GROUP, "serverless_cache_name": Kind.SERVERLESS,
    "memorydb_cluster": Kind.MEMORYDB,
}  # fmt: skip
_LONGEST_JITTER_S = 10.0


class StoreKeys(Section):
    """Whose credentials, which region and which endpoint; what is not given comes as for the AWS CLI."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None

    def access(self) -> S3Access:
        """The same for a store."""
        return S3Access(self.profile, self.region, self.endpoint_url)


class UploadSection(StoreKeys):
    """[upload]: the object that the merged file becomes, or the folder of those of shards."""

    url: ObjectAddress
    service: Literal["elasticache", "memorydb"] = "elasticache"
    grant: bool = False
    force: bool = False
    jobs: Annotated[int, Field(ge=1, le=256)] = 10
    part_size: SizeBytes | None = None


class SeedSection(Section):
    """[seed]: the cache that is made of what was uploaded; credentials and region are those of the upload."""

    replication_group_id: str | None = None
    serverless_cache_name: str | None = None
    memorydb_cluster: str | None = None
    engine: Literal["valkey", "redis"] | None = None
    engine_version: str | None = None
    node_type: str | None = None
    shards: Annotated[int, Field(ge=1, le=500)] | None = None
    slots: ShardSlots | None = None
    replicas: Annotated[int, Field(ge=0, le=5)] | None = None
    subnet_group: str | None = None
    subnet_ids: list[str] = Field(default_factory=list)
    security_group_ids: list[str] = Field(default_factory=list)
    parameter_group: str | None = None
    tls: bool | None = None
    auth_token: Secret | None = None
    auth_token_file: LocalPath | None = None
    acl: str | None = None
    kms_key_id: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    from_file: LocalPath | None = None
    request: dict[str, Any] = Field(default_factory=dict)
    execute: bool = False
    wait: bool = True
    wait_timeout: PositiveSeconds = 7_200.0
    poll: PositiveSeconds = 20.0
    cache_endpoint_url: str | None = None

    @model_validator(mode="after")
    def _check(self) -> SeedSection:
        if len(self._kinds()) != 1:
            raise mistake("needs one of replication_group_id, serverless_cache_name and memorydb_cluster")
        if self.shards is not None and self.slots not in (None, even_slots(self.shards)):
            raise mistake("shards and slots contradict each other", "give one of them")
        try:
            self.options()
        except UsageError as error:
            raise mistake(str(error), error.remedy) from None
        return self

    def _kinds(self) -> list[tuple[Kind, str]]:
        return [(kind, getattr(self, name)) for name, kind in _KINDS.items() if getattr(self, name) is not None]

    def options(self) -> SeedOptions:
        """The same for the step. Raises UsageError for a token file that cannot be read."""
        ((kind, name),) = self._kinds()
        words = (
            "engine", "engine_version", "node_type", "replicas", "subnet_group", "subnet_ids", "security_group_ids",
            "parameter_group", "tls", "acl", "kms_key_id", "tags",
        )  # fmt: skip
        return SeedOptions(
            kind=kind,
            name=name,
            shards=self.slots if self.shards is None else even_slots(self.shards),
            auth_token=read_secret("auth_token", self.auth_token, self.auth_token_file),
            **{word: getattr(self, word) for word in words},
        )

    def beneath(self) -> Mapping[str, Any]:
        """Parameters of the API that the keys above win over: of the file, then of `request`. Raises UsageError."""
        return {**({} if self.from_file is None else read_request_file(self.from_file)), **self.request}

    def limits(self) -> WaitLimits:
        """How patient the waiting is."""
        jitter_s = min(self.poll / 4, _LONGEST_JITTER_S)
        return WaitLimits(timeout_s=self.wait_timeout, poll_s=self.poll, jitter_s=jitter_s)


class RestoreSection(ServerKeys):
    """[restore]: the live server, or any node of the cluster, that the merged file is restored into."""

    url: TargetAddress
    on_busy: Literal["fail", "skip", "replace"] | None = None
    connections: Annotated[int, Field(ge=1, le=256)] = 4
    big_key: PositiveSize = 32 << 20
    max_qps: Annotated[int, Field(ge=1)] | None = None
    max_bandwidth: PositiveSize | None = None
    max_latency: Annotated[DurationMs, Field(ge=0)] = 50
    retry_for: Seconds = 300.0
    timeout: PositiveSeconds = 60.0
    connect_timeout: PositiveSeconds = 10.0

    @model_validator(mode="after")
    def _check(self) -> RestoreSection:
        try:
            self.server()
        except UsageError as error:
            raise mistake(str(error), error.remedy) from None
        return self

    def server(self) -> Server:
        """The target. Raises UsageError."""
        return Server.parse(self.url, **self.options())
