"""A file into an object: parts in parallel, interrupted, gone on from, and never made of a file that changed."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import anycrc
import pytest
from fakes.hostile_s3 import HostileS3, Trouble
from objectstores import ObjectStore
from storing import PART, client, saved, sent, stop_after

from rdbmerge.errors import StoppedError, StoreError, UsageError
from rdbmerge.stores import parts
from rdbmerge.stores import s3 as door
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.resume import state_path

pytestmark = pytest.mark.once


@pytest.fixture
def url(bucket: str) -> ObjectUrl:
    return ObjectUrl(bucket, "folder/a.rdb")


def content(store: ObjectStore, url: ObjectUrl) -> bytes:
    return bytes(store.client().get_object(Bucket=url.bucket, Key=url.key)["Body"].read())


def is_there(store: ObjectStore, url: ObjectUrl) -> bool:
    return "Contents" in store.client().list_objects_v2(Bucket=url.bucket, Prefix=url.key)


def unfinished(store: ObjectStore, url: ObjectUrl) -> int:
    return len(store.client().list_multipart_uploads(Bucket=url.bucket).get("Uploads", []))


@pytest.mark.parametrize("parts", [0.1, 1, 2.4, 6])
def test_a_file_becomes_an_object(tmp_path: Path, url: ObjectUrl, object_store: ObjectStore, parts: float) -> None:
    path, told, checked = saved(tmp_path, parts), list[int](), list[int]()
    done = sent(client(), path, url, progress=told.append, check=checked.append, metadata={"a": "b"})
    assert content(object_store, url) == path.read_bytes()
    assert (done.parts, done.parts_kept, done.part_bytes) == (max(1, -(-parts // 1)), 0, PART)
    assert sum(told) == path.stat().st_size
    assert checked == [anycrc.Model("CRC64-REDIS").calc(path.read_bytes())]
    assert done.stored.encryption == "AES256"
    assert done.stored.metadata == {"a": "b"}
    assert done.proof.checksum.startswith("CRC64NVME ")
    assert not state_path(path, url).exists()


@pytest.mark.parametrize("algorithm", ["checksums", "etags"])
def test_bodies_that_are_signed_are_read_twice_and_told_once(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    def asks(request: Any) -> bool:
        return bool(algorithm == "etags" and request.begins and "x-amz-checksum-algorithm" in request.headers)

    monkeypatch.setattr(door, "_THIS_MACHINE", ())
    path, told = saved(tmp_path, 3), list[int]()
    with HostileS3(object_store.endpoint, Trouble(asks, None, 501, "NotImplemented")) as hostile:
        done = sent(client(hostile.endpoint), path, url, progress=told.append)
        parts = [request for request in hostile.requests if request.part]
    assert all(len(request.headers["x-amz-content-sha256"]) == 64 for request in parts)
    assert content(object_store, url) == path.read_bytes()
    assert sum(told) == path.stat().st_size
    assert ("ETag" in done.proof.checksum) == (algorithm == "etags")


def test_a_stop_keeps_parts_and_the_next_try_sends_the_rest(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    path, stop = saved(tmp_path, 8), threading.Event()
    with HostileS3(object_store.endpoint) as hostile:
        with pytest.raises(StoppedError, match=r"stopped; \d of 8 parts of s3://.* are kept in the store") as stopped:
            sent(client(hostile.endpoint, stop=stop), path, url, jobs=1, progress=stop_after(3, stop))
        assert "--abandon" in stopped.value.remedy
        assert stat.S_IMODE(state_path(path, url).stat().st_mode) == 0o600
        assert not is_there(object_store, url)
        first = hostile.parts_sent()
        hostile.requests.clear()
        told: list[int] = []
        done = sent(client(hostile.endpoint), path, url, progress=told.append, part_bytes=None)
        again = hostile.parts_sent()
    assert done.parts_kept >= 2
    assert len(again) == 8 - done.parts_kept
    assert set(first) | set(again) == set(range(1, 9))
    assert sum(told) == path.stat().st_size
    assert content(object_store, url) == path.read_bytes()
    assert not state_path(path, url).exists()


def test_parts_that_hold_other_bytes_are_sent_again(tmp_path: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    path, stop = saved(tmp_path, 4), threading.Event()
    with HostileS3(object_store.endpoint) as hostile:
        with pytest.raises(StoppedError):
            sent(client(hostile.endpoint, stop=stop), path, url, jobs=1, progress=stop_after(2.5, stop))
        store = object_store.client()
        (upload,) = store.list_multipart_uploads(Bucket=url.bucket)["Uploads"]
        store.upload_part(Bucket=url.bucket, Key=url.key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * PART)
        hostile.requests.clear()
        sent(client(hostile.endpoint), path, url)
        assert 1 in hostile.parts_sent()
        assert 2 not in hostile.parts_sent()
    assert content(object_store, url) == path.read_bytes()


@pytest.mark.parametrize("algorithm", ["checksums", "etags"])
def test_parts_are_known_again_by_checksums_or_etags(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore, algorithm: str
) -> None:
    def asks(request: Any) -> bool:
        return bool(algorithm == "etags" and request.begins and "x-amz-checksum-algorithm" in request.headers)

    path, stop = saved(tmp_path, 5), threading.Event()
    with HostileS3(object_store.endpoint, Trouble(asks, None, 501, "NotImplemented")) as hostile:
        with pytest.raises(StoppedError):
            sent(client(hostile.endpoint, stop=stop), path, url, jobs=1, progress=stop_after(3, stop))
        done = sent(client(hostile.endpoint), path, url)
    assert done.parts_kept >= 2
    assert content(object_store, url) == path.read_bytes()
    assert ("ETag" in done.proof.checksum) == (algorithm == "etags")


def test_a_file_that_changed_since_begins_anew(tmp_path: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    path, stop = saved(tmp_path, 4), threading.Event()
    with pytest.raises(StoppedError):
        sent(client(stop=stop), path, url, jobs=1, progress=stop_after(2, stop))
    saved(tmp_path, 4, seed=2)
    done = sent(client(), path, url)
    assert done.parts_kept == 0
    assert done.notes == ["an unfinished upload was given up: the file has changed since"]
    assert content(object_store, url) == path.read_bytes()
    assert unfinished(object_store, url) == 0


def test_an_upload_that_is_gone_begins_anew(tmp_path: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    path, stop = saved(tmp_path, 4), threading.Event()
    with pytest.raises(StoppedError):
        sent(client(stop=stop), path, url, jobs=1, progress=stop_after(2, stop))
    store = object_store.client()
    (upload,) = store.list_multipart_uploads(Bucket=url.bucket)["Uploads"]
    store.abort_multipart_upload(Bucket=url.bucket, Key=url.key, UploadId=upload["UploadId"])
    done = sent(client(), path, url)
    assert (done.parts_kept, done.notes) == (
        0,
        ["the unfinished upload is not there any more; all parts were sent again"],
    )


def test_other_part_sizes_begin_anew(tmp_path: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    path, stop = saved(tmp_path, 4), threading.Event()
    with pytest.raises(StoppedError):
        sent(client(stop=stop), path, url, jobs=1, progress=stop_after(2, stop))
    done = sent(client(), path, url, part_bytes=2 * PART)
    assert (done.parts, done.parts_kept) == (2, 0)
    assert unfinished(object_store, url) == 0


# --- files that change --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_file_that_changes_while_it_is_sent_makes_no_object(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, keep_time: bool
) -> None:
    monkeypatch.setattr(parts, "_AHEAD_BYTES", 4_096)  # or the part would be in memory before it changes
    path = saved(tmp_path, 16)
    facts, changed = path.stat(), threading.Event()

    def change(_: int) -> None:
        """Overwrite the end of the part that is being sent, as often as it takes for its sums to be made."""
        if not changed.is_set():
            changed.set()
            with path.open("r+b") as file:
                file.seek(8 * PART - 10)
                file.write(b"changed!")
            if keep_time:
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    with pytest.raises(StoreError) as refused:
        sent(client(), path, url, jobs=1, part_bytes=8 * PART, progress=change)
    assert "changed while it was being uploaded" in str(refused.value)  # with the same time, its bytes tell
    assert not is_there(object_store, url)


def test_a_digest_that_is_not_the_callers_makes_no_object_and_leaves_no_parts(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    def check(_: int) -> None:
        raise UsageError("not the file of its manifest")

    path = saved(tmp_path)
    with pytest.raises(UsageError, match="not the file of its manifest"):
        sent(client(), path, url, check=check)
    assert not is_there(object_store, url)
    assert unfinished(object_store, url) == 0
    assert not state_path(path, url).exists()


# --- stores that fail ---------------------------------------------------------------------------------------------


def test_bursts_of_slow_down_and_cut_connections_are_survived(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    path, told = saved(tmp_path, 6), list[int]()
    troubles = (
        Trouble(lambda r: r.part in (2, 3), 8, 503, "SlowDown"),
        Trouble(lambda r: r.part == 4, 2, cut_after=20_000),
        Trouble(lambda r: r.part == 5, 1, lose_answer=True),
    )
    with HostileS3(object_store.endpoint, *troubles) as hostile:
        sent(client(hostile.endpoint), path, url, progress=told.append)
        assert len(hostile.parts_sent()) == 6 + 8 + 2 + 1
    assert content(object_store, url) == path.read_bytes()
    assert sum(told) == path.stat().st_size  # what had to be sent again was taken back


def test_credentials_that_expire_keep_the_parts(tmp_path: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    path = saved(tmp_path, 4)
    with HostileS3(object_store.endpoint, Trouble(lambda r: r.part == 3, 1, 400, "ExpiredToken")) as hostile:
        with pytest.raises(StoreError, match="the credentials have expired") as expired:
            sent(client(hostile.endpoint), path, url, jobs=1)
        assert "the same command again takes up what is already there" in expired.value.remedy
        done = sent(client(hostile.endpoint), path, url)
    assert done.parts_kept == 2
    assert content(object_store, url) == path.read_bytes()


def test_an_object_that_appears_meanwhile_is_kept_and_so_are_the_parts(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore
) -> None:
    path = saved(tmp_path)

    def appear(_: int) -> None:
        object_store.client().put_object(Bucket=url.bucket, Key=url.key, Body=b"theirs")

    with pytest.raises(UsageError, match="exists"):
        sent(client(), path, url, check=appear)
    assert content(object_store, url) == b"theirs"
    done = sent(client(), path, url, replace=True)
    assert done.parts_kept == done.parts == 3
    assert content(object_store, url) == path.read_bytes()


def test_two_uploads_of_one_file_to_one_place_do_not_meet(tmp_path: Path, url: ObjectUrl) -> None:
    path = saved(tmp_path)

    def second(_: int) -> None:
        with pytest.raises(UsageError, match="another rdbmerge is uploading this file to this place"):
            sent(client(), path, url)

    sent(client(), path, url, check=second)


def test_a_folder_that_cannot_be_written_is_no_obstacle(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    state_path(path, url).mkdir()  # root may write anywhere, but not into this
    done = sent(client(), path, url)
    assert done.notes == [
        f"{state_path(path, url)} cannot be written: Is a directory; an interrupted upload will begin anew"
    ]
    assert content(object_store, url) == path.read_bytes()
