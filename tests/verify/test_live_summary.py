"""The numbers of a comparison, the words that explain them, and what fails it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rdbbytes import entry, rdb, select
from verify.asked import CTIME, sides

from rdbmerge.verify.live_report import LiveNode, LiveReport
from rdbmerge.verify.live_summary import Findings, summarize_live
from rdbmerge.verify.live_tally import LiveCounts, LiveTally
from rdbmerge.verify.report import Check, Difference

TEN = rdb(9, CTIME, select(0), *(entry(b"k%d" % one) for one in range(10)))
STRANGER = Difference(kind="unexpected", db=0, key="s", key_base64=b"s", source=None, expected="nothing", found="a key")


def report(folder: Path, *, scanned: int = 10, unexpected: int = 0, skew_ms: int = 0, **changes: Any) -> LiveReport:
    counts = {"read": 10, "expected": 10, "asked": 10, "agreed": 10}
    counts |= {name: changes.pop(name) for name in LiveCounts.model_fields if name in changes}
    tally = LiveTally(lines={"0": LiveCounts(**counts)}, kinds=changes.pop("kinds", {}))
    facts: dict[str, Any] = {
        "target": "h:1", "nodes": [LiveNode(address="h:1", version=None, clock_skew_ms=skew_ms)], "started_at_ms": [1],
        "duration_s": 1.5, "sample": None, "tolerance_ms": 1_000, "plan_path": None, "tally": tally,
        "scanned": {0: (scanned, unexpected)}, "announced": {0: scanned}, "strangers": [STRANGER] * unexpected,
        "settled": 0, "library_check": None, "warnings": [],
    }  # fmt: skip
    with sides(folder, TEN, **changes.pop("rules", {})) as (expected, _):
        origins = [expected.lines[0].origin]
        return summarize_live(Findings(**facts | changes), expected, origins)


def failed(one: LiveReport) -> list[str]:
    return [check.name for check in one.failed_checks]


def test_all_equal_passes(tmp_path: Path) -> None:
    one = report(tmp_path)
    assert (one.verdict, failed(one), one.warnings, one.resumed_at_ms) == ("passed", [], [], [])
    assert one.dbs[0].explained == "10 expected = 10"
    assert one.sources[0].name == "a.rdb"


@pytest.mark.parametrize(
    ("changes", "explained"),
    [
        ({"agreed": 7, "expired_since": 3, "due": 3, "scanned": 7}, "10 expected - 3 expired since = 7"),
        ({"agreed": 9, "missing": 1, "kinds": {"missing": 1}, "scanned": 11, "unexpected": 2},
         "10 expected - 1 missing + 2 unexpected = 11"),
        ({"scanned": 8}, "10 expected = 10; 2 more were gone when SCAN came: expired, or written to, while this ran"),
        ({"agreed": 9, "expired_since": 1, "scanned": 10},
         "10 expected - 1 expired since = 9; 1 more were there when SCAN came:"
         " dead keys that SCAN still shows, or written meanwhile"),
        ({"sample": 5, "asked": 5, "agreed": 5}, "of a sample no sum can be made"),
    ],
)  # fmt: skip
def test_numbers_that_are_not_equal_are_explained(changes: dict[str, Any], explained: str, tmp_path: Path) -> None:
    assert report(tmp_path, **changes).dbs[0].explained == explained


@pytest.mark.parametrize(
    ("changes", "checks"),
    [
        ({"agreed": 9, "different": 1, "kinds": {"value": 1}}, ["entries"]),
        ({"unexpected": 1, "scanned": 11}, ["no other keys"]),
        ({"asked": 9}, ["entries"]),
        ({"read": 11}, ["ledger"]),
        ({"library_check": Check(name="function libraries", ok=False, proves="", does_not_prove="")},
         ["function libraries"]),
    ],
)  # fmt: skip
def test_what_fails_it(changes: dict[str, Any], checks: list[str], tmp_path: Path) -> None:
    one = report(tmp_path, **changes)
    assert (one.verdict, failed(one)) == ("failed", checks)


def test_what_could_not_be_asked_fails_nothing(tmp_path: Path) -> None:
    check = Check(name="function libraries", ok=None, proves="", does_not_prove="")
    assert report(tmp_path, library_check=check).verdict == "passed"


def test_what_a_declared_target_cannot_hold_has_to_be_dealt_with(tmp_path: Path) -> None:
    for policy, checks in (("fail", ["unsupported"]), ("skip", []), ("strip", [])):
        declared = {"target": "redis-6.2", "on_unsupported": policy}
        assert failed(report(tmp_path, rules=declared, read=12, rejected=2)) == checks


def test_clocks_and_earlier_runs_are_warned_of(tmp_path: Path) -> None:
    one = report(tmp_path, skew_ms=90_000, started_at_ms=[1, 5])
    assert one.warnings[0] == "h:1: its clock is 1m30s behind this machine's; expiries go by the server's"
    assert "in an earlier run" in one.warnings[1]
    assert one.resumed_at_ms == [5]
    assert "ahead of" in report(tmp_path, skew_ms=-90_000).warnings[0]
    assert report(tmp_path, skew_ms=1_000).warnings == []
