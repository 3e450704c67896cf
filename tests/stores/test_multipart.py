"""One multipart upload: its checksums, its end, and the ways in which a store may fall short."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import boto3
import pytest
from fakes.hostile_s3 import HostileS3, Trouble
from moto import mock_aws
from objectstores import ObjectStore
from storing import PART, client

from rdbmerge.errors import StoreError, UsageError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.multipart import Multipart, SentPart
from rdbmerge.stores.parts import PartBody
from rdbmerge.stores.s3 import S3
from rdbmerge.stores.sums import Algorithm, Summer

pytestmark = pytest.mark.once

DATA = bytes(range(256)) * 400  # a part of these tests, and a little more


def send(upload: Multipart, number: int, data: bytes) -> SentPart:
    def summer() -> Summer:
        return Summer(upload.algorithm, with_md5=upload.with_md5, crc64_bytes=len(data))

    body = PartBody(
        lambda at, count: data[at : at + count], len(data), stop=threading.Event(), progress=None, summer=summer
    )
    return upload.send(number, body, None if upload.with_md5 else body.sums())


def begun(s3: S3, bucket: str, **metadata: str) -> Multipart:
    return Multipart.begin(s3, ObjectUrl(bucket, "a.rdb"), metadata)


def content(store: ObjectStore, bucket: str) -> dict[str, Any]:
    answer = store.client().get_object(Bucket=bucket, Key="a.rdb")
    return {**answer, "Body": answer["Body"].read()}


def test_an_object_comes_to_be_at_the_end(bucket: str, object_store: ObjectStore) -> None:
    upload = begun(client(), bucket, crc64="abc")
    assert (upload.algorithm, upload.whole) == (Algorithm.CRC64NVME, False)
    parts = [send(upload, 1, DATA[:PART]), send(upload, 2, DATA[PART:])]
    assert all(part.proved for part in parts)
    with pytest.raises(StoreError, match="there is no such object"):
        client().call("head_object", "here", Bucket=bucket, Key="a.rdb")
    done = upload.complete(parts, replace=False)
    assert done.conditional
    found = content(object_store, bucket)
    assert (found["Body"], found["Metadata"], found["ServerSideEncryption"]) == (DATA, {"crc64": "abc"}, "AES256")


def test_parts_that_lie_there_are_listed_page_by_page(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = client()
    upload = begun(s3, bucket)
    for number in (3, 1, 2):
        send(upload, number, b"%d" % number)
    plain = s3.call
    monkeypatch.setattr(s3, "call", lambda *words, **values: plain(*words, **values, MaxParts=1))
    assert [part["PartNumber"] for part in upload.listed()] == [1, 2, 3]


def test_with_a_whole_checksum_the_object_is_held_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="seeds")
        upload = begun(client(), "seeds")
        assert (upload.algorithm, upload.whole) == (Algorithm.CRC64NVME, True)
        first, rest = DATA * 60, DATA  # moto wants five megabytes of all but the last, as S3 does
        parts = [send(upload, 1, first), send(upload, 2, rest)]
        upload.complete(parts, replace=False)
        held = boto3.client("s3", region_name="us-east-1").get_object(Bucket="seeds", Key="a.rdb")
        assert held["Body"].read() == first + rest


@pytest.mark.parametrize("refused", [("CRC64NVME",), ("CRC64NVME", "CRC32")])
@pytest.mark.parametrize(("status", "code"), [(400, "InvalidRequest"), (501, "NotImplemented")])
def test_a_store_that_does_not_know_a_checksum_gets_the_next_one(
    bucket: str, object_store: ObjectStore, refused: tuple[str, ...], status: int, code: str
) -> None:
    def asks(request: Any) -> bool:
        return request.begins and request.headers.get("x-amz-checksum-algorithm") in refused

    with HostileS3(object_store.endpoint, Trouble(asks, None, status, code)) as hostile:
        upload = begun(client(hostile.endpoint), bucket)
        assert upload.algorithm is (Algorithm.CRC32 if len(refused) == 1 else Algorithm.NONE)
        part = send(upload, 1, DATA)
        assert part.proved
        upload.complete([part], replace=False)
    assert content(object_store, bucket)["Body"] == DATA


def test_access_denied_is_no_reason_to_try_without_checksums(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.begins, None, 403, "AccessDenied")) as hostile:
        with pytest.raises(StoreError, match=r"access denied \(CreateMultipartUpload\)") as denied:
            begun(client(hostile.endpoint), bucket)
        assert len(hostile.requests) == 1
    assert "s3:PutObject is needed" in denied.value.remedy


def test_a_part_that_is_changed_on_the_way_is_sent_again(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.part == 1, 2, change_body=True)) as hostile:
        upload = begun(client(hostile.endpoint), bucket)
        upload.complete([send(upload, 1, DATA)], replace=False)
        assert hostile.parts_sent() == [1, 1, 1]
    assert content(object_store, bucket)["Body"] == DATA


def test_a_part_that_is_changed_every_time_ends_it(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.part == 1, change_body=True)) as hostile:
        upload = begun(client(hostile.endpoint), bucket)
        with pytest.raises(StoreError, match="the store got other bytes than were sent, 3 times") as wrong:
            send(upload, 1, DATA)
    assert "a proxy" in wrong.value.remedy


def no_checksums(request: Any) -> bool:
    return bool(request.begins and "x-amz-checksum-algorithm" in request.headers)


def test_without_checksums_a_wrong_etag_ends_it(bucket: str, object_store: ObjectStore) -> None:
    other = hashlib.md5(b"other").hexdigest()
    troubles = (
        Trouble(no_checksums, None, 501, "NotImplemented"),
        Trouble(lambda r: r.part == 1, None, answer_headers={"etag": f'"{other}"'}),
    )
    with HostileS3(object_store.endpoint, *troubles) as hostile:
        upload = begun(client(hostile.endpoint), bucket)
        assert upload.with_md5
        with pytest.raises(StoreError, match="other bytes than were sent"):
            send(upload, 1, DATA)


def test_an_etag_that_is_no_md5_proves_nothing_and_harms_nothing(bucket: str, object_store: ObjectStore) -> None:
    troubles = (
        Trouble(no_checksums, None, 501, "NotImplemented"),
        Trouble(lambda r: r.part == 1, None, answer_headers={"etag": '"opaque"'}),
    )
    with HostileS3(object_store.endpoint, *troubles) as hostile:
        assert not send(begun(client(hostile.endpoint), bucket), 1, DATA).proved


# --- the end of it ------------------------------------------------------------------------------------------------


def test_an_object_that_is_there_is_not_replaced(bucket: str, object_store: ObjectStore) -> None:
    upload = begun(client(), bucket)
    parts = [send(upload, 1, DATA)]
    object_store.client().put_object(Bucket=bucket, Key="a.rdb", Body=b"theirs")
    with pytest.raises(UsageError, match=r"a\.rdb exists") as refused:
        upload.complete(parts, replace=False)
    assert "--force" in refused.value.remedy
    assert content(object_store, bucket)["Body"] == b"theirs"
    upload.complete(parts, replace=True)
    assert content(object_store, bucket)["Body"] == DATA


def test_a_store_that_knows_no_conditions_is_asked_without(bucket: str, object_store: ObjectStore) -> None:
    def conditional(request: Any) -> bool:
        return bool(request.completes and "if-none-match" in request.headers)

    with HostileS3(object_store.endpoint, Trouble(conditional, None, 501, "NotImplemented")) as hostile:
        upload = begun(client(hostile.endpoint), bucket)
        assert not upload.complete([send(upload, 1, DATA)], replace=False).conditional
    assert content(object_store, bucket)["Body"] == DATA


@pytest.mark.parametrize("times", [1, 20])
def test_an_answer_that_is_lost_at_the_end_is_found_out(bucket: str, object_store: ObjectStore, times: int) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.completes, times, lose_answer=True)) as hostile:
        upload = begun(client(hostile.endpoint), bucket)
        done = upload.complete([send(upload, 1, DATA)], replace=False)
    assert done.etag.strip('"') == content(object_store, bucket)["ETag"].strip('"')
    assert content(object_store, bucket)["Body"] == DATA


def test_a_digest_that_the_store_denies_at_the_end_leaves_no_object(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.completes, None, 400, "BadDigest")) as hostile:
        upload = begun(client(hostile.endpoint), bucket)
        with pytest.raises(StoreError, match=r"CompleteMultipartUpload was refused \(BadDigest"):
            upload.complete([send(upload, 1, DATA)], replace=False)
    assert "Contents" not in object_store.client().list_objects_v2(Bucket=bucket)


def test_a_wrong_etag_at_the_end_leaves_no_object(bucket: str, object_store: ObjectStore) -> None:
    upload = begun(client(), bucket)
    part = send(upload, 1, DATA)
    wrong = SentPart(1, '"' + "0" * 32 + '"', part.sums, proved=True)
    with pytest.raises(StoreError, match="InvalidPart"):
        upload.complete([wrong], replace=False)
    assert "Contents" not in object_store.client().list_objects_v2(Bucket=bucket)


def test_parts_are_given_up_once_and_again(bucket: str, object_store: ObjectStore) -> None:
    upload = begun(client(), bucket)
    send(upload, 1, DATA)
    for _ in range(2):
        upload.abandon()
    assert "Uploads" not in object_store.client().list_multipart_uploads(Bucket=bucket)
