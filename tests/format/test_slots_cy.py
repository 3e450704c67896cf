"""Slots of keys are those of servers: CRC16 of the key or of its hash tag, with the prefix before it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import rdb, record, select, string
from rows import only_batch

from rdbmerge.format.core import key_slots, slot_of

# Measured on servers (rdb-format.md 12).
KNOWN = {
    b"foo": 12182, b"{foo}bar": 12182, b"a{foo}b{x}": 12182, b"{a}": 15495, b"{{a}}": 10276, b"\xff\x00\xfe": 434,
    b"{}foo": 9500, b"foo{": 7673, b"x{}{a}": 15756, b"": 0, b"foo}{bar}": 5061, b"123456789": 0x31C3,
}  # fmt: skip


def crc16(data: bytes) -> int:
    """XMODEM, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def expected(key: bytes) -> int:
    """The words of the specification, one by one."""
    for opening, byte in enumerate(key):
        if byte == ord("{"):
            for closing in range(opening + 1, len(key)):
                if key[closing] == ord("}"):
                    if closing > opening + 1:
                        return crc16(key[opening + 1 : closing]) % 16384
                    break
            break
    return crc16(key) % 16384


def slots(keys: list[bytes], prefix: bytes = b"") -> list[int]:
    """As a batch has them."""
    records = [record(0, b"", string(b"v"), key_bytes=string(key)) for key in keys]
    view, batch, _ = only_batch(rdb(9, select(0), *records))
    out = np.full(len(keys), 0xFFFF, np.uint16)
    key_slots(view, batch.flags, batch.key_len, batch.value_start, batch.rows, prefix, out)
    return out.tolist()


@pytest.mark.parametrize("key", KNOWN, ids=repr)
def test_a_key_has_the_slot_that_servers_say(key: bytes) -> None:
    assert slot_of(key) == slots([key])[0] == expected(key) == KNOWN[key]


def keys_of(seed: int, count: int = 2_000) -> list[bytes]:
    generator = random.Random(seed)
    return [
        bytes(generator.choice([b"{", b"}", b"a", b"b", b"\x00", b"\xff", generator.randbytes(1)])[0]
              for _ in range(generator.choice([0, 1, 2, 3, 5, 8, 13, 70])))
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("prefix", [b"", b"p", b"{", b"}", b"{}", b"{tag}", b"a{", b"x{y", b"{{", b"}{a", b"\x00" * 70])
def test_thousands_of_keys_have_the_slots_of_their_whole_names(prefix: bytes) -> None:
    keys = keys_of(len(prefix))
    assert slots(keys, prefix) == [expected(prefix + key) for key in keys]
    assert [slot_of(prefix + key) for key in keys] == [expected(prefix + key) for key in keys]


@given(st.lists(st.text("{}ab").map(str.encode), min_size=1, max_size=5), st.text("{}a", max_size=3).map(str.encode))
def test_braces_anywhere_make_the_tags_they_make_in_servers(keys: list[bytes], prefix: bytes) -> None:
    assert slots(list(dict.fromkeys(keys)), prefix) == [expected(prefix + key) for key in dict.fromkeys(keys)]


def test_encoded_keys_are_left_to_the_caller() -> None:
    records = [record(0, b"a", string(b"v")), record(0, b"", string(b"v"), key_bytes=b"\xc0\x05")]
    view, batch, _ = only_batch(rdb(9, select(0), *records))
    out = np.full(2, 77, np.uint16)
    key_slots(view, batch.flags, batch.key_len, batch.value_start, batch.rows, b"", out)
    assert out.tolist() == [expected(b"a"), 77]


def test_no_rows_have_no_slots() -> None:
    none = np.empty(0, np.int64)
    small = np.empty(0, np.uint8)
    key_slots(memoryview(b""), small, np.empty(0, np.uint32), none, 0, b"p", np.empty(0, np.uint16))


def test_every_slot_can_be_met() -> None:
    found = {slot_of(b"%d" % number) for number in range(200_000)}
    assert found == set(range(16_384))
