"""Puts the report of a verification together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rdbmerge import __version__
from rdbmerge.verify.expectation import Line
from rdbmerge.verify.inquiry import Inquiry
from rdbmerge.verify.origin import Origin
from rdbmerge.verify.pairing import Paired
from rdbmerge.verify.report import AccountLine, Check, MergedFile, SourceFile, VerifyReport, Witness


def summarize(
    inquiry: Inquiry, checks: Sequence[Check], *, witness: Witness, plan_path: str | None, now_ms: int
) -> VerifyReport:
    """The report: failed when a check is, or an entry differs. Questions that could not be asked do not fail it."""
    paired = inquiry.paired or Paired()
    failed = paired.total or any(check.ok is False for check in checks)
    merged, found = inquiry.merged, inquiry.found
    return VerifyReport(
        rdbmerge_version=__version__,
        verdict="failed" if failed else "passed",
        verified_at_ms=now_ms,
        level=inquiry.level,
        witness=witness,
        merged=MergedFile(
            path=str(merged.path), size_bytes=merged.size_bytes, magic=str(found.dialect), crc64=f"{found.crc64:016x}"
        ),
        plan=plan_path,
        sources=[_source_file(origin) for origin in inquiry.origins],
        ledger=[_account(line, inquiry) for line in inquiry.lines],
        dbs=inquiry.targets,
        checks=list(checks),
        differences=paired.differences,
        differences_total=paired.total,
        warnings=_warnings(inquiry),
        durations_s=inquiry.clock.durations_s,
    )


def _source_file(origin: Origin) -> SourceFile:
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


def _account(line: Line, inquiry: Inquiry) -> AccountLine:
    found: int | None = None
    if inquiry.paired is not None:
        found = inquiry.paired.found[line.origin.number, line.db]
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
        found=found,
    )


def _warnings(inquiry: Inquiry) -> list[str]:
    return [
        f"{origin.name}: written with rdbchecksum no; damage in it before the merge cannot be seen"
        for origin in inquiry.origins
        if origin.index.facts.stored_crc64 == 0
    ]
