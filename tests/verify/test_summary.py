"""What the report says follows from what was found."""

from __future__ import annotations

from pathlib import Path

from verify.world import SNAPSHOT_MS, SOURCE_A, Merged, check

from rdbmerge import __version__


def test_the_report_tells_files_times_and_durations(tmp_path: Path) -> None:
    report = check(tmp_path, Merged().bytes())
    a = report.sources[0]
    assert (report.rdbmerge_version, report.verified_at_ms, report.plan) == (__version__, SNAPSHOT_MS, None)
    assert (report.merged.magic, report.merged.size_bytes) == ("REDIS0012", len(Merged().bytes()))
    assert (a.name, a.size_bytes, a.snapshot_at_ms, a.snapshot_at_from) == (
        "a.rdb", len(SOURCE_A), SNAPSHOT_MS, "aux ctime",
    )  # fmt: skip
    assert {"merged file", "sources"} <= report.durations_s.keys()


def test_each_check_says_what_it_proves_and_what_not(tmp_path: Path) -> None:
    for one in check(tmp_path, Merged().bytes(), level="full").checks:
        assert one.proves, one.name
        assert one.does_not_prove, one.name


def test_at_level_counts_nobody_says_which_entries_were_found(tmp_path: Path) -> None:
    report = check(tmp_path, Merged().bytes(), level="counts")
    assert {line.found for line in report.ledger} == {None}
    assert {line.expected_digest for line in report.dbs} == {None}
