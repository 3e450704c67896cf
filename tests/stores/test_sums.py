from __future__ import annotations

import base64
import hashlib
import random
import zlib

import anycrc
import pytest

from rdbmerge.stores.sums import (
    Algorithm,
    PartSums,
    Summer,
    agrees,
    composite_checksum,
    md5_of_etag,
    whole_checksum,
    whole_crc64,
    whole_etag,
)

pytestmark = pytest.mark.once

DATA = random.Random(1).randbytes(300_000)


def parts(algorithm: Algorithm, borders: tuple[int, ...], *, until: int = len(DATA)) -> list[PartSums]:
    found = []
    for start, end in zip((0, *borders), (*borders, len(DATA)), strict=True):
        summer = Summer(algorithm, with_md5=True, crc64_bytes=max(0, until - start))
        for at in range(start, end, 70_000):
            summer.add(DATA[at : min(at + 70_000, end)])
        found.append(summer.sums())
    return found


def test_the_check_values_are_those_of_the_catalogue() -> None:
    assert Algorithm.CRC64NVME.calc(b"123456789") == 0xAE8B14860A799888
    assert Algorithm.CRC32.calc(b"123456789") == 0xCBF43926
    assert Algorithm.CRC32.text(0xCBF43926) == base64.b64encode(bytes.fromhex("cbf43926")).decode()
    assert len(base64.b64decode(Algorithm.CRC64NVME.text(1))) == 8


@pytest.mark.parametrize("borders", [(), (1,), (100_000, 200_000), (5, 6, 299_999)])
@pytest.mark.parametrize("algorithm", [Algorithm.CRC64NVME, Algorithm.CRC32])
def test_sums_of_parts_give_the_sum_of_the_whole(algorithm: Algorithm, borders: tuple[int, ...]) -> None:
    assert whole_checksum(algorithm, parts(algorithm, borders)) == algorithm.text(algorithm.calc(DATA))


def test_the_crc64_is_that_of_the_bytes_before_the_footer_wherever_parts_end() -> None:
    until = len(DATA) - 8
    expected = anycrc.Model("CRC64-REDIS").calc(DATA[:until])
    for borders in ((), (until,), (until + 3,), (until - 1, until + 1), (100, 200_000)):
        assert whole_crc64(parts(Algorithm.NONE, borders, until=until)) == expected


def test_etags_are_those_of_s3() -> None:
    two = parts(Algorithm.NONE, (5,))
    digests = [hashlib.md5(DATA[:5]).digest(), hashlib.md5(DATA[5:]).digest()]
    assert [part.md5 for part in two] == digests
    assert whole_etag(digests) == hashlib.md5(b"".join(digests)).hexdigest() + "-2"
    assert whole_etag([digests[0], b""]) == ""
    assert md5_of_etag(f'"{digests[0].hex()}"') == digests[0]
    assert md5_of_etag('"no-md5"') == md5_of_etag("z" * 32) == b""


def test_a_composite_is_the_checksum_of_checksums() -> None:
    two = parts(Algorithm.CRC32, (5,))
    joined = b"".join(zlib.crc32(piece).to_bytes(4, "big") for piece in (DATA[:5], DATA[5:]))
    expected = base64.b64encode(zlib.crc32(joined).to_bytes(4, "big")).decode() + "-2"
    assert composite_checksum(Algorithm.CRC32, two) == expected


def test_an_answer_agrees_disagrees_or_says_nothing() -> None:
    (whole,) = parts(Algorithm.CRC32, ())
    right = Algorithm.CRC32.text(zlib.crc32(DATA))
    assert agrees(Algorithm.CRC32, whole, {"ChecksumCRC32": right}) is True
    assert agrees(Algorithm.CRC32, whole, {"ChecksumCRC32": "AAAAAA=="}) is False
    md5 = hashlib.md5(DATA).hexdigest()
    assert agrees(Algorithm.NONE, whole, {"ETag": f'"{md5}"'}) is True
    assert agrees(Algorithm.NONE, whole, {"ETag": '"' + "0" * 32 + '"'}) is False
    assert agrees(Algorithm.NONE, whole, {"ETag": '"encrypted-by-kms"'}) is None
    assert whole_checksum(Algorithm.NONE, [whole]) == ""
