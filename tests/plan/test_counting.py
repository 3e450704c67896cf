"""When the index is enough to count a chunk, and that reading it says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from merging import opened
from rdbbytes import entry, expiry, expiry_seconds, idle, length, rdb, record, select, string

from rdbmerge.format.emit import Change
from rdbmerge.plan.counting import Task, count, count_by_reading, count_from_index, is_plain
from rdbmerge.plan.model import KeyPattern, Rules
from rdbmerge.plan.selection import Selection
from rdbmerge.plan.sharding import Sharding, Slots, even_slots

PLAIN = [
    entry(b"a", expire_at_ms=5_000),
    record(0, b"s", string(b"v"), attributes=expiry_seconds(9) + idle(3)),
    entry(b"c"),
]


def tasks(
    folder: Path, records: list[bytes], losers: list[int], slots: list[Slots] | None = None, **rules: Any
) -> list[Task]:
    with opened(folder, rdb(12, select(0), *records)) as merge:
        segment, facts = merge.segments[0], merge.indexes[0].facts
        chosen = Rules(**{"snapshot_at_ms": 0, **rules})
        selection = Selection(chosen, segment.dialect, chosen.snapshot_at_ms or 0, losers)
        change = Change(
            dialect=segment.dialect, ttl_offset_ms=chosen.ttl_offset_ms, key_prefix=chosen.key_prefix,
            fields_dead_before_ms=selection.dead_before_ms,
        )  # fmt: skip
        made = [Task(segment, selection, change, Sharding(slots), chunk) for chunk in facts.chunks]
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
