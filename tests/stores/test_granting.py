from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.hostile_s3 import HostileS3, Trouble
from objectstores import ObjectStore
from storing import client

from rdbmerge.errors import StoreError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.granting import is_granted, make_grant, policy_text
from rdbmerge.stores.grants import ENFORCED, AclGrant, Grant, decide_grant
from rdbmerge.stores.s3 import S3

pytestmark = pytest.mark.once

THEIRS = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}],
}


def made(s3: S3, grant: Grant) -> tuple[bool, list[str], list[str | None]]:
    shown: list[str] = []
    kept: list[str | None] = []
    return make_grant(s3, grant, show=shown.append, keep=kept.append).made, shown, kept


def by_policy(bucket: str, key: str = "a.rdb") -> Grant:
    return decide_grant(ObjectUrl(bucket, key), "elasticache", "us-east-1", ENFORCED)


def test_a_policy_is_shown_then_made_and_made_once(bucket: str, object_store: ObjectStore) -> None:
    s3 = client()
    assert not is_granted(s3, by_policy(bucket))
    done, shown, kept = made(s3, by_policy(bucket))
    assert (done, kept) == (True, [None])
    text = object_store.client().get_bucket_policy(Bucket=bucket)["Policy"]
    assert shown == [f"The policy of bucket {bucket} will be:\n{text}"]
    assert made(s3, by_policy(bucket)) == (False, [], [])


def test_a_policy_that_is_there_is_kept_for_undo(bucket: str, object_store: ObjectStore) -> None:
    object_store.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(THEIRS))
    done, _, kept = made(client(), by_policy(bucket))
    assert done
    assert [json.loads(text or "") for text in kept] == [THEIRS]
    after = json.loads(policy_text(client(), bucket) or "")
    assert [each["Sid"] for each in after["Statement"]] == ["Theirs", "RdbmergeSeedReadElasticache"]


def acl_grant(bucket: str) -> AclGrant:
    grant = decide_grant(ObjectUrl(bucket, "a.rdb"), "elasticache", "us-east-1", "ObjectWriter")
    assert isinstance(grant, AclGrant)
    return grant


def test_an_acl_is_made_where_the_bucket_has_them(bucket: str, object_store: ObjectStore) -> None:
    store: Any = object_store.client()
    name = f"{bucket}-acl"
    store.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter")
    store.put_object(Bucket=name, Key="a.rdb", Body=b"x")
    owners = store.get_object_acl(Bucket=name, Key="a.rdb")["Grants"]
    done, shown, _ = made(client(), acl_grant(name))
    assert done
    assert shown == [f"Granting {acl_grant(name).summary}"]
    acl = store.get_object_acl(Bucket=name, Key="a.rdb")["Grants"]
    assert [each["Permission"] for each in acl if each["Grantee"]["ID"] == acl_grant(name).reader] == [
        "READ",
        "READ_ACP",
    ]
    assert [each["Permission"] for each in acl[: len(owners)]] == [each["Permission"] for each in owners]
    assert made(client(), acl_grant(name)) == (False, [], [])


def test_a_bucket_without_acls_refuses_one(bucket: str, object_store: ObjectStore) -> None:
    object_store.client().put_object(Bucket=bucket, Key="a.rdb", Body=b"x")
    with pytest.raises(StoreError, match="the bucket does not allow ACLs") as refused:
        made(client(), acl_grant(bucket))
    assert "a bucket policy gives the right instead" in refused.value.remedy


def test_a_policy_that_may_not_be_written_is_told(bucket: str, object_store: ObjectStore) -> None:
    denied = Trouble(lambda r: r.method == "PUT" and "policy" in r.query, None, 403, "AccessDenied")
    with (
        HostileS3(object_store.endpoint, denied) as hostile,
        pytest.raises(StoreError, match="access denied") as refused,
    ):
        made(client(hostile.endpoint), by_policy(bucket))
    assert "s3:PutBucketPolicy is needed" in refused.value.remedy


def test_a_grant_that_does_not_show_is_told(bucket: str, object_store: ObjectStore) -> None:
    ignored = Trouble(lambda r: r.method == "PUT" and "policy" in r.query, None, 204)
    with (
        HostileS3(object_store.endpoint, ignored) as hostile,
        pytest.raises(StoreError, match="does not show it") as refused,
    ):
        made(client(hostile.endpoint), by_policy(bucket))
    assert "by hand" in refused.value.remedy


def test_a_bucket_that_is_not_there_has_no_policy_to_speak_of(bucket: str) -> None:
    with pytest.raises(StoreError, match="there is no such bucket"):
        policy_text(client(), f"{bucket}-none")
