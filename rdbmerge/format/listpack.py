"""Listpacks: walks the elements of one and builds one (rdb-format.md 7.2). Knows nothing of what the elements mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rdbmerge.errors import FormatError

_DAMAGED = "the file is damaged; pull or copy it again"
_HEAD_BYTES = 6
_END = 0xFF
_UNKNOWN_COUNT = 65_535
_BACKLEN_LIMITS = (128, 16_383, 2_097_151, 268_435_455)  # from each on, one byte more
# opcode of a fixed-size integer -> bytes that follow
_INTEGERS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def iter_elements(listpack: bytes, *, offset: int) -> Iterator[tuple[bytes, int | bytes]]:
    """The elements in order: their own bytes (encoding, data, backlen) and the value, an integer or bytes.

    `offset` is where the listpack's string stands in the file, for errors. Raises FormatError if it is damaged.
    """
    size = len(listpack)
    if size < _HEAD_BYTES + 1 or int.from_bytes(listpack[:4], "little") != size or listpack[-1] != _END:
        raise FormatError("a listpack whose size does not fit its bytes", offset=offset, remedy=_DAMAGED)
    pos = _HEAD_BYTES
    while listpack[pos] != _END:
        value, after = _element(listpack, pos, offset)
        after += len(_backlen(after - pos))
        if after >= size:
            raise FormatError("a listpack element that runs over its end", offset=offset, remedy=_DAMAGED)
        yield listpack[pos:after], value
        pos = after
    if pos != size - 1:
        raise FormatError("a listpack that ends before its last byte", offset=offset, remedy=_DAMAGED)


def _element(listpack: bytes, pos: int, offset: int) -> tuple[int | bytes, int]:
    first = listpack[pos]
    if first < 0x80:
        return first, pos + 1
    rest = listpack[pos + 1 : pos + 9]
    if first < 0xC0:
        start, length = pos + 1, first & 0x3F
    elif first < 0xE0:
        number = (first & 0x1F) << 8 | (rest[0] if rest else 0)
        return number - 0x2000 if number & 0x1000 else number, pos + 2
    elif first < 0xF0:
        start, length = pos + 2, (first & 0x0F) << 8 | (rest[0] if rest else 0)
    elif first == 0xF0:
        start, length = pos + 5, int.from_bytes(rest[:4], "little")
    elif first in _INTEGERS:
        count = _INTEGERS[first]
        return int.from_bytes(rest[:count], "little", signed=True), pos + 1 + count
    else:
        raise FormatError(f"a listpack element cannot start with 0x{first:02x}", offset=offset, remedy=_DAMAGED)
    if start + length > len(listpack):
        raise FormatError("a listpack element that runs over its end", offset=offset, remedy=_DAMAGED)
    return listpack[start : start + length], start + length


def _backlen(size: int) -> bytes:
    """The size of an element, to be read from the end: base 128, most significant group first."""
    count = 1 + sum(size >= limit for limit in _BACKLEN_LIMITS)
    groups = [size >> 7 * i & 0x7F for i in reversed(range(count))]
    return bytes([groups[0]] + [group | 0x80 for group in groups[1:]])


def integer_element(number: int) -> bytes:
    """A signed 64-bit integer as an element in its shortest form."""
    if 0 <= number < 128:
        body = bytes((number,))
    elif -4096 <= number < 4096:
        body = ((number & 0x1FFF) | 0xC000).to_bytes(2, "big")
    else:
        opcode, count = next(
            (opcode, count)
            for opcode, count in _INTEGERS.items()
            if -(1 << 8 * count - 1) <= number < 1 << 8 * count - 1
        )
        body = bytes((opcode,)) + number.to_bytes(count, "little", signed=True)
    return body + _backlen(len(body))


def build(elements: Iterable[bytes]) -> bytes:
    """A listpack of elements in their own bytes."""
    parts = list(elements)
    body = b"".join(parts)
    size = _HEAD_BYTES + len(body) + 1
    return size.to_bytes(4, "little") + min(len(parts), _UNKNOWN_COUNT).to_bytes(2, "little") + body + bytes((_END,))
