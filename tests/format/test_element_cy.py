"""One element as it is decoded: integers as text, texts as the scores they stand for, compressed bytes unpacked."""

from __future__ import annotations

import struct

import pytest
from blobbytes import Raw, intset, listpack, lzf, ziplist
from decoded import value_of
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import length, string

from rdbmerge.errors import FormatError

LIST, ZSET, INTSET, ZSET_ZIPLIST, ZSET_LISTPACK = 1, 3, 11, 12, 17
NUMBERS = [0, 1, 9, 10, 99, 100, -1, -9, -10, 127, -128, 32_767, -32_768, 1 << 31, (1 << 63) - 1, -1 << 63]


def scored(text: bytes) -> bytes:
    """A sorted set of type 3 with one member."""
    return length(1) + string(b"m") + bytes([len(text)]) + text


def same_double(one: float, other: float) -> bool:
    return struct.pack("<d", one) == struct.pack("<d", other)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_integer_stands_for_its_decimal_text(number: int) -> None:
    assert value_of(INTSET, string(intset(8, number))) == {str(number).encode()}


@pytest.mark.parametrize(
    ("stored", "text"),
    [("c080", b"-128"), ("c17fff", b"-129"), ("c2ffffff7f", b"2147483647"), ("c200000080", b"-2147483648")],
)
def test_a_string_stored_as_an_integer_is_its_text(stored: str, text: bytes) -> None:
    assert value_of(0, bytes.fromhex(stored)) == text


@pytest.mark.parametrize(
    "text",
    [
        b"0", b"-0", b"7", b"+3", b"1.5", b".5", b"5.", b"1e3", b"1E-7", b"-0.30000000000000004", b"3.0", b"0.1",
        b"9007199254740993", b"123456789012345.6", b"0.3333333333333333", b"17976931348623157e292", b"1" * 40,
        b"2.2250738585072011e-308", b"4.9e-324", b"2.4703282292062327e-324", b"1e400", b"-1e400", b"1e-400",
        b"1.000000000000000000000000000001", b"0.000000000000000000000000000001", b"000000000000000000000000.5",
        b"8.41e21", b"9007199254740992.5", b"1.7976931348623157e308", b"0" * 200 + b"1",
    ],
)  # fmt: skip
def test_a_text_is_the_score_nearest_to_it(text: bytes) -> None:
    for number, payload in ((ZSET, scored(text)), (ZSET_ZIPLIST, string(ziplist(b"m", text)))):
        assert same_double(value_of(number, payload)[b"m"], float(text))


@given(st.floats(allow_nan=False))
def test_every_double_comes_back_from_what_servers_write_for_it(number: float) -> None:
    for text in (b"%.17g" % number, repr(number).encode()):
        assert same_double(value_of(ZSET_LISTPACK, string(listpack(b"m", text)))[b"m"], number)


@given(st.from_regex(rb"[+-]?([0-9]{1,25}\.?[0-9]{0,25}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_every_decimal_text_is_rounded_rightly(text: bytes) -> None:
    assert same_double(value_of(ZSET_LISTPACK, string(listpack(b"m", text)))[b"m"], float(text))


@pytest.mark.parametrize(("text", "score"), [(b"inf", float("inf")), (b"+inf", float("inf")), (b"-inf", -float("inf"))])
def test_infinite_scores_are_words(text: bytes, score: float) -> None:
    assert value_of(ZSET, scored(text)) == {b"m": score}
    assert value_of(ZSET_LISTPACK, string(listpack(b"m", text))) == {b"m": score}


@pytest.mark.parametrize("text", [b"1", b"2.5", b"3e1", b"inf", b"0"])
def test_a_score_ends_where_its_text_ends(text: bytes) -> None:
    """The byte behind it, the length of the next member, looks like a digit, a point or an exponent."""
    for size in (*range(0x30, 0x3A), 0x2E):
        payload = length(2) + string(b"m") + bytes([len(text)]) + text + string(b"x" * size) + b"\x011"
        assert value_of(ZSET, payload)[b"m"] == float(text)
    assert value_of(ZSET, scored(text)) == {b"m": float(text)}


@pytest.mark.parametrize("number", NUMBERS)
def test_an_integer_is_a_score_too(number: int) -> None:
    assert value_of(ZSET_LISTPACK, string(listpack(b"m", number))) == {b"m": float(number)}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"1_000", b" 1", b"1 ", b"nan", b"-nan", b"NAN", b"0x10", b"inf ", b"infinity", b"INF", b"in", b"e5",
        b"1e", b"1e+", b"-", b"+", b".", b"1.5.2", b"--1", b"1,5", b"\x00", b"1\x00", b"1.5f", "\u0661".encode(),
    ],
)  # fmt: skip
def test_what_is_no_number_is_no_score(text: bytes) -> None:
    with pytest.raises(FormatError, match="a score that is not a number"):
        value_of(ZSET_LISTPACK, string(listpack(b"m", text)))
    with pytest.raises(FormatError, match="a score"):
        value_of(ZSET, scored(text))


def test_compressed_elements_of_any_size_follow_each_other() -> None:
    texts = [b"a" * size + b"end" for size in (30, 5_000, 1, 0, 300, 5_001)]
    assert value_of(LIST, length(len(texts)) + b"".join(map(lzf, texts))) == texts


def test_nothing_is_compressed_to_nothing() -> None:
    assert value_of(0, b"\xc3\x00\x00") == b""
    with pytest.raises(FormatError, match="at byte 7: a compressed string does not unpack"):
        value_of(0, b"\xc3\x00\x05")


@pytest.mark.parametrize("stored", ["c3020400 61", "c303040561 62", "c3032000 6120"])
def test_bytes_that_do_not_unpack_are_told_with_their_place(stored: str) -> None:
    with pytest.raises(FormatError, match="at byte 10: a compressed string does not unpack"):
        value_of(LIST, length(2) + string(b"a") + bytes.fromhex(stored.replace(" ", "")))


def test_a_text_that_looks_like_an_integer_is_equal_to_it() -> None:
    assert value_of(16, string(listpack(b"5", Raw(b"\x815")))) == value_of(16, string(listpack(5, 5))) == {b"5": b"5"}
