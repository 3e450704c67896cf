"""The kinds of managed caches that a file can seed: what each calls its parameters, its states and its limits. Tables.

Facts: aws-seeding.md 1, 4 and 6, and the service models. Makes no call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What is created."""

    REPLICATION_GROUP = "replication group"
    SERVERLESS = "serverless cache"
    MEMORYDB = "MemoryDB cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFacts:
    """How one kind is asked for."""

    service: str  # of boto3
    title: str  # of the service, for people
    create: str
    describe: str
    delete: str  # the command line of AWS, shown to people
    listed: str  # the member of a description that holds them
    made: str  # the member of the answer to a creation
    name: str
    arns: str
    description: str
    members: dict[str, str] = field(default_factory=dict)  # our word -> parameter
    absent: str  # the error that says there is none of that name
    exists: str  # ... that there is one
    event_source: str
    failed: frozenset[str]


_FAILED = frozenset(
    {"create-failed", "restore-failed", "deleting", "deleted", "incompatible-network", "incompatible-parameters"}
)

KINDS: dict[Kind, KindFacts] = {
    Kind.REPLICATION_GROUP: KindFacts(
        service="elasticache",
        title="ElastiCache",
        create="create_replication_group",
        describe="describe_replication_groups",
        delete="aws elasticache delete-replication-group --replication-group-id",
        listed="ReplicationGroups",
        made="ReplicationGroup",
        name="ReplicationGroupId",
        arns="SnapshotArns",
        description="ReplicationGroupDescription",
        members={
            "engine": "Engine",
            "engine_version": "EngineVersion",
            "node_type": "CacheNodeType",
            "subnet_group": "CacheSubnetGroupName",
            "security_group_ids": "SecurityGroupIds",
            "parameter_group": "CacheParameterGroupName",
            "tls": "TransitEncryptionEnabled",
            "auth_token": "AuthToken",
            "kms_key_id": "KmsKeyId",
        },
        absent="ReplicationGroupNotFoundFault",
        exists="ReplicationGroupAlreadyExists",
        event_source="replication-group",
        failed=_FAILED,
    ),
    Kind.SERVERLESS: KindFacts(
        service="elasticache",
        title="ElastiCache Serverless",
        create="create_serverless_cache",
        describe="describe_serverless_caches",
        delete="aws elasticache delete-serverless-cache --serverless-cache-name",
        listed="ServerlessCaches",
        made="ServerlessCache",
        name="ServerlessCacheName",
        arns="SnapshotArnsToRestore",
        description="Description",
        members={
            "engine": "Engine",
            "engine_version": "MajorEngineVersion",
            "subnet_ids": "SubnetIds",
            "security_group_ids": "SecurityGroupIds",
            "kms_key_id": "KmsKeyId",
        },
        absent="ServerlessCacheNotFoundFault",
        exists="ServerlessCacheAlreadyExistsFault",
        event_source="serverless-cache",
        failed=_FAILED,
    ),
    Kind.MEMORYDB: KindFacts(
        service="memorydb",
        title="MemoryDB",
        create="create_cluster",
        describe="describe_clusters",
        delete="aws memorydb delete-cluster --cluster-name",
        listed="Clusters",
        made="Cluster",
        name="ClusterName",
        arns="SnapshotArns",
        description="Description",
        members={
            "engine": "Engine",
            "engine_version": "EngineVersion",
            "node_type": "NodeType",
            "subnet_group": "SubnetGroupName",
            "security_group_ids": "SecurityGroupIds",
            "parameter_group": "ParameterGroupName",
            "tls": "TLSEnabled",
            "kms_key_id": "KmsKeyId",
            "acl": "ACLName",
        },
        absent="ClusterNotFoundFault",
        exists="ClusterAlreadyExistsFault",
        event_source="cluster",
        failed=_FAILED,
    ),
}
