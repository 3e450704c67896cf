"""Ziplists, listpacks, intsets and zipmaps give their elements, at the limits of every form, and believe nothing."""

from __future__ import annotations

import struct

import pytest
from blobbytes import (
    EMPTY_LISTPACK,
    EMPTY_ZIPLIST,
    Element,
    Raw,
    intset,
    listpack,
    u32,
    ziplist,
    zipmap,
)
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.format import codes
from rdbmerge.format.core import Pack
from rdbmerge.format.listpack import iter_elements
from rdbmerge.format.values import Packing

NUMBERS = [
    number
    for edge in (0, 12, 127, 255, 4_095, 32_767, 65_535, 8_388_607, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 2)
    for number in (edge, edge + 1, -edge, -edge - 1)
]
SIZES = [0, 1, 63, 64, 65, 252, 253, 254, 255, 4_095, 4_096, 16_383, 16_384, 70_000]


def read(packing: Packing, blob: bytes) -> tuple[list[bytes], int, int]:
    """The elements, then what is wrong behind them (0, 0: nothing)."""
    elements, code, detail = Pack().elements(packing, memoryview(blob))
    return elements, int(code), int(detail)


def texts(elements: list[Element]) -> list[bytes]:
    return [str(each).encode() if isinstance(each, int) else each for each in elements]


def test_every_integer_of_a_listpack_or_ziplist_is_its_text() -> None:
    whole = [*NUMBERS, b"end"]
    assert read(Packing.LISTPACK, listpack(*whole)) == (texts(whole), 0, 0)
    assert read(Packing.ZIPLIST, ziplist(*whole)) == (texts(whole), 0, 0)


@pytest.mark.parametrize("size", SIZES)
def test_a_text_of_any_size_is_read_wherever_it_stands(size: int) -> None:
    whole = [b"before", b"x" * size, 5, b"y" * size, b""]
    assert read(Packing.LISTPACK, listpack(*whole)) == (texts(whole), 0, 0)
    assert read(Packing.ZIPLIST, ziplist(*whole)) == (texts(whole), 0, 0)


@pytest.mark.parametrize(
    ("size", "backlen"),
    [
        (127, "7f"), (128, "0180"), (129, "0181"), (16_381, "7ffd"), (16_382, "7ffe"), (16_383, "00ffff"),
        (16_384, "018080"), (2_097_150, "7ffffe"), (2_097_151, "00ffffff"),
    ],
)  # fmt: skip
def test_the_size_behind_a_listpack_element_is_read_and_believed_only_if_right(size: int, backlen: str) -> None:
    """`size` is of the element with its head; 16,383 itself takes three bytes."""
    text = b"x" * (size - (2 if size < 4_098 else 5))
    blob = listpack(text, b"end")
    behind = len(blob) - 1 - 5 - len(backlen) // 2
    assert blob[behind:].startswith(bytes.fromhex(backlen))
    assert read(Packing.LISTPACK, blob) == ([text, b"end"], 0, 0)
    for place in range(behind, behind + len(backlen) // 2):
        wrong = blob[:place] + bytes([blob[place] ^ 0x40]) + blob[place + 1 :]
        assert read(Packing.LISTPACK, wrong) == ([], codes.BAD_PACK_LINKS, Packing.LISTPACK)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("c005", b"5"), ("f10500", b"5"), ("f2050000", b"5"), ("f305000000", b"5"), ("f40500000000000000", b"5"),
        ("f1ffff", b"-1"), ("e00161", b"a"), ("f00100000061", b"a"), ("e000", b""), ("f000000000", b""),
    ],
)  # fmt: skip
def test_a_listpack_element_in_a_longer_form_than_needed_is_read(stored: str, text: bytes) -> None:
    assert read(Packing.LISTPACK, listpack(Raw(bytes.fromhex(stored)), 1)) == ([text, b"1"], 0, 0)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("fe05", b"5"), ("c00500", b"5"), ("f0050000", b"5"), ("d005000000", b"5"), ("e00500000000000000", b"5"),
        ("f1", b"0"), ("fd", b"12"), ("feff", b"-1"), ("f0000080", b"-8388608"), ("400161", b"a"),
        ("800000000161", b"a"), ("bf0000000161", b"a"), ("00", b""), ("8000000000", b""),
    ],
)  # fmt: skip
def test_a_ziplist_element_in_any_form_is_read(stored: str, text: bytes) -> None:
    assert read(Packing.ZIPLIST, ziplist(Raw(bytes.fromhex(stored)), 1)) == ([text, b"1"], 0, 0)


def test_a_ziplist_may_tell_small_sizes_in_five_bytes() -> None:
    assert read(Packing.ZIPLIST, ziplist(b"a", 300, b"", wide_links=True)) == ([b"a", b"300", b""], 0, 0)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_an_intset_has_integers_of_one_width(width: int) -> None:
    numbers = [-(1 << 8 * width - 1), -1, 0, 1, (1 << 8 * width - 1) - 1]
    assert read(Packing.INTSET, intset(width, *numbers)) == (texts([*numbers]), 0, 0)


@pytest.mark.parametrize("free", [0, 1, 255])
@pytest.mark.parametrize("size", [0, 1, 253, 254, 255, 70_000])
def test_a_zipmap_is_read_over_its_unused_bytes(size: int, free: int) -> None:
    items = {b"f" * size: b"v", b"g": b"w" * size, b"h": b"\xff"}
    flat = [each for pair in items.items() for each in pair]
    assert read(Packing.ZIPMAP, zipmap(items, free=free)) == (flat, 0, 0)


@pytest.mark.parametrize(
    ("packing", "blob"),
    [
        (Packing.ZIPLIST, EMPTY_ZIPLIST), (Packing.LISTPACK, EMPTY_LISTPACK), (Packing.INTSET, intset(4)),
        (Packing.ZIPMAP, b"\x00\xff"),
    ],
)  # fmt: skip
def test_an_empty_blob_has_no_elements(packing: Packing, blob: bytes) -> None:
    assert read(packing, blob) == ([], 0, 0)


def test_a_count_too_large_for_its_field_is_found_by_walking() -> None:
    many = [1] * 65_536
    for count in (65_534, 65_535, 65_536):
        assert read(Packing.LISTPACK, listpack(*many[:count])) == ([b"1"] * count, 0, 0)
        assert read(Packing.ZIPLIST, ziplist(*many[:count])) == ([b"1"] * count, 0, 0)
    assert read(Packing.LISTPACK, listpack(1, 2, count=65_535))[1:] == (0, 0)
    for count in (254, 255):
        assert read(Packing.ZIPMAP, zipmap({b"f": b"v"}, count=count)) == ([b"f", b"v"], 0, 0)


def headed(body: str, *, count: int = 1, tail: int = 10) -> bytes:
    """A ziplist of this body."""
    raw = bytes.fromhex(body)
    return u32(len(raw) + 11) + u32(tail) + struct.pack("<H", count) + raw + b"\xff"


def framed(body: str, *, count: int = 1) -> bytes:
    """A listpack of this body."""
    raw = bytes.fromhex(body)
    return u32(len(raw) + 7) + struct.pack("<H", count) + raw + b"\xff"


SIZE, ELEMENT, START = codes.BAD_PACK_SIZE, codes.BAD_PACK_ELEMENT, codes.BAD_PACK_START
END, COUNT, LINKS = codes.BAD_PACK_END, codes.BAD_PACK_COUNT, codes.BAD_PACK_LINKS


@pytest.mark.parametrize(
    ("blob", "code"),
    [
        (b"", SIZE), (EMPTY_LISTPACK[:6], SIZE), (EMPTY_LISTPACK + b"\xff", SIZE), (EMPTY_LISTPACK[:6] + b"\xfe", SIZE),
        (b"\x08" + EMPTY_LISTPACK[1:], SIZE), (b"\x07\x00\x00\x80" + EMPTY_LISTPACK[4:], SIZE),
        (listpack(1, 2, count=1), COUNT), (listpack(1, count=2), COUNT), (listpack(count=3), COUNT),
        (framed("f501"), START), (framed("fe01"), START), (framed("ff00"), END), (framed("0101ff"), END),
        (framed("bf"), ELEMENT), (framed("8161"), ELEMENT), (framed("e0"), ELEMENT), (framed("e5ff"), ELEMENT),
        (framed("f0"), ELEMENT), (framed("f0ffffffff"), ELEMENT), (framed("f0ffffff7f"), ELEMENT),
        (framed("c0"), ELEMENT), (framed("f1"), ELEMENT), (framed("f2ff"), ELEMENT), (framed("f3ffffff"), ELEMENT),
        (framed("f4ff"), ELEMENT), (framed("01"), ELEMENT), (framed("0102"), LINKS), (framed("816103"), LINKS),
        (framed("8161ff"), LINKS),
    ],
)  # fmt: skip
def test_a_listpack_that_cannot_be_is_told(blob: bytes, code: int) -> None:
    detail = Packing.LISTPACK << 8 | blob[6] if code == START else Packing.LISTPACK
    assert read(Packing.LISTPACK, blob)[1:] == (code, detail)


@pytest.mark.parametrize(
    ("blob", "code"),
    [
        (b"", SIZE), (EMPTY_ZIPLIST[:10], SIZE), (EMPTY_ZIPLIST + b"\xff", SIZE), (EMPTY_ZIPLIST[:10] + b"\x00", SIZE),
        (b"\x0c" + EMPTY_ZIPLIST[1:], SIZE), (b"\x0b\x00\x00\x80" + EMPTY_ZIPLIST[4:], SIZE),
        (ziplist(1, 2, count=1), COUNT), (ziplist(1, count=2), COUNT), (ziplist(count=1), COUNT),
        (headed("", count=0, tail=11), LINKS), (headed("00f1", tail=11), LINKS), (headed("01f1"), LINKS),
        (headed("00f103f1", count=2, tail=12), LINKS), (headed("00f102f1", count=2, tail=10), LINKS),
        (headed("fe00000000f1ff"), END), (headed("ff"), END), (headed("fe000000"), ELEMENT), (headed("00"), ELEMENT),
        (headed("00c1"), START), (headed("00ff"), START), (headed("00ef"), START), (headed("0005ffff"), ELEMENT),
        (headed("0040"), ELEMENT), (headed("007fff"), ELEMENT), (headed("0080000000"), ELEMENT),
        (headed("0080ffffffff"), ELEMENT), (headed("00807fffffff"), ELEMENT), (headed("00c0ff"), ELEMENT),
        (headed("00d0ffffff"), ELEMENT), (headed("00e0ff"), ELEMENT), (headed("00f0ffff"), ELEMENT),
        (headed("00fe"), ELEMENT), (headed("0001"), ELEMENT), (headed("0002ff"), ELEMENT), (headed("004001"), ELEMENT),
        (headed("00800000000261"), ELEMENT),
    ],
)  # fmt: skip
def test_a_ziplist_that_cannot_be_is_told(blob: bytes, code: int) -> None:
    detail = Packing.ZIPLIST << 8 | blob[11] if code == START else Packing.ZIPLIST
    assert read(Packing.ZIPLIST, blob)[1:] == (code, detail)


@pytest.mark.parametrize(
    ("blob", "code", "detail"),
    [
        (b"", SIZE, Packing.INTSET), (intset(2)[:7], SIZE, Packing.INTSET), (intset(2, 5)[:9], SIZE, Packing.INTSET),
        (intset(2, 5) + b"\x00", SIZE, Packing.INTSET), (u32(8) + u32(0x80000000), SIZE, Packing.INTSET),
        (u32(8) + u32(0x20000000), SIZE, Packing.INTSET), (intset(2, 5, 5), codes.BAD_PACK_ORDER, Packing.INTSET),
        (intset(2, 6, 5), codes.BAD_PACK_ORDER, Packing.INTSET), (u32(3) + u32(0), codes.BAD_PACK_WIDTH, 3),
        (u32(0) + u32(0), codes.BAD_PACK_WIDTH, 0), (u32(0xFFFFFFFF) + u32(1), codes.BAD_PACK_WIDTH, 0xFFFFFFFF),
    ],
)  # fmt: skip
def test_an_intset_that_cannot_be_is_told(blob: bytes, code: int, detail: int) -> None:
    assert read(Packing.INTSET, blob)[1:] == (code, detail)


@pytest.mark.parametrize(
    ("blob", "code"),
    [
        ("", SIZE), ("ff", SIZE), ("0000", SIZE), ("01ff", COUNT), ("01 0166ff", COUNT), ("00 0166 010076ff", COUNT),
        ("02 0166 010076ff", COUNT), ("01 0266ff", ELEMENT), ("01 fe0000ff", ELEMENT), ("01 feffffffff66ff", ELEMENT),
        ("01 0166 02ff", ELEMENT), ("01 0166 01ff", ELEMENT), ("01 0166 010276ff", ELEMENT),
        ("01 0166 01ff76ff", ELEMENT), ("01 ffff", END), ("01 0166 ffff", END),
    ],
)  # fmt: skip
def test_a_zipmap_that_cannot_be_is_told(blob: str, code: int) -> None:
    assert read(Packing.ZIPMAP, bytes.fromhex(blob.replace(" ", "")))[1:] == (code, Packing.ZIPMAP)


@pytest.mark.parametrize("packing", [Packing.ZIPLIST, Packing.LISTPACK, Packing.INTSET])
def test_a_blob_cut_anywhere_is_refused(packing: Packing) -> None:
    whole = {
        Packing.ZIPLIST: ziplist(b"a", 300, b"b" * 70),
        Packing.LISTPACK: listpack(b"a", 300, b"b" * 70),
        Packing.INTSET: intset(4, 1, 2, 3),
    }[packing]
    for cut in range(len(whole)):
        assert read(packing, whole[:cut])[1:] != (0, 0)


ELEMENTS = st.lists(st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=300)), max_size=30)


@given(ELEMENTS, st.booleans())
def test_whatever_was_packed_is_read_back(elements: list[Element], wide_links: bool) -> None:
    assert read(Packing.LISTPACK, listpack(*elements)) == (texts(elements), 0, 0)
    assert read(Packing.ZIPLIST, ziplist(*elements, wide_links=wide_links)) == (texts(elements), 0, 0)


@given(st.binary(max_size=60), st.integers(0, 65_535))
def test_what_is_read_of_any_listpack_is_what_another_reader_finds(body: bytes, count: int) -> None:
    blob = framed(body.hex(), count=count)
    elements, code, _ = read(Packing.LISTPACK, blob)
    if not code:
        assert elements == texts([value for _, value in iter_elements(blob, offset=0)])


@given(st.sampled_from(list(Packing)[1:]), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(packing: Packing, body: bytes) -> None:
    for blob in (body, framed(body.hex(), count=65_535), headed(body.hex(), count=65_535), b"\xfe" + body + b"\xff"):
        assert len(read(packing, blob)[0]) <= len(blob)
