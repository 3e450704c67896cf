from __future__ import annotations

import pytest

from rdbmerge.errors import StoreError
from rdbmerge.stores.refusals import Refusal, is_absent, is_damaged, is_denied, is_unknown_call, is_unsuitable

pytestmark = pytest.mark.once


def refused(code: str, operation: str = "UploadPart", status: int = 400, **headers: str) -> StoreError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(operation, "s3://seeds/a.rdb", code, status, "said.", "us-east-1", named).as_error()


@pytest.mark.parametrize(
    ("code", "operation", "finding", "remedy"),
    [
        ("ExpiredToken", "UploadPart", "the credentials have expired", "the same command again takes up"),
        ("InvalidAccessKeyId", "UploadPart", "the credentials are not accepted", "--profile"),
        ("SignatureDoesNotMatch", "UploadPart", "the credentials are not accepted", "AWS_"),
        ("RequestTimeTooSkewed", "UploadPart", "the clock of this machine is wrong", "NTP"),
        ("NoSuchBucket", "UploadPart", "there is no such bucket", "rdbmerge makes no buckets"),
        ("404", "HeadBucket", "there is no such bucket", "--profile"),
        ("404", "HeadObject", "there is no such object", "check the address"),
        ("NoSuchUpload", "UploadPart", "the unfinished upload is not there any more", "same command"),
        ("403", "HeadBucket", r"access denied \(HeadBucket\)", "s3:ListBucket is needed"),
        ("AccessDenied", "ListParts", r"access denied \(ListParts\)", "s3:ListMultipartUploadParts is needed"),
        ("AccessDenied", "PutBucketPolicy", "access denied", "s3:PutBucketPolicy is needed"),
        ("AccessControlListNotSupported", "PutObjectAcl", "does not allow ACLs", "--grant"),
        ("SlowDown", "UploadPart", r"busy or disturbed \(SlowDown: said, UploadPart\)", "wait a little"),
        ("EntityTooSmall", "CompleteMultipartUpload", r"was refused \(EntityTooSmall: said\)", ""),
    ],
)
def test_each_refusal_says_what_it_means_and_what_to_do(code: str, operation: str, finding: str, remedy: str) -> None:
    error = refused(code, operation)
    assert error.exit_code == 40
    assert str(error).startswith("s3://seeds/a.rdb: ")
    with pytest.raises(StoreError, match=finding):
        raise error
    assert remedy in error.remedy
    assert error.code == code


def test_a_bucket_elsewhere_is_told_with_its_region() -> None:
    error = refused("PermanentRedirect", status=301, x_amz_bucket_region="eu-west-1")
    assert "the bucket is in eu-west-1, the request went to us-east-1" in str(error)
    assert (error.remedy, error.region) == ("give --region eu-west-1", "eu-west-1")
    unknown = refused("AuthorizationHeaderMalformed")
    assert "in another region than us-east-1" in str(unknown)
    assert unknown.region == ""


@pytest.mark.parametrize(
    ("code", "status", "again"),
    [("SlowDown", 503, True), ("", 502, True), ("InternalError", 500, True), ("AccessDenied", 403, False),
     ("ExpiredToken", 400, False), ("BadDigest", 400, False)],
)  # fmt: skip
def test_what_may_work_later_is_told_apart(code: str, status: int, again: bool) -> None:
    assert refused(code, status=status).retryable is again


def test_kinds_of_refusals_are_told_apart() -> None:
    assert is_absent(refused("NoSuchKey"))
    assert is_absent(refused("NoSuchUpload"), "NoSuchUpload")
    assert not is_absent(refused("NoSuchUpload"))
    assert is_denied(refused("AccessDenied"))
    assert is_unknown_call(refused("NotImplemented"))
    assert is_unsuitable(refused("InvalidArgument"))
    assert not is_unsuitable(refused("AccessDenied"))
    assert is_damaged(refused("BadDigest"))
