"""What was proved goes up, once; what lies there of others is not replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from objectstores import ObjectStore
from steps.runs import outcomes, previewed, ran, rdb_of, two_files

from rdbmerge.errors import StoreError, UsageError
from rdbmerge.steps.upload_report import UploadReport

pytestmark = pytest.mark.once

DONE = {"pull a": "kept", "pull b": "kept", "merge": "kept", "verify": "kept"}


def content(store: ObjectStore, bucket: str, key: str) -> bytes:
    return bytes(store.client().get_object(Bucket=bucket, Key=key)["Body"].read())


def test_the_merged_file_goes_up_and_again_stays(tmp_path: Path, bucket: str, object_store: ObjectStore) -> None:
    path = two_files(tmp_path, f'[upload]\nurl = "s3://{bucket}/m.rdb"\n')
    warnings: list[str] = []
    assert outcomes(ran(path, warnings=warnings))["upload m.rdb"] == "done"
    assert "elasticache may not read" in warnings[0]
    assert content(object_store, bucket, "m.rdb") == (tmp_path / "work" / "merged.rdb").read_bytes()
    report = UploadReport.model_validate_json((tmp_path / "work" / "upload.json").read_bytes())
    assert report.outcome == "uploaded"
    assert (
        outcomes(ran(path))
        == {**DONE, "upload m.rdb": "kept"}
        == {name: one.removeprefix("would be ") for name, one in outcomes(previewed(path)).items()}
    )


def test_what_changed_goes_up_again_in_the_place_of_our_own(
    tmp_path: Path, bucket: str, object_store: ObjectStore
) -> None:
    path = two_files(tmp_path, f'[upload]\nurl = "s3://{bucket}/m.rdb"\n')
    ran(path)
    (tmp_path / "b.rdb").write_bytes(rdb_of(b"other"))
    assert outcomes(ran(path))["upload m.rdb"] == "done"
    assert content(object_store, bucket, "m.rdb") == (tmp_path / "work" / "merged.rdb").read_bytes()


@pytest.mark.parametrize("before", [True, False])
def test_what_others_put_there_is_not_replaced(
    tmp_path: Path, bucket: str, object_store: ObjectStore, before: bool
) -> None:
    path = two_files(tmp_path, f'[upload]\nurl = "s3://{bucket}/m.rdb"\n')
    if not before:
        ran(path)
    object_store.client().put_object(Bucket=bucket, Key="m.rdb", Body=b"precious")
    with pytest.raises((UsageError, StoreError), match="exists") as failure:
        ran(path)
    assert "goes on with upload" in failure.value.remedy
    assert content(object_store, bucket, "m.rdb") == b"precious"
    path.write_text(path.read_text() + "force = true\n")
    assert outcomes(ran(path))["upload m.rdb"] == "done"


def test_an_object_that_is_gone_goes_up_again(tmp_path: Path, bucket: str, object_store: ObjectStore) -> None:
    path = two_files(tmp_path, f'[upload]\nurl = "s3://{bucket}/m.rdb"\n')
    ran(path)
    object_store.client().delete_object(Bucket=bucket, Key="m.rdb")
    report = ran(path)
    assert outcomes(report)["upload m.rdb"] == "done"
    assert content(object_store, bucket, "m.rdb") == (tmp_path / "work" / "merged.rdb").read_bytes()


def test_each_shard_becomes_an_object_and_may_be_read(tmp_path: Path, bucket: str, object_store: ObjectStore) -> None:
    path = two_files(tmp_path, f'[merge]\nshards = 2\n[upload]\nurl = "s3://{bucket}/f/"\ngrant = true\n')
    report = ran(path)
    names = ["merged.0-8191.rdb", "merged.8192-16383.rdb"]
    assert [line.source for line in report.lines if line.step == "upload"] == names
    for name in names:
        assert content(object_store, bucket, f"f/{name}") == (tmp_path / "work" / name).read_bytes()
    policy = object_store.client().get_bucket_policy(Bucket=bucket)["Policy"]
    assert "elasticache" in policy
