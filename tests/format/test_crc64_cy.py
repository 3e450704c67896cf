"""The checksum of small values is that of rdb-format.md, and of the library that sums whole files."""

from __future__ import annotations

import random

import anycrc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import crc64

from rdbmerge.format.core import crc64_of

LIBRARY = anycrc.Model("CRC64-REDIS")


def test_the_check_value_of_the_algorithm() -> None:
    assert crc64_of(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64_of(b"") == 0
    assert crc64_of(b"", 7) == 7


@given(st.binary(max_size=100), st.integers(0, (1 << 64) - 1))
def test_it_is_the_librarys_whatever_came_before(data: bytes, before: int) -> None:
    assert crc64_of(data, before) == LIBRARY.calc(data, before)
    assert crc64_of(data) == crc64(data)


@pytest.mark.parametrize("size", [*range(20), 4_096, 65_537])
def test_parts_join(size: int) -> None:
    data = random.Random(size).randbytes(size)
    for cut in {0, size // 3, size}:
        assert crc64_of(data[cut:], crc64_of(data[:cut])) == LIBRARY.calc(data)
