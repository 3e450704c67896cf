"""Every part of the merged file has its place, and the places fill the file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from merging import opened
from rdbbytes import entry, function, rdb, record, select, string

from rdbmerge.plan.layout import CHECKSUM_BYTES, Copy, Entries, Library, Literal, parts, place, total_bytes
from rdbmerge.plan.model import Plan, Policy

MODULE = b"\xf7\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"\x02%c\x02\x05\x00"
FILES = [
    rdb(
        11,
        MODULE % 1,
        function(b"#!lua name=a\n1"),
        select(3),
        entry(b"x"),
        select(0),
        entry(b"k"),
        entry(b"dead", expire_at_ms=1),
    ),
    rdb(
        11,
        function(b"#!lua name=b\n1"),
        select(0),
        entry(b"k"),
        entry(b"l"),
        select(1),
        entry(b"dead", expire_at_ms=1),
        MODULE % 2,
    ),
]


def plan_of(folder: Path, *files: bytes) -> Plan:
    with opened(folder, *files) as merge:
        return merge.plan(on_conflict=Policy.FIRST, snapshot_at_ms=1_000)


def test_the_parts_stand_in_the_order_that_servers_write(tmp_path: Path) -> None:
    kinds = [type(part) for part in parts(plan_of(tmp_path, *FILES))]
    assert kinds == [Literal, Copy, Library, Library, Literal, Entries, Entries, Literal, Entries, Copy, Literal]


def test_dbs_ascend_and_the_sources_keep_their_order_in_each(tmp_path: Path) -> None:
    entries = [part for part in parts(plan_of(tmp_path, *FILES)) if isinstance(part, Entries)]
    assert [(part.db, part.source) for part in entries] == [(0, 0), (0, 1), (3, 0)]


def test_the_places_fill_the_file_without_a_gap(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *FILES)
    placed = place(plan)
    assert placed[0].offset == 0
    for one, other in pairwise(placed):
        assert one.offset + one.part.size_bytes == other.offset
    assert placed[-1].offset + placed[-1].part.size_bytes + CHECKSUM_BYTES == plan.output_bytes == total_bytes(plan)


def test_a_chunk_of_which_nothing_is_written_has_no_place(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, FILES[1])
    assert [part.db for part in parts(plan) if isinstance(part, Entries)] == [0]
    assert sum(len(run.chunks) for run in plan.sources[0].runs) == 2


def test_a_file_of_nothing_is_a_head_and_an_end(tmp_path: Path) -> None:
    assert [part.size_bytes for part in parts(plan_of(tmp_path, rdb(9)))] == [9, 1]


def test_a_db_number_of_any_size_has_room(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, rdb(11, select(20_000), record(0, b"k", string(b"v"))))
    assert total_bytes(plan) == plan.output_bytes == 9 + 6 + len(record(0, b"k", string(b"v"))) + 1 + 8
