"""Commands out of rows: what servers are told, whichever way it comes about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blobbytes import lzf
from rdbbytes import entry, expiry, freq, idle, length, rdb, record, select, string, strings
from restoring import commands_of, written

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.commands import Restoration, RestoreForm
from rdbmerge.format.dump import dump, undump
from rdbmerge.format.emit import Change, Emission, Loader
from rdbmerge.format.scan import Walk
from rdbmerge.plan.fitting import loader_of
from rdbmerge.plan.profile import find_profile

AT = 2_000_000_000_000
HOUR = 3_600_000
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"
OLD = RestoreForm(absolute=False)


def file(*records: bytes, version: int = 13) -> bytes:
    return rdb(version, select(0), *records)


def test_a_key_without_expiry_is_restored_for_ever() -> None:
    (words,), rows, _ = written(file(entry(b"k", b"v")))
    assert words == [b"RESTORE", b"k", b"0", dump(0, string(b"v"))]
    assert rows == [0]


def test_an_expiry_is_an_instant_where_the_server_knows_instants() -> None:
    (words,), _, _ = written(file(entry(b"k", expire_at_ms=AT)), at_ms=AT - 5, ttl_offset_ms=HOUR)
    assert words[2] == b"%d" % (AT + HOUR)
    assert words[4:] == [b"ABSTTL"]


def test_an_expiry_is_what_is_left_of_it_elsewhere_and_never_nothing() -> None:
    for left_ms in (1, 5, HOUR):
        (words,), _, _ = written(file(entry(b"k", expire_at_ms=AT)), at_ms=AT - left_ms, form=OLD)
        assert words[2:3] == [b"%d" % left_ms]
        assert len(words) == 4


@pytest.mark.parametrize("form", [OLD, RestoreForm(absolute=True)])
@pytest.mark.parametrize("late_ms", [0, 1, HOUR])
def test_a_key_that_is_dead_by_now_is_not_sent(form: RestoreForm, late_ms: int) -> None:
    large = string(b"x" * 40_000)
    records = [entry(b"k", expire_at_ms=AT), entry(b"stays"), record(0, b"l", large, attributes=expiry(AT))]
    commands, rows, wanted = written(file(*records), at_ms=AT + late_ms, form=form)
    assert [words[1] for words in commands] == [b"stays"]
    assert (rows, wanted) == ([1], [codes.LAPSED, 1, codes.LAPSED])


def test_options_are_written_as_servers_read_them() -> None:
    records = [
        record(0, b"i", string(b"v"), attributes=expiry(AT) + idle(300)),
        record(0, b"f", string(b"v"), attributes=freq(7)),
        entry(b"n"),
    ]
    form = RestoreForm(absolute=True, replace=True, hints=True)
    commands, _, _ = written(file(*records), form=form)
    assert [words[4:] for words in commands] == [
        [b"REPLACE", b"ABSTTL", b"IDLETIME", b"300"],
        [b"REPLACE", b"FREQ", b"7"],
        [b"REPLACE"],
    ]
    commands, _, _ = written(file(*records), form=RestoreForm(absolute=False))
    assert all(len(words) == 4 for words in commands)


def test_a_server_that_knows_no_replace_is_told_to_delete_first() -> None:
    form = RestoreForm(absolute=False, replace=True, deletes=True)
    commands, rows, _ = written(file(entry(b"a"), record(0, b"b", string(b"x" * 40_000))), form=form)
    assert [words[:2] for words in commands] == [[b"DEL", b"a"], [b"RESTORE", b"a"], [b"DEL", b"b"], [b"RESTORE", b"b"]]
    assert rows == [-1, 0, -1, 1]


def test_a_server_that_a_slot_is_on_its_way_to_is_asked_each_time() -> None:
    commands, rows, _ = written(file(entry(b"a"), record(0, b"b", string(b"x" * 40_000))), asking=True)
    assert [words[0] for words in commands] == [b"ASKING", b"RESTORE"] * 2
    assert rows == [-1, 0, -1, 1]


KEYS = {
    b"plain": b"\x05plain",
    b"12": b"\xc0\x0c",
    b"-300": b"\xc1\xd4\xfe",
    b"70000": b"\xc2\x70\x11\x01\x00",
    b"-2147483648": b"\xc2\x00\x00\x00\x80",
    b"a" * 20: lzf(b"a" * 20),
    b"": b"\x00",
}


@pytest.mark.parametrize("prefix", [b"", b"p:"])
@pytest.mark.parametrize("size", [1, 40_000])
def test_keys_are_decoded_whatever_form_they_are_stored_in(prefix: bytes, size: int) -> None:
    value = string(b"v" * size)
    records = [record(0, b"", value, key_bytes=stored) for stored in KEYS.values()]
    commands, _, _ = written(file(*records), key_prefix=prefix)
    assert [words[1] for words in commands] == [prefix + key for key in KEYS]
    assert all(undump(words[3]) == (0, value) for words in commands)


def test_a_key_that_does_not_unpack_is_damage() -> None:
    with pytest.raises(FormatError, match="unpack"):
        written(file(record(0, b"", string(b"v"), key_bytes=b"\xc3\x05\x14\x00a\xe0\x0a\x01")))


@pytest.mark.parametrize("buffer_bytes", [700, 4096, 1 << 18])
def test_large_and_small_values_are_the_same_in_buffers_of_any_size(buffer_bytes: int) -> None:
    sizes = [0, 1, 63, 64, 200, 300, 5_000, 32_768, 100_000, 7, 16_400]
    records = [entry(b"%d" % size, b"v" * size) for size in sizes]
    commands, rows, _ = written(file(*records), buffer_bytes=buffer_bytes)
    assert [words[3] for words in commands] == [dump(0, string(b"v" * size)) for size in sizes]
    assert rows == list(range(len(sizes)))


def test_only_wanted_rows_are_sent() -> None:
    commands, rows, _ = written(file(entry(b"a"), entry(b"b"), entry(b"c")), wanted=[0, 1, 0])
    assert ([words[1] for words in commands], rows) == ([b"b"], [1])


def fields(at_ms: int) -> bytes:
    return (
        at_ms.to_bytes(8, "little") + b"\x02\x01" + string(b"f") + string(b"v") + b"\x00" + string(b"g") + string(b"w")
    )


def test_expiries_of_fields_are_shifted_in_what_is_sent() -> None:
    (words,), _, _ = written(file(record(24, b"h", fields(AT))), ttl_offset_ms=HOUR)
    assert undump(words[3]) == (24, fields(AT + HOUR))
    large = AT.to_bytes(8, "little") + length(1) + b"\x01" + string(b"f") + string(b"x" * 40_000)
    (words,), _, _ = written(file(record(24, b"h", large)), ttl_offset_ms=HOUR)
    assert undump(words[3]) == (24, (AT + HOUR).to_bytes(8, "little") + large[8:])


@pytest.mark.parametrize("size", [10, 50_000])
def test_values_are_written_in_the_form_that_the_target_knows(size: int) -> None:
    payload = length(1) + b"\x01" + string(b"e" * size)  # a list, one element in a node of its own
    old = Loader(line="redis", types=find_profile("redis-6.2").types)
    (words,), _, _ = written(file(record(18, b"l", payload)), loader=old)
    assert undump(words[3]) == (1, strings([b"e" * size]))


def test_valkeys_own_types_bear_its_stamp() -> None:
    payload = length(1) + string(b"f") + string(b"v") + AT.to_bytes(8, "little")
    for size in (1, 40_000):
        value = payload if size == 1 else length(1) + string(b"f") + string(b"v" * size) + AT.to_bytes(8, "little")
        data = rdb(80, select(0), record(22, b"h", value), entry(b"s"), magic=b"VALKEY080")
        (first, second), _, _ = written(data)
        assert first[3] == dump(22, value, line="valkey")
        assert second[3][-10:-8] == b"\x06\x00"


def test_redis_3_2_0_gets_the_only_stamp_that_it_takes() -> None:
    commands, _, _ = written(
        file(entry(b"k", b"v"), entry(b"l", b"v" * 40_000)), form=RestoreForm(absolute=False, stamp=7)
    )
    assert [words[3][-10:-8] for words in commands] == [b"\x07\x00"] * 2


def test_metadata_of_modules_goes_along_or_is_left_away() -> None:
    data = file(record(0, b"k", string(b"v"), attributes=META))
    (words,), _, _ = written(data)
    assert words[3][: len(META) + 3] == META + b"\x00\x01v"
    assert undump(words[3]) == (0, string(b"v"))
    (words,), _, _ = written(data, loader=loader_of(find_profile("redis-8.2")))
    assert words[3] == dump(0, string(b"v"))


def test_an_odd_order_of_attributes_does_not_matter() -> None:
    (words,), _, _ = written(file(record(0, b"k", string(b"v"), attributes=freq(3) + expiry(AT))))
    assert words[2:5] == [b"%d" % AT, dump(0, string(b"v")), b"ABSTTL"]


def test_rows_that_are_too_large_are_found_in_the_form_that_they_are_sent_in() -> None:
    records = [
        entry(b"s", b"x" * 2_000),
        record(1, b"l", strings([b"y" * 2_000])),
        record(1, b"small", strings([b"y"])),
    ]
    view = memoryview(file(*records))
    walk = Walk(view)
    (batch,) = (item for item in walk if isinstance(item, Columns))
    restoration = Restoration(Emission(view, batch, Change(dialect=walk.dialect)), RestoreForm(absolute=True))
    assert restoration.larger_than(1_000, 1_000).tolist() == [0, 1]
    assert restoration.larger_than(1_000, 3_000).tolist() == [1]
    assert restoration.larger_than(3_000, 3_000).tolist() == []


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[2] / "fixtures" / "rdb").glob("*/all_types.rdb")),
    ids=lambda p: p.parent.name,
)
def test_every_value_of_real_files_is_sent_as_it_stands(path: Path) -> None:
    view = memoryview(path.read_bytes())
    walk = Walk(view)
    for batch in walk:
        if not isinstance(batch, Columns):
            continue
        restoration = Restoration(
            Emission(view, batch, Change(dialect=walk.dialect, templates=walk.templates)), RestoreForm(absolute=True)
        )
        out = b""
        for some in restoration.batches(np.ones(batch.rows, np.uint8), lambda: 0, bytearray(4096)):
            out += b"".join(bytes(piece) for piece in some.pieces)
        for row, words in enumerate(commands_of(out)):
            assert words[1] == batch.key(view, row)
            number, value = undump(words[3])
            if int(batch.type[row]) in (30, 32):
                continue
            assert number == batch.type[row]
            assert value == view[int(batch.value_start[row]) : int(batch.end[row])]
