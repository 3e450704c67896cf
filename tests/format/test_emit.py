"""Emitting: what is not changed comes out byte for byte, what is changed as told, and always in the measured size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdbbytes import (
    aux,
    entry,
    expiry,
    expiry_seconds,
    freq,
    idle,
    length,
    pairs,
    rdb,
    record,
    select,
    string,
    strings,
)
from rows import Found, contents, emitted, only_batch

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import read_dialect
from rdbmerge.format.emit import Change, measure, shift
from rdbmerge.format.fields import Field, latest_ms, read_fields, write_fields
from rdbmerge.format.scan import Walk
from rdbmerge.format.values import Shape

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
FILES = sorted(FIXTURES.glob("*/*.rdb"))
HOUR = 3_600_000
AT = 2_000_000_000_000
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"


def changed(*records: bytes, buffer_bytes: int = 4096, left_out: list[int] | None = None, **rules: object) -> bytes:
    """The bytes that the records come out as; they measure as they come."""
    view, batch, dialect = only_batch(rdb(13, select(0), *records))
    change = Change(dialect=dialect, **rules)  # type: ignore[arg-type]
    reasons = np.array(left_out or [0] * batch.rows, np.uint8)
    out = emitted(view, batch, change, left_out=reasons, buffer_bytes=buffer_bytes)
    assert measure(view, batch, reasons, change) == len(out)
    return out


def found(raw: bytes) -> list[tuple[bytes, Found]]:
    return [(key, entry) for (_, key), entry in contents(rdb(13, select(0), raw)).items()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_real_file_comes_out_byte_for_byte_when_nothing_changes(path: Path) -> None:
    view = memoryview(path.read_bytes())
    dialect = read_dialect(bytes(view[:9]))
    change = Change(dialect=dialect)
    for batch in Walk(view):
        if isinstance(batch, Columns):
            spans = zip(batch.entry_start[: batch.rows].tolist(), batch.end[: batch.rows].tolist(), strict=True)
            expected = b"".join(view[start:end] for start, end in spans)
            if dialect.version < 3:
                expected = expected_in_ms(view, batch)
            assert emitted(view, batch, change) == expected
            assert measure(view, batch, np.zeros(batch.rows, np.uint8), change) == len(expected)


def expected_in_ms(view: memoryview, batch: Columns) -> bytes:
    """Redis 2.4 writes seconds; they always come out as milliseconds."""
    out = b""
    for row in range(batch.rows):
        start, at_ms = int(batch.entry_start[row]), int(batch.expire_at_ms[row])
        if at_ms != codes.NO_EXPIRY:
            out, start = out + expiry(at_ms), start + 5
        out += view[start : int(batch.end[row])]
    return out


@pytest.mark.parametrize("path", [p for p in FILES if p.stem in ("all_types", "lru", "lfu", "expired", "beyond")],
                         ids=lambda path: f"{path.parent.name}-{path.stem}")  # fmt: skip
def test_a_real_file_shifted_and_prefixed_differs_in_that_alone(path: Path) -> None:
    view = memoryview(path.read_bytes())
    dialect = read_dialect(bytes(view[:9]))
    change = Change(dialect=dialect, ttl_offset_ms=3 * HOUR, key_prefix=b"p" * 70)
    for batch in Walk(view):
        if not isinstance(batch, Columns):
            continue
        out = emitted(view, batch, change, buffer_bytes=1 << 16)
        assert measure(view, batch, np.zeros(batch.rows, np.uint8), change) == len(out)
        after = contents(rdb(dialect.version, select(0), out, magic=dialect.magic))
        keys = [batch.key(view, row) for row in range(batch.rows)]
        assert [key for _, key in after] == [b"p" * 70 + key for key in keys]
        for row, now in enumerate(after.values()):
            at_ms, flags, kind = int(batch.expire_at_ms[row]), int(batch.flags[row]), dialect.types[now.type]
            assert now.type == batch.type[row]
            assert now.expire_at_ms == (None if at_ms == codes.NO_EXPIRY else at_ms + 3 * HOUR)
            assert now.idle_s == (int(batch.hint[row]) if flags & codes.HAS_IDLE else None)
            assert now.freq == (int(batch.hint[row]) if flags & codes.HAS_FREQ else None)
            start, end = int(batch.value_start[row]), int(batch.end[row])
            if kind.holds_expiry:
                then = read_fields(view, kind.shape, start, end)
                held = read_fields(memoryview(now.payload), kind.shape, 0, len(now.payload))
                assert [field.raw for field in held] == [field.raw for field in then]
                assert [field.expire_at_ms for field in held] == [
                    None if field.expire_at_ms is None else field.expire_at_ms + 3 * HOUR for field in then
                ]
            else:
                assert now.payload == view[start:end]


def test_expiries_of_both_units_are_shifted_and_come_out_in_milliseconds() -> None:
    out = changed(
        entry(b"ms", expire_at_ms=AT),
        record(0, b"s", string(b"v"), attributes=expiry_seconds(AT // 1000)),
        entry(b"never"),
        ttl_offset_ms=3 * HOUR,
    )
    assert out == entry(b"ms", expire_at_ms=AT + 3 * HOUR) + entry(b"s", expire_at_ms=AT + 3 * HOUR) + entry(b"never")
    assert changed(record(0, b"s", string(b"v"), attributes=expiry_seconds(7))) == entry(b"s", expire_at_ms=7_000)


def test_an_expiry_of_minus_one_is_left_away_since_servers_read_it_in_two_ways() -> None:
    for offset_ms in (0, HOUR, -HOUR):
        assert changed(record(0, b"k", string(b"v"), attributes=expiry(-1)), ttl_offset_ms=offset_ms) == entry(b"k")


@pytest.mark.parametrize(
    ("at_ms", "offset_ms", "expected"),
    [
        (5_000, -5_000, 1),
        (5_000, -9_000, 1),
        (5_000, -(1 << 47), 1),
        (0, 0, 1),
        (0, 5, 5),
        (-2, 0, 1),
        (-2, 10, 8),
        (-(1 << 63), 1, 1),
        (-(1 << 63), -1, 1),
        ((1 << 62) - 1, 0, (1 << 62) - 1),
        ((1 << 62) - 1, 2, 1 << 62),
        ((1 << 63) - 1, 0, 1 << 62),
        ((1 << 63) - 1, HOUR, 1 << 62),
        ((1 << 63) - 1, -HOUR, (1 << 62) - HOUR),
        (AT, 1 << 47, AT + (1 << 47)),
    ],
)
@pytest.mark.parametrize("prefix", [b"", b"p:"])
@pytest.mark.parametrize("key_bytes", [b"\x015", b"\xc0\x05"])
def test_a_shifted_expiry_stays_between_what_servers_keep(
    at_ms: int, offset_ms: int, expected: int, prefix: bytes, key_bytes: bytes
) -> None:
    one = record(0, b"", string(b"v"), attributes=expiry(at_ms), key_bytes=key_bytes)
    ((_, after),) = found(changed(one, ttl_offset_ms=offset_ms, key_prefix=prefix))
    assert after.expire_at_ms == expected == shift(at_ms, offset_ms)


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        (b"\x01k", b"k"),
        (b"\x80\0\0\0\x01k", b"k"),
        (b"\x00", b""),
        (b"\xc0\xfb", b"-5"),
        (b"\xc2\x00\x00\x00\x80", b"-2147483648"),
        (bytes.fromhex("C305140061E00A00"), b"a" * 20),
        (string(b"x" * 60), b"x" * 60),
        (string(b"x" * 16_380), b"x" * 16_380),
        (string(b"x" * 20_000), b"x" * 20_000),
    ],
    ids=lambda value: f"{value[:8]!r}",
)
@pytest.mark.parametrize("prefix", [b"p", b"p" * 64, b"p" * 16_384])
def test_a_prefix_goes_before_the_decoded_key(stored: bytes, key: bytes, prefix: bytes) -> None:
    for attributes in (b"", expiry(AT), idle(70), expiry(AT) + freq(3)):
        one = record(4, b"", pairs({b"f": b"1"}), attributes=attributes, key_bytes=stored)
        expected = record(4, prefix + key, pairs({b"f": b"1"}), attributes=attributes)
        assert changed(one, key_prefix=prefix, buffer_bytes=1 << 16) == expected
        assert changed(one, key_prefix=prefix, buffer_bytes=1) == expected


@pytest.mark.parametrize("attributes", [idle(0), idle(77), idle(1 << 40), freq(0), freq(255), META, expiry(AT) + META,
                                        expiry(AT) + idle(5) + META, freq(9) + META])  # fmt: skip
def test_hints_and_metadata_go_with_their_key(attributes: bytes) -> None:
    one = record(2, b"k", strings([b"a"]), attributes=attributes)
    assert changed(one) == one
    shifted = one.replace(expiry(AT), expiry(AT + HOUR))
    assert changed(one, ttl_offset_ms=HOUR) == shifted
    int_key = record(2, b"", strings([b"a"]), attributes=attributes, key_bytes=b"\xc0\x05")
    assert changed(int_key, key_prefix=b"p") == record(2, b"p5", strings([b"a"]), attributes=attributes)


@pytest.mark.parametrize(
    ("attributes", "tidy"),
    [
        (idle(3) + expiry(AT), expiry(AT) + idle(3)),
        (freq(3) + expiry(AT) + META, expiry(AT) + freq(3) + META),
        (expiry(5) + expiry(AT), expiry(AT)),
        (idle(3) + freq(4), freq(4)),
        (freq(4) + idle(3), idle(3)),
        (expiry(AT) + aux(b"slot-info", b"1,2,3"), expiry(AT)),
        (expiry(AT) + b"\xf4\x01\x02\x03" + idle(9), expiry(AT) + idle(9)),
        (expiry(AT) + aux(b"a", b"b") + idle(9), expiry(AT) + idle(9)),
    ],
)
def test_attributes_come_out_in_the_order_that_servers_write(attributes: bytes, tidy: bytes) -> None:
    assert changed(record(0, b"k", string(b"v"), attributes=attributes)) == record(
        0, b"k", string(b"v"), attributes=tidy
    )


@pytest.mark.parametrize(
    ("stored", "tidy"),
    [
        (b"\xf8\x40\x05", idle(5)),
        (b"\xf8\x80\0\0\0\x05", idle(5)),
        (b"\xf8\x81" + bytes(6) + b"\x50\x00", idle(0x5000)),
        (b"\xf8\x81" + b"\xff" * 8, idle(0)),
        (b"\xf8\x81\x80" + bytes(7), idle(0)),
        (idle(1 << 40), idle(1 << 40)),
        (idle(63), idle(63)),
        (idle(64), idle(64)),
    ],
)
@pytest.mark.parametrize("buffer_bytes", [16, 4096])
def test_a_hint_that_is_stored_longer_than_need_be_comes_out_short(
    stored: bytes, tidy: bytes, buffer_bytes: int
) -> None:
    """Whether the entry fits the buffer or not: the size was measured before."""
    one = record(0, b"k", string(b"v" * 30), attributes=stored)
    assert changed(one, buffer_bytes=buffer_bytes) == record(0, b"k", string(b"v" * 30), attributes=tidy)


def test_rows_that_are_left_out_leave_no_trace() -> None:
    records = [
        entry(b"a"),
        entry(b"b", expire_at_ms=AT),
        record(0, b"", string(b"v"), key_bytes=b"\xc0\x05"),
        entry(b"d"),
    ]
    assert changed(*records, left_out=[0, 1, 2, 0]) == records[0] + records[3]
    assert changed(*records, left_out=[1, 1, 0, 3], key_prefix=b"p") == entry(b"p5")
    assert changed(*records, left_out=[1, 2, 3, 1]) == b""


@pytest.mark.parametrize("buffer_bytes", [1, 2, 17, 40, 64, 300, 100_000])
@pytest.mark.parametrize("offset_ms", [0, HOUR])
@pytest.mark.parametrize("prefix", [b"", b"p:"])
def test_the_size_of_the_buffer_does_not_matter(buffer_bytes: int, offset_ms: int, prefix: bytes) -> None:
    records = [
        record(0, b"k%d" % size, string(b"x" * size), attributes=expiry(AT) if size % 2 else b"")
        for size in (0, 1, 20, 64, 255, 299, 300, 5_000, 3, 16_384)
    ]
    expected = b"".join(
        record(0, prefix + b"k%d" % size, string(b"x" * size), attributes=expiry(AT + offset_ms) if size % 2 else b"")
        for size in (0, 1, 20, 64, 255, 299, 300, 5_000, 3, 16_384)
    )
    assert changed(*records, ttl_offset_ms=offset_ms, key_prefix=prefix, buffer_bytes=buffer_bytes) == expected


def test_dead_fields_are_left_out_and_the_others_shifted() -> None:
    hash_ = record(
        22, b"h", length(2) + length(100) + string(b"f") + string(b"1") + length(900) + string(b"g") + string(b"2")
    )
    ((_, after),) = found(changed(hash_, ttl_offset_ms=50, fields_dead_before_ms=500))
    held = read_fields(memoryview(after.payload), 13, 0, len(after.payload))
    assert [field.expire_at_ms for field in held] == [950]


KEYS = st.one_of(
    st.binary(max_size=80).map(string),
    st.integers(-128, 127).map(lambda n: b"\xc0" + n.to_bytes(1, "little", signed=True)),
    st.integers(-(1 << 31), (1 << 31) - 1).map(lambda n: b"\xc2" + n.to_bytes(4, "little", signed=True)),
    st.just(bytes.fromhex("C305140061E00A00")),
)
ATTRIBUTES = st.lists(
    st.one_of(
        st.integers(-(1 << 63), (1 << 63) - 1).map(expiry),
        st.integers(0, 1 << 45).map(expiry),
        st.integers(-(1 << 31), (1 << 31) - 1).map(expiry_seconds),
        st.integers(0, 1 << 40).map(idle),
        st.integers(0, 255).map(freq),
    ),
    max_size=3,
).map(b"".join)
FIELD = st.tuples(st.integers(0, 1 << 45), st.binary(max_size=9))
VALUES = st.one_of(
    st.tuples(st.just(0), st.binary(max_size=50).map(string)),
    st.tuples(st.just(4), st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=4).map(pairs)),
    st.tuples(
        st.just(22),
        st.lists(FIELD, min_size=1, max_size=4).map(
            lambda held: length(len(held)) + b"".join(length(at) + string(name) + string(b"v") for at, name in held)
        ),
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(VALUES, KEYS, ATTRIBUTES, st.integers(0, 3)), min_size=1, max_size=12),
    st.integers(-(1 << 47), 1 << 47),
    st.binary(max_size=70),
    st.integers(1, 200),
)
def test_what_is_measured_is_what_comes(
    entries: list[tuple[tuple[int, bytes], bytes, bytes, int]], offset_ms: int, prefix: bytes, buffer_bytes: int
) -> None:
    records = [record(kind, b"", payload, attributes=head, key_bytes=key) for (kind, payload), key, head, _ in entries]
    left_out = [reason for *_, reason in entries]
    out = changed(*records, left_out=left_out, ttl_offset_ms=offset_ms, key_prefix=prefix, buffer_bytes=buffer_bytes)
    after = [item for item in Walk(memoryview(rdb(13, select(0), out))) if isinstance(item, Columns)]
    assert sum(batch.rows for batch in after) == left_out.count(0)


FIELD_TYPES = [(b"REDIS0012", number) for number in (22, 23, 24, 25)] + [(b"VALKEY080", 22)]
TIMES = st.one_of(
    st.none(),
    st.integers(1, 1 << 40),
    st.sampled_from([1, 63, 127, 128, 4_095, 4_096, 16_383, 16_384, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 33]),
    st.sampled_from([(1 << 47) - 1, 1 << 47, (1 << 48) - 2, (1 << 48) - 1]),
    st.integers(1_700_000_000_000, 1_900_000_000_000),
)


@pytest.mark.parametrize(("magic", "number"), FIELD_TYPES)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(TIMES, min_size=1, max_size=5), min_size=1, max_size=4),
    st.one_of(st.sampled_from([0, 1, -1, 3 * HOUR, -(1 << 47)]), st.integers(-(1 << 47), 1 << 47)),
    st.one_of(st.none(), TIMES),
    st.sampled_from([b"", b"p:"]),
)
def test_fields_come_out_shifted_in_every_form(
    magic: bytes, number: int, hashes: list[list[int | None]], offset_ms: int, dead_before_ms: int | None, prefix: bytes
) -> None:
    dialect = read_dialect(magic)
    shape = dialect.types[number].shape
    in_listpack = shape in (Shape.STRING, Shape.MIN_AND_STRING)
    raw = b"\x81f\x02\x81v\x02" if in_listpack else b"\x01f\x01v"
    records = [
        record(number, b"%d" % i, write_fields(shape, [Field(at_ms, raw) for at_ms in times]))
        for i, times in enumerate(hashes)
    ]
    view, batch, _ = only_batch(rdb(dialect.version, select(0), *records, magic=magic))
    change = Change(dialect=dialect, ttl_offset_ms=offset_ms, fields_dead_before_ms=dead_before_ms, key_prefix=prefix)
    expected, dead_keys = {}, []
    for i, times in enumerate(hashes):
        alive = [at for at in times if at is None or dead_before_ms is None or at >= dead_before_ms]
        dead_keys.append(not alive)
        moved = [None if at is None else max(1, min(at + offset_ms, latest_ms(shape))) for at in alive]
        if alive:
            expected[0, prefix + b"%d" % i] = moved if offset_ms or len(alive) < len(times) else times
    left_out = np.array(dead_keys, np.uint8)
    out = emitted(view, batch, change, left_out=left_out, buffer_bytes=60)
    assert measure(view, batch, left_out, change) == len(out)
    after = contents(rdb(dialect.version, select(0), out, magic=magic))
    assert {
        key: [field.expire_at_ms for field in read_fields(memoryview(one.payload), shape, 0, len(one.payload))]
        for key, one in after.items()
    } == expected
    for one in after.values():
        held = read_fields(memoryview(one.payload), shape, 0, len(one.payload))
        assert write_fields(shape, held) == one.payload  # as a server would have written it
