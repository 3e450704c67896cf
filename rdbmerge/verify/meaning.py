"""Decoded values: what one of a source must be in the merged file, and how two of them differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rdbmerge.format import codes
from rdbmerge.format.digest import Reading
from rdbmerge.format.logical import Consumer, Group, Hash, Pending, Stream, StreamId, Value
from rdbmerge.format.values import Shape
from rdbmerge.units import format_instant

if TYPE_CHECKING:
    from rdbmerge.verify.report import DifferenceKind

_COUNTERS, _ACTIVE_TIMES, _PRODUCERS, _NACKS = 2, 3, 4, 5  # the first forms of streams that hold these
_OWNER = b"rdbmerge:nacked"  # whom pending entries are given to that nobody owns


@dataclass(frozen=True, slots=True)
class ValueDifference:
    """What was expected and what was found, for people; values are not shown."""

    kind: DifferenceKind
    expected: str
    found: str


def expected_value(value: Value, reading: Reading, number: int) -> Value:
    """What a value counts as that stands in the file as type `number`.

    Fields' expiries moved, dead fields and what the target cannot hold left away.
    """
    if isinstance(value, Hash):
        return _expected_hash(value, reading)
    if isinstance(value, Stream):
        gives_back = reading.dialect.types[number].shape == Shape.STREAM_5
        return _expected_stream(value, reading.stream_level, gives_back=gives_back)
    return value


def _expected_hash(value: Hash, reading: Reading) -> Value:
    dead_before_ms = reading.fields_dead_before_ms
    fields: dict[bytes, bytes] = {}
    times: dict[bytes, int] = {}
    for name, text in value.items():
        at_ms = value.expire_at_ms.get(name)
        if at_ms is not None:
            at_ms = min(at_ms, codes.LATEST_EXPIRY_MS)
        if at_ms is not None and not reading.as_it_stands:
            if dead_before_ms is not None and at_ms < dead_before_ms:
                continue
            at_ms = max(codes.FIRST_EXPIRY_MS, min(at_ms + reading.ttl_offset_ms, _latest(reading)))
        fields[name] = text
        if at_ms is not None and not reading.without_field_times:
            times[name] = at_ms
    return Hash(fields, times)


def _latest(reading: Reading) -> int:
    if reading.latest_field_ms is not None:
        return reading.latest_field_ms
    return codes.LATEST_EXPIRY_MS if reading.dialect.line == "valkey" else codes.LATEST_FIELD_EXPIRY_MS


def _expected_stream(value: Stream, level: int, *, gives_back: bool) -> Stream:
    """`gives_back`: an entry without an owner was given back, for its form can tell; else it is just odd."""
    groups = {
        name: _expected_group(group, level, adopts=gives_back and level < _NACKS)
        for name, group in value.groups.items()
    }
    kept = replace(value, groups=groups)
    if level < _PRODUCERS:
        kept = replace(kept, idempotence=None)
    if level < _COUNTERS:
        kept = replace(kept, first_id=None, max_deleted_id=None, entries_added=None)
    return kept


def _expected_group(group: Group, level: int, *, adopts: bool) -> Group:
    consumers = dict(group.consumers)
    pending = dict(group.pending)
    if adopts:
        orphans: list[StreamId] = [one for one, facts in pending.items() if facts.consumer is None]
        if orphans:
            owner, number = _OWNER, 1
            while owner in consumers:
                number += 1
                owner = b"%s:%d" % (_OWNER, number)
            consumers[owner] = Consumer(0, -1, orphans)
            for one in orphans:
                pending[one] = Pending(owner, pending[one].delivered_at_ms, pending[one].deliveries)
    if level < _ACTIVE_TIMES:
        consumers = {name: replace(one, active_at_ms=None) for name, one in consumers.items()}
    read = group.entries_read if level >= _COUNTERS else None
    return Group(group.last_id, read, pending, consumers)


def difference_of(expected: Value, found: Value) -> ValueDifference | None:
    """How two values of one logical type differ; None: they mean the same. The order of pending IDs does not count."""
    if isinstance(expected, Stream) and isinstance(found, Stream):
        return _stream_difference(expected, found)
    if isinstance(expected, dict) and isinstance(found, dict):
        return _fields_difference(expected, found)
    if expected == found:
        return None
    return ValueDifference("value", _size(expected), f"{_size(found)}, not the same")


def _fields_difference(
    expected: Mapping[bytes, bytes | float], found: Mapping[bytes, bytes | float]
) -> ValueDifference | None:
    if dict(expected) != dict(found):
        wrong = sum(expected.get(name) != found.get(name) for name in expected.keys() | found.keys())
        return ValueDifference("field", f"{len(expected):,} fields", f"{len(found):,} fields, {wrong:,} of them other")
    times, there = (getattr(one, "expire_at_ms", {}) for one in (expected, found))
    wrong_times = [name for name in times.keys() | there.keys() if times.get(name) != there.get(name)]
    if not wrong_times:
        return None
    first = min(wrong_times)
    count = f"{len(wrong_times):,} of {len(expected):,} field expiries differ; first: "
    return ValueDifference("field", count + _instant(times.get(first)), _instant(there.get(first)))


def _stream_difference(expected: Stream, found: Stream) -> ValueDifference | None:
    if expected.entries != found.entries:
        return ValueDifference("value", _size(expected), f"{_size(found)}, not the same entries")
    if _unordered(expected) == _unordered(found):
        return None
    for name in ("length", "last_id", "first_id", "max_deleted_id", "entries_added", "idempotence"):
        if getattr(expected, name) != getattr(found, name):
            return ValueDifference("value", f"a stream with its {name}", "another one")
    return ValueDifference("value", f"{len(expected.groups):,} groups", "groups or pending entries that differ")


def _unordered(stream: Stream) -> Stream:
    groups = {
        name: replace(
            group,
            consumers={one: replace(facts, pending=sorted(facts.pending)) for one, facts in group.consumers.items()},
        )
        for name, group in stream.groups.items()
    }
    return replace(stream, groups=groups)


def _size(value: Value) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, Stream):
        return f"{len(value.entries):,} entries"
    return f"{len(value):,} elements" if isinstance(value, (list, set, dict)) else "a value"


def _instant(at_ms: int | None) -> str:
    return "never" if at_ms is None else f"{at_ms} ms ({format_instant(at_ms)})"
