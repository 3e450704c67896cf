"""Commands for many keys and their replies, cut at every byte: the same entries whatever pieces they come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import crc64, entry, record, string, strings

from rdbmerge.format import codes
from rdbmerge.format.core import read_keys, take_dumps, write_asks

HEADS = (b"*2\r\n$4\r\nDUMP\r\n", b"*2\r\n$4\r\nPTTL\r\n")


def sealed(body: bytes, stamp: int = 10) -> bytes:
    body += stamp.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def bulk(data: bytes | None) -> bytes:
    return b"$-1\r\n" if data is None else b"$%d\r\n%s\r\n" % (len(data), data)


def spans(keys: list[bytes]) -> tuple[bytes, np.ndarray, np.ndarray]:
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    return b"".join(keys), ends - np.array([len(key) for key in keys], np.int64), ends


@given(st.lists(st.binary(max_size=70), min_size=1, max_size=6))
def test_each_key_is_asked_for_with_each_head(keys: list[bytes]) -> None:
    data, starts, ends = spans(keys)
    for first, last in ((0, len(keys)), (len(keys) // 2, len(keys)), (1, 1)):
        room = bytearray(len(keys) * (sum(map(len, HEADS)) + 48) + 2 * len(data))
        size = write_asks(data, starts, ends, first, last, HEADS, room)
        assert room[:size] == b"".join(head + bulk(key) for key in keys[first:last] for head in HEADS)


def test_one_head_is_one_command_a_key() -> None:
    data, starts, ends = spans([b"a" * 12_345])
    room = bytearray(13_000)
    size = write_asks(data, starts, ends, 0, 1, HEADS[:1], room)
    assert room[:size] == HEADS[0] + bulk(b"a" * 12_345)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_keys_are_found_where_they_lie_and_nothing_before_all_are_there(keys: list[bytes]) -> None:
    said = b"++" + b"".join(map(bulk, keys)) + b"more"
    starts, ends = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    whole = len(said) - 4
    for end in range(2, len(said) + 1):
        stop = read_keys(said, 2, end, len(keys), starts, ends)
        assert stop == (whole if end >= whole else codes.INCOMPLETE)
    assert [said[a:b] for a, b in zip(starts, ends, strict=True)] == keys


@pytest.mark.parametrize("said", [b":1\r\n", b"$-1\r\n", b"$x\r\n", b"$1\n", b"$1\rx", b"$1\r\nabc", b"$" + b"9" * 19])
def test_what_is_no_key_is_garbled(said: bytes) -> None:
    assert read_keys(said, 0, len(said), 1, np.empty(1, np.int64), np.empty(1, np.int64)) == codes.GARBLED


class Taken:
    """All answers to some keys, taken in pieces."""

    def __init__(self, keys: list[bytes], said: bytes, cuts: list[int], now_ms: int = 1_000) -> None:
        data, starts, ends = spans(keys)
        count = len(keys)
        self.status = np.full(count, 99, np.uint8)
        self.entry, self.place = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.stamps = np.zeros(count, np.uint16)
        out = bytearray(len(said) + len(data) + 19 * count)
        self.row, pos, at = 0, 0, 0
        for end in [*cuts, len(said)]:
            self.row, after, at = take_dumps(
                said, pos, end, data, starts, ends, self.row, count, now_ms, out, at, self.status, self.entry,
                self.place, self.stamps,
            )  # fmt: skip
            self.garbled = after == codes.GARBLED
            if self.garbled:
                break
            pos = after
        self.pos, self.out = pos, bytes(out[:at])


KEYS = [b"a", b"gone", b"refused", b"long" * 20, b"damaged", b"meta", b"dead", b"", b"denied"]
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"
WRONG = sealed(b"\x00" + string(b"x"))[:-1] + b"\x00"
ANSWERS = [
    (bulk(sealed(b"\x00" + string(b"v"))), b":-1\r\n"),
    (bulk(None), b":-2\r\n"),
    (b"-MOVED 1 h:1\r\n", b"-MOVED 1 h:1\r\n"),
    (bulk(sealed(b"\x01" + strings([b"x"] * 300), 11)), b":5000\r\n"),
    (bulk(WRONG), b":-1\r\n"),
    (bulk(sealed(META + b"\x00" + string(b"m"))), b":7\r\n"),
    (bulk(sealed(b"\x00" + string(b"v"))), b":-2\r\n"),
    (bulk(sealed(b"\x00" + string(b"empty key"))), b":0\r\n"),
    (bulk(sealed(b"\x00" + string(b"v"))), b"-NOPERM no\r\n"),
]
SAID = b"".join(dump + life for dump, life in ANSWERS)
STATUS = [
    codes.TAKEN, codes.GONE, codes.REFUSED, codes.TAKEN, codes.DAMAGED, codes.WITH_META, codes.GONE, codes.TAKEN,
    codes.REFUSED,
]  # fmt: skip
ENTRIES = (
    entry(b"a", b"v")
    + b"\xfc" + (6_000).to_bytes(8, "little") + record(1, b"long" * 20, strings([b"x"] * 300))
    + entry(b"", b"empty key", expire_at_ms=1_000)
)  # fmt: skip


@pytest.mark.parametrize("cut", range(len(SAID)))
def test_answers_become_entries_wherever_they_are_cut(cut: int) -> None:
    taken = Taken(KEYS, SAID, [cut, min(cut + 1, len(SAID))])
    assert taken.status.tolist() == STATUS
    assert taken.out == ENTRIES
    assert taken.stamps[[0, 3]].tolist() == [10, 11]
    assert taken.pos == len(SAID)
    at = taken.entry[[0, 3, 7]].tolist()
    assert [taken.out[one:][:1] for one in at] == [b"\x00", b"\xfc", b"\xfc"]


def test_places_of_what_was_not_taken() -> None:
    taken = Taken(KEYS, SAID, [])
    said = [SAID[int(taken.place[row]) :] for row in (2, 4, 5, 8)]
    assert said[0].startswith(b"-MOVED 1")
    assert said[1].startswith(WRONG)
    assert int(taken.entry[4]) == len(WRONG)
    assert said[2].startswith(META)
    assert said[3].startswith(b"-NOPERM")


def test_exact_expiries_are_taken_as_they_are_and_none_overflows() -> None:
    dump = bulk(sealed(b"\x00" + string(b"v")))
    assert Taken([b"k"], dump + b":1700000000000\r\n", [], now_ms=0).out == entry(
        b"k", b"v", expire_at_ms=1_700_000_000_000
    )
    assert Taken([b"k"], dump + b":999999999999999999\r\n", [], now_ms=1 << 62).out == entry(
        b"k", b"v", expire_at_ms=codes.LATEST_EXPIRY_MS
    )


def test_long_keys_have_long_lengths() -> None:
    dump = bulk(sealed(b"\x00" + string(b"v"))) + b":-1\r\n"
    for size in (63, 64, 16_383, 16_384):
        assert Taken([b"k" * size], dump, []).out == entry(b"k" * size, b"v")


@pytest.mark.parametrize(
    "said",
    [b"+OK\r\n", b"*1\r\n", b"$x\r\n", b"$-1\r\n+OK\r\n", b"$-1\r\n$1\r\n", b"$-1\r\n:\r\n", b"$-1\r\n:1x", b"$1\rx"],
)  # fmt: skip
def test_what_is_no_answer_is_garbled(said: bytes) -> None:
    taken = Taken([b"k"], said, [])
    assert taken.garbled
    assert taken.row == 0


def test_a_length_beyond_all_bounds_waits_for_bytes_and_takes_no_memory() -> None:
    taken = Taken([b"k"], b"$999999999999999999\r\nabc", [])
    assert (taken.row, taken.pos, taken.garbled) == (0, 0, False)
