"""The scanner fills rows up to what they can hold, and goes on where it stopped."""

from __future__ import annotations

import pytest
from rdbbytes import aux, entry, expiry, idle, rdb, record, select, string

from rdbmerge.errors import UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import Scanner
from rdbmerge.format.scan import Walk
from rdbmerge.format.values import REDIS_TYPES, empty_table, shape_table

DATA = rdb(13, *(entry(b"key%d" % i, b"v" * i) for i in range(10)))
WIDE = 1 << 30


def scanner(data: bytes, *, pos: int = 9, redis_meta: bool = True) -> Scanner:
    return Scanner(memoryview(data), pos, len(data), shape_table(REDIS_TYPES), empty_table(REDIS_TYPES), redis_meta)


def fill(one: Scanner, columns: Columns, row: int = 0, most_bytes: int = WIDE) -> tuple[int, int]:
    status, rows = one.fill(row, *columns.for_core, columns.capacity, most_bytes)
    return int(status), int(rows)


def test_it_stops_when_the_rows_are_full_and_goes_on_from_there() -> None:
    one, columns = scanner(DATA), Columns(4)
    assert [fill(one, columns) for _ in range(3)] == [(codes.FULL, 4), (codes.FULL, 4), (codes.RECORD, 2)]
    assert DATA[one.get_pos()] == codes.OP_EOF


def test_it_stops_when_the_rows_span_enough() -> None:
    one, columns = scanner(DATA), Columns(100)
    status, rows = fill(one, columns, most_bytes=30)
    assert status == codes.FULL
    assert 0 < rows < 10
    assert columns.end[rows - 1] - columns.entry_start[0] >= 30
    assert columns.end[rows - 2] - columns.entry_start[0] < 30
    assert one.last_end() == columns.end[rows - 1]


def test_rows_are_added_behind_those_that_are_there() -> None:
    one, columns = scanner(DATA), Columns(10)
    fill(one, columns)
    starts = columns.entry_start.tolist()
    again = scanner(DATA, pos=int(starts[4]))
    assert fill(again, columns, row=4) == (codes.FULL, 10)
    assert columns.entry_start.tolist() == starts


def test_a_failure_names_the_place_and_keeps_the_rows_before_it() -> None:
    data = rdb(9, entry(b"a"), entry(b"b"), b"\x08\x01k")
    one, columns = scanner(data), Columns(10)
    assert fill(one, columns) == (codes.FAILED, 2)
    cursor = one.get_cursor()
    assert (cursor.error_code, cursor.error_pos, cursor.error_detail) == (codes.UNKNOWN_TYPE, one.get_pos(), 8)


def test_attributes_wait_for_their_key_over_a_record_and_over_a_full_batch() -> None:
    data = rdb(9, entry(b"a"), expiry(7) + idle(3), select(1), entry(b"b"), entry(b"c"))
    one, columns = scanner(data), Columns(10)
    assert fill(one, columns) == (codes.RECORD, 1)
    assert one.last_end() == -1
    one.move_to(one.get_pos() + 2)
    assert fill(one, columns) == (codes.RECORD, 2)
    assert columns.expire_at_ms[:2].tolist() == [7, codes.NO_EXPIRY]
    assert columns.hint[:2].tolist() == [3, codes.NO_HINT]
    assert columns.flags[:2].tolist() == [codes.HAS_IDLE | codes.IRREGULAR, 0]
    assert one.last_end() == one.get_pos()


@pytest.mark.parametrize(("redis_meta", "status"), [(True, codes.FULL), (False, codes.RECORD)])
def test_metadata_of_keys_is_read_only_where_the_number_means_it(redis_meta: bool, status: int) -> None:
    data = rdb(13, record(0, b"k", string(b"v"), attributes=b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"))
    one, columns = scanner(data, redis_meta=redis_meta), Columns(1)
    assert fill(one, columns)[0] == status


META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"


@pytest.mark.parametrize(
    ("attributes", "place"),
    [
        (META + expiry(5), len(META)),
        (META + META, len(META)),
        (META + aux(b"a", b"b"), len(META)),
        (META + select(2), len(META)),
        (expiry(5) + META + select(2), 9 + len(META)),
        (expiry(5) + aux(b"a", b"b") + META, 9 + 5),
        (expiry(5) + select(2) + META, 9 + 2),
        (META + b"\xff", len(META)),
    ],
)
def test_metadata_that_does_not_stand_directly_before_its_key_is_refused(attributes: bytes, place: int) -> None:
    """Copied with its key it would take along what stands between them, a change of the db for instance."""
    data = rdb(13, record(0, b"k", string(b"v"), attributes=attributes), entry(b"after"))
    with pytest.raises(UnsupportedError, match="key metadata that does not stand directly before") as caught:
        list(Walk(memoryview(data)))
    assert caught.value.offset == 9 + place
