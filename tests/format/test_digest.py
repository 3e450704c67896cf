"""Digests of batches: of any order and form, and different as soon as one thing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blobbytes import Raw, listpack
from rdbbytes import entry, expiry, expiry_seconds, freq, idle, length, rdb, record, select, string, strings
from rows import emitted, only_batch

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import read_dialect
from rdbmerge.format.digest import Digest, Digester, Reading
from rdbmerge.format.emit import Change
from rdbmerge.format.scan import Walk
from rdbmerge.format.values import Logical

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
FILES = sorted(FIXTURES.glob("*/all_types.rdb"))
HOUR = 3_600_000
AT = 2_000_000_000_000
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"


def of_file(data: bytes | memoryview, *, left_out: list[int] | None = None, **rules: object) -> Digest:
    view = memoryview(data)
    reading = Reading(dialect=read_dialect(bytes(view[:9])), **rules)  # type: ignore[arg-type]
    walk, total = Walk(view, columns=Columns(50)), Digest()
    digester = Digester(view, reading, reading.meaning_table(), walk.templates)
    for batch in walk:
        if isinstance(batch, Columns):
            total += digester.digest(batch, np.array(left_out or [0] * batch.rows, np.uint8))
    return total


def of(*records: bytes, **rules: object) -> Digest:
    return of_file(rdb(13, select(0), *records), **rules)  # type: ignore[arg-type]


def fields_hash(*fields: tuple[bytes, int]) -> bytes:
    body = b"".join(length(at_ms) + string(name) + string(b"v") for name, at_ms in fields)
    return record(22, b"h", length(len(fields)) + body)


ENTRIES = [entry(b"a"), entry(b"b", b"w", expire_at_ms=AT), fields_hash((b"f", AT), (b"g", 0)), entry(b"5")]


def test_the_order_does_not_count() -> None:
    assert of(*ENTRIES) == of(*reversed(ENTRIES))
    assert (of(*ENTRIES).entries, of(*ENTRIES).expires) == (4, 1)


def test_sums_of_parts_join_and_part_again() -> None:
    whole = of(*ENTRIES)
    assert of(*ENTRIES[:2]) + of(*ENTRIES[2:]) == whole
    assert whole - of(*ENTRIES[:1]) == of(*ENTRIES[1:])
    assert whole - whole == Digest()
    assert len(whole.hex) == 32


@pytest.mark.parametrize(
    "other",
    [
        [entry(b"A"), *ENTRIES[1:]],
        [entry(b"a", b"V"), *ENTRIES[1:]],
        [entry(b"a", expire_at_ms=AT), *ENTRIES[1:]],
        [record(0, b"a", string(b"v"), attributes=idle(0)), *ENTRIES[1:]],
        [record(0, b"a", string(b"v"), attributes=META), *ENTRIES[1:]],
        [ENTRIES[0], entry(b"b", b"w", expire_at_ms=AT + 1), *ENTRIES[2:]],
        [*ENTRIES[:2], fields_hash((b"f", AT + 1), (b"g", 0)), ENTRIES[3]],
        [*ENTRIES[:2], fields_hash((b"f", AT), (b"g", AT)), ENTRIES[3]],
        [*ENTRIES[:2], fields_hash((b"f", AT)), ENTRIES[3]],
        [*ENTRIES, *ENTRIES],
        ENTRIES[1:],
        # Values changed places: the sum over entries must bind each value to its key.
        [entry(b"a", b"w"), entry(b"b", b"v", expire_at_ms=AT), *ENTRIES[2:]],
    ],
)
def test_every_difference_counts(other: list[bytes]) -> None:
    mine, theirs = of(*ENTRIES), of(*other)
    assert mine.a != theirs.a
    assert mine.b != theirs.b


def test_the_form_of_a_key_and_the_unit_of_an_expiry_do_not_count() -> None:
    assert of(*ENTRIES) == of(*ENTRIES[:3], record(0, b"", string(b"v"), key_bytes=b"\xc0\x05"))
    seconds = record(0, b"b", string(b"w"), attributes=expiry_seconds(AT // 1000))
    assert of(*ENTRIES) == of(ENTRIES[0], seconds, *ENTRIES[2:])
    assert of(*ENTRIES) == of(*ENTRIES[:2], fields_hash((b"g", 0), (b"f", AT)), ENTRIES[3])


def test_the_order_of_attributes_does_not_count() -> None:
    one = record(0, b"k", string(b"v"), attributes=expiry(AT) + freq(9) + META)
    other = record(0, b"k", string(b"v"), attributes=freq(9) + expiry(AT) + META)
    assert of(one) == of(other)


def test_rows_that_are_left_out_do_not_count() -> None:
    assert of(*ENTRIES, left_out=[0, 2, 1, 0]) == of(ENTRIES[0], ENTRIES[3])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("prefix", [b"", b"p:"])
def test_a_real_file_emitted_under_rules_has_the_digest_of_its_source_under_them(path: Path, prefix: bytes) -> None:
    view = memoryview(path.read_bytes())
    dialect = read_dialect(bytes(view[:9]))
    change = Change(dialect=dialect, ttl_offset_ms=3 * HOUR, key_prefix=prefix)
    out = b"".join(
        emitted(view, batch, change, buffer_bytes=1 << 16) for batch in Walk(view) if isinstance(batch, Columns)
    )
    written = rdb(dialect.version, out, magic=dialect.magic)
    assert of_file(written, key_prefix=prefix) == of_file(view, ttl_offset_ms=3 * HOUR)
    assert of_file(written, key_prefix=prefix) != of_file(view, ttl_offset_ms=3 * HOUR + 1)
    assert of_file(written, key_prefix=b"q:") != of_file(view, ttl_offset_ms=3 * HOUR)


def test_dead_fields_do_not_count_and_those_that_live_are_shifted() -> None:
    dead = fields_hash((b"f", 100), (b"g", 500), (b"i", 0))
    assert of(dead, fields_dead_before_ms=101, ttl_offset_ms=7) == of(fields_hash((b"g", 507), (b"i", 0)))


@pytest.mark.parametrize("at_ms", [1, 5, 1 << 48, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, (1 << 63) - 1])
@pytest.mark.parametrize("offset_ms", [0, 5, -5, HOUR, -HOUR])
def test_fields_with_times_near_the_ends_come_out_as_they_count(at_ms: int, offset_ms: int) -> None:
    hash_ = record(22, b"h", length(1) + string(b"f") + string(b"v") + at_ms.to_bytes(8, "little"))
    view, batch, dialect = only_batch(rdb(80, select(0), hash_, magic=b"VALKEY080"))
    out = emitted(view, batch, Change(dialect=dialect, ttl_offset_ms=offset_ms))
    written = rdb(80, select(0), out, magic=b"VALKEY080")
    assert of_file(written, as_it_stands=True) == of_file(view, ttl_offset_ms=offset_ms)


LIST = (Logical.LIST,)


def test_a_type_that_counts_by_its_meaning_may_change_its_form() -> None:
    plain, packed = record(1, b"k", strings([b"a", b"5"])), record(18, b"k", b"\x01\x02" + string(listpack(b"a", 5)))
    assert of(plain, by_meaning=LIST) == of(packed, by_meaning=LIST)
    assert of(plain) != of(packed)
    assert of(plain, by_meaning=LIST) != of(record(2, b"k", strings([b"a", b"5"])), by_meaning=[*Logical][:6])
    assert of(entry(b"k"), by_meaning=LIST) == of(entry(b"k"))
    as_set = record(2, b"k", strings([b"a", b"5"]))
    assert of(as_set, by_meaning=LIST) == of(as_set)


@pytest.mark.parametrize("attributes", [idle(5), freq(5), META, idle(5) + META])
def test_attributes_that_are_ignored_do_not_count(attributes: bytes) -> None:
    ignored = codes.HAS_IDLE | codes.HAS_FREQ | codes.HAS_META
    for rules in ({}, {"by_meaning": LIST}):
        with_them = record(1, b"k", strings([b"a"]), attributes=attributes)
        assert of(with_them, **rules) != of(record(1, b"k", strings([b"a"])), **rules)
        assert of(with_them, ignored_flags=ignored, **rules) == of(record(1, b"k", strings([b"a"])), **rules)


def test_metadata_counts_beside_a_value_that_counts_by_its_meaning() -> None:
    one = record(1, b"k", strings([b"a"]), attributes=META)
    packed = record(18, b"k", b"\x01\x02" + string(listpack(b"a")), attributes=META)
    other = record(1, b"k", strings([b"a"]), attributes=META.replace(b"\x07", b"\x08"))
    assert of(one, by_meaning=LIST) == of(packed, by_meaning=LIST)
    assert of(one, by_meaning=LIST) != of(other, by_meaning=LIST)


@pytest.mark.parametrize("attributes", [b"", META])
def test_a_value_that_counts_by_its_meaning_must_decode(attributes: bytes) -> None:
    broken = record(18, b"k", b"\x01\x02" + string(listpack(b"a", Raw(b"\xfe"))), attributes=attributes)
    assert of(broken).entries == 1
    with pytest.raises(FormatError, match="a listpack element cannot start with 0xfe"):
        of(broken, by_meaning=LIST)


def test_a_key_without_the_prefix_is_not_one_with_it() -> None:
    view, _, _ = only_batch(rdb(9, select(0), entry(b"p:k")))
    assert of_file(view, key_prefix=b"p:") == of(entry(b"k"))
    assert of(entry(b"k"), key_prefix=b"p:") != of(entry(b"k"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_prefix_that_will_be_there_counts_as_one_that_is(path: Path) -> None:
    data = path.read_bytes()
    walk, parts = Walk(memoryview(data), columns=Columns(50)), []
    change = Change(dialect=walk.dialect, key_prefix=b"p:", templates=walk.templates)
    for batch in walk:
        if isinstance(batch, Columns):
            parts += [select(batch.db), emitted(walk.view, batch, change)]
    written = of_file(rdb(walk.dialect.version, *parts, magic=data[:9]), as_it_stands=True)
    assert of_file(data, added_prefix=b"p:") == written
    assert of_file(data, added_prefix=b"q:") != written != of_file(data)
