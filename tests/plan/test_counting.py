"""When the index is enough to count a chunk, and that reading it says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from merging import Opened, opened
from rdbbytes import entry, expiry, expiry_seconds, idle, length, rdb, record, select, string
from unfit import META, of_form

from rdbmerge.plan.counting import Task, count, count_by_reading, count_from_index, is_plain
from rdbmerge.plan.model import KeyPattern, Rules, Unsupported
from rdbmerge.plan.sharding import Sharding, Slots, even_slots
from rdbmerge.plan.treatment import treat

AT = 2_000_000_000_000
TIMES = [(AT, b"f"), (5, b"g"), (0, b"h")]
PLAIN = [
    entry(b"a", expire_at_ms=5_000),
    record(0, b"s", string(b"v"), attributes=expiry_seconds(9) + idle(3)),
    entry(b"c"),
]


def tasks(
    folder: Path, records: list[bytes], losers: list[int], slots: list[Slots] | None = None, **rules: Any
) -> list[Task]:
    with opened(folder, rdb(15, select(0), *records)) as merge:
        segment, facts = merge.segments[0], merge.indexes[0].facts
        chosen = Rules(**{"snapshot_at_ms": 0, **rules})
        both = treat(
            chosen, segment, snapshot_at_ms=chosen.snapshot_at_ms or 0, ttl_offset_ms=chosen.ttl_offset_ms,
            losers=losers,
        )  # fmt: skip
        sharding = Sharding(slots)
        made = [Task(segment, both.selection, both.change, sharding, chunk) for chunk in facts.chunks]
        for task in made:
            if is_plain(task):
                assert [count_from_index(task)] == count_by_reading(task) == count(task)
        return made


@pytest.mark.parametrize(
    ("rules", "plain"),
    [
        ({}, True),
        ({"ttl_offset_ms": 77}, True),
        ({"snapshot_at_ms": 5_000}, True),
        ({"types": ["string"]}, True),
        ({"dbs": [0]}, True),
        ({"snapshot_at_ms": 5_001}, False),
        ({"snapshot_at_ms": 5_001, "drop_expired": False}, True),
        ({"types": ["set"]}, False),
        ({"dbs": [1]}, False),
        ({"key_prefix": b"p"}, False),
        ({"include_keys": [KeyPattern(kind="glob", text=b"*")]}, False),
        ({"exclude_keys": [KeyPattern(kind="re", text=b"x")]}, False),
        ({"target": "redis-5.0"}, True),
        ({"target": "redis-4.0"}, False),  # hints are dropped
        ({"target": "redis-3.2"}, False),  # lengths may have to be shortened
    ],
)
def test_the_index_is_enough_only_where_every_row_is_written_in_a_known_size(
    tmp_path: Path, rules: dict[str, Any], plain: bool
) -> None:
    assert [is_plain(task) for task in tasks(tmp_path, PLAIN, [], **rules)] == [plain]


@pytest.mark.parametrize(
    ("losers", "plain"), [([11], False), ([12, 13], False), ([5], True), ([5_000], True), ([], True)]
)
def test_a_loser_inside_the_chunk_needs_reading(tmp_path: Path, losers: list[int], plain: bool) -> None:
    assert [is_plain(task) for task in tasks(tmp_path, PLAIN, losers)] == [plain]


@pytest.mark.parametrize(
    "odd",
    [
        record(0, b"k", string(b"v"), attributes=idle(3) + expiry(7)),
        record(0, b"k", string(b"v"), attributes=expiry(-1)),
        record(2, b"k", length(0)),
    ],
)
def test_odd_rows_need_reading(tmp_path: Path, odd: bytes) -> None:
    assert [is_plain(task) for task in tasks(tmp_path, [*PLAIN, odd], [])] == [False]


def test_hashes_whose_fields_expire_need_reading_when_anything_changes(tmp_path: Path) -> None:
    one = record(22, b"h", length(1) + length(9) + string(b"f") + string(b"v"))
    assert [is_plain(task) for task in tasks(tmp_path, [one], [], drop_expired=False)] == [True]
    assert [is_plain(task) for task in tasks(tmp_path, [one], [], drop_expired=False, ttl_offset_ms=1)] == [False]
    assert [is_plain(task) for task in tasks(tmp_path, [one], [])] == [False]


@pytest.mark.parametrize(
    ("form", "target", "plain"),
    [
        ("list_quicklist_2", "redis-7.0", True),
        ("list_quicklist_2", "redis-6.2", False),
        ("hash_listpack_ex", "valkey-9.1", False),
        ("stream-3", "redis-7.2", True),
        ("stream-3", "redis-7.0", False),
        ("hash_template_strings", "redis-8.10", False),
        ("array", "redis-8.6", False),
        ("array", "redis-8.8", True),
    ],
)
def test_what_is_written_in_another_form_needs_reading(tmp_path: Path, form: str, target: str, plain: bool) -> None:
    template = b"\xf2" + length(300) + b"\x01\x01f" if "template" in form else b""
    made = tasks(tmp_path, [template + of_form(form)], [], target=target, on_unsupported=Unsupported.SKIP)
    assert [is_plain(task) for task in made] == [plain]


def test_metadata_that_is_dropped_needs_reading(tmp_path: Path) -> None:
    one = [record(0, b"k", string(b"v"), attributes=META)]
    for target, plain in (("redis-8.6", True), ("redis-8.4", False)):
        made = tasks(tmp_path, one, [], target=target, on_unsupported=Unsupported.STRIP)
        assert [is_plain(task) for task in made] == [plain]


MIXED = [
    entry(b"kept", expire_at_ms=AT),
    entry(b"dead", expire_at_ms=5),
    record(1, b"empty", length(0)),
    of_form("array"),
    of_form("list_quicklist_2"),
    record(22, b"times", length(3) + b"".join(length(at) + b"\x01" + f + b"\x01v" for at, f in TIMES)),
    of_form("stream-3"),
    entry(b"last"),
]


def task_of(merge: Opened, slots: list[Slots] | None = None, **rules: Any) -> Task:
    """Of the only chunk."""
    chosen = Rules(**rules)
    at_ms = chosen.snapshot_at_ms or 0
    both = treat(chosen, merge.segments[0], snapshot_at_ms=at_ms, ttl_offset_ms=0)
    (chunk,) = merge.indexes[0].facts.chunks
    return Task(merge.segments[0], both.selection, both.change, Sharding(slots), chunk)


def test_each_thing_that_becomes_of_a_row_is_counted(tmp_path: Path) -> None:
    with opened(tmp_path, rdb(15, select(0), *MIXED)) as merge:
        task = task_of(merge, target="redis-6.2", on_unsupported=Unsupported.STRIP, snapshot_at_ms=1_000)
        (got,) = count(task)
    assert (got.written, got.expired, got.filtered, got.rejected, got.stripped) == (5, 1, 1, 1, 1)
    assert (got.recoded, got.counters_lost, got.hints_dropped, got.fields_expired, got.empty) == (3, 1, 0, 1, 1)
    assert (got.conflict_dropped, got.elsewhere, got.written_expires) == (0, 0, 1)
    assert got.types == {("redis", 0), ("redis", 1), ("redis", 4), ("redis", 15)}


def test_the_counts_of_shards_are_those_of_the_whole_shared_out(tmp_path: Path) -> None:
    with opened(tmp_path, rdb(15, select(0), *MIXED)) as merge:
        rules: dict[str, Any] = {"target": "redis-6.2", "on_unsupported": Unsupported.STRIP, "snapshot_at_ms": 1_000}
        (whole,) = count(task_of(merge, **rules))
        shards = count(task_of(merge, even_slots(5), **rules))
    rows = len(MIXED)
    for name in ("written", "expired", "filtered", "rejected", "stripped", "recoded", "counters_lost", "empty",
                 "fields_expired", "written_expires", "output_bytes"):  # fmt: skip
        assert sum(getattr(one, name) for one in shards) == getattr(whole, name), name
    assert sum(rows - one.elsewhere for one in shards) == rows
    assert set().union(*(one.types for one in shards)) == whole.types
    assert all(one.elsewhere + one.written + one.expired + one.filtered + one.rejected == rows for one in shards)


def test_a_db_that_is_not_taken_is_filtered_in_each_shard_for_its_slots(tmp_path: Path) -> None:
    with opened(tmp_path, rdb(15, select(0), *MIXED)) as merge:
        shards = count(task_of(merge, even_slots(3), dbs=[7]))
        (whole,) = count(task_of(merge, dbs=[7]))
    assert [one.filtered + one.elsewhere for one in shards] == [len(MIXED)] * 3
    assert sum(one.filtered for one in shards) == whole.filtered == len(MIXED)
