"""How much memory one value takes once a server has loaded it, whatever form it has in the file.

A server chooses its own form at load, by the number and length of the elements; this follows that choice under the
default thresholds of both layouts (`allocation`). Values are looked at item by item and, if they are very large, in
part. Knows nothing of files: it is given a `Values` and a place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rdbmerge.format import streams
from rdbmerge.format.decode import Values
from rdbmerge.format.strings import read_length, read_string
from rdbmerge.format.values import Logical, Packing, Shape
from rdbmerge.snapshot.allocation import LAYOUTS, Layout, allocated, dict_entry_cost, string_bytes, table_cost

MOST_ITEMS = 50_000  # of one value that are looked at
_LONGEST_PACKED = 64
_MOST_PACKED = {Logical.HASH: 512, Logical.ZSET: 128, Logical.SET: 128}
_MOST_IN_INTSET = 512
_PACK_BYTES, _LIST_NODE_BYTES = 7, 8_192
_QUICKLIST, _QUICKLIST_NODE = 40, 32
_TABLE_HEAD = 56
_SKIPLIST, _SKIPLIST_HEAD = 48, 640
_LONGEST_PAIR, _ENTRY = 128, 8  # Valkey: a field and its value together; else an entry beside them
_SKIPLIST_NODE = 53  # with the average of its levels, rounded by the allocator
_FIELD_TIME = 24  # an expiry of a hash field and its place in the order of them
_STREAM, _STREAM_NODE, _GROUP, _CONSUMER, _PENDING = 200, 88, 200, 200, 112
_MODULE_GROWTH = 2  # nothing is known of how modules keep their values
_COUNTED = (
    Shape.STRINGS, Shape.PAIRS, Shape.SCORED_TEXT, Shape.SCORED_BINARY, Shape.FIELDS_ABSOLUTE, Shape.FIELDS_VALKEY,
)  # fmt: skip

Footprint = dict[Layout, int]  # bytes, without key and object


@dataclass(slots=True)
class _Items:
    """What the form of a value depends on, summed over its items."""

    count: int = 0
    numbers: int = 0  # elements that are whole numbers
    widest: int = 2  # bytes of the widest of them
    longest: int = 0
    packed: int = 0  # bytes as elements of a listpack
    strings: dict[Layout, int] = field(default_factory=lambda: dict.fromkeys(LAYOUTS, 0))
    timed: int = 0

    def add(self, text: bytes) -> None:
        """An element, member, field or value."""
        size = len(text)
        self.longest = max(self.longest, size)
        self.packed += _packed_bytes(text)
        alone = string_bytes(size)
        for layout in LAYOUTS:
            self.strings[layout] += allocated(alone, layout)

    def add_pair(self, name: bytes, value: bytes) -> None:
        """A field with its value: in Valkey one piece, if they are short."""
        before = self.strings["valkey"]
        self.add(name)
        self.add(value)
        together = string_bytes(len(name)) + string_bytes(len(value))
        if together <= _LONGEST_PAIR:
            self.strings["valkey"] = before + allocated(together, "valkey")
        else:
            self.strings["valkey"] += _ENTRY

    def scaled(self, total: int) -> _Items:
        """As for `total` items, of which these are some."""
        part = total / self.count
        grown = _Items(total, round(self.numbers * part), self.widest, self.longest, round(self.packed * part))
        grown.strings = {layout: round(size * part) for layout, size in self.strings.items()}
        grown.timed = round(self.timed * part)
        return grown


def footprint(values: Values, number: int, start: int, end: int) -> Footprint:
    """Of the value of type `number` at `start` to `end`, strings excepted. Raises FormatError for damaged bytes."""
    row = values.dialect.types[number]
    if row.logical == Logical.STREAM:
        return _stream(values, row.shape, start, end)
    if row.logical == Logical.MODULE:
        return dict.fromkeys(LAYOUTS, _MODULE_GROWTH * (end - start))
    if row.shape in (Shape.CONTAINERS, Shape.STRINGS) and row.packing != Packing.NONE:
        return _list_of_nodes(values, row.shape, start, end)
    items = _Items()
    _add_items(items, values.items(number, start, end), row.logical)
    if items.count == MOST_ITEMS and row.shape in _COUNTED:
        items = items.scaled(max(items.count, read_length(values.view, start, end)[0]))
    elif items.count == MOST_ITEMS and row.shape == Shape.FIELDS_RELATIVE:
        items = items.scaled(max(items.count, read_length(values.view, start + 8, end)[0]))
    return {layout: _cost(layout, row.logical, items) for layout in LAYOUTS}


def _add_items(items: _Items, found: Iterator[Any], logical: Logical) -> None:
    for item in islice(found, MOST_ITEMS):
        items.count += 1
        if isinstance(item, bytes):
            items.add(item)
            if logical == Logical.SET and (whole := _whole_number(item)) is not None:
                items.numbers += 1
                items.widest = max(items.widest, _width(whole))
        elif logical == Logical.ZSET:
            items.add(item[0])
            items.packed += _score_bytes(item[1])
        elif logical == Logical.ARRAY:
            items.add(item[1])
        else:
            items.add_pair(item[0], item[1])
            items.timed += len(item) == 3 and item[2] is not None


def _cost(layout: Layout, logical: Logical, items: _Items) -> int:
    count = items.count
    if logical in (Logical.LIST, Logical.ARRAY):
        return _list_cost(layout, items.packed)
    if logical == Logical.SET and items.numbers == count and count <= _MOST_IN_INTSET:
        return allocated(8 + count * items.widest, layout)
    times = items.timed * _FIELD_TIME
    packs_sets = layout == "valkey"  # Redis packs sets since 7.2
    if items.longest <= _LONGEST_PACKED and count <= _MOST_PACKED[logical] and (logical != Logical.SET or packs_sets):
        return allocated(_PACK_BYTES + items.packed, layout) + times
    table = allocated(_TABLE_HEAD, layout) + table_cost(layout, count) + count * dict_entry_cost(layout)
    if logical == Logical.ZSET:
        table += _SKIPLIST + _SKIPLIST_HEAD + count * _SKIPLIST_NODE
    return table + items.strings[layout] + times


def _list_cost(layout: Layout, packed: int) -> int:
    full, rest = divmod(packed, _LIST_NODE_BYTES)
    node = allocated(_QUICKLIST_NODE, layout) + allocated(_LIST_NODE_BYTES, layout)
    last = allocated(_QUICKLIST_NODE, layout) + allocated(_PACK_BYTES + rest, layout)
    return allocated(_QUICKLIST, layout) + full * node + last


def _list_of_nodes(values: Values, shape: Shape, start: int, end: int) -> Footprint:
    """Nodes are kept as they come, so their sizes are enough."""
    reader = streams.Reader(values.view, start, end)
    cost = {layout: allocated(_QUICKLIST, layout) for layout in LAYOUTS}
    for _ in range(reader.length()):
        if shape == Shape.CONTAINERS:
            reader.length()
        size = _unpacked_bytes(values.view, *reader.string())
        for layout in LAYOUTS:
            cost[layout] += allocated(_QUICKLIST_NODE, layout) + allocated(max(1, size), layout)
    return cost


def _stream(values: Values, shape: Shape, start: int, end: int) -> Footprint:
    reader = streams.Reader(values.view, start, end)
    cost = dict.fromkeys(LAYOUTS, _STREAM)
    for _ in range(reader.length()):
        reader.string()
        size = _unpacked_bytes(values.view, *reader.string())
        for layout in LAYOUTS:
            cost[layout] += _STREAM_NODE + allocated(max(1, size), layout)
    tail = streams.read_tail(values.view, shape, reader.pos, end)
    pending = sum(group.pending.count for group in tail.groups)
    consumers = sum(len(group.consumers) for group in tail.groups)
    more = _GROUP * len(tail.groups) + _CONSUMER * consumers + _PENDING * pending
    return {layout: size + more for layout, size in cost.items()}


def _unpacked_bytes(view: memoryview, start: int, end: int) -> int:
    """The length of the string at `start` once it is unpacked."""
    first = view[start]
    if first == 0xC3:
        _, after = read_length(view, start + 1, end)
        return read_length(view, after, end)[0]
    return read_length(view, start, end)[0] if first < 0xC0 else len(read_string(view, start, end)[0])


def _whole_number(text: bytes) -> int | None:
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(text) > 20 or (digits[:1] == b"0" and text != b"0"):
        return None
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None


def _width(value: int) -> int:
    """Bytes of a member of an intset."""
    return 2 if -(1 << 15) <= value < 1 << 15 else 4 if -(1 << 31) <= value < 1 << 31 else 8


def _packed_bytes(text: bytes) -> int:
    """An element of a listpack, with what it needs to be walked backwards."""
    whole = _whole_number(text)
    if whole is not None:
        return _packed_number_bytes(whole)
    size = len(text)
    body = size + (1 if size < 64 else 2 if size < 4_096 else 5)
    return body + (1 if body < 128 else 2 if body < 16_384 else 3 if body < 2_097_152 else 5)


def _packed_number_bytes(value: int) -> int:
    if 0 <= value < 128:
        return 2
    if -4_096 <= value < 4_096:
        return 3
    return 2 + next(size for size in (2, 3, 4, 8) if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1)


def _score_bytes(score: float) -> int:
    return (
        _packed_number_bytes(int(score))
        if score.is_integer() and abs(score) < 1 << 53
        else _packed_bytes(b"%.17g" % score)
    )
