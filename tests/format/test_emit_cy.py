"""The core's emitter stops at what it cannot do, and at what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from rdbbytes import entry, expiry, freq, idle, pairs, rdb, record, select, string, strings
from rows import only_batch

from rdbmerge.format import codes
from rdbmerge.format.core import FieldSurvey, ItemReader, Recoder, emit_rows
from rdbmerge.format.forms import KEEP
from rdbmerge.format.values import REDIS_TYPES, item_tables

HOUR = 3_600_000
NO_SHAPES = b"\xff" * 256
FORMS = bytes([{12: 3, 13: 4, 14: 1, 16: 4, 20: 2, 4: 4}.get(number, KEEP) for number in range(256)])


def recoder_of(view: memoryview) -> Recoder:
    return Recoder(ItemReader(view, item_tables(REDIS_TYPES)), FORMS, 0, -(1 << 62), 1 << 48)


def emit(
    *records: bytes,
    row: int = 0,
    room: int = 4096,
    prefix: bytes = b"",
    treated: dict[int, int] | None = None,
    offset_ms: int = 0,
    drop_hints: bool = False,
) -> tuple[int, bytes]:
    """The row it stopped at, and the bytes. `treated`: rows that are not just copied."""
    view, batch, _ = only_batch(rdb(13, select(0), *records))
    buffer = bytearray(b"\xaa" * (room + 16))
    treatments = np.array([(treated or {}).get(number, codes.COPIED) for number in range(batch.rows)], np.uint8)
    stopped, used = emit_rows(
        view, batch.type, batch.flags, batch.expire_at_ms, batch.entry_start, batch.key_start, batch.key_len,
        batch.value_start, batch.end, np.zeros(batch.rows, np.uint8), treatments, row, batch.rows, offset_ms, prefix,
        drop_hints, FieldSurvey(view, 0, offset_ms), NO_SHAPES, recoder_of(view), memoryview(buffer)[:room],
    )  # fmt: skip
    assert used <= room
    assert buffer[room:] == b"\xaa" * 16
    return int(stopped), bytes(buffer[:used])


ROWS = [entry(b"a", b"x" * 30), entry(b"b", expire_at_ms=5_000), entry(b"c")]


def test_it_does_all_rows_when_they_fit() -> None:
    assert emit(*ROWS) == (3, b"".join(ROWS))
    assert emit(*ROWS, row=1) == (3, ROWS[1] + ROWS[2])
    assert emit(*ROWS, row=3) == (3, b"")


@pytest.mark.parametrize("room", range(120))
def test_it_stops_before_a_row_that_does_not_fit(room: int) -> None:
    stopped, out = emit(*ROWS, room=room) if room else (0, b"")
    assert out == b"".join(ROWS[:stopped])
    assert stopped == 3 or room < len(b"".join(ROWS[: stopped + 1])) + 9


def test_it_stops_at_a_row_that_must_be_written_anew() -> None:
    hash_ = record(4, b"h", b"\x01" + string(b"f") + string(b"v"))
    assert emit(ROWS[0], hash_, ROWS[2], treated={1: codes.ANEW}) == (1, ROWS[0])
    assert emit(ROWS[0], hash_, ROWS[2], treated={1: codes.ANEW}, row=1) == (1, b"")


def test_it_shifts_what_expires() -> None:
    assert emit(*ROWS, offset_ms=HOUR) == (3, ROWS[0] + entry(b"b", expire_at_ms=5_000 + HOUR) + ROWS[2])


def test_it_leaves_hints_away_where_they_are_not_known() -> None:
    hinted = [
        record(0, b"a", string(b"v"), attributes=expiry(5_000) + idle(70)),
        record(0, b"b", string(b"v"), attributes=freq(3)),
        entry(b"c", expire_at_ms=5_000),
    ]
    plain = [entry(b"a", expire_at_ms=5_000), entry(b"b"), entry(b"c", expire_at_ms=5_000)]
    assert emit(*hinted) == (3, b"".join(hinted))
    assert emit(*hinted, drop_hints=True) == (3, b"".join(plain))


RECODED = [
    record(20, b"s", string(b"\x0f\0\0\0\x02\0\x81a\x02\x83bcd\x04\xff"), attributes=expiry(5_000) + idle(7)),
    record(4, b"h", pairs({b"f": b"v"})),
]
PLAIN = [
    record(2, b"s", strings([b"a", b"bcd"]), attributes=expiry(5_000) + idle(7)),
    record(4, b"h", pairs({b"f": b"v"})),
]
ALL_RECODED = {0: codes.RECODED, 1: codes.COPIED, 2: codes.RECODED}


def test_it_writes_a_value_in_another_form_with_its_type() -> None:
    records = [RECODED[0], ROWS[2], RECODED[1]]
    assert emit(*records, treated=ALL_RECODED) == (3, PLAIN[0] + ROWS[2] + PLAIN[1])


def test_shift_prefix_and_dropped_hints_hold_for_it_too() -> None:
    stopped, out = emit(RECODED[0], prefix=b"p:", offset_ms=HOUR, drop_hints=True, treated=ALL_RECODED)
    assert (stopped, out) == (1, record(2, b"p:s", strings([b"a", b"bcd"]), attributes=expiry(5_000 + HOUR)))


@pytest.mark.parametrize("room", range(1, 80))
def test_it_stops_before_a_value_whose_other_form_does_not_fit(room: int) -> None:
    records = [RECODED[0], ROWS[2], RECODED[1]]
    plain = [PLAIN[0], ROWS[2], PLAIN[1]]
    stopped, out = emit(*records, room=room, treated=ALL_RECODED)
    assert out == b"".join(plain[:stopped])
    assert stopped == 3 or room < len(b"".join(plain[: stopped + 1])) + 9


def test_it_stops_at_a_damaged_value_and_the_recoder_says_so() -> None:
    view, batch, _ = only_batch(rdb(13, select(0), ROWS[0], record(20, b"s", string(b"\x0f\0\0\0\x02\0\xff"))))
    recoder, buffer = recoder_of(view), bytearray(100)
    stopped, used = emit_rows(
        view, batch.type, batch.flags, batch.expire_at_ms, batch.entry_start, batch.key_start, batch.key_len,
        batch.value_start, batch.end, np.zeros(2, np.uint8), np.array([codes.COPIED, codes.RECODED], np.uint8), 0, 2,
        0, b"", False, FieldSurvey(view, 0, 0), NO_SHAPES, recoder, buffer,
    )  # fmt: skip
    assert (stopped, buffer[:used]) == (1, ROWS[0])
    assert recoder.has_failed()


def test_it_takes_an_empty_prefix_and_no_rows() -> None:
    view = memoryview(b"")
    column = np.empty(0, np.int64)
    small = np.empty(0, np.uint8)
    assert emit_rows(
        view, small, small, column, column, column, np.empty(0, np.uint32), column, column, small, small, 0, 0, 0, b"",
        False, FieldSurvey(view, 0, 0), NO_SHAPES, recoder_of(view), bytearray(1),
    ) == (0, 0)  # fmt: skip
