"""The writer of commands in the core stops at what it cannot do, at what does not fit, and at enough answers."""

from __future__ import annotations

import numpy as np
import pytest
from rdbbytes import crc64, entry, expiry, rdb, record, select, string
from restoring import commands_of
from rows import only_batch

from rdbmerge.format import codes
from rdbmerge.format.core import FieldSurvey, ItemReader, Recoder, RestoreWriter
from rdbmerge.format.forms import KEEP
from rdbmerge.format.values import REDIS_TYPES, item_tables

AT = 2_000_000_000_000


def write(
    *records: bytes, row: int = 0, room: int = 4096, answers: int = 100, now_ms: int = 0, options: int = 0,
    treated: dict[int, int] | None = None,
) -> tuple[int, list[list[bytes]], list[int], list[int]]:  # fmt: skip
    """The row it stopped at, the commands, their rows, and what became of `wanted`."""
    view, batch, _ = only_batch(rdb(13, select(0), *records))
    recoder = Recoder(ItemReader(view, item_tables(REDIS_TYPES)), bytes([KEEP] * 256), 0, -(1 << 62), 1 << 48)
    writer = RestoreWriter(FieldSurvey(view, 0, 0), recoder, b"\xff" * 256, b"", 0, False, 6, 80)
    buffer, sent = bytearray(b"\xaa" * (room + 16)), np.full(answers, -9, np.int32)
    treatments = np.array([(treated or {}).get(number, codes.COPIED) for number in range(batch.rows)], np.uint8)
    wanted = np.ones(batch.rows, np.uint8)
    stopped, used, count = writer.write(
        view, batch.type, batch.flags, batch.expire_at_ms, batch.hint, batch.key_start, batch.key_len,
        batch.value_start, batch.end, treatments, wanted, row, batch.rows, now_ms, options, sent,
        memoryview(buffer)[:room],
    )  # fmt: skip
    assert bytes(buffer[room:]) == b"\xaa" * 16, "it wrote behind its buffer"
    return stopped, list(commands_of(bytes(buffer[:used]))), sent[:count].tolist(), wanted.tolist()


@pytest.mark.parametrize("size", [*range(20), 100, 1_000, 1_001])
def test_the_checksum_is_that_of_every_byte_before_it(size: int) -> None:
    value = bytes(range(256)) * 4
    _, ((*_, payload),), _, _ = write(entry(b"k", value[:size]))
    assert payload[:-10] == b"\x00" + string(value[:size])
    assert payload[-8:] == crc64(payload[:-8]).to_bytes(8, "little")


def test_a_row_that_is_to_be_written_anew_stops_it() -> None:
    stopped, commands, rows, _ = write(entry(b"a"), entry(b"b"), entry(b"c"), treated={1: codes.ANEW})
    assert (stopped, [words[1] for words in commands], rows) == (1, [b"a"], [0])
    stopped, commands, _, _ = write(entry(b"a"), entry(b"b"), entry(b"c"), row=2, treated={1: codes.ANEW})
    assert (stopped, [words[1] for words in commands]) == (3, [b"c"])


def test_a_dead_row_does_not_stop_it_though_it_is_to_be_written_anew() -> None:
    dead = record(0, b"d", string(b"v"), attributes=expiry(AT))
    stopped, commands, rows, wanted = write(dead, entry(b"b"), now_ms=AT, treated={0: codes.ANEW})
    assert (stopped, len(commands), rows, wanted) == (2, 1, [1], [codes.LAPSED, 1])


def test_what_does_not_fit_waits_for_the_next_buffer() -> None:
    records = [entry(b"k%d" % number, b"v" * 300) for number in range(10)]
    row, seen = 0, []
    while row < 10:
        row, commands, rows, _ = write(*records, row=row, room=1_500)
        assert commands, "it has to go on with an empty buffer"
        seen += rows
    assert seen == list(range(10))


def test_no_more_answers_are_asked_for_than_there_is_room_for() -> None:
    options = codes.ASKING | codes.REPLACE | codes.DELETING
    stopped, commands, rows, _ = write(*(entry(b"%d" % number) for number in range(9)), answers=9, options=options)
    assert len(rows) == len(commands) <= 9
    assert rows[-1] == stopped - 1


def test_an_empty_batch_is_nothing() -> None:
    view = memoryview(b"")
    none = np.zeros(0, np.int64)
    recoder = Recoder(ItemReader(view, item_tables(REDIS_TYPES)), bytes([KEEP] * 256), 0, 0, 0)
    writer = RestoreWriter(FieldSurvey(view, 0, 0), recoder, b"\xff" * 256, b"", 0, False, 6, 80)
    small, length = np.zeros(0, np.uint8), np.zeros(0, np.uint32)
    assert writer.write(
        view, small, small, none, none, none, length, none, none, small, small, 0, 0, 0, 0, np.zeros(3, np.int32),
        bytearray(10),
    ) == (0, 0, 0)  # fmt: skip
