"""Each code of the core has its sentence, its kind of error and a remedy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rdbmerge.errors import FormatError, TruncatedError, UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.findings import cursor_error
from rdbmerge.format.values import Logical, Packing

CODES = [
    *range(codes.TRUNCATED, codes.BAD_TEMPLATE + 1),
    codes.UNKNOWN_TYPE,
    codes.META_OUT_OF_PLACE,
    *range(codes.BAD_PACK_SIZE, codes.VALUE_GOES_ON + 1),
    codes.BAD_STREAM_NODE,
    codes.REPEATED_ITEM,
]
DETAILS: dict[int, list[int]] = {
    codes.ODD_ELEMENTS: [1, 2, 3],
    codes.BAD_STREAM_NODE: [codes.NODE_HEAD, codes.NODE_ENTRY, codes.NODE_COUNT, codes.NODE_CUT],
    codes.REPEATED_ITEM: [Logical.SET, Logical.ZSET, Logical.HASH],
    codes.BAD_PACK_START: [Packing.ZIPLIST << 8 | 0xC1, Packing.LISTPACK << 8 | 0xF5],
}
PACKS = {
    Packing.ZIPLIST: "a ziplist",
    Packing.LISTPACK: "a listpack",
    Packing.INTSET: "an intset",
    Packing.ZIPMAP: "a zipmap",
}


def error(code: int, detail: int = 0) -> FormatError:
    return cursor_error(SimpleNamespace(error_code=code, error_pos=5, error_detail=detail), 8)


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_a_sentence_with_its_place_and_a_remedy(code: int) -> None:
    findings = [error(code, detail) for detail in DETAILS.get(code, [Packing.ZIPLIST])]
    assert len({str(each) for each in findings}) == len(findings)
    for each in findings:
        assert str(each).startswith("at byte 5: ")
        assert "{" not in each.finding
        assert each.remedy


def test_no_two_codes_have_one_sentence() -> None:
    texts = [error(code, detail).finding for code in CODES for detail in DETAILS.get(code, [1])]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("code", range(codes.BAD_PACK_SIZE, codes.BAD_PACK_ORDER + 1))
def test_a_finding_inside_a_blob_names_its_kind(code: int) -> None:
    for packing, name in PACKS.items():
        detail = packing << 8 | 0x0A if code == codes.BAD_PACK_START else packing
        assert error(code, detail).finding.startswith(name)


def test_a_byte_that_opens_nothing_is_shown() -> None:
    assert error(codes.BAD_PACK_START, Packing.LISTPACK << 8 | 0xF5).finding == (
        "a listpack element cannot start with 0xf5"
    )
    assert error(codes.BAD_LENGTH, 0x90).finding == "a length cannot start with byte 0x90"


def test_what_is_missing_is_counted_and_what_is_unknown_is_no_damage() -> None:
    assert error(codes.TRUNCATED, 1).finding == "1 byte expected, 3 remain"
    assert error(codes.TRUNCATED, 1 << 63).finding == "9,223,372,036,854,775,808 bytes expected, 3 remain"
    assert type(error(codes.TRUNCATED, 9)) is TruncatedError
    assert type(error(codes.UNKNOWN_TYPE, 99)) is type(error(codes.META_OUT_OF_PLACE)) is UnsupportedError
    assert type(error(codes.BAD_PACK_SIZE, 1)) is FormatError


def test_missing_memory_is_no_fault_of_the_file() -> None:
    with pytest.raises(MemoryError, match="no memory for a string of 8,192 bytes"):
        error(codes.NO_MEMORY, 8_192)
