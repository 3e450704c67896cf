"""Strings and lengths in every form of rdb-format.md 2."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rdbbytes import length, string

from rdbmerge.errors import FormatError, TruncatedError
from rdbmerge.format.strings import length_bytes, read_length, read_string, string_bytes

ANY_LENGTH = st.one_of(st.integers(0, 1 << 15), st.integers(0, (1 << 64) - 1))


@given(ANY_LENGTH)
@example(63)
@example(64)
@example(16_383)
@example(16_384)
@example((1 << 32) - 1)
@example(1 << 32)
@example((1 << 64) - 1)
def test_a_length_is_written_in_its_shortest_form_and_read_back(number: int) -> None:
    assert length_bytes(number) == length(number)
    assert read_length(memoryview(length(number)), 0) == (number, len(length(number)))


@pytest.mark.parametrize("form", [b"\x05", b"\x40\x05", b"\x80\0\0\0\x05", b"\x81\0\0\0\0\0\0\0\x05"])
def test_longer_forms_of_a_length_are_read_too(form: bytes) -> None:
    assert read_length(memoryview(form), 0) == (5, len(form))


@pytest.mark.parametrize("form", [b"\x40\x05", b"\x80\0\0\0\x05", b"\x81\0\0\0\0\0\0\0\x05"])
def test_a_length_that_is_cut_says_how_much_it_needs(form: bytes) -> None:
    for cut in range(len(form)):
        with pytest.raises(TruncatedError, match="expected"):
            read_length(memoryview(form[:cut]), 0)


@pytest.mark.parametrize("first", [0x82, 0xBF, 0xC0, 0xFF])
def test_what_is_no_length_is_refused(first: int) -> None:
    with pytest.raises(FormatError, match=f"a length cannot start with byte 0x{first:02x}"):
        read_length(memoryview(bytes([first]) + bytes(9)), 0)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (b"\x00", b""),
        (b"\x05hello", b"hello"),
        (b"\x40\x05hello", b"hello"),
        (b"\x80\0\0\0\x05hello", b"hello"),
        (b"\x81\0\0\0\0\0\0\0\x05hello", b"hello"),
        (b"\xc0\x05", b"5"),
        (b"\xc0\x80", b"-128"),
        (b"\xc1\x39\x30", b"12345"),
        (b"\xc1\x00\x80", b"-32768"),
        (b"\xc2\xff\xff\xff\x7f", b"2147483647"),
        (b"\xc2\x00\x00\x00\x80", b"-2147483648"),
        (bytes.fromhex("C305140061E00A00"), b"a" * 20),
        (bytes.fromhex("c3091e016161e01100016161"), b"a" * 30),
    ],
)
def test_a_string_is_decoded_whatever_its_form(stored: bytes, text: bytes) -> None:
    view = memoryview(b"before" + stored + b"after")
    assert read_string(view, 6) == (text, 6 + len(stored))
    for cut in range(len(stored)):
        with pytest.raises(FormatError):
            read_string(view, 6, 6 + cut)


@given(st.binary(max_size=300))
def test_a_string_is_written_raw_and_read_back(text: bytes) -> None:
    assert string_bytes(text) == string(text)
    assert read_string(memoryview(string_bytes(text)), 0) == (text, len(string_bytes(text)))


@pytest.mark.parametrize("first", [0x82, 0xBF, 0xC4, 0xFF])
def test_what_is_no_string_is_refused(first: int) -> None:
    with pytest.raises(FormatError, match=f"at byte 1: a string cannot start with byte 0x{first:02x}") as caught:
        read_string(memoryview(b"\0" + bytes([first]) + bytes(9)), 1)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "claim", [b"\x80\x80\0\0\0", b"\x80" + b"\xff" * 4, b"\x81\x80" + b"\0" * 7, b"\x81" + b"\xff" * 8]
)
def test_a_hostile_length_asks_for_no_memory(claim: bytes) -> None:
    for stored in (claim, b"\xc3" + claim + b"\x05", b"\xc3\x01" + claim + b"\x00"):
        with pytest.raises(FormatError):
            read_string(memoryview(stored + b"xyz"), 0)


def test_a_compressed_string_that_does_not_unpack_is_refused_at_its_place() -> None:
    with pytest.raises(FormatError, match="at byte 2: a compressed string does not unpack"):
        read_string(memoryview(b"\0\0\xc3\x02\x05\x00a"), 2)
