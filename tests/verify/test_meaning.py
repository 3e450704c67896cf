"""What a decoded value must be in the merged file, and what is said where it is not; values are never shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from decoded import REDIS, VALKEY
from forms import AT, stream_value

from rdbmerge.format import codes
from rdbmerge.format.digest import Reading
from rdbmerge.format.logical import Consumer, Hash, Idempotence, Pending, Stream, StreamId
from rdbmerge.verify.meaning import ValueDifference, difference_of, expected_value

HASH, STREAM = 24, {1: 15, 2: 19, 3: 21, 4: 26, 5: 27}
FIELDS = Hash({b"f": b"1", b"g": b"2", b"h": b"3"}, {b"f": AT, b"h": AT + 9})


def expected(value: Any, number: int = HASH, *, dialect: Any = REDIS, **rules: Any) -> Any:
    return expected_value(value, Reading(dialect=dialect, **rules), number)


def test_what_holds_no_times_and_is_no_stream_is_expected_as_it_is() -> None:
    for value in (b"v", [b"a"], {b"a"}, {b"m": 1.5}, {b"f": b"v"}):
        assert expected(value, ttl_offset_ms=7, fields_dead_before_ms=AT, stream_level=1) is value


def test_fields_move_and_dead_ones_go() -> None:
    assert expected(FIELDS, ttl_offset_ms=7) == Hash(dict(FIELDS), {b"f": AT + 7, b"h": AT + 16})
    alive = expected(FIELDS, ttl_offset_ms=7, fields_dead_before_ms=AT + 1)
    assert alive == Hash({b"g": b"2", b"h": b"3"}, {b"h": AT + 16})
    assert expected(FIELDS, without_field_times=True) == dict(FIELDS)
    assert expected(FIELDS, without_field_times=True, fields_dead_before_ms=AT + 1) == {b"g": b"2", b"h": b"3"}
    assert expected(FIELDS, ttl_offset_ms=7, fields_dead_before_ms=AT + 1, as_it_stands=True) == FIELDS


@pytest.mark.parametrize(
    ("at_ms", "offset_ms", "dialect", "latest_ms", "moved"),
    [
        (5, -9, REDIS, None, 1), (0, 0, VALKEY, None, 1), (AT, -(1 << 47), REDIS, None, 1),
        (codes.LATEST_FIELD_EXPIRY_MS, 9, REDIS, None, codes.LATEST_FIELD_EXPIRY_MS),
        (codes.LATEST_FIELD_EXPIRY_MS, 9, VALKEY, None, codes.LATEST_FIELD_EXPIRY_MS + 9),
        (1 << 50, 0, VALKEY, codes.LATEST_FIELD_EXPIRY_MS, codes.LATEST_FIELD_EXPIRY_MS),
        ((1 << 63) - 1, 0, VALKEY, None, 1 << 62), ((1 << 63) - 1, 5, VALKEY, None, 1 << 62),
        ((1 << 63) - 1, -5, VALKEY, None, (1 << 62) - 5),
    ],
)  # fmt: skip
def test_times_stay_between_what_is_written(
    at_ms: int, offset_ms: int, dialect: Any, latest_ms: int | None, moved: int
) -> None:
    one = Hash({b"f": b"v"}, {b"f": at_ms})
    assert expected(one, dialect=dialect, ttl_offset_ms=offset_ms, latest_field_ms=latest_ms).expire_at_ms == {
        b"f": moved
    }


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("held", [1, 2, 3, 4, 5])
def test_a_stream_is_expected_as_far_as_the_target_holds_it(level: int, held: int) -> None:
    value = expected(stream_value(level), STREAM[level], stream_level=held)
    lowest = min(level, held)
    assert (value.first_id is None) == (value.entries_added is None) == (value.max_deleted_id is None) == (lowest < 2)
    readers = value.groups[b"readers"]
    assert (readers.entries_read is None) == (lowest < 2)
    assert (readers.consumers[b"alice"].active_at_ms is None) == (lowest < 3)
    assert (value.idempotence is None) == (lowest < 4)
    assert (value.entries, value.length, value.last_id) == (stream_value(level).entries, 3, StreamId(13, 0))
    if level == 5 and held < 5:
        owner = Consumer(0, -1 if held >= 3 else None, [StreamId(10, 0)])
        assert readers.consumers[b"rdbmerge:nacked"] == owner
        assert readers.pending[StreamId(10, 0)] == Pending(b"rdbmerge:nacked", AT + 1, 1)
    else:
        assert b"rdbmerge:nacked" not in readers.consumers


def without_owner(value: Stream) -> Stream:
    group = value.groups[b"readers"]
    pending = {one: replace(facts, consumer=None) for one, facts in group.pending.items()}
    return replace(value, groups={**value.groups, b"readers": replace(group, pending=pending)})


def test_only_what_was_given_back_gets_an_owner() -> None:
    """Old forms cannot tell of it: there an entry without an owner is odd, and stays so."""
    odd = without_owner(stream_value(3))
    assert b"rdbmerge:nacked" not in expected(odd, 21, stream_level=3).groups[b"readers"].consumers
    assert (
        b"rdbmerge:nacked" in expected(without_owner(stream_value(5)), 27, stream_level=3).groups[b"readers"].consumers
    )


def test_a_taken_name_is_passed_over() -> None:
    value = stream_value(5)
    group = value.groups[b"readers"]
    taken = {b"rdbmerge:nacked": Consumer(1, 1, []), b"rdbmerge:nacked:2": Consumer(1, 1, [])}
    crowded = replace(value, groups={b"readers": replace(group, consumers={**group.consumers, **taken})})
    owners = expected(crowded, 27, stream_level=1).groups[b"readers"].consumers
    assert owners[b"rdbmerge:nacked:3"].pending == [StreamId(10, 0)]


# --- what is said -------------------------------------------------------------------------------------------------

SECRET = b"secret"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (b"v", b"w2", ValueDifference("value", "1 bytes", "2 bytes, not the same")),
        ([b"a", b"b"], [b"b", b"a"], ValueDifference("value", "2 elements", "2 elements, not the same")),
        ({b"a"}, {b"a", b"b"}, ValueDifference("value", "1 elements", "2 elements, not the same")),
        ({b"m": 1.0}, {b"m": 1.5}, ValueDifference("field", "1 fields", "1 fields, 1 of them other")),
        ({b"f": b"1"}, {b"g": b"1"}, ValueDifference("field", "1 fields", "1 fields, 2 of them other")),
        ({b"f": b"1"}, [b"f"], ValueDifference("value", "1 elements", "1 elements, not the same")),
        (Hash({b"f": b"1"}, {b"f": 5}), Hash({b"f": b"1"}), ValueDifference(
            "field", "1 of 1 field expiries differ; first: 5 ms (1970-01-01 00:00:00Z)", "never")),
        (FIELDS, Hash(dict(FIELDS), {b"f": AT}), ValueDifference(
            "field", f"1 of 3 field expiries differ; first: {AT + 9} ms (2033-05-18 03:33:20Z)", "never")),
        ({b"f": b"1"}, Hash({b"f": b"1"}, {b"f": 5}), ValueDifference(
            "field", "1 of 1 field expiries differ; first: never", "5 ms (1970-01-01 00:00:00Z)")),
    ],
)  # fmt: skip
def test_a_difference_is_told_without_the_value(one: Any, other: Any, said: ValueDifference) -> None:
    assert difference_of(one, other) == said
    assert difference_of(other, one) is not None
    assert difference_of(one, one) is None
    assert difference_of(other, other) is None


def test_secrets_are_not_told() -> None:
    pairs: list[tuple[Any, Any]] = [
        (SECRET, b"x"), ([SECRET], []), ({SECRET}, set()), ({SECRET: 1.0}, {}), ({SECRET: SECRET}, {}),
        (Hash({SECRET: SECRET}, {SECRET: 5}), Hash({SECRET: SECRET})),
    ]  # fmt: skip
    for one, other in pairs:
        assert "secret" not in str(difference_of(one, other)) + str(difference_of(other, one))


@pytest.mark.parametrize("at_ms", [-1, 0, 1, codes.LATEST_FIELD_EXPIRY_MS, codes.LATEST_EXPIRY_MS, (1 << 63) - 1])
def test_a_time_that_no_calendar_has_is_told_too(at_ms: int) -> None:
    difference = difference_of(Hash({b"f": b"v"}, {b"f": at_ms}), Hash({b"f": b"v"}))
    assert difference is not None
    assert f"{at_ms} ms" in difference.expected


def test_zero_is_zero_whatever_its_sign() -> None:
    assert difference_of({b"m": 0.0}, {b"m": -0.0}) is None


STREAM_PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "entries": ({"entries": []}, "3 entries"),
    "length": ({"length": 2}, "its length"),
    "last id": ({"last_id": StreamId(99, 0)}, "its last_id"),
    "first id": ({"first_id": StreamId(1, 0)}, "its first_id"),
    "deleted id": ({"max_deleted_id": StreamId(1, 0)}, "its max_deleted_id"),
    "added": ({"entries_added": 8}, "its entries_added"),
    "producers": ({"idempotence": Idempotence(60, 50, {}, 7, 1)}, "its idempotence"),
    "groups": ({"groups": {}}, "2 groups"),
}


@pytest.mark.parametrize("part", STREAM_PARTS)
def test_a_difference_of_streams_says_in_what(part: str) -> None:
    changes, said = STREAM_PARTS[part]
    difference = difference_of(stream_value(5), replace(stream_value(5), **changes))
    assert difference is not None
    assert difference.kind == "value"
    assert said in difference.expected


def test_the_order_in_which_a_consumers_entries_are_listed_does_not_count() -> None:
    value = stream_value(4)
    group = value.groups[b"readers"]
    alice = group.consumers[b"alice"]
    turned = {**group.consumers, b"alice": replace(alice, pending=alice.pending[::-1])}
    assert len(alice.pending) == 2
    other = replace(value, groups={**value.groups, b"readers": replace(group, consumers=turned)})
    assert difference_of(value, other) is None
    lost = {**group.consumers, b"alice": replace(alice, pending=alice.pending[:1])}
    assert difference_of(value, replace(value, groups={b"readers": replace(group, consumers=lost)})) is not None
