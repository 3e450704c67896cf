"""Values are built of their items, and entries tell what a file says of a key."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from blobbytes import intset, listpack, lzf, ziplist
from decoded import value_of
from forms import AT, FORMS, TEMPLATES, double, held_templates, text_score, time
from rdbbytes import entry, expiry, expiry_seconds, freq, idle, length, pairs, rdb, record, select, string, strings
from rows import only_batch

from rdbmerge.errors import FormatError
from rdbmerge.format.core import Entries, Entry
from rdbmerge.format.decode import Values
from rdbmerge.format.logical import Hash


def entries_of(*records: bytes, version: int = 14, db: int = 0) -> list[Any]:
    held = b"".join(b"\xf2" + length(number) + strings(names) for number, names in TEMPLATES.items())
    view, batch, dialect = only_batch(rdb(version, held if version == 15 else b"", select(db), *records))
    values = Values(view, dialect, held_templates(), name="it.rdb")
    names = ("type", "flags", "expire_at_ms", "hint", "entry_start", "key_start", "value_start", "end")
    columns = [getattr(batch, name).data for name in names]
    return list(Entries(values.decoder, batch.db, *columns, batch.rows))


SETS = [
    (2, strings([b"a", b"5", b"a"])), (2, length(2) + b"\xc0\x05" + string(b"5")),
    (2, length(2) + lzf(b"x" * 30) + string(b"x" * 30)), (20, string(listpack(b"a", b"b", b"a"))),
]  # fmt: skip
ZSETS = [
    (3, length(2) + (string(b"m") + text_score(b"1")) * 2), (5, length(2) + (string(b"m") + double(1.0)) * 2),
    (12, string(ziplist(b"m", 1, b"m", 2))), (17, string(listpack(5, 1, b"5", 2))),
]  # fmt: skip
HASHES = [
    (4, length(2) + (string(b"f") + string(b"v")) * 2), (9, string(b"\x02\x01f\x01\x00v\x01f\x01\x00w\xff")),
    (13, string(ziplist(b"f", 1, b"f", 2))), (16, string(listpack(b"f", 1, b"f", 1))),
    (22, length(2) + b"\x00\x01f\x01v" * 2), (24, time(AT) + length(2) + b"\x00\x01f\x01v" * 2),
    (25, time(0) + string(listpack(b"f", 1, 0, b"f", 1, 0))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "payload", "finding"),
    [
        *((*each, "a set that holds a member twice") for each in SETS),
        *((*each, "a sorted set that holds a member twice") for each in ZSETS),
        *((*each, "a hash that holds a field twice") for each in HASHES),
    ],
)
def test_what_stands_twice_in_a_value_is_refused(number: int, payload: bytes, finding: str) -> None:
    with pytest.raises(FormatError, match=f"at byte 7: {finding}") as caught:
        value_of(number, payload)
    assert caught.value.remedy


def test_a_list_may_hold_an_element_twice() -> None:
    assert value_of(1, strings([b"a", b"a"])) == [b"a", b"a"]


@pytest.mark.parametrize("number", [3, 5])
def test_a_sorted_set_comes_out_by_score_then_member(number: int) -> None:
    members = [(b"m%d" % n, float(n // 7)) for n in range(60)] + [(b"low", -1e300), (b"", 3.0), (b"up", float("inf"))]
    for seed in range(5):
        random.Random(seed).shuffle(members)
        scored = (text_score(repr(score).encode()) if number == 3 else double(score) for _, score in members)
        payload = length(len(members)) + b"".join(
            string(member) + text for (member, _), text in zip(members, scored, strict=True)
        )
        found = [(score, member) for member, score in value_of(number, payload).items()]
        assert found == sorted((score, member) for member, score in members)


def test_members_of_one_score_come_out_in_their_own_order() -> None:
    """Servers write type 5 from the end: nothing but the members tells that they have to be turned."""
    payload = length(3) + b"".join(string(member) + double(1.0) for member in (b"c", b"b", b"a"))
    assert list(value_of(5, payload)) == [b"a", b"b", b"c"]
    payload = length(2) + string(b"b") + double(0.0) + string(b"a") + double(-0.0)
    assert list(value_of(5, payload)) == [b"a", b"b"]


def test_only_hashes_whose_fields_can_expire_say_so() -> None:
    assert type(value_of(4, pairs({b"f": b"v"}))) is dict
    assert type(value_of(25, time(0) + string(listpack(b"f", b"v", 0)))) is Hash


def test_an_entry_tells_what_the_file_says_of_its_key() -> None:
    (one,) = entries_of(record(11, b"k", string(intset(2, 5)), attributes=expiry(AT) + idle(7)), db=3)
    assert (one.db, one.key, one.type, one.encoding) == (3, b"k", "set", "set_intset")
    assert (one.expire_at_ms, one.idle_s, one.freq) == (AT, 7, None)
    assert (one.offset, one.size_bytes) == (11, 9 + 2 + 1 + 2 + 11)
    assert one.value() == {b"5"}
    assert repr(one) == "<set b'k' of db 3>"


def test_what_the_file_does_not_say_is_none() -> None:
    plain, counted, old = entries_of(
        entry(b"a"),
        record(0, b"b", b"\x01v", attributes=freq(255)),
        record(0, b"c", b"\x00", attributes=expiry_seconds(9)),
    )
    assert (plain.expire_at_ms, plain.idle_s, plain.freq) == (None, None, None)
    assert (counted.idle_s, counted.freq) == (None, 255)
    assert (old.expire_at_ms, old.value()) == (9_000, b"")


def test_a_key_is_decoded_however_it_is_stored() -> None:
    keys = [b"\xc1\x39\x30", b"\xc0\xff", string(b"raw"), lzf(b"k" * 90), b"\x00", length(300) + b"x" * 300]
    found = entries_of(*(record(0, b"", string(b"v"), key_bytes=key) for key in keys))
    assert [one.key for one in found] == [b"12345", b"-1", b"raw", b"k" * 90, b"", b"x" * 300]


def test_a_key_that_does_not_unpack_is_told_with_its_file() -> None:
    (one,) = entries_of(record(0, b"", string(b"v"), key_bytes=b"\xc3\x02\x14\x05a"))
    for ask in (lambda: one.key, lambda: repr(one)):
        with pytest.raises(FormatError, match=r"it\.rdb at byte 12: a compressed string does not unpack"):
            ask()
    assert one.value() == b"v"


@pytest.mark.parametrize("form", [form for form in FORMS if form.dialect.line == "redis"], ids=lambda form: form.name)
def test_an_entry_has_the_value_of_its_form(form: Any) -> None:
    one, after = entries_of(record(form.number, b"k", form.payload), entry(b"after"), version=15)
    assert one.value() == one.value() == form.value
    assert one.encoding == form.name.split("-")[0].replace("stream", one.encoding)
    assert one.offset + one.size_bytes == after.offset
    assert len(list(one.iter_items())) > 0


def test_entries_come_from_files_only() -> None:
    with pytest.raises(TypeError, match=r"rdbmerge\.open"):
        Entry()


def test_entries_cannot_be_changed() -> None:
    (one,) = entries_of(entry(b"k"))
    for name in ("db", "key", "expire_at_ms"):
        with pytest.raises(AttributeError):
            setattr(one, name, 1)


def test_several_values_can_be_read_item_by_item_at_a_time() -> None:
    """While others are decoded whole, too: each has a reader of its own."""
    lists = [strings([b"%d%s" % (n, c) for c in (b"a", b"b", b"c")]) for n in range(3)]
    entries = entries_of(*(record(1, b"k%d" % n, each) for n, each in enumerate(lists)))
    readers = [one.iter_items() for one in entries]
    for n, letter in enumerate((b"a", b"b", b"c")):
        assert [next(reader) for reader in readers] == [b"%d%s" % (k, letter) for k in range(3)]
        assert entries[n].value()[0] == b"%da" % n
    assert [list(reader) for reader in readers] == [[], [], []]


def test_items_before_the_damage_are_given_and_none_after_it() -> None:
    (one,) = entries_of(record(20, b"k", string(listpack(b"a", b"b", count=3))))
    items, found = one.iter_items(), []
    with pytest.raises(FormatError, match=r"it\.rdb at byte 14: a listpack that holds another number"):
        found.extend(items)
    assert list(items) == []
    with pytest.raises(FormatError):
        one.value()
    assert [next(each) for each in (one.iter_items(), one.iter_items())] == [b"a", b"a"]


def test_a_large_value_is_read_whole() -> None:
    members = [b"member:%d" % n for n in range(20_000)]
    (one,) = entries_of(record(2, b"k", strings(members)))
    assert one.value() == set(members)
    assert all(before != after for before, after in pairwise(one.iter_items()))
