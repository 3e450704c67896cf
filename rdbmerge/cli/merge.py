"""The command `merge`: RDB files and rules in, a plan shown, one RDB file out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.options import (
    EXISTING,
    default_jobs,
    force_option,
    jobs_option,
    quiet_option,
    report_option,
    rules_options,
)
from rdbmerge.cli.output import say, show_ledger, show_table, spent, talk, warn
from rdbmerge.cli.progress import bytes_progress
from rdbmerge.cli.stopping import stoppable, stopping
from rdbmerge.errors import UsageError
from rdbmerge.units import format_bytes, format_duration_ms, format_instant

if TYPE_CHECKING:
    from rdbmerge.plan.model import Plan, Rules
    from rdbmerge.steps.merge_run import MergeReport

EPILOG = """\b
Example:
  rdbmerge merge snapshots/ -o merged.rdb --ttl-offset 3h --report merge.json
  rdbmerge merge a.rdb b.rdb -o merged.rdb --db-map 1:0 --on-conflict first
  rdbmerge merge snapshots/ --dry-run

SOURCE is an RDB file, or a folder: its *.rdb files by name. Their order is that of
precedence. Expired means dead when its snapshot was taken: what was alive then stays,
whatever the clock says now. Conflicts are listed in OUTPUT.conflicts.jsonl."""


@click.command(epilog=EPILOG)
@click.argument("sources", nargs=-1, required=True, type=EXISTING, metavar="SOURCE...")
@click.option("-o", "--output", type=EXISTING, metavar="FILE", help="The merged file.")
@rules_options
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option(
    "--plan", "plan_file", type=EXISTING, metavar="FILE", help="Write the plan as JSON, for verify --against."
)
@report_option
@force_option
@jobs_option
@quiet_option
def merge(
    sources: tuple[Path, ...],
    output: Path | None,
    rules: Rules,
    dry_run: bool,
    plan_file: Path | None,
    report: Path | None,
    force: bool,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Merge RDB files into one that holds every key once."""
    from rdbmerge.steps.merge_run import run_merge

    if output is None and not dry_run:
        raise UsageError("no output is named", remedy="give one with -o, or look at the plan with --dry-run")
    refuse_existing_files(None if dry_run else output, plan_file, report, force=force)
    files = _files(sources, output)
    started_ms = time.time_ns() // 1_000_000
    with stoppable() as stop, bytes_progress(quiet) as progress:
        done = run_merge(
            files,
            output,
            rules,
            now_ms=started_ms,
            jobs=jobs or default_jobs(),
            dry_run=dry_run,
            force=force,
            on_plan=lambda plan: _take_plan(plan, plan_file),
            progress=stopping(progress, stop),
            stop=stop,
        )
    write_json(report, done.model_dump_json(indent=2))
    _show_end(done, output)


def _files(sources: Sequence[Path], output: Path | None) -> list[Path]:
    """The files to merge; an earlier output within a folder that is named is not one of them."""
    from rdbmerge.snapshot.segment import find_rdb_files

    found = find_rdb_files(sources)
    files = [path for path in found if output is None or path.resolve() != output.resolve()]
    if output in sources or not files:
        raise UsageError(f"{output} is both a source and the output", remedy="choose another name with -o")
    return files


def _take_plan(plan: Plan, plan_file: Path | None) -> None:
    """Show and save it, before a byte is written."""
    write_json(plan_file, plan.model_dump_json(indent=2))
    show_table(
        ("Source", "Version", "Snapshot taken", "Known by", "TTL offset", ">Size"),
        [
            (
                source.name,
                source.magic,
                format_instant(source.snapshot_at_ms),
                source.snapshot_at_from,
                format_duration_ms(source.ttl_offset_ms),
                format_bytes(source.size_bytes),
            )
            for source in plan.sources
        ],
    )
    say()
    show_ledger(plan.ledger())
    say()
    show_table(
        ("In the merged file", ">Keys", ">With expiry"),
        [
            *((f"db {db.db}", f"{db.keys:,}", f"{db.expires:,}") for db in plan.dbs),
            ("all", f"{plan.keys:,}", f"{sum(db.expires for db in plan.dbs):,}"),
        ],
        total=True,
    )
    for warning in plan.warnings:
        warn(warning)


def _show_end(report: MergeReport, output: Path | None) -> None:
    say()
    extra = [f"function libraries: {', '.join(report.libraries)}"] if report.libraries else []
    extra += [f"module data: {', '.join(report.modules)}"] if report.modules else []
    extra += [f"conflicts settled: {report.conflicts:,}"] if report.conflicts else []
    for line in extra:
        say(line)
    size = f"{report.keys:,} keys, {format_bytes(report.output_bytes)}, {report.magic}"
    if report.output is None:
        say(f"dry run: nothing was written; the merged file would hold {size}")
        return
    say(f"{output}: {size}, CRC-64 {report.output.crc64}")
    if report.conflicts_file:
        talk(f"The conflicts are listed in {report.conflicts_file}")
    talk(f"Scanned and planned in {spent(report.plan_s)}, written in {spent(report.write_s or 0)}")
