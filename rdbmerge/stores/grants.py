"""Who reads the object for the new cache, and how that right is given: decided here, without a call.

The facts are aws-seeding.md 3, from AWS's documentation; none was tried against AWS itself. Knows ACLs and bucket
policies as values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdbmerge.errors import StoreError, UsageError
from rdbmerge.stores.base import ObjectUrl, partition_of

SERVICES = ("elasticache", "memorydb")
POLICY_SID = "RdbmergeSeedRead"
LARGEST_POLICY_BYTES = 20 << 10
ACL_PERMISSIONS = ("READ", "READ_ACP")
POLICY_ACTIONS = ("s3:GetObject", "s3:ListBucket", "s3:GetBucketAcl")
ENFORCED = "BucketOwnerEnforced"  # the ownership setting under which there are no ACLs

# Regions opened before 20 March 2019, which every account has; all others are opted into.
DEFAULT_REGIONS = {
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1", "eu-north-1",
    "eu-west-1", "eu-west-2", "eu-west-3", "ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3",
    "ap-southeast-1", "ap-southeast-2",
}  # fmt: skip
# The canonical users that read for ElastiCache, by partition.
_READERS = {
    "aws": "540804c33a284a299d2547575ce1010f2312ef3da9b3a053c8bc45bf233e4353",
    "aws-us-gov": "40fa568277ad703bd160f66ae4f83fc9dfdfd06c2f1b5060ca22442ac3ef8be6",
    "aws-cn": "b14d6a125bdf69854ed8ef2e71d8a20b7c490f252229b806e514966e490b8d83",
}


@dataclass(frozen=True, slots=True)
class AclGrant:
    """A right to one object, given to the user that reads for the service."""

    url: ObjectUrl
    reader: str  # canonical user id
    doubt: str  # what is not sure about it; "" where AWS documents it

    @property
    def summary(self) -> str:
        """In one line."""
        return f"an ACL on {self.url}: {' and '.join(ACL_PERMISSIONS)} for canonical user {self.reader}"


@dataclass(frozen=True, slots=True)
class PolicyGrant:
    """A statement in the policy of the bucket."""

    url: ObjectUrl
    principal: str
    statement: Mapping[str, Any]
    doubt: str

    @property
    def summary(self) -> str:
        """In one line."""
        actions = ", ".join(POLICY_ACTIONS)
        return f"a statement in the policy of bucket {self.url.bucket}: {actions} for {self.principal}"


Grant = AclGrant | PolicyGrant


def decide_grant(url: ObjectUrl, service: str, region: str, ownership: str | None) -> Grant:
    """The right that `service` in `region` (that of the bucket) needs to read the object.

    `ownership`: the bucket's setting; None where it has none. Raises UsageError for another service.
    """
    if service not in SERVICES:
        raise UsageError(f"{service!r} is not a service that reads RDB files", remedy=f"one of {', '.join(SERVICES)}")
    partition = partition_of(region)
    by_acl = service == "elasticache" and (region in DEFAULT_REGIONS or partition != "aws")
    if by_acl and ownership != ENFORCED:
        doubt = "the id for China is from documents of 2018 to 2020" if partition == "aws-cn" else ""
        return AclGrant(url, _READERS[partition], doubt)
    doubt = "AWS documents it for regions that are opted into; others report that it works here" if by_acl else ""
    if partition == "aws-cn":
        doubt = "the name of the service in China is not documented"
    principal = f"{region}.{service}-snapshot.amazonaws.com"
    return PolicyGrant(url, principal, _statement(url, service, principal, partition), doubt)


def _statement(url: ObjectUrl, service: str, principal: str, partition: str) -> dict[str, Any]:
    return {
        "Sid": f"{POLICY_SID}{service.capitalize()}",
        "Effect": "Allow",
        "Principal": {"Service": principal},
        "Action": list(POLICY_ACTIONS),
        "Resource": [f"arn:{partition}:s3:::{url.bucket}", url.arn(partition)],
    }


def read_policy(text: str | None, bucket: str) -> dict[str, Any]:
    """A bucket's policy as values; an empty one for None. Raises StoreError for text that is none."""
    if text is None:
        return {"Version": "2012-10-17", "Statement": []}
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        raise StoreError(f"s3://{bucket}: what the store gives as its policy is none", remedy="look at it by hand")
    if not isinstance(policy.get("Statement", []), list):
        policy["Statement"] = [policy["Statement"]]
    return policy


def with_statement(policy: Mapping[str, Any], grant: PolicyGrant) -> str:
    """The text of the policy with the grant in it, and all else as it was.

    A statement that rdbmerge made before for the same service stays good for the objects it names. Raises StoreError
    for a policy that would be larger than S3 takes.
    """
    sid = grant.statement["Sid"]
    others = [each for each in statements(policy) if each.get("Sid") != sid]
    mine = [each for each in statements(policy) if each.get("Sid") == sid]
    resources = list(grant.statement["Resource"])
    for each in mine:
        if each.get("Principal") == grant.statement["Principal"]:
            resources += [name for name in _listed(each.get("Resource")) if name not in resources]
    merged = {**policy, "Statement": [*others, {**grant.statement, "Resource": sorted(resources)}]}
    text = json.dumps(merged, indent=2)
    if len(json.dumps(merged, separators=(",", ":"))) > LARGEST_POLICY_BYTES:
        raise StoreError(
            f"s3://{grant.url.bucket}: its policy would be larger than the {LARGEST_POLICY_BYTES:,} bytes S3 takes",
            remedy=f"take objects that are gone out of its statement {sid}, or others out that are not needed",
        )
    return text


def is_in(policy: Mapping[str, Any], grant: PolicyGrant) -> bool:
    """Whether the policy gives the right already, in so many words."""
    return any(
        each.get("Effect") == "Allow"
        and "Condition" not in each
        and grant.principal in _listed(_services(each.get("Principal")))
        and set(POLICY_ACTIONS) <= set(_listed(each.get("Action")))
        and set(grant.statement["Resource"]) <= set(_listed(each.get("Resource")))
        for each in statements(policy)
    )


def statements(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements of a policy."""
    return [each for each in policy.get("Statement", []) if isinstance(each, dict)]


def denials(policy: Mapping[str, Any]) -> list[str]:
    """The names of statements that may keep the service out: all that deny, but those that only ask for TLS."""
    found = []
    for number, each in enumerate(statements(policy), 1):
        conditions = each.get("Condition") or {}
        keys = {key.lower() for tests in conditions.values() if isinstance(tests, dict) for key in tests}
        if each.get("Effect") == "Deny" and keys != {"aws:securetransport"}:
            found.append(str(each.get("Sid") or f"number {number}"))
    return found


def with_reader(acl: Mapping[str, Any], grant: AclGrant) -> dict[str, Any]:
    """An object's ACL with the grant in it: its owner keeps what they have. `acl` is as S3 gives it."""
    missing = [permission for permission in ACL_PERMISSIONS if permission not in held_by(acl, grant.reader)]
    new = [{"Grantee": {"Type": "CanonicalUser", "ID": grant.reader}, "Permission": one} for one in missing]
    return {"Owner": dict(acl["Owner"]), "Grants": [*acl.get("Grants", []), *new]}


def held_by(acl: Mapping[str, Any], reader: str) -> set[str]:
    """The permissions that an ACL gives to a canonical user."""
    mine = {
        str(each.get("Permission")) for each in acl.get("Grants", []) if each.get("Grantee", {}).get("ID") == reader
    }
    return mine | set(ACL_PERMISSIONS) if "FULL_CONTROL" in mine else mine


def _services(principal: Any) -> Any:
    return principal.get("Service", []) if isinstance(principal, dict) else []


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
