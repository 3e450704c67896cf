"""Every file decodes to what its server answered; streams, modules and arrays whole; errors with the file's name."""

from __future__ import annotations

import gc
import struct
import weakref
from pathlib import Path
from typing import Any

import pytest
from blobbytes import STREAM_TYPES, consumer, group, lengths, listpack, node, node_of, own, stream
from decoded import REDIS, decoded, items_of, value_of
from forms import AT, FORMS, MODULE, Form, double, time
from rdbbytes import length, string
from truth import diff, read_truth

from rdbmerge.errors import FormatError
from rdbmerge.format.decode import Values
from rdbmerge.format.logical import Array, ModuleValue, StreamId

FILES = sorted((Path(__file__).parents[2] / "fixtures" / "rdb").glob("*/*.rdb"))
ARRAY, MODULE_2 = 28, 7
ONE, TWO, THREE = (5, 1), (5, 2), (5, 3)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_real_file_decodes_to_what_its_server_answered(path: Path) -> None:
    truth = read_truth(path.with_name(path.name.replace(".rdb", ".truth.jsonl.gz")))
    assert diff(truth, decoded(path)) == []


# --- streams ------------------------------------------------------------------------------------------------------


def group_of(number: int, *groups: bytes, **options: Any) -> Any:
    """The one group of a stream of this type."""
    level = {kind: level for level, kind in STREAM_TYPES.items()}[number]
    (found,) = value_of(number, stream(level, groups=groups, **options)).groups.values()
    return found


@pytest.mark.parametrize("level", STREAM_TYPES)
def test_an_empty_stream_keeps_its_last_id_and_groups(level: int) -> None:
    found = value_of(STREAM_TYPES[level], stream(level, last_id=(9, 9), groups=[group(level, b"g")]))
    assert (found.entries, found.length, found.last_id, list(found.groups)) == ([], 0, (9, 9), [b"g"])
    assert (found.first_id is None) == (level == 1)
    assert (found.idempotence is None) == (level < 4)


def test_numbers_of_a_stream_may_be_as_large_as_they_go() -> None:
    top = (1 << 64) - 1
    found = value_of(
        27, stream(5, last_id=(top, top), added=top, iids=(top, 0), groups=[group(5, b"g", last_id=(top, 0))])
    )
    assert (found.last_id, found.entries_added, found.idempotence.added) == ((top, top), top, top)
    assert found.groups[b"g"].last_id == StreamId(top, 0)


def test_entries_read_are_unknown_or_not_told() -> None:
    assert group_of(15, group(1, b"g")).entries_read is None
    assert group_of(19, group(2, b"g", entries_read=-1)).entries_read == -1
    assert group_of(19, group(2, b"g", entries_read=0)).entries_read == 0


def test_a_pending_entry_has_the_consumer_that_owns_it_or_none() -> None:
    pending = [(ONE, AT, 1), (TWO, AT + 1, 9), (THREE, 0, 0)]
    held = [consumer(5, b"alice", TWO), consumer(5, b"bob", ONE)]
    found = group_of(27, group(5, b"g", pending=pending, consumers=held, nacked=[THREE]))
    assert {tuple(one): (it.consumer, it.delivered_at_ms, it.deliveries) for one, it in found.pending.items()} == {
        ONE: (b"bob", AT, 1), TWO: (b"alice", AT + 1, 9), THREE: (None, 0, 0),
    }  # fmt: skip
    assert found.consumers[b"alice"].pending == [TWO]


@pytest.mark.parametrize(
    ("pending", "held", "nacked"),
    [
        ([], [consumer(5, b"alice", ONE)], []),  # owns what is not pending
        ([(ONE, 0, 1)] * 2, [consumer(5, b"alice", ONE)], []),  # pending twice
        ([], [consumer(5, b"alice"), consumer(5, b"alice")], []),  # one consumer twice
        ([], [], [ONE]),  # given back, yet not pending
        ([(ONE, 0, 1)], [consumer(5, b"alice", ONE)], [ONE]),  # given back, yet owned
    ],
)
def test_consumers_must_fit_the_pending_entries_of_their_group(pending: Any, held: Any, nacked: Any) -> None:
    with pytest.raises(FormatError, match="a stream's group whose consumers do not fit its pending entries"):
        group_of(27, group(5, b"g", pending=pending, consumers=held, nacked=nacked))


def test_a_pending_entry_may_have_been_deleted() -> None:
    found = value_of(21, stream(3, groups=[group(3, b"g", pending=[(ONE, 0, 1)], consumers=[consumer(3, b"c", ONE)])]))
    assert found.entries == []
    assert list(found.groups[b"g"].pending) == [ONE]


def test_groups_producers_and_messages_have_names_of_their_own() -> None:
    with pytest.raises(FormatError, match="at byte 18: a stream with two groups of one name"):
        value_of(15, stream(1, groups=[group(1, b"g"), group(1, b"g")]))
    for told in (
        b"\x02" + (string(b"p") + b"\x00") * 2,
        b"\x01" + string(b"p") + b"\x02" + (string(b"i") + b"\x05\x01") * 2,
    ):
        payload = stream(4, iids=(0, 0))[: -len(lengths(0, 0, 0))] + told + lengths(0, 0)
        with pytest.raises(FormatError, match="a stream that remembers a producer or a message twice"):
            value_of(26, payload)


def test_bytes_behind_a_stream_belong_to_nothing() -> None:
    for level, number in STREAM_TYPES.items():
        with pytest.raises(FormatError, match="a value whose last 2 bytes belong to nothing"):
            value_of(number, stream(level) + b"\0\0")


# --- modules and arrays -------------------------------------------------------------------------------------------


def module(*parts: bytes) -> list[Any]:
    return value_of(MODULE_2, b"\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"".join(parts) + b"\x00").parts


def test_a_modules_value_is_its_parts_in_order() -> None:
    top = b"\x81" + b"\xff" * 8
    assert module() == []
    assert module(b"\x01" + top, b"\x01\x05", b"\x01\x81\x80" + bytes(7)) == [-1, 5, -(1 << 63)]
    assert module(b"\x02" + top, b"\x02\x00") == [(1 << 64) - 1, 0]
    assert module(b"\x03" + struct.pack("<f", -0.25), b"\x04" + double(0.1)) == [-0.25, 0.1]
    assert module(b"\x05\x00", b"\x05\xc1\x00\x10", b"\x05\x02hi") == [b"", b"4096", b"hi"]
    assert value_of(MODULE_2, MODULE) == ModuleValue("vectorset", 1, [-1, 5, 0.5, 1e300, b"hi", b"7"])


def array(*items: bytes, next_index: bytes = b"\x00") -> Array:
    return value_of(ARRAY, length(len(items)) + next_index + b"".join(items))


def test_an_array_has_elements_by_index() -> None:
    found = array(b"\x00\x00\x02ab", b"\x03\x01" + time(-7), b"\x04\x02" + double(2.5), b"\x40\x50\x03\x00")
    assert found.items == {0: b"ab", 3: b"-7", 4: b"2.5", 80: b""}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1.0"), (-100.0, "-100.0"), (999_999.0, "999999.0"), (0.0, "0.0"), (-0.0, "-0.0"), (0.0625, "0.0625"),
        (0.1, "0.1"), (0.000015, "0.000015"), (1e17, "100000000000000000.0"), (2.0**60, "1152921504606846976.0"),
        (2.0**62, "4611686018427387904.0"), (2.0**63, "9223372036854776000.0"), (float("-inf"), "-inf"),
    ],
)  # fmt: skip
def test_a_double_in_an_array_is_the_text_that_a_server_answers(number: float, text: str) -> None:
    assert array(b"\x00\x02" + double(number)).items == {0: text.encode()}


def test_an_array_tells_where_the_next_element_goes() -> None:
    assert array(b"\x00\x00\x01a").next_index == 0
    assert array(b"\x00\x00\x01a", next_index=b"\x01\x00").next_index == 1


def test_an_array_holds_an_index_once() -> None:
    with pytest.raises(FormatError, match="at byte 13: an array that holds index 3 twice"):
        array(b"\x03\x00\x01a", b"\x03\x00\x01b")


# --- the door -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_damage_is_told_with_the_files_name(form: Form) -> None:
    payload = form.payload[:-1]
    values = Values(memoryview(payload), form.dialect, name="it.rdb")
    with pytest.raises(FormatError, match=r"^it\.rdb at byte "):
        values.value(form.number, 0, len(payload))
    with pytest.raises(FormatError, match=r"^it\.rdb at byte "):
        list(values.items(form.number, 0, 1))


def test_the_items_of_a_stream_are_not_read_before_they_are_asked_for() -> None:
    nodes = [node_of(ONE, [], own(0, 0)), node((6, 0), listpack(1, 2, 3))]
    found = Values(memoryview(stream(1, nodes)), REDIS).items(15, 0, 100)
    assert next(found).id == ONE
    with pytest.raises(FormatError, match=f"at byte {1 + len(nodes[0]) + 17}: a stream node"):
        next(found)


def test_items_of_rare_types_are_their_parts() -> None:
    assert items_of(MODULE_2, MODULE)[1:3] == [5, 0.5]
    assert items_of(ARRAY, b"\x01\x00\x05\x00\x01a") == [(5, b"a")]


def test_the_bytes_of_a_file_are_let_go_with_its_values() -> None:
    """Without a garbage collection: a file of many gigabytes would stay mapped until one comes."""
    gc.disable()
    try:
        data = bytearray(stream(1) + string(b"hello"))
        values = Values(memoryview(data), REDIS)
        value, items = values.value(15, 0, len(stream(1))), values.items(0, len(stream(1)), len(data))
        decoder = weakref.ref(values)
        del values, value, items
        assert decoder() is None
        data.clear()  # which no view of it allows
    finally:
        gc.enable()
