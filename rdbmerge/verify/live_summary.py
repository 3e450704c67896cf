"""The report of a comparison with a live server, put together: numbers, and words for why they are not equal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rdbmerge import __version__
from rdbmerge.plan.model import Rules, Unsupported
from rdbmerge.units import format_duration_ms
from rdbmerge.verify.live_expected import Expected
from rdbmerge.verify.live_report import LiveDb, LiveLine, LiveNode, LiveReport
from rdbmerge.verify.live_tally import MOST_SHOWN, LiveCounts, LiveTally
from rdbmerge.verify.origin import Origin
from rdbmerge.verify.report import Check, Difference
from rdbmerge.verify.summary import source_file

_SKEW_WARNING_MS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found out, by the parts of the work."""

    target: str
    nodes: Sequence[LiveNode]
    started_at_ms: Sequence[int]  # of each run; the last is this one
    duration_s: float
    sample: int | None
    tolerance_ms: int
    plan_path: str | None
    tally: LiveTally
    scanned: Mapping[int, tuple[int, int]]  # db -> keys that SCAN gave, and how many should not be there
    announced: Mapping[int, int]  # db -> DBSIZE
    strangers: Sequence[Difference]
    settled: int
    library_check: Check | None
    warnings: Sequence[str]


def summarize_live(found: Findings, expected: Expected, origins: Sequence[Origin]) -> LiveReport:
    """The report: failed when an entry differs or a check is not ok."""
    ledger = [_line(expected, place, found.tally.line(place)) for place in range(len(expected.lines))]
    dbs = _dbs(found, ledger)
    unexpected = sum(db.unexpected for db in dbs)
    checks = [_ledger_check(ledger), _conflicts_check(expected), _entries_check(found, ledger)]
    checks.append(_strangers_check(found, dbs, unexpected))
    if expected.rules.target is not None:
        checks.append(_unsupported_check(expected.rules, ledger))
    if found.library_check is not None:
        checks.append(found.library_check)
    failed = any(check.ok is False for check in checks)
    verdict: Literal["passed", "failed"] = "failed" if failed else "passed"
    return LiveReport(
        rdbmerge_version=__version__,
        verdict=verdict,
        target=found.target,
        nodes=list(found.nodes),
        started_at_ms=found.started_at_ms[0],
        resumed_at_ms=list(found.started_at_ms[1:]),
        duration_s=round(found.duration_s, 3),
        sample=found.sample,
        ttl_tolerance_ms=found.tolerance_ms,
        plan=found.plan_path,
        sources=[source_file(origin) for origin in origins],
        ledger=ledger,
        dbs=dbs,
        checks=checks,
        differences=[*found.tally.differences, *found.strangers][: 2 * MOST_SHOWN],
        differences_total=found.tally.total + unexpected,
        settled=found.settled,
        warnings=[*found.warnings, *_skew_warnings(found.nodes), *_resumed_warnings(found)],
    )


def _line(expected: Expected, place: int, counts: LiveCounts) -> LiveLine:
    line = expected.lines[place]
    return LiveLine(source=line.origin.name, db=line.db, target_db=line.target_db, **counts.model_dump())


def _dbs(found: Findings, ledger: Sequence[LiveLine]) -> list[LiveDb]:
    expected = {line.target_db for line in ledger if line.expected}
    scanned_dbs = {db for db, (keys, _) in found.scanned.items() if keys}
    out = []
    for db in sorted(expected | scanned_dbs):
        mine = [line for line in ledger if line.target_db == db]
        scanned, unexpected = found.scanned.get(db, (0, 0))
        line = LiveDb(
            db=db,
            expected=sum(line.expected for line in mine),
            expired_since=sum(line.expired_since for line in mine),
            due=sum(line.due for line in mine),
            announced=found.announced.get(db),
            scanned=scanned,
            unexpected=unexpected,
            explained="",
        )
        out.append(line.model_copy(update={"explained": _explained(line, mine, sampled=found.sample is not None)}))
    return out


def _explained(db: LiveDb, lines: Sequence[LiveLine], *, sampled: bool) -> str:
    """The way from the keys that were expected to those that SCAN gave."""
    if sampled:
        return "of a sample no sum can be made"
    missing = sum(line.missing for line in lines)
    steps = [f"{db.expected:,} expected"]
    steps += [f"- {db.expired_since:,} expired since"] * (db.expired_since > 0)
    steps += [f"- {missing:,} missing"] * (missing > 0)
    steps += [f"+ {db.unexpected:,} unexpected"] * (db.unexpected > 0)
    there = db.expected - db.expired_since - missing + db.unexpected
    text = f"{' '.join(steps)} = {there:,}"
    if db.scanned == there:
        return text
    fewer = there - db.scanned
    if fewer > 0:
        return f"{text}; {fewer:,} more were gone when SCAN came: expired, or written to, while this ran"
    return f"{text}; {-fewer:,} more were there when SCAN came: dead keys that SCAN still shows, or written meanwhile"


def _ledger_check(ledger: Sequence[LiveLine]) -> Check:
    wrong = [
        f"{line.source} db {line.db}: {line.read:,} read, {booked:,} booked"
        for line in ledger
        if line.read != (booked := line.expected + line.expired + line.filtered + line.conflict_dropped + line.rejected)
    ]
    read, expected = sum(line.read for line in ledger), sum(line.expected for line in ledger)
    return Check(
        name="ledger",
        ok=not wrong,
        proves="every entry of every source is accounted for: expected, or left out for a booked reason",
        does_not_prove="that the rules are the ones you meant",
        detail="; ".join(wrong) or f"{read:,} read, {expected:,} expected on the server",
    )


def _conflicts_check(expected: Expected) -> Check:
    return Check(
        name="conflicts",
        ok=expected.conflicts_are_settled,
        proves=f"keys that several sources hold are expected as the policy says ({expected.rules.on_conflict})",
        does_not_prove="that the winner is the value you want",
        detail=f"{expected.conflicts:,} keys in more than one source",
    )


def _unsupported_check(rules: Rules, ledger: Sequence[LiveLine]) -> Check:
    rejected, policy = sum(line.rejected for line in ledger), rules.on_unsupported
    return Check(
        name="unsupported",
        ok=not rejected or policy is not Unsupported.FAIL,
        proves=f"what {rules.target} cannot hold was dealt with as asked ({policy})",
        does_not_prove=f"that the server is {rules.target}",
        detail=f"{rejected:,} keys cannot be held",
    )


def _entries_check(found: Findings, ledger: Sequence[LiveLine]) -> Check:
    asked, expected = sum(line.asked for line in ledger), sum(line.expected for line in ledger)
    agreed, expired = sum(line.agreed for line in ledger), sum(line.expired_since for line in ledger)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.tally.kinds.items()))
    whole = found.sample is not None or asked == expected
    some = (
        "those of the expected entries that were picked by chance are"
        if found.sample is not None
        else ("each expected entry is")
    )
    tolerance = format_duration_ms(found.tolerance_ms)
    return Check(
        name="entries",
        ok=whole and not found.tally.kinds,
        proves=f"{some} on the server with the same type, value (by what it means, whatever its form) and expiry"
        f" (within {tolerance}), or its time has come by the server's clock",
        does_not_prove="that nothing is written after it was looked at; nor idle times and use counters, which no dump"
        " holds",
        detail=f"{expected:,} expected, {asked:,} asked for: {agreed:,} agree, {expired:,} expired since the snapshot;"
        f" differences: {kinds or 'none'}",
    )


def _strangers_check(found: Findings, dbs: Sequence[LiveDb], unexpected: int) -> Check:
    scanned = sum(db.scanned for db in dbs)
    return Check(
        name="no other keys",
        ok=unexpected == 0,
        proves="SCAN gives no key"
        + (" among the first of each server" if found.sample is not None else "")
        + " that is not expected, up to a chance of about 2^-64 a key",
        does_not_prove="anything about keys written after SCAN had passed, or in dbs that were not looked into",
        detail=f"{scanned:,} keys scanned, {unexpected:,} of them unexpected",
    )


def _skew_warnings(nodes: Sequence[LiveNode]) -> list[str]:
    return [
        f"{node.address}: its clock is {format_duration_ms(abs(node.clock_skew_ms))}"
        f" {'behind' if node.clock_skew_ms > 0 else 'ahead of'} this machine's; expiries go by the server's"
        for node in nodes
        if abs(node.clock_skew_ms) > _SKEW_WARNING_MS
    ]


def _resumed_warnings(found: Findings) -> list[str]:
    if len(found.started_at_ms) < 2:
        return []
    return [
        "part of this was compared in an earlier run, and counts as it was then: what was written since to those keys"
        " is not seen"
    ]
