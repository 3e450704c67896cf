from __future__ import annotations

import json

import pytest

from rdbmerge.errors import StoreError, UsageError
from rdbmerge.stores import grants
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.grants import AclGrant, PolicyGrant, decide_grant

pytestmark = pytest.mark.once

URL = ObjectUrl("seeds", "2026/a.rdb")
ENFORCED = grants.ENFORCED


@pytest.mark.parametrize("ownership", [None, "ObjectWriter", "BucketOwnerPreferred"])
def test_in_a_region_that_everybody_has_an_acl_does(ownership: str | None) -> None:
    grant = decide_grant(URL, "elasticache", "eu-west-1", ownership)
    assert isinstance(grant, AclGrant)
    assert grant.reader == "540804c33a284a299d2547575ce1010f2312ef3da9b3a053c8bc45bf233e4353"
    assert grant.doubt == ""
    assert "READ and READ_ACP" in grant.summary


@pytest.mark.parametrize(
    ("service", "region", "ownership", "principal", "unsure"),
    [
        ("elasticache", "eu-west-1", ENFORCED, "eu-west-1.elasticache-snapshot.amazonaws.com", True),
        ("elasticache", "af-south-1", None, "af-south-1.elasticache-snapshot.amazonaws.com", False),
        ("elasticache", "il-central-1", ENFORCED, "il-central-1.elasticache-snapshot.amazonaws.com", False),
        ("memorydb", "us-east-1", None, "us-east-1.memorydb-snapshot.amazonaws.com", False),
        ("memorydb", "us-east-1", ENFORCED, "us-east-1.memorydb-snapshot.amazonaws.com", False),
        ("memorydb", "cn-north-1", None, "cn-north-1.memorydb-snapshot.amazonaws.com", True),
    ],
)
def test_elsewhere_a_policy_does(
    service: str, region: str, ownership: str | None, principal: str, unsure: bool
) -> None:
    grant = decide_grant(URL, service, region, ownership)
    assert isinstance(grant, PolicyGrant)
    assert (grant.principal, bool(grant.doubt)) == (principal, unsure)
    assert grant.statement["Action"] == ["s3:GetObject", "s3:ListBucket", "s3:GetBucketAcl"]


@pytest.mark.parametrize(
    ("region", "reader", "partition"),
    [("us-gov-west-1", "40fa5682", "aws-us-gov"), ("cn-northwest-1", "b14d6a12", "aws-cn")],
)
def test_other_partitions_have_their_own_names(region: str, reader: str, partition: str) -> None:
    acl = decide_grant(URL, "elasticache", region, None)
    assert isinstance(acl, AclGrant)
    assert acl.reader.startswith(reader)
    assert bool(acl.doubt) == (partition == "aws-cn")
    policy = decide_grant(URL, "elasticache", region, ENFORCED)
    assert isinstance(policy, PolicyGrant)
    assert policy.statement["Resource"] == [f"arn:{partition}:s3:::seeds", f"arn:{partition}:s3:::seeds/2026/a.rdb"]


def test_another_service_is_refused() -> None:
    with pytest.raises(UsageError, match="'dynamo' is not a service") as refused:
        decide_grant(URL, "dynamo", "eu-west-1", None)
    assert "memorydb" in refused.value.remedy


# --- policies -----------------------------------------------------------------------------------------------------


def policy_grant(key: str = "a.rdb", region: str = "af-south-1", service: str = "elasticache") -> PolicyGrant:
    grant = decide_grant(ObjectUrl("seeds", key), service, region, ENFORCED)
    assert isinstance(grant, PolicyGrant)
    return grant


THEIRS = {
    "Sid": "Theirs",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::seeds/*",
}


def test_a_statement_joins_those_that_are_there() -> None:
    before = grants.read_policy(json.dumps({"Version": "2012-10-17", "Id": "x", "Statement": THEIRS}), "seeds")
    after = json.loads(grants.with_statement(before, policy_grant()))
    assert after["Id"] == "x"
    assert after["Statement"][0] == THEIRS
    assert after["Statement"][1]["Sid"] == "RdbmergeSeedReadElasticache"
    assert grants.is_in(after, policy_grant())
    assert not grants.is_in(before, policy_grant())


def test_shards_share_a_statement_and_services_do_not() -> None:
    policy = grants.read_policy(None, "seeds")
    for grant in (
        policy_grant("a.rdb"),
        policy_grant("b.rdb"),
        policy_grant("a.rdb"),
        policy_grant(service="memorydb"),
    ):
        policy = json.loads(grants.with_statement(policy, grant))
    assert [each["Sid"] for each in policy["Statement"]] == ["RdbmergeSeedReadElasticache", "RdbmergeSeedReadMemorydb"]
    assert policy["Statement"][0]["Resource"] == [
        "arn:aws:s3:::seeds", "arn:aws:s3:::seeds/a.rdb", "arn:aws:s3:::seeds/b.rdb",
    ]  # fmt: skip
    assert grants.is_in(policy, policy_grant("b.rdb"))
    assert not grants.is_in(policy, policy_grant("c.rdb"))


def test_a_statement_for_another_region_is_replaced() -> None:
    policy = json.loads(grants.with_statement(grants.read_policy(None, "seeds"), policy_grant("old.rdb")))
    policy = json.loads(grants.with_statement(policy, policy_grant("new.rdb", region="eu-south-2")))
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "eu-south-2.elasticache-snapshot.amazonaws.com"}
    assert statement["Resource"] == ["arn:aws:s3:::seeds", "arn:aws:s3:::seeds/new.rdb"]


def test_a_policy_that_would_be_too_large_is_refused() -> None:
    policy = grants.read_policy(json.dumps({"Statement": [{**THEIRS, "Sid": "x" * 20_300}]}), "seeds")
    with pytest.raises(StoreError, match="larger than the 20,480 bytes") as refused:
        grants.with_statement(policy, policy_grant())
    assert "RdbmergeSeedReadElasticache" in refused.value.remedy


@pytest.mark.parametrize("text", ["<xml/>", "[]", '"x"', ""])
def test_what_is_no_policy_is_told(text: str) -> None:
    with pytest.raises(StoreError, match="what the store gives as its policy is none"):
        grants.read_policy(text, "seeds")


@pytest.mark.parametrize(
    ("condition", "denies"),
    [
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, True),
        ({"Bool": {"aws:SecureTransport": "false"}, "StringEquals": {"aws:PrincipalOrgID": "o"}}, True),
        (None, True),
    ],
)
def test_denials_are_seen_but_for_those_that_want_tls(condition: dict[str, object] | None, denies: bool) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    policy = {"Statement": [THEIRS, {**statement, **({"Condition": condition} if condition else {})}]}
    assert grants.denials(policy) == (["number 2"] if denies else [])


def test_a_right_with_conditions_is_not_taken_for_granted() -> None:
    grant = policy_grant()
    conditional = {**grant.statement, "Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}
    assert not grants.is_in({"Statement": [conditional]}, grant)
    assert not grants.is_in({"Statement": [{**grant.statement, "Action": ["s3:GetObject"]}]}, grant)
    assert not grants.is_in({"Statement": [{**grant.statement, "Effect": "Deny"}]}, grant)


# --- ACLs ---------------------------------------------------------------------------------------------------------


def test_an_acl_keeps_what_its_owner_has_and_gains_what_is_missing() -> None:
    grant = decide_grant(URL, "elasticache", "eu-west-1", None)
    assert isinstance(grant, AclGrant)
    mine = {"Grantee": {"Type": "CanonicalUser", "ID": "me"}, "Permission": "FULL_CONTROL"}
    read = {"Grantee": {"Type": "CanonicalUser", "ID": grant.reader}, "Permission": "READ"}
    acl = grants.with_reader({"Owner": {"ID": "me"}, "Grants": [mine, read]}, grant)
    assert acl["Owner"] == {"ID": "me"}
    assert acl["Grants"][:2] == [mine, read]
    assert [each["Permission"] for each in acl["Grants"]] == ["FULL_CONTROL", "READ", "READ_ACP"]
    assert grants.held_by(acl, grant.reader) == {"READ", "READ_ACP"}
    assert {"READ", "READ_ACP"} <= grants.held_by(acl, "me")
    assert grants.held_by(acl, "someone") == set()
