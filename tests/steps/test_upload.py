"""A file with its manifest becomes an object that a service may read; every fault leaves no object, or the old one."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import storing
from fakes.hostile_s3 import HostileS3, Trouble
from merging import merged
from objectstores import ObjectStore

from rdbmerge.errors import FormatError, StoppedError, StoreError, UsageError
from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.snapshot.manifest import manifest_path, read_manifest
from rdbmerge.steps.upload import abandon, check_bucket, upload
from rdbmerge.steps.upload_report import UploadReport
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.stores.resume import state_path

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    storing.small_parts(monkeypatch)


@pytest.fixture
def made(golden: Path, tmp_path: Path) -> Path:
    shutil.copy(golden / "6.2.16" / "all_types.rdb", tmp_path / "in.rdb")
    merged([tmp_path / "in.rdb"], tmp_path / "out.rdb")
    assert (tmp_path / "out.rdb").stat().st_size > 2 * storing.PART
    return tmp_path / "out.rdb"


@pytest.fixture
def url(bucket: str) -> ObjectUrl:
    return ObjectUrl(bucket, "2026/out.rdb")


def run(path: Path, url: ObjectUrl, *, endpoint: str | None = None, **how: Any) -> UploadReport:
    values: dict[str, Any] = {
        "jobs": 2, "grant": False, "service": "elasticache", "force": False, "now_ms": 7,
        "part_bytes": storing.PART, **how,
    }  # fmt: skip
    return upload(path, url, access=S3Access(endpoint_url=endpoint), **values)


def keys(store: ObjectStore, url: ObjectUrl) -> list[str]:
    return [each["Key"] for each in store.client().list_objects_v2(Bucket=url.bucket).get("Contents", [])]


def content(store: ObjectStore, url: ObjectUrl) -> bytes:
    return bytes(store.client().get_object(Bucket=url.bucket, Key=url.key)["Body"].read())


def test_a_file_and_its_manifest_go_up(made: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    checks: list[PreflightCheck] = []
    report = run(made, url, on_checks=checks.extend, metadata={"rdbmerge-contents": "{}"})
    manifest = read_manifest(made)
    assert manifest is not None
    assert content(object_store, url) == made.read_bytes()
    assert keys(object_store, url) == ["2026/out.rdb", "2026/out.rdb.manifest.json"]
    assert content(object_store, ObjectUrl(url.bucket, f"{url.key}.manifest.json")) == manifest_path(made).read_bytes()
    metadata = object_store.client().head_object(Bucket=url.bucket, Key=url.key)["Metadata"]
    assert (metadata["rdbmerge-crc64"], metadata["rdbmerge-contents"]) == (manifest.crc64, "{}")
    assert (report.outcome, report.crc64, report.size_bytes) == ("uploaded", manifest.crc64, made.stat().st_size)
    assert (report.encryption, report.region, report.manifest_url) == ("AES256", "us-east-1", f"{url}.manifest.json")
    assert report.checks == checks
    assert report.grant is not None
    assert (report.grant.outcome, bool(report.grant.statement)) == ("needed", True)
    assert UploadReport.model_validate_json(report.model_dump_json()) == report


def test_again_it_is_left_as_it_is(made: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    run(made, url)
    with HostileS3(object_store.endpoint) as hostile:
        report = run(made, url, endpoint=hostile.endpoint)
        assert not [request for request in hostile.requests if request.method in ("PUT", "POST", "DELETE")]
    assert (report.outcome, report.crc64) == ("unchanged", run(made, url).crc64)


def test_a_manifest_that_was_not_put_any_more_is_put_again(
    made: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    run(made, url)
    object_store.client().delete_object(Bucket=url.bucket, Key=f"{url.key}.manifest.json")
    assert run(made, url).outcome == "unchanged"
    assert len(keys(object_store, url)) == 2


@pytest.mark.parametrize("key", ["2026/out.rdb", "2026/out.rdb.manifest.json"])
def test_nothing_is_replaced_without_force(made: Path, url: ObjectUrl, object_store: ObjectStore, key: str) -> None:
    object_store.client().put_object(Bucket=url.bucket, Key=key, Body=b"theirs")
    with pytest.raises(UsageError, match=f"{key} exists"):
        run(made, url)
    assert content(object_store, ObjectUrl(url.bucket, key)) == b"theirs"
    assert len(keys(object_store, url)) == 1
    assert run(made, url, force=True).outcome == "uploaded"
    assert content(object_store, url) == made.read_bytes()


def test_a_dry_run_looks_and_sends_nothing(made: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint) as hostile:
        report = run(made, url, endpoint=hostile.endpoint, dry_run=True, grant=True)
        assert {request.method for request in hostile.requests} == {"GET", "HEAD"}
    assert (report.outcome, report.parts) == ("dry run", -(-made.stat().st_size // storing.PART))
    assert report.grant is not None
    assert report.grant.outcome == "needed"
    assert not state_path(made, url).exists()


# --- the right to read --------------------------------------------------------------------------------------------


def test_a_grant_is_shown_made_and_can_be_undone(made: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    theirs = {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "A", "Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "*"}],
    }
    object_store.client().put_bucket_policy(Bucket=url.bucket, Policy=json.dumps(theirs))
    shown: list[str] = []
    report = run(made, url, grant=True, show=shown.append)
    assert "will be" in shown[0]
    assert report.grant is not None
    assert report.grant.outcome == "made"
    assert json.loads(report.grant.policy_before or "") == theirs
    undo = Path(report.grant.policy_kept_in or "")
    assert (undo.parent, json.loads(undo.read_text()), undo.stat().st_mode & 0o777) == (made.parent, theirs, 0o600)
    again = run(made, url, grant=True, show=shown.append)
    assert again.grant is not None
    assert (again.outcome, again.grant.outcome, len(shown)) == ("unchanged", "was there", 1)


def test_where_acls_are_on_an_acl_is_made(made: Path, bucket: str, object_store: ObjectStore) -> None:
    object_store.client().create_bucket(Bucket=f"{bucket}-acl", ObjectOwnership="ObjectWriter")
    url = ObjectUrl(f"{bucket}-acl", "out.rdb")
    report = run(made, url, grant=True)
    assert report.grant is not None
    assert (report.grant.outcome, report.grant.statement) == ("made", None)
    grants = object_store.client().get_object_acl(Bucket=url.bucket, Key=url.key)["Grants"]
    assert {"READ", "READ_ACP"} <= {each["Permission"] for each in grants}
    assert run(made, url).grant == report.grant.model_copy(update={"outcome": "was there"})


# --- faults -------------------------------------------------------------------------------------------------------


def test_a_default_of_kms_does_not_reach_the_object(made: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    object_store.client().put_bucket_encryption(
        Bucket=url.bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    assert run(made, url).encryption == "AES256"


def test_bytes_that_are_not_those_of_the_manifest_make_no_object(
    made: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    data = bytearray(made.read_bytes())
    data[len(data) // 2] ^= 1
    made.write_bytes(data)
    with pytest.raises(UsageError, match="is not the file that its manifest describes"):
        run(made, url)
    assert keys(object_store, url) == []
    assert "Uploads" not in object_store.client().list_multipart_uploads(Bucket=url.bucket)


def test_what_is_no_rdb_is_not_uploaded(tmp_path: Path, url: ObjectUrl) -> None:
    (tmp_path / "a.rdb").write_bytes(b"no such thing at all")
    with pytest.raises(FormatError):
        run(tmp_path / "a.rdb", url)


def test_a_look_that_fails_ends_it(made: Path, bucket: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be used: s3://.*-none: there is no such bucket") as refused:
        run(made, ObjectUrl(f"{bucket}-none", "a.rdb"))
    assert "rdbmerge makes no buckets" in refused.value.remedy
    with pytest.raises(StoreError, match="has a comma"):
        run(made, ObjectUrl(bucket, "a,b.rdb"))


def test_a_stop_is_gone_on_from_and_unfinished_uploads_are_given_up(
    made: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    stop = threading.Event()
    with pytest.raises(StoppedError):
        run(made, url, stop=stop, jobs=1, progress=storing.stop_after(1.5, stop))
    assert [
        each.outcome
        for each in check_bucket(url, access=S3Access(), service="elasticache")
        if each.name == "unfinished uploads"
    ] == [Outcome.WARNING]
    assert run(made, url).parts_kept >= 1
    stop = threading.Event()
    with pytest.raises(StoppedError):
        run(made, url, stop=stop, jobs=1, force=True, progress=storing.stop_after(1.5, stop))
    assert abandon(made, url, access=S3Access()) == 1
    assert not state_path(made, url).exists()
    assert abandon(None, url, access=S3Access()) == 0
    assert "Uploads" not in object_store.client().list_multipart_uploads(Bucket=url.bucket)


def test_an_upload_whose_process_died_before_the_last_word_is_known(
    made: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    """The object is there, and the memory of its upload, too."""
    run(made, url)
    stop = threading.Event()
    with pytest.raises(StoppedError):
        run(made, url, stop=stop, jobs=1, force=True, progress=storing.stop_after(1.5, stop))
    assert run(made, url).outcome == "unchanged"
    assert not state_path(made, url).exists()
    assert "Uploads" not in object_store.client().list_multipart_uploads(Bucket=url.bucket)


def test_a_grant_that_is_denied_leaves_the_object(made: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    denied = Trouble(lambda r: r.method == "PUT" and "policy" in r.query, None, 403, "AccessDenied")
    with HostileS3(object_store.endpoint, denied) as hostile, pytest.raises(StoreError, match="PutBucketPolicy"):
        run(made, url, endpoint=hostile.endpoint, grant=True)
    report = run(made, url, grant=True)
    assert report.grant is not None
    assert (report.outcome, report.grant.outcome) == ("unchanged", "made")
