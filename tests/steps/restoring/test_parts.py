"""Parts are shared out by what they weigh, and what is refused is listed once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from merging import opened
from rdbbytes import entry, rdb, select

from rdbmerge.errors import DiskError
from rdbmerge.plan.model import ChunkPlan
from rdbmerge.steps.restoring.parts import RejectedKeys, byte_counter, parts_of

pytestmark = pytest.mark.once


def test_parts_are_what_gives_something_the_heaviest_first(tmp_path: Path) -> None:
    files = [rdb(9, select(0), entry(b"a"), select(1), entry(b"b")), rdb(9, select(2), entry(b"c"))]
    with opened(tmp_path, *files) as sources:
        plan = sources.plan(dbs=[0, 2], db_map={2: 5})
    parts = parts_of(plan)
    assert [(part.source, part.db, part.target_db) for part in parts] == [(0, 0, 0), (1, 2, 5)]
    plan.sources[1].runs[0].chunks.append(ChunkPlan(start=0, stop=1 << 30, rows=1, written=1, output_bytes=1 << 30))
    assert parts_of(plan)[0].chunk.stop == 1 << 30


def test_lines_of_a_run_that_was_killed_and_count_no_more_are_cut_away(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first = RejectedKeys(path, 0)
    assert first.add([]) == 0
    assert not path.exists(), "no list without keys"
    size = first.add(["one"])
    first.add(["two", "three"])
    again = RejectedKeys(path, size)
    assert again.add(["four"]) == len("one\nfour\n")
    assert path.read_text() == "one\nfour\n"
    RejectedKeys(path, 0)
    assert not path.exists()
    with pytest.raises(DiskError):
        RejectedKeys(tmp_path / "none" / "r.jsonl", 0).add(["x"])


def test_bytes_of_all_threads_add_up() -> None:
    told: list[tuple[int, int]] = []
    count = byte_counter(8_000, lambda done, total: told.append((done, total)))
    threads = [threading.Thread(target=lambda: [count(1) for _ in range(1_000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told[-1] == (8_000, 8_000)
    assert len(set(told)) == 8_000
