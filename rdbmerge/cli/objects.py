"""What is shown of objects: the look at their bucket, what they are, and who may read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbmerge.cli.output import say, show_preflight, spent, talk, warn
from rdbmerge.units import format_bytes

if TYPE_CHECKING:
    from rdbmerge.preflight import PreflightCheck
    from rdbmerge.steps.upload_report import UploadReport


def show_checks(checks: Sequence[PreflightCheck], *, quiet: bool) -> None:
    """All answers of a look; `quiet`: only those that something is to be done about."""
    from rdbmerge.preflight import Outcome

    show_preflight([check for check in checks if not quiet or check.outcome is not Outcome.OK])


def show_upload(report: UploadReport) -> None:
    """The end of one upload."""
    size = format_bytes(report.size_bytes)
    if report.outcome == "dry run":
        parts = f"{report.parts:,} parts of {format_bytes(report.part_size_bytes)}"
        say(f"dry run: nothing was sent; {report.path} ({size}) would become {report.url} in {parts}")
    elif report.outcome == "unchanged":
        say(f"{report.url}: is there already with the same {size}, CRC-64 {report.crc64}")
    else:
        kept = f" ({report.parts_kept:,} of {report.parts:,} parts from an earlier try)" if report.parts_kept else ""
        say(f"{report.url}: {size}{kept}, CRC-64 {report.crc64}, {report.checksum or 'no checksum'}")
        rate = format_bytes(report.size_bytes / max(report.duration_s, 0.001))
        talk(f"Proved by {report.checksum_by}; {spent(report.duration_s)}, {rate}/s")
    show_right(report)
    for warning in report.warnings:
        warn(warning)


def show_right(report: UploadReport) -> None:
    """Who may read the object, or what it takes; and how to undo what was done."""
    grant = report.grant
    if grant is None:
        return
    doubt = f" ({grant.doubt})" if grant.doubt else ""
    if grant.outcome == "needed":
        talk(f"{grant.service} may not read it yet: --grant makes {grant.what}{doubt}")
        return
    talk(f"{grant.service} may read it{' already' if grant.outcome == 'was there' else ''}: {grant.what}{doubt}")
    bucket = report.url.split("/")[2]
    if grant.policy_kept_in:
        talk(f"The policy as it was is in {grant.policy_kept_in}")
        talk(f"To undo: aws s3api put-bucket-policy --bucket {bucket} --policy file://{grant.policy_kept_in}")
    elif grant.outcome == "made" and grant.statement is not None:
        talk(f"To undo: aws s3api delete-bucket-policy --bucket {bucket}")
