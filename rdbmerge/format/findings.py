"""What the core found wrong, in words: one sentence a code. Knows nothing of files; the offset is the core's."""

from __future__ import annotations

from typing import Any

from rdbmerge.errors import FormatError, TruncatedError, UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.values import Logical, Packing

_DAMAGED = "the file is damaged; pull or copy it again"
_CUT = "the file was cut short, or a length in it is damaged; pull or copy it again"

# {detail} is the core's number, {low} its lowest byte, {pack} the packing that it names.
_FINDINGS = {
    codes.BAD_LENGTH: "a length cannot start with byte 0x{detail:02x}",
    codes.BAD_STRING: "a string cannot start with byte 0x{detail:02x}",
    codes.BAD_SCORE: "a score of a sorted set cannot start with byte 0x{detail:02x}",
    codes.BAD_CONTAINER: "a list node cannot have container {detail}",
    codes.BAD_MODULE_OPCODE: "module data cannot hold opcode {detail}",
    codes.BAD_LZF: "a compressed string claims to unpack to {detail:,} bytes, more than it can hold",
    codes.BAD_ARRAY_TAG: "an array cannot hold tag {detail}",
    codes.BAD_STREAM_ID: "a stream node's key must be 16 bytes, not {detail:,}",
    codes.BAD_TEMPLATE: "hash template {detail} is not in the file",
    codes.BAD_PACK_SIZE: "{pack} whose size does not fit its bytes",
    codes.BAD_PACK_ELEMENT: "{pack} element that runs over its end",
    codes.BAD_PACK_START: "{pack} element cannot start with 0x{low:02x}",
    codes.BAD_PACK_END: "{pack} that ends before its last byte",
    codes.BAD_PACK_COUNT: "{pack} that holds another number of elements than it says",
    codes.BAD_PACK_LINKS: "{pack} whose elements do not tell the sizes of their neighbours",
    codes.BAD_PACK_ORDER: "{pack} whose numbers do not ascend",
    codes.BAD_PACK_WIDTH: "an intset cannot have integers of {detail:,} bytes",
    codes.BAD_FIELD_TIME: "a hash field whose expiry is not a time",
    codes.BAD_NUMBER: "a score that is not a number",
    codes.NOT_UNPACKED: "a compressed string does not unpack",
    codes.VALUE_GOES_ON: "a value whose last {detail:,} bytes belong to nothing",
}
_PACKS: dict[int, str] = {
    Packing.ZIPLIST: "a ziplist",
    Packing.LISTPACK: "a listpack",
    Packing.INTSET: "an intset",
    Packing.ZIPMAP: "a zipmap",
}
# The codes whose detail chooses the sentence.
_BY_DETAIL: dict[int, dict[int, str]] = {
    codes.ODD_ELEMENTS: {
        1: "a hash that does not begin with the id of its template",
        2: "a value whose elements do not come in pairs",
        3: "a hash listpack whose elements are not field, value, time",
    },
    codes.BAD_STREAM_NODE: {
        codes.NODE_HEAD: "a stream node that does not begin with its numbers",
        codes.NODE_ENTRY: "a stream node with an entry whose numbers do not fit",
        codes.NODE_COUNT: "a stream node that holds another number of entries than it says",
        codes.NODE_CUT: "a stream node that ends inside an entry",
    },
    codes.REPEATED_ITEM: {
        Logical.SET: "a set that holds a member twice",
        Logical.ZSET: "a sorted set that holds a member twice",
        Logical.HASH: "a hash that holds a field twice",
    },
}


def cursor_error(cursor: Any, end: int) -> FormatError:
    """The error of a cursor of the core; `end` is where the bytes it may read stop.

    Raises MemoryError where that is what was missing.
    """
    code, pos, detail = int(cursor.error_code), int(cursor.error_pos), int(cursor.error_detail)
    if code == codes.TRUNCATED:
        return TruncatedError(
            f"{detail:,} {'byte' if detail == 1 else 'bytes'} expected, {end - pos:,} remain", offset=pos, remedy=_CUT
        )
    if code == codes.UNKNOWN_TYPE:
        return UnsupportedError(
            f"value type {detail} is not known",
            offset=pos,
            remedy="use a newer rdbmerge, or check the source's modules",
        )
    if code == codes.META_OUT_OF_PLACE:
        return UnsupportedError(
            "key metadata that does not stand directly before a value type",
            offset=pos,
            remedy="no server is known to write this; use a newer rdbmerge, or pull the source again",
        )
    if code == codes.NO_MEMORY:
        raise MemoryError(f"no memory for a string of {detail:,} bytes")
    return FormatError(_finding(code, detail), offset=pos, remedy=_DAMAGED)


def _finding(code: int, detail: int) -> str:
    if code in _BY_DETAIL:
        return _BY_DETAIL[code][detail]
    packing = detail >> 8 or detail  # only the codes about packs have one
    return _FINDINGS[code].format(detail=detail, low=detail & 0xFF, pack=_PACKS.get(packing, ""))
