"""The table of value types: what each number means under each magic, and how its end is found.

One row a type (rdb-format.md 6). Everything that depends on a type number asks this table; a branch on a number
elsewhere is a smell. Knows nothing of files or of how a shape is walked (`_cursor_cy`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache


class Shape(IntEnum):
    """How the bytes after the key are laid out; the numbers are known to `_cursor_cy`."""

    STRING = 0  # one string
    STRINGS = 1  # len n, n strings
    PAIRS = 2  # len n, n x 2 strings
    SCORED_TEXT = 3  # len n, n x (string, score as text)
    SCORED_BINARY = 4  # len n, n x (string, 8 bytes)
    CONTAINERS = 5  # len n, n x (len container, string)
    MODULE = 6  # len id, opcodes until 0
    STREAM = 7  # rdb-format.md 6.4, first form
    STREAM_2 = 8
    STREAM_3 = 9
    STREAM_4 = 10
    STREAM_5 = 11
    FIELDS_RELATIVE = 12  # 8 bytes min, len n, n x (len ttl, 2 strings)
    FIELDS_ABSOLUTE = 13  # len n, n x (len ttl, 2 strings)
    FIELDS_VALKEY = 14  # len n, n x (2 strings, 8 bytes)
    MIN_AND_STRING = 15  # 8 bytes min, string
    ARRAY = 16  # rdb-format.md 6.6
    TEMPLATE_PACK = 17  # one string, whose first element is the id of a hash template (rdb-format.md 6.7)
    TEMPLATE_STRINGS = 18  # len id, as many strings as the hash template has names


class Packing(IntEnum):
    """How the elements of a compact value lie in its blob, or in each of its blobs; known to `_packs_cy`."""

    NONE = 0  # elements are strings of the file
    ZIPLIST = 1  # rdb-format.md 7.1
    LISTPACK = 2
    INTSET = 3
    ZIPMAP = 4


class Logical(IntEnum):
    """What a user calls the type: the answer of TYPE."""

    STRING = 0
    LIST = 1
    SET = 2
    ZSET = 3
    HASH = 4
    STREAM = 5
    MODULE = 6
    ARRAY = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueType:
    """One row: a type number under one magic."""

    name: str
    logical: Logical
    shape: Shape
    since_rdb: int  # the lowest header version a server that loads it writes
    packing: Packing = Packing.NONE
    holds_expiry: bool = False  # absolute times of hash fields inside the payload

    @property
    def empty_bytes(self) -> int:
        """Size of a blob that holds no element; 0: cannot be seen from outside."""
        return _EMPTY_BYTES[self.packing] if self.shape in (Shape.STRING, Shape.MIN_AND_STRING) else 0


_EMPTY_BYTES = {Packing.NONE: 0, Packing.ZIPLIST: 11, Packing.LISTPACK: 7, Packing.INTSET: 8, Packing.ZIPMAP: 2}


def _row(
    name: str,
    logical: Logical,
    shape: Shape,
    since_rdb: int,
    packing: Packing = Packing.NONE,
    *,
    holds_expiry: bool = False,
) -> ValueType:
    return ValueType(
        name=name, logical=logical, shape=shape, since_rdb=since_rdb, packing=packing, holds_expiry=holds_expiry
    )


COMMON_TYPES: dict[int, ValueType] = {
    0: _row("string", Logical.STRING, Shape.STRING, 1),
    1: _row("list", Logical.LIST, Shape.STRINGS, 1),
    2: _row("set", Logical.SET, Shape.STRINGS, 1),
    3: _row("zset", Logical.ZSET, Shape.SCORED_TEXT, 1),
    4: _row("hash", Logical.HASH, Shape.PAIRS, 1),
    5: _row("zset_2", Logical.ZSET, Shape.SCORED_BINARY, 8),
    7: _row("module_2", Logical.MODULE, Shape.MODULE, 8),
    9: _row("hash_zipmap", Logical.HASH, Shape.STRING, 2, Packing.ZIPMAP),
    10: _row("list_ziplist", Logical.LIST, Shape.STRING, 2, Packing.ZIPLIST),
    11: _row("set_intset", Logical.SET, Shape.STRING, 2, Packing.INTSET),
    12: _row("zset_ziplist", Logical.ZSET, Shape.STRING, 2, Packing.ZIPLIST),
    13: _row("hash_ziplist", Logical.HASH, Shape.STRING, 4, Packing.ZIPLIST),
    14: _row("list_quicklist", Logical.LIST, Shape.STRINGS, 7, Packing.ZIPLIST),
    15: _row("stream_listpacks", Logical.STREAM, Shape.STREAM, 9),
    16: _row("hash_listpack", Logical.HASH, Shape.STRING, 10, Packing.LISTPACK),
    17: _row("zset_listpack", Logical.ZSET, Shape.STRING, 10, Packing.LISTPACK),
    18: _row("list_quicklist_2", Logical.LIST, Shape.CONTAINERS, 10, Packing.LISTPACK),
    19: _row("stream_listpacks_2", Logical.STREAM, Shape.STREAM_2, 10),
    20: _row("set_listpack", Logical.SET, Shape.STRING, 11, Packing.LISTPACK),
    21: _row("stream_listpacks_3", Logical.STREAM, Shape.STREAM_3, 11),
}

REDIS_TYPES: dict[int, ValueType] = COMMON_TYPES | {
    22: _row("hash_metadata_pre_ga", Logical.HASH, Shape.FIELDS_ABSOLUTE, 12, holds_expiry=True),
    23: _row("hash_listpack_ex_pre_ga", Logical.HASH, Shape.STRING, 12, Packing.LISTPACK, holds_expiry=True),
    24: _row("hash_metadata", Logical.HASH, Shape.FIELDS_RELATIVE, 12, holds_expiry=True),
    25: _row("hash_listpack_ex", Logical.HASH, Shape.MIN_AND_STRING, 12, Packing.LISTPACK, holds_expiry=True),
    26: _row("stream_listpacks_4", Logical.STREAM, Shape.STREAM_4, 13),
    27: _row("stream_listpacks_5", Logical.STREAM, Shape.STREAM_5, 14),
    28: _row("array", Logical.ARRAY, Shape.ARRAY, 14),
    30: _row("hash_template_pack", Logical.HASH, Shape.TEMPLATE_PACK, 15, Packing.LISTPACK),
    32: _row("hash_template_strings", Logical.HASH, Shape.TEMPLATE_STRINGS, 15),
}

VALKEY_TYPES: dict[int, ValueType] = COMMON_TYPES | {
    22: _row("hash_2", Logical.HASH, Shape.FIELDS_VALKEY, 80, holds_expiry=True),
}

# Type numbers that are known by name only: no end can be found, so the file is refused with a word of why.
REFUSED_TYPES: dict[int, str] = {
    6: "a module value of the 4.0 release candidates, which cannot be walked without the module",
    29: "a hash with its template, which Redis 8.10 writes in DUMP payloads only",
    31: "a hash with its template, which Redis 8.10 writes in DUMP payloads only",
    33: "a rate limiter of special builds of Redis",
}

UNKNOWN_SHAPE = 255


def shape_table(types: dict[int, ValueType]) -> bytes:
    """256 bytes for the core: the shape of each type number, UNKNOWN_SHAPE where there is none."""
    return bytes(int(types[number].shape) if number in types else UNKNOWN_SHAPE for number in range(256))


def empty_table(types: dict[int, ValueType]) -> bytes:
    """256 bytes for the core: the size of a blob that holds nothing, 0 where that cannot be seen from outside."""
    return bytes(types[number].empty_bytes if number in types else 0 for number in range(256))


def item_tables(types: dict[int, ValueType]) -> bytes:
    """4 x 256 bytes for the core's reader of items: shape, packing, logical type, whether fields hold expiries."""
    return _item_tables(tuple(types.items()))


@cache  # every reader asks, some of them for one value
def _item_tables(types: tuple[tuple[int, ValueType], ...]) -> bytes:
    nothing, known = UNKNOWN_SHAPE, dict(types)
    rows = [known.get(number) for number in range(256)]
    return (
        bytes(nothing if row is None else int(row.shape) for row in rows)
        + bytes(0 if row is None else int(row.packing) for row in rows)
        + bytes(nothing if row is None else int(row.logical) for row in rows)
        + bytes(row is not None and row.holds_expiry for row in rows)
    )
