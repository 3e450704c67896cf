"""Conflicts: who should have won, by a grouping of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import aux, entry, rdb, resize, select
from verify.world import LATE_MS, check, failed

from rdbmerge.verify import rivals

CTIME = aux(b"ctime", b"1700000000")


def source(*entries: bytes, db: int = 0) -> bytes:
    return rdb(9, CTIME, select(db), *entries)


A = source(entry(b"k", b"a", expire_at_ms=LATE_MS), entry(b"only a"))
B = source(entry(b"k", b"b", expire_at_ms=LATE_MS))
C = source(entry(b"k", b"c"))
D = source(entry(b"k", b"d"), db=3)


def merged(winner: bytes, expires: int) -> bytes:
    return rdb(9, CTIME, select(0), resize(2, expires), winner, entry(b"only a"))


KEPT = {
    "a": (entry(b"k", b"a", expire_at_ms=LATE_MS), 1),
    "b": (entry(b"k", b"b", expire_at_ms=LATE_MS), 1),
    "c": (entry(b"k", b"c"), 0),
    "d": (entry(b"k", b"d"), 0),
}


@pytest.mark.parametrize(
    ("policy", "sources", "winner"),
    [
        ("first", [A, B, C], "a"),
        ("last", [A, B], "b"),
        ("last", [A, B, C], "c"),
        ("longest-ttl", [A, B], "a"),  # a tie: the first
        ("longest-ttl", [A, C, B], "c"),  # never beats any time
        ("first", [A, D], "a"),
        ("last", [A, D], "d"),
        ("longest-ttl", [A, C, D], "c"),  # both never: the first
    ],
)
@pytest.mark.parametrize("level", ["counts", "digest", "full"])
def test_the_policy_has_one_winner_and_no_other_passes(
    tmp_path: Path, level: str, policy: str, sources: list[bytes], winner: str
) -> None:
    for name, (kept, expires) in KEPT.items():
        report = check(tmp_path, merged(kept, expires), sources, level=level, on_conflict=policy, db_map={3: 0})
        if level == "counts":
            assert [line.found_keys - line.expected_keys for line in report.dbs] == [0]
        else:
            assert (report.verdict == "passed") == (name == winner)
        dropped = [line.conflict_dropped for line in report.ledger]
        assert sum(dropped) == len(sources) - 1


def test_within_a_source_the_lower_db_comes_first(tmp_path: Path) -> None:
    both = rdb(9, CTIME, select(2), entry(b"k", b"two"), select(5), entry(b"k", b"five"))
    out = rdb(9, CTIME, select(2), resize(1, 0), entry(b"k", b"two"))
    assert failed(check(tmp_path, out, [both], on_conflict="first", db_map={5: 2})) == {}
    assert "contents" in failed(check(tmp_path, out, [both], on_conflict="last", db_map={5: 2}))


def test_who_was_left_out_does_not_compete(tmp_path: Path) -> None:
    dead = source(entry(b"k", b"dead", expire_at_ms=1))
    out = rdb(9, CTIME, select(0), resize(1, 0), entry(b"k", b"c"))
    assert failed(check(tmp_path, out, [dead, C], on_conflict="fail")) == {}


def test_many_conflicts_are_settled_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "_SLICE_ENTRIES", 8)
    one = source(*(entry(b"k%d" % i, b"1") for i in range(50)))
    two = source(*(entry(b"k%d" % i, b"2") for i in range(25, 75)))
    body = [entry(b"k%d" % i, b"1" if i < 50 else b"2") for i in range(75)]
    out = rdb(9, CTIME, select(0), resize(75, 0), *body)
    report = check(tmp_path, out, [one, two], level="full", on_conflict="first")
    assert failed(report) == {}
    assert report.ledger[1].conflict_dropped == 25
