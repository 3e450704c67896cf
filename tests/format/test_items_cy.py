"""The items of a value come one after the other, the same whatever form it is stored in."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from blobbytes import EMPTY_LISTPACK, EMPTY_ZIPLIST, Element, intset, listpack, lzf, ziplist, zipmap
from decoded import REDIS, VALKEY, items_of, templates, value_of
from forms import AT, FORMS, Form, double, held_templates, time
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import length, string

from rdbmerge.errors import FormatError, TruncatedError
from rdbmerge.format.columns import Columns
from rdbmerge.format.decode import Values
from rdbmerge.format.logical import Hash
from rdbmerge.format.scan import Walk

FILES = sorted((Path(__file__).parents[2] / "fixtures" / "rdb").glob("*/*.rdb"))


def built(value: Any, items: list[Any]) -> Any:
    """What these items are together, in the shape of `value`."""
    if isinstance(value, Hash):
        return Hash({name: text for name, text, _ in items}, {name: at for name, _, at in items if at is not None})
    if isinstance(value, bytes):
        (item,) = items
        return item
    if isinstance(value, list | set | dict):
        return type(value)(items)
    return items


def parts(value: Any) -> Any:
    """What the items of a stream, module or array are to give."""
    for name in ("entries", "parts"):
        if hasattr(value, name):
            return getattr(value, name)
    return list(value.items.items())


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_value_of_every_form_is_what_it_was_made_of(form: Form) -> None:
    value = value_of(form.number, form.payload, dialect=form.dialect, held=held_templates())
    assert value == form.value
    assert type(value) is type(form.value)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_items_of_every_form_are_its_value(form: Form) -> None:
    items = items_of(form.number, form.payload, dialect=form.dialect, held=held_templates())
    expected = form.value if isinstance(form.value, bytes | list | set | dict) else parts(form.value)
    assert built(expected, items) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_items_of_every_real_value_are_its_value(path: Path) -> None:
    walk = Walk(memoryview(path.read_bytes()))
    values = Values(walk.view, walk.dialect, walk.templates)
    for batch in walk:
        for row in range(batch.rows if isinstance(batch, Columns) else 0):
            place = (int(batch.type[row]), int(batch.value_start[row]), int(batch.end[row]))
            value = values.value(*place)
            expected = value if isinstance(value, bytes | list | set | dict) else parts(value)
            assert built(expected, list(values.items(*place))) == expected


@pytest.mark.parametrize("form", [form for form in FORMS if form.packed], ids=lambda form: form.name)
def test_a_blob_may_be_compressed(form: Form) -> None:
    packed = form.payload.replace(string(form.inside), lzf(form.inside))
    assert packed != form.payload
    values = Values(memoryview(packed + form.payload), form.dialect, held_templates())
    for _ in range(2):  # what was unpacked last is at hand: it must not be taken for the other
        assert values.value(form.number, 0, len(packed)) == form.value
        assert values.value(form.number, 0, len(packed)) == form.value
        assert values.value(form.number, len(packed), len(packed) + len(form.payload)) == form.value


def test_blobs_that_are_unpacked_in_turn_stay_what_they_are() -> None:
    blobs = [lzf(listpack(text * 40)) for text in (b"a", b"b", b"cc")]
    blobs.append(b"\xc3\x04\x16\x00a\x05b")  # unpacks halfway
    starts = [sum(map(len, blobs[:n])) for n in range(len(blobs))]
    values = Values(memoryview(b"".join(blobs)), REDIS)
    for turn in (0, 1, 0, 3, 0, 0, 3, 3, 2, 1, 1, 3, 1):
        place = (20, starts[turn], starts[turn] + len(blobs[turn]))
        if turn < 3:
            assert values.value(*place) == {(b"a", b"b", b"cc")[turn] * 40}
        else:
            with pytest.raises(FormatError, match="a compressed string does not unpack"):
                values.value(*place)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_payload_cut_anywhere_is_refused(form: Form) -> None:
    for cut in range(len(form.payload)):
        with pytest.raises(FormatError):
            value_of(form.number, form.payload[:cut], dialect=form.dialect, held=held_templates())


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_bytes_behind_a_value_are_not_its_own(form: Form) -> None:
    with pytest.raises(FormatError, match=f"at byte {7 + len(form.payload)}: a value whose last 3 bytes belong"):
        value_of(form.number, form.payload + b"abc", dialect=form.dialect, held=held_templates())


@pytest.mark.parametrize(
    ("number", "payload", "empty"),
    [
        (0, b"\x00", b""), (1, b"\x00", []), (2, b"\x00", set()), (3, b"\x00", {}), (4, b"\x00", {}), (5, b"\x00", {}),
        (9, string(zipmap({})), {}), (10, string(EMPTY_ZIPLIST), []), (11, string(intset(2)), set()),
        (12, string(EMPTY_ZIPLIST), {}), (13, string(EMPTY_ZIPLIST), {}), (14, b"\x00", []),
        (14, b"\x01" + string(EMPTY_ZIPLIST), []), (16, string(EMPTY_LISTPACK), {}), (17, string(EMPTY_LISTPACK), {}),
        (18, b"\x00", []), (18, b"\x01\x02" + string(EMPTY_LISTPACK), []), (20, string(EMPTY_LISTPACK), set()),
        (22, b"\x00", Hash({})), (23, string(EMPTY_LISTPACK), Hash({})), (24, bytes(8) + b"\x00", Hash({})),
        (25, bytes(8) + string(EMPTY_LISTPACK), Hash({})),
    ],
)  # fmt: skip
def test_an_empty_collection_has_no_items(number: int, payload: bytes, empty: Any) -> None:
    assert value_of(number, payload) == empty
    assert items_of(number, payload) == ([b""] if number == 0 else [])


def test_a_list_mixes_packed_and_plain_nodes() -> None:
    nodes = b"\x02" + string(listpack(b"a", 1)) + b"\x01" + string(b"plain") + b"\x02" + lzf(listpack(*[b"x"] * 40))
    empty = b"\x02" + string(EMPTY_LISTPACK)
    assert value_of(18, length(5) + empty + nodes + empty) == [b"a", b"1", b"plain", *[b"x"] * 40]


@pytest.mark.parametrize("container", [0, 3, (1 << 64) - 1])
def test_a_node_is_plain_or_packed(container: int) -> None:
    with pytest.raises(FormatError, match=f"at byte 11: a list node cannot have container {container}"):
        value_of(18, b"\x02\x01\x01a" + length(container) + string(listpack(b"a")))


def test_a_node_may_be_a_number() -> None:
    assert value_of(18, b"\x01\x01\xc0\x07") == [b"7"]
    with pytest.raises(FormatError, match="a listpack whose size"):
        value_of(18, b"\x01\x02\xc0\x07")


@pytest.mark.parametrize("number", [13, 9, 16, 12, 17])
def test_elements_that_come_in_no_pairs_are_refused(number: int) -> None:
    blob = {9: b"\xff\x01f\xff"}.get(number, (ziplist if number < 16 else listpack)(b"f", 1, b"g"))
    with pytest.raises(FormatError, match="at byte 7: a value whose elements do not come in pairs"):
        value_of(number, string(blob))


@pytest.mark.parametrize("number", [23, 25])
@pytest.mark.parametrize("elements", [(b"f",), (b"f", b"v"), (b"f", b"v", AT, b"g"), (b"f", b"v", AT, b"g", 1)])
def test_elements_that_come_in_no_triples_are_refused(number: int, elements: tuple[Element, ...]) -> None:
    with pytest.raises(FormatError, match="a hash listpack whose elements are not field, value, time"):
        value_of(number, (bytes(8) if number == 25 else b"") + string(listpack(*elements)))


@pytest.mark.parametrize("at_ms", [b"soon", b"", -1, -AT])
def test_a_packed_expiry_must_be_a_time(at_ms: Element) -> None:
    with pytest.raises(FormatError, match="at byte 15: a hash field whose expiry is not a time"):
        value_of(25, bytes(8) + string(listpack(b"f", b"v", at_ms)))


@pytest.mark.parametrize(
    ("number", "payload", "place"),
    [
        (22, b"\x01" + length(1 << 62) + b"\x01f\x01v", 1), (22, b"\x01" + length((1 << 64) - 1) + b"\x01f\x01v", 1),
        (24, time(0) + b"\x01" + length(1 << 62) + b"\x01f\x01v", 9), (24, time(-1) + b"\x00", 0),
        (24, time(1 << 62) + b"\x00", 0),
    ],
)  # fmt: skip
def test_a_stored_expiry_must_be_a_time(number: int, payload: bytes, place: int) -> None:
    with pytest.raises(FormatError, match=f"at byte {7 + place}: a hash field whose expiry is not a time"):
        value_of(number, payload)


def test_an_expiry_of_valkey_is_a_time_or_minus_one() -> None:
    assert value_of(22, b"\x01\x01f\x01v" + time(0), dialect=VALKEY).expire_at_ms == {b"f": 0}
    assert value_of(22, b"\x01\x01f\x01v" + time(-1), dialect=VALKEY).expire_at_ms == {}
    with pytest.raises(FormatError, match="at byte 12: a hash field whose expiry is not a time"):
        value_of(22, b"\x01\x01f\x01v" + time(-2), dialect=VALKEY)


def test_a_relative_expiry_counts_from_the_smallest_one() -> None:
    payload = time(AT) + b"\x03" + b"\x01\x01f\x01v" + length(1 << 40) + b"\x01g\x01v" + b"\x00\x01h\x01v"
    assert value_of(24, payload).expire_at_ms == {b"f": AT, b"g": AT + (1 << 40) - 1}


def test_a_score_of_eight_bytes_is_no_nan() -> None:
    assert value_of(5, b"\x01\x01m" + double(-0.0)) == {b"m": 0.0}
    with pytest.raises(FormatError, match="at byte 10: a score that is not a number"):
        value_of(5, b"\x01\x01m" + double(float("nan")))


TEMPLATE = {"t5": [b"a", b"bb"], "t9": [b"x"], "t6": [], "t0": [b"zero"]}


@pytest.mark.parametrize(
    ("number", "payload", "fields"),
    [
        (30, string(listpack(5, b"v", -7)), {b"a": b"v", b"bb": b"-7"}), (30, string(listpack(9, b"")), {b"x": b""}),
        (32, b"\x05\x01v\xc1\x00\x10", {b"a": b"v", b"bb": b"4096"}), (32, b"\x09" + lzf(b"y" * 50), {b"x": b"y" * 50}),
        (30, string(listpack(6)), {}), (32, b"\x06", {}), (30, string(listpack(0, 1)), {b"zero": b"1"}),
    ],
)  # fmt: skip
def test_a_hash_with_a_template_has_its_names(number: int, payload: bytes, fields: dict[bytes, bytes]) -> None:
    assert value_of(number, payload, held=templates(**TEMPLATE)) == fields


@pytest.mark.parametrize(
    ("number", "payload", "finding"),
    [
        (30, string(listpack(8, 1)), "hash template 8 is not in the file"), (32, b"\x08", "hash template 8 is not"),
        (32, length((1 << 64) - 1), "hash template 18446744073709551615 is not"),
        (30, string(listpack((1 << 63) - 1)), "hash template 9223372036854775807 is not"),
        (30, string(listpack(5, 1)), "do not come in pairs"), (30, string(listpack(5, 1, 2, 3)), "do not come in"),
        (30, string(EMPTY_LISTPACK), "a hash that does not begin with the id of its template"),
        (30, string(listpack(b"a", 1, 2)), "does not begin"), (30, string(listpack(-5, 1, 2)), "does not begin"),
        (30, string(b"\x08" + EMPTY_LISTPACK[1:]), "a listpack whose size"), (32, b"\x05\x01v", "1 byte expected, 0"),
    ],
)  # fmt: skip
def test_a_hash_that_does_not_fit_its_template_is_refused(number: int, payload: bytes, finding: str) -> None:
    with pytest.raises(FormatError, match=finding):
        value_of(number, payload, held=templates(**TEMPLATE))


def test_without_templates_none_is_found() -> None:
    for number, payload in ((30, string(listpack(5, 1, 2))), (32, b"\x05\x01v\x01w")):
        with pytest.raises(FormatError, match="at byte 7: hash template 5 is not in the file"):
            value_of(number, payload)


@pytest.mark.parametrize("count", [1 << 31, (1 << 32) - 1, 1 << 60, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 14, 18, 22])
def test_a_count_that_lies_ends_at_the_end_of_the_value(number: int, count: int) -> None:
    with pytest.raises(FormatError):
        value_of(number, length(count) + bytes(3))


def test_a_string_that_leaves_its_value_is_cut() -> None:
    """There are more bytes behind, but they are of the next entry."""
    with pytest.raises(TruncatedError, match="at byte 8: 9 bytes expected, 3 remain"):
        value_of(0, b"\x09abc")


@given(st.sampled_from(FORMS), st.data())
def test_a_damaged_value_is_decoded_or_refused(form: Form, data: st.DataObject) -> None:
    damaged = bytearray(form.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FormatError):
        value_of(form.number, bytes(damaged), dialect=form.dialect, held=held_templates())
