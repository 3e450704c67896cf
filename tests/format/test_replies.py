"""Batches of keys asked for and answered: pages, dumps as entries that walk, and what is wrong named by its key."""

from __future__ import annotations

import numpy as np
import pytest
from rdbbytes import crc64, entry, rdb, record, select, string, strings
from rows import only_batch

from rdbmerge.errors import UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import xxh64_of
from rdbmerge.format.replies import (
    Dumps,
    GarbledError,
    Inbox,
    RefusedError,
    command,
    join_keys,
    keys_of_rows,
    scan_command,
    take_page,
    take_time_ms,
)

TIME = b"*2\r\n$10\r\n1700000000\r\n$6\r\n500999\r\n"
LATER = b"*2\r\n$10\r\n1700000001\r\n$1\r\n7\r\n"
NOW_MS = 1_700_000_000_500
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"


def dump(number: int, value: bytes, stamp: int = 10, *, before: bytes = b"") -> bytes:
    body = before + bytes((number,)) + value + stamp.to_bytes(2, "little")
    body += crc64(body).to_bytes(8, "little")
    return b"$%d\r\n%s\r\n" % (len(body), body)


def fed(*pieces: bytes) -> Inbox:
    inbox = Inbox()
    for piece in pieces:
        inbox.put(piece)
    return inbox


def answered(keys: list[bytes], said: bytes, *, absolute: bool = False) -> Dumps:
    dumps = Dumps(join_keys(keys), absolute=absolute)
    assert dumps.take(fed(TIME + said + LATER))
    return dumps


def test_an_inbox_grows_by_what_comes_and_shrinks_again() -> None:
    inbox = fed(b"x" * 5_000_000)
    assert inbox.end - inbox.start == 5_000_000
    inbox.used(4_999_999)
    assert inbox.peek(9) == b"x"
    assert len(inbox.free()) >= 1 << 16
    assert inbox.peek(9) == b"x"
    huge = fed(bytes(40 << 20))
    huge.used(40 << 20)
    assert len(huge.free()) == 1 << 20


def test_pages_are_read_once_they_are_whole() -> None:
    said = b"*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$3\r\nb\r\n\r\n"
    for cut in range(len(said)):
        inbox = fed(said[:cut])
        assert take_page(inbox) is None
        room = inbox.free()
        room[: len(said) - cut] = said[cut:]
        inbox.received(len(said) - cut)
        page = take_page(inbox)
        assert page is not None
        assert page.cursor == 17
        assert [page.keys.key(row) for row in range(len(page.keys))] == [b"a", b"b\r\n"]
        assert page.keys.hashes().tolist() == [xxh64_of(b"a"), xxh64_of(b"b\r\n")]
        assert inbox.peek(1) == b""


def test_an_empty_last_page() -> None:
    page = take_page(fed(b"*2\r\n$1\r\n0\r\n*0\r\n"))
    assert page is not None
    assert (page.cursor, len(page.keys)) == (0, 0)


def test_a_page_that_claims_a_billion_keys_takes_no_memory() -> None:
    assert take_page(fed(b"*2\r\n$1\r\n0\r\n*999999999\r\n$1\r\na\r\n")) is None


@pytest.mark.parametrize("said", [b"+OK\r\n", b"HTTP/1.1 400 Bad Request", b"*3\r\n" + b"$1\r\n0\r\n" * 20])
def test_what_is_no_page_is_said_to_be_none(said: bytes) -> None:
    with pytest.raises(GarbledError):
        take_page(fed(said))


def test_errors_are_raised_in_the_servers_words_once_they_are_whole() -> None:
    assert take_page(fed(b"-NOPERM this user")) is None
    with pytest.raises(RefusedError, match=r"^NOPERM this user has no permissions$"):
        take_page(fed(b"-NOPERM this user has no permissions\r\n"))
    with pytest.raises(RefusedError, match=r"^LOADING"):
        take_time_ms(fed(b"-LOADING wait\r\n"))


def test_time_is_read_in_milliseconds() -> None:
    assert take_time_ms(fed(TIME)) == NOW_MS
    assert take_time_ms(fed(TIME[:-1])) is None


def test_the_words_of_commands() -> None:
    assert command(b"SELECT", b"3") == b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
    assert scan_command(1 << 63, 10) == command(b"SCAN", b"9223372036854775808", b"COUNT", b"10")
    asked = bytes(Dumps(join_keys([b"a", b"bb"]), absolute=False).commands())
    assert asked == b"".join(
        command(*words)
        for words in (
            (b"TIME",), (b"DUMP", b"a"), (b"PTTL", b"a"), (b"DUMP", b"bb"), (b"PTTL", b"bb"), (b"TIME",),
        )
    )  # fmt: skip
    assert b"PEXPIRETIME" in bytes(Dumps(join_keys([b"a"]), absolute=True).commands())


def test_keys_of_rows_whatever_form_they_are_stored_in() -> None:
    records = [
        entry(b"plain", b"v"),
        record(0, b"", string(b"v"), key_bytes=b"\xc0\x05"),
        entry(b"other", b"v"),
    ]
    view, batch, _ = only_batch(rdb(9, select(0), *records))
    rows = np.array([0, 1, 2], np.intp)
    for prefix in (b"", b"p:"):
        keys = keys_of_rows(view, batch, rows, prefix)
        assert [keys.key(row) for row in range(3)] == [prefix + key for key in (b"plain", b"5", b"other")]
    few = keys_of_rows(view, batch, rows[[2, 0]])
    assert [few.key(row) for row in range(2)] == [b"other", b"plain"]
    assert few.chosen(np.array([1])).key(0) == b"plain"


def test_answers_become_batches_of_entries_with_the_rows_they_answer() -> None:
    said = dump(0, string(b"v")) + b":9\r\n" + b"$-1\r\n:-2\r\n" + dump(1, strings([b"x", b"y"])) + b":-1\r\n"
    dumps = answered([b"a", b"gone", b"list"], said)
    assert (dumps.asked_at_ms, dumps.done_at_ms) == (NOW_MS, 1_700_000_001_000)
    assert str(dumps.dialect()) == "REDIS0010"
    [(view, batch, rows)] = dumps.batches(Columns())
    assert rows.tolist() == [0, 2]
    assert [batch.key(view, row) for row in range(2)] == [b"a", b"list"]
    assert batch.expire_at_ms[:2].tolist() == [NOW_MS + 9, codes.NO_EXPIRY]
    assert batch.type[:2].tolist() == [0, 1]


def test_no_keys_and_no_answers_are_no_batches() -> None:
    assert list(answered([], b"").batches(Columns())) == []
    assert list(answered([b"a"], b"$-1\r\n:-2\r\n").batches(Columns())) == []


def test_answers_may_come_byte_by_byte() -> None:
    said = TIME + dump(0, string(b"v")) + b":9\r\n" + b"-ERR no\r\n-ERR no\r\n" + LATER
    dumps, inbox = Dumps(join_keys([b"a", b"b"]), absolute=True), Inbox()
    for place in range(len(said)):
        inbox.free()[:1] = said[place : place + 1]
        inbox.received(1)
        assert dumps.take(inbox) == (place == len(said) - 1)
    assert dumps.errors == {1: b"ERR no"}
    [(_, batch, _)] = dumps.batches(Columns())
    assert batch.expire_at_ms[0] == 9


def test_a_value_that_does_not_end_where_its_dump_does_is_named_and_the_others_are_kept() -> None:
    good = dump(0, string(b"v")) + b":-1\r\n"
    # One goes on, one is cut, one is of no type, one holds an entry of its own inside.
    bad = [dump(0, string(b"v") + b"more"), dump(0, b"\x05v"), dump(99, b"x"), dump(0, string(b"v") + entry(b"k"))]
    said = good + b"".join(one + b":-1\r\n" + good for one in bad)
    keys = [b"k%d" % number for number in range(9)]
    dumps = answered(keys, said)
    found = [(batch.key(view, row), int(asked[row])) for view, batch, asked in dumps.batches(Columns())
             for row in range(batch.rows)]  # fmt: skip
    assert found == [(keys[row], row) for row in (0, 2, 4, 6, 8)]
    assert sorted(dumps.errors) == [1, 3, 5, 7]
    assert dumps.errors[1] == dumps.errors[3] == dumps.errors[7] == b"a value that does not end where its dump does"
    assert dumps.errors[5] == b"value type 99 is not known in REDIS0010"
    assert dumps.status.tolist() == [codes.TAKEN, codes.DAMAGED] * 4 + [codes.TAKEN]


def test_damage_in_transit_is_seen_by_the_checksum() -> None:
    whole = dump(0, string(b"value"))
    dumps = answered([b"a"], whole.replace(b"value", b"valuf") + b":-1\r\n")
    assert dumps.errors == {0: b"its checksum does not fit the 17 bytes of the dump"}
    assert list(dumps.batches(Columns())) == []


def test_metadata_stays_before_the_type_and_the_expiry_before_it() -> None:
    said = dump(0, string(b"m"), 13, before=META) + b":7\r\n" + dump(0, string(b"v"), 13) + b":-1\r\n"
    dumps = answered([b"meta", b"plain"], said)
    found = {}
    for view, batch, asked in dumps.batches(Columns()):
        for row in range(batch.rows):
            found[int(asked[row])] = bytes(view[int(batch.entry_start[row]) : int(batch.end[row])])
    assert found == {
        0: b"\xfc" + (NOW_MS + 7).to_bytes(8, "little") + META + entry(b"meta", b"m"),
        1: entry(b"plain", b"v"),
    }


def test_metadata_that_does_not_end_is_damage() -> None:
    dumps = answered([b"a"], dump(0, string(b"v"), 13, before=b"\xf3\x05") + b":-1\r\n")
    assert dumps.status.tolist() == [codes.DAMAGED]
    assert b"metadata" in dumps.errors[0]


def test_dumps_of_a_version_to_come_are_refused() -> None:
    dumps = answered([b"a"], dump(0, string(b"v"), 99) + b":-1\r\n")
    with pytest.raises(UnsupportedError, match="RDB version 99"):
        dumps.dialect()


def test_valkeys_stamp_makes_its_types_its_own() -> None:
    hash_2 = b"\x01" + string(b"f") + string(b"v") + b"\xff" * 8
    dumps = answered([b"h"], dump(22, hash_2, 80) + b":-1\r\n")
    [(_, batch, _)] = dumps.batches(Columns())
    assert (str(dumps.dialect()), int(batch.type[0])) == ("VALKEY080", 22)


def test_nonsense_in_the_middle_is_shown() -> None:
    dumps = Dumps(join_keys([b"a"]), absolute=True)
    with pytest.raises(GarbledError, match="HTTP"):
        dumps.take(fed(TIME + b"HTTP/1.1"))
    with pytest.raises(RefusedError, match="NOPERM"):
        Dumps(join_keys([b"a"]), absolute=True).take(fed(b"-NOPERM time\r\n"))
