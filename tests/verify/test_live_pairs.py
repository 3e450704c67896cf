"""What differs between a source's entries and a server's answers, and what does not though its bytes do."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from blobbytes import listpack
from decoded import REDIS
from forms import AT, FORMS, Form, stream_of
from rdbbytes import entry, idle, pairs, record, string, strings
from verify.asked import NOW_MS, compared, said
from verify.world import field_hash

HOUR_MS = 3_600_000
LATER = NOW_MS + 50 * HOUR_MS
BLOB = next(form.inside for form in FORMS if form.name.startswith("stream"))


def test_equal_entries_agree(tmp_path: Path) -> None:
    records = [entry(b"a", b"v"), record(1, b"l", strings([b"x", b"y"])), entry(b"e", b"v", expire_at_ms=LATER),
               record(0, b"", string(b"v"), attributes=idle(7), key_bytes=b"\xc0\x05")]  # fmt: skip
    tally = compared(
        tmp_path, records, [(0, string(b"v")), (1, strings([b"x", b"y"])), (0, string(b"v"), LATER), (0, string(b"v"))]
    )
    assert said(tally) == []
    counts = tally.lines["0"]
    assert (counts.asked, counts.agreed, counts.due, counts.different, counts.missing) == (4, 4, 0, 0, 0)
    assert tally.suspects == []


ONE = [form for form in FORMS if form.dialect is REDIS and form.number not in (30, 32)]


@pytest.mark.parametrize("form", ONE, ids=lambda form: form.name)
def test_every_form_agrees_with_itself_and_not_with_another_value(form: Form, tmp_path: Path) -> None:
    records = [record(form.number, b"k", form.payload)]
    assert said(compared(tmp_path, records, [(form.number, form.payload)], version=15, stamp=15)) == []
    tally = compared(tmp_path, records, [(0, string(b"something else"))], version=15, stamp=15)
    assert [one[0] for one in said(tally)] in (["type"], ["value"])
    assert tally.lines["0"].different == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((0, string(b"12")), (0, b"\xc0\x0c")),
        ((1, strings([b"a", b"7"])), (18, b"\x01\x02" + string(listpack(b"a", 7)))),
        ((2, strings([b"1", b"2"])), (11, string(b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0"[:8] + b"\x01\0\x02\0"))),
        ((4, pairs({b"f": b"1", b"g": b"2"})), (16, string(listpack(b"g", 2, b"f", 1)))),
        ((3, b"\x01" + string(b"m") + b"\x031.5"), (5, b"\x01" + string(b"m") + struct.pack("<d", 1.5))),
    ],
    ids=["number", "list", "intset", "hash", "zset"],
)
def test_other_forms_of_one_value_agree_and_other_values_do_not(
    ours: tuple[int, bytes], theirs: tuple[int, bytes], tmp_path: Path
) -> None:
    records = [record(ours[0], b"k", ours[1])]
    assert said(compared(tmp_path, records, [theirs])) == []
    other = {0: string(b"13"), 1: strings([b"7", b"a"]), 2: strings([b"1", b"3"]), 4: pairs({b"f": b"1"}),
             3: b"\x01" + string(b"m") + b"\x031.6"}[ours[0]]  # fmt: skip
    [difference] = said(compared(tmp_path, records, [(ours[0], other)]))
    assert difference[0] in ("value", "field")
    assert b"13" not in str(difference).encode()  # values are not shown


def test_types_expiries_and_values_are_told_one_by_one_and_a_key_counts_once(tmp_path: Path) -> None:
    records = [entry(b"t", b"v"), entry(b"e", b"v", expire_at_ms=LATER), entry(b"n", b"v"), entry(b"b", b"v")]
    tally = compared(
        tmp_path, records, [(1, strings([b"v"])), (0, string(b"v")), (0, string(b"v"), LATER), (0, string(b"w"), LATER)]
    )
    assert [one[:2] for one in said(tally)] == [
        ("expiry", b"e"), ("expiry", b"n"), ("expiry", b"b"), ("type", b"t"), ("value", b"b"),
    ]  # fmt: skip
    assert ("string", "list") in [one[2:] for one in said(tally)]
    assert (tally.lines["0"].different, tally.total, len(tally.suspects)) == (4, 5, 4)


def test_rules_move_expiries_and_prefix_keys(tmp_path: Path) -> None:
    records = [entry(b"k", b"v", expire_at_ms=LATER), record(4, b"h", pairs({b"f": b"v"}))]
    answers = [(0, string(b"v"), LATER + HOUR_MS), (16, string(listpack(b"f", b"v")))]
    rules = {"ttl_offset_ms": HOUR_MS, "key_prefix": b"p:"}
    assert said(compared(tmp_path, records, answers, **rules)) == []
    assert [one[:2] for one in said(compared(tmp_path, records, answers, key_prefix=b"p:"))] == [("expiry", b"p:k")]


@pytest.mark.parametrize(
    ("late_ms", "took_ms", "tolerance_ms", "differs"),
    [(0, 0, 0, False), (1, 0, 0, True), (1, 0, 1, False), (-1, 0, 0, True), (-1, 1, 0, False), (-5, 1, 4, False),
     (-6, 1, 4, True), (2, 1, 1, True)],
)  # fmt: skip
def test_a_remaining_life_may_be_read_as_late_as_the_last_look_at_the_clock(
    late_ms: int, took_ms: int, tolerance_ms: int, differs: bool, tmp_path: Path
) -> None:
    """The server read PTTL at any moment of the answer; what it then seems to be is early by that."""
    records = [entry(b"k", b"v", expire_at_ms=LATER)]
    answers = [(0, string(b"v"), LATER + late_ms - NOW_MS)]
    tally = compared(tmp_path, records, answers, absolute=False, took_ms=took_ms, tolerance_ms=tolerance_ms)
    assert bool(said(tally)) == differs


def test_what_is_gone_is_missing_unless_its_time_has_come(tmp_path: Path) -> None:
    times = [None, LATER, NOW_MS + 1, NOW_MS, NOW_MS - 1]
    records = [entry(b"%d" % one, b"v", expire_at_ms=at) for one, at in enumerate(times)]
    tally = compared(tmp_path, records, [None] * 5)
    assert [(one[0], one[1]) for one in said(tally)] == [("missing", b"0"), ("missing", b"1"), ("missing", b"2")]
    counts = tally.lines["0"]
    assert (counts.missing, counts.expired_since, counts.due, counts.agreed) == (3, 2, 2, 0)
    near = compared(tmp_path, records, [None] * 5, tolerance_ms=1)
    assert (near.lines["0"].missing, near.lines["0"].expired_since) == (2, 3)
    still_there = compared(tmp_path, records[3:], [(0, string(b"v"), NOW_MS), (0, string(b"v"), NOW_MS - 1)])
    assert (still_there.lines["0"].due, still_there.lines["0"].agreed) == (2, 2)


def test_fields_whose_time_has_come_count_on_neither_side(tmp_path: Path) -> None:
    dying, living = NOW_MS - 5, NOW_MS + HOUR_MS
    ours = field_hash((b"dead", b"1", dying), (b"live", b"2", living), (b"ever", b"3", None))
    without = field_hash((b"live", b"2", living), (b"ever", b"3", None))
    for theirs in (ours, without):
        assert said(compared(tmp_path, [record(24, b"h", ours)], [(24, theirs)])) == []
    later = field_hash((b"live", b"2", living + 9), (b"ever", b"3", None))
    [difference] = said(compared(tmp_path, [record(24, b"h", ours)], [(24, later)]))
    assert difference[0] == "field"
    assert said(compared(tmp_path, [record(24, b"h", ours)], [(24, later)], tolerance_ms=9)) == []
    assert said(compared(tmp_path, [record(24, b"h", ours)], [(24, later)], tolerance_ms=8)) != []
    moved = field_hash((b"dead", b"1", dying + HOUR_MS), (b"live", b"2", living + HOUR_MS), (b"ever", b"3", None))
    assert said(compared(tmp_path, [record(24, b"h", ours)], [(24, moved)], ttl_offset_ms=HOUR_MS)) == []


def test_a_hash_whose_fields_are_all_dead_is_explained_and_one_with_a_live_field_is_not(tmp_path: Path) -> None:
    dead = record(24, b"dead", field_hash((b"a", b"1", NOW_MS - 9), (b"b", b"2", NOW_MS)))
    lives = record(24, b"lives", field_hash((b"a", b"1", NOW_MS - 9), (b"b", b"2", None)))
    tally = compared(tmp_path, [dead, lives], [None, None])
    assert [one[:2] for one in said(tally)] == [("missing", b"lives")]
    assert (tally.lines["0"].expired_since, tally.lines["0"].due) == (1, 1)


@pytest.mark.parametrize(("one", "two"), [(1, 2), (1, 3), (2, 3), (3, 5), (5, 1)])
def test_streams_agree_in_what_both_forms_can_hold(one: int, two: int, tmp_path: Path) -> None:
    numbers = {1: 15, 2: 19, 3: 21, 4: 26, 5: 27}
    blob = _stream_blob()
    records = [record(numbers[one], b"s", stream_of(one, blob)), record(numbers[one], b"t", stream_of(one, blob))]
    changed = stream_of(two, blob).replace(b"readers", b"writers")
    tally = compared(
        tmp_path, records, [(numbers[two], stream_of(two, blob)), (numbers[two], changed)], version=15, stamp=15
    )
    keys = [key for _, key, _, _ in said(tally)]
    assert b"t" in keys
    if 5 not in (one, two):  # its entries that nobody owns have an owner in the others
        assert keys == [b"t"]


def _stream_blob() -> bytes:
    return next(form.inside for form in FORMS if form.number == 15)


def test_modules_and_arrays_count_by_their_bytes(tmp_path: Path) -> None:
    array = b"\x01\x00\x05\x00\x01a"
    assert said(compared(tmp_path, [record(28, b"a", array)], [(28, array)], version=14, stamp=14)) == []
    other = b"\x01\x00\x05\x00\x01b"
    [difference] = said(compared(tmp_path, [record(28, b"a", array)], [(28, other)], version=14, stamp=14))
    assert difference == ("value", b"a", "6 bytes", "6 bytes")


def test_answers_that_are_damaged_are_differences_and_refused_ones_are_passed_over(tmp_path: Path) -> None:
    records = [entry(b"a", b"v"), entry(b"b", b"v"), entry(b"c", b"v"), record(2, b"d", strings([b"x"]))]
    broken = b"$12\r\n\x00\x01v\x06\x0012345678\r\n:-1\r\n".replace(b"$12", b"$13")
    answers = [broken, b"-LOADING wait\r\n-LOADING wait\r\n", (0, string(b"v")), (20, string(b"\x07\0\0\0\x01\0\xff"))]
    tally = compared(tmp_path, records, answers)
    assert sorted(one[:2] for one in said(tally)) == [("damaged", b"a"), ("damaged", b"d")]
    counts = tally.lines["0"]
    assert (counts.asked, counts.agreed, counts.different) == (3, 1, 2)


def test_a_target_that_holds_less_is_expected_to_hold_less(tmp_path: Path) -> None:
    """Fields' expiries that were stripped for the target are not missed."""
    ours = record(24, b"h", field_hash((b"f", b"1", AT), (b"g", b"2", None)))
    theirs = (4, pairs({b"f": b"1", b"g": b"2"}))
    assert [one[0] for one in said(compared(tmp_path, [ours], [theirs], stamp=9))] == ["field"]
    declared = {"target": "redis-6.2", "on_unsupported": "strip"}
    assert said(compared(tmp_path, [ours], [theirs], stamp=9, **declared)) == []
