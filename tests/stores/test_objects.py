from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.hostile_s3 import HostileS3, Trouble
from objectstores import ObjectStore
from storing import client, saved, sent

from rdbmerge.errors import StoreError, UsageError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.multipart import Completed, Multipart, SentPart
from rdbmerge.stores.objects import confirm, look_at, put_small
from rdbmerge.stores.sums import Algorithm, Summer

pytestmark = pytest.mark.once


def heads(request: Any) -> bool:
    return bool(request.method == "HEAD" and request.path.count("/") > 1)


def test_an_object_is_seen_as_the_store_tells_it(bucket: str, object_store: ObjectStore) -> None:
    url = ObjectUrl(bucket, "a.rdb")
    assert look_at(client(), url) is None
    object_store.client().put_object(
        Bucket=bucket,
        Key="a.rdb",
        Body=b"123456789",
        ChecksumAlgorithm="CRC32",
        Metadata={"Name": "value"},
        ServerSideEncryption="AES256",
    )
    held = look_at(client(), url)
    assert held is not None
    assert (held.size_bytes, held.encryption, held.metadata) == (9, "AES256", {"name": "value"})
    assert (held.checksums, held.of_whole) == ({"CRC32": "y/Q5Jg=="}, True)


def test_a_small_object_is_put_once(bucket: str, object_store: ObjectStore) -> None:
    url = ObjectUrl(bucket, "a.json")
    for _ in range(2):
        put_small(client(), url, b"{}", replace=False)
    with pytest.raises(UsageError, match=r"a\.json exists"):
        put_small(client(), url, b"[]", replace=False)
    put_small(client(), url, b"[]", replace=True)
    assert object_store.client().get_object(Bucket=bucket, Key="a.json")["Body"].read() == b"[]"


@pytest.mark.parametrize(
    ("headers", "finding"),
    [
        ({"content-length": "5"}, "does not hold what was sent: 5 bytes where"),
        ({"x-amz-server-side-encryption": "aws:kms"}, "encrypted by aws:kms although AES256"),
        ({"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}, "does not hold what was sent: its CRC64NVME is AAAAAAAAAAA="),
    ],
)
def test_an_object_that_is_not_what_was_sent_is_told(
    tmp_path: Path, bucket: str, object_store: ObjectStore, headers: dict[str, str], finding: str
) -> None:
    with (
        HostileS3(object_store.endpoint, Trouble(heads, None, answer_headers=headers)) as hostile,
        pytest.raises(StoreError) as refused,
    ):
        sent(client(hostile.endpoint), saved(tmp_path), ObjectUrl(bucket, "a.rdb"))
    assert finding in str(refused.value)
    assert refused.value.remedy


def test_an_object_that_vanishes_is_told(tmp_path: Path, bucket: str, object_store: ObjectStore) -> None:
    with (
        HostileS3(object_store.endpoint, Trouble(heads, None, 404, "")) as hostile,
        pytest.raises(StoreError, match="is not there although the store confirmed it"),
    ):
        sent(client(hostile.endpoint), saved(tmp_path), ObjectUrl(bucket, "a.rdb"))


def test_a_store_that_tells_no_checksum_at_all_is_warned_of(bucket: str, object_store: ObjectStore) -> None:
    store, url, sums = (
        object_store.client(),
        ObjectUrl(bucket, "a.rdb"),
        Summer(Algorithm.NONE, with_md5=False, crc64_bytes=0),
    )
    store.put_object(Bucket=bucket, Key="a.rdb", Body=b"bytes", ServerSideEncryption="AES256")
    sums.add(b"bytes")
    part = SentPart(1, '"opaque"', sums.sums(), proved=False)
    upload = Multipart(client(), url, "id", Algorithm.NONE, whole=False)
    _, proof = confirm(upload, [part], Completed('"opaque"', "", conditional=True))
    assert (proof.checksum, proof.basis) == ("", "nothing but sizes")
    assert proof.warnings == ["the store told no checksum of what it got: only the sizes are known to be equal"]
    _, proof = confirm(upload, [replace(part, proved=True)], Completed('"opaque"', "", conditional=True))
    assert (proof.checksum, proof.basis, proof.warnings) == ("", "MD5 of each part by the store", [])
