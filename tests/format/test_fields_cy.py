"""The core judges hashes with field expiries, and shifts them in place, exactly as the general way would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import entry, length, rdb, record, select, string
from rows import emitted, only_batch

from rdbmerge.format import codes, fields
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import Dialect, read_dialect
from rdbmerge.format.emit import Change, measure
from rdbmerge.format.scan import Walk
from rdbmerge.format.values import Shape

AT = 1_800_000_000_000
HOUR = 3_600_000
GOLDEN = Path(__file__).parents[2] / "fixtures" / "rdb"

Times = list[int | None]


def element(number: int) -> bytes:
    """An integer of a listpack as servers write it (rdb-format.md 7.2)."""
    if 0 <= number < 128:
        return bytes([number, 1])
    return b"\xf4" + number.to_bytes(8, "little", signed=True) + b"\x09"


def listpack(times: Times) -> bytes:
    body = b"".join(b"\x82f%d\x03" % (i % 10) + b"\x81v\x02" + element(at or 0) for i, at in enumerate(times))
    return (len(body) + 7).to_bytes(4, "little") + (3 * len(times)).to_bytes(2, "little") + body + b"\xff"


def eight(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=True)


def payload(number: int, times: Times, valkey: bool = False) -> bytes:
    """The payload of a hash of value type `number` with one field for each time."""
    first = min((at for at in times if at is not None), default=0)
    pair = string(b"f") + string(b"value")
    if valkey:
        return length(len(times)) + b"".join(pair + eight(-1 if at is None else at) for at in times)
    if number == 22:
        return length(len(times)) + b"".join(length(at or 0) + pair for at in times)
    if number == 24:
        ttls = [0 if at is None else at - first + 1 for at in times]
        return eight(first) + length(len(times)) + b"".join(length(ttl) + pair for ttl in ttls)
    head = eight(first) if number == 25 else b""
    return head + string(listpack(times))


FORMS = [(22, False), (23, False), (24, False), (25, False), (22, True)]
forms = pytest.mark.parametrize(("number", "valkey"), FORMS, ids=["pre-ga", "pre-ga listpack", "24", "25", "valkey"])


def file_of(number: int, valkey: bool, *payloads: bytes) -> bytes:
    records = [record(number, b"k%d" % i, each) for i, each in enumerate(payloads)]
    magic = b"VALKEY080" if valkey else b"REDIS0012"
    return rdb(12, select(0), *records, entry(b"end"), magic=magic)


def verdicts(data: bytes, *, dead_before_ms: int | None = None, offset_ms: int = 0) -> list[int]:
    view, batch, dialect = only_batch(data)
    judge = fields.FieldJudge(view, dialect, dead_before_ms=dead_before_ms, ttl_offset_ms=offset_ms)
    return judge.verdicts(batch).tolist()


@forms
def test_a_verdict_tells_who_is_dead_and_what_keeps_its_size(number: int, valkey: bool) -> None:
    data = file_of(
        number, valkey,
        payload(number, [AT, AT + 5, None], valkey),
        payload(number, [AT - 1, AT], valkey),
        payload(number, [AT - 9, AT - 1], valkey),
        payload(number, [AT - 1, None], valkey),
    )  # fmt: skip
    dead = [codes.IN_PLACE, codes.SOME_DEAD, codes.ALL_DEAD, codes.SOME_DEAD, codes.NO_FIELDS]
    assert verdicts(data, dead_before_ms=AT, offset_ms=HOUR) == dead
    assert verdicts(data, dead_before_ms=AT) == dead
    assert verdicts(data, offset_ms=HOUR) == [codes.IN_PLACE] * 4 + [codes.NO_FIELDS]
    assert verdicts(data) == [codes.NO_FIELDS] * 5  # nothing is asked, so nothing is looked at


@forms
@pytest.mark.parametrize("offset_ms", [HOUR, -HOUR, -AT, -AT + 5, 1 << 47])
@pytest.mark.parametrize("times", [[AT], [AT, None], [AT, AT + 7, AT + HOUR, None, None], [None, None], [5, AT], [127]])
def test_a_shift_in_place_gives_what_the_general_way_gives(
    number: int, valkey: bool, offset_ms: int, times: Times
) -> None:
    whole = payload(number, times, valkey)
    view, batch, dialect = only_batch(file_of(number, valkey, whole))
    change = Change(dialect=dialect, ttl_offset_ms=offset_ms)
    kept = np.zeros(batch.rows, np.uint8)
    out = emitted(view, batch, change, left_out=kept)
    shape = dialect.types[number].shape
    start, end = int(batch.value_start[0]), int(batch.end[0])
    general = fields.rewrite(view, shape, start, end, ttl_offset_ms=offset_ms, dead_before_ms=None).payload
    assert out == record(number, b"k0", general or b"") + entry(b"end")
    assert measure(view, batch, kept, change) == len(out)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.rdb")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_hashes_are_judged_as_the_general_reader_sees_them(path: Path) -> None:
    view = memoryview(path.read_bytes())
    dialect = read_dialect(bytes(view[:9]))
    middle = None
    for batch in Walk(view):
        if not isinstance(batch, Columns):
            continue
        for row in range(batch.rows):
            kind = dialect.types[int(batch.type[row])]
            if not kind.holds_expiry:
                continue
            held = fields.read_fields(view, kind.shape, int(batch.value_start[row]), int(batch.end[row]))
            known = sorted(one.expire_at_ms for one in held if one.expire_at_ms is not None)
            for middle in [None, *known[:1], *[at + 1 for at in known[-1:]]]:
                verdict = fields.FieldJudge(view, dialect, dead_before_ms=middle, ttl_offset_ms=1).verdicts(batch)[row]
                dead = [at for at in known if middle is not None and at < middle]
                expected = codes.ALL_DEAD if len(dead) == len(held) else codes.SOME_DEAD if dead else None
                assert verdict in ((expected, codes.ANEW) if expected else (codes.IN_PLACE, codes.ANEW))


@forms
@given(data=st.data())
def test_damaged_payloads_are_left_to_the_general_way(number: int, valkey: bool, data: st.DataObject) -> None:
    """Whatever the bytes, a verdict other than ANEW is one that the general reader confirms."""
    good = bytearray(payload(number, [AT, AT + 5, None], valkey))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    view = memoryview(bytes(good))
    dialect = Dialect("valkey", 80) if valkey else Dialect("redis", 12)
    columns = Columns(1)
    columns.rows, columns.type[0], columns.value_start[0], columns.end[0] = 1, number, 0, len(good)
    verdict = fields.FieldJudge(view, dialect, dead_before_ms=AT, ttl_offset_ms=HOUR).verdicts(columns)[0]
    if verdict == codes.ANEW:
        return
    held = fields.read_fields(view, dialect.types[number].shape, 0, len(good))
    dead = sum(one.expire_at_ms is not None and one.expire_at_ms < AT for one in held)
    assert verdict == (codes.IN_PLACE if not dead else codes.ALL_DEAD if dead == len(held) else codes.SOME_DEAD)


def test_a_base_that_no_server_writes_is_made_right() -> None:
    """Type 24 whose base is not its smallest expiry: written anew, with the same times."""
    odd = eight(AT - 10) + length(1) + length(16) + string(b"f") + string(b"v")
    assert verdicts(file_of(24, False, odd), offset_ms=HOUR)[0] == codes.ANEW
    view = memoryview(odd)
    assert fields.read_fields(view, Shape.FIELDS_RELATIVE, 0, len(odd))[0].expire_at_ms == AT + 5
