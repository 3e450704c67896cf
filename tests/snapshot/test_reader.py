"""`rdbmerge.open`: iterates over the entries of a file, whole and in order, and tells of damage at the end."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
from blobbytes import listpack
from rdbbytes import aux, entry, function, length, pairs, rdb, record, resize, select, string, strings
from truth import read_truth, short

import rdbmerge
from rdbmerge.errors import ChecksumError, FormatError, TruncatedError, UnsupportedError, UsageError
from rdbmerge.format.dialects import Dialect
from rdbmerge.snapshot.reader import RdbFile

LIBRARY = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)"
PARTS = (
    aux(b"redis-ver", b"7.2.6"),
    aux(b"redis-bits", b"64"),
    function(LIBRARY),
    select(0),
    resize(2, 0),
    entry(b"a", b"1"),
    record(4, b"b", pairs({b"f": b"v"})),
    select(3),
    record(1, b"c", strings([b"x", b"y"])),
)
HELD = [(0, b"a", b"1"), (0, b"b", {b"f": b"v"}), (3, b"c", [b"x", b"y"])]
TEMPLATE = b"\xf2\x05\x02\x01a\x01b"


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "it.rdb"
    path.write_bytes(data)
    return path


def told(file: RdbFile) -> list[tuple[int, bytes, Any]]:
    return [(one.db, one.key, one.value()) for one in file]


def test_a_file_is_opened_and_its_entries_come_in_order(tmp_path: Path) -> None:
    with rdbmerge.open(saved(tmp_path, rdb(11, *PARTS))) as file:
        assert told(file) == HELD


def test_a_path_may_be_text(tmp_path: Path) -> None:
    assert told(rdbmerge.open(str(saved(tmp_path, rdb(11, *PARTS))))) == HELD


def test_what_stands_before_the_keys_is_there_before_iterating(tmp_path: Path) -> None:
    with rdbmerge.open(saved(tmp_path, rdb(11, *PARTS))) as file:
        assert file.dialect == Dialect("redis", 11)
        assert file.aux == {b"redis-ver": b"7.2.6", b"redis-bits": b"64"}
        assert file.functions == {b"lib": LIBRARY}


def test_a_file_without_keys_has_its_head_too(tmp_path: Path) -> None:
    with rdbmerge.open(saved(tmp_path, rdb(11, *PARTS[:3]))) as file:
        assert (list(file), list(file.functions), len(file.aux)) == ([], [b"lib"], 2)


def test_a_file_can_be_iterated_again_and_twice_at_a_time(tmp_path: Path) -> None:
    with rdbmerge.open(saved(tmp_path, rdb(11, *PARTS))) as file:
        one, other = iter(file), iter(file)
        assert [next(one).key, next(other).key, next(one).key] == [b"a", b"a", b"b"]
        assert [each.key for each in other] == [b"b", b"c"]
        assert told(file) == told(file) == HELD


def test_entries_outlive_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, rdb(11, *PARTS, record(20, b"d", string(listpack(b"m")))))
    with rdbmerge.open(path) as file:
        entries = list(file)
        items = entries[2].iter_items()
        assert next(items) == b"x"
    del file
    path.unlink()
    gc.collect()
    assert [(one.db, one.key, one.value()) for one in entries] == [*HELD, (3, b"d", {b"m"})]
    assert list(items) == [b"y"]


def test_a_file_is_let_go_with_its_entries(tmp_path: Path) -> None:
    open_files = Path("/proc/self/fd")
    path = saved(tmp_path, rdb(11, *PARTS))
    before = len(list(open_files.iterdir())) if open_files.exists() else 0
    gc.disable()
    try:
        for _ in range(20):
            with rdbmerge.open(path) as file:
                assert told(file) == HELD
    finally:
        gc.enable()
    if before:
        assert len(list(open_files.iterdir())) <= before + 1


def test_a_closed_file_is_iterated_to_the_end_but_not_again(tmp_path: Path) -> None:
    file = rdbmerge.open(saved(tmp_path, rdb(11, *PARTS)))
    begun, fresh = iter(file), iter(file)
    next(begun)
    for _ in range(2):
        file.close()
    assert [one.key for one in begun] == [b"b", b"c"]
    assert [one.key for one in fresh] == [b"a", b"b", b"c"]
    with pytest.raises(UsageError, match=r"it\.rdb is closed"):
        list(file)


def test_numbers_are_plain_integers(tmp_path: Path) -> None:
    """Not NumPy's, which overflow and which json refuses."""
    path = saved(tmp_path, rdb(11, select(2), entry(b"k", expire_at_ms=5)))
    (one,) = rdbmerge.open(path)
    assert [type(each) for each in (one.db, one.expire_at_ms, one.offset, one.size_bytes)] == [int] * 4


def test_damage_is_told_after_the_last_entry_unless_nobody_wants_to_know(tmp_path: Path) -> None:
    data = bytearray(rdb(11, *PARTS))
    data[data.index(b"y\xff")] ^= 1
    path, found = saved(tmp_path, bytes(data)), []
    with pytest.raises(ChecksumError, match=rf"it\.rdb at byte {len(data) - 8}: the checksum in the file is") as caught:
        found.extend((one.key, one.value()) for one in rdbmerge.open(path))
    assert found[-1] == (b"c", [b"x", b"x"])
    assert caught.value.exit_code == 12
    assert len(told(rdbmerge.open(path, check=False))) == 3


@pytest.mark.parametrize("data", [rdb(11, *PARTS, checksum=0), rdb(3, select(0), entry(b"k"))])
def test_a_file_without_a_checksum_is_not_checked(tmp_path: Path, data: bytes) -> None:
    assert told(rdbmerge.open(saved(tmp_path, data)))


def test_the_checksum_of_a_file_of_many_batches_is_right(golden: Path) -> None:
    for path in sorted(golden.glob("*/*.rdb")):
        with rdbmerge.open(path) as file:
            found = {(one.db, short(one.key)): (one.type, one.expire_at_ms) for one in file}
        truth = read_truth(path.with_name(path.name.replace(".rdb", ".truth.jsonl.gz")))
        assert found == {place: (one.type, one.expire_at_ms) for place, one in truth.entries.items()}


def test_a_batch_is_handed_out_in_portions_without_a_gap(tmp_path: Path) -> None:
    """70,000 entries are two batches, each of many portions."""
    path = saved(tmp_path, rdb(9, select(0), *(entry(b"k%d" % n, b"%d" % n) for n in range(70_000)), checksum=0))
    for number, one in enumerate(rdbmerge.open(path)):
        if number % 1_000 == 0 or number > 69_990:
            assert (one.key, one.value()) == (b"k%d" % number, b"%d" % number)
    assert number == 69_999


def test_a_file_cut_anywhere_gives_what_is_whole_then_fails(tmp_path: Path) -> None:
    data = rdb(11, *PARTS)
    path = tmp_path / "it.rdb"
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        found = []
        with pytest.raises(TruncatedError, match=r"^it\.rdb at byte "):
            found.extend(told(rdbmerge.open(path)))
        assert found == HELD[: len(found)]


def test_what_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        rdbmerge.open(tmp_path / "none.rdb")
    with pytest.raises(UnsupportedError, match=r"it\.rdb at byte 0: RDB version 99"):
        rdbmerge.open(saved(tmp_path, rdb(99)))
    with pytest.raises(FormatError, match=r"it\.rdb at byte 0: not an RDB file"):
        rdbmerge.open(saved(tmp_path, b"nonsense!"))


def test_damage_inside_a_value_is_told_with_the_file_and_hurts_no_other(tmp_path: Path) -> None:
    bad = record(20, b"bad", string(listpack(b"m", count=9)))
    stream = record(15, b"bad too", length(1) + string(bytes(16)) + string(listpack(1)) + bytes(4))
    first, second, third = rdbmerge.open(saved(tmp_path, rdb(11, select(0), bad, stream, entry(b"good"))))
    for one in (first, second):
        for ask in (one.value, lambda one=one: list(one.iter_items())):
            with pytest.raises(FormatError, match=r"^it\.rdb at byte "):
                ask()
    assert third.value() == b"v"


def test_hash_templates_are_found_wherever_they_stand(tmp_path: Path) -> None:
    late = b"\xf2\x06\x01\x01c"
    data = rdb(
        15, TEMPLATE, select(0), record(30, b"p", string(listpack(5, 1, b"x"))), late,
        record(32, b"s", b"\x06\x01y"), TEMPLATE, record(32, b"t", b"\x05\x01y\x01z"),
    )  # fmt: skip
    with rdbmerge.open(saved(tmp_path, data)) as file:
        for _ in range(2):
            values = [one.value() for one in file]
            assert values == [{b"a": b"1", b"b": b"x"}, {b"c": b"y"}, {b"a": b"y", b"b": b"z"}]
        assert {one.type for one in file} == {"hash"}


@pytest.mark.parametrize(
    ("parts", "finding"),
    [
        ((record(32, b"s", b"\x05\x01y\x01z"),), "at byte 14: hash template 5 is not in the file"),
        ((TEMPLATE, TEMPLATE[:-1] + b"c"), "at byte 18: hash template 5 stands in the file twice"),
        ((TEMPLATE, TEMPLATE[:2] + b"\x01\x01a"), "at byte 18: hash template 5 stands in the file twice"),
        ((TEMPLATE, record(32, b"s", b"\x06\x01y")), "at byte 21: hash template 6 is not in the file"),
    ],
)
def test_a_file_whose_templates_do_not_fit_is_refused(tmp_path: Path, parts: tuple[bytes, ...], finding: str) -> None:
    with pytest.raises(FormatError, match=finding):
        list(rdbmerge.open(saved(tmp_path, rdb(15, select(0), *parts))))


def test_templates_of_two_files_do_not_meet(tmp_path: Path) -> None:
    other = tmp_path / "other.rdb"
    other.write_bytes(rdb(15, TEMPLATE[:-1] + b"z", select(0), record(32, b"s", b"\x05\x011\x012")))
    mine = rdbmerge.open(saved(tmp_path, rdb(15, TEMPLATE, select(0), record(32, b"s", b"\x05\x011\x012"))))
    (one,), (another,) = mine, rdbmerge.open(other)
    assert (one.value(), another.value()) == ({b"a": b"1", b"b": b"2"}, {b"a": b"1", b"z": b"2"})


def test_valkey_has_its_own_types(tmp_path: Path) -> None:
    payload = b"\x01\x01f\x01v" + (5).to_bytes(8, "little")
    (one,) = rdbmerge.open(saved(tmp_path, rdb(80, select(0), record(22, b"h", payload), magic=b"VALKEY080")))
    assert (one.encoding, one.value().expire_at_ms) == ("hash_2", {b"f": 5})


def test_reading_writes_nothing(tmp_path: Path) -> None:
    list(rdbmerge.open(saved(tmp_path, rdb(11, *PARTS))))
    assert os.listdir(tmp_path) == ["it.rdb"]  # noqa: PTH208 (all of it)
