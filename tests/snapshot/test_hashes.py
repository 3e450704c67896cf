"""Key hashes come back sorted and whole, spilled or not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.snapshot import hashes
from rdbmerge.snapshot.hashes import HashCollector, merge_sorted, repeated

U64 = st.integers(0, (1 << 64) - 1)


def filled(collector: HashCollector, seed: int = 1, *, dbs: int = 3, batches: int = 40) -> dict[int, list[int]]:
    """Random batches with repetitions; returns what went in, sorted."""
    generator = np.random.default_rng(seed)
    held: dict[int, list[int]] = {}
    for _ in range(batches):
        db = int(generator.integers(dbs))
        batch = generator.integers(0, 1 << 64, int(generator.integers(1, 300)), np.uint64)
        batch[::7] = 42  # the same hash in every batch, hence in every run
        collector.add(db, batch)
        held.setdefault(db, []).extend(batch.tolist())
        batch[:] = 0  # the caller uses its array again
    return {db: sorted(held[db]) for db in sorted(held)}


def given_back(collector: HashCollector) -> dict[int, list[int]]:
    found = {}
    for db in collector.dbs():
        pieces = [piece.tolist() for piece in collector.sorted_hashes(db)]
        assert all(one[-1] < other[0] for one, other in pairwise(pieces))
        found[db] = [number for piece in pieces for number in piece]
    return found


@pytest.mark.parametrize("limit", [1, 1_000, 1_000_000])
def test_what_went_in_comes_back_in_order_whatever_the_limit(tmp_path: Path, limit: int) -> None:
    collector = HashCollector(tmp_path, limit_hashes=limit)
    expected = filled(collector)
    assert given_back(collector) == expected
    assert given_back(collector) == expected  # and again: keys are compared first, then the index is written
    assert bool(list(tmp_path.iterdir())) == (limit < 5_000)
    collector.close()
    assert list(tmp_path.iterdir()) == []
    assert collector.dbs() == []


def test_a_spill_keeps_dbs_apart_and_many_of_them(tmp_path: Path) -> None:
    collector = HashCollector(tmp_path, limit_hashes=500)
    assert given_back(collector) == {}
    expected = filled(collector, dbs=200, batches=400)
    assert given_back(collector) == expected
    collector.close()


def test_equal_hashes_are_never_split_over_two_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hashes, "_BUCKET_HASHES", 100)
    collector = HashCollector(tmp_path, limit_hashes=1_000)
    expected = filled(collector)
    for db in collector.dbs():
        pieces = list(collector.sorted_hashes(db))
        assert len(pieces) > 5
        assert sum((piece == 42).any() for piece in pieces) == 1
    assert given_back(collector) == expected
    collector.close()


@given(st.lists(st.lists(U64, max_size=30), max_size=5), st.integers(1, 40))
def test_sorted_runs_merge_into_one(runs: list[list[int]], bucket: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes, "_BUCKET_HASHES", bucket)
        pieces = list(merge_sorted([np.array(sorted(run), np.uint64) for run in runs]))
    assert all(len(piece) for piece in pieces)
    assert [number for piece in pieces for number in piece.tolist()] == sorted(number for run in runs for number in run)


@given(st.lists(st.integers(0, 30), max_size=40))
def test_what_occurs_twice_is_named_once(numbers: list[int]) -> None:
    found = repeated(np.array(sorted(numbers), np.uint64)).tolist()
    assert found == sorted({number for number in numbers if numbers.count(number) > 1})


def test_the_sum_tells_whether_all_hashes_are_there(tmp_path: Path) -> None:
    collector = HashCollector(tmp_path, limit_hashes=100)
    expected = filled(collector)
    assert {db: collector.sum_of(db) for db in collector.dbs()} == {
        db: sum(h) % (1 << 64) for db, h in expected.items()
    }
    assert collector.sum_of(99) == 0
    assert hashes.wrapping_sum(np.array([(1 << 64) - 1, 3], np.uint64)) == 2
    collector.close()
