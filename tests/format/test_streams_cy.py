"""The entries of a stream are read out of its nodes, deleted ones left out; a node's numbers are believed if right."""

from __future__ import annotations

from typing import Any

import pytest
from blobbytes import (
    DELETED,
    EMPTY_LISTPACK,
    Element,
    Id,
    Raw,
    listpack,
    lzf,
    node,
    node_head,
    node_of,
    own,
    raw_id,
    same,
    stream,
)
from decoded import items_of, value_of
from rdbbytes import length, string

from rdbmerge.errors import FormatError

STREAM = 15
MASTER = (1_000, 5)
Read = list[tuple[Id, list[tuple[bytes, bytes]]]]


def entries(*nodes: bytes) -> Read:
    payload = stream(1, nodes)
    found = items_of(STREAM, payload)
    assert value_of(STREAM, payload).entries == found
    return [(tuple(entry.id), entry.fields) for entry in found]


def refusal(*elements: Element, **options: Any) -> str:
    """What a stream with a node of these elements gets."""
    with pytest.raises(FormatError) as caught:
        value_of(STREAM, stream(1, [node(MASTER, listpack(*elements, **options))]))
    assert caught.value.offset == 7 + 1 + 17  # where the node's blob stands
    return caught.value.finding


def test_entries_have_the_fields_of_their_node_or_their_own() -> None:
    found = entries(node_of(MASTER, [b"a", b"b"], same(0, 0, b"1", 2), own(1, 0, b"c", b"3"), same(2, 0, b"", b"4")))
    assert found == [
        ((1_000, 5), [(b"a", b"1"), (b"b", b"2")]),
        ((1_001, 5), [(b"c", b"3")]),
        ((1_002, 5), [(b"a", b""), (b"b", b"4")]),
    ]


def test_a_field_may_occur_more_than_once_and_an_entry_have_none() -> None:
    found = entries(node_of(MASTER, [], own(0, 0, b"f", b"1", b"f", b"2"), own(0, 1), same(0, 2)))
    assert [fields for _, fields in found] == [[(b"f", b"1"), (b"f", b"2")], [], []]


def test_deleted_entries_are_passed_over() -> None:
    gone = same(1, 0, b"x", flags=DELETED), own(2, 0, b"k", b"v", flags=DELETED)
    assert [one for one, _ in entries(node_of(MASTER, [b"f"], *gone, same(3, 0, b"y")))] == [(1_003, 5)]
    assert entries(node_of(MASTER, [b"f"], *gone)) == []


def test_ids_count_from_the_nodes_and_around_the_end_of_numbers() -> None:
    highest = (1 << 64) - 1
    assert entries(node_of((highest, 7), [], own(0, -7), own(1, 0)))[0][0] == (highest, 0)
    assert entries(node_of((highest, 7), [], own(1, -8)))[0][0] == (0, highest)


def test_nodes_follow_each_other() -> None:
    nodes = [node_of((ms, 0), [b"f%d" % ms], same(0, 1, b"v")) for ms in range(3)]
    assert entries(*nodes) == [((ms, 1), [(b"f%d" % ms, b"v")]) for ms in range(3)]


def test_a_node_and_its_key_may_be_compressed() -> None:
    blob = listpack(*node_head(1, 0, b"f" * 40), *same(0, 0, b"v" * 40))
    for key in (string(bytes(16)), lzf(bytes(16))):
        assert entries(key + lzf(blob)) == [((0, 0), [(b"f" * 40, b"v" * 40)])]


def test_a_node_that_holds_no_entry_is_passed_over() -> None:
    empty = node(MASTER, listpack(*node_head(0, 0, b"f")))
    assert entries(empty, node_of((2_000, 0), [], own(0, 0)), empty) == [((2_000, 0), [])]


def test_a_stream_may_have_no_nodes() -> None:
    assert entries() == []


@pytest.mark.parametrize("key", [b"", b"5-1", bytes(15), bytes(17)])
def test_the_key_of_a_node_is_an_id_of_16_bytes(key: bytes) -> None:
    with pytest.raises(FormatError, match=f"at byte 8: a stream node's key must be 16 bytes, not {len(key)}"):
        value_of(STREAM, stream(1, [string(key) + string(listpack(*node_head(0, 0)))]))


@pytest.mark.parametrize(
    "head",
    [
        (b"1", 0, 0, 0), (1, b"0", 0, 0), (1, 0, b"0", 0), (1, 0, 1, b"f", b"0"), (1, 0, 1, b"f", 1), (-1, 0, 0, 0),
        (1, -1, 0, 0), (1, 0, -1, 0), (1 << 40, 0, 0, 0), (1, 1 << 40, 0, 0),
    ],
)  # fmt: skip
def test_a_node_begins_with_its_numbers(head: tuple[Element, ...]) -> None:
    assert refusal(*head, *own(0, 0)) == "a stream node that does not begin with its numbers"


@pytest.mark.parametrize("size", range(5))
def test_a_node_that_ends_inside_its_head_is_cut(size: int) -> None:
    assert refusal(*node_head(1, 0, b"f")[:size]) == "a stream node that ends inside an entry"


@pytest.mark.parametrize(
    "entry",
    [
        [b"0", 0, 0, 0, 4], [-1, 0, 0, 0, 4], [4, 0, 0, 0, 4], [0, b"0", 0, 0, 4], [0, 0, b"0", 0, 4],
        [0, 0, 0, b"0", 4], [0, 0, 0, -1, 4], [0, 0, 0, 1 << 40, 4], [0, 0, 0, 0, b"4"], [0, 0, 0, 0, 5],
        [0, 0, 0, 1, b"k", b"v", 5], [2, 0, 0, 4],
    ],
)  # fmt: skip
def test_an_entry_has_numbers_that_fit(entry: list[Element]) -> None:
    found = refusal(*node_head(1, 0), *entry)
    assert found == "a stream node with an entry whose numbers do not fit"


@pytest.mark.parametrize("size", range(1, 7))
def test_a_node_that_ends_inside_an_entry_is_cut(size: int) -> None:
    for entry in (own(0, 0, b"k", b"v"), [*same(0, 0, b"v", b"w", b"x")]):
        head = node_head(1, 0, b"f", b"g", b"h")
        assert refusal(*head, *entry[:size]) == "a stream node that ends inside an entry"


@pytest.mark.parametrize(("count", "deleted"), [(0, 0), (1, 0), (0, 1), (3, 0), (2, 1), (1, 2)])
def test_a_node_holds_as_many_entries_as_it_says(count: int, deleted: int) -> None:
    found = refusal(*node_head(count, deleted), *own(0, 0), *own(1, 0))
    assert found == "a stream node that holds another number of entries than it says"


def test_the_listpack_of_a_node_must_be_sound() -> None:
    whole = [*node_head(2, 0, b"f"), *own(0, 0, b"k", b"v"), *same(0, 1, b"v")]
    assert refusal(*whole, count=3) == "a listpack that holds another number of elements than it says"
    bad = Raw(b"\xf7")
    for place in range(len(whole)):
        assert refusal(*whole[:place], bad, *whole[place + 1 :]) == "a listpack element cannot start with 0xf7"
    with pytest.raises(FormatError, match="at byte 25: a listpack whose size does not fit its bytes"):
        value_of(STREAM, stream(1, [node(MASTER, listpack(*whole)[:-1])]))
    with pytest.raises(FormatError, match="a stream node that ends inside an entry"):
        value_of(STREAM, stream(1, [node(MASTER, EMPTY_LISTPACK)]))


def test_a_number_of_nodes_that_lies_ends_at_the_end_of_the_value() -> None:
    for count in (1, 1 << 40, (1 << 64) - 1):
        with pytest.raises(FormatError):
            value_of(STREAM, length(count) + string(raw_id(MASTER))[:9])


def test_a_large_stream_is_read_entry_by_entry() -> None:
    nodes = [node_of((at, 0), [b"f"], *(same(0, n, n) for n in range(100))) for at in range(50)]
    found = entries(*nodes)
    assert len(found) == 5_000
    assert found[-1] == ((49, 99), [(b"f", b"99")])
