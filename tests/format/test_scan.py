"""The scanner finds every entry of every real file, and says clearly what is wrong with the others."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
from truth import read_truth, short

from rdbmerge.errors import FormatError, TruncatedError, UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import Templates
from rdbmerge.format.records import Aux, End, Function, HashTemplate, ModuleAux, ResizeDb
from rdbmerge.format.scan import Walk, module_name, read_template
from rdbmerge.format.values import REDIS_TYPES, VALKEY_TYPES

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
FILES = sorted(FIXTURES.glob("*/*.rdb"))


def keys_of(data: bytes) -> dict[tuple[int, bytes], tuple[int, int, int]]:
    """(db, key) -> type, expiry, flags."""
    view = memoryview(data)
    found = {}
    for item in Walk(view, columns=Columns(7)):
        if isinstance(item, Columns):
            for row in range(item.rows):
                found[item.db, item.key(view, row)] = (
                    int(item.type[row]), int(item.expire_at_ms[row]), int(item.flags[row]),
                )  # fmt: skip
    return found


def records_of(data: bytes) -> list[object]:
    return [item for item in Walk(memoryview(data)) if not isinstance(item, Columns)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_key_of_a_real_file_is_found_with_its_type_and_expiry(path: Path) -> None:
    truth = read_truth(path.with_name(path.name.replace(".rdb", ".truth.jsonl.gz")))
    types = VALKEY_TYPES if path.read_bytes().startswith(b"VALKEY") else REDIS_TYPES
    found = {
        (db, short(key)): (types[number].logical.name.lower(), None if at_ms == codes.NO_EXPIRY else at_ms)
        for (db, key), (number, at_ms, _) in keys_of(path.read_bytes()).items()
    }
    assert found == {place: (one.type, one.expire_at_ms) for place, one in truth.entries.items()}


def test_every_value_type_has_a_real_file_or_is_made_here() -> None:
    seen = {
        (path.read_bytes()[:6] == b"VALKEY", number)
        for path in FILES
        for number, _, _ in keys_of(path.read_bytes()).values()
    }
    redis = {number for valkey, number in seen if not valkey}
    # 7 needs a module; 22 and 23 were written by release candidates of 7.4 only, 30 and 32 by Redis 8.10: made below.
    assert set(REDIS_TYPES) - redis <= {7, 22, 23, 30, 32}
    assert (True, 22) in seen


SMALL = rdb(
    12,
    aux(b"redis-ver", b"7.4.1"),
    function(b"#!lua name=lib\nreturn 1"),
    select(0),
    resize(3, 1),
    entry(b"k", b"v", expire_at_ms=2_000_000_000_000),
    record(4, b"hash", pairs({b"f": b"1"})),
    record(22, b"pre-ga", length(1) + length(2_000_000_000_000) + string(b"f") + string(b"v")),
    record(7, b"module", b"\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"\x02\x05\x05\x01a\x04" + b"\0" * 8 + b"\0"),
    b"\xf7\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"\x02\x02\x02\x05\x00",
    select(3),
    record(2, b"set", strings([b"a", b"b"]), attributes=idle(77)),
    record(0, b"", string(b""), attributes=expiry(1_999_999_999_999) + freq(9)),
)


def test_records_and_entries_come_in_the_order_of_the_file() -> None:
    kinds = [type(item) for item in Walk(memoryview(SMALL))]
    assert kinds == [Aux, Function, ResizeDb, ModuleAux, Columns, Columns, End]


def test_module_data_is_named_by_its_nine_letters() -> None:
    assert module_name(0xBDE72DA2BB1EB400) == "vectorset"


@pytest.mark.parametrize("cut", range(len(SMALL)))
def test_a_file_cut_anywhere_is_said_to_be_cut(cut: int) -> None:
    with pytest.raises(TruncatedError) as caught:
        records_of(SMALL[:cut])
    assert caught.value.offset <= cut


@pytest.mark.parametrize("name", ["2.4.18/all_types", "7.4.1/all_types", "valkey-9.1.2/all_types", "8.2.3/lru"])
def test_a_real_file_cut_anywhere_near_its_ends_is_said_to_be_cut(name: str) -> None:
    whole = (FIXTURES / f"{name}.rdb").read_bytes()
    for cut in [*range(300), *range(len(whole) - 300, len(whole))]:
        with pytest.raises(TruncatedError):
            records_of(whole[:cut])


@given(st.data())
def test_damaged_bytes_give_our_errors_or_none(data: st.DataObject) -> None:
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(9, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FormatError):
        keys_of(bytes(damaged))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (b"\x00\x81" + b"\xff" * 8, "at byte 21: 18,446,744,073,709,551,615 bytes expected, 9 remain"),
        (b"\x00\x85", "at byte 12: a string cannot start with byte 0x85"),
        (b"\x00\x01kc\xc4", None),
        (b"\x01\x01k\x81" + b"\x80" + b"\0" * 7, "at byte 23: 9,223,372,036,854,775,808 bytes expected, 9 remain"),
        (b"\x0e\x01k\xbf", "at byte 14: a length cannot start with byte 0xbf"),
        (b"\x03\x01k\x01\x01m\xfd", "at byte 17: a score of a sorted set cannot start with byte 0xfd"),
        (b"\x12\x01k\x01\x03\x00", "at byte 15: a list node cannot have container 3"),
        (b"\x07\x01k\x05\x06", "at byte 15: module data cannot hold opcode 6"),
        (b"\x00\x01k\xc3\x01\x7f\xff\x00", "a compressed string claims to unpack to 16,383 bytes"),
        (b"\x1c\x01k\x01\x00\x00\x09", "at byte 17: an array cannot hold tag 9"),
        (b"\x0f\x01k\x01\x03abc", "at byte 15: a stream node's key must be 16 bytes, not 3"),
        (b"\x0f\x01k\0\0\0\0\x01\x01g\0\0\0\x01\x01c" + b"\0" * 8 + b"\x81\x10" + b"\0" * 7, "bytes expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named_with_its_place(part: bytes, message: str | None) -> None:
    with pytest.raises(FormatError) as caught:
        keys_of(rdb(14, select(0), part))
    assert message is None or message in str(caught.value)


@pytest.mark.parametrize("number", [6, 8, 29, 31, 33, 100, 241])
def test_an_unknown_value_type_is_refused_with_its_number_and_offset(number: int) -> None:
    with pytest.raises(UnsupportedError, match=rf"at byte 11: (value type|opcode) {number} is not known") as caught:
        keys_of(rdb(14, select(0), record(number, b"k", b"\0\0")))
    assert caught.value.exit_code == 13


def test_type_22_means_two_things_under_the_two_magics() -> None:
    at = 2_000_000_000_000
    redis = record(22, b"k", length(1) + length(at) + string(b"f") + string(b"v"))
    valkey = record(22, b"k", length(1) + string(b"f") + string(b"v") + at.to_bytes(8, "little"))
    assert list(keys_of(rdb(12, select(0), redis, entry(b"after")))) == [(0, b"k"), (0, b"after")]
    found = keys_of(rdb(80, select(0), valkey, entry(b"after"), magic=b"VALKEY080"))
    assert list(found) == [(0, b"k"), (0, b"after")]


def test_seconds_become_milliseconds_and_negative_expiries_are_marked() -> None:
    found = keys_of(
        rdb(
            6,
            select(0),
            record(0, b"s", string(b"v"), attributes=expiry_seconds(2_000_000_000)),
            record(0, b"minus", string(b"v"), attributes=expiry(-1)),
            record(0, b"old", string(b"v"), attributes=expiry_seconds(-5)),
        )
    )
    assert found[0, b"s"] == (0, 2_000_000_000_000, codes.EXPIRY_SECONDS)
    assert found[0, b"minus"] == (0, -1, codes.IRREGULAR)
    assert found[0, b"old"] == (0, -5_000, codes.IRREGULAR | codes.EXPIRY_SECONDS)


def test_attributes_in_an_odd_order_are_marked_and_survive_records_in_between() -> None:
    odd = expiry(5) + aux(b"slot-info", b"1,2,3")
    found = keys_of(
        rdb(
            11,
            select(0),
            record(0, b"a", string(b""), attributes=idle(3) + expiry(7)),
            odd,
            entry(b"b"),
            b"\xf4\x01\x02\x03",
            entry(b"c"),
        )
    )
    assert found[0, b"a"] == (0, 7, codes.IRREGULAR | codes.HAS_IDLE)
    assert found[0, b"b"] == (0, 5, codes.IRREGULAR)
    assert found[0, b"c"] == (0, codes.NO_EXPIRY, 0)


@pytest.mark.parametrize(
    ("number", "payload"),
    [(1, b"\0"), (2, b"\0"), (4, b"\0"), (5, b"\0"), (14, b"\0"), (18, b"\0"), (22, b"\0"),
     (10, string(bytes.fromhex("0B0000000A0000000000FF"))), (16, string(bytes.fromhex("070000000000FF"))),
     (11, string(bytes(8))), (24, bytes(8) + b"\0"), (25, bytes(8) + string(bytes.fromhex("070000000000FF"))),
     (2, b"\x80\0\0\0\0"), (4, b"\x40\0"), (24, bytes(8) + b"\x81" + bytes(8)),
     (16, b"\xc3\x08\x07\x06" + bytes.fromhex("070000000000FF")), (16, b"\x40\x07" + bytes.fromhex("070000000000FF"))],
)  # fmt: skip
def test_an_empty_collection_is_marked(number: int, payload: bytes) -> None:
    found = keys_of(rdb(12, select(0), record(number, b"k", payload), entry(b"after")))
    assert found[0, b"k"][2] == codes.EMPTY
    assert found[0, b"after"][2] == 0


@pytest.mark.parametrize("key_bytes", [b"\xc0\x05", b"\x01" + b"5", b"\x80\0\0\0\x01" + b"5"])
def test_a_key_is_its_decoded_bytes_however_it_is_stored(key_bytes: bytes) -> None:
    assert list(keys_of(rdb(9, select(0), record(0, b"", string(b"v"), key_bytes=key_bytes)))) == [(0, b"5")]


def test_a_key_of_key_metadata_of_redis_8_6_is_read() -> None:
    meta = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"
    found = keys_of(rdb(13, select(0), record(0, b"k", string(b"v"), attributes=expiry(9) + meta)))
    assert found == {(0, b"k"): (0, 9, codes.HAS_META)}


def test_the_end_tells_the_checksum_and_where_the_file_should_end() -> None:
    data = rdb(9, select(0), entry(b"k"), tail=b"garbage")
    end = records_of(data)[-1]
    assert isinstance(end, End)
    assert end.end == len(data) - len(b"garbage")
    assert records_of(rdb(3, select(0)))[-1] == End(12, None, 12)


def test_a_batch_ends_where_the_db_changes_and_when_it_spans_enough() -> None:
    data = rdb(9, *(select(i % 2) + entry(b"k%d" % i) for i in range(5)))
    batches = [(item.db, item.rows) for item in Walk(memoryview(data)) if isinstance(item, Columns)]
    assert batches == [(0, 1), (1, 1), (0, 1), (1, 1), (0, 1)]


def test_a_part_of_a_file_is_walked_to_exactly_its_end() -> None:
    view = memoryview(rdb(9, select(2), entry(b"a"), entry(b"b"), entry(b"c")))
    whole = next(item for item in Walk(view) if isinstance(item, Columns))
    start, stop = int(whole.entry_start[1]), int(whole.end[1])
    parts = [(item.db, item.key(view, 0), item.rows) for item in Walk(view, start=start, end=stop, db=2)]
    assert parts == [(2, b"b", 1)]
    with pytest.raises(TruncatedError):
        list(Walk(view, start=start, end=stop - 1, db=2))


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_empty_collection_is_marked_as_the_last_entry_of_a_part_too(number: int) -> None:
    view = memoryview(rdb(12, select(0), entry(b"a"), record(number, b"k", b"\0")))
    whole = next(item for item in Walk(view) if isinstance(item, Columns))
    start, stop = int(whole.entry_start[1]), int(whole.end[1])
    flags = [int(item.flags[0]) for item in Walk(view, start=start, end=stop)]
    assert flags == [codes.EMPTY]


TEMPLATE = b"\xf2" + length(300) + strings([b"a", b"\x00", b"long" * 30])
PACKED = record(30, b"p", string(b"any blob: it is not opened"))
FLAT = record(32, b"f", length(300) + string(b"v") + b"\xc0\x05" + bytes.fromhex("C305140061E00A00"))


def test_a_hash_template_is_told_and_hashes_that_refer_to_it_are_passed_over() -> None:
    data = rdb(15, TEMPLATE, select(0), PACKED, FLAT, entry(b"after"), checksum=0)
    (template,) = (item for item in records_of(data) if isinstance(item, HashTemplate))
    assert template == HashTemplate(300, (b"a", b"\x00", b"long" * 30), 9)
    assert list(keys_of(data)) == [(0, b"p"), (0, b"f"), (0, b"after")]
    assert read_template(memoryview(data), 9, len(data)) == (template, 9 + len(TEMPLATE))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((FLAT,), "at byte 14: hash template 300 is not in the file"),
        ((FLAT, TEMPLATE), "at byte 14: hash template 300 is not in the file"),
        ((TEMPLATE, record(32, b"f", b"\x05")), "hash template 5 is not in the file"),
        ((TEMPLATE, b"\xf2" + length(300) + strings([b"b"])), "hash template 300 stands in the file twice"),
        ((b"\xf2\x05\x81" + b"\xff" * 8,), "at byte 22: a string cannot start with byte 0xff"),
        ((b"\xf2\x05\x01\xc7",), "at byte 14: a string cannot start with byte 0xc7"),
    ],
)
def test_templates_that_do_not_fit_are_refused(parts: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        keys_of(rdb(15, select(0), *parts))
    assert message in str(caught.value)


def test_a_template_may_stand_twice_with_the_same_names() -> None:
    assert list(keys_of(rdb(15, TEMPLATE, select(0), TEMPLATE, FLAT))) == [(0, b"f")]


def test_a_part_of_a_file_needs_the_templates_that_stand_before_it() -> None:
    view = memoryview(rdb(15, TEMPLATE, select(0), entry(b"a"), FLAT))
    start, stop = 9 + len(TEMPLATE) + 2 + len(entry(b"a")), len(view) - 9
    with pytest.raises(FormatError, match="hash template 300 is not in the file"):
        list(Walk(view, start=start, end=stop))
    held = Templates()
    held.add(300, [b"a", b"\x00", b"long" * 30])
    assert [item.rows for item in Walk(view, start=start, end=stop, templates=held) if isinstance(item, Columns)] == [1]


def test_valkeys_opcode_of_that_number_is_another_one() -> None:
    with pytest.raises(
        UnsupportedError, match=r"opcode 242 is not known: an update of Valkey 9.2's forkless snapshots"
    ):
        records_of(rdb(80, TEMPLATE, magic=b"VALKEY080"))
