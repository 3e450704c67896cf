"""Compact blobs and streams, byte by byte, for tests: written from rdb-format.md alone, with no code of rdbmerge.

An element is bytes or an integer, stored in its shortest form; `Raw` is an element's bytes as they shall stand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from rdbbytes import length, string


class Raw(bytes):
    """An element in its own bytes; in a ziplist without the size of the one before, in a listpack without its own."""


Element = bytes | int
EMPTY_ZIPLIST = bytes.fromhex("0b0000000a0000000000ff")
EMPTY_LISTPACK = bytes.fromhex("070000000000ff")


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def i64(number: int) -> bytes:
    return struct.pack("<q", number)


def lzf(text: bytes) -> bytes:
    """A compressed string (rdb-format.md 2): runs of one byte are copies, all else literal."""
    packed = bytearray()
    literal = bytearray()
    at = 0
    while at < len(text):
        run = 0
        while at and run < 264 and at + run < len(text) and text[at + run] == text[at - 1]:
            run += 1
        if run < 3:
            literal.append(text[at])
            at += 1
            if len(literal) < 32 and at < len(text):
                continue
        if literal:
            packed += bytes([len(literal) - 1]) + literal
            literal.clear()
        if run >= 3:
            packed += bytes([(run - 2) << 5, 0]) if run < 9 else bytes([0xE0, run - 9, 0])
            at += run
    return b"\xc3" + length(len(packed)) + length(len(text)) + bytes(packed)


# --- listpacks (7.2) ----------------------------------------------------------------------------------------------


def backlen(size: int) -> bytes:
    """With the limits that were measured: 16,383 itself takes three bytes."""
    count = 1 if size <= 127 else 2 if size < 16_383 else 3 if size < 2_097_151 else 4 if size < 268_435_455 else 5
    return bytes((size >> 7 * i & 127) | (128 if i < count - 1 else 0) for i in reversed(range(count)))


def listpack_element(element: Element) -> bytes:
    if isinstance(element, Raw):
        body = bytes(element)
    elif isinstance(element, int):
        body = _listpack_integer(element)
    elif len(element) < 64:
        body = bytes([0x80 | len(element)]) + element
    elif len(element) < 4096:
        body = bytes([0xE0 | len(element) >> 8, len(element) & 255]) + element
    else:
        body = b"\xf0" + u32(len(element)) + element
    return body + backlen(len(body))


def _listpack_integer(number: int) -> bytes:
    if 0 <= number < 128:
        return bytes([number])
    if -4096 <= number < 4096:
        return struct.pack(">H", 0xC000 | number & 0x1FFF)
    for opcode, size in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
        if -1 << 8 * size - 1 <= number < 1 << 8 * size - 1:
            return bytes([opcode]) + number.to_bytes(size, "little", signed=True)
    raise ValueError(number)


def listpack(*elements: Element, count: int | None = None) -> bytes:
    body = b"".join(map(listpack_element, elements))
    told = min(len(elements), 65_535) if count is None else count
    return u32(len(body) + 7) + struct.pack("<H", told) + body + b"\xff"


# --- ziplists (7.1) -----------------------------------------------------------------------------------------------


def ziplist_element(element: Element) -> bytes:
    if isinstance(element, Raw):
        return bytes(element)
    if isinstance(element, int):
        if 0 <= element <= 12:
            return bytes([0xF1 + element])
        for opcode, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
            if -1 << 8 * size - 1 <= element < 1 << 8 * size - 1:
                return bytes([opcode]) + element.to_bytes(size, "little", signed=True)
        raise ValueError(element)
    if len(element) < 64:
        return bytes([len(element)]) + element
    if len(element) < 16_384:
        return struct.pack(">H", 0x4000 | len(element)) + element
    return b"\x80" + struct.pack(">I", len(element)) + element


def ziplist(*elements: Element, count: int | None = None, wide_links: bool = False) -> bytes:
    """`wide_links`: every element tells the size of the one before in five bytes, as is allowed."""
    body, previous, last = b"", 0, 10
    for element in elements:
        link = bytes([previous]) if previous < 254 and not wide_links else b"\xfe" + u32(previous)
        last = 10 + len(body)
        stored = link + ziplist_element(element)
        previous = len(stored)
        body += stored
    told = min(len(elements), 65_535) if count is None else count
    return u32(len(body) + 11) + u32(last) + struct.pack("<H", told) + body + b"\xff"


# --- intsets and zipmaps (7.3, 7.4) -------------------------------------------------------------------------------


def intset(width: int, *numbers: int) -> bytes:
    return (
        u32(width) + u32(len(numbers)) + b"".join(number.to_bytes(width, "little", signed=True) for number in numbers)
    )


def zipmap(items: dict[bytes, bytes], *, free: int = 0, count: int | None = None) -> bytes:
    """`free`: unused bytes behind every value."""

    def size(text: bytes) -> bytes:
        return bytes([len(text)]) if len(text) < 254 else b"\xfe" + u32(len(text))

    body = b"".join(
        size(name) + name + size(value) + bytes([free]) + value + b"?" * free for name, value in items.items()
    )
    return bytes([min(len(items), 254) if count is None else count]) + body + b"\xff"


# --- streams (6.4) ------------------------------------------------------------------------------------------------

Id = tuple[int, int]
DELETED, SAME_FIELDS = 1, 2


def raw_id(one: Id) -> bytes:
    return struct.pack(">QQ", *one)


def own(ms: int, seq: int, *items: Element, flags: int = 0) -> list[Element]:
    """The elements of an entry with fields of its own: name, value, name, value, ..."""
    return [flags, ms, seq, len(items) // 2, *items, 4 + len(items)]


def same(ms: int, seq: int, *values: Element, flags: int = 0) -> list[Element]:
    """The elements of an entry with the fields of its node."""
    return [flags | SAME_FIELDS, ms, seq, *values, 3 + len(values)]


def node_head(count: int, deleted: int, *fields: Element) -> list[Element]:
    return [count, deleted, len(fields), *fields, 0]


def node(master: Id, blob: bytes) -> bytes:
    """A node as it stands in a file."""
    return string(raw_id(master)) + string(blob)


def node_of(master: Id, fields: Sequence[Element], *entries: list[Element]) -> bytes:
    deleted = sum(int(entry[0]) & DELETED for entry in entries)
    head = node_head(len(entries) - deleted, deleted, *fields)
    return node(master, listpack(*head, *(element for entry in entries for element in entry)))


def lengths(*numbers: int) -> bytes:
    """Several lengths; -1 is 2^64 - 1, as streams have it."""
    return b"".join(length(number & (1 << 64) - 1) for number in numbers)


def consumer(level: int, name: bytes, *ids: Id, seen_at_ms: int = 100, active_at_ms: int = 90) -> bytes:
    times = i64(seen_at_ms) + (i64(active_at_ms) if level >= 3 else b"")
    return string(name) + times + length(len(ids)) + b"".join(map(raw_id, ids))


def group(
    level: int,
    name: bytes,
    *,
    last_id: Id = (5, 1),
    entries_read: int = -1,
    pending: Iterable[tuple[Id, int, int]] = (),
    consumers: Sequence[bytes] = (),
    nacked: Sequence[Id] = (),
) -> bytes:
    """`pending`: ID, time of delivery, count; `consumers`: of `consumer` for the same level."""
    pending = list(pending)
    out = string(name) + lengths(*last_id) + (lengths(entries_read) if level >= 2 else b"")
    out += length(len(pending)) + b"".join(raw_id(one) + i64(at_ms) + length(count) for one, at_ms, count in pending)
    out += length(len(consumers)) + b"".join(consumers)
    return out + (length(len(nacked)) + b"".join(map(raw_id, nacked)) if level >= 5 else b"")


def stream(
    level: int,
    nodes: Sequence[bytes] = (),
    *,
    live: int = 0,
    last_id: Id = (5, 1),
    first_id: Id = (0, 0),
    max_deleted_id: Id = (0, 0),
    added: int = 0,
    groups: Sequence[bytes] = (),
    idmp: Id = (100, 100),
    producers: dict[bytes, dict[bytes, Id]] | None = None,
    iids: Id = (0, 0),
) -> bytes:
    """The payload of one of the five stream types, `level` 1 to 5."""
    out = length(len(nodes)) + b"".join(nodes) + lengths(live, *last_id)
    if level >= 2:
        out += lengths(*first_id, *max_deleted_id, added)
    out += length(len(groups)) + b"".join(groups)
    if level >= 4:
        told = producers or {}
        out += lengths(*idmp, len(told))
        for name, messages in told.items():
            out += string(name) + length(len(messages))
            out += b"".join(string(iid) + lengths(*one) for iid, one in messages.items())
        out += lengths(*iids)
    return out


STREAM_TYPES = {1: 15, 2: 19, 3: 21, 4: 26, 5: 27}
