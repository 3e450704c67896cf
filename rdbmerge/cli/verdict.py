"""How the report of a verification is shown: ledger, contents, checks, differences, and the verdict last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbmerge.cli.output import heading_of, left_out_names, say, show_table, spent, talk, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdbmerge.verify.report import Check, Difference, ShardsReport, VerifyReport


def show_report(report: VerifyReport | ShardsReport) -> None:
    """The report on one file, or on each shard and all of them together."""
    from rdbmerge.verify.report import VerifyReport

    told: set[str] = set()
    if isinstance(report, VerifyReport):
        _show_file(report, told)
        return
    for one in report.shards:
        _show_file(one, told)
        say()
    _show_balance(report)
    say()
    show_checks(report.checks, told)
    say()
    passed = sum(one.verdict == "passed" for one in report.shards)
    say(f"{passed} of {len(report.shards)} shards passed; all together: {report.verdict.upper()}")


def _show_file(report: VerifyReport, told: set[str]) -> None:
    _show_ledger(report)
    say()
    show_table(
        (">Db", ">Keys expected", ">found", ">With expiry expected", ">found", "Contents"),
        [
            (
                str(db.db),
                f"{db.expected_keys:,}",
                f"{db.found_keys:,}",
                f"{db.expected_expires:,}",
                f"{db.found_expires:,}",
                _same(db.expected_digest, db.found_digest),
            )
            for db in report.dbs
        ],
        title="In the merged file",
    )
    say()
    show_checks(report.checks, told)
    for warning in report.warnings:
        warn(warning)
    show_differences(report.differences, report.differences_total)
    say()
    failed = ", ".join(check.name for check in report.failed_checks)
    say(f"{report.merged.path}: {report.verdict.upper()}{f' ({failed})' if failed else ''}")
    talk(f"Verified at level {report.level.value} in {spent(sum(report.durations_s.values()))}")


def _same(expected: str | None, found: str | None) -> str:
    return "not compared" if expected is None else "the same" if expected == found else "DIFFERENT"


def _show_ledger(report: VerifyReport) -> None:
    names = left_out_names(*report.ledger)
    left_out = [name for name in names if name != "stripped"]
    stripped = ["stripped"] if "stripped" in names else []
    shown = ("read", *left_out, "expected", *stripped)
    rows = []
    for line in report.ledger:
        moved = f"{line.db} -> {line.target_db}" if line.db != line.target_db else str(line.db)
        counts = [f"{getattr(line, name):,}" for name in shown]
        rows.append((line.source, moved, *counts, "-" if line.found is None else f"{line.found:,}"))
    sums = [f"{sum(getattr(line, name) for line in report.ledger):,}" for name in shown]
    found = [line.found for line in report.ledger if line.found is not None]
    rows.append(("total", "", *sums, f"{sum(found):,}" if len(found) == len(report.ledger) else "-"))
    of_them = [">Of them stripped"] if stripped else []
    headings = ("Source", ">Db", ">Read", *map(heading_of, left_out), ">Expected", *of_them, ">Found")
    show_table(headings, rows, total=True)


def _show_balance(report: ShardsReport) -> None:
    names = ("read", *[name for name in left_out_names(*report.balance) if name != "stripped"], "expected")
    rows = [(line.source, str(line.db), *(f"{getattr(line, name):,}" for name in names)) for line in report.balance]
    rows.append(("total", "", *(f"{sum(getattr(line, name) for line in report.balance):,}" for name in names)))
    show_table(("Source", ">Db", *map(heading_of, names)), rows, title="All shards together", total=True)


def show_checks(checks: Sequence[Check], told: set[str]) -> None:
    """`told`: checks of which was said before what they prove; of several files it is said once."""
    words = {True: "ok", False: "FAILED", None: "not asked"}
    for check in checks:
        say(
            f"{words[check.ok]:<9} {check.name}: {check.detail}"
            if check.detail
            else f"{words[check.ok]:<9} {check.name}"
        )
        if check.ok and check.name not in told:
            told.add(check.name)
            say(f"{'':<9} proves {check.proves}")
            say(f"{'':<9} not {check.does_not_prove}")


def show_differences(differences: Sequence[Difference], total: int) -> None:
    """The first of them, and how many there are."""
    if not differences:
        return
    say()
    rows = [(one.kind, str(one.db), one.key, one.source or "-", one.expected, one.found) for one in differences]
    more = total - len(rows)
    title = f"Differences: {total:,}{f', the first {len(rows):,} of them' if more else ''}"
    show_table(("Kind", ">Db", "Key", "Source", "Expected", "Found"), rows, title=title)
