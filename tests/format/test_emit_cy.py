"""The core's emitter stops at what it cannot do, and at what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from rdbbytes import entry, rdb, record, select, string
from rows import only_batch

from rdbmerge.format import codes
from rdbmerge.format.core import FieldSurvey, emit_rows

HOUR = 3_600_000
NO_SHAPES = b"\xff" * 256


def emit(
    *records: bytes, row: int = 0, room: int = 4096, prefix: bytes = b"", anew: int | None = None, offset_ms: int = 0
) -> tuple[int, bytes]:
    """The row it stopped at, and the bytes."""
    view, batch, _ = only_batch(rdb(13, select(0), *records))
    buffer = bytearray(b"\xaa" * (room + 16))
    verdicts = np.zeros(batch.rows, np.uint8)
    if anew is not None:
        verdicts[anew] = codes.ANEW
    stopped, used = emit_rows(
        view, batch.type, batch.flags, batch.expire_at_ms, batch.entry_start, batch.key_start, batch.key_len,
        batch.value_start, batch.end, np.zeros(batch.rows, np.uint8), row, batch.rows, offset_ms, prefix,
        FieldSurvey(view, 0, offset_ms), NO_SHAPES, verdicts, memoryview(buffer)[:room],
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
    assert emit(ROWS[0], hash_, ROWS[2], anew=1) == (1, ROWS[0])
    assert emit(ROWS[0], hash_, ROWS[2], anew=1, row=1) == (1, b"")


def test_it_stops_at_an_encoded_key_only_when_there_is_a_prefix() -> None:
    number = record(0, b"", string(b"v"), key_bytes=b"\xc0\x05")
    assert emit(ROWS[0], number) == (2, ROWS[0] + number)
    assert emit(ROWS[0], number, prefix=b"p") == (1, entry(b"pa", b"x" * 30))


def test_it_stops_at_attributes_in_an_odd_order() -> None:
    odd = record(0, b"k", string(b"v"), attributes=b"\xf9\x05\xfc" + bytes(8))
    assert emit(ROWS[2], odd, ROWS[0]) == (1, ROWS[2])


def test_it_shifts_what_expires() -> None:
    assert emit(*ROWS, offset_ms=HOUR) == (3, ROWS[0] + entry(b"b", expire_at_ms=5_000 + HOUR) + ROWS[2])


def test_it_takes_an_empty_prefix_and_no_rows() -> None:
    view = memoryview(b"")
    column = np.empty(0, np.int64)
    small = np.empty(0, np.uint8)
    assert emit_rows(
        view, small, small, column, column, column, np.empty(0, np.uint32), column, column, small, 0, 0, 0, b"",
        FieldSurvey(view, 0, 0), NO_SHAPES, small, bytearray(1),
    ) == (0, 0)  # fmt: skip
