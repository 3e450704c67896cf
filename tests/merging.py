"""Small merges for tests: files of bytes, planned and written in a few words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rows import Found, contents

from rdbmerge.errors import UnfitError
from rdbmerge.plan.model import Conflict, Plan, Rejection, Rules
from rdbmerge.plan.planner import Notes, make_plan, make_plans
from rdbmerge.plan.sharding import Slots
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import Segment, open_segments
from rdbmerge.steps.merge import PlannedMerge, output_paths, planned_merge, write_merge

NOW_MS = 1_795_400_000_000


def saved(folder: Path, *files: bytes) -> list[Path]:
    """The files on disk, named a.rdb, b.rdb, ..."""
    paths = [folder / f"{chr(ord('a') + number)}.rdb" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths


@dataclass
class Opened:
    """Segments with their indexes, to plan with any rules."""

    segments: list[Segment]
    indexes: list[Index]

    def plan(self, note: Any = None, **rules: Any) -> Plan:
        return make_plan(self.segments, self.indexes, Rules(**rules), now_ms=NOW_MS, notes=Notes(note))

    def plans(self, slots: Sequence[Slots], **rules: Any) -> list[Plan]:
        """One a shard."""
        return make_plans(self.segments, self.indexes, Rules(**rules), slots, now_ms=NOW_MS)

    def conflicts(self, **rules: Any) -> list[Conflict]:
        noted: list[Conflict] = []
        self.plan(noted.append, **rules)
        return noted

    def rejections(self, **rules: Any) -> list[Rejection]:
        """What the target cannot hold; also where that ends the merge."""
        noted: list[Rejection] = []
        with suppress(UnfitError):
            make_plan(self.segments, self.indexes, Rules(**rules), now_ms=NOW_MS, notes=Notes(None, noted.append))
        return noted


@contextmanager
def opened(folder: Path, *files: bytes) -> Iterator[Opened]:
    with open_segments(saved(folder, *files)) as segments:
        yield Opened(segments, [read_index(segment) for segment in segments])


@contextmanager
def planned(
    sources: Sequence[Path], /, *, shards: Sequence[Slots] | None = None, **rules: Any
) -> Iterator[PlannedMerge]:
    with planned_merge(sources, Rules(**rules), now_ms=NOW_MS, jobs=2, shards=shards) as merge:
        yield merge


def merged(sources: Sequence[Path], output: Path, /, **rules: Any) -> Plan:
    """Plan and write; what the file then holds must be what the plan says."""
    with planned(sources, **rules) as merge:
        write_merge(merge, output, jobs=2)
        check_output(merge.plan, output)
        return merge.plan


def merged_shards(
    sources: Sequence[Path], output: Path, shards: Sequence[Slots], /, **rules: Any
) -> list[tuple[Path, Plan]]:
    """The same for one file a shard."""
    with planned(sources, shards=shards, **rules) as merge:
        write_merge(merge, output, jobs=2)
        made = list(zip(output_paths(output, shards), merge.plans, strict=True))
    for path, plan in made:
        check_output(plan, path)
    return made


def check_output(plan: Plan, output: Path) -> dict[tuple[int, bytes], Found]:
    """The merged file, scanned again: whole, unique, and with the numbers of its plan."""
    assert output.stat().st_size == plan.output_bytes
    with Segment(output) as segment:
        facts = read_index(segment).facts
    assert facts.magic == plan.magic
    assert facts.stored_crc64 == facts.crc64
    assert facts.trailing_bytes == 0
    assert [(db.db, db.keys, db.expires) for db in facts.dbs] == [(db.db, db.keys, db.expires) for db in plan.dbs]
    assert all(db.hinted_keys in (None, db.keys) for db in facts.dbs)
    assert [library.name for library in facts.libraries] == [library.name for library in plan.libraries]
    assert len(facts.module_data) == len(plan.module_data)
    assert plan.ledger().written_per_db() == {db.db: db.keys for db in plan.dbs}
    return contents(output.read_bytes())
