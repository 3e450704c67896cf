"""What does not fit into one buffer goes on in the next, from the very byte: seen through the re-encoder, its user."""

from __future__ import annotations

import struct

import pytest
from blobbytes import listpack
from decoded import REDIS
from format.test_recode_cy import recoder, written
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import length, string, strings

PARTS = [b"", b"a", b"b" * 62, b"c" * 63, b"d" * 64, b"e" * 65, b"f" * 300, b"", b"g"]


def in_buffers(number: int, payload: bytes, form: int, size: int) -> bytes:
    return written(recoder(memoryview(payload), REDIS, form), number, 0, len(payload), size)


@pytest.mark.parametrize("size", range(1, 140))
def test_strings_are_cut_anywhere(size: int) -> None:
    payload = strings(PARTS)
    assert in_buffers(1, payload, 1, size) == payload


@pytest.mark.parametrize("size", range(1, 40))
def test_numbers_are_cut_anywhere(size: int) -> None:
    numbers = [0, 127, -128, 128, 32767, -32769, (1 << 31) - 1, -(1 << 31), 1 << 31, -(1 << 63)]
    expected = length(len(numbers))
    for number in numbers:
        for opcode, width in ((b"\xc0", 1), (b"\xc1", 2), (b"\xc2", 4)):
            if -1 << 8 * width - 1 <= number < 1 << 8 * width - 1:
                expected += opcode + number.to_bytes(width, "little", signed=True)
                break
        else:
            expected += string(b"%d" % number)
    assert in_buffers(20, string(listpack(*numbers)), 2, size) == expected


@pytest.mark.parametrize("size", range(1, 40))
def test_doubles_and_their_texts_are_cut_anywhere(size: int) -> None:
    scores = [0.1, -1e300, float("inf"), 2.0]
    binary = length(4) + b"".join(string(b"m%d" % n) + struct.pack("<d", score) for n, score in enumerate(scores))
    text = length(4) + b"\x02m0\x030.1" + b"\x02m1\x07-1e+300" + b"\x02m2\xfe" + b"\x02m3\x012"
    assert in_buffers(5, binary, 5, size) == binary
    assert in_buffers(5, binary, 3, size) == text


@pytest.mark.parametrize("size", range(1, 40))
def test_lengths_of_every_size_are_cut_anywhere(size: int) -> None:
    fields = [1, 63, 64, 16_383, 16_384, (1 << 32) - 1, 1 << 32]
    payload = struct.pack("<q", 5) + length(len(fields)) + b"".join(length(ttl) + b"\x01f\x01v" for ttl in fields)
    assert in_buffers(24, payload, 24, size) == payload


@given(st.lists(st.one_of(st.binary(max_size=80), st.integers(16_380, 16_390).map(bytes)), max_size=6),
       st.integers(1, 40_000))  # fmt: skip
def test_any_strings_in_any_buffers(texts: list[bytes], size: int) -> None:
    assert in_buffers(1, strings(texts), 1, size) == strings(texts)
