"""The expected side: which entries are asked for, which are left out and why, and samples of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdbbytes import entry, rdb, select
from verify.asked import CTIME, batch_of, sides

from rdbmerge.format.core import xxh64_of
from rdbmerge.format.replies import keys_of_rows
from rdbmerge.verify.live_expected import Expected
from rdbmerge.verify.live_tally import LiveTally

LATE = 1_800_000_000_000
A = rdb(
    9, CTIME, select(0), entry(b"k", b"a"), entry(b"only a"), entry(b"dead", expire_at_ms=5), select(1), entry(b"x")
)
B = rdb(9, CTIME, select(0), entry(b"k", b"b", expire_at_ms=LATE), entry(b"only b"))


def asked(expected: Expected) -> tuple[dict[bytes, list[str]], LiveTally]:
    """Key -> names of the sources it is expected of; and the counts."""
    found: dict[bytes, list[str]] = {}
    tally = LiveTally()
    for task in expected.tasks:
        line = expected.lines[task.place]
        batch = batch_of(line)
        rows, chosen = expected.rows_of(task, batch, 0, tally)
        keys = keys_of_rows(line.origin.segment.view, batch, rows, line.origin.prefix)
        expected.remember(task.place, keys)
        for row in chosen.tolist():
            found.setdefault(batch.key(line.origin.segment.view, row), []).append(line.origin.name)
    return found, tally


@pytest.mark.parametrize(("policy", "winner"), [("first", "a.rdb"), ("last", "b.rdb"), ("longest-ttl", "a.rdb")])
def test_the_winner_of_a_conflict_is_expected_alone(policy: str, winner: str, tmp_path: Path) -> None:
    with sides(tmp_path, A, B, on_conflict=policy) as (expected, _):
        found, tally = asked(expected)
        assert found == {b"k": [winner], b"only a": ["a.rdb"], b"only b": ["b.rdb"], b"x": ["a.rdb"]}
        assert (expected.conflicts, expected.conflicts_are_settled) == (1, True)
        sums = {name: sum(getattr(line, name) for line in tally.lines.values())
                for name in ("read", "expected", "expired", "filtered", "conflict_dropped")}  # fmt: skip
        assert sums == {"read": 6, "expected": 4, "expired": 1, "filtered": 0, "conflict_dropped": 1}


def test_conflicts_that_nobody_settles_are_said(tmp_path: Path) -> None:
    with sides(tmp_path, A, B) as (expected, _):
        assert not expected.conflicts_are_settled
    with sides(tmp_path, A, B, db_map={0: 3}, dbs=[1]) as (expected, _):
        assert expected.conflicts_are_settled
        found, tally = asked(expected)
        assert found == {b"x": ["a.rdb"]}
        assert tally.line(0).filtered == 3


def test_hashes_of_the_expected_keys_are_remembered_by_db_as_they_will_stand(tmp_path: Path) -> None:
    with sides(tmp_path, A, B, on_conflict="first", key_prefix=b"p:", db_map={1: 0}) as (expected, _):
        asked(expected)
        hashes = expected.hashes()
        keys = (b"p:k", b"p:only a", b"p:only b", b"p:x")
        assert {db: one.tolist() for db, one in hashes.items()} == {0: sorted(map(xxh64_of, keys))}


def test_a_sample_is_drawn_from_all_rows_the_same_for_one_seed(tmp_path: Path) -> None:
    many = rdb(9, CTIME, select(0), *(entry(b"k%d" % one) for one in range(1_000)))
    draws = []
    for sample in (100, 100, 999, 5_000, None):
        with sides(tmp_path, many, sample=sample) as (expected, _):
            found, tally = asked(expected)
            draws.append(set(found))
            assert tally.line(0).expected == 1_000
    assert draws[0] == draws[1]
    assert 60 <= len(draws[0]) <= 100
    assert 500 < len(draws[2]) < 1_000
    assert len(draws[3]) == len(draws[4]) == 1_000


def test_rows_of_a_later_batch_are_counted_on(tmp_path: Path) -> None:
    many = rdb(9, CTIME, select(0), *(entry(b"k%d" % one) for one in range(1_000)))
    with sides(tmp_path, many, sample=200) as (expected, _):
        batch = batch_of(expected.lines[0])
        _, whole = expected.rows_of(expected.tasks[0], batch, 0, LiveTally())
        _, later = expected.rows_of(expected.tasks[0], batch, 400, LiveTally())
        assert np.array_equal(later, whole[whole >= 400] - 400)
