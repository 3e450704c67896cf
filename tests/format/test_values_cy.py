"""The end of a value of every shape is found; a cut or a lie inside of it is told with its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdbbytes import length, string

from rdbmerge.format import codes
from rdbmerge.format.core import Cursor, Templates
from rdbmerge.format.values import Shape

TIME = (2_000_000_000_000).to_bytes(8, "little")
RAW_ID = (5).to_bytes(8, "big") + (1).to_bytes(8, "big")
NODE = string(RAW_ID) + string(b"listpack")
MINUS_ONE = b"\x81" + b"\xff" * 8


def stream(level: int, *, nodes: int = 1, groups: int = 1) -> bytes:
    """rdb-format.md 6.4, column by column."""
    out = length(nodes) + NODE * nodes + length(1) + length(5) + length(1)
    if level > 1:
        out += length(5) + length(1) + length(0) + length(0) + length(1)
    out += length(groups)
    for _ in range(groups):
        out += string(b"group") + length(5) + length(1) + (MINUS_ONE if level > 1 else b"")
        out += length(2) + (RAW_ID + TIME + length(3)) * 2
        out += length(1) + string(b"alice") + TIME + (TIME if level > 2 else b"") + length(2) + RAW_ID * 2
        out += length(1) + RAW_ID if level > 4 else b""
    if level > 3:
        out += (
            length(100) + length(100) + length(1) + string(b"pid") + length(1) + string(b"iid") + length(5) + length(1)
        )
        out += length(7) + length(0)
    return out


MODULE_BODY = b"\x01\x05" + b"\x02" + MINUS_ONE + b"\x03abcd" + b"\x04abcdefgh" + b"\x05\x02hi" + b"\x00"
PAYLOADS = {
    Shape.STRING: string(b"hello"),
    Shape.STRINGS: length(3) + string(b"a") + b"\xc0\x05" + bytes.fromhex("C305140061E00A00"),
    Shape.PAIRS: length(2) + string(b"a") + string(b"1") + string(b"b") + b"\xc1\x00\x10",
    Shape.SCORED_TEXT: length(3) + string(b"m") + b"\x031.5" + string(b"n") + b"\xfe" + string(b"o") + b"\xff",
    Shape.SCORED_BINARY: length(2) + (string(b"m") + bytes(8)) * 2,
    Shape.CONTAINERS: length(2) + b"\x01" + string(b"plain") + b"\x02" + string(b"packed"),
    Shape.MODULE: b"\x81" + bytes.fromhex("BDE72DA2BB1EB400") + MODULE_BODY,
    Shape.STREAM: stream(1),
    Shape.STREAM_2: stream(2),
    Shape.STREAM_3: stream(3),
    Shape.STREAM_4: stream(4),
    Shape.STREAM_5: stream(5),
    Shape.FIELDS_RELATIVE: TIME
    + length(2)
    + b"\x00"
    + string(b"g")
    + b"\xc0\x02"
    + b"\x01"
    + string(b"f")
    + b"\xc0\x01",
    Shape.FIELDS_ABSOLUTE: length(1) + length(2_000_000_000_000) + string(b"f") + string(b"v"),
    Shape.FIELDS_VALKEY: length(2) + (string(b"f") + string(b"v") + TIME) * 2,
    Shape.MIN_AND_STRING: TIME + string(b"listpack"),
    Shape.ARRAY: length(4)
    + b"\x01\x09"
    + b"\x00\x00\x03abc"
    + b"\x05\x01"
    + bytes(8)
    + b"\x06\x02"
    + bytes(8)
    + b"\x07\x03\x01z",
    Shape.TEMPLATE_PACK: string(b"listpack"),
    Shape.TEMPLATE_STRINGS: length(300) + string(b"v") + b"\xc0\x05",
}
TEMPLATES = Templates()
TEMPLATES.add(300, [b"a", b"b"])
TEMPLATES.add(3, [b"a"] * 300)


def walk(shape: int, data: bytes, pos: int = 0, end: int | None = None) -> tuple[int, tuple[int, int, int]]:
    cursor = Cursor(memoryview(data), len(data) if end is None else end, TEMPLATES)
    after = cursor.payload(pos, shape)
    return after, (int(cursor.error_code), int(cursor.error_pos), int(cursor.error_detail))


def test_every_shape_is_tested_here() -> None:
    assert set(PAYLOADS) == set(Shape)


@pytest.mark.parametrize("shape", PAYLOADS)
def test_the_end_of_a_value_is_found_wherever_it_stands(shape: Shape) -> None:
    payload = PAYLOADS[shape]
    assert walk(shape, b"in front" + payload + b"behind", 8) == (8 + len(payload), (0, 0, 0))
    assert walk(shape, payload) == (len(payload), (0, 0, 0))


@pytest.mark.parametrize("shape", PAYLOADS)
def test_a_value_cut_anywhere_is_truncated_at_or_before_the_cut(shape: Shape) -> None:
    payload = PAYLOADS[shape]
    for cut in range(len(payload)):
        after, (code, pos, needed) = walk(shape, payload + b"\x05" * 99, 0, cut)
        assert (after, code) == (-1, codes.TRUNCATED)
        assert pos <= cut < pos + needed


ONE_STRING = {Shape.STRING, Shape.MIN_AND_STRING, Shape.TEMPLATE_PACK}


@pytest.mark.parametrize("shape", sorted(set(Shape) - ONE_STRING - {Shape.MODULE}))
@pytest.mark.parametrize("count", [2**31, 2**32 - 1, 2**60, 2**61, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_count_that_lies_ends_at_the_end_of_the_bytes(shape: Shape, count: int) -> None:
    head = TIME if shape == Shape.FIELDS_RELATIVE else b""
    assert walk(shape, head + length(count) + bytes(3))[0] == -1


@pytest.mark.parametrize("count", [2**31, 2**59, 2**60, 2**60 + 1, 2**63, 2**64 - 1])
def test_a_count_of_ids_that_would_wrap_is_refused(count: int) -> None:
    one = length(0) * 4 + length(1) + string(b"g") + length(0) * 2 + length(0) + length(1) + string(b"c") + bytes(8)
    after, (code, _, needed) = walk(Shape.STREAM, one + length(count) + bytes(64))
    assert (after, code) == (-1, codes.TRUNCATED)
    assert needed > 64


@pytest.mark.parametrize(
    ("shape", "payload", "error"),
    [
        (Shape.SCORED_TEXT, b"\x01\x01m\xfd", (codes.BAD_SCORE, 3, 253)),
        (Shape.SCORED_TEXT, b"\x01\x01m\x00", (codes.BAD_SCORE, 3, 0)),
        (Shape.CONTAINERS, b"\x01\x00\x00", (codes.BAD_CONTAINER, 1, 0)),
        (Shape.CONTAINERS, b"\x01\x03\x00", (codes.BAD_CONTAINER, 1, 3)),
        (Shape.CONTAINERS, b"\x01" + MINUS_ONE + b"\x00", (codes.BAD_CONTAINER, 1, 2**64 - 1)),
        (Shape.MODULE, b"\x05\x06", (codes.BAD_MODULE_OPCODE, 1, 6)),
        (Shape.MODULE, b"\x05\x01\x01\x07", (codes.BAD_MODULE_OPCODE, 3, 7)),
        (Shape.STREAM, b"\x01\x03abc\x00", (codes.BAD_STREAM_ID, 1, 3)),
        (Shape.STREAM, b"\x01\xc0\x10\x00", (codes.BAD_STREAM_ID, 1, 0)),
        (Shape.ARRAY, b"\x01\x02", (codes.BAD_ARRAY_TAG, 1, 2)),
        (Shape.ARRAY, b"\x01\x00\x00\x04", (codes.BAD_ARRAY_TAG, 3, 4)),
        (Shape.STRINGS, b"\x01\xc4", (codes.BAD_STRING, 1, 0xC4)),
        (Shape.PAIRS, b"\x90", (codes.BAD_LENGTH, 0, 0x90)),
        (Shape.FIELDS_ABSOLUTE, b"\x01\xc0", (codes.BAD_LENGTH, 1, 0xC0)),
        (Shape.TEMPLATE_STRINGS, b"\x05\x01v", (codes.BAD_TEMPLATE, 0, 5)),
        (Shape.TEMPLATE_STRINGS, MINUS_ONE, (codes.BAD_TEMPLATE, 0, 2**64 - 1)),
        (Shape.TEMPLATE_STRINGS, length(300) + b"\x01v\xc7", (codes.BAD_STRING, 4, 0xC7)),
        (Shape.TEMPLATE_STRINGS, b"\x03" + b"\x00" * 29 + b"\xc7", (codes.BAD_STRING, 30, 0xC7)),
    ],
)
def test_what_cannot_be_is_told_with_its_place(shape: Shape, payload: bytes, error: tuple[int, int, int]) -> None:
    assert walk(shape, b"xx" + payload + bytes(30), 2) == (-1, (error[0], error[1] + 2, error[2]))


@settings(max_examples=300)
@given(st.sampled_from(list(Shape)), st.data())
def test_it_never_leaves_its_bytes_whatever_is_damaged(shape: Shape, data: st.DataObject) -> None:
    damaged = bytearray(PAYLOADS[shape])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(
            st.sampled_from([0, 1, 0x80, 0x81, 0xC3, 0xFF])
        )
    after, (code, pos, _) = walk(shape, bytes(damaged))
    assert (after == -1 and code and 0 <= pos <= len(damaged)) or (0 < after <= len(damaged) and not code)


def test_without_templates_no_template_is_known() -> None:
    cursor = Cursor(memoryview(PAYLOADS[Shape.TEMPLATE_STRINGS]), len(PAYLOADS[Shape.TEMPLATE_STRINGS]))
    assert cursor.payload(0, Shape.TEMPLATE_STRINGS) == -1
    assert (cursor.error_code, cursor.error_detail) == (codes.BAD_TEMPLATE, 300)


def test_a_template_keeps_its_first_names() -> None:
    held = Templates()
    assert held.add(1, [b"a"])
    assert held.add(1, [b"a"])
    assert not held.add(1, [b"b"])
    assert not held.add(1, [])
    assert held.add(2, [])
