"""Two modes, one truth: the compiled and the interpreted core say the same of every file, bad ones first."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobbytes import Element, Raw, listpack, lzf, node_of, same, u32, ziplist
from forms import BY_NAME, FORMS, Form
from hypothesis import given, settings
from hypothesis import strategies as st
from modes.twins import OF_ENTRIES, assert_alike, decoded_alike, rooms
from rdbbytes import (
    aux,
    entry,
    expiry,
    expiry_seconds,
    freq,
    function,
    idle,
    length,
    pairs,
    rdb,
    record,
    resize,
    select,
    string,
    strings,
)

pytestmark = pytest.mark.once  # one run has both cores

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
FILES = sorted(FIXTURES.glob("*/*.rdb"))
AT = 2_000_000_000_000
TIME = AT.to_bytes(8, "little")
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"
LISTPACK = bytes.fromhex("1d000000 0600 816602 0101 f400204aa9d101000009 816702 0201 0001 ff".replace(" ", ""))
NODE = node_of((0, 0), [b"f"], same(0, 1, b"v"))
STREAM = length(1) + NODE + length(1) * 3
GROUP = string(b"g") + length(1) * 2
PENDING = length(1) + bytes(24) + length(1) + length(1) + string(b"c") + bytes(8) + length(1) + bytes(16)
PRODUCERS = length(100) * 2 + length(1) + string(b"p") + length(1) + string(b"i") + length(5) * 2 + length(0) * 2
COMPRESSED = bytes.fromhex("C305140061E00A00")

TEMPLATE = b"\xf2\x07" + strings([b"a", b"b"])

# Every shape, attribute and record once.
REDIS = rdb(
    15,
    aux(b"redis-ver", b"8.10"),
    TEMPLATE,
    function(b"#!lua name=lib\nreturn 1"),
    select(0),
    resize(20, 4),
    entry(b"k", b"v", expire_at_ms=AT),
    record(1, b"list", strings([b"a", b"b" * 70])),
    record(2, b"", strings([b"a"]), key_bytes=b"\xc1\x39\x30", attributes=idle(300)),
    record(3, b"zset", length(2) + string(b"m") + b"\x031.5" + string(b"n") + b"\xfe"),
    record(4, b"", pairs({b"f": b"1"}), key_bytes=COMPRESSED, attributes=expiry_seconds(5)),
    record(5, b"zset2", length(1) + string(b"m") + bytes(8), attributes=expiry(-1)),
    record(7, b"module", b"\x81" + bytes(8) + b"\x01\x05\x02\x06\x03abcd\x04abcdefgh\x05\x01x\x00"),
    b"\xf7\x81" + bytes(8) + b"\x02\x02\x02\x05\x00",
    record(11, b"intset", string(bytes(8))),
    record(15, b"s1", STREAM + length(1) + GROUP + PENDING),
    record(18, b"q", b"\x02\x01" + string(b"x") + b"\x02" + string(listpack(b"a", 1)), attributes=expiry(5) + freq(7)),
    record(22, b"h22", length(2) + length(AT) + string(b"f") + string(b"v") + length(0) + string(b"g") + string(b"w")),
    record(23, b"h23", string(LISTPACK)),
    record(24, b"h24", TIME + b"\x02\x01" + string(b"f") + string(b"v") + b"\x00" + string(b"g") + string(b"w")),
    record(25, b"h25", TIME + string(LISTPACK), attributes=expiry(AT) + idle(1) + META),
    record(27, b"s5", STREAM + length(0) * 5 + length(0) + PRODUCERS),
    record(28, b"array", length(2) + b"\x01\x09" + b"\x00\x03\x01z" + b"\x05\x01" + bytes(8)),
    b"\xf4\x01\x02\x03",
    record(30, b"h30", string(listpack(7, b"x", 1))),
    record(32, b"h32", b"\x07" + string(b"x") + b"\xc0\x01"),
    select(15),
    expiry(7) + aux(b"slot-info", b"1,2,3"),
    record(0, b"odd", string(b"v"), attributes=freq(3) + expiry(9)),
)  # fmt: skip
VALKEY = rdb(
    80,
    select(0),
    record(22, b"h", length(2) + string(b"f") + string(b"v") + TIME + string(b"g") + string(b"w") + b"\xff" * 8),
    b"\xf3" + string(b"j" * 40) + length(1) + length(5) * 2,
    record(22, b"h2", length(1) + string(b"f") + COMPRESSED + TIME, attributes=expiry(AT)),
    magic=b"VALKEY080",
)
SMALL = [pytest.param(REDIS, id="redis"), pytest.param(VALKEY, id="valkey")]
HOSTILE = [
    b"\x00", b"\x80\x80\0\0\0", b"\x80\xff\xff\xff\xff", b"\x81\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\x81\x10" + b"\0" * 7, b"\x81\x40" + b"\0" * 7, b"\x81\x7f" + b"\xff" * 7, b"\x81\x80" + b"\0" * 7,
    b"\x81" + b"\xff" * 8, b"\xbf", b"\xc0\x80", b"\xc3\x01\x7f\xff", b"\xc3\x05\x14\x00a\xe0\x0a\x01",
    b"\xc3\x00\x05", b"\xc3\x81" + b"\xff" * 8 + b"\x05", b"\xff", b"\xfe\x81" + b"\xff" * 8, b"\xfc" + b"\xff" * 8,
    b"\xfd" + b"\xff" * 4, b"\xfc" + b"\x00" * 7 + b"\x80", b"\xf8\x81" + b"\xff" * 8, b"\xf3\x81" + b"\xff" * 8,
]  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_real_file_is_one_to_both(path: Path) -> None:
    asked = replace(OF_ENTRIES, changes=[{}, {"ttl_offset_ms": 77, "key_prefix": b"p:"}])
    assert assert_alike(path.read_bytes(), capacity=4096, asked=asked)


@pytest.mark.parametrize("data", SMALL)
def test_every_shape_is_one_to_both_under_every_change(data: bytes) -> None:
    for capacity in (1, 3, 100):
        assert_alike(data, capacity=capacity)


@pytest.mark.parametrize("data", SMALL)
def test_a_file_cut_anywhere_fails_alike(data: bytes) -> None:
    for cut in range(len(data)):
        *_, failure, _, _ = ["", "", *assert_alike(data[:cut], asked=OF_ENTRIES)]
        assert cut < 9 or failure[0] == "TruncatedError"


@pytest.mark.parametrize("data", SMALL)
@pytest.mark.parametrize("put", HOSTILE, ids=lambda put: put.hex())
def test_a_hostile_length_anywhere_is_answered_alike(data: bytes, put: bytes) -> None:
    for place in range(9, len(data)):
        assert_alike(data[:place] + put + data[place + len(put) :], asked=OF_ENTRIES)


@pytest.mark.parametrize("seed", range(8))
def test_thousands_of_damaged_files_are_one_to_both(seed: int) -> None:
    generator = random.Random(seed)
    for _ in range(160):
        damaged = bytearray(generator.choice([REDIS, REDIS, VALKEY]))
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(9, len(damaged))
            if generator.random() < 0.5:
                damaged[place] = generator.choice(
                    [0, 1, 0x3F, 0x40, 0x80, 0x81, 0xC0, 0xC3, 0xFF, generator.randrange(256)]
                )
            else:
                put = generator.choice(HOSTILE)
                damaged[place : place + (len(put) if generator.random() < 0.5 else 0)] = put
        assert_alike(bytes(damaged))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_made_of_good_and_bad_pieces_is_one_to_both(data: st.DataObject) -> None:
    piece = st.one_of(
        st.sampled_from(HOSTILE),
        st.binary(max_size=12),
        st.sampled_from(
            [entry(b"k"), select(3), resize(1, 1), idle(4), freq(5), expiry(6), META, TEMPLATE, string(LISTPACK)]
        ),
        st.builds(
            lambda kind, key, payload: bytes([kind]) + key + payload,
            st.integers(0, 34),
            st.sampled_from([string(b"key"), b"\xc0\x05", COMPRESSED, b"\xc3\x02\x05\x00a"]),
            st.one_of(st.binary(max_size=30), st.sampled_from([strings([b"a", b"b"]), string(LISTPACK), STREAM])),
        ),
    )
    magic = data.draw(st.sampled_from([b"REDIS0015", b"REDIS0012", b"REDIS0002", b"VALKEY080"]))
    assert_alike(magic + b"".join(data.draw(st.lists(piece, max_size=8))) + b"\xff" + bytes(8))


def damages(data: bytes) -> Iterator[bytes]:
    """Each byte changed, left out, doubled, and the rest cut off."""
    for place, byte in enumerate(data):
        for put in {0, 1, 0x3F, 0x80, 0xC0, 0xF4, 0xFF, byte ^ 1}:
            yield data[:place] + bytes([put]) + data[place + 1 :]
        yield data[:place] + data[place + 1 :]
        yield data[:place] + data[place : place + 1] + data[place:]
        yield data[:place]


def resized(blob: bytes) -> bytes:
    """The same with the size that its head should tell, so that damage is seen where it is."""
    return u32(len(blob)) + blob[4:] if len(blob) > 4 else blob


def by_name(forms: Iterable[Form]) -> Any:
    return pytest.mark.parametrize("form", list(forms), ids=lambda form: form.name)


ONE_STREAM = [form for form in FORMS if form.packed and form.name[:7] != "stream-"] + [BY_NAME["stream-5"]]


@by_name(ONE_STREAM)
def test_a_value_damaged_inside_is_one_to_both(form: Form) -> None:
    insides = list(damages(form.inside))
    said = decoded_alike(form, [form.wrap(each) for each in [*insides, *map(resized, insides)]])
    assert sum(whole[0] == "FormatError" for whole, _, _ in said) > len(said) // 4


@by_name(form for form in FORMS if form.name not in ("stream-2", "stream-3", "stream-4"))
def test_a_payload_damaged_anywhere_is_one_to_both(form: Form) -> None:
    payloads = list(damages(form.payload))
    if form.packed:
        payloads += damages(form.payload.replace(string(form.inside), lzf(form.inside)))
    decoded_alike(form, payloads[::2] if len(payloads) > 2_000 else payloads)


@by_name(FORMS)
def test_a_payload_damaged_in_several_ways_is_one_to_both(form: Form) -> None:
    generator = random.Random(form.name)
    payloads = []
    for _ in range(200):
        damaged = bytearray(form.inside)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(damaged))
            put = generator.choice([*HOSTILE, generator.randbytes(1), generator.randbytes(1), generator.randbytes(2)])
            damaged[place : place + (len(put) if generator.random() < 0.8 else 0)] = put
        payloads.append(form.wrap(resized(bytes(damaged)) if form.packed else bytes(damaged)))
    decoded_alike(form, payloads)


ELEMENTS: list[Element] = [
    0, 1, 2, 3, 4, 7, 7, 300, -1, -5, 40, 1 << 41, AT, (1 << 63) - 1, -1 << 63, b"", b"a", b"b", b"f", b"7", b"1.5",
    b"-inf", b"nan", b"1e9", b"1" * 20, b"x" * 70, b"x" * 300, Raw(b"\x80"), Raw(b"\xf4" + bytes(8)), Raw(b"\xc0\x01"),
]  # fmt: skip


@by_name(form for form in ONE_STREAM if form.number not in (9, 11))
def test_a_sound_blob_of_anything_is_one_to_both(form: Form) -> None:
    generator = random.Random(form.name)
    build = ziplist if form.number in (10, 12, 13, 14) else listpack
    payloads = []
    for _ in range(400):
        elements = generator.choices(ELEMENTS, k=generator.randrange(14))
        if generator.random() < 0.5:  # mostly right, as far as a stream and a template go
            elements = [generator.choice([1, 2, 7]), 0, 1, b"f", 0, 2, 0, 1, *elements][: generator.randrange(1, 20)]
        payloads.append(form.wrap(build(*elements)))
    decoded_alike(form, payloads)


def test_lzf_is_unpacked_and_refused_alike() -> None:
    compiled, interpreted = rooms()
    generator = random.Random(5)
    for _ in range(3_000):
        packed = bytes(
            generator.choice([0, 1, 0x20, 0x40, 0xE0, generator.randrange(256)])
            for _ in range(generator.randint(0, 12))
        )
        size = generator.randrange(120)
        outs = []
        for room in (compiled, interpreted):
            out = bytearray(size)
            done = bool(room["core"].unpack_lzf(packed, out))
            outs.append((done, out if done else None))
        assert outs[0] == outs[1]


def test_hashes_and_shifts_are_the_same_numbers() -> None:
    compiled, interpreted = (room["core"] for room in rooms())
    generator = random.Random(6)
    for size in range(300):
        data, seed = generator.randbytes(size), generator.getrandbits(64)
        assert compiled.xxh64_of(data, seed) == interpreted.xxh64_of(data, seed)
        assert compiled.mixed(seed) == interpreted.mixed(seed)
        facts = (
            seed,
            generator.getrandbits(64),
            size & 255,
            size & 127,
            generator.getrandbits(62) - (1 << 61),
            size - 1,
        )
        assert tuple(map(int, compiled.digest_one(*facts))) == tuple(map(int, interpreted.digest_one(*facts)))
        at_ms, offset_ms = generator.getrandbits(64) - (1 << 63), generator.getrandbits(48) - (1 << 47)
        assert compiled.shifted(at_ms, offset_ms) == interpreted.shifted(at_ms, offset_ms)


def test_spans_are_compared_alike() -> None:
    generator = np.random.default_rng(7)
    one, other = generator.integers(0, 2, 400, np.uint8).tobytes(), generator.integers(0, 2, 400, np.uint8).tobytes()
    starts, other_starts = generator.integers(0, 390, 500), generator.integers(0, 390, 500)
    ends, other_ends = starts + generator.integers(0, 5, 500), other_starts + generator.integers(0, 5, 500)
    answers = []
    for room in rooms():
        same = np.full(500, 9, np.uint8)
        room["core"].same_spans(memoryview(one), starts, ends, memoryview(other), other_starts, other_ends, same)
        answers.append(same.tolist())
    assert answers[0] == answers[1]
    assert set(answers[0]) == {0, 1}
