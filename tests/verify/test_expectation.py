"""What the sources give: parts join in any order, losers are taken out again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rdbbytes import aux, entry, rdb, select

from rdbmerge.errors import UsageError
from rdbmerge.format.digest import Digest
from rdbmerge.plan.model import Rules
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify.destination import destination_of
from rdbmerge.verify.expectation import Line, SourceReader, by_target, total
from rdbmerge.verify.origin import Origin, Times
from rdbmerge.verify.shards import Shards

CTIME = aux(b"ctime", b"1700000000")


@contextlib.contextmanager
def origin_of(path: Path, *parts: bytes, number: int = 0, **rules: object) -> Iterator[Origin]:
    path.write_bytes(rdb(9, CTIME, *parts))
    with Segment(path) as segment:
        index, all_rules = read_index(segment), Rules(**rules)
        destination = destination_of(all_rules, [(segment.dialect, index.facts)])
        yield Origin(number, segment, index, all_rules, Times(0, "aux ctime", 0), destination)


def lines_of(origin: Origin, jobs: int = 1, **options: bool) -> list[Line]:
    (lines,) = SourceReader(jobs, **options).read([origin], Shards(None))
    return lines


def test_losers_are_taken_out_of_counts_and_digest(tmp_path: Path) -> None:
    entries = [entry(b"k%d" % i, expire_at_ms=i or None) for i in range(5)]
    with origin_of(tmp_path / "a.rdb", select(0), *entries) as origin:
        reader = SourceReader(1)
        ((line,),) = reader.read([origin], Shards(None))
        (chunk,) = origin.index.facts.chunks
        (batch,) = origin.segment.walk_part(chunk.start, chunk.stop, 0)
        places = batch.entry_start[:5]
        reader.subtract(line, np.sort(places[[1, 4]]))
    assert (line.expected, line.expected_expires, line.conflict_dropped) == (3, 2, 2)
    with origin_of(tmp_path / "b.rdb", select(0), entries[0], entries[2], entries[3]) as origin:
        (rest,) = lines_of(origin)
    assert (line.digest.a, line.digest.b) == (rest.digest.a, rest.digest.b)
    assert total([line]) == total([rest])


def test_without_digests_only_counts_are_made(tmp_path: Path) -> None:
    with origin_of(tmp_path / "a.rdb", select(0), entry(b"a", expire_at_ms=5), entry(b"b"), select(1)) as origin:
        (line,) = lines_of(origin, jobs=2, digests=False)
    assert (line.read, line.expected, line.expected_expires, line.digest) == (2, 2, 1, Digest())


def test_dbs_join_where_they_are_mapped_to_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    parts = select(0), entry(b"a"), select(1), entry(b"b"), select(2), entry(b"c")
    with origin_of(tmp_path / "a.rdb", *parts, db_map={0: 7, 1: 7}, dbs=[0, 1]) as origin:
        lines = lines_of(origin)
        assert {db: [line.db for line in some] for db, some in by_target(lines).items()} == {7: [0, 1]}
    assert [(line.db, line.filtered) for line in lines] == [(0, 0), (1, 0), (2, 1)]


def test_an_index_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    with origin_of(tmp_path / "a.rdb", select(0), entry(b"a"), entry(b"b")) as origin:
        facts = origin.index.facts.model_copy(deep=True)
        facts.chunks[0].rows = 3
        origin.index = Index(facts, origin.index.hashes)
        with pytest.raises(UsageError, match="does not belong"):
            lines_of(origin)
    assert Line(origin, 0, 0).read == 0
