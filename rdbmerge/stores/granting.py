"""Gives a service the right to read an object: what is there is read, shown, kept for undo, changed and read again.

Decides nothing; `grants` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rdbmerge.errors import StoreError
from rdbmerge.stores import grants
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.grants import AclGrant, Grant, PolicyGrant
from rdbmerge.stores.refusals import is_absent
from rdbmerge.stores.s3 import S3

Shown = Callable[[str], None]
Kept = Callable[[str | None], None]


@dataclass(frozen=True, slots=True)
class Granted:
    """What became of a right."""

    made: bool  # False: it was there already
    policy_before: str | None = None  # of a bucket whose policy was changed; None: it had none


def make_grant(s3: S3, grant: Grant, *, show: Shown, keep: Kept) -> Granted:
    """Give the right; a right that is there already is left alone.

    `show` is told what will be written, before it is; `keep` gets the bucket's policy as it was (None: there was none).
    Raises StoreError, also where the store does not show the right afterwards.
    """
    if isinstance(grant, AclGrant):
        return _by_acl(s3, grant, show)
    return _by_policy(s3, grant, show, keep)


def is_granted(s3: S3, grant: Grant) -> bool:
    """Whether the right is there. Raises StoreError where that cannot be found out."""
    if isinstance(grant, AclGrant):
        return set(grants.ACL_PERMISSIONS) <= grants.held_by(_acl(s3, grant.url), grant.reader)
    return grants.is_in(grants.read_policy(policy_text(s3, grant.url.bucket), grant.url.bucket), grant)


def policy_text(s3: S3, bucket: str) -> str | None:
    """The policy of a bucket; None: it has none. Raises StoreError."""
    try:
        return str(s3.call("get_bucket_policy", f"s3://{bucket}", Bucket=bucket)["Policy"])
    except StoreError as error:
        if is_absent(error, "NoSuchBucketPolicy") and error.code != "NoSuchBucket":
            return None
        raise


def _acl(s3: S3, url: ObjectUrl) -> dict[str, object]:
    return s3.call("get_object_acl", url, Bucket=url.bucket, Key=url.key)


def _by_acl(s3: S3, grant: AclGrant, show: Shown) -> Granted:
    url = grant.url
    acl = _acl(s3, url)
    if set(grants.ACL_PERMISSIONS) <= grants.held_by(acl, grant.reader):
        return Granted(made=False)
    show(f"Granting {grant.summary}")
    s3.call("put_object_acl", url, Bucket=url.bucket, Key=url.key, AccessControlPolicy=grants.with_reader(acl, grant))
    _insist(s3, grant)
    return Granted(made=True)


def _by_policy(s3: S3, grant: PolicyGrant, show: Shown, keep: Kept) -> Granted:
    bucket = grant.url.bucket
    before = policy_text(s3, bucket)
    policy = grants.read_policy(before, bucket)
    if grants.is_in(policy, grant):
        return Granted(made=False)
    text = grants.with_statement(policy, grant)
    show(f"The policy of bucket {bucket} will be:\n{text}")
    keep(before)
    s3.call("put_bucket_policy", f"s3://{bucket}", Bucket=bucket, Policy=text)
    _insist(s3, grant)
    return Granted(made=True, policy_before=before)


def _insist(s3: S3, grant: Grant) -> None:
    if not is_granted(s3, grant):
        raise StoreError(
            f"{grant.url}: the store took the grant, but does not show it afterwards",
            remedy=f"make by hand: {grant.summary}",
        )
