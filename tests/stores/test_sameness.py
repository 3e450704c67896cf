from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from objectstores import ObjectStore
from storing import PART, client, saved, sent

from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.objects import StoredObject, look_at
from rdbmerge.stores.parts import PartFile
from rdbmerge.stores.sameness import crc64_if_same
from rdbmerge.stores.sums import CRC64, Algorithm

pytestmark = pytest.mark.once


def same(stored: StoredObject, path: Path, part_bytes: int | None = PART) -> int | None:
    with PartFile(path, crc64_until=path.stat().st_size) as file:
        return crc64_if_same(stored, file, part_bytes, stop=threading.Event(), progress=None)


def test_an_object_of_the_same_bytes_is_known(tmp_path: Path, bucket: str) -> None:
    path, url = saved(tmp_path), ObjectUrl(bucket, "a.rdb")
    sent(client(), path, url)
    held = look_at(client(), url)
    assert held is not None
    assert not held.of_whole  # so it is the ETag that tells
    assert same(held, path) == CRC64.calc(path.read_bytes())
    assert same(held, path, 2 * PART) is None  # of the same bytes, but nothing tells so
    assert same(held, saved(tmp_path, name="b.rdb", seed=2)) is None
    assert same(held, saved(tmp_path, 2.3, name="c.rdb")) is None


@pytest.mark.parametrize("algorithm", [Algorithm.CRC64NVME, Algorithm.CRC32])
def test_a_checksum_of_the_whole_tells_for_any_size_of_parts(tmp_path: Path, algorithm: Algorithm) -> None:
    path = saved(tmp_path)
    checksums = {algorithm.value: algorithm.text(algorithm.calc(path.read_bytes()))}
    held = StoredObject(ObjectUrl("seeds", "a"), path.stat().st_size, "x-9", "", None, checksums, True, {})
    assert same(held, path, 2 * PART) == CRC64.calc(path.read_bytes())
    assert same(held, saved(tmp_path, name="b.rdb", seed=2)) is None
    assert same(replace(held, of_whole=False), path) is None


def test_a_plain_md5_tells_too(tmp_path: Path, object_store: ObjectStore) -> None:
    path = saved(tmp_path)
    etag = hashlib.md5(path.read_bytes()).hexdigest()
    held = StoredObject(ObjectUrl("seeds", "a"), path.stat().st_size, etag, "", None, {}, True, {})
    assert same(held, path) == CRC64.calc(path.read_bytes())
    assert same(replace(held, etag="0" * 32), path) is None
