"""A merge from beginning to end, with its report: plan, show the plan, write.

The parts are `merge`'s; this puts them in order, for a user who wants one call. Knows nothing of the command line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.errors import ConflictError
from rdbmerge.ledger import Ledger
from rdbmerge.plan.model import Plan, Rules, TargetDb
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.steps.merge import MergeProgress, conflicts_path, planned_merge, refuse_existing, write_merge

REPORT_FORMAT = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class MergedSource(_Model):
    """One source, as it was when it was merged."""

    name: str
    path: str
    magic: str
    size_bytes: int
    crc64: str
    sha256: str | None
    snapshot_at_ms: int
    snapshot_at_from: str
    ttl_offset_ms: int
    fields_expired: int = Field(description="Dead fields left out of hashes that were written.")


class MergeReport(_Model):
    """What was decided, and what was written; `output` is null for a dry run."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    started_at_ms: int
    rules: Rules
    magic: str
    sources: list[MergedSource] = Field(description="In order of precedence.")
    dbs: list[TargetDb]
    keys: int
    output_bytes: int
    libraries: list[str]
    modules: list[str]
    conflicts: int = Field(description="Keys that more than one source holds.")
    conflicts_file: str | None = Field(description="Where each of them is listed.")
    ledger: Ledger
    warnings: list[str]
    output: Manifest | None = None
    plan_s: float = Field(description="Scanning and planning, in seconds.")
    write_s: float | None = None


def run_merge(
    sources: Sequence[Path],
    output: Path | None,
    rules: Rules,
    *,
    now_ms: int,
    jobs: int,
    dry_run: bool = False,
    force: bool = False,
    on_plan: Callable[[Plan], None] | None = None,
    progress: Callable[[MergeProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> MergeReport:
    """Plan a merge of `sources`, tell `on_plan`, and write `output` unless it is a dry run.

    A dry run writes nothing but the indexes beside the sources, and needs no `output`.

    Raises what `planned_merge` and `write_merge` raise, and UsageError for an output that exists.
    """
    writes = output is not None and not dry_run
    if output is not None and writes:
        refuse_existing(output, force)
    listed = conflicts_path(output) if output is not None and writes else None
    started_s = time.monotonic()
    with (
        _naming_list(listed),
        planned_merge(sources, rules, now_ms=now_ms, jobs=jobs, conflicts_to=listed, progress=progress) as planned,
    ):
        report = _report(planned.plan, listed, now_ms, time.monotonic() - started_s)
        if on_plan:
            on_plan(planned.plan)
        if output is not None and writes:
            started_s = time.monotonic()
            report.output = write_merge(planned, output, jobs=jobs, force=force, progress=progress, stop=stop)
            report.write_s = round(time.monotonic() - started_s, 3)
    return report


@contextmanager
def _naming_list(listed: Path | None) -> Iterator[None]:
    """Say with a conflict where all of them are listed."""
    try:
        yield
    except ConflictError as error:
        if listed is None or not listed.exists():
            raise
        raise ConflictError(f"{error}\n  all of them are listed in {listed}", remedy=error.remedy) from None


def _report(plan: Plan, listed: Path | None, now_ms: int, plan_s: float) -> MergeReport:
    return MergeReport(
        started_at_ms=now_ms,
        rules=plan.rules,
        magic=plan.magic,
        sources=[
            MergedSource(
                name=source.name,
                path=source.path,
                magic=source.magic,
                size_bytes=source.size_bytes,
                crc64=source.crc64,
                sha256=source.sha256,
                snapshot_at_ms=source.snapshot_at_ms,
                snapshot_at_from=source.snapshot_at_from,
                ttl_offset_ms=source.ttl_offset_ms,
                fields_expired=sum(run.fields_expired for run in source.runs),
            )
            for source in plan.sources
        ],
        dbs=plan.dbs,
        keys=plan.keys,
        output_bytes=plan.output_bytes,
        libraries=[library.name for library in plan.libraries],
        modules=sorted({data.module for data in plan.module_data}),
        conflicts=plan.conflicts,
        conflicts_file=str(listed) if listed is not None and plan.conflicts else None,
        ledger=plan.ledger(),
        warnings=plan.warnings,
        plan_s=round(plan_s, 3),
    )
