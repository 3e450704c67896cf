"""Streams count with all their parts, as far as the target holds them; how they lie in nodes does not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from blobbytes import (
    DELETED,
    STREAM_TYPES,
    Id,
    consumer,
    group,
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
from decoded import REDIS, value_of
from forms import AT
from rdbbytes import length, string

from rdbmerge.errors import FormatError
from rdbmerge.format import streams
from rdbmerge.format.decode import item_failure
from rdbmerge.format.digest import Reading
from rdbmerge.verify.meaning import difference_of, expected_value

Fields = list[bytes]
LEVELS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Who:
    """A consumer."""

    name: bytes
    ids: list[Id] = field(default_factory=list)
    seen: int = 100
    active: int = 90


@dataclass(frozen=True)
class Some:
    """A group."""

    name: bytes = b"readers"
    last_id: Id = (10, 0)
    read: int = 2
    pending: list[tuple[Id, int, int]] = field(
        default_factory=lambda: [((5, 2), AT, 3), ((10, 0), AT + 1, 1), ((12, 1), AT + 2, 9)]
    )
    consumers: list[Who] = field(default_factory=lambda: [Who(b"alice", [(5, 2)]), Who(b"bob", [(10, 0)], active=-1)])
    nacked: list[Id] = field(default_factory=lambda: [(12, 1)])


@dataclass(frozen=True)
class Made:
    """A stream, part by part."""

    entries: list[tuple[Id, Fields]] = field(
        default_factory=lambda: [
            ((5, 2), [b"temp", b"20", b"hum", b"60"]),
            ((10, 0), [b"k", b"v", b"k", b"1"]),
            ((12, 1), [b"temp", b"21", b"hum", b""]),
        ]
    )
    live: int = 3
    last_id: Id = (13, 0)
    first_id: Id = (5, 2)
    max_deleted_id: Id = (11, 1)
    added: int = 9
    groups: list[Some] = field(default_factory=lambda: [Some(), Some(b"idle", pending=[], consumers=[], nacked=[])])
    idmp: Id = (60, 50)
    producers: dict[bytes, dict[bytes, Id]] = field(
        default_factory=lambda: {b"p": {b"1": (5, 2), b"2": (10, 0)}, b"q": {}}
    )
    iids: Id = (7, 1)

    def payload(self, level: int, nodes: list[bytes] | None = None) -> bytes:
        """In one of the five forms; what it cannot hold is left out."""
        if nodes is None:
            nodes = [node_of(one, [], own(0, 0, *fields)) for one, fields in self.entries]
        groups = [
            group(
                level, some.name, last_id=some.last_id, entries_read=some.read, pending=some.pending,
                consumers=[
                    consumer(level, who.name, *who.ids, seen_at_ms=who.seen, active_at_ms=who.active)
                    for who in some.consumers
                ],
                nacked=some.nacked,
            )
            for some in self.groups
        ]  # fmt: skip
        return stream(
            level, nodes, live=self.live, last_id=self.last_id, first_id=self.first_id,
            max_deleted_id=self.max_deleted_id, added=self.added, groups=groups, idmp=self.idmp,
            producers=self.producers, iids=self.iids,
        )  # fmt: skip


def meaning_of(level: int, payload: bytes, stream_level: int = 5, *, seed: int = 7) -> int:
    view = memoryview(b"\xffbefore" + payload + b"behind\xff")
    meaning = Reading(dialect=REDIS, stream_level=stream_level).meaning(view)
    got = meaning.of(STREAM_TYPES[level], 7, 7 + len(payload), seed)
    if meaning.has_failed():
        raise item_failure(meaning.get_reader())
    return int(got)


MADE = Made()
READERS, IDLE = MADE.groups
ALICE, BOB = READERS.consumers


def entries(*changed: tuple[Id, Fields]) -> Made:
    """With the first entries changed."""
    return replace(MADE, entries=[*changed, *MADE.entries[len(changed) :]])


def readers(**changes: Any) -> Made:
    return replace(MADE, groups=[replace(READERS, **changes), IDLE])


def alice(**changes: Any) -> Made:
    return readers(consumers=[replace(ALICE, **changes), BOB])


def pending(at: Id = (5, 2), at_ms: int = AT, count: int = 3) -> Made:
    return readers(pending=[(at, at_ms, count), *READERS.pending[1:]])


# What is another stream, and the lowest level that holds the difference.
OTHERS: list[tuple[str, Made, int]] = [
    ("value", entries(((5, 2), [b"temp", b"21", b"hum", b"60"])), 1),
    ("field", entries(((5, 2), [b"tamp", b"20", b"hum", b"60"])), 1),
    ("fields swapped", entries(((5, 2), [b"hum", b"60", b"temp", b"20"])), 1),
    ("field and value swapped", entries(((5, 2), [b"20", b"temp", b"hum", b"60"])), 1),
    ("field lost", entries(((5, 2), [b"temp", b"20"])), 1),
    ("fields joined", entries(((5, 2), [b"temp20", b"", b"hum", b"60"])), 1),
    ("entry id ms", entries(((6, 2), MADE.entries[0][1])), 1),
    ("entry id seq", entries(((5, 3), MADE.entries[0][1])), 1),
    ("entries changed places", entries(((5, 2), MADE.entries[1][1]), ((10, 0), MADE.entries[0][1])), 1),
    ("entry lost", replace(MADE, entries=MADE.entries[1:]), 1),
    ("entry doubled", replace(MADE, entries=[MADE.entries[0], *MADE.entries]), 1),
    ("length", replace(MADE, live=4), 1),
    ("last id ms", replace(MADE, last_id=(14, 0)), 1),
    ("last id seq", replace(MADE, last_id=(13, 1)), 1),
    ("first id ms", replace(MADE, first_id=(4, 2)), 2),
    ("first id seq", replace(MADE, first_id=(5, 1)), 2),
    ("deleted id ms", replace(MADE, max_deleted_id=(12, 1)), 2),
    ("deleted id seq", replace(MADE, max_deleted_id=(11, 0)), 2),
    ("two ids swapped", replace(MADE, first_id=MADE.max_deleted_id, max_deleted_id=MADE.first_id), 2),
    ("added", replace(MADE, added=10), 2),
    ("group lost", replace(MADE, groups=[READERS]), 1),
    ("group doubled", replace(MADE, groups=[READERS, IDLE, IDLE]), 1),
    ("group name", readers(name=b"writers"), 1),
    ("group id ms", readers(last_id=(11, 0)), 1),
    ("group id seq", readers(last_id=(10, 1)), 1),
    ("entries read", readers(read=3), 2),
    ("entries read unknown", readers(read=-1), 2),
    ("pending id", pending(at=(5, 1)), 1),
    ("pending time", pending(at_ms=AT + 1), 1),
    ("pending count", pending(count=4), 1),
    ("pending lost", readers(pending=READERS.pending[1:]), 1),
    ("pending times swapped", readers(pending=[((5, 2), AT + 1, 3), ((10, 0), AT, 1), READERS.pending[2]]), 1),
    ("pending counts swapped", readers(pending=[((5, 2), AT, 1), ((10, 0), AT + 1, 3), READERS.pending[2]]), 1),
    ("consumer name", alice(name=b"alicia"), 1),
    ("seen", alice(seen=101), 1),
    ("active", alice(active=91), 3),
    ("never active", alice(active=-1), 3),
    ("consumer lost", readers(consumers=[ALICE]), 1),
    ("consumer's pending lost", alice(ids=[]), 1),
    ("consumer's pending another", alice(ids=[(5, 1)]), 1),
    ("owner changed", readers(consumers=[replace(ALICE, ids=BOB.ids), replace(BOB, ids=ALICE.ids)]), 1),
    ("one takes it all", readers(consumers=[replace(ALICE, ids=[(5, 2), (10, 0)]), replace(BOB, ids=[])]), 1),
    ("given back another", readers(nacked=[(12, 2)]), 1),
    ("given back none", readers(nacked=[]), 1),
    ("given back or owned", readers(consumers=[replace(ALICE, ids=[(5, 2), (12, 1)]), BOB], nacked=[]), 1),
    ("groups changed", replace(MADE, groups=[replace(READERS, name=b"idle"), replace(IDLE, name=b"readers")]), 1),
    ("memory s", replace(MADE, idmp=(61, 50)), 4),
    ("memory size", replace(MADE, idmp=(60, 51)), 4),
    ("producer lost", replace(MADE, producers={b"p": MADE.producers[b"p"]}), 4),
    ("producer name", replace(MADE, producers={b"P": MADE.producers[b"p"], b"q": {}}), 4),
    ("message", replace(MADE, producers={b"p": {b"1": (5, 2), b"3": (10, 0)}, b"q": {}}), 4),
    ("message lost", replace(MADE, producers={b"p": {b"1": (5, 2)}, b"q": {}}), 4),
    ("message id ms", replace(MADE, producers={b"p": {b"1": (6, 2), b"2": (10, 0)}, b"q": {}}), 4),
    ("message id seq", replace(MADE, producers={b"p": {b"1": (5, 3), b"2": (10, 0)}, b"q": {}}), 4),
    ("messages swapped", replace(MADE, producers={b"p": {b"1": (10, 0), b"2": (5, 2)}, b"q": {}}), 4),
    ("message of another", replace(MADE, producers={b"p": {b"1": (5, 2)}, b"q": {b"2": (10, 0)}}), 4),
    ("ids added", replace(MADE, iids=(8, 1)), 4),
    ("ids repeated", replace(MADE, iids=(7, 2)), 4),
]  # fmt: skip


@pytest.mark.parametrize(("name", "other", "since"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_each_part_counts_where_the_target_holds_it(name: str, other: Made, since: int) -> None:
    for level in LEVELS:
        for stream_level in LEVELS:
            mine, theirs = (meaning_of(level, one.payload(level), stream_level) for one in (MADE, other))
            in_form = level == 5 or not name.startswith("given back") or name == "given back or owned"
            assert (mine != theirs) == (in_form and min(level, stream_level) >= since)


# Decoded, an entry that nobody owns was given back, be it listed as such or not: servers list them all.
SOUND = [(name, other) for name, other, _ in OTHERS if "doubled" not in name and name != "given back none"]
FAULTS = {"pending id", "pending lost", "consumer's pending another", "given back another", "consumer lost"}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stream_level", LEVELS)
def test_the_hash_agrees_with_the_comparison_of_decoded_streams(level: int, stream_level: int) -> None:
    """Two ways to say what a stream must be: in bulk, and for one entry. Neither may see what the other does not."""
    reading = Reading(dialect=REDIS, stream_level=stream_level)

    def expected(made: Made) -> Any:
        number = STREAM_TYPES[level]
        return expected_value(value_of(number, made.payload(level)), reading, number)

    for name, other in SOUND:
        try:
            difference = difference_of(expected(MADE), expected(other))
        except FormatError:
            assert name in FAULTS
            continue
        hashes = {meaning_of(level, one.payload(level), stream_level) for one in (MADE, other)}
        assert (len(hashes) == 1) == (difference is None), name


OLDER = [level for level in LEVELS if level < 5]


@pytest.mark.parametrize("older", OLDER)
def test_both_agree_on_what_an_older_form_was_made_of(older: int) -> None:
    reading, as_found = (Reading(dialect=REDIS, stream_level=older, as_it_stands=stands) for stands in (False, True))
    wanted = expected_value(value_of(27, MADE.payload(5)), reading, 27)
    owner = Who(b"rdbmerge:nacked", [(12, 1)], seen=0, active=-1)
    given = readers(consumers=[ALICE, BOB, owner])
    for name, other in [("right", given), ("nobody's", MADE), *SOUND]:
        number, payload = STREAM_TYPES[older], other.payload(older)
        try:
            difference = difference_of(wanted, expected_value(value_of(number, payload), as_found, number))
        except FormatError:
            assert name in FAULTS
            continue
        assert (meaning_of(5, MADE.payload(5), older) == meaning_of(older, payload, older)) == (difference is None)
        assert (difference is None) == (name == "right")


# --- what does not count ------------------------------------------------------------------------------------------

SAME_TWICE = [
    [node_of((5, 2), [], *[own(at - 5, seq - 2, *fields) for (at, seq), fields in MADE.entries])],
    [node_of((0, 0), [], own(5, 2, *MADE.entries[0][1]), own(10, 0, *MADE.entries[1][1])),
     node_of((12, 0), [], own(0, 1, *MADE.entries[2][1]))],
    [node_of((1, 9), [b"temp", b"hum"], same(4, -7, 20, 60), own(9, -9, b"k", b"v", b"k", 1), same(11, -8, 21, b""))],
    [node_of((5, 0), [b"temp", b"hum"], same(0, 0, b"x", b"y", flags=DELETED), same(0, 2, b"20", b"60"),
             own(3, 0, b"gone", b"", flags=DELETED), own(5, 0, b"k", b"v", b"k", b"1")),
     node_of((11, 0), [b"z"], same(0, 0, b"1", flags=DELETED)),
     node_of((12, 0), [], own(0, 1, b"temp", 21, b"hum", b""))],
]  # fmt: skip


@pytest.mark.parametrize("nodes", SAME_TWICE, ids=["one node", "two nodes", "fields of the node", "deleted ones"])
@pytest.mark.parametrize("level", LEVELS)
def test_how_entries_lie_in_nodes_does_not_count(nodes: list[bytes], level: int) -> None:
    assert meaning_of(level, MADE.payload(level, nodes)) == meaning_of(level, MADE.payload(level))


def test_a_node_may_be_compressed() -> None:
    head = [*node_head(1, 0), *own(0, 0, b"k", b"x" * 50)]
    plain, packed = (
        replace(MADE, entries=[]).payload(5, [string(raw_id((5, 2))) + blob])
        for blob in (string(listpack(*head)), lzf(listpack(*head)))
    )
    assert plain == replace(MADE, entries=[]).payload(5, [node((5, 2), listpack(*head))])
    assert meaning_of(5, plain) == meaning_of(5, packed)


def test_the_order_of_groups_consumers_and_pending_entries_does_not_count() -> None:
    turned = Some(pending=READERS.pending[::-1], consumers=READERS.consumers[::-1])
    other = replace(MADE, groups=[IDLE, turned], producers=dict(reversed(MADE.producers.items())))
    for level in LEVELS:
        assert meaning_of(level, MADE.payload(level)) == meaning_of(level, other.payload(level))


def test_the_form_of_a_name_does_not_count() -> None:
    numbered = readers(name=b"5")
    assert meaning_of(1, numbered.payload(1)) == meaning_of(1, numbered.payload(1).replace(b"\x015", b"\xc0\x05"))


def test_the_seed_binds_a_stream_to_its_key() -> None:
    assert meaning_of(5, MADE.payload(5), seed=1) != meaning_of(5, MADE.payload(5), seed=2)


# --- what is written for older servers ----------------------------------------------------------------------------

TAKEN = [[], [b"rdbmerge:nacked"], [b"rdbmerge:nacked", b"rdbmerge:nacked:2"], [b"rdbmerge:nacked:2"]]


@pytest.mark.parametrize("names", TAKEN, ids=len)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("older", LEVELS)
def test_a_stream_in_an_older_form_means_what_that_form_holds(level: int, older: int, names: list[bytes]) -> None:
    made = readers(consumers=[*READERS.consumers, *map(Who, names)])
    payload = made.payload(level)
    view = memoryview(payload)
    after = streams.nodes_end(view, 0, len(view))
    tail = streams.read_tail(view, REDIS.types[STREAM_TYPES[level]].shape, after, len(view))
    if older > level:
        return
    rewritten = payload[:after] + streams.write_tail(view, tail, older)
    assert meaning_of(level, payload, older) == meaning_of(older, rewritten, older)
    assert value_of(STREAM_TYPES[older], rewritten).length == 3


def test_entries_given_back_need_their_owner() -> None:
    """Lost to nobody, they must not pass."""
    lost = readers(nacked=[])
    assert meaning_of(5, MADE.payload(5), 3) != meaning_of(3, lost.payload(3), 3)
    owner = Who(b"rdbmerge:nacked", [(12, 1)], seen=0, active=-1)
    given = readers(consumers=[ALICE, BOB, owner], nacked=[])
    assert meaning_of(5, MADE.payload(5), 3) == meaning_of(3, given.payload(3), 3)
    for wrong in (
        replace(owner, ids=[]),
        replace(owner, seen=5),
        replace(owner, name=b"rdbmerge"),
        replace(owner, active=0),
    ):
        other = readers(consumers=[ALICE, BOB, wrong], nacked=[])
        assert meaning_of(5, MADE.payload(5), 3) != meaning_of(3, other.payload(3), 3)


@pytest.mark.parametrize("level", LEVELS)
def test_a_stream_cut_anywhere_has_no_hash(level: int) -> None:
    payload = MADE.payload(level)
    for cut in range(len(payload)):
        with pytest.raises(FormatError):
            meaning_of(level, payload[:cut])


@pytest.mark.parametrize("count", [1 << 31, 1 << 60, (1 << 64) - 1])
def test_a_count_that_lies_ends_at_the_end_of_the_stream(count: int) -> None:
    payload = Made(entries=[], groups=[], producers={}).payload(1)
    nodes, groups = 0, len(payload) - 1
    for place in (nodes, groups):
        with pytest.raises(FormatError):
            meaning_of(1, payload[:place] + length(count) + payload[place + 1 :])
