"""What values are to a user: equal if they hold the same, and shown whole."""

from __future__ import annotations

import copy
import pickle

import pytest

from rdbmerge.format.logical import Array, Hash, Stream, StreamId

FIELDS = {b"f": b"v", b"g": b"w"}
EXPIRING = Hash(FIELDS, {b"f": 5})


def test_a_stream_id_is_written_as_servers_write_it_and_ordered_as_they_order_it() -> None:
    assert str(StreamId(5, (1 << 64) - 1)) == "5-18446744073709551615"
    assert sorted([StreamId(10, 0), StreamId(9, 7), StreamId(9, 11)]) == [(9, 7), (9, 11), (10, 0)]


def test_a_hash_is_a_dict_of_its_values() -> None:
    assert EXPIRING[b"f"] == b"v"
    assert dict(EXPIRING) == FIELDS
    assert Hash(FIELDS) == FIELDS == Hash(FIELDS)
    assert not Hash(FIELDS) != FIELDS  # noqa: SIM202 (what it is about)


@pytest.mark.parametrize(
    "other", [FIELDS, Hash(FIELDS), Hash(FIELDS, {b"f": 6}), Hash({b"f": b"v"}, {b"f": 5}), 5, None]
)
def test_hashes_that_expire_otherwise_are_not_equal(other: object) -> None:
    for one, another in ((EXPIRING, other), (other, EXPIRING)):
        assert one != another
        assert not one == another  # noqa: SIM201 (the two operators answer apart)


def test_an_empty_hash_is_equal_to_nothing_else_than_an_empty_one() -> None:
    assert Hash({}) == {} == Hash({})
    assert Hash({}) != 5
    assert Hash({}) != []


def test_a_hash_shows_and_keeps_its_expiries() -> None:
    assert repr(EXPIRING) == "Hash({b'f': b'v', b'g': b'w'}, {b'f': 5})"
    assert copy.copy(EXPIRING) == copy.deepcopy(EXPIRING) == pickle.loads(pickle.dumps(EXPIRING)) == EXPIRING  # noqa: S301


def test_a_hash_does_not_share_its_expiries_with_the_next() -> None:
    one = Hash({})
    one.expire_at_ms[b"f"] = 1
    assert Hash({}).expire_at_ms == {}


def test_streams_and_arrays_are_equal_by_what_they_hold() -> None:
    empty = Stream([], 0, StreamId(0, 0), None, None, None, {}, None)
    assert empty == Stream([], 0, StreamId(0, 0), None, None, None, {}, None)
    assert empty != Stream([], 0, StreamId(0, 1), None, None, None, {}, None)
    assert Array() == Array({}, 0) != Array({0: b""}, 0)
