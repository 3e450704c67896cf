"""A value as commands that make it anew, some of its items at a time: for values that are too large for RESTORE.

What commands cannot say is lost: when consumers of a stream were last seen, which of its pending entries were deleted,
and what it remembers of producers. Values of modules have no commands. Knows nothing of servers or expiries of keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rdbmerge.format import codes
from rdbmerge.format.core import Cursor
from rdbmerge.format.decode import Values
from rdbmerge.format.emit import Change
from rdbmerge.format.logical import Group, Stream, StreamEntry, StreamId
from rdbmerge.format.values import Logical

MOST_ITEMS = 1_000  # of one command
_MOST_BYTES = 1 << 20
_PIECE_BYTES = 8 << 20
_NEVER_DEAD_MS = -(1 << 62)
_OWNER_OF_NACKED = b"rdbmerge:nacked"  # as the re-encoder has it

Command = tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Which commands the server has."""

    several_fields: bool = True  # HSET takes several (4.0 and later); else HMSET
    field_expiries: bool = True  # HPEXPIREAT
    stream_counters: bool = True  # XSETID and XGROUP CREATE take them (7.0 and later)
    consumers: bool = True  # XGROUP CREATECONSUMER (6.2 and later)
    most_bytes: int = 512 << 20  # of one argument


def has_commands(logical: Logical, first_byte: int) -> bool:
    """Whether a value of a type whose first byte is this can be made anew: not modules, arrays, compressed strings."""
    return logical < Logical.MODULE and not (logical == Logical.STRING and first_byte >= 0xC0)


def rebuild(
    values: Values, number: int, start: int, end: int, *, key: bytes, change: Change, words: Vocabulary
) -> Iterator[Command]:
    """The commands that make the value of type `number` at `start` to `end` anew at `key`.

    Fields' expiries are shifted and dead fields left out as `change` says. Raises FormatError for damaged bytes.
    """
    logical = values.dialect.types[number].logical
    items: Any = values.items(number, start, end) if logical != Logical.STRING else ()
    if logical == Logical.STRING:
        yield from _string(values.view, start, end, key, min(_PIECE_BYTES, words.most_bytes))
    elif logical == Logical.LIST:
        yield from _in_portions((b"RPUSH", key), ((item,) for item in items))
    elif logical == Logical.SET:
        yield from _in_portions((b"SADD", key), ((item,) for item in items))
    elif logical == Logical.ZSET:
        yield from _in_portions((b"ZADD", key), ((_score(score), member) for member, score in items))
    elif logical == Logical.HASH:
        yield from _hash(items, key, change, words)
    elif logical == Logical.STREAM:
        yield from _stream(items, values.stream_without_entries(number, start, end), key, words)
    else:
        raise AssertionError("a value without commands is not made anew")


def _string(view: memoryview, start: int, end: int, key: bytes, piece_bytes: int) -> Iterator[Command]:
    cursor = Cursor(view, end)
    pos = cursor.length(start)
    for at in range(pos, max(end, pos + 1), piece_bytes):
        yield b"APPEND", key, bytes(view[at : min(at + piece_bytes, end)])


def _in_portions(head: Command, items: Iterable[Command]) -> Iterator[Command]:
    portion: list[bytes] = []
    count, size = 0, 0
    for item in items:
        portion += item
        count += 1
        size += sum(map(len, item))
        if count >= MOST_ITEMS or size >= _MOST_BYTES:
            yield (*head, *portion)
            portion, count, size = [], 0, 0
    if portion:
        yield (*head, *portion)


def _score(score: float) -> bytes:
    return repr(score).encode()


def _hash(items: Iterable[Any], key: bytes, change: Change, words: Vocabulary) -> Iterator[Command]:
    dead_before_ms = _NEVER_DEAD_MS if change.fields_dead_before_ms is None else change.fields_dead_before_ms
    latest_ms = codes.LATEST_EXPIRY_MS if change.line == "valkey" else codes.LATEST_FIELD_EXPIRY_MS
    times: dict[int, list[bytes]] = {}

    def alive() -> Iterator[Command]:
        for name, value, *rest in items:
            at_ms = rest[0] if rest else None
            if at_ms is not None:
                if at_ms < dead_before_ms:
                    continue
                at_ms = min(at_ms, codes.LATEST_EXPIRY_MS) + change.ttl_offset_ms
                times.setdefault(max(codes.FIRST_EXPIRY_MS, min(at_ms, latest_ms)), []).append(name)
            yield name, value

    for command in _in_portions((b"HSET" if words.several_fields else b"HMSET", key), alive()):
        yield command
        if words.field_expiries:
            for at_ms, names in times.items():
                yield b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", b"%d" % len(names), *names
        times.clear()


def _stream(entries: Iterable[StreamEntry], stream: Stream, key: bytes, words: Vocabulary) -> Iterator[Command]:
    if not stream.length:  # it still has groups and a last ID
        first = stream.last_id if stream.last_id > (0, 0) else StreamId(0, 1)
        yield b"XADD", key, b"MAXLEN", b"0", _id(first), b"x", b"y"
    for entry in entries:
        yield (b"XADD", key, _id(entry.id), *(word for pair in entry.fields for word in pair))
    counted = words.stream_counters and stream.entries_added is not None and stream.max_deleted_id is not None
    counters: Command = ()
    if counted and stream.max_deleted_id is not None:
        counters = (b"ENTRIESADDED", b"%d" % (stream.entries_added or 0), b"MAXDELETEDID", _id(stream.max_deleted_id))
    yield (b"XSETID", key, _id(stream.last_id), *counters)
    for name, group in stream.groups.items():
        yield from _group(name, group, key, words)


def _group(name: bytes, group: Group, key: bytes, words: Vocabulary) -> Iterator[Command]:
    read: Command = ()
    if words.stream_counters and group.entries_read is not None:
        read = (b"ENTRIESREAD", b"%d" % group.entries_read)
    yield (b"XGROUP", b"CREATE", key, name, _id(group.last_id), *read)
    if words.consumers:
        for consumer in group.consumers:
            yield b"XGROUP", b"CREATECONSUMER", key, name, consumer
    for one, pending in group.pending.items():
        owner = pending.consumer if pending.consumer is not None else _OWNER_OF_NACKED
        yield (
            b"XCLAIM", key, name, owner, b"0", _id(one), b"TIME", b"%d" % pending.delivered_at_ms,
            b"RETRYCOUNT", b"%d" % pending.deliveries, b"JUSTID", b"FORCE",
        )  # fmt: skip


def _id(one: StreamId) -> bytes:
    return b"%d-%d" % one
