"""The yardstick itself: it reads servers as their truth files do, and it sees every kind of difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from realservers import ServerBinary, each_server, running
from truth import Truth, TruthConflict, TruthEntry, diff, expected_merge, read_live, read_truth, short

pytestmark = pytest.mark.once

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "rdb"


@each_server()
def test_a_live_server_reads_as_the_truth_file_of_what_it_loaded(binary: ServerBinary) -> None:
    tolerance_ms = 0
    for folder in sorted(GOLDEN.iterdir()):
        file = folder / "all_types.rdb"
        if binary.can_load(file.read_bytes()[:9]):
            with running(binary, rdb=file) as server:
                live = read_live(server)
            truth = read_truth(folder / "all_types.truth.jsonl.gz")
            assert diff(truth, live, tolerance_ms=tolerance_ms) == []


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.truth.jsonl.gz")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_truth_file_is_read_whole(path: Path) -> None:
    truth = read_truth(path)
    assert diff(truth, truth) == []
    assert all(entry.value is not None for entry in truth.entries.values())


def one(**changes: Any) -> Truth:
    entry = TruthEntry("hash", {b"f": (b"v", 5_000)}, expire_at_ms=9_000)
    return Truth({(0, b"k"): replace(entry, **changes)}, {"lib": ("LUA", b"code")})


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        (one(expire_at_ms=9_001), "expires at 9001, not 9000"),
        (one(expire_at_ms=None), "expires at None, not 9000"),
        (one(value={b"f": (b"v", None)}), "field 'f' expires at None, not 5000"),
        (one(value={b"f": (b"w", 5_000)}), "field 'f' is 'w', not 'v'"),
        (one(value={b"g": (b"v", 5_000)}), "fields missing"),
        (one(type="string", value=b"v"), "is a string, not a hash"),
        (Truth({}, {"lib": ("LUA", b"code")}), "missing (hash)"),
        (Truth(one().entries, {}), "function library lib is missing"),
    ],
)
def test_every_difference_is_seen(other: Truth, finding: str) -> None:
    assert any(finding in line for line in diff(one(), other))


def test_a_stream_that_lost_a_pending_entry_is_seen() -> None:
    truth = read_truth(GOLDEN / "7.0.15" / "all_types.truth.jsonl.gz")
    damaged = read_truth(GOLDEN / "7.0.15" / "all_types.truth.jsonl.gz")
    group = next(
        g for e in damaged.entries.values() if e.type == "stream" for g in e.value["groups"].values() if g["pel"]
    )
    group["pel"].popitem()
    assert len(diff(truth, damaged)) == 1


def test_conflicts_fail_or_are_settled_by_the_policy() -> None:
    older, newer = one(value={b"f": (b"older", None)}), one(value={b"f": (b"newer", None)}, expire_at_ms=None)
    with pytest.raises(TruthConflict) as conflict:
        expected_merge([older, newer])
    assert conflict.value.keys == [(0, b"k")]
    assert diff(expected_merge([older, newer], on_conflict="first"), older) == []
    assert diff(expected_merge([older, newer], on_conflict="last"), newer) == []
    assert diff(expected_merge([older, newer], on_conflict="longest-ttl"), newer) == []
    assert diff(expected_merge([newer, older], on_conflict="longest-ttl"), newer) == []


def test_the_dead_are_left_out_before_the_shift_brings_them_back() -> None:
    merged = expected_merge([one()], drop_dead_at_ms=6_000, ttl_offset_ms=10_000)
    assert merged.entries == {}  # its only field was dead
    kept = expected_merge([one()], drop_dead_at_ms=5_000, ttl_offset_ms=10_000, db_map={0: 3}, prefix=b"p:")
    assert kept.entries == {(3, b"p:k"): TruthEntry("hash", {b"f": (b"v", 15_000)}, 19_000)}


def test_long_bytes_are_held_by_their_digest() -> None:
    assert short(b"x" * 1024) == b"x" * 1024
    assert short(b"x" * 1025).startswith(b"sha256:")
    assert short(b"x" * 1025).endswith(b":1025")
