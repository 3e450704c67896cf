"""The door: what goes wrong between us and a store, told in our words, and tried again where that may help."""

from __future__ import annotations

import threading
import time

import pytest
from fakes.hostile_s3 import HostileS3, Trouble
from objectstores import ObjectStore
from storing import client

from rdbmerge.errors import StoppedError, StoreError, UsageError
from rdbmerge.stores import s3 as door
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.stores.s3 import S3

pytestmark = pytest.mark.once


def test_a_call_is_answered(bucket: str) -> None:
    s3 = client()
    assert s3.call("head_bucket", "here", Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert (s3.region, s3.chosen_region, s3.is_amazon) == ("us-east-1", "us-east-1", False)


def test_a_burst_of_slow_down_is_survived(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda _: True, 6, 503, "SlowDown")) as hostile:
        client(hostile.endpoint).call("get_bucket_versioning", "here", Bucket=bucket)
        assert len(hostile.requests) == 7


def test_a_store_that_stays_busy_is_told(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda _: True, None, 503, "SlowDown")) as hostile:
        with pytest.raises(StoreError, match=r"here: the store is busy or disturbed \(SlowDown: injected") as busy:
            client(hostile.endpoint).call("get_bucket_versioning", "here", Bucket=bucket)
        assert len(hostile.requests) == door.TRIES
    assert busy.value.retryable


def test_a_connection_that_is_cut_is_tried_again(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.method == "GET", 2, cut_after=0)) as hostile:
        s3 = client(hostile.endpoint)
        s3.call("get_bucket_versioning", "here", Bucket=bucket)
        assert len(hostile.requests) == 3


def test_a_refusal_is_not_tried_again(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda _: True, None, 400, "ExpiredToken")) as hostile:
        with pytest.raises(StoreError, match="the credentials have expired") as expired:
            client(hostile.endpoint).call("get_bucket_versioning", "here", Bucket=bucket)
        assert len(hostile.requests) == 1
    assert "aws sso login" in expired.value.remedy


def test_an_address_where_nobody_answers_is_told_soon(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"here: no answer from http://127\.0\.0\.1:1 ") as silent:
        client("http://127.0.0.1:1").call("head_bucket", "here", Bucket=bucket)
    assert "--endpoint-url" in silent.value.remedy


def test_no_credentials_are_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="here: there are no credentials to use") as none:
        client().call("head_bucket", "here", Bucket=bucket)
    assert "--profile" in none.value.remedy


def test_a_profile_that_is_not_there_is_told(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"The config profile .*nobody.* could not be found") as none:
        S3(S3Access(profile="nobody"))
    assert none.value.remedy


@pytest.mark.parametrize("url", ["nonsense", "http://"])
def test_an_endpoint_that_is_no_address_is_told(bucket: str, url: str) -> None:
    with pytest.raises(UsageError, match="S3 cannot be used so"):
        client(url)


def test_a_page_that_is_no_answer_is_told(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda _: True, None, 200)) as hostile:
        with pytest.raises(StoreError):
            client(hostile.endpoint).call("list_multipart_uploads", "here", Bucket=f"{bucket}-none", Prefix="")
        hostile.troubles = [Trouble(lambda _: True, None, 403)]
        with pytest.raises(StoreError, match="here: "):
            client(hostile.endpoint).call("list_multipart_uploads", "here", Bucket=bucket, Prefix="")


def test_a_stop_ends_a_call_that_hangs(bucket: str, object_store: ObjectStore) -> None:
    stop = threading.Event()
    with HostileS3(object_store.endpoint, Trouble(lambda _: True, None, wait_s=5)) as hostile:
        threading.Timer(0.2, stop.set).start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            client(hostile.endpoint, stop=stop).call("head_bucket", "here", Bucket=bucket)
        assert time.monotonic() - began < 4  # far less: but the machine may be busy
    with pytest.raises(StoppedError):
        client(stop=stop).call("head_bucket", "here", Bucket=bucket)


def test_amazon_is_known_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    s3 = S3(S3Access())
    assert (s3.is_amazon, s3.region, s3.chosen_region) == (True, "us-east-1", None)
    s3.move_to("eu-west-1")
    assert (s3.endpoint, s3.chosen_region) == ("https://s3.eu-west-1.amazonaws.com", None)
    assert S3(S3Access(region="cn-north-1")).endpoint == "https://s3.cn-north-1.amazonaws.com.cn"
    assert S3(S3Access(region="eu-west-1")).chosen_region == "eu-west-1"


def test_small_objects_are_read_and_no_further_than_was_said(object_store: ObjectStore, bucket: str) -> None:
    object_store.client().put_object(Bucket=bucket, Key="small", Body=b"0123456789")
    s3 = S3(S3Access())
    assert s3.read(ObjectUrl(bucket, "small"), 100) == b"0123456789"
    assert s3.read(ObjectUrl(bucket, "small"), 4) == b"0123"
    with pytest.raises(StoreError, match="none"):
        s3.read(ObjectUrl(bucket, "none"), 100)


@pytest.mark.parametrize(
    ("endpoint", "signs"),
    [
        ("https://s3.eu-west-1.amazonaws.com", False),
        ("https://minio.example", False),
        ("http://minio.example:9000", True),
        ("http://127.0.0.1:9000", False),
        ("http://localhost:9000", False),
    ],
)
def test_a_body_is_signed_where_somebody_could_change_it(bucket: str, endpoint: str, signs: bool) -> None:
    s3 = client(endpoint)
    assert s3._client.meta.config.s3["payload_signing_enabled"] is signs


def test_a_bucket_that_is_elsewhere_is_followed(bucket: str, object_store: ObjectStore) -> None:
    store = object_store.client()
    store.create_bucket(Bucket=f"{bucket}-eu", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3 = client()
    s3.call("get_bucket_versioning", "here", Bucket=f"{bucket}-eu")
    told = s3.region
    s3.call("head_bucket", "here", Bucket=f"{bucket}-eu")
    assert (told in ("us-east-1", "eu-west-1"), s3.region) == (True, "eu-west-1")


def test_a_bucket_that_is_nobody_knows_where_is_told(bucket: str, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda _: True, None, 301, "PermanentRedirect")) as hostile:
        with pytest.raises(StoreError, match="the bucket is in another region than us-east-1"):
            client(hostile.endpoint).call("head_bucket", "here", Bucket=bucket)
        assert len(hostile.requests) == 1
