"""How much memory servers take for keys and strings: size classes of the allocator, headers, tables. Arithmetic only.

Two layouts, after the servers that a managed cache stands for: `redis` (Redis 5.0 to 7.1: dicts of separately allocated
entries) and `valkey` (8.1 and later: keys inside their objects, open hash tables). Sizes are those of a 64-bit server
with jemalloc; they were compared with `used_memory` of real servers. Knows nothing of values that hold elements.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal["redis", "valkey"]
LAYOUTS: tuple[Layout, ...] = ("redis", "valkey")

Bytes = NDArray[np.int64]

# Spacing of the smallest classes: builds differ, 8 with the allocator that servers bring along, 16 with a system's.
_QUANTUM = 16
_LEAST: dict[Layout, int] = {"redis": 8, "valkey": 24}  # 24 is what the C library's allocator takes at least
_CLASSES_A_DOUBLING_BITS = 2
_OBJECT, _TIME = 16, 8
_LONGEST_INSIDE = 44  # Redis: a string up to here lies in one piece with its object
_LONGEST_WITH_KEY = 64  # Valkey: object, key and string together
_EXPIRY_ENTRY = 24
_DICT_ENTRY = 24
_POINTER = 8
_BUCKET, _FILL = 64, 32 / 5  # Valkey: bytes of a bucket, and the entries that are counted on one
_SHORT, _BYTE, _WORD = 32, 256, 65_536
_HEADERS = (2, 4, 6, 10)  # with the final zero, for strings below these lengths and longer ones


def allocated(size: int, layout: Layout) -> int:
    """Bytes the allocator takes for a piece of `size` bytes (1 or more)."""
    spacing = max(_QUANTUM, 1 << max(0, (size - 1).bit_length() - 1 - _CLASSES_A_DOUBLING_BITS))
    return max(_LEAST[layout], -(-size // spacing) * spacing)


def allocated_all(sizes: Bytes, layout: Layout) -> Bytes:
    """`allocated` of each."""
    _, exponents = np.frexp(np.maximum(sizes - 1, 1).astype(np.float64))
    spacing = np.maximum(_QUANTUM, 1 << np.maximum(exponents - 1 - _CLASSES_A_DOUBLING_BITS, 0).astype(np.int64))
    rounded: Bytes = np.maximum(-(-sizes // spacing) * spacing, _LEAST[layout])
    return rounded


def string_bytes(length: int) -> int:
    """A string with its header and final zero, before the allocator rounds it."""
    if length < _SHORT:
        return length + _HEADERS[0]
    if length < _BYTE:
        return length + _HEADERS[1]
    return length + (_HEADERS[2] if length < _WORD else _HEADERS[3])


def string_bytes_all(lengths: Bytes) -> Bytes:
    """`string_bytes` of each."""
    summed: Bytes = lengths + np.select([lengths < _SHORT, lengths < _BYTE, lengths < _WORD], _HEADERS[:3], _HEADERS[3])
    return summed


def key_costs(layout: Layout, key_lengths: Bytes, expiring: NDArray[np.bool_]) -> Bytes:
    """What each key takes with its object and its place in the tables' entries, without a value of its own."""
    if layout == "valkey":
        return allocated_all(_object_with_key(key_lengths, expiring), layout)
    costs = allocated_all(string_bytes_all(key_lengths), layout) + allocated(_DICT_ENTRY, layout)
    with_object: Bytes = costs + allocated(_OBJECT, layout) + expiring * allocated(_EXPIRY_ENTRY, layout)
    return with_object


def _object_with_key(key_lengths: Bytes, expiring: NDArray[np.bool_]) -> Bytes:
    whole: Bytes = _OBJECT + 1 + np.maximum(string_bytes_all(key_lengths), key_lengths + _HEADERS[1]) + expiring * _TIME
    return whole


def string_costs(
    layout: Layout, key_lengths: Bytes, expiring: NDArray[np.bool_], lengths: Bytes, numbers: NDArray[np.bool_]
) -> Bytes:
    """What each key takes whose value is a string of `lengths`, or a whole number where `numbers` says so."""
    costs = key_costs(layout, key_lengths, expiring)
    apart = allocated_all(string_bytes_all(lengths), layout)
    if layout == "valkey":
        together = _object_with_key(key_lengths, expiring) + lengths + _HEADERS[1]
        inside = together <= _LONGEST_WITH_KEY
        costs = np.where(inside & ~numbers, allocated_all(together, layout), costs)
        apart[inside] = 0
    else:
        inside = lengths <= _LONGEST_INSIDE
        one_piece = allocated_all(_OBJECT + lengths + _HEADERS[1], layout) - allocated(_OBJECT, layout)
        apart = np.where(inside, one_piece, apart)
    summed: Bytes = costs + np.where(numbers, 0, apart)
    return summed


def table_cost(layout: Layout, entries: int) -> int:
    """The table of a hash table with so many entries, without the entries."""
    if entries == 0:
        return 0
    if layout == "valkey":
        return _BUCKET * _power_of_2(-(-entries // _FILL))
    return allocated(_POINTER * max(4, _power_of_2(entries)), layout)


def _power_of_2(least: float) -> int:
    return 1 << max(0, int(least) - 1).bit_length()


def dict_entry_cost(layout: Layout) -> int:
    """An entry of a hash table with separate entries; 0 where entries lie in the table."""
    return _DICT_ENTRY if layout == "redis" else 0
