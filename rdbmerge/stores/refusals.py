"""What the refusals of an object store mean for the user: code and status into a StoreError with a remedy. Pure.

Knows the words of S3 (its error codes), not how a request was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rdbmerge.errors import StoreError

_AGAIN = "the same command again takes up what is already there"

# The bytes that came are not those that were meant.
_DAMAGED = {"BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"}
# The same request may work later. Codes first; a status alone counts too, for proxies give no code.
_TRANSIENT = {
    "SlowDown", "503", "ServiceUnavailable", "InternalError", "500", "502", "504", "RequestTimeout", "Throttling",
    "ThrottlingException", "TooManyRequests", "429", "OperationAborted", "RequestLimitExceeded",
}  # fmt: skip
_TRANSIENT_STATUSES = {429, 500, 502, 503, 504}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_UNKNOWN_KEYS = {"InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "UnrecognizedClientException"}
_ELSEWHERE = {
    "PermanentRedirect", "301", "TemporaryRedirect", "307", "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}  # fmt: skip
_DENIED = {"AccessDenied", "403", "AllAccessDisabled", "AccountProblem"}
_NOT_THERE = {"NoSuchBucket", "NoSuchKey", "404", "NotFound"}
# The store does not know what it was asked for. S3 itself never says so of the calls made here.
_NOT_KNOWN = {"NotImplemented", "501", "MethodNotAllowed", "405", "XNotImplemented"}
# A checksum algorithm that the store does not know is said in one of these ways.
_UNSUITABLE = {*_NOT_KNOWN, "InvalidArgument", "InvalidRequest", "400"}

# The permission that a call needs, where it is not called like the call.
_PERMISSIONS = {
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "ListBuckets": "ListAllMyBuckets",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a store answered instead of doing as it was asked."""

    operation: str  # such as `UploadPart`
    place: str  # s3://bucket/key or s3://bucket
    code: str
    status: int
    message: str
    region: str  # that the request went to
    headers: Mapping[str, str]

    def as_error(self) -> StoreError:
        """The same for the user."""
        finding, remedy = self._meaning()
        retryable = self.code in _TRANSIENT or self.status in _TRANSIENT_STATUSES
        region = self.headers.get("x-amz-bucket-region", "") if self.code in _ELSEWHERE else ""
        return StoreError(f"{self.place}: {finding}", remedy=remedy, retryable=retryable, code=self.code, region=region)

    def _meaning(self) -> tuple[str, str]:
        code, said = self.code, f"{self.code}: {self.message}".rstrip(". ")
        if code in _EXPIRED:
            return f"the credentials have expired ({said})", f"get new ones (such as `aws sso login`); {_AGAIN}"
        if code in _UNKNOWN_KEYS:
            return f"the credentials are not accepted ({said})", "check --profile, ~/.aws and the AWS_ variables"
        if code == "RequestTimeTooSkewed":
            return f"the clock of this machine is wrong ({said})", "set the clock (NTP), and run the command again"
        if code in _ELSEWHERE:
            return self._elsewhere()
        if code == "NoSuchBucket" or (code in _NOT_THERE and self.operation == "HeadBucket"):
            return "there is no such bucket", "check its name, and the account (--profile); rdbmerge makes no buckets"
        if code == "NoSuchUpload":
            return "the unfinished upload is not there any more", "run the same command again"
        if code in _NOT_THERE:
            return "there is no such object", "check the address"
        if code in _DENIED:
            permission = f"s3:{_PERMISSIONS.get(self.operation, self.operation)}"
            remedy = f"{permission} is needed: in the policies of the caller, and not denied by that of the bucket"
            return f"access denied ({self.operation})", remedy
        if code == "AccessControlListNotSupported":
            return "the bucket does not allow ACLs", "a bucket policy gives the right instead: --grant writes it"
        if code in _TRANSIENT or self.status in _TRANSIENT_STATUSES:
            return f"the store is busy or disturbed ({said}, {self.operation})", f"wait a little; {_AGAIN}"
        return f"{self.operation} was refused ({said})", ""

    def _elsewhere(self) -> tuple[str, str]:
        region = self.headers.get("x-amz-bucket-region", "")
        if region:
            return f"the bucket is in {region}, the request went to {self.region}", f"give --region {region}"
        return f"the bucket is in another region than {self.region}", "give the bucket's own with --region"


def is_absent(error: StoreError, *codes: str) -> bool:
    """Whether the store says that what was asked for is not there; `codes` are its words for things other than
    buckets and objects."""
    return error.code in _NOT_THERE or error.code in codes


def is_denied(error: StoreError) -> bool:
    """Whether the caller may not ask this."""
    return error.code in _DENIED


def is_unknown_call(error: StoreError) -> bool:
    """Whether the store does not know this call at all: it only speaks a part of S3."""
    return error.code in _NOT_KNOWN


def is_unsuitable(error: StoreError) -> bool:
    """Whether the store may not know an option of the call."""
    return error.code in _UNSUITABLE


def is_damaged(error: StoreError) -> bool:
    """Whether the store got other bytes than were meant."""
    return error.code in _DAMAGED
