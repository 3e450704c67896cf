"""A stream into an object: the same object as a file would be, whole or not there at all."""

from __future__ import annotations

import random
import threading
from typing import Any

import anycrc
import pytest
from fakes.hostile_s3 import HostileS3, Trouble
from objectstores import ObjectStore
from storing import PART, client

from rdbmerge.errors import LedgerError, StoppedError, StoreError, UsageError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.part_sink import PartSink
from rdbmerge.stores.s3 import S3

pytestmark = pytest.mark.once

DATA = random.Random(3).randbytes(int(4.3 * PART))


@pytest.fixture
def url(bucket: str) -> ObjectUrl:
    return ObjectUrl(bucket, "a.rdb")


def sink(s3: S3, url: ObjectUrl, *, size: int = len(DATA), **options: Any) -> PartSink:
    return PartSink(
        s3, url, size_bytes=size, crc64_until=size - 8, metadata={"a": "b"}, jobs=2, part_bytes=PART, **options
    )


def left(store: ObjectStore, url: ObjectUrl) -> tuple[bool, int]:
    """Whether there is an object, and how many unfinished uploads."""
    s3 = store.client()
    objects = "Contents" in s3.list_objects_v2(Bucket=url.bucket)
    return objects, len(s3.list_multipart_uploads(Bucket=url.bucket).get("Uploads", []))


@pytest.mark.parametrize("piece", [1000, PART, 3 * PART + 1])
def test_what_is_written_becomes_an_object(url: ObjectUrl, object_store: ObjectStore, piece: int) -> None:
    told: list[int] = []
    with sink(client(), url, progress=told.append) as one:
        for at in range(0, len(DATA), piece):
            one.write(memoryview(DATA)[at : at + piece])
        one.close()
        assert one.crc64 == anycrc.Model("CRC64-REDIS").calc(DATA[:-8])
        assert left(object_store, url) == (False, 1)
        done = one.publish(replace=False)
    assert object_store.client().get_object(Bucket=url.bucket, Key=url.key)["Body"].read() == DATA
    assert (done.parts, done.parts_kept, sum(told)) == (5, 0, len(DATA))
    assert done.stored.metadata == {"a": "b"}
    assert left(object_store, url) == (True, 0)


def test_a_failure_of_the_writer_leaves_nothing(url: ObjectUrl, object_store: ObjectStore) -> None:
    def fail() -> None:
        with sink(client(), url) as one:
            one.write(DATA[: 3 * PART])
            raise LedgerError("a defect")

    with pytest.raises(LedgerError, match="a defect"):
        fail()
    assert left(object_store, url) == (False, 0)


def test_a_stream_of_another_size_is_a_defect_and_leaves_nothing(url: ObjectUrl, object_store: ObjectStore) -> None:
    with sink(client(), url, size=11) as one:
        one.write(b"0123456789")
        with pytest.raises(LedgerError, match="10 bytes came where 11 were announced"):
            one.close()
    assert left(object_store, url) == (False, 0)


def test_a_stop_leaves_nothing(url: ObjectUrl, object_store: ObjectStore) -> None:
    stop = threading.Event()

    def write_on() -> None:
        with sink(client(stop=stop), url) as one:
            one.write(DATA[:PART])
            stop.set()
            for _ in range(3):
                one.write(DATA[:PART])

    with pytest.raises(StoppedError):
        write_on()
    assert left(object_store, url) == (False, 0)


def test_a_store_that_fails_ends_the_writer(url: ObjectUrl, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.part == 2, None, 400, "ExpiredToken")) as hostile:

        def write_all() -> None:
            with sink(client(hostile.endpoint), url) as one:
                one.write(DATA)
                one.close()

        with pytest.raises(StoreError, match="the credentials have expired"):
            write_all()
    assert left(object_store, url) == (False, 0)


def test_parts_that_cannot_be_given_up_are_told(url: ObjectUrl, object_store: ObjectStore) -> None:
    denied = Trouble(lambda r: r.method == "DELETE", None, 403, "AccessDenied")
    with HostileS3(object_store.endpoint, denied) as hostile:
        with sink(client(hostile.endpoint), url) as one:
            one.write(DATA)
        assert one.left_behind
    assert left(object_store, url) == (False, 1)


def test_an_object_that_is_there_is_not_replaced(url: ObjectUrl, object_store: ObjectStore) -> None:
    def write_all(replace: bool) -> None:
        with sink(client(), url) as one:
            one.write(DATA)
            one.close()
            one.publish(replace=replace)

    object_store.client().put_object(Bucket=url.bucket, Key=url.key, Body=b"theirs")
    with pytest.raises(UsageError, match="exists"):
        write_all(False)
    assert object_store.client().get_object(Bucket=url.bucket, Key=url.key)["Body"].read() == b"theirs"
    assert left(object_store, url) == (True, 0)
    write_all(True)
    assert object_store.client().get_object(Bucket=url.bucket, Key=url.key)["Body"].read() == DATA
