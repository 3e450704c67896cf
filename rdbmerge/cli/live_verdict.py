"""How the report of a comparison with a live server is shown: ledger, dbs, checks, differences, the verdict last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbmerge.cli.output import heading_of, say, show_table, spent, talk, warn
from rdbmerge.cli.verdict import show_checks, show_differences
from rdbmerge.units import format_duration_ms, format_instant

if TYPE_CHECKING:
    from rdbmerge.verify.live_report import LiveNode, LiveReport

_LEFT_OUT = ("expired", "filtered", "conflict_dropped", "rejected")
_OF_DB = ("expected", "expired_since", "scanned", "unexpected")
_FOUND = ("agreed", "expired_since", "missing", "different")


def show_live_report(report: LiveReport) -> None:
    """All of it."""
    _show_ledger(report)
    say()
    show_table(
        (">Db", ">Expected", ">Expired since", ">Scanned", ">Unexpected", "Why the numbers are not equal"),
        [
            (
                str(db.db),
                f"{db.expected:,}",
                f"{db.expired_since:,}",
                f"{db.scanned:,}",
                f"{db.unexpected:,}",
                db.explained,
            )
            for db in report.dbs
        ],
        title=f"On {report.target}",
    )
    say()
    for node in report.nodes:
        say(_node(node))
    say()
    show_checks(report.checks, set())
    due = sum(db.due for db in report.dbs)
    say(f"{due:,} of the keys that were asked for have come to their time since the snapshot")
    for warning in report.warnings:
        warn(warning)
    show_differences(report.differences, report.differences_total)
    if report.settled:
        say(f"{report.settled:,} more differences were none any more when the keys were asked for again")
    say()
    failed = ", ".join(check.name for check in report.failed_checks)
    say(f"{report.target}: {report.verdict.upper()}{f' ({failed})' if failed else ''}")
    asked = sum(line.asked for line in report.ledger)
    rate = f", {asked / report.duration_s:,.0f} keys/s" if report.duration_s else ""
    began = f"; first run began {format_instant(report.started_at_ms)}" if report.resumed_at_ms else ""
    talk(f"Compared {asked:,} keys in {spent(report.duration_s)}{rate}{began}")


def _node(node: LiveNode) -> str:
    """One server: which it is, what it has of a cluster, and how its clock goes."""
    slots = ",".join(f"{first}-{last}" for first, last in node.slots or ())
    ahead = "behind" if node.clock_skew_ms > 0 else "ahead of"
    clock = (
        f"its clock {format_duration_ms(abs(node.clock_skew_ms))} {ahead} ours" if node.clock_skew_ms else "our clock"
    )
    return ", ".join(
        filter(None, (f"{node.address}: {node.version or 'version not told'}", slots and f"slots {slots}", clock))
    )


def _show_ledger(report: LiveReport) -> None:
    left_out = [name for name in _LEFT_OUT if any(getattr(line, name) for line in report.ledger)]
    shown = ("read", *left_out, "expected", *(("asked",) if report.sample is not None else ()), *_FOUND)
    rows = []
    for line in report.ledger:
        moved = f"{line.db} -> {line.target_db}" if line.db != line.target_db else str(line.db)
        rows.append((line.source, moved, *(f"{getattr(line, name):,}" for name in shown)))
    rows.append(("total", "", *(f"{sum(getattr(line, name) for line in report.ledger):,}" for name in shown)))
    words = {"agreed": ">Agree", "expired_since": ">Expired since", "missing": ">Missing", "different": ">Different"}
    headings = [
        words.get(name) or (heading_of(name) if name in left_out else f">{name.capitalize()}") for name in shown
    ]
    show_table(("Source", ">Db", *headings), rows, total=True)
