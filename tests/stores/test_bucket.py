"""The look before an upload: each thing that would spoil it is seen, and what cannot be asked is said."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from fakes.hostile_s3 import HostileS3, Trouble
from moto import mock_aws
from objectstores import ObjectStore
from storing import client

from rdbmerge.errors import StoreError
from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.stores.bucket import BucketLook, look_at_bucket, unfinished_uploads
from rdbmerge.stores.grants import AclGrant, PolicyGrant
from rdbmerge.stores.s3 import S3

pytestmark = pytest.mark.once


def looked(bucket: str, key: str = "a.rdb", *, endpoint: str | None = None, service: str = "elasticache") -> BucketLook:
    return look_at_bucket(client(endpoint), ObjectUrl(bucket, key), service)


def answer(look: BucketLook, name: str) -> PreflightCheck:
    return next(check for check in look.checks if check.name == name)


def test_a_bucket_as_aws_makes_them_now(bucket: str) -> None:
    look = looked(bucket)
    outcomes = {check.name: check.outcome for check in look.checks}
    assert outcomes == {
        "bucket name": Outcome.OK, "object key": Outcome.OK, "bucket": Outcome.OK, "endpoint": Outcome.WARNING,
        "region": Outcome.OK, "owner": Outcome.OK, "ownership": Outcome.OK, "encryption": Outcome.OK,
        "versioning": Outcome.OK, "object lock": Outcome.OK, "bucket policy": Outcome.OK,
        "unfinished uploads": Outcome.OK, "elasticache may read": Outcome.WARNING,
    }  # fmt: skip
    assert (look.region, isinstance(look.grant, PolicyGrant)) == ("us-east-1", True)
    right = answer(look, "elasticache may read")
    assert "a statement in the policy of bucket" in right.finding
    assert "not tried against AWS by rdbmerge" in right.remedy


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    look = looked(f"{bucket}-none")
    assert [check.outcome for check in look.checks] == [Outcome.OK, Outcome.OK, Outcome.FAILED]
    assert "there is no such bucket" in answer(look, "bucket").finding
    assert look.grant is None


def test_names_that_cannot_be_seeded_from(bucket: str) -> None:
    assert answer(looked("Upper_Case"), "bucket name").outcome is Outcome.FAILED
    for key, outcome in (
        ("a,b.rdb", Outcome.FAILED), ("a.bin", Outcome.WARNING), ("a b.rdb", Outcome.WARNING), ("x/", Outcome.OK),
    ):  # fmt: skip
        assert answer(looked(bucket, key), "object key").outcome is outcome


def test_a_bucket_with_everything_unusual(bucket: str, object_store: ObjectStore) -> None:
    store: Any = object_store.client()
    name = f"{bucket}-odd"
    store.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerPreferred", ObjectLockEnabledForBucket=True)
    store.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}}]
        },
    )
    store.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    store.put_object_lock_configuration(
        Bucket=name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}},
        },
    )
    statement = {"Sid": "OnlyOurs", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    store.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    store.create_multipart_upload(Bucket=name, Key="a.rdb")
    look = looked(name)
    assert "the default is aws:kms; the object asks for AES256" in answer(look, "encryption").finding
    assert answer(look, "versioning").finding.startswith("on: ")
    assert "is kept for 3 days (GOVERNANCE)" in answer(look, "object lock").finding
    assert answer(look, "bucket policy").outcome is Outcome.WARNING
    assert "OnlyOurs" in answer(look, "bucket policy").finding
    assert answer(look, "unfinished uploads").finding.startswith("1 of this key")
    assert answer(look, "ownership").finding == "BucketOwnerPreferred: ACLs are allowed"
    assert isinstance(look.grant, AclGrant)


def test_a_right_that_is_there_is_seen(bucket: str, object_store: ObjectStore) -> None:
    look = looked(bucket)
    assert isinstance(look.grant, PolicyGrant)
    policy = {"Version": "2012-10-17", "Statement": [dict(look.grant.statement)]}
    object_store.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert answer(looked(bucket), "elasticache may read").outcome is Outcome.OK
    assert answer(looked(bucket, service="memorydb"), "memorydb may read").outcome is Outcome.WARNING


def test_what_may_not_be_asked_is_a_warning(bucket: str, object_store: ObjectStore) -> None:
    def settings(request: Any) -> bool:
        return bool(request.method == "GET" and request.query)

    with HostileS3(object_store.endpoint, Trouble(settings, None, 403, "AccessDenied")) as hostile:
        look = looked(bucket, endpoint=hostile.endpoint)
    denied = {check.name for check in look.checks if "access denied" in check.finding}
    assert denied == {"owner", "encryption", "versioning", "object lock", "bucket policy", "unfinished uploads"}
    assert all(answer(look, name).outcome is Outcome.WARNING for name in denied)
    assert isinstance(look.grant, PolicyGrant)  # what a bucket has that is made today


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (405, "MethodNotAllowed")])
def test_what_a_store_does_not_know_is_a_warning(
    bucket: str, object_store: ObjectStore, status: int, code: str
) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: bool(r.query), None, status, code)) as hostile:
        look = looked(bucket, endpoint=hostile.endpoint)
    assert answer(look, "encryption").outcome is Outcome.WARNING
    assert answer(look, "bucket policy").outcome is Outcome.WARNING
    assert all(check.outcome is not Outcome.FAILED for check in look.checks)


def test_a_bucket_in_another_region_is_followed_and_told(bucket: str, object_store: ObjectStore) -> None:
    name = f"{bucket}-eu"
    object_store.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3 = client()
    look = look_at_bucket(s3, ObjectUrl(name, "a.rdb"), "elasticache")
    assert (look.region, s3.region, s3.chosen_region) == ("eu-west-1", "eu-west-1", "us-east-1")
    region = answer(look, "region")
    assert region.outcome is Outcome.WARNING
    assert region.finding == "the bucket is in eu-west-1, the region chosen is us-east-1"
    assert "make the cache in eu-west-1" in region.remedy
    assert isinstance(look.grant, PolicyGrant)
    assert look.grant.principal == "eu-west-1.elasticache-snapshot.amazonaws.com"


def test_a_bucket_that_stays_elsewhere_fails(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda _: True, None, 301, "PermanentRedirect")) as hostile:
        look = looked(bucket, endpoint=hostile.endpoint)
    assert answer(look, "bucket").outcome is Outcome.FAILED
    assert "--region" in answer(look, "bucket").remedy


def test_a_bucket_of_another_account_is_told(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: "acl" in r.query, None, 403, "AccessDenied")) as hostile:
        assert answer(looked(bucket, endpoint=hostile.endpoint), "owner").outcome is Outcome.WARNING


def test_no_credentials_end_the_look(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreError):
        looked(bucket)


def test_a_bucket_of_the_years_before_ownership_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto makes such, at the addresses of AWS itself."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        boto3.client("s3", region_name="eu-west-1").create_bucket(
            Bucket="seeds", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        look = look_at_bucket(S3(S3Access(region="eu-west-1")), ObjectUrl("seeds", "a.rdb"), "elasticache")
    assert isinstance(look.grant, AclGrant)
    assert answer(look, "ownership").finding == "no setting: ACLs are allowed"
    assert answer(look, "encryption").outcome is Outcome.OK
    assert "endpoint" not in {check.name for check in look.checks}


def test_unfinished_uploads_of_this_key_alone_are_found(bucket: str, object_store: ObjectStore) -> None:
    store = object_store.client()
    mine = store.create_multipart_upload(Bucket=bucket, Key="a.rdb")["UploadId"]
    store.create_multipart_upload(Bucket=bucket, Key="a.rdb.other")
    assert unfinished_uploads(client(), ObjectUrl(bucket, "a.rdb")) == [mine]
