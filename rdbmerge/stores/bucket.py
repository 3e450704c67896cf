"""The look at a bucket before an upload: everything about it that would spoil the upload, or the seeding after it.

Asks and judges; changes nothing. What a store does not let us ask is a warning, never an assumption.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from rdbmerge.errors import StoreError
from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.stores import grants
from rdbmerge.stores.base import ObjectUrl, is_dns_name
from rdbmerge.stores.granting import is_granted, policy_text
from rdbmerge.stores.grants import Grant, decide_grant
from rdbmerge.stores.multipart import ENCRYPTION
from rdbmerge.stores.refusals import is_absent, is_denied, is_unknown_call
from rdbmerge.stores.s3 import S3, Answer

_SAFE_KEY = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True, slots=True)
class BucketLook:
    """What the look found."""

    checks: list[PreflightCheck]
    region: str  # that the bucket is in
    ownership: str | None  # its setting of object ownership; None: none, or not known
    grant: Grant | None  # that the service needs to read the object; None where the bucket is not there


def look_at_bucket(s3: S3, url: ObjectUrl, service: str) -> BucketLook:
    """Look at the bucket of `url` with the eyes of `service`; the client moves to the bucket's region.

    Raises StoreError where the store cannot be asked at all: no credentials, no answer.
    """
    look = _Look(s3, url)
    names = [look.bucket_name(), look.key()]
    there = look.bucket()
    if look.is_missing:
        return BucketLook([*names, there], s3.region, None, None)
    region, ownership = look.region, look.ownership_setting()
    grant = decide_grant(url, service, region, ownership)
    checks = [
        *names, there, look.endpoint(), look.same_region(), look.owner(), look.ownership(ownership), look.encryption(),
        look.versioning(), look.object_lock(), look.policy(), look.unfinished(), look.right(grant, service),
    ]  # fmt: skip
    return BucketLook([check for check in checks if check is not None], region, ownership, grant)


class _Look:
    """One look; each method answers one question."""

    def __init__(self, s3: S3, url: ObjectUrl) -> None:
        self._s3 = s3
        self._url = url
        self._place = f"s3://{url.bucket}"
        self._chosen = s3.chosen_region
        self.region = s3.region
        self.is_missing = False

    def _ask(self, operation: str) -> Answer:
        return self._s3.call(operation, self._place, Bucket=self._url.bucket)

    def _try(self, name: str, ask: Callable[[], PreflightCheck], *absent: str, absence: str = "") -> PreflightCheck:
        """What `ask` finds; `absence` where the store says one of `absent`; a warning where it does not tell."""
        try:
            return ask()
        except StoreError as error:
            if error.code and error.code in absent:
                return ok(name, absence)
            if is_denied(error):
                return warning(name, "could not be looked at: access denied", error.remedy)
            if is_unknown_call(error) or error.code:
                return warning(name, f"could not be looked at: {error.code}")
            raise

    def bucket_name(self) -> PreflightCheck:
        bucket = self._url.bucket
        if is_dns_name(bucket):
            return ok("bucket name", f"{bucket} is a DNS name")
        remedy = "use a bucket of 3 to 63 lower-case letters, digits, dashes and dots"
        return failed("bucket name", f"{bucket} is no DNS name: ElastiCache cannot read from it", remedy)

    def key(self) -> PreflightCheck:
        key = self._url.key
        if "," in key:
            return failed("object key", f"{key} has a comma, which ElastiCache takes for the end of it", "rename it")
        if self._url.is_prefix:
            return ok("object key", f"{key} is a folder: each file is called by its own name")
        if not key.endswith(".rdb"):
            return warning("object key", f"{key} does not end in .rdb", "others report that ElastiCache wants it to")
        if not _SAFE_KEY.fullmatch(key):
            return warning("object key", f"{key} has unusual characters", "use letters, digits and . _ - / only")
        return ok("object key", key)

    def bucket(self) -> PreflightCheck:
        try:
            answer = self._ask("head_bucket")
        except StoreError as error:
            if is_denied(error):
                return warning("bucket", f"{self._place} could not be looked at: access denied", error.remedy)
            if not error.code or error.retryable:
                raise
            self.is_missing = True
            return failed("bucket", str(error), error.remedy)
        self.region = str(answer.get("BucketRegion") or self._s3.region)
        self._s3.move_to(self.region)
        return ok("bucket", f"{self._place} is there, in {self.region}")

    def endpoint(self) -> PreflightCheck | None:
        if self._s3.is_amazon:
            return None
        return warning("endpoint", f"{self._s3.endpoint} is not AWS, whose services read from AWS only")

    def same_region(self) -> PreflightCheck:
        if self._chosen in (None, self.region):
            return ok("region", f"{self.region}: the cache has to be made there, too")
        return warning(
            "region",
            f"the bucket is in {self.region}, the region chosen is {self._chosen}",
            f"make the cache in {self.region}, or use a bucket in {self._chosen}: a cache reads from its own region",
        )

    def owner(self) -> PreflightCheck:
        def ask() -> PreflightCheck:
            theirs = self._ask("get_bucket_acl").get("Owner", {}).get("ID")
            mine = self._s3.call("list_buckets", self._place, MaxBuckets=1).get("Owner", {}).get("ID")
            if not theirs or not mine:
                return warning("owner", "the store does not tell who owns the bucket")
            if theirs == mine:
                return ok("owner", "the bucket belongs to this account")
            return warning(
                "owner",
                "the bucket belongs to another account",
                "AWS does not describe seeding from such a bucket: use one of the account that has the cache",
            )

        return self._try("owner", ask)

    def ownership_setting(self) -> str | None:
        """The setting of the bucket; None: none, or not known."""
        try:
            rules = self._ask("get_bucket_ownership_controls").get("OwnershipControls", {}).get("Rules") or [{}]
        except StoreError as error:
            if not error.code or error.retryable:
                raise
            # Without it ACLs are allowed. Where it may not be asked, a new bucket's setting is the likely one.
            return grants.ENFORCED if is_denied(error) else None
        setting = rules[0].get("ObjectOwnership")
        return None if setting is None else str(setting)

    def ownership(self, setting: str | None) -> PreflightCheck:
        if setting == grants.ENFORCED:
            return ok("ownership", f"{setting}: ACLs are off, a bucket policy gives the right to read")
        return ok("ownership", f"{setting or 'no setting'}: ACLs are allowed")

    def encryption(self) -> PreflightCheck:
        def ask() -> PreflightCheck:
            rules = self._ask("get_bucket_encryption").get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}]
            default = rules[0].get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm")
            if default == ENCRYPTION:
                return ok("encryption", f"{ENCRYPTION} (SSE-S3)")
            return ok(
                "encryption", f"the default is {default or 'not told'}; the object asks for {ENCRYPTION} (SSE-S3)"
            )

        absence = f"no default; the object asks for {ENCRYPTION} (SSE-S3)"
        return self._try("encryption", ask, "ServerSideEncryptionConfigurationNotFoundError", absence=absence)

    def versioning(self) -> PreflightCheck:
        def ask() -> PreflightCheck:
            if self._ask("get_bucket_versioning").get("Status") == "Enabled":
                return ok("versioning", "on: an object that is replaced stays as an older version, and is paid for")
            return ok("versioning", "off")

        return self._try("versioning", ask)

    def object_lock(self) -> PreflightCheck:
        def ask() -> PreflightCheck:
            settings = self._ask("get_object_lock_configuration").get("ObjectLockConfiguration", {})
            kept = settings.get("Rule", {}).get("DefaultRetention", {})
            if not kept:
                return ok("object lock", "no retention by default")
            span = f"{kept['Days']} days" if "Days" in kept else f"{kept.get('Years', '?')} years"
            finding = f"every object is kept for {span} ({kept.get('Mode', '?')}) and cannot be deleted before"
            return warning("object lock", finding, "use a bucket without retention, unless that is wanted")

        absent = ("ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration")
        return self._try("object lock", ask, *absent, absence="off")

    def policy(self) -> PreflightCheck:
        def ask() -> PreflightCheck:
            text = policy_text(self._s3, self._url.bucket)
            policy = grants.read_policy(text, self._url.bucket)
            denying = grants.denials(policy)
            if denying:
                finding = f"it denies something to someone: {', '.join(denying)}"
                return warning("bucket policy", finding, "see that it does not keep out the upload, or the service")
            return ok("bucket policy", "none" if text is None else f"{len(grants.statements(policy))} statements")

        try:
            return self._try("bucket policy", ask)
        except StoreError as error:
            return warning("bucket policy", str(error), error.remedy)

    def unfinished(self) -> PreflightCheck:
        def ask() -> PreflightCheck:
            found = unfinished_uploads(self._s3, self._url)
            if not found:
                return ok("unfinished uploads", "none of this key")
            finding = f"{len(found)} of this key: their parts cost money until they are given up"
            return warning("unfinished uploads", finding, "uploading again goes on from one; --abandon gives all up")

        return self._try("unfinished uploads", ask)

    def right(self, grant: Grant, service: str) -> PreflightCheck:
        name = f"{service} may read"
        if self._url.is_prefix:
            return ok(name, f"to be given for each object: {grant.summary}")
        try:
            if is_granted(self._s3, grant):
                return ok(name, f"by {grant.summary}")
        except StoreError as error:
            if not (is_absent(error) or error.code):
                return warning(name, str(error), error.remedy)
            if is_unknown_call(error):
                return warning(name, f"the store knows no grants ({error.code})")
        unsure = f" ({grant.doubt})" if grant.doubt else ""
        remedy = f"--grant makes it; not tried against AWS by rdbmerge{unsure}"
        return warning(name, f"not yet; it takes {grant.summary}", remedy)


def unfinished_uploads(s3: S3, url: ObjectUrl) -> list[str]:
    """The ids of the multipart uploads of exactly this key that are neither completed nor given up.

    Raises StoreError.
    """
    found: list[str] = []
    markers: Answer = {}
    while True:
        answer = s3.call("list_multipart_uploads", url, Bucket=url.bucket, Prefix=url.key, **markers)
        found += [str(each["UploadId"]) for each in answer.get("Uploads", []) if each.get("Key") == url.key]
        if not answer.get("IsTruncated"):
            return found
        following = {"KeyMarker": answer.get("NextKeyMarker"), "UploadIdMarker": answer.get("NextUploadIdMarker")}
        if following == markers or not all(following.values()):
            return found
        markers = {name: str(value) for name, value in following.items()}
