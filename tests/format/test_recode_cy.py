"""A value in another form is the same value: measured exactly, in buffers of any size; a damaged one is refused."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobbytes import Raw, intset, listpack, lzf, ziplist
from decoded import REDIS, VALKEY, value_of
from forms import AT, FORMS, Form, held_templates, time
from hypothesis import given, settings
from hypothesis import strategies as st
from rdbbytes import length, pairs, string, strings

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import ItemReader, Recoder, Templates, survey_rows
from rdbmerge.format.decode import Values, item_failure
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.logical import Hash
from rdbmerge.format.scan import Walk
from rdbmerge.format.values import Logical, item_tables

FILES = sorted((Path(__file__).parents[2] / "fixtures" / "rdb").glob("*/*.rdb"))
NEVER_DEAD = -(1 << 62)
LATEST = codes.LATEST_FIELD_EXPIRY_MS
BUFFERS = (1, 2, 3, 7, 4096)
PLAIN = {Logical.STRING: (0,), Logical.LIST: (1,), Logical.SET: (2,), Logical.ZSET: (3, 5), Logical.HASH: (4,)}
TIMED = ((24, REDIS), (22, VALKEY))
ITEMS = [form for form in FORMS if form.dialect.types[form.number].logical <= Logical.HASH]


def recoder(
    view: memoryview, dialect: Dialect, form: int, *, held: Templates | None = None, offset_ms: int = 0,
    dead_before_ms: int = NEVER_DEAD, latest_ms: int = LATEST,
) -> Recoder:  # fmt: skip
    reader = ItemReader(view, item_tables(dialect.types), held)
    return Recoder(reader, bytes([form]) * 256, offset_ms, dead_before_ms, latest_ms)


def written(one: Recoder, number: int, start: int, end: int, size: int) -> bytes:
    """The value, a buffer of `size` bytes after the other; raises what is wrong with it."""
    out, buffer = bytearray(), memoryview(bytearray(size))
    ready = one.start(number, start, end)
    while ready and (used := one.write(buffer)) > 0:
        out += buffer[:used]
    if one.has_failed():
        raise item_failure(one.get_reader())
    return bytes(out)


def recoded(
    number: int, payload: bytes, form: int, *, dialect: Dialect = REDIS, buffers: Iterable[int] = BUFFERS, **how: Any
) -> bytes:
    """The payload of `form` that it becomes: as measured, and the same in buffers of any size."""
    view = memoryview(b"\xff" * 5 + payload + b"\xff" * 5)
    one = recoder(view, dialect, form, **how)
    place = (number, 5, 5 + len(payload))
    size = one.measure(*place)
    outs = {written(one, *place, size) for size in buffers}
    if one.has_failed():
        raise item_failure(one.get_reader())
    (out,) = outs
    assert size == one.size == len(out)
    return out


def forms_of(number: int, dialect: Dialect) -> list[tuple[int, Dialect]]:
    """The plain forms that a type can take, with the line that reads them."""
    row = dialect.types[number]
    return [(form, dialect) for form in PLAIN[row.logical]] + (list(TIMED) if row.holds_expiry else [])


def as_form(value: Any, form: int) -> Any:
    """What is left of a value in that form."""
    return dict(value) if isinstance(value, Hash) and form not in (22, 24) else value


@pytest.mark.parametrize("form", ITEMS, ids=lambda form: form.name)
def test_a_value_of_every_form_is_the_same_in_every_plain_form(form: Form) -> None:
    for plain, dialect in forms_of(form.number, form.dialect):
        out = recoded(form.number, form.payload, plain, dialect=form.dialect, held=held_templates())
        assert value_of(plain, out, dialect=dialect) == as_form(form.value, plain)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_value_of_a_real_file_is_the_same_in_every_plain_form(path: Path) -> None:
    walk = Walk(memoryview(path.read_bytes()))
    values = Values(walk.view, walk.dialect, walk.templates)
    for batch in walk:
        for row in range(batch.rows if isinstance(batch, Columns) else 0):
            number, start, end = int(batch.type[row]), int(batch.value_start[row]), int(batch.end[row])
            if walk.dialect.types[number].logical > Logical.HASH:
                continue
            value = values.value(number, start, end)
            sizes = BUFFERS if end - start < 300 else (4096, 1000)
            for plain, dialect in forms_of(number, walk.dialect):
                one = recoder(walk.view, walk.dialect, plain, held=walk.templates)
                size = one.measure(number, start, end)
                (out,) = {written(one, number, start, end, each) for each in sizes}
                assert size == len(out)
                assert value_of(plain, out, dialect=dialect) == as_form(value, plain)


EDGES = sorted({sign * (1 << bits) + step for bits in (0, 6, 7, 8, 14, 15, 16, 23, 31, 32, 62) for sign in (1, -1)
                for step in (-1, 0, 1)} | {(1 << 63) - 1, -1 << 63, 0})  # fmt: skip


def integer(number: int) -> bytes:
    """How servers store it: up to 32 bits as such, larger ones as text."""
    for opcode, size in ((b"\xc0", 1), (b"\xc1", 2), (b"\xc2", 4)):
        if -1 << 8 * size - 1 <= number < 1 << 8 * size - 1:
            return opcode + number.to_bytes(size, "little", signed=True)
    return string(b"%d" % number)


@pytest.mark.parametrize("number", EDGES)
def test_an_integer_takes_the_size_that_servers_give_it(number: int) -> None:
    for kind, blob in ((18, b"\x02" + string(listpack(number))), (14, string(ziplist(number)))):
        assert recoded(kind, b"\x01" + blob, 1) == b"\x01" + integer(number)
    assert recoded(11, string(intset(8, number)), 2) == b"\x01" + integer(number)


@pytest.mark.parametrize("text", [b"5", b"007", b"+1", b"-0", b" 1", b"1 ", b"-2147483648", b"99999999999"])
def test_text_that_looks_like_a_number_stays_text(text: bytes) -> None:
    assert recoded(20, string(listpack(text)), 2) == b"\x01" + string(text)
    assert recoded(2, strings([text]), 2) == strings([text])


@pytest.mark.parametrize("stored", [b"\xc0\x05", b"\xc1\x05\0", b"\xc2\x05\0\0\0"])
def test_a_stored_integer_becomes_the_shortest(stored: bytes) -> None:
    assert recoded(1, b"\x01" + stored, 1) == b"\x01\xc0\x05"


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 16_383, 16_384, 16_385, 70_000])
def test_a_string_of_any_length_is_stored_raw(size: int) -> None:
    text = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for stored in (string(text), b"\x81" + size.to_bytes(8, "big") + text, *([lzf(text)] if size > 20 else [])):
        assert recoded(0, stored, 0, buffers=(7, 4096, 1 << 20)) == string(text)


def test_elements_larger_than_the_buffer_are_written_in_parts() -> None:
    large, bulk = b"x" * 9_000, bytes(range(256)) * 40
    payload = length(3) + b"\x01" + string(large) + b"\x02" + string(listpack(b"a", 1)) + b"\x01" + lzf(bulk)
    out = recoded(18, payload, 1, buffers=(3, 100, 4096, 8_999, 9_000, 9_001, 9_005, 1 << 20))
    assert out == length(4) + string(large) + string(b"a") + b"\xc0\x01" + string(bulk)


def test_both_halves_of_a_compressed_pair_are_unpacked() -> None:
    payload = length(2) + lzf(b"f" * 50) + lzf(b"v" * 60) + lzf(b"g" * 40) + string(b"w")
    assert recoded(4, payload, 4) == pairs({b"f" * 50: b"v" * 60, b"g" * 40: b"w"})
    pack = lzf(listpack(*[b"f", b"v" * 100, b"g", b"w" * 100]))
    assert recoded(16, pack, 4) == pairs({b"f": b"v" * 100, b"g": b"w" * 100})


# --- scores -------------------------------------------------------------------------------------------------------

SCORES = [
    0.0, -0.0, 1.0, -1.0, 2.5, 0.1, 1 / 3, 3.141592653589793, 1e300, -1e300, 5e-324, 2.2250738585072014e-308,
    1.7976931348623157e308, 1e15, 1e16, 1e17, 123456789012345680.0, float(1 << 53), float((1 << 53) + 2),
    -float(1 << 62), 9007199254740993.0, 0.30000000000000004, 1e-7, math.inf, -math.inf,
]  # fmt: skip


def binary(score: float) -> bytes:
    return struct.pack("<d", score)


@pytest.mark.parametrize("score", SCORES)
def test_a_score_survives_both_forms_to_the_last_bit(score: float) -> None:
    text = recoded(5, b"\x01\x01m" + binary(score), 3)
    assert recoded(3, text, 5) == b"\x01\x01m" + binary(score)
    assert recoded(3, text, 3) == text
    assert recoded(5, b"\x01\x01m" + binary(score), 5) == b"\x01\x01m" + binary(score)


@given(st.floats(allow_nan=False))
def test_any_score_survives_both_forms(score: float) -> None:
    assert recoded(3, recoded(5, b"\x01\x01m" + binary(score), 3), 5) == b"\x01\x01m" + binary(score)


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (2.0, b"\x012"), (-0.0, b"\x02-0"), (math.inf, b"\xfe"), (-math.inf, b"\xff"), (1e300, b"\x061e+300"),
        (0.1, b"\x030.1"), (1e22, b"\x051e+22"),
    ],
)  # fmt: skip
def test_a_score_is_spelt_as_servers_spell_it(score: float, text: bytes) -> None:
    assert recoded(5, b"\x01\x01m" + binary(score), 3) == b"\x01\x01m" + text


@pytest.mark.parametrize("number", [0, 12, -5, 1 << 53, (1 << 53) + 1, -(1 << 62) - 1, (1 << 63) - 1])
def test_a_packed_integer_score_is_the_nearest_double(number: int) -> None:
    for kind, blob in ((12, ziplist(b"m", number)), (17, listpack(b"m", number))):
        assert recoded(kind, string(blob), 5) == b"\x01\x01m" + binary(float(number))


@pytest.mark.parametrize("text", [b"inf", b"-inf", b"+inf", b"1e300", b"-1.50", b"0.10000000000000000555111512"])
def test_a_packed_score_of_text_is_its_number(text: bytes) -> None:
    assert recoded(17, string(listpack(b"m", text)), 5) == b"\x01\x01m" + binary(float(text))


# --- fields with expiries -----------------------------------------------------------------------------------------


def absolute(*fields: tuple[bytes, int]) -> bytes:
    """Redis' type 22 (absolute times; 0: never)."""
    return length(len(fields)) + b"".join(length(at) + string(name) + string(b"v") for name, at in fields)


def relative(*fields: tuple[bytes, int]) -> bytes:
    """Type 24 as servers write it, from absolute times."""
    base = min((at for _, at in fields if at), default=0)
    body = b"".join(length(at - base + 1 if at else 0) + string(name) + string(b"v") for name, at in fields)
    return time(base) + length(len(fields)) + body


def of_valkey(*fields: tuple[bytes, int]) -> bytes:
    body = b"".join(string(name) + string(b"v") + time(at or -1) for name, at in fields)
    return length(len(fields)) + body


def packed(*fields: tuple[bytes, int]) -> bytes:
    return time(0) + string(listpack(*(part for name, at in fields for part in (name, b"v", at))))


@pytest.mark.parametrize("first", [1, AT, LATEST - (1 << 33)])
def test_relative_times_of_every_size_are_written(first: int) -> None:
    steps = [0, 1, 62, 63, 64, 16_381, 16_382, 16_383, 16_384, (1 << 32) - 2, (1 << 32) - 1, 1 << 32, (1 << 32) + 1]
    fields = [(b"%d" % step, first + step) for step in steps] + [(b"never", 0)]
    for source in (relative(*fields), packed(*fields)):
        assert recoded(24 if source == relative(*fields) else 25, source, 24) == relative(*fields)
    assert recoded(22, absolute(*fields), 24) == relative(*fields)
    assert recoded(22, of_valkey(*fields), 24, dialect=VALKEY) == relative(*fields)
    assert recoded(24, relative(*fields), 22) == of_valkey(*fields)


def test_a_hash_without_times_counts_from_nothing() -> None:
    fields = (b"f", 0), (b"g", 0)
    assert recoded(25, packed(*fields), 24) == time(0) + b"\x02\x00\x01f\x01v\x00\x01g\x01v"
    assert recoded(25, packed(*fields), 22) == of_valkey(*fields)
    assert recoded(25, packed(*fields), 4) == pairs({b"f": b"v", b"g": b"v"})


def test_times_are_shifted_whatever_the_form() -> None:
    fields, later = ((b"f", AT), (b"g", 0), (b"h", 5_000)), ((b"f", AT + 77), (b"g", 0), (b"h", 5_077))
    for number, payload in ((22, absolute(*fields)), (24, relative(*fields)), (25, packed(*fields))):
        assert recoded(number, payload, 24, offset_ms=77) == relative(*later)
        assert recoded(number, payload, 22, offset_ms=77) == of_valkey(*later)


def test_a_shift_never_makes_a_field_permanent() -> None:
    fields, moved = ((b"f", 5_000), (b"g", 5_001), (b"h", 9_000)), ((b"f", 1), (b"g", 1), (b"h", 4_000))
    assert recoded(22, absolute(*fields), 24, offset_ms=-5_000) == relative(*moved)
    assert recoded(22, absolute(*fields), 22, offset_ms=-5_000) == of_valkey(*moved)
    assert recoded(22, of_valkey((b"f", 1)), 22, offset_ms=-(1 << 47), dialect=VALKEY) == of_valkey((b"f", 1))
    zero = b"\x01\x01f\x01v" + time(0)
    assert recoded(22, zero, 22, dialect=VALKEY) == of_valkey((b"f", 1))


@pytest.mark.parametrize("latest", [LATEST, codes.LATEST_EXPIRY_MS - 1])
def test_no_time_comes_out_later_than_its_reader_takes(latest: int) -> None:
    fields = (b"f", latest), (b"g", latest - 5)
    for form, write in ((24, relative), (22, of_valkey)):
        kept = recoded(22, absolute(*fields), form, latest_ms=latest)
        assert kept == write(*fields)
        moved = recoded(22, absolute(*fields), form, latest_ms=latest, offset_ms=5)
        assert moved == write((b"f", latest), (b"g", latest))


def test_a_time_at_the_end_of_64_bits_does_not_overflow() -> None:
    last = b"\x01\x01f\x01v" + time((1 << 63) - 1)
    for offset_ms in (0, 1, 1 << 47):
        out = recoded(22, last, 22, dialect=VALKEY, latest_ms=1 << 62, offset_ms=offset_ms)
        assert out == of_valkey((b"f", 1 << 62))
    assert recoded(22, last, 24, dialect=VALKEY) == relative((b"f", LATEST))
    early = recoded(22, last, 22, dialect=VALKEY, latest_ms=1 << 62, offset_ms=-5)
    assert early == of_valkey((b"f", (1 << 62) - 5))


@pytest.mark.parametrize("form", [4, 22, 24])
def test_dead_fields_are_left_out_and_counted_for_nothing(form: int) -> None:
    payload = absolute((b"dead", AT - 1), (b"f", AT), (b"g", 0))
    write = {4: lambda *fields: pairs({name: b"v" for name, _ in fields}), 22: of_valkey, 24: relative}[form]
    assert recoded(22, payload, form, dead_before_ms=AT, offset_ms=9) == write((b"f", AT + 9), (b"g", 0))
    one = recoder(memoryview(payload), REDIS, form, dead_before_ms=AT)
    one.measure(22, 0, len(payload))
    assert (one.count, one.timed) == (2, 1)


def test_a_hash_whose_fields_are_all_dead_has_no_fields() -> None:
    payload = absolute((b"f", 5), (b"g", 6))
    assert recoded(22, payload, 4, dead_before_ms=AT) == b"\x00"
    assert recoded(22, payload, 24, dead_before_ms=AT) == time(0) + b"\x00"


def test_fields_that_lose_their_times_are_counted() -> None:
    payload = packed((b"f", AT), (b"g", 0), (b"h", AT))
    one = recoder(memoryview(payload), REDIS, 4)
    assert one.measure(25, 0, len(payload)) == len(pairs({b"f": b"v", b"g": b"v", b"h": b"v"}))
    assert (one.count, one.timed) == (3, 2)


TIMES = st.one_of(st.just(0), st.integers(1, LATEST), st.integers(AT, AT + (1 << 33)), st.integers(AT, AT + 20_000))


@settings(deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=6), st.integers(-(1 << 47), 1 << 47), st.one_of(st.none(), TIMES))
def test_any_times_come_out_as_they_must(times: list[int], offset_ms: int, dead_before_ms: int | None) -> None:
    fields = [(b"f%d" % n, at) for n, at in enumerate(times)]
    dead = NEVER_DEAD if dead_before_ms is None else dead_before_ms
    alive = [(name, at and max(1, min(at + offset_ms, LATEST))) for name, at in fields if not at or at >= dead]
    for number, payload in ((22, absolute(*fields)), (24, relative(*fields)), (25, packed(*fields))):
        for form, write in ((24, relative), (22, of_valkey)):
            out = recoded(number, payload, form, offset_ms=offset_ms, dead_before_ms=dead, buffers=(3, 4096))
            assert out == write(*alive)


# --- what is wrong ------------------------------------------------------------------------------------------------

DAMAGED = [
    (20, string(listpack(b"a", Raw(b"\xfe"))), 2, "at byte 5: a listpack element cannot start with 0xfe"),
    (13, string(ziplist(b"f")), 4, "at byte 5: a value whose elements do not come in pairs"),
    (17, string(listpack(b"m", b"x")), 3, "at byte 5: a score that is not a number"),
    (11, string(intset(2, 5, 4)), 2, "at byte 5: an intset whose numbers do not ascend"),
    (25, bytes(8) + string(listpack(b"f", b"v", b"soon")), 24, "at byte 13: a hash field whose expiry is not a time"),
    (24, time(5) + b"\x01" + length(1 << 62) + b"\x01f\x01v", 24, "at byte 14: a hash field whose expiry is not"),
    (18, b"\x01\x03\x01a", 1, "at byte 6: a list node cannot have container 3"),
    (1, b"\x02\xc3\x02\x05\x00a", 1, "a compressed string does not unpack"),
    (1, b"\x02\x01a", 1, "1 byte expected, 0 remain"),
    (1, b"\x01\x01a\x01b", 1, "at byte 8: a value whose last 2 bytes belong to nothing"),
    (30, string(listpack(5, b"v")), 4, "hash template 5 is not in the file"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "payload", "form", "finding"), DAMAGED, ids=[each[3][-30:] for each in DAMAGED])
def test_a_damaged_value_is_not_written(number: int, payload: bytes, form: int, finding: str) -> None:
    view = memoryview(b"\xff" * 5 + payload + b"\xff" * 5)
    one = recoder(view, REDIS, form)
    assert one.measure(number, 5, 5 + len(payload)) == -1
    assert one.has_failed()
    assert finding in str(item_failure(one.get_reader()))
    with pytest.raises(FormatError):
        written(one, number, 5, 5 + len(payload), 4096)


def test_a_value_after_a_damaged_one_is_written() -> None:
    """What failed once is not held against the next value."""
    view = memoryview(b"\x02\x01a" + strings([b"a"]))
    one = recoder(view, REDIS, 1)
    assert one.measure(1, 0, 3) == -1
    assert one.measure(1, 3, 6) == 3
    assert not one.has_failed()


def test_rows_are_surveyed_until_one_is_damaged() -> None:
    sound, broken = packed((b"f", AT), (b"g", 0)), packed((b"f", AT))[:-1] + b"\x00"
    view = memoryview(sound + sound + broken + sound)
    ends = np.cumsum([len(sound), len(sound), len(broken), len(sound)]).astype(np.int64)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64)
    for wanted, fine, sizes in (([0, 1, 0, 1], True, [9, 9, 9, 9]), ([1, 1, 1, 1], False, [9, 9, -1, 0])):
        got, timed = np.zeros(4, np.int64), np.zeros(4, np.int64)
        one = recoder(view, REDIS, 4)
        mask = np.array(wanted, np.uint8)
        assert survey_rows(one, np.full(4, 25, np.uint8), starts, ends, mask, 4, got, timed) == fine
        assert got.tolist() == [size if asked else 0 for size, asked in zip(sizes, wanted, strict=True)]
        assert timed.tolist() == [int(asked and size > 0) for size, asked in zip(sizes, wanted, strict=True)]
