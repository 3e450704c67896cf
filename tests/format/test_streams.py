"""What follows a stream's nodes is read as spans, and written in any older form: what that can hold is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from blobbytes import STREAM_TYPES, Id, consumer, group, lengths, lzf, node_of, own, raw_id, stream
from decoded import value_of
from forms import AT, BY_NAME, NODE, stream_of
from rdbbytes import length, string

from rdbmerge.errors import FormatError, TruncatedError
from rdbmerge.format.logical import Consumer, Pending, Stream, StreamId
from rdbmerge.format.streams import LEVELS, NACK_CONSUMER, StreamTail, nodes_end, read_tail, write_tail
from rdbmerge.format.values import REDIS_TYPES

SHAPES = {level: shape for shape, level in LEVELS.items()}
ONE, TWO, THREE = (5, 1), (5, 2), (5, 3)


def tail_of(level: int, payload: bytes) -> tuple[memoryview, StreamTail]:
    view = memoryview(payload)
    return view, read_tail(view, SHAPES[level], nodes_end(view, 0, len(view)), len(view))


def rewritten(payload: bytes, level: int, wanted: int) -> bytes:
    """The stream in the form of another level, nodes and all."""
    view, tail = tail_of(level, payload)
    return bytes(view[: nodes_end(view, 0, len(view))]) + write_tail(view, tail, wanted)


def older(value: Stream, level: int, owner: bytes) -> Stream:
    """What of a stream of the newest form can be said in the form of `level`."""
    groups = {}
    for name, told in value.groups.items():
        orphans = [one for one, it in told.pending.items() if it.consumer is None] if level < 5 else []
        consumers = {
            each: replace(it, active_at_ms=it.active_at_ms if level >= 3 else None)
            for each, it in told.consumers.items()
        }
        if orphans:
            consumers[owner] = Consumer(0, -1 if level >= 3 else None, orphans)
        groups[name] = replace(
            told,
            entries_read=told.entries_read if level >= 2 else None,
            pending={
                one: Pending(owner, it.delivered_at_ms, it.deliveries) if one in orphans else it
                for one, it in told.pending.items()
            },
            consumers=consumers,
        )
    return replace(
        value,
        first_id=value.first_id if level >= 2 else None,
        max_deleted_id=value.max_deleted_id if level >= 2 else None,
        entries_added=value.entries_added if level >= 2 else None,
        groups=groups,
        idempotence=value.idempotence if level >= 4 else None,
    )


def test_the_levels_are_those_of_the_types() -> None:
    assert {number: LEVELS[REDIS_TYPES[number].shape] for number in STREAM_TYPES.values()} == {
        number: level for level, number in STREAM_TYPES.items()
    }


@pytest.mark.parametrize("level", LEVELS.values())
def test_a_stream_written_at_its_own_level_is_the_same_bytes(level: int) -> None:
    for payload in (stream_of(level, NODE), stream(level)):
        assert rewritten(payload, level, level) == payload


@pytest.mark.parametrize(("level", "wanted"), [(a, b) for a in range(1, 6) for b in range(1, a + 1)])
def test_an_older_form_keeps_what_it_can_hold(level: int, wanted: int) -> None:
    payload = rewritten(stream_of(level, NODE), level, wanted)
    value = BY_NAME[f"stream-{level}"].value
    assert value_of(STREAM_TYPES[wanted], payload) == older(value, wanted, NACK_CONSUMER)


def test_each_step_down_gives_what_one_leap_gives() -> None:
    payload = stream_of(5, NODE)
    for wanted in (4, 3, 2, 1):
        payload = rewritten(payload, wanted + 1, wanted)
        assert payload == rewritten(stream_of(5, NODE), 5, wanted)


PENDING = [(ONE, AT, 3), (TWO, AT, 1), (THREE, AT + 1, 2)]


def given_back(*names: bytes, nacked: list[Id] | None = None) -> Stream:
    """A group with these consumers and entries that nobody owns, as Redis 8.6 would read it."""
    held = group(
        5, b"g", pending=PENDING, consumers=[consumer(5, name) for name in names], nacked=nacked or [ONE, THREE]
    )
    found = value_of(26, rewritten(stream(5, groups=[held, group(5, b"h")]), 5, 4))
    assert isinstance(found, Stream)
    return found


def test_entries_that_were_given_back_get_an_owner() -> None:
    found = given_back(b"alice")
    pending = found.groups[b"g"].pending
    assert {tuple(one): (it.consumer, it.delivered_at_ms, it.deliveries) for one, it in pending.items()} == {
        ONE: (NACK_CONSUMER, AT, 3), TWO: (None, AT, 1), THREE: (NACK_CONSUMER, AT + 1, 2),
    }  # fmt: skip
    assert found.groups[b"g"].consumers[NACK_CONSUMER] == Consumer(0, -1, [StreamId(*ONE), StreamId(*THREE)])
    assert list(found.groups[b"h"].consumers) == []


def test_the_owners_name_is_one_that_is_free() -> None:
    taken = [NACK_CONSUMER, NACK_CONSUMER + b":2", NACK_CONSUMER + b":4"]
    consumers = given_back(*taken).groups[b"g"].consumers
    assert list(consumers) == [*taken, NACK_CONSUMER + b":3"]
    packed = lzf(NACK_CONSUMER)
    plain = group(5, b"g", pending=PENDING, consumers=[consumer(5, NACK_CONSUMER)], nacked=[ONE])
    payload = stream(5, groups=[plain.replace(string(NACK_CONSUMER), packed)])
    assert packed in payload
    assert list(value_of(26, rewritten(payload, 5, 4)).groups[b"g"].consumers) == [NACK_CONSUMER, NACK_CONSUMER + b":2"]


def test_a_tail_counts_what_an_older_form_would_lose() -> None:
    _, tail = tail_of(5, stream(5, groups=[group(5, b"g", pending=PENDING, nacked=[ONE, TWO]), group(5, b"h")]))
    assert tail.nacked == 2
    assert not tail.remembers_producers
    for told in ({"idmp": (60, 100)}, {"producers": {b"p": {}}}, {"iids": (1, 0)}):
        assert tail_of(4, stream(4, **told))[1].remembers_producers
    assert not tail_of(3, stream(3))[1].remembers_producers


def test_the_spans_of_a_tail_are_where_things_stand() -> None:
    payload = stream_of(5, NODE)
    view, tail = tail_of(5, payload)
    first, second = tail.groups
    assert bytes(view[slice(*first.name)]) == string(b"readers")
    assert (first.pending.count, first.pending.end - first.pending.start) == (2, 2 * 25)
    assert bytes(view[first.nacked.start : first.nacked.end]) == raw_id((10, 0))
    assert [bytes(view[slice(*each.name)]) for each in first.consumers] == [string(b"alice"), b"\x00"]
    assert (second.consumers, second.nacked.count, tail.producers.count) == ([], 0, 2)


def test_a_stream_may_end_with_the_ids_of_a_consumer() -> None:
    held = group(1, b"g", pending=PENDING, consumers=[consumer(1, b"c", ONE, TWO, THREE)])
    payload = stream(1, groups=[held])
    assert payload.endswith(raw_id(THREE))
    assert rewritten(payload, 1, 1) == payload
    assert value_of(15, payload).groups[b"g"].consumers[b"c"].pending == [ONE, TWO, THREE]


def test_long_lengths_come_out_in_their_shortest_form() -> None:
    wide = b"\x00" + b"\x81" + bytes(8) + b"\x80" + bytes(4) + b"\x40\x00" + b"\x80\x00\x00\x00\x00"
    assert rewritten(wide, 1, 1) == lengths(0, 0, 0, 0, 0)


@pytest.mark.parametrize("level", LEVELS.values())
def test_a_tail_cut_anywhere_is_truncated_and_one_that_goes_on_is_refused(level: int) -> None:
    payload = stream_of(level, NODE)
    view, after = memoryview(payload), nodes_end(memoryview(payload), 0, len(payload))
    for cut in range(after, len(payload)):
        with pytest.raises(TruncatedError) as caught:
            read_tail(view, SHAPES[level], after, cut)
        assert after <= caught.value.offset <= cut
    with pytest.raises(FormatError, match="a value whose last 1 bytes belong to nothing"):
        read_tail(memoryview(payload + b"\0"), SHAPES[level], after, len(payload) + 1)


@pytest.mark.parametrize("count", [1 << 31, 1 << 60, (1 << 64) - 1])
def test_a_count_that_lies_ends_at_the_end_of_the_bytes(count: int) -> None:
    head = lengths(0, 0, 0)
    told = length(1) + string(b"g") + lengths(0, 0)
    for tail in (length(count), told + length(count), told + b"\0" + length(count)):
        with pytest.raises(TruncatedError):
            read_tail(memoryview(head + tail + bytes(40)), SHAPES[1], 0, len(head + tail) + 40)
    ids = told + b"\0\x01" + string(b"c") + bytes(8) + length(count)
    with pytest.raises(TruncatedError, match=f"{16 * count:,} bytes expected, 40 remain"):
        read_tail(memoryview(head + ids + bytes(40)), SHAPES[1], 0, len(head + ids) + 40)


def test_the_end_of_the_nodes_is_found_without_opening_them() -> None:
    nodes = [node_of((1, 0), [b"f"], own(0, 0)), string(bytes(16)) + string(b"nonsense")]
    payload = stream(1, nodes)
    assert nodes_end(memoryview(b"xx" + payload), 2, 2 + len(payload)) == 2 + 1 + sum(map(len, nodes))
