"""Puts the report of a verification together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rdbmerge import __version__
from rdbmerge.verify.expectation import Line
from rdbmerge.verify.inquiry import Answer, Inquiry
from rdbmerge.verify.origin import Origin
from rdbmerge.verify.pairing import Paired
from rdbmerge.verify.report import (
    AccountLine,
    BalanceLine,
    Check,
    MergedFile,
    ShardsReport,
    SourceFile,
    VerifyReport,
    Witness,
)


def summarize(
    inquiry: Inquiry, answer: Answer, checks: Sequence[Check], *, witness: Witness, plan_path: str | None, now_ms: int
) -> VerifyReport:
    """The report on one file: failed when a check is, or an entry differs.

    Questions that could not be asked do not fail it.
    """
    paired = answer.paired or Paired()
    failed = paired.total or any(check.ok is False for check in checks)
    merged, found = answer.merged, answer.found
    return VerifyReport(
        rdbmerge_version=__version__,
        verdict="failed" if failed else "passed",
        verified_at_ms=now_ms,
        level=inquiry.level,
        witness=witness,
        merged=MergedFile(
            path=str(merged.path),
            size_bytes=merged.size_bytes,
            magic=str(found.dialect),
            crc64=f"{found.crc64:016x}",
            slots=None if answer.slots is None else list(answer.slots),
        ),
        plan=plan_path,
        sources=[source_file(origin) for origin in inquiry.origins],
        ledger=[_account(line, inquiry, answer) for line in answer.lines],
        dbs=answer.targets,
        checks=list(checks),
        differences=paired.differences,
        differences_total=paired.total,
        warnings=_warnings(inquiry),
        durations_s=inquiry.clock.durations_s,
    )


def summarize_shards(reports: Sequence[VerifyReport]) -> ShardsReport:
    """The report on all shards: each by itself, and the balance over all of them."""
    balance = [_balanced(lines) for lines in zip(*(report.ledger for report in reports), strict=True)]
    checks = [_balance_check(balance)]
    failed = any(report.verdict == "failed" for report in reports) or any(check.ok is False for check in checks)
    return ShardsReport(
        rdbmerge_version=__version__,
        verdict="failed" if failed else "passed",
        balance=balance,
        checks=checks,
        shards=list(reports),
    )


def _balanced(lines: Sequence[AccountLine]) -> BalanceLine:
    names = ("expected", "expired", "filtered", "conflict_dropped", "rejected", "stripped")
    sums = {name: sum(getattr(line, name) for line in lines) for name in names}
    return BalanceLine(source=lines[0].source, db=lines[0].db, read=lines[0].read, **sums)


def _balance_check(balance: Sequence[BalanceLine]) -> Check:
    wrong = [
        f"{line.source} db {line.db}: {line.read:,} read, {booked:,} booked"
        for line in balance
        if line.read != (booked := line.expected + line.expired + line.filtered + line.conflict_dropped + line.rejected)
    ]
    read, expected = sum(line.read for line in balance), sum(line.expected for line in balance)
    return Check(
        name="balance of all shards",
        ok=not wrong,
        proves="every entry of every source is in the file of exactly one shard, or left out for a booked reason",
        does_not_prove="that the cluster's nodes own the slots that were declared",
        detail="; ".join(wrong) or f"{read:,} read, {expected:,} expected in all files together",
    )


def source_file(origin: Origin) -> SourceFile:
    """The facts about a source."""
    facts = origin.index.facts
    return SourceFile(
        name=origin.name,
        path=str(origin.segment.path),
        size_bytes=facts.size_bytes,
        mtime_ns=facts.mtime_ns,
        magic=facts.magic,
        crc64=f"{facts.crc64:016x}",
        snapshot_at_ms=origin.times.snapshot_at_ms,
        snapshot_at_from=origin.times.snapshot_at_from,
        ttl_offset_ms=origin.times.ttl_offset_ms,
    )


def _account(line: Line, inquiry: Inquiry, answer: Answer) -> AccountLine:
    found: int | None = None
    if answer.paired is not None:
        found = answer.paired.found[line.origin.number, line.db]
    elif inquiry.digests:
        found = line.expected  # the digests agree
    return AccountLine(
        source=line.origin.name,
        db=line.db,
        target_db=line.target_db,
        read=line.read,
        expected=line.expected,
        expired=line.expired,
        filtered=line.filtered,
        conflict_dropped=line.conflict_dropped,
        rejected=line.rejected,
        elsewhere=line.elsewhere,
        stripped=line.stripped,
        found=found,
    )


def _warnings(inquiry: Inquiry) -> list[str]:
    return [
        f"{origin.name}: written with rdbchecksum no; damage in it before the merge cannot be seen"
        for origin in inquiry.origins
        if origin.index.facts.stored_crc64 == 0
    ]
