"""Listpacks as rdb-format.md 7.2 has them, at the limits of every form."""

from __future__ import annotations

import contextlib

import pytest
from blobbytes import backlen, listpack_element
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.errors import FormatError
from rdbmerge.format.listpack import build, integer_element, iter_elements


def values(packed: bytes) -> list[int | bytes]:
    return [value for _, value in iter_elements(packed, offset=0)]


def test_the_backlen_of_the_examples() -> None:
    assert backlen(5) == b"\x05"
    assert backlen(130) == b"\x01\x82"


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        (0, "0001"), (127, "7f01"), (128, "c08002"), (-1, "dfff02"), (4095, "cfff02"), (-4096, "d00002"),
        (4096, "f1001003"), (-4097, "f1ffef03"), (32767, "f1ff7f03"), (-32768, "f1008003"),
        (32768, "f200800004"), (8388607, "f2ffff7f04"), (-8388608, "f200008004"),
        (8388608, "f30000800005"), ((1 << 31) - 1, "f3ffffff7f05"), (-(1 << 31), "f30000008005"),
        (1 << 31, "f4000000800000000009"), ((1 << 63) - 1, "f4ffffffffffffff7f09"),
        (-(1 << 63), "f4000000000000008009"), (2_000_000_000_000, "f400204aa9d101000009"),
    ],
)  # fmt: skip
def test_an_integer_takes_its_shortest_form(number: int, stored: str) -> None:
    assert integer_element(number) == bytes.fromhex(stored)
    assert values(build([integer_element(number)])) == [number]


@pytest.mark.parametrize(
    "size", [0, 1, 63, 64, 126, 127, 128, 4095, 4096, 16_377, 16_378, 16_379, 70_000, 2_097_145, 2_097_146, 2_097_147]
)
def test_a_text_of_any_length_is_passed_over_exactly(size: int) -> None:
    text = b"x" * size
    assert values(build([listpack_element(text), integer_element(7)])) == [text, 7]


ELEMENTS = st.lists(st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=200)), max_size=30)


@given(ELEMENTS)
def test_what_was_built_is_read_back_and_built_again_alike(elements: list[int | bytes]) -> None:
    packed = build(map(listpack_element, elements))
    assert values(packed) == elements
    assert build(raw for raw, _ in iter_elements(packed, offset=0)) == packed
    assert int.from_bytes(packed[:4], "little") == len(packed)
    assert int.from_bytes(packed[4:6], "little") == len(elements)


def test_a_count_too_large_for_its_field_is_said_to_be_unknown() -> None:
    assert build([integer_element(1)] * 65_534)[4:6] == b"\xfe\xff"
    assert build([integer_element(1)] * 70_000)[4:6] == b"\xff\xff"


WHOLE = bytes.fromhex("1d000000 0600 816602 0101 f400204aa9d101000009 816702 0201 0001 ff".replace(" ", ""))


def test_the_listpack_of_a_real_server_is_read() -> None:
    assert values(WHOLE) == [b"f", 1, 2_000_000_000_000, b"g", 2, 0]


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_a_listpack_cut_anywhere_is_refused_with_its_place(cut: int) -> None:
    with pytest.raises(FormatError, match="at byte 77: "):
        list(iter_elements(WHOLE[:cut], offset=77))


@pytest.mark.parametrize(
    "body",
    ["bf", "e0", "e5ff", "f0", "f0ffffffff", "f0ffffff7f", "f1", "f2ff", "f3ffffff", "f4ff", "c0", "f5", "fe", "ff00"],
)
def test_an_element_that_cannot_be_is_refused(body: str) -> None:
    raw = bytes.fromhex(body)
    packed = (7 + len(raw)).to_bytes(4, "little") + b"\x01\x00" + raw + b"\xff"
    with pytest.raises(FormatError):
        list(iter_elements(packed, offset=0))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    packed = (7 + len(body)).to_bytes(4, "little") + b"\xff\xff" + body + b"\xff"
    with contextlib.suppress(FormatError):
        assert len(b"".join(raw for raw, _ in iter_elements(packed, offset=0))) == len(body)
