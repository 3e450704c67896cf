"""Why AWS refused a creation or a question, and what to do: its error codes as a table. Makes no call."""

from __future__ import annotations

_QUOTA = "raise the quota in Service Quotas, delete what is not used, or take fewer nodes"
_CREDENTIALS = "log in again (aws sso login, or new keys), then run the same command again: it goes on where it stopped"

# Codes that pass by themselves: asked too often, or something on their side.
PASSING = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestLimitExceeded",
    "TooManyRequestsException", "SlowDown", "BandwidthLimitExceeded", "InternalFailure", "InternalServerError",
    "ServiceUnavailable", "ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException",
})  # fmt: skip

_REMEDIES = {
    "InsufficientCacheClusterCapacity": "AWS has no such nodes free there now: try another node type or zone, or later",
    "InsufficientClusterCapacity": "AWS has no such nodes free there now: try another node type or zone, or later",
    "NodeQuotaForCustomerExceeded": _QUOTA,
    "NodeQuotaForClusterExceeded": _QUOTA,
    "ClusterQuotaForCustomerExceeded": _QUOTA,
    "ShardsPerClusterQuotaExceeded": _QUOTA,
    "NodeGroupsPerReplicationGroupQuotaExceeded": _QUOTA,
    "ServerlessCacheQuotaForCustomerExceeded": _QUOTA,
    "TagQuotaPerResourceExceeded": "give fewer tags",
    "InvalidParameterCombination": "change what the message names; cluster mode needs a parameter group *.cluster.on, "
    "slots for every shard and failover, and an AUTH token needs TLS",
    "InvalidParameterValue": "change what the message names; without --execute the whole request is shown",
    "ReplicationGroupAlreadyExists": "choose another name; what has it is left alone",
    "ServerlessCacheAlreadyExists": "choose another name; what has it is left alone",
    "ClusterAlreadyExists": "choose another name; what has it is left alone",
    "UserGroupNotFound": "make the user group first, or leave it out of the request",
    "ACLNotFound": "make the access list first, or give --acl open-access",
    "CacheSubnetGroupNotFound": "make the subnet group first, or give another --subnet-group",
    "SubnetGroupNotFound": "make the subnet group first, or give another --subnet-group",
    "CacheParameterGroupNotFound": "make the parameter group first, or give another --parameter-group",
    "ParameterGroupNotFound": "make the parameter group first, or give another --parameter-group",
    "InvalidVPCNetworkState": "check subnets and security groups of the VPC",
    "ServiceLinkedRoleNotFound": "let an administrator run: aws iam create-service-linked-role --aws-service-name"
    " elasticache.amazonaws.com (or memorydb.amazonaws.com)",
    "AccessDenied": "the caller lacks a permission that the message names; s3:GetObject on the object is one of them",
    "UnauthorizedOperation": "the caller lacks a permission that the message names",
    "ExpiredToken": _CREDENTIALS,
    "RequestExpired": _CREDENTIALS,
    "InvalidClientTokenId": "check the keys, and that they are of this partition and region",
    "UnrecognizedClient": "check the keys, and that they are of this partition and region",
    "SignatureDoesNotMatch": "check the secret key and the clock of this machine",
    "AuthFailure": "check the keys and the clock of this machine",
}
_ABOUT_CREDENTIALS = frozenset({
    "ExpiredToken", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch",
    "AuthFailure",
})  # fmt: skip
_ENDINGS = ("Fault", "Exception")


def bare(code: str) -> str:
    """A code without the ending that some have and some lack."""
    for ending in _ENDINGS:
        code = code.removesuffix(ending)
    return code


def same_code(one: str, other: str) -> bool:
    """Whether two codes mean one thing."""
    return bare(one) == bare(other)


def is_about_credentials(code: str) -> bool:
    """Whether no other question would be answered either."""
    return bare(code) in _ABOUT_CREDENTIALS


def remedy_of(code: str) -> str:
    """What to do about it."""
    return _REMEDIES.get(bare(code), "see the message of AWS")
