"""What follows the nodes of a stream: counters, groups, pending entries, producers (rdb-format.md 6.4), as spans.

Long runs (pending entries, IDs) are not opened: a group is a handful of numbers and places, so that a stream is
written for an older server without building it. One form in, any older form out. Knows nothing of entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rdbmerge.errors import FormatError, TruncatedError
from rdbmerge.format.core import Cursor
from rdbmerge.format.findings import cursor_error
from rdbmerge.format.logical import StreamId
from rdbmerge.format.strings import length_bytes, read_string, string_bytes
from rdbmerge.format.values import Shape

RAW_ID_BYTES = 16
_TIME_BYTES = 8
_DAMAGED = "the file is damaged; pull or copy it again"
_UNKNOWN = (1 << 64) - 1
_NEVER = -1
# Levels: which parts a form has (the columns of the table in rdb-format.md 6.4).
LEVELS = {Shape.STREAM: 1, Shape.STREAM_2: 2, Shape.STREAM_3: 3, Shape.STREAM_4: 4, Shape.STREAM_5: 5}
COUNTERS, ACTIVE_TIMES, PRODUCERS, NACKS = 2, 3, 4, 5
_DEFAULT_IDMP = (100, 100)
# Whom pending entries are given to that were given back (XNACK), where the target knows no such thing.
NACK_CONSUMER = b"rdbmerge:nacked"


@dataclass(frozen=True, slots=True)
class Run:
    """`count` records of a kind, from `start` to `end`."""

    count: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ConsumerSpan:
    """A consumer: its name as it stands, times, and the IDs of its pending entries."""

    name: tuple[int, int]
    seen_at_ms: int
    active_at_ms: int | None
    pending: Run


@dataclass(frozen=True, slots=True)
class GroupSpan:
    """A group; `pending` are ID, time, count each; `nacked` are IDs of those that nobody owns."""

    name: tuple[int, int]
    last_id: StreamId
    entries_read: int | None
    pending: Run
    consumers: list[ConsumerSpan]
    nacked: Run


@dataclass(slots=True)
class StreamTail:
    """All that follows the nodes; None for what the form does not hold."""

    level: int
    length: int
    last_id: StreamId
    first_id: StreamId | None = None
    max_deleted_id: StreamId | None = None
    entries_added: int | None = None
    groups: list[GroupSpan] = field(default_factory=list)
    idmp: tuple[int, int] | None = None  # duration, maxsize
    producers: Run = Run(0, 0, 0)
    iids: tuple[int, int] = (0, 0)  # added, duplicates

    @property
    def nacked(self) -> int:
        """Pending entries without an owner."""
        return sum(group.nacked.count for group in self.groups)

    @property
    def remembers_producers(self) -> bool:
        """Whether something would be lost with the part on producers."""
        return self.idmp is not None and (
            bool(self.producers.count) or self.idmp != _DEFAULT_IDMP or self.iids != (0, 0)
        )


class Reader:
    """Reads numbers and spans from `pos` on, never beyond `end`. Raises FormatError and TruncatedError."""

    def __init__(self, view: memoryview, pos: int, end: int) -> None:
        self.view = view
        self.pos = pos
        self.end = end
        self.cursor = Cursor(view, end)

    def _moved(self, after: int) -> int:
        if after < 0:
            raise cursor_error(self.cursor, self.end)
        self.pos = after
        return after

    def length(self) -> int:
        """A length."""
        self._moved(self.cursor.length(self.pos))
        return int(self.cursor.value)

    def string(self) -> tuple[int, int]:
        """Where a string starts and ends, in whatever form."""
        start = self.pos
        return start, self._moved(self.cursor.string(start))

    def take(self, size: int) -> tuple[int, int]:
        """`size` bytes."""
        if size > self.end - self.pos:
            raise TruncatedError(
                f"{size:,} bytes expected, {self.end - self.pos:,} remain", offset=self.pos, remedy=_DAMAGED
            )
        start, self.pos = self.pos, self.pos + size
        return start, self.pos

    def time_ms(self) -> int:
        """A time of 8 bytes."""
        start, stop = self.take(_TIME_BYTES)
        return int.from_bytes(self.view[start:stop], "little", signed=True)

    def id(self) -> StreamId:
        """An ID as two lengths."""
        return StreamId(self.length(), self.length())

    def run(self, one: Callable[[], object]) -> Run:
        """A count and so many records, each read by `one`."""
        count = self.length()
        start = self.pos
        for _ in range(count):
            one()
        return Run(count, start, self.pos)

    def raw_ids(self) -> Run:
        """A count and so many IDs of 16 bytes."""
        count = self.length()
        start, stop = self.take(RAW_ID_BYTES * count)
        return Run(count, start, stop)


def nodes_end(view: memoryview, start: int, end: int) -> int:
    """Where the nodes of the stream at `start` end."""
    reader = Reader(view, start, end)
    reader.run(lambda: (reader.string(), reader.string()))
    return reader.pos


def read_tail(view: memoryview, shape: int, after_nodes: int, end: int) -> StreamTail:
    """What follows the nodes. Raises FormatError for damaged bytes, and for bytes that follow it."""
    reader, level = Reader(view, after_nodes, end), LEVELS[Shape(shape)]
    tail = StreamTail(level, reader.length(), reader.id())
    if level >= COUNTERS:
        tail.first_id, tail.max_deleted_id, tail.entries_added = reader.id(), reader.id(), reader.length()
    for _ in range(reader.length()):
        tail.groups.append(_read_group(reader, level))
    if level >= PRODUCERS:
        tail.idmp = reader.length(), reader.length()
        tail.producers = reader.run(lambda: _skip_producer(reader))
        tail.iids = reader.length(), reader.length()
    if reader.pos != end:
        raise FormatError(
            f"a value whose last {end - reader.pos:,} bytes belong to nothing", offset=reader.pos, remedy=_DAMAGED
        )
    return tail


def _read_group(reader: Reader, level: int) -> GroupSpan:
    name, last_id = reader.string(), reader.id()
    entries_read = reader.length() if level >= COUNTERS else None
    pending = reader.run(lambda: (reader.take(RAW_ID_BYTES + _TIME_BYTES), reader.length()))
    consumers = []
    for _ in range(reader.length()):
        consumer, seen_at_ms = reader.string(), reader.time_ms()
        active_at_ms = reader.time_ms() if level >= ACTIVE_TIMES else None
        consumers.append(ConsumerSpan(consumer, seen_at_ms, active_at_ms, reader.raw_ids()))
    nacked = reader.raw_ids() if level >= NACKS else Run(0, reader.pos, reader.pos)
    return GroupSpan(name, last_id, entries_read, pending, consumers, nacked)


def _skip_producer(reader: Reader) -> None:
    reader.string()
    reader.run(lambda: (reader.string(), reader.id()))


def iter_raw_ids(view: memoryview, run: Run) -> Iterator[StreamId]:
    """The IDs of a run of raw ones."""
    for at in range(run.start, run.end, RAW_ID_BYTES):
        yield raw_id(view, at)


def raw_id(view: memoryview, at: int) -> StreamId:
    """The ID in the 16 bytes at `at`."""
    return StreamId(int.from_bytes(view[at : at + 8], "big"), int.from_bytes(view[at + 8 : at + 16], "big"))


def _id_bytes(stream_id: StreamId | None) -> bytes:
    ms, seq = stream_id or (0, 0)
    return length_bytes(ms) + length_bytes(seq)


def write_tail(view: memoryview, tail: StreamTail, level: int) -> bytes:
    """The same tail in the form of `level`, at most the tail's own: what that form cannot hold is left out.

    Pending entries that nobody owns get an owner, NACK_CONSUMER, where the form cannot say that: nothing that waits to
    be delivered again is lost.
    """
    out: list[bytes | memoryview] = [length_bytes(tail.length), _id_bytes(tail.last_id)]
    if level >= COUNTERS:
        out += [_id_bytes(tail.first_id), _id_bytes(tail.max_deleted_id), length_bytes(tail.entries_added or 0)]
    out.append(length_bytes(len(tail.groups)))
    for group in tail.groups:
        out += _group_parts(view, group, level)
    if level >= PRODUCERS:
        idmp = tail.idmp or _DEFAULT_IDMP
        out += [length_bytes(idmp[0]), length_bytes(idmp[1]), length_bytes(tail.producers.count)]
        out += [view[tail.producers.start : tail.producers.end], length_bytes(tail.iids[0]), length_bytes(tail.iids[1])]
    return b"".join(out)


def _group_parts(view: memoryview, group: GroupSpan, level: int) -> Iterator[bytes | memoryview]:
    yield view[group.name[0] : group.name[1]]
    yield _id_bytes(group.last_id)
    if level >= COUNTERS:
        yield length_bytes(_UNKNOWN if group.entries_read is None else group.entries_read)
    yield length_bytes(group.pending.count)
    yield view[group.pending.start : group.pending.end]
    orphans = group.nacked if level < NACKS and group.nacked.count else None
    yield length_bytes(len(group.consumers) + (orphans is not None))
    for consumer in group.consumers:
        yield from _consumer_parts(view, view[consumer.name[0] : consumer.name[1]], consumer, level)
    if orphans is not None:
        owner = ConsumerSpan((0, 0), 0, _NEVER, orphans)
        yield from _consumer_parts(view, memoryview(string_bytes(nack_owner(view, group))), owner, level)
    if level >= NACKS:
        yield length_bytes(group.nacked.count)
        yield view[group.nacked.start : group.nacked.end]


def nack_owner(view: memoryview, group: GroupSpan) -> bytes:
    """A consumer's name that is free in the group."""
    taken = {read_string(view, *consumer.name)[0] for consumer in group.consumers}
    name, number = NACK_CONSUMER, 1
    while name in taken:
        number += 1
        name = b"%s:%d" % (NACK_CONSUMER, number)
    return name


def _consumer_parts(
    view: memoryview, name: memoryview, consumer: ConsumerSpan, level: int
) -> Iterator[bytes | memoryview]:
    yield name
    yield consumer.seen_at_ms.to_bytes(_TIME_BYTES, "little", signed=True)
    if level >= ACTIVE_TIMES:
        active_at_ms = consumer.seen_at_ms if consumer.active_at_ms is None else consumer.active_at_ms
        yield active_at_ms.to_bytes(_TIME_BYTES, "little", signed=True)
    yield length_bytes(consumer.pending.count)
    yield view[consumer.pending.start : consumer.pending.end]
