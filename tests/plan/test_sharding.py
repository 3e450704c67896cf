"""Keys go to the shard that has their slot, as servers compute it (rdb-format.md 12)."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdbbytes import entry, rdb, record, select, slot, string
from rows import only_batch

from rdbmerge.errors import UsageError
from rdbmerge.plan.sharding import (
    ELSEWHERE,
    MOST_SHARDS,
    SLOTS,
    Sharding,
    Slots,
    even_slots,
    in_shard,
    parse_slots,
    slots_text,
)

KNOWN = {  # rdb-format.md 12
    b"foo": 12182, b"{foo}bar": 12182, b"a{foo}b{x}": 12182, b"{a}": 15495, b"{{a}}": 10276, b"\xff\x00\xfe": 434,
    b"{}foo": 9500, b"foo{": 7673, b"x{}{a}": 15756, b"": 0, b"foo}{bar}": 5061, b"123456789": 0x31C3,
}  # fmt: skip


@cache
def each_alone() -> Sharding:
    """Each slot is a shard of its own."""
    return Sharding([[(one, one)] for one in range(SLOTS)])


def slots_of(*entries: bytes, prefix: bytes = b"") -> list[int]:
    """The slots that rows are in."""
    view, batch, _ = only_batch(rdb(9, select(0), *entries))
    shards = each_alone().shards_of(view, batch, prefix)
    assert shards is not None
    return [int(one) for one in shards]


def test_known_keys_are_in_their_slots() -> None:
    assert slots_of(*map(entry, KNOWN)) == list(KNOWN.values())
    assert {key: slot(key) for key in KNOWN} == KNOWN


@pytest.mark.parametrize("stored", [b"\xc1\x39\x30", b"\x0512345", b"\x40\x0512345", b"\x80\x00\x00\x00\x0512345"])
def test_however_a_key_is_stored_its_bytes_decide(stored: bytes) -> None:
    assert slots_of(record(0, b"", string(b"v"), key_bytes=stored)) == [slot(b"12345")]
    assert slots_of(record(0, b"", string(b"v"), key_bytes=stored), prefix=b"p") == [slot(b"p12345")]


def test_a_compressed_key_is_unpacked_for_its_slot() -> None:
    stored = bytes.fromhex("C305140061E00A00")  # 20 times a
    assert slots_of(record(0, b"", string(b"v"), key_bytes=stored)) == [slot(b"a" * 20)]


@pytest.mark.parametrize("prefix", [b"p:", b"{t}", b"{t}:", b"{", b"{t", b"}", b"{}"])
def test_the_prefix_counts_and_may_hold_a_hash_tag(prefix: bytes) -> None:
    keys = [b"foo", b"{x}1", b"}y", b"a}b", b"", b"12345"]
    assert slots_of(*map(entry, keys), prefix=prefix) == [slot(prefix + key) for key in keys]
    if prefix.startswith(b"{t}"):
        assert set(slots_of(*map(entry, keys), prefix=prefix)) == {slot(b"t")}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from(b"{}ab\xff"), max_size=9).map(bytes), min_size=1, max_size=4),
       st.lists(st.sampled_from(b"{}a"), max_size=3).map(bytes))  # fmt: skip
def test_any_key_with_any_prefix_is_where_the_reference_says(keys: list[bytes], prefix: bytes) -> None:
    assert slots_of(*map(entry, keys), prefix=prefix) == [slot(prefix + key) for key in keys]


def test_without_slots_there_is_one_shard_that_holds_everything() -> None:
    view, batch, _ = only_batch(rdb(9, select(0), entry(b"k")))
    sharding = Sharding(None)
    assert (sharding.count, sharding.shards_of(view, batch)) == (1, None)
    reasons = np.array([3], np.uint8)
    assert in_shard(reasons, None, 0) is reasons


def test_rows_of_others_are_elsewhere_whatever_else_they_are() -> None:
    reasons, shards = np.array([0, 1, 2, 0], np.uint8), np.array([0, 0, 1, 1], np.int16)
    assert in_shard(reasons, shards, 0).tolist() == [0, 1, ELSEWHERE, ELSEWHERE]
    assert in_shard(reasons, shards, 1).tolist() == [ELSEWHERE, ELSEWHERE, 2, 0]


def redis_cli(masters: int) -> list[Slots]:
    """How `redis-cli --cluster create` shares slots out: it rounds a cursor that moves on by a fraction."""
    first, cursor, shards = 0, 0.0, []
    for number in range(masters):
        last = math.floor(cursor + SLOTS / masters - 1 + 0.5)
        last = SLOTS - 1 if last > SLOTS or number == masters - 1 else max(last, first)
        shards.append([(first, last)])
        first, cursor = last + 1, cursor + SLOTS / masters
    return shards


def test_slots_are_shared_out_as_redis_does_it() -> None:
    assert even_slots(3) == [[(0, 5460)], [(5461, 10922)], [(10923, 16383)]]
    assert even_slots(1) == [[(0, 16383)]]
    for count in range(1, MOST_SHARDS + 1):
        assert even_slots(count) == redis_cli(count), count


@pytest.mark.parametrize("count", range(1, MOST_SHARDS + 1, 7))
def test_every_slot_is_in_one_shard_and_none_is_much_larger(count: int) -> None:
    runs = [shard[0] for shard in even_slots(count)]
    assert (runs[0][0], runs[-1][1]) == (0, SLOTS - 1)
    assert all(one[1] + 1 == other[0] for one, other in pairwise(runs))
    sizes = {last - first for first, last in runs}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", [0, -1, MOST_SHARDS + 1, 1_000_000])
def test_there_are_1_to_500_shards(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count:,} shards cannot be") as refused:
        even_slots(count)
    assert refused.value.remedy == "a cluster has 1 to 500 shards"


def test_slots_are_read_as_they_are_written() -> None:
    assert parse_slots("0-5460,5461-10922,10923-16383") == even_slots(3)
    assert parse_slots("0-16383") == even_slots(1)
    assert parse_slots(" 0-99 + 16383 , 100-16382") == [[(0, 99), (16383, 16383)], [(100, 16382)]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-16382", "slot 16383 is given to no shard"),
        ("1-16383", "slot 0 is given to no shard"),
        ("0-5460,5462-16383", "slot 5461 is given to no shard"),
        ("0-5460,5460-16383", "slot 5460 is given twice"),
        ("0-16383,7", "slot 7 is given twice"),
        ("0-16383+7", "slot 7 is given twice"),
        ("0-16384", "'0-16384' is no run of slots"),
        ("0-16383,", "'' is no run of slots"),
        ("", "'' is no run of slots"),
        ("0-", "'0-' is no run of slots"),
        ("-5", "'-5' is no run of slots"),
        ("0-5-9", "'0-5-9' is no run of slots"),
        ("0:16383", "'0:16383' is no run of slots"),
        ("all", "'all' is no run of slots"),
        ("\u0660-\u0661", "is no run of slots"),
        ("5460-0,5461-16383", "the run of slots '5460-0' ends before it begins"),
    ],
)
def test_slots_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_slots(text)
    assert message in str(refused.value)
    assert refused.value.remedy


def test_more_slots_than_a_cluster_has_shards_are_refused() -> None:
    with pytest.raises(UsageError, match="501 shards cannot be"):
        parse_slots(",".join(map(str, range(500))) + ",500-16383")


def test_a_shard_is_called_after_its_slots() -> None:
    assert slots_text([(0, 5460)]) == "0-5460"
    assert slots_text([(0, 100), (200, 300), (7, 7)]) == "0-100+200-300+7"
    assert [slots_text(shard) for shard in parse_slots("0-99+200-16383,100-199")] == ["0-99+200-16383", "100-199"]


def test_a_shard_of_many_runs_has_a_name_that_a_file_can_have() -> None:
    odd, even = ([(one, one) for one in range(first, SLOTS, 2)] for first in (1, 0))
    assert [slots_text(runs) for runs in (even, odd)] == ["0+8191more", "1+8191more"]
    assert all(len(slots_text([(first * 10, first * 10 + 5) for first in range(n)])) <= 60 for n in range(1, 100))
