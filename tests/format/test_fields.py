"""Hashes whose fields expire: read as the servers that wrote them say, shifted, and never made permanent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import length, string
from rows import contents
from truth import read_truth, short

from rdbmerge.errors import FormatError
from rdbmerge.format import fields, listpack
from rdbmerge.format.codes import LATEST_EXPIRY_MS, LATEST_FIELD_EXPIRY_MS
from rdbmerge.format.dialects import read_dialect
from rdbmerge.format.fields import Field, latest_ms, read_fields, rewrite, write_fields
from rdbmerge.format.strings import read_string
from rdbmerge.format.values import REDIS_TYPES, VALKEY_TYPES, Shape

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
AT = 2_000_000_000_000
SHAPES = [
    Shape.FIELDS_RELATIVE, Shape.MIN_AND_STRING, Shape.FIELDS_ABSOLUTE, Shape.STRING, Shape.FIELDS_VALKEY,
]  # fmt: skip
# What real servers dump for the hash f=1 (expires AT), g=2 (never): rdb-format.md 8.
REAL = {
    Shape.MIN_AND_STRING: "00204aa9d1010000 1d 1d000000 0600 816602 0101 f400204aa9d101000009 816702 0201 0001 ff",
    Shape.FIELDS_RELATIVE: "00204aa9d1010000 02 00 0167 c002 01 0166 c001",
    Shape.FIELDS_VALKEY: "02 0166 c001 00204aa9d1010000 0167 c002 ffffffffffffffff",
}


def raw_field(shape: int, name: bytes, value: bytes) -> bytes:
    if shape in (Shape.STRING, Shape.MIN_AND_STRING):
        parts = (bytes([0x80 | len(text)]) + text + bytes([len(text) + 1]) for text in (name, value))
        return b"".join(parts)
    return string(name) + string(value)


def named(shape: int, held: list[Field]) -> dict[bytes, int | None]:
    """Field name -> expiry."""
    found = {}
    for field in held:
        if shape in (Shape.STRING, Shape.MIN_AND_STRING):
            packed = listpack.build([field.raw])
            name = next(listpack.iter_elements(packed, offset=0))[1]
            name = str(name).encode() if isinstance(name, int) else name
        else:
            name, _ = read_string(memoryview(field.raw), 0)
        found[short(name)] = field.expire_at_ms
    return found


def read(shape: int, payload: bytes) -> list[Field]:
    return read_fields(memoryview(payload), shape, 0, len(payload))


@pytest.mark.parametrize("name", ["7.4.1", "8.0.6", "8.2.3", "unstable-2026-06", "valkey-9.1.2"])
@pytest.mark.parametrize("stem", ["all_types", "expired"])
def test_fields_of_real_hashes_expire_when_their_server_says(name: str, stem: str) -> None:
    path = FIXTURES / name / f"{stem}.rdb"
    data = path.read_bytes()
    types = read_dialect(data[:9]).types
    truth = read_truth(path.with_name(f"{stem}.truth.jsonl.gz"))
    seen = 0
    for (db, key), entry in contents(data).items():
        if types[entry.type].holds_expiry:
            held = named(types[entry.type].shape, read(types[entry.type].shape, entry.payload))
            expected = {field: at_ms for field, (_, at_ms) in truth.entries[db, short(key)].value.items()}
            # The server that gave the truth may have dropped fields that died meanwhile.
            assert expected.items() <= held.items()
            assert stem == "expired" or held == expected
            seen += len(held)
    assert seen > 2


def test_real_files_hold_every_shape_that_servers_of_today_write() -> None:
    seen = set()
    for name in ("7.4.1", "valkey-9.1.2"):
        data = (FIXTURES / name / "all_types.rdb").read_bytes()
        types = read_dialect(data[:9]).types
        seen |= {types[entry.type].shape for entry in contents(data).values() if types[entry.type].holds_expiry}
    assert seen == set(REAL)


def test_every_type_that_holds_expiries_has_a_shape_tested_here() -> None:
    rows = [*REDIS_TYPES.values(), *VALKEY_TYPES.values()]
    assert {row.shape for row in rows if row.holds_expiry} == set(SHAPES)


@pytest.mark.parametrize("shape", REAL)
def test_the_bytes_of_a_real_server_are_read_and_written_again_alike(shape: Shape) -> None:
    payload = bytes.fromhex(REAL[shape].replace(" ", ""))
    held = read(shape, payload)
    assert named(shape, held) == {b"f": AT, b"g": None}
    assert write_fields(shape, held) == payload


EXPIRIES = st.one_of(st.none(), st.integers(1, LATEST_FIELD_EXPIRY_MS))


@pytest.mark.parametrize("shape", SHAPES)
@given(st.lists(EXPIRIES, min_size=1, max_size=8), st.integers(-(1 << 47), 1 << 47), st.one_of(st.none(), EXPIRIES))
def test_a_shift_moves_what_expires_and_nothing_else(
    shape: Shape, expiries: list[int | None], offset_ms: int, dead_before_ms: int | None
) -> None:
    before = [Field(at_ms, raw_field(shape, b"f%d" % i, b"v")) for i, at_ms in enumerate(expiries)]
    payload = write_fields(shape, before)
    assert read(shape, payload) == before
    view = memoryview(b"in front" + payload + b"behind")
    end = 8 + len(payload)
    done = rewrite(view, shape, 8, end, ttl_offset_ms=offset_ms, dead_before_ms=dead_before_ms)
    alive = [
        field
        for field in before
        if field.expire_at_ms is None or dead_before_ms is None or field.expire_at_ms >= dead_before_ms
    ]
    assert done.dropped == len(before) - len(alive)
    if not alive:
        assert done.payload is None
        return
    assert done.payload is not None
    after = read(shape, done.payload)
    assert [field.raw for field in after] == [field.raw for field in alive]
    for old, new in zip(alive, after, strict=True):
        if old.expire_at_ms is None:
            assert new.expire_at_ms is None
        else:
            assert new.expire_at_ms == max(1, min(old.expire_at_ms + offset_ms, latest_ms(shape)))
    if not offset_ms and not done.dropped:
        assert done.payload == payload


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset_ms", [-AT, -AT - 1, -2 * AT, -(1 << 60), 1 << 62])
def test_a_field_never_becomes_permanent_nor_later_than_servers_take(shape: Shape, offset_ms: int) -> None:
    payload = write_fields(shape, [Field(AT, raw_field(shape, b"f", b"1")), Field(None, raw_field(shape, b"g", b"2"))])
    done = rewrite(memoryview(payload), shape, 0, len(payload), ttl_offset_ms=offset_ms, dead_before_ms=None)
    assert done.payload is not None
    first, second = read(shape, done.payload)
    assert first.expire_at_ms == (1 if offset_ms < 0 else latest_ms(shape))
    assert second.expire_at_ms is None


def test_only_valkey_keeps_fields_beyond_48_bits() -> None:
    assert {shape: latest_ms(shape) for shape in SHAPES if latest_ms(shape) != LATEST_FIELD_EXPIRY_MS} == {
        Shape.FIELDS_VALKEY: LATEST_EXPIRY_MS
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_dead_means_strictly_before_and_is_judged_before_the_shift(shape: Shape) -> None:
    payload = write_fields(shape, [Field(at, raw_field(shape, b"f%d" % at, b"v")) for at in (99, 100, 101)])
    done = rewrite(memoryview(payload), shape, 0, len(payload), ttl_offset_ms=1_000, dead_before_ms=100)
    assert done.dropped == 1
    assert done.payload is not None
    assert named(shape, read(shape, done.payload)) == {b"f100": 1_100, b"f101": 1_101}


def test_the_minimum_is_that_of_the_fields_and_zero_without_any() -> None:
    for shape in (Shape.MIN_AND_STRING, Shape.FIELDS_RELATIVE):
        held = [Field(at, raw_field(shape, b"f", b"v")) for at in (None, 500, 300)]
        assert int.from_bytes(write_fields(shape, held)[:8], "little") == 300
        assert int.from_bytes(write_fields(shape, held[:1])[:8], "little") == 0


def test_a_listpack_counts_its_elements_and_not_its_fields() -> None:
    held = [Field(None, raw_field(Shape.MIN_AND_STRING, b"f%d" % i, b"v")) for i in range(22_000)]
    few, _ = read_string(memoryview(write_fields(Shape.STRING, held[:5])), 0)
    many, _ = read_string(memoryview(write_fields(Shape.STRING, held)), 0)
    assert few[4:6] == (15).to_bytes(2, "little")
    assert many[4:6] == b"\xff\xff"
    assert len(read(Shape.STRING, write_fields(Shape.STRING, held))) == 22_000


def test_a_compressed_listpack_is_read() -> None:
    packed = listpack.build([b"\x81f\x02", b"\x81v\x02", listpack.integer_element(AT)])
    stored = b"\xc3" + length(len(packed) + 1) + length(len(packed)) + bytes([len(packed) - 1]) + packed
    assert named(Shape.STRING, read(Shape.STRING, stored)) == {b"f": AT}


@pytest.mark.parametrize(
    ("elements", "finding"),
    [
        ([b"\x81f\x02", b"\x81v\x02"], "not field, value, time"),
        ([b"\x81f\x02", b"\x81v\x02", b"\x81t\x02"], "expiry is not a number"),
    ],
)
def test_a_listpack_that_is_no_hash_is_refused_at_its_place(elements: list[bytes], finding: str) -> None:
    payload = bytes(8) + string(listpack.build(elements))
    with pytest.raises(FormatError, match=f"at byte 108: .*{finding}"):
        read_fields(memoryview(bytes(100) + payload), Shape.MIN_AND_STRING, 100, 100 + len(payload))


@given(st.binary(max_size=40))
def test_any_listpack_is_read_or_refused(body: bytes) -> None:
    packed = (7 + len(body)).to_bytes(4, "little") + b"\xff\xff" + body + b"\xff"
    try:
        held = read(Shape.STRING, string(packed))
    except FormatError:
        return
    assert all(field.expire_at_ms != 0 for field in held)
    assert fields.write_fields(Shape.STRING, held)
