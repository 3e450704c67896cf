"""Values out of bytes, every type: the fast ones by the core, streams, modules and arrays here.

The one door to decoding: the `Values` of a file, then one of them or its items. Nothing is read before it is asked for.
Knows nothing of where the file lies.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from math import isfinite
from typing import Any

from rdbmerge.errors import FormatError
from rdbmerge.format import streams
from rdbmerge.format.core import Decoder, ItemReader, Items, StreamReader, Templates
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.findings import cursor_error
from rdbmerge.format.logical import (
    Array,
    Consumer,
    Group,
    Idempotence,
    Item,
    ModuleValue,
    Pending,
    Stream,
    StreamEntry,
    StreamId,
    Value,
)
from rdbmerge.format.scan import module_name
from rdbmerge.format.strings import read_string
from rdbmerge.format.values import Logical, item_tables

_DAMAGED = "the file is damaged; pull or copy it again"
_MODULE_SINT, _MODULE_UINT, _MODULE_FLOAT, _MODULE_DOUBLE = 1, 2, 3, 4
_ARRAY_INTEGER, _ARRAY_DOUBLE = 1, 2
_UNKNOWN = (1 << 64) - 1
_ENCODING_BITS = 10
_EXACT_WHOLE = 1 << 62  # servers print whole numbers up to here with all their digits, larger ones with 17


class Values:
    """Decodes values of the file that `view` is.

    `templates` are its hash templates, if it has any; `name` is put to errors, if it is given. One thread at a time.
    """

    def __init__(
        self, view: memoryview, dialect: Dialect, templates: Templates | None = None, *, name: str = ""
    ) -> None:
        rare = _Rare(view, dialect, templates, name)
        self.view = rare.view
        self.dialect = dialect
        self.templates = templates
        self.name = name
        self._items = rare.items
        self._stream_tail = rare.stream_tail
        rows = [dialect.types.get(number) for number in range(256)]
        # The decoder knows `rare` and not this object: a ring would keep the file mapped until the next collection.
        self.decoder: Any = Decoder(
            rare.reader(),
            tuple("" if row is None else row.logical.name.lower() for row in rows),
            tuple("" if row is None else row.name for row in rows),
            rare.failure,
            rare.value,
            rare.items,
        )

    def value(self, number: int, start: int, end: int) -> Value:
        """The value of type `number` at `start` to `end`. Raises FormatError for damaged bytes."""
        value: Value = self.decoder.value(number, start, end)
        return value

    def items(self, number: int, start: int, end: int) -> Iterator[Item]:
        """Its items, one after the other; see `Entry.iter_items`. Raises FormatError for damaged bytes."""
        return self._items(number, start, end)

    def stream_without_entries(self, number: int, start: int, end: int) -> Stream:
        """A stream with all but its entries, which may be many. Raises FormatError for damaged bytes."""
        return self._stream_tail(self.dialect.types[number].shape, start, end)


class _Rare:
    """What the core's decoder leaves to Python: streams, modules, arrays, the words of errors."""

    def __init__(self, view: memoryview, dialect: Dialect, templates: Templates | None, name: str) -> None:
        # A view of our own: the file's may be released while entries are still looked at.
        self.view = memoryview(view)
        self.types = dialect.types
        self.templates = templates
        self.name = name
        self._tables = item_tables(dialect.types)

    def reader(self) -> Any:
        return ItemReader(self.view, self._tables, self.templates)

    def failure(self, reader: Any) -> FormatError:
        error = item_failure(reader)
        return error.in_file(self.name) if self.name else error

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except FormatError as error:
            if not self.name or error.file:
                raise
            raise error.in_file(self.name) from None

    def items(self, number: int, start: int, end: int) -> Iterator[Any]:
        logical = self.types[number].logical
        if logical <= Logical.HASH:
            items: Iterator[Any] = Items(self.reader(), self.failure, number, start, end)
            return items
        if logical == Logical.STREAM:
            return self._stream_entries(start, end)
        return self._parts(number, start, end)

    def _stream_entries(self, start: int, end: int) -> Iterator[StreamEntry]:
        reader = StreamReader(self.reader())
        with self._naming():
            yield from _entries(reader, start, end)

    def _parts(self, number: int, start: int, end: int) -> Iterator[Any]:
        value = self.value(number, start, end)
        yield from value.parts if isinstance(value, ModuleValue) else value.items.items()

    def value(self, number: int, start: int, end: int) -> Any:
        row = self.types[number]
        with self._naming():
            if row.logical == Logical.STREAM:
                return self._stream(row.shape, start, end)
            reader = streams.Reader(self.view, start, end)
            value = _module(reader) if row.logical == Logical.MODULE else _array(reader)
            if reader.pos != end:
                raise FormatError(
                    f"a value whose last {end - reader.pos:,} bytes belong to nothing",
                    offset=reader.pos,
                    remedy=_DAMAGED,
                )
            return value

    def stream_tail(self, shape: int, start: int, end: int) -> Stream:
        with self._naming():
            reader = StreamReader(self.reader())
            after = reader.walk(start, end)
            if after < 0:
                raise item_failure(reader)
            return self._stream_of([], shape, after, end)

    def _stream(self, shape: int, start: int, end: int) -> Stream:
        reader = StreamReader(self.reader())
        entries = list(_entries(reader, start, end))
        return self._stream_of(entries, shape, reader.where(), end)

    def _stream_of(self, entries: list[StreamEntry], shape: int, after_nodes: int, end: int) -> Stream:
        tail = streams.read_tail(self.view, shape, after_nodes, end)
        groups: dict[bytes, Group] = {}
        for span in tail.groups:
            name = read_string(self.view, *span.name)[0]
            if name in groups:
                raise FormatError("a stream with two groups of one name", offset=span.name[0], remedy=_DAMAGED)
            groups[name] = self._group(span)
        return Stream(
            entries=entries,
            length=tail.length,
            last_id=tail.last_id,
            first_id=tail.first_id,
            max_deleted_id=tail.max_deleted_id,
            entries_added=tail.entries_added,
            groups=groups,
            idempotence=self._idempotence(tail),
        )

    def _group(self, span: streams.GroupSpan) -> Group:
        pending = {}
        reader = streams.Reader(self.view, span.pending.start, span.pending.end)
        for _ in range(span.pending.count):
            at, _ = reader.take(streams.RAW_ID_BYTES)
            pending[streams.raw_id(self.view, at)] = (reader.time_ms(), reader.length())
        owners: dict[StreamId, bytes] = {}
        consumers = {}
        for one in span.consumers:
            name = read_string(self.view, *one.name)[0]
            ids = list(streams.iter_raw_ids(self.view, one.pending))
            if name in consumers or not pending.keys() >= set(ids):
                raise _misfit(one.name[0])
            consumers[name] = Consumer(one.seen_at_ms, one.active_at_ms, ids)
            owners.update(dict.fromkeys(ids, name))
        nacked = set(streams.iter_raw_ids(self.view, span.nacked))
        if len(pending) != span.pending.count or not pending.keys() >= nacked or nacked & owners.keys():
            raise _misfit(span.name[0])
        entries_read = span.entries_read
        return Group(
            last_id=span.last_id,
            entries_read=-1 if entries_read == _UNKNOWN else entries_read,
            pending={one: Pending(owners.get(one), at_ms, count) for one, (at_ms, count) in pending.items()},
            consumers=consumers,
        )

    def _idempotence(self, tail: streams.StreamTail) -> Idempotence | None:
        if tail.idmp is None:
            return None
        reader = streams.Reader(self.view, tail.producers.start, tail.producers.end)
        producers: dict[bytes, dict[bytes, StreamId]] = {}
        for _ in range(tail.producers.count):
            at = reader.pos
            name, count = read_string(self.view, *reader.string())[0], reader.length()
            messages = {read_string(self.view, *reader.string())[0]: reader.id() for _ in range(count)}
            if name in producers or len(messages) != count:
                raise FormatError("a stream that remembers a producer or a message twice", offset=at, remedy=_DAMAGED)
            producers[name] = messages
        return Idempotence(*tail.idmp, producers, *tail.iids)


def _misfit(offset: int) -> FormatError:
    return FormatError(
        "a stream's group whose consumers do not fit its pending entries", offset=offset, remedy=_DAMAGED
    )


def item_failure(reader: Any) -> FormatError:
    """What a reader of items (or of streams) found wrong, in words."""
    cursor = reader.get_cursor()
    return cursor_error(cursor, cursor.limit())


def _entries(reader: Any, start: int, end: int) -> Iterator[StreamEntry]:
    entry = reader.start(start, end) and reader.next_entry()
    while entry:
        ms, seq, fields = entry
        yield StreamEntry(StreamId(ms, seq), fields)
        entry = reader.next_entry()
    if entry is False:
        raise item_failure(reader)


def _module(reader: streams.Reader) -> ModuleValue:
    """rdb-format.md 6.5."""
    module_id = reader.length()
    parts: list[int | float | bytes] = []
    while opcode := reader.length():
        if opcode == _MODULE_SINT:
            number = reader.length()
            parts.append(number - (number >> 63 << 64))
        elif opcode == _MODULE_UINT:
            parts.append(reader.length())
        elif opcode in (_MODULE_FLOAT, _MODULE_DOUBLE):
            size, form = (4, "<f") if opcode == _MODULE_FLOAT else (8, "<d")
            start, stop = reader.take(size)
            parts.append(struct.unpack(form, reader.view[start:stop])[0])
        else:
            parts.append(read_string(reader.view, *reader.string())[0])
    return ModuleValue(module_name(module_id), module_id & ((1 << _ENCODING_BITS) - 1), parts)


def _array(reader: streams.Reader) -> Array:
    """rdb-format.md 6.6; numbers as the texts that a server answers."""
    count = reader.length()
    next_index = reader.length() + 1 if reader.length() else 0
    items: dict[int, bytes] = {}
    for _ in range(count):
        at = reader.pos
        index, tag = reader.length(), reader.length()
        if index in items:
            raise FormatError(f"an array that holds index {index} twice", offset=at, remedy=_DAMAGED)
        if tag == _ARRAY_INTEGER:
            items[index] = str(reader.time_ms()).encode()
        elif tag == _ARRAY_DOUBLE:
            start, stop = reader.take(8)
            items[index] = double_text(struct.unpack("<d", reader.view[start:stop])[0])
        else:
            items[index] = read_string(reader.view, *reader.string())[0]
    return Array(items, next_index)


def double_text(number: float) -> bytes:
    """What a server answers for an element of an array that it keeps as a double.

    It keeps only texts with a point and without an exponent that way, and only if they come out the same again.
    """
    if number.is_integer() and abs(number) <= _EXACT_WHOLE:
        return b"%.1f" % number
    if not isfinite(number):
        return repr(number).encode()
    text = format(Decimal(repr(number)), "f")
    return (text if "." in text else f"{text}.0").encode()
